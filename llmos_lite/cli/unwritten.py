"""The error for a file that could not be written: it names what was asked for, and not the draft beside it."""

from __future__ import annotations

import errno
from pathlib import Path

from llmos_lite.errors import StorageFailed


def unwritten(path: Path, error: OSError) -> StorageFailed:
    """Return it.

    Args:
        path: what was to be written.
        error: what the system said.
    """
    folder = path.absolute().parent
    if not folder.exists():
        why, hint = f"there is no folder {folder}", "Make the folder first, or name a file in another."
    elif error.errno in {errno.ENOSPC, errno.EDQUOT}:
        why, hint = "the disk is full", "Free space, or name a file on another disk."
    elif path.is_dir():
        why, hint = "it is a folder", "Name a file in it."
    else:
        why, hint = (error.strerror or str(error)).lower(), "Name a file where you may write."
    return StorageFailed("file.not_written", f"Could not write {path}: {why}.", hint=hint)
