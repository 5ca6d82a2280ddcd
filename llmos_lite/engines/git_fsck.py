"""What stock git says about a repository: `git fsck`."""

from __future__ import annotations

import subprocess
from pathlib import Path

from llmos_lite.errors import Unavailable

LONGEST = 900.0
NOISE = ("dangling ", "notice: ", "unreachable ", "Checking ")


def fsck(gitdir: Path) -> list[str]:
    """Return the complaints of `git fsck --full` about a repository, at most twenty; nothing when it is sound.

    Args:
        gitdir: its `.git` folder, or the bare repository.

    Raises:
        Unavailable: `git.missing`, when there is no git here, or `git.slow`.
    """
    command = ["git", "-c", "safe.directory=*", "--git-dir", str(gitdir), "fsck", "--full", "--no-progress", "--strict"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=LONGEST)  # noqa: S603 - no shell, our own words
    except FileNotFoundError as error:
        raise Unavailable("git.missing", "There is no git on this machine.", hint="Install git.") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable("git.slow", f"git fsck of {gitdir} took more than {LONGEST:.0f} s.") from error
    lines = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
    found = [line for line in lines if line and not line.startswith(NOISE)]
    if done.returncode and not found:
        found = [f"git fsck ended with {done.returncode}"]
    return found[:20] if done.returncode else []
