"""Files as one archive: in order, at its root, of 1980-01-01, of nobody, programs as programs.

Stored, the same files give the same bytes on every machine and at every time, so that a digest that somebody noted
holds. Packed, they do as long as zlib packs as it does.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from llmos_lite.engines.git_objects import File

TIME = 315_532_800
"""Seconds since the epoch of every file in an archive: 1980-01-01, before which a zip knows no time."""
_BLOCK = 512
_RECORD = 20 * _BLOCK
"""Bytes of a tar's records; its end is filled up to a whole one, tar(5)."""
_STORED = 0xFFFF
"""Bytes of a stored block of deflate, RFC 1951."""
_HEAD, _BEST, _ANY = b"\x1f\x8b\x08\0\0\0\0\0", b"\x02\xff", b"\0\xff"
"""Head of a gzip file, RFC 1952: deflated, no name, no time; then how well, and no operating system."""
_UNIX = 3

Files: TypeAlias = Iterable[tuple[str, File]]
"""Files with their paths, in their order."""


def pack(files: Mapping[str, File]) -> bytes:
    """Return files as a .tar.gz, packed, in order of path."""
    data = b"".join(tar(sorted(files.items())))
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = deflate.compress(data) + deflate.flush()  # Python's own writes another head in other versions
    return _HEAD + _BEST + packed + _end(zlib.crc32(data), len(data))


def pack_zip(files: Mapping[str, File]) -> bytes:
    """Return files as a .zip, packed, in order of path."""
    return zipped(sorted(files.items()), packed=True)


def zipped(files: Files, *, packed: bool = False) -> bytes:
    """Return files as a .zip."""
    import zipfile  # noqa: PLC0415 - slow to load

    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for path, file in files:
            info = zipfile.ZipInfo(path)  # of 1980-01-01
            info.create_system = _UNIX  # which keeps the mode, whatever this machine is
            info.external_attr = (0o100000 | _mode(file)) << 16
            info.compress_type = archive.compression
            archive.writestr(info, file.data)
    return target.getvalue()


def tar(files: Files) -> Iterator[bytes]:
    """Yield files as a .tar, in pieces."""
    size = 0
    for path, file in files:
        piece = _header(path, file) + file.data + bytes(-len(file.data) % _BLOCK)
        size += len(piece)
        yield piece
    yield bytes(2 * _BLOCK + -(size + 2 * _BLOCK) % _RECORD)


def stored_gzip(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Put pieces into a gzip file without packing them: five bytes for each 64 KiB, and no two zlibs differ."""
    yield _HEAD + _ANY
    crc = size = 0
    waiting = b""
    for piece in pieces:
        crc, size = zlib.crc32(piece, crc), size + len(piece)
        waiting += piece
        while len(waiting) > _STORED:
            yield _stored(waiting[:_STORED], last=False)
            waiting = waiting[_STORED:]
    yield _stored(waiting, last=True) + _end(crc, size)


def below(folder: str, files: Mapping[str, File]) -> dict[str, File]:
    """Return files with their paths in a folder of that name."""
    return {f"{folder}/{name}": file for name, file in files.items()}


def _mode(file: File) -> int:
    return 0o755 if file.executable else 0o644


def _header(path: str, file: File) -> bytes:
    """Return the header of a file; in the plainest form that holds its name, since small readers know no other."""
    import tarfile  # noqa: PLC0415 - slow to load

    info = tarfile.TarInfo(path)
    info.size, info.mode, info.mtime = len(file.data), _mode(file), TIME
    try:
        return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape")
    except ValueError:
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _stored(data: bytes, *, last: bool) -> bytes:
    return struct.pack("<BHH", last, len(data), len(data) ^ 0xFFFF) + data


def _end(crc: int, size: int) -> bytes:
    return struct.pack("<II", crc, size & 0xFFFFFFFF)
