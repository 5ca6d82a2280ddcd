"""Writes a pack and its index (version 2): one file pair for a whole commit, and three fsyncs.

Formats: gitformat-pack(5). Objects are stored whole, without deltas; upkeep makes the deltas later.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, NamedTuple

from llmos_lite.engines.durable import sync_folder as sync_folder  # noqa: PLC0414 - others know it from here
from llmos_lite.engines.git_objects import TREE, NewObject

_LEVEL = 1
"""zlib level: 1 costs a fifth of 6 on conversations and gives back 4 %; upkeep packs again."""
_LARGE_TREE = 8192
_LARGE_OFFSET = 1 << 31


class _Packed(NamedTuple):
    oid: bytes
    crc: int
    offset: int


def write_pack(objects: Iterable[NewObject], folder: Path) -> str:
    """Store objects as one pack, durably.

    Args:
        objects: what to store; the same object twice is stored once.
        folder: `objects/pack` of the repository.

    Returns:
        The name of the pair of files, `pack-<sha1>`.

    Raises:
        OSError: the disk is full or cannot be written; nothing is left behind.
    """
    unique = list({item.oid: item for item in objects}.values())
    stem = folder / f"tmp_{os.getpid()}_{os.urandom(6).hex()}"
    pack, index = stem.with_suffix(".pack.tmp"), stem.with_suffix(".idx.tmp")
    try:
        packed, digest = _write_pack_file(unique, pack)
        _write_durably(index, _index(packed, digest))
        name = f"pack-{digest.hex()}"
        pack.rename(folder / f"{name}.pack")
        index.rename(folder / f"{name}.idx")
    except BaseException:
        pack.unlink(missing_ok=True)
        index.unlink(missing_ok=True)
        raise
    sync_folder(folder)
    return name


def _write_pack_file(objects: list[NewObject], path: Path) -> tuple[list[_Packed], bytes]:
    head = b"PACK" + struct.pack(">II", 2, len(objects))
    digest = hashlib.sha1(head, usedforsecurity=False)
    packed, offset = [], len(head)
    with path.open("xb") as file:
        file.write(head)
        for kind, oid, data, _ in objects:
            part = _entry_header(kind, len(data)) + zlib.compress(data, _level(kind, data))
            packed.append(_Packed(oid, zlib.crc32(part), offset))
            digest.update(part)
            file.write(part)
            offset += len(part)
        file.write(digest.digest())
        _finish(file)
    return packed, digest.digest()


def _level(kind: int, data: bytes) -> int:
    """Store a large tree as it is: it is made of hashes, gives back a quarter, and costs as much as all the rest."""
    return 0 if kind == TREE and len(data) > _LARGE_TREE else _LEVEL


def _entry_header(kind: int, size: int) -> bytes:
    """Return type and size, four bits and then seven at a time, lowest first."""
    byte, size = kind << 4 | size & 15, size >> 4
    header = bytearray()
    while size:
        header.append(byte | 128)
        byte, size = size & 127, size >> 7
    header.append(byte)
    return bytes(header)


def _index(packed: list[_Packed], pack_digest: bytes) -> bytes:
    packed.sort()
    counts = [0] * 256
    for item in packed:
        counts[item.oid[0]] += 1
    fanout = accumulate(counts)
    large = [item.offset for item in packed if item.offset >= _LARGE_OFFSET]
    offsets = _small_offsets(packed)
    size = len(packed)
    body = b"".join(
        [
            b"\377tOc" + struct.pack(">I256I", 2, *fanout),
            *[item.oid for item in packed],
            struct.pack(f">{size}I", *[item.crc for item in packed]),
            struct.pack(f">{size}I", *offsets),
            struct.pack(f">{len(large)}Q", *large),
            pack_digest,
        ]
    )
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def _small_offsets(packed: list[_Packed]) -> list[int]:
    """Return each offset, or the place of a large one in the table of large ones."""
    offsets, place = [], 0
    for item in packed:
        if item.offset < _LARGE_OFFSET:
            offsets.append(item.offset)
        else:
            offsets.append(_LARGE_OFFSET | place)
            place += 1
    return offsets


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        _finish(file)


def _finish(file: BinaryIO) -> None:
    file.flush()
    os.fchmod(file.fileno(), 0o444)
    os.fsync(file.fileno())
