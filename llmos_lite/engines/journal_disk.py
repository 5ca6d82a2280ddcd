"""The files under the journal's log: a small seam, so that a test can cut the power or fill the disk."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

MOST_PARTS = 1024
"""Most buffers of one system call (IOV_MAX of Linux and macOS)."""


class Disk(Protocol):
    """The files of one folder, as far as the log needs them; every method may raise `OSError`."""

    def names(self) -> list[str]:
        """Return the names of the files."""

    def create(self, name: str, size: int) -> None:
        """Make a durable file that reads as zeros."""

    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return bytes of a file."""

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Write bytes that need not be durable yet."""

    def write_durably(self, name: str, offset: int, parts: Sequence[bytes]) -> None:
        """Write parts one behind the other, and return when they are on the disk."""

    def sync(self, name: str) -> None:
        """Return when everything that was written to a file is on the disk."""

    def remove(self, name: str) -> None:
        """Remove a file."""

    def close(self) -> None:
        """Close every file."""


class FolderDisk:
    """A real folder; its files are readable by their owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, tuple[int, int]] = {}

    def names(self) -> list[str]:
        """Return the names of the segments in the folder."""
        return sorted(path.name for path in self._folder.glob("*.seg"))

    def create(self, name: str, size: int) -> None:
        """Make a file that has its place on the disk; one that cannot be made whole is removed."""
        path = self._folder / name
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            _allocate(file, size)
            _sync(file)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(file)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""
        return (self._folder / name).stat().st_size

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return bytes of a file."""
        file, found = self._open(name)[0], b""
        # a system stops before a sector that is gone, and says so when it is asked for that one
        while len(found) < length and (part := os.pread(file, length - len(found), offset + len(found))):
            found += part
        return found

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Write bytes into the system's cache."""
        _write_all(self._open(name)[0], data, offset)

    def write_durably(self, name: str, offset: int, parts: Sequence[bytes]) -> None:
        """Write parts through to the disk: no copy, and one system call, so the interpreter's lock is lent out once."""
        plain, through = self._open(name)
        for start in range(0, len(parts), MOST_PARTS):
            some = parts[start : start + MOST_PARTS]
            length = sum(map(len, some))
            written = os.pwritev(through, some, offset)
            if written < length:
                _write_all(through, b"".join(some)[written:], offset + written)
            offset += length
        if through == plain:
            _sync(plain)

    def sync(self, name: str) -> None:
        """Return when everything that was written to a file is on the disk."""
        _sync(self._open(name)[0])

    def remove(self, name: str) -> None:
        """Remove a file."""
        for file in set(self._files.pop(name, ())):
            os.close(file)
        (self._folder / name).unlink()

    def close(self) -> None:
        """Close every file."""
        while self._files:
            for file in set(self._files.popitem()[1]):
                os.close(file)

    def _open(self, name: str) -> tuple[int, int]:
        if name not in self._files:
            plain = os.open(self._folder / name, os.O_RDWR)
            self._files[name] = plain, _open_through(self._folder / name, plain)
        return self._files[name]


def _open_through(path: Path, plain: int) -> int:
    """Open a file whose writes return when they are on the disk, where the system has that; else return `plain`."""
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: only this reaches the disk, and it is a call of its own
        return plain
    return os.open(path, os.O_WRONLY | os.O_DSYNC)


def _allocate(file: int, size: int) -> None:
    """Give a file its size, and its place on the disk where the system can: so a full disk shows here."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.ftruncate(file, size)


def _sync(file: int) -> None:
    if (full := getattr(fcntl, "F_FULLFSYNC", None)) is not None:
        fcntl.fcntl(file, full)
    else:
        os.fdatasync(file)


def _write_all(file: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written
