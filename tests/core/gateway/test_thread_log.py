"""Conversations on disk: what was written is read again, whatever became of the end; what is erased is gone."""

from __future__ import annotations

import asyncio
import base64
import errno
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_lite.core.chat.prompt import Prompt
from llmos_lite.core.gateway import thread_log
from llmos_lite.core.gateway.asked import Placed, Raw
from llmos_lite.core.gateway.thread_log import Kept, ThreadLog
from llmos_lite.core.gateway.threads import Thread, Threads
from llmos_lite.core.traces.trace import Exposure, SkillUse
from llmos_lite.errors import StorageFailed

USE = SkillUse("s", "S", "team:sre", "1" * 40, 0.5)
EXPOSURE = Exposure("team:sre", "s", "1" * 40, "control", 1.0, 0.5)
TEXTS = st.text(max_size=40)
THREADS = st.builds(
    Thread,
    conversation=TEXTS,
    trace_id=st.sampled_from(["t1", "t2", "t3"]),
    parent=TEXTS,
    goal_of=st.sampled_from(["", "t1"]),
    answered=st.booleans(),
    head=st.lists(TEXTS.filter(bool)).map(lambda pieces: Prompt(tuple(pieces))),
    later=st.lists(st.builds(Placed, st.integers(0, 99), TEXTS), max_size=3).map(tuple),
    skills=st.sampled_from([(), (USE,)]),
    exposures=st.sampled_from([(), (EXPOSURE,)]),
    commits=st.dictionaries(TEXTS, TEXTS, max_size=2),
    system=TEXTS,
    tools=st.booleans(),
    offered=st.lists(TEXTS, max_size=2).map(tuple),
    read=st.lists(TEXTS, max_size=2).map(tuple),
    after=TEXTS,
)
KEPT = st.lists(st.tuples(st.binary(min_size=16, max_size=16), THREADS), max_size=8)
slow = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(folder: Path, kept: list[Kept], **sizes: int) -> ThreadLog:
    found = ThreadLog(folder, **sizes)
    for one in kept:
        found.add([one])
    return found


def read(folder: Path) -> list[Kept]:
    return asyncio.run(ThreadLog(folder).load())


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def turn(number: int, trace_id: str = "", **fields: str) -> Kept:
    thread = Thread(
        conversation=f"c{number}", trace_id=trace_id or f"t{number}", head=Prompt(("skills " * 100,)), **fields
    )
    return number.to_bytes(16, "big"), thread


@slow
@given(kept=KEPT, data=st.data())
def test_what_was_written_is_read_again_up_to_where_a_file_is_torn(
    tmp_path_factory: pytest.TempPathFactory, kept: list[Kept], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("log") / "threads"
    written(folder, kept).close()
    assert read(folder) == kept
    for path in folder.glob("*"):
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))] + b"garbage")
        again = read(folder)
        assert again == kept[: len(again)]


def test_a_text_is_written_once_and_the_words_of_people_never(tmp_path: Path) -> None:
    log = written(tmp_path / "t", [turn(number, goal="My name is Bob") for number in range(20)])
    [path] = (tmp_path / "t").iterdir()
    assert path.read_bytes().count(b"skills skills") < 60
    assert b"Bob" not in path.read_bytes()
    assert (path.stat().st_mode | path.parent.stat().st_mode) & 0o077 == 0
    assert [thread.goal for _, thread in asyncio.run(log.load())] == [""] * 20


def test_a_piece_that_many_heads_share_is_written_once(tmp_path: Path) -> None:
    shared, own = "a skill of the team " * 50, [f"another {number}" for number in range(20)]
    heads = [Prompt((shared, piece, shared)) for piece in own]
    written(tmp_path, [(b"%d" % at, Thread(conversation="c", head=head)) for at, head in enumerate(heads)])
    [path] = tmp_path.iterdir()
    assert path.read_bytes().count(shared.encode()) == 1
    assert [thread.head for _, thread in read(tmp_path)] == heads


BEFORE = """
AAAADgRUpwqSoXSqdGhlIHNraWxscwAAAAhWWe/ekqF0pG1vcmUAAADvUHC5eJeha8QDb25l3gATrGNvbnZlcnNhdGlvbqJjMah0cmFjZV9pZKJ0MaZw
YXJlbnSgpGdvYWygp2dvYWxfb2agqGFuc3dlcmVkw6RoZWFkoKVsYXRlcpCmc2tpbGxzkYWoc2tpbGxfaWShc6RuYW1loVOmdm9sdW1lqHRlYW06c3Jl
p3ZlcnNpb26hMaVzY29yZcs/4AAAAAAAAKlleHBvc3VyZXOQp2NvbW1pdHOApnN5c3RlbaCldG9vbHPCp29mZmVyZWSQpGhlbGSQpHJlYWSQpG93ZWSQ
qHNlYXJjaGVkkKVhZnRlcqAAkZICAZCQAAAABHMy3n6SoXSgAAAAso7wK5SXoWvEA3R3b94AE6xjb252ZXJzYXRpb26iYzKodHJhY2VfaWSidDKmcGFy
ZW50onQxpGdvYWygp2dvYWxfb2agqGFuc3dlcmVkw6RoZWFkoKVsYXRlcpCmc2tpbGxzkKlleHBvc3VyZXOQp2NvbW1pdHOApnN5c3RlbaCldG9vbHPC
p29mZmVyZWSQpGhlbGSQpHJlYWSQpG93ZWSQqHNlYXJjaGVkkKVhZnRlcqACkJCQ
"""
"""Two turns as the version before wrote them, of which the head was one text."""


def test_a_log_of_before_is_read(tmp_path: Path) -> None:
    (tmp_path / "00000001.threads").write_bytes(base64.b64decode(BEFORE))
    use = SkillUse("s", "S", "team:sre", "1", 0.5)
    one = Thread(
        conversation="c1", trace_id="t1", head=Prompt(("the skills",)), later=(Placed(2, "more"),), skills=(use,)
    )
    assert read(tmp_path) == [(b"one", one), (b"two", Thread(conversation="c2", trace_id="t2", parent="t1"))]


def test_results_that_are_owed_come_back_as_they_were(tmp_path: Path) -> None:
    key, thread = turn(1)
    owed = (Raw(b'{"type": "function_call_output"}'), Raw(b"[1]"))
    written(tmp_path, [(key, Thread(conversation="c", owed=owed))])
    [(_, back)] = read(tmp_path)
    assert tuple(map(bytes, back.owed)) == tuple(map(bytes, owed))
    assert thread.weight > 0


def test_the_oldest_files_go(tmp_path: Path) -> None:
    written(tmp_path, [turn(number) for number in range(100)], file_bytes=2_000, most_files=3)
    assert len(list(tmp_path.iterdir())) == 3
    kept = read(tmp_path)
    assert [thread.conversation for _, thread in kept] == [f"c{number}" for number in range(100 - len(kept), 100)]
    again = ThreadLog(tmp_path, file_bytes=2_000, most_files=3)  # another process goes on in a file of its own
    again.add([turn(100)])
    assert read(tmp_path)[-1] == turn(100)


def test_a_file_whose_texts_are_not_there_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    written(tmp_path, [turn(1), turn(2)])
    [path] = tmp_path.iterdir()
    data = path.read_bytes()
    first = 8 + int.from_bytes(data[:4], "big")
    path.write_bytes(data[first:])
    assert read(tmp_path) == []


async def test_what_is_erased_is_on_no_disk(tmp_path: Path) -> None:
    log = written(tmp_path, [turn(1), turn(2, "gone"), turn(3, goal_of="gone"), turn(4)], file_bytes=1)
    log.add([turn(5, "gone")])
    await log.forget(["gone", "nobody"])
    assert [thread.trace_id for _, thread in await log.load()] == ["t1", "t4"]
    assert b"gone" not in on_disk(tmp_path)
    log.add([turn(6)])
    assert [thread.trace_id for _, thread in await log.load()] == ["t1", "t4", "t6"]
    await ThreadLog(tmp_path / "nothing").forget(["gone"])


def test_a_turn_that_comes_after_its_trace_was_erased_is_not_written(tmp_path: Path) -> None:
    log = ThreadLog(tmp_path, {"gone"})
    log.add([turn(1, "gone"), turn(2, goal_of="gone"), turn(3)])
    assert b"gone" not in on_disk(tmp_path)
    assert read(tmp_path) == [turn(3)]


async def test_what_cannot_be_erased_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = written(tmp_path, [turn(1, "gone")])

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StorageFailed):
        await log.forget(["gone"])


async def test_a_disk_that_is_full_costs_no_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = written(tmp_path, [turn(1)])
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:5]))
    log.add([turn(2)])

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "write", full)
    log.add([turn(3)])
    log.add([turn(4)])
    monkeypatch.setattr(os, "write", real)
    log.add([turn(5)])
    assert [thread.conversation for _, thread in await log.load()] == ["c1", "c5"]


def test_a_turn_that_cannot_be_written_takes_no_text_from_another(tmp_path: Path) -> None:
    log = written(tmp_path, [turn(1)])
    log.add([(b"broken", Thread(conversation="half \ud83d", head=Prompt(("never written",)))), turn(2)])
    log.add([turn(3)])
    assert read(tmp_path) == [turn(1), turn(3)]


async def test_a_copy_of_a_file_does_no_harm_and_is_erased_too(tmp_path: Path) -> None:
    written(tmp_path, [turn(1, "gone")]).close()
    (tmp_path / "00000001 (copy).threads").write_bytes((tmp_path / "00000001.threads").read_bytes())
    log = written(tmp_path, [turn(2)])
    await log.forget(["gone"])
    assert await log.load() == [turn(2)]
    assert b"gone" not in on_disk(tmp_path)


def test_what_came_before_does_not_push_out_what_is_new() -> None:
    threads = Threads(most=2)
    threads.keep(b"b", Thread(conversation="new"))
    threads.restore(
        [(b"a", Thread(conversation="old")), (b"b", Thread(conversation="older")), (b"c", Thread(conversation="c"))]
    )
    assert [threads.find([key]).thread is not None for key in (b"a", b"b", b"c")] == [False, True, True]
    assert threads.find([b"b"]).thread == Thread(conversation="new")


def test_what_was_remembered_before_and_after_counts_once() -> None:
    threads = Threads(most_text=2500)
    threads.keep(b"a", Thread(conversation="a", head=Prompt(("x" * 1000,))))
    threads.restore([])
    for key in (b"a", b"b"):
        threads.keep(key, Thread(conversation="c", head=Prompt(("y" * 1000,))))
    assert threads.find([b"a"]).thread is not None


async def test_a_turn_that_comes_while_others_are_forgotten_takes_no_file_from_under_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "threads"
    log = written(folder, [turn(1, "gone"), turn(2), turn(3)], file_bytes=1, most_files=3)
    loop, rewrite = asyncio.get_running_loop(), thread_log._rewrite

    def slow(files: Iterable[Path], gone: set[str]) -> None:
        found = list(files)
        asyncio.run_coroutine_threadsafe(added(), loop).result()
        rewrite(found, gone)

    async def added() -> None:
        log.add([turn(4)])

    monkeypatch.setattr(thread_log, "_rewrite", slow)
    await log.forget(["gone"])
    assert [thread.trace_id for _, thread in await log.load()] == ["t2", "t3", "t4"]
    for number in (5, 6):
        log.add([turn(number)])
    assert len(list(folder.iterdir())) == 3
    log.close()
