"""Speaks to other repositories, through stock git: it knows the person's keys and proxies."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Protocol, runtime_checkable

from llmos_lite.engines.git_refs import check_branch
from llmos_lite.engines.volume_interface import VolumeInterface
from llmos_lite.errors import Invalid, UpstreamFailed, UpstreamTimeout

_PROTOCOLS = ("https://", "http://", "ssh://", "git://", "file://", "/")
_SCP = re.compile(r"[\w.-]+@[\w.-]+:[\w./~-]+")
_PATIENCE = 300


@runtime_checkable
class InFolder(Protocol):
    """A store that stock git can open."""

    gitdir: Path


def push(store: VolumeInterface, url: str, branches: Collection[str]) -> None:
    """Push branches, never by force; nobody is asked for a password.

    Raises:
        Invalid: `remote.invalid`; `branch.invalid`.
        UpstreamFailed: `remote.refused`.
        UpstreamTimeout: `remote.timeout`.
    """
    if not isinstance(store, InFolder):
        raise Invalid("remote.unsupported", "This store is no Git repository in a folder.")
    if not (url.startswith(_PROTOCOLS) or _SCP.fullmatch(url)):
        raise Invalid("remote.invalid", f"{url[:200]!r} is no address of a Git repository.")
    specs = [f"refs/heads/{check_branch(name)}:refs/heads/{name}" for name in branches]
    options = ["-c", "safe.directory=*", "-c", "core.askPass=true", "-c", "credential.interactive=never"]
    command = ["git", "--git-dir", str(store.gitdir), *options, "push", "--porcelain", "--", url, *specs]
    try:
        done = subprocess.run(  # noqa: S603 - no shell; the address was checked and stands behind `--`
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise UpstreamTimeout("remote.timeout", f"{url} did not answer in {_PATIENCE} s.") from error
    if done.returncode:
        said = _without_secrets((done.stderr or done.stdout).strip()[-500:])
        raise UpstreamFailed("remote.refused", f"Git could not push to {_without_secrets(url)}: {said}")


def _without_secrets(text: str) -> str:
    return re.sub(r"//[^/@\s]+@", "//", text)
