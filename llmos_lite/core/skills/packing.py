"""Files as one archive, packed: the same bytes for the same files, as long as zlib packs as it does.

What is published with a digest is in `parcels`, which packs nothing, so that its bytes hold on every machine.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping

from llmos_lite.engines.git_objects import File

_RECORD = 512
_GZIP = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff"
"""Head of a gzip file (RFC 1952): deflated, no name, no time, best compression, no operating system."""
_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""Zip knows no time before this."""
_UNIX = 3


def pack(files: Mapping[str, File]) -> bytes:
    """Return files as a .tar.gz: by path, in order of its bytes; no times, no owners, executables as such."""
    import tarfile  # noqa: PLC0415 - slow to load

    parts = list[bytes]()
    for name in sorted(files, key=str.encode):
        file, info = files[name], tarfile.TarInfo(name)
        info.size, info.mode = len(file.data), _mode(file)
        parts += [info.tobuf(tarfile.PAX_FORMAT), file.data, bytes(-info.size % _RECORD)]
    return _gzip(b"".join([*parts, bytes(2 * _RECORD)]))


def pack_zip(files: Mapping[str, File]) -> bytes:
    """Return files as a .zip, as `pack` does."""
    import zipfile  # noqa: PLC0415 - slow to load

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files, key=str.encode):
            info = zipfile.ZipInfo(name, _EARLIEST)
            info.create_system, info.external_attr = _UNIX, (0o100000 | _mode(files[name])) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, files[name].data)
    return stream.getvalue()


def below(folder: str, files: Mapping[str, File]) -> dict[str, File]:
    """Return files with their paths in a folder of that name."""
    return {f"{folder}/{name}": file for name, file in files.items()}


def _mode(file: File) -> int:
    return 0o755 if file.executable else 0o644


def _gzip(data: bytes) -> bytes:
    """Return data packed; Python's own writes another head in other versions."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = deflate.compress(data) + deflate.flush()
    return _GZIP + packed + zlib.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")
