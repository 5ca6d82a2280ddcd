"""Files that can be made again: written whole or not at all, checked when read, never worth an error."""

from __future__ import annotations

import contextlib
import os
import zlib
from pathlib import Path

_SUM = 4


def read_cache(path: Path) -> bytes | None:
    """Return what was written under a name; None when it is not there, or not as it was written."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    content = data[_SUM:]
    return content if data[:_SUM] == _checksum(content) else None


def write_cache(path: Path, content: bytes) -> bool:
    """Write a file in one step and tell whether that worked; a full disk leaves what was there."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        _make(path.parent)
        beside.write_bytes(_checksum(content) + content)
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        return False
    return True


def _make(folder: Path) -> None:
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)  # `parents` would make those above readable for all


def _checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(_SUM, "little")
