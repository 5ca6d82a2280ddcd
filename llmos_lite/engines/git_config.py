"""What stock git is told of an instance: which keys sign. One file for all repositories, which each of them includes.

So `git verify-commit` in a work tree needs no options, and a data folder that is moved needs one file written anew. The
form of *signatures* is not set: git sees it for itself, and a person who commits there signs as their own git does.
"""

from __future__ import annotations

import contextlib
import os
from contextlib import closing
from pathlib import Path

from llmos_lite.engines.git_lock import RepositoryLock
from llmos_lite.errors import LlmosError


def write_shared(path: Path, allowed_signers: Path) -> None:
    """Write the file that repositories include, unless it already says so.

    Args:
        path: the file.
        allowed_signers: the list of the keys that may sign.

    Raises:
        OSError: it cannot be written.
    """
    quoted = str(allowed_signers.absolute()).replace("\\", "\\\\").replace('"', '\\"')
    text = f'[gpg "ssh"]\n\tallowedSignersFile = "{quoted}"\n'
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if path.read_text() == text:
            return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.replace(path)


def include(gitdir: Path, shared: Path) -> None:
    """Have a repository's own configuration include the shared one; nothing happens when that cannot be written.

    Args:
        gitdir: the repository's own folder.
        shared: the file, named relative to the repository, so that both may be moved together.
    """
    line = f"[include]\n\tpath = {os.path.relpath(shared, gitdir)}\n"
    config = gitdir / "config"
    with contextlib.suppress(OSError, UnicodeDecodeError, LlmosError):  # read-only, or somebody is about to write it
        if line in config.read_text():
            return
        with closing(RepositoryLock(gitdir)) as ours, ours:  # whoever comes after a kill clears what it left
            _append(config, line)


def _append(config: Path, line: str) -> None:
    """Write a configuration anew as git does it, under a lock that git knows."""
    text, lock = config.read_text(), config.with_name("config.lock")
    handle = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(f"{text.rstrip()}\n{line}")
            file.flush()
            os.fsync(file.fileno())
        lock.replace(config)
    finally:
        lock.unlink(missing_ok=True)
