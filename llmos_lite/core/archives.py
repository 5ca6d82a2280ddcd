"""Tar archives from outside, packed or not: what they unfold to is bounded, and so is what a header may hold.

Python's own reader takes a name or a comment of any size into memory, and 90 KB can unfold to gigabytes.
"""

from __future__ import annotations

import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, Protocol, Self, cast

from llmos_lite.errors import TooLarge

BROKEN = (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError)
"""What reading something else than an archive, or half of one, raises."""
LARGEST_HEADER = 1 << 20
"""Bytes of a long name, or of what else is said about a file."""
MOST_MEMBERS = 200_000
_BESIDE = 32 << 20
"""Bytes that headers and padding may take."""
_ABOUT = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)
_LONGEST_MAGIC = 6


class _Reads(Protocol):
    def read(self, size: int = -1, /) -> bytes:
        """Return at most so many bytes."""


def untar(stream: IO[bytes], most: int) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Yield the regular files of an archive, each to be read before the next; links and devices are left out.

    Args:
        stream: the archive, plain or packed by gzip, bzip2 or xz; read once, never sought in.
        most: bytes that all its files may have.

    Raises:
        TooLarge: `archive.too_large`.
        BROKEN: it is no archive.
    """
    count = 0
    bounded = cast("IO[bytes]", _Bounded(_unpacked(stream), most + _BESIDE))
    with tarfile.open(fileobj=bounded, mode="r|", tarinfo=_Info) as archive:
        for member in archive:
            count += 1
            if member.isreg():
                most -= member.size  # of a sparse file, all that is not there, too
            if most < 0 or count > MOST_MEMBERS:
                raise too_large()
            cast("Any", archive).members.clear()  # it remembers every one
            if member.isreg() and (content := archive.extractfile(member)) is not None:
                yield member, content


def too_large() -> TooLarge:
    """Return the error for an archive that unfolds to more than is taken."""
    return TooLarge("archive.too_large", "The archive unfolds to more than is taken here.", hint="Send it in parts.")


class _Info(tarfile.TarInfo):
    """A header; what comes in as many bytes as it says is refused before they are read."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.type in _ABOUT and found.size > LARGEST_HEADER:
            raise too_large()
        return found


class _Bounded:
    """What is read of an unpacked archive."""

    def __init__(self, inner: _Reads, left: int) -> None:
        self._inner, self._left = inner, left

    def read(self, size: int) -> bytes:
        data = self._inner.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise too_large()
        return data


class _Joined(io.RawIOBase):
    """A stream of which the beginning was read already."""

    def __init__(self, first: bytes, rest: IO[bytes]) -> None:
        self._first, self._rest = first, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]  # a buffer, as its callers give it
        data, self._first = self._first[: len(buffer)], self._first[len(buffer) :]
        data = data or self._rest.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _unpacked(stream: IO[bytes]) -> _Reads:
    first = stream.read(_LONGEST_MAGIC)
    joined = io.BufferedReader(cast("io.RawIOBase", _Joined(first, stream)))
    if first.startswith(b"\x1f\x8b"):
        import gzip  # noqa: PLC0415 - seldom needed

        return cast("_Reads", gzip.GzipFile(fileobj=joined))
    if first.startswith(b"BZh"):
        import bz2  # noqa: PLC0415 - as above

        return bz2.BZ2File(joined)
    if first.startswith((b"\xfd7zXZ\0", b"]\0\0")):
        return lzma.LZMAFile(joined)
    return joined
