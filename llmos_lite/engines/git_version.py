"""Which stock git there is: clone and push, upkeep and erasure need it; chats and skills do not."""

from __future__ import annotations

import re
import subprocess

LEAST = (2, 31)
"""What our environment for `upload-pack` and `receive-pack` needs: `GIT_CONFIG_COUNT`."""
_LONGEST = 30.0


def git_problem() -> str:
    """Return a sentence when there is no git here that is new enough; nothing when there is."""
    least = ".".join(map(str, LEAST))
    try:
        command = ["git", "--version"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST, check=False)  # noqa: S603 - our own words, no shell
    except (OSError, subprocess.TimeoutExpired):
        return f"There is no git on this machine; clone, push, upkeep and erasure need git {least} or newer."
    found = re.search(r"(\d+)\.(\d+)", done.stdout)
    if found is None:
        return f"`git --version` says {done.stdout.strip()[:80]!r}; git {least} or newer is needed."
    if (int(found[1]), int(found[2])) < LEAST:
        return f"Git here is {found[0]}; clone, push, upkeep and erasure need {least} or newer."
    return ""
