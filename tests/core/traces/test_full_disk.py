"""The disk fills up in the middle of a fold, or of an edit: it is told, nothing is lost, and it goes on with room."""

from __future__ import annotations

import errno
import io
import os
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from kill_points import DEADLY
from trace_instance import ALICE, Instance, trace

from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.segments import list_segments, read_segment
from llmos_lite.engines.journal_local import LocalJournal
from llmos_lite.errors import StorageFailed
from llmos_lite.records import schema
from llmos_lite.volumes.access import PLATFORM, VolumeRef

MINE = VolumeRef.user("alice")
NEED_ROOM = sorted({*DEADLY, "posix_fallocate"} - {"unlink", "rmdir"})
PAGE = 4096


@asynccontextmanager
async def opened(data: Path, rows: Path) -> AsyncIterator[Instance]:
    """Open an instance with a small journal; its rows, which can be made anew, lie elsewhere."""
    instance = Instance(data)
    instance.journal.close()
    instance.journal = LocalJournal(data / "journal", segment=1 << 15)
    await instance.database.close()
    instance.database = type(instance.database)(f"sqlite+aiosqlite:///{rows}")
    instance.catalog = type(instance.catalog)(instance.database)
    instance.log = TraceLog(instance.volumes, instance.journal, instance.catalog)
    try:
        await schema.prepare(instance.database)
        yield instance
    finally:
        await instance.close()


def in_git(instance: Instance) -> Counter[str]:
    store = instance.volumes.open(PLATFORM, MINE).traces
    return Counter(
        placed.event.id
        for branch, head in store.branches().items()
        for _, blob in list_segments(store, head)
        for placed in read_segment(branch, blob, store.blob(blob))
    )


def sound(data: Path) -> None:
    for gitdir in [*data.glob("volumes/*/*/.git"), *data.glob("volumes/*/*/traces.git")]:
        command = ["git", "-c", "safe.directory=*", f"--git-dir={gitdir}", "fsck", "--strict", "--no-dangling"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert not list(gitdir.glob("objects/pack/tmp_*"))


@contextmanager
def full_from(call: int) -> Iterator[list[int]]:
    """Let every call fail that needs room, from the n-th on; yield how many there were."""
    calls = [0]

    def count() -> bool:
        calls[0] += 1
        return calls[0] >= call

    def needing(name: str, real: Any) -> Any:  # noqa: ANN401 - as os has them
        def asked(*arguments: Any, **given: Any) -> Any:  # noqa: ANN401
            if count():
                if name == "write" and len(arguments[1]) > 1:
                    return real(arguments[0], bytes(arguments[1])[:1])  # as a disk does that has a little room left
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments, **given)

        return asked

    def opening(file: Any, mode: str = "r", *rest: Any, **given: Any) -> Any:  # noqa: ANN401
        if set(mode) & set("wax") and count():
            raise OSError(errno.ENOSPC, "No space left on device", str(file))
        return inner(file, mode, *rest, **given)

    inner = io.open
    with pytest.MonkeyPatch.context() as patch:
        for name in NEED_ROOM:
            patch.setattr(os, name, needing(name, getattr(os, name)))
        patch.setattr(io, "open", opening)
        yield calls


async def test_a_disk_that_is_full_from_any_call_on_loses_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path / "data", tmp_path / "rows.db") as instance:
        recorded: list[str] = []
        failed = 0
        for call in range(1, 1000):
            recorded.append(trace(call).id)
            await instance.log.record(trace(call))
            with full_from(call) as calls, suppress(StorageFailed):
                await instance.log.fold()
            failed += bool(instance.log.problems())
            await instance.log.fold()
            assert instance.log.problems() == {}
            assert in_git(instance) == Counter(recorded), call
            assert instance.journal.pending() == []
            if calls[0] < call:
                break
    assert failed > 15, "a fold asks for room more often than that"
    sound(tmp_path / "data")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of a few megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this user may not mount a disk: {done.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def leave(disk: Path, room: int) -> None:
    """Fill a disk up to some bytes."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    free = os.statvfs(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free.f_bavail * free.f_frsize - room))


async def test_a_real_disk_that_fills_up_during_a_fold_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    async with opened(small_disk / "data", tmp_path / "rows.db") as instance:
        alice = instance.volumes.open(PLATFORM, MINE, write=True)
        recorded: list[str] = []
        told = edited = 0
        for pages in range(14):
            one = trace(pages, messages=trace(pages).messages * 20)
            await instance.log.record(one)
            recorded.append(one.id)
            leave(small_disk, pages * PAGE)
            with suppress(StorageFailed):
                await instance.log.fold()
            told += any("full" in problem for problem in instance.log.problems().values())
            assert await instance.log.get(ALICE, one.id), "it can be read though it is not folded"
            with suppress(StorageFailed):
                text = f"---\nname: note\ndescription: {pages}.\n---\n{os.urandom(2 * PAGE).hex()}\n"
                alice.write_skill("note", text)
                edited += 1
                assert alice.read_skill("note") == text
            (small_disk / "ballast").unlink()
            await instance.log.fold()
            assert in_git(instance) == Counter(recorded), pages
            assert instance.volumes.adopt(MINE) is None, "nobody edited anything"
        assert told >= 2
        assert 0 < edited < 14
        assert instance.journal.pending() == []
    sound(small_disk / "data")
