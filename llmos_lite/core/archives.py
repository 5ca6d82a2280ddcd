"""Tar and zip archives from outside: what they unfold to is bounded, and so is what a header may hold.

Python's own readers take a name, a comment or a directory of any size into memory, and 90 KB can unfold to gigabytes.
"""

from __future__ import annotations

import io
import lzma
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol, Self, cast

from llmos_lite.errors import TooLarge

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

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
_LARGEST_DIRECTORY = 8 << 20
"""Bytes of a zip's directory: room for 50,000 files with long names; Python makes an object of each at once."""
_END, _END_SIZE, _COMMENT = b"PK\x05\x06", 22, 1 << 16
_LOCATOR, _LOCATOR_SIZE = b"PK\x06\x07", 20


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of an archive: its name there, its bytes, whether it may be run; `read` works until the next."""

    name: str
    size: int
    executable: bool
    read: Callable[[], bytes]


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


def members(stream: IO[bytes], most: int) -> Iterator[Member]:
    """Yield the regular files of a tar or zip archive; links and devices are left out.

    Args:
        stream: the archive; a zip has to be one that can be sought in.
        most: bytes that all its files may have.

    Raises:
        TooLarge: `archive.too_large`.
        BROKEN: it is no archive.
    """
    if stream.seekable() and stream.read(4) in {b"PK\x03\x04", _END}:
        yield from _unzip(stream, most)
        return
    if stream.seekable():
        stream.seek(0)
    for info, content in untar(stream, most):
        yield Member(info.name, info.size, bool(info.mode & stat.S_IXUSR), content.read)


def _unzip(stream: IO[bytes], most: int) -> Iterator[Member]:
    import zipfile  # noqa: PLC0415 - seldom needed

    _check_directory(stream)
    with _as_broken(), zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            if info.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
                continue
            most -= info.file_size
            if most < 0:
                raise too_large()
            yield Member(info.filename, info.file_size, bool(mode & stat.S_IXUSR), _reader(archive, info))


def _reader(archive: ZipFile, info: ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        with _as_broken(), archive.open(info) as content:
            return content.read(info.file_size + 1)  # and no more than the directory says, whatever unfolds

    return read


@contextmanager
def _as_broken() -> Iterator[None]:
    """Turn what Python's reader raises into `BROKEN`; an encrypted file is a `RuntimeError` there."""
    from zipfile import BadZipFile, LargeZipFile  # noqa: PLC0415 - seldom needed

    try:
        yield
    except (BadZipFile, LargeZipFile, RuntimeError) as error:
        raise ValueError(str(error)) from error


def _check_directory(stream: IO[bytes]) -> None:
    """Raise for a zip whose directory is too large to be read at once, or has the form for more than 4 GB."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, size - _END_SIZE - _COMMENT - _LOCATOR_SIZE))
    tail = stream.read()
    stream.seek(0)
    at = tail.find(_END)
    while at >= 0:  # whichever of them Python takes for the end
        if int.from_bytes(tail[at + 12 : at + 16], "little") > _LARGEST_DIRECTORY:
            raise too_large()
        if tail[max(0, at - _LOCATOR_SIZE) : at].startswith(_LOCATOR):
            raise ValueError("zip64 is not taken")
        at = tail.find(_END, at + 1)


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
