"""Git's index, patched: the one entry that a commit changed, and the checksum.

libgit2 writes all of it anew, checks every entry and syncs the disk, which costs more than the rest of a commit.
Formats: gitformat-index(5), versions 2 and 3. Extensions are caches, and dropped; one that is not is left to libgit2.
An entry whose file changed as late as the index was written may hide a change, so it is compared before the next one.
"""

from __future__ import annotations

import hashlib
import os
import struct
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple

_HEAD = struct.Struct(">4sII")
_ENTRY = struct.Struct(">10I20sH")
_EXTENDED, _STAGE, _LENGTH = 0x4000, 0x3000, 0x0FFF
_DIGEST = 20
_U32 = 0xFFFFFFFF
_SECOND = 1_000_000_000
_FEW = 32
"""Entries that are found one by one; for more, all are taken apart."""


class Unreadable(Exception):
    """The index is torn, or of a kind that this module does not write."""


class Busy(Exception):
    """Somebody's git holds the index."""


class Staged(NamedTuple):
    """What the index is to say of a file: mode and id as in the tree, and its times when they are known."""

    mode: int
    oid: bytes
    stat: os.stat_result | None = None

    def line(self, name: bytes) -> bytes:
        """Return the entry, without its name."""
        found, length = self.stat, min(len(name), _LENGTH)
        if found is None:
            return _ENTRY.pack(0, 0, 0, 0, 0, 0, self.mode, 0, 0, 0, self.oid, length)
        times = (*divmod(found.st_ctime_ns, _SECOND), *divmod(found.st_mtime_ns, _SECOND))
        numbers = (*times, found.st_dev, found.st_ino, self.mode, found.st_uid, found.st_gid, found.st_size)
        return _ENTRY.pack(*[number & _U32 for number in numbers], self.oid, length)


class _Known(NamedTuple):
    """An index as it was written: where its entries begin and the last one ends, and which ones may hide a change."""

    digest: bytes
    offsets: array[int]
    end: int
    racy: frozenset[bytes]


class IndexFile:
    """The index of one repository; the caller holds the repository lock.

    Args:
        gitdir: the repository's own folder.
        same: tells whether a file has the content of an id now.
    """

    def __init__(self, gitdir: Path, same: Callable[[str, bytes], bool]) -> None:
        self._path = gitdir / "index"
        self._same = same
        self._known: _Known | None = None

    def update(self, changes: Mapping[str, Staged | None]) -> None:
        """Make the index say this of some files; None says that there is none.

        Raises:
            Busy: somebody's git holds it.
            Unreadable: it is for libgit2.
            OSError: it cannot be written; it is as it was.
        """
        lock = self._path.with_name("index.lock")
        try:
            handle = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            raise Busy from None
        try:
            named = {path.encode("utf-8", "surrogateescape"): staged for path, staged in changes.items()}
            self._write(handle, lock, named)
        except BaseException:
            lock.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)

    def _write(self, handle: int, lock: Path, changes: Mapping[bytes, Staged | None]) -> None:
        raw, known = self._read()
        data = bytearray(raw[: known.end])
        self._smudge(data, known, changes)
        offsets = known.offsets
        if not self._patch(data, known, changes):
            data, offsets = _merged(data, offsets, changes)
        digest = hashlib.sha1(data, usedforsecurity=False).digest()
        _write_all(handle, bytes(data) + digest)
        written = os.fstat(handle).st_mtime_ns
        lock.rename(self._path)
        late = {name for name in known.racy.union(changes) if _mtime(data, _place(data, offsets, name)) >= written}
        self._known = _Known(digest, offsets, len(data), frozenset(late))

    def _read(self) -> tuple[bytes, _Known]:
        try:
            with self._path.open("rb") as file:
                raw, written = file.read(), os.fstat(file.fileno()).st_mtime_ns
        except FileNotFoundError:
            return _HEAD.pack(b"DIRC", 2, 0), _Known(b"", array("Q"), _HEAD.size, frozenset())
        if self._known is None or self._known.digest != raw[-_DIGEST:]:
            self._known = _parsed(raw, written)
        return raw, self._known

    def _smudge(self, data: bytearray, known: _Known, changes: Collection[bytes]) -> None:
        """Mark racy entries whose files changed meanwhile: with a size of 0, Git compares the content."""
        for name in known.racy:
            place = _place(data, known.offsets, name)
            if name in changes or place is None:
                continue
            oid = bytes(data[place + 40 : place + 60])
            if not self._same(name.decode("utf-8", "surrogateescape"), oid):
                data[place + 36 : place + 40] = bytes(4)

    def _patch(self, data: bytearray, known: _Known, changes: Mapping[bytes, Staged | None]) -> bool:
        """Replace entries that are there already; tell whether that was all."""
        if len(changes) > _FEW:
            return False
        places = {name: _place(data, known.offsets, name) for name in changes}
        if None in places.values() or None in changes.values():
            return False
        for name, place in places.items():
            staged = changes[name]
            if place is not None and staged is not None:
                data[place : place + _ENTRY.size] = staged.line(name)
        return True


def _mtime(data: bytes | bytearray, place: int | None) -> int:
    """Return when the file of an entry changed, in nanoseconds; 0 when that is not known."""
    if place is None:
        return 0
    seconds, nanoseconds = struct.unpack_from(">II", data, place + 8)
    return int(seconds * _SECOND + nanoseconds)


def _name(data: bytes | bytearray, offset: int) -> bytes:
    extended = data[offset + 60] & (_EXTENDED >> 8)
    start = offset + _ENTRY.size + (2 if extended else 0)
    return bytes(data[start : data.index(0, start)])


def _place(data: bytes | bytearray, offsets: array[int], name: bytes) -> int | None:
    """Return where the one plain entry of a file begins; None when it has none, or several, or one with more flags."""
    at = bisect_left(offsets, name, key=lambda offset: _name(data, offset))
    if at == len(offsets) or _name(data, offsets[at]) != name:
        return None
    flags = data[offsets[at] + 60] << 8
    return None if flags & (_STAGE | _EXTENDED) else offsets[at]


def _parsed(raw: bytes, written: int) -> _Known:
    """Take an index apart; `written` is its time in nanoseconds.

    Raises:
        Unreadable: it is torn, or has what this module does not write.
    """
    body, digest = raw[:-_DIGEST], raw[-_DIGEST:]
    if len(raw) < _HEAD.size + _DIGEST or (
        any(digest) and hashlib.sha1(body, usedforsecurity=False).digest() != digest
    ):
        raise Unreadable("torn")
    magic, version, count = _HEAD.unpack_from(raw)
    if magic != b"DIRC" or version not in (2, 3):
        raise Unreadable("version")
    offsets, offset, racy = array("Q"), _HEAD.size, set()
    for _ in range(count):
        offsets.append(offset)
        name = _name(raw, offset)
        if _mtime(raw, offset) >= written:
            racy.add(name)
        extra = 2 if raw[offset + 60] & (_EXTENDED >> 8) else 0
        offset += (_ENTRY.size + extra + len(name) + 8) // 8 * 8
    end = offset
    while offset < len(body):
        if not 65 <= body[offset] <= 90:  # noqa: PLR2004 - A to Z: an extension that may be ignored
            raise Unreadable("extension")
        offset += 8 + int.from_bytes(body[offset + 4 : offset + 8], "big")
    return _Known(digest, offsets, end, frozenset(racy))


def _merged(
    data: bytearray, offsets: array[int], changes: Mapping[bytes, Staged | None]
) -> tuple[bytearray, array[int]]:
    """Return the entries with new ones in their places, without those that a new one stands in the way of."""
    ends = [*offsets[1:], len(data)]
    entries = [(_name(data, start), bytes(data[start:end])) for start, end in zip(offsets, ends, strict=False)]
    added = {name for name, staged in changes.items() if staged is not None}
    above = {name[:at] for name in added for at in range(len(name)) if name[at] == ord("/")}
    kept = [
        (name, entry)
        for name, entry in entries
        if name not in changes and name not in above and not (added and _below(name, added))
    ]
    for name, staged in changes.items():
        if staged is not None:
            line = staged.line(name) + name
            kept.append((name, line + bytes(8 - len(line) % 8)))
    kept.sort(key=lambda item: (item[0], item[1][60] & (_STAGE >> 8)))
    made, places = bytearray(), array("Q")
    for _, entry in kept:
        places.append(_HEAD.size + len(made))
        made += entry
    version = _HEAD.unpack_from(data)[1]
    return bytearray(_HEAD.pack(b"DIRC", version, len(kept))) + made, places


def _below(name: bytes, added: set[bytes]) -> bool:
    at = name.find(b"/")
    while at >= 0:
        if name[:at] in added:
            return True
        at = name.find(b"/", at + 1)
    return False


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
