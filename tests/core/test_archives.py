"""Little that unfolds into much is refused before it does."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core import archives
from llmos_lite.core.archives import BROKEN, members, untar
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


# Zip


def zipped(*files: tuple[str, bytes], mode: int = 0o100644) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr, info.compress_type = 3, mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return stream.getvalue()


def unzipped(data: bytes, most: int = MB) -> list[tuple[str, bytes, bool]]:
    return [(one.name, one.read(), one.executable) for one in members(io.BytesIO(data), most)]


def test_a_zip_is_read_with_its_executables() -> None:
    assert unzipped(zipped(("a/x", b"one"), ("ü", b""))) == [("a/x", b"one", False), ("ü", b"", False)]
    assert unzipped(zipped(("run", b"#!"), mode=0o100755)) == [("run", b"#!", True)]


@pytest.mark.parametrize("kind", [0o120000, 0o010000, 0o020000, 0o060000, 0o140000])
def test_links_and_devices_in_a_zip_are_left_out(kind: int) -> None:
    assert unzipped(zipped(("x/SKILL.md", b"/etc/passwd"), mode=kind | 0o777)) == []


def test_a_zip_that_unfolds_to_too_much_is_refused_before_it_does() -> None:
    bomb = zipped(*((f"{number}", bytes(MB)) for number in range(64)))
    assert len(bomb) < 100_000
    tracemalloc.start()
    with pytest.raises(TooLarge):
        unzipped(bomb, 3 * MB)
    assert tracemalloc.get_traced_memory()[1] < 8 * MB
    tracemalloc.stop()


def test_a_zip_that_lies_about_a_size_is_refused() -> None:
    data = zipped(("x", bytes(MB)))
    lying = data.replace(MB.to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(BROKEN):
        unzipped(lying)


@pytest.mark.parametrize("at", [-22, -60])
def test_a_zip_with_an_endless_directory_is_refused_unread(at: int) -> None:
    data = bytearray(zipped(("x", b"x")) + (b"" if at == -22 else bytes(38)))
    data[at + 12 : at + 16] = (1 << 30).to_bytes(4, "little")
    with pytest.raises(TooLarge):
        unzipped(bytes(data))


def test_what_a_zip_may_also_be_is_refused() -> None:
    data = zipped(("x", b"x"))
    with pytest.raises(BROKEN, match="zip64"):
        unzipped(data[:-22] + b"PK\x06\x07" + bytes(16) + data[-22:])
    locked = bytearray(data)
    locked[6] |= 1
    locked[data.rindex(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(BROKEN, match="encrypted"):
        unzipped(bytes(locked))
    with pytest.raises(BROKEN):
        unzipped(data[:40])


@given(st.binary(max_size=300), st.integers(0, 120), st.integers(0, 255))
def test_a_broken_zip_is_broken_and_nothing_else(more: bytes, at: int, byte: int) -> None:
    data = bytearray(zipped(("x/SKILL.md", b"text")) + more)
    data[at] = byte
    try:
        unzipped(bytes(data))
    except (*BROKEN, LlmosError):
        pass


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_no_link_and_no_device_comes_out_of_a_tar(kind: bytes) -> None:
    info = tarfile.TarInfo("x/SKILL.md")
    info.type, info.linkname = kind, "/etc/passwd"
    assert unpack(io.BytesIO(info.tobuf() + bytes(1024))) == []
