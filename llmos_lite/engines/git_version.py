"""Which stock git there is: clone and push, upkeep and erasure need it; chats and skills do not."""

from __future__ import annotations

import re
import subprocess

LEAST = (2, 31)
"""What our environment for `upload-pack` and `receive-pack` needs: `GIT_CONFIG_COUNT`."""
_LONGEST = 30.0
_NUMBERS = re.compile(r"(\d{1,9})\.(\d{1,9})")


def git_problem() -> str:
    """Return a sentence when there is no git here that is new enough; nothing when there is."""
    least = ".".join(map(str, LEAST))
    try:
        said = _said()
    except (OSError, subprocess.TimeoutExpired):
        return f"There is no git on this machine; clone, push, upkeep and erasure need git {least} or newer."
    found = _NUMBERS.search(said)
    if found is None:
        return f"`git --version` says {said.strip()[:80]!r}; git {least} or newer is needed."
    if (int(found[1]), int(found[2])) < LEAST:
        return f"Git here is {found[0]}; clone, push, upkeep and erasure need {least} or newer."
    return ""


def git_version() -> tuple[int, int]:
    """Return the version of stock git, as (2, 39); zeros when it cannot be told."""
    try:
        found = _NUMBERS.search(_said())
    except (OSError, subprocess.TimeoutExpired):
        return 0, 0
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _said() -> str:
    command = ["git", "--version"]
    return subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST, check=False).stdout  # noqa: S603 - our own words, no shell
