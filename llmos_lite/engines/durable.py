"""Names and files that outlive a cut of power: a file is durable when it was synced, a name when its folder was."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Make a folder durable with all that is in it, once nobody writes there any more; links are not followed."""
    for above, _, names in os.walk(folder, topdown=False):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                _sync_file(Path(above, name))
        sync_folder(Path(above))


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder, and those above it, durably; nothing happens when it is there.

    Raises:
        FileExistsError: something else stands there.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent, mode)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
    sync_folder(folder.parent)


def _sync_file(path: Path) -> None:
    if path.is_symlink():
        return
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
