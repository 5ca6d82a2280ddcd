"""Little that unfolds into much is refused before it does."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core import archives
from llmos_lite.core.archives import BROKEN, untar
from llmos_lite.core.skills.install import unpack
from llmos_lite.core.traces.importers.registry import importers
from llmos_lite.core.traces.importers.work import Import, Target
from llmos_lite.errors import Invalid, LlmosError, TooLarge

MB = 1 << 20
PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gz": lambda data: gzip.compress(data, 1),
    "bz2": lambda data: bz2.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
}


def tar(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def header(kind: bytes, size: int, name: str = "x") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def read(data: bytes, most: int = MB) -> list[tuple[str, bytes]]:
    return [(member.name, content.read()) for member, content in untar(io.BytesIO(data), most)]


@pytest.mark.parametrize("kind", PACK)
def test_an_archive_is_read_however_it_is_packed(kind: str) -> None:
    files = [("a/x.txt", b"one"), ("b" * 300, b"two" * 5000), ("c", b"")]
    assert read(PACK[kind](tar(*files))) == files


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize(
    "bomb",
    [
        header(tarfile.XHDTYPE, 8 * MB) + bytes(8 * MB),
        header(tarfile.XGLTYPE, 8 * MB) + bytes(8 * MB),
        header(tarfile.GNUTYPE_LONGNAME, 8 * MB) + bytes(8 * MB),
        header(tarfile.GNUTYPE_LONGLINK, 8 * MB) + bytes(8 * MB),
        header(tarfile.REGTYPE, 8 * MB) + bytes(8 * MB),
        header(tarfile.REGTYPE, 1 << 40) + bytes(8 * MB),
        header(b"z", 8 * MB) + bytes(8 * MB),
    ],
    ids=["pax", "global pax", "long name", "long link", "file", "file that lies", "unknown"],
)
def test_what_unfolds_is_refused_before_it_is_in_memory(
    kind: str, bomb: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "_BESIDE", MB)
    packed = PACK[kind](bomb)
    tracemalloc.start()
    with pytest.raises(TooLarge) as refused:
        read(packed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.value.code == "archive.too_large"
    assert peak < 6 * MB


def test_a_sparse_file_counts_with_its_holes() -> None:
    fields = bytearray(header(tarfile.GNUTYPE_SPARSE, 0))
    fields[483:495] = b"00017777777\0"  # its whole size; 4 MiB
    fields[148:156] = b" " * 8
    fields[148:156] = f"{sum(fields):06o}\0 ".encode()
    with pytest.raises(TooLarge):
        read(bytes(fields) + bytes(1024))


def test_many_members_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 100)
    with pytest.raises(TooLarge):
        read(header(tarfile.SYMTYPE, 0) * 101 + bytes(1024))


def test_links_and_devices_are_left_out() -> None:
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)
    assert read(b"".join(header(kind, 0) for kind in kinds) + tar(("y", b"z"))) == [("y", b"z")]


@given(data=st.binary(max_size=2000), kind=st.sampled_from(sorted(PACK)))
def test_any_bytes_are_an_archive_or_none(data: bytes, kind: str) -> None:
    for content in (data, PACK[kind](tar(("x", data)))[: len(data)], PACK[kind](data)):
        try:
            read(content)
        except (LlmosError, *BROKEN):
            continue


@pytest.mark.parametrize("kind", PACK)
def test_skills_are_not_taken_from_a_bomb(kind: str) -> None:
    bomb = header(tarfile.XHDTYPE, 8 * MB) + bytes(8 * MB)
    with pytest.raises(TooLarge):
        unpack(io.BytesIO(PACK[kind](bomb)))


async def test_nor_are_traces(tmp_path: Path) -> None:
    async def store(traces: object) -> tuple[int, int]:
        raise AssertionError(traces)

    work = Import(Target("alice", "user:alice"), store, importers())
    path = tmp_path / "upload"
    path.write_bytes(PACK["xz"](header(tarfile.REGTYPE, 5 << 30) + bytes(MB)))
    with pytest.raises(TooLarge):
        await work.file(path)
    path.write_bytes(tar(("one", b"x" * 5000), ("two", b"y" * 50_000))[:20_000])
    with pytest.raises(Invalid) as refused:
        await work.file(path)
    assert refused.value.code == "import.broken_archive"
    assert os.listdir(tmp_path) == ["upload"]  # noqa: PTH208 - nothing else to say
