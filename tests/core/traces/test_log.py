"""The log of traces: what was recorded can be read at once, by those who may, and survives everything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from trace_instance import ADMIN, ALICE, BOB, EVE, SRE, Instance, trace

from llmos_lite.core.accounts.permissions import PERSONAL, Actor, Scope
from llmos_lite.core.traces.lines import decode_event
from llmos_lite.core.traces.log import TraceLog, digest_of
from llmos_lite.core.traces.trace import Feedback, Message, Outcome, Share, SkillUse, ToolCall
from llmos_lite.errors import Forbidden, Invalid, NotFound, Unavailable
from llmos_lite.volumes.access import SYSTEM


@pytest.fixture
async def instance(tmp_path: Path) -> AsyncIterator[Instance]:
    async with Instance.opened(tmp_path) as instance:
        yield instance


async def test_a_trace_can_be_read_right_after_its_chat(instance: Instance) -> None:
    one = trace(1, skills_used=(SkillUse("review", "Review", "system", "v", 1.5),))
    await instance.log.record(one)
    view = await instance.log.get(ALICE, one.id)
    assert (view.trace, view.location, view.volume) == (one, None, "user:alice")
    page = await instance.log.page(ALICE)
    assert page.total == 1
    assert (page.items[0].trace_id, page.items[0].skills_used) == (one.id, one.skills_used)
    await instance.log.fold()
    assert instance.journal.pending() == []
    view = await instance.log.get(ALICE, one.id)
    assert view.trace == one
    assert view.location is not None
    store = instance.volumes.open(ALICE.principal, ALICE.volume).traces
    assert list(store.branches()) == ["2026-11"]
    line = store.blob(view.location.blob)[view.location.offset :][: view.location.length]
    assert decode_event(line).trace == one
    assert await instance.log.page(ALICE) == page


async def test_a_trace_is_kept_for_whoever_goes_away(instance: Instance) -> None:
    one = trace(1)

    async def record() -> None:
        await instance.log.record(one)

    gone = asyncio.create_task(record())
    await asyncio.sleep(0)
    gone.cancel()
    await instance.log.drain()
    assert gone.cancelled()
    assert (await instance.log.page(ALICE)).total == 1
    assert await instance.log.conversation(ALICE, one.conversation) == [one]
    await instance.log.fold()
    assert (await instance.log.get(ALICE, one.id)).location is not None


async def test_segments_lie_in_hours_and_months(instance: Instance) -> None:
    for number in (0, 1, 70, 60 * 24 * 31):
        await instance.log.record(trace(number))
    await instance.log.fold(ALICE.volume)
    store = instance.volumes.open(ALICE.principal, ALICE.volume).traces
    assert sorted(store.branches()) == ["2026-11", "2026-12"]
    assert store.log(branch="2026-11")[0].subject == "Keep 3 events"
    assert store.log(branch="2026-11")[0].author == "alice"
    hours = [entry.path for entry in store.tree("traces/2026/11/01", at="2026-11")]
    assert len(hours) == 2


async def test_strangers_see_nothing(instance: Instance) -> None:
    one = trace(1)
    await instance.log.record(one)
    for state in ("in the journal", "in Git"):
        for actor in (BOB, EVE, ADMIN):
            with pytest.raises(NotFound) as caught:
                await instance.log.get(actor, one.id)
            assert caught.value.code == "trace.unknown", state
            with pytest.raises(NotFound):
                await instance.log.conversation(actor, one.conversation)
            with pytest.raises(NotFound):
                await instance.log.feedback(actor, one.id, Feedback(rating="up"))
        with pytest.raises(NotFound):
            await instance.log.page(BOB, volume=ALICE.volume)
        with pytest.raises(NotFound):
            await anext(instance.log.export(EVE, volume=ALICE.volume))
        assert (await instance.log.get(ADMIN, one.id, volume=ALICE.volume)).trace == one
        assert (await instance.log.page(ADMIN, volume=ALICE.volume)).total == 1
        await instance.log.fold()
    with pytest.raises(NotFound):
        await instance.log.get(ALICE, "no such trace")


async def test_a_credential_needs_the_scope(instance: Instance) -> None:
    one = trace(1)
    await instance.log.record(one)
    narrow = Actor("alice", scopes=PERSONAL - {Scope.TRACES_READ})
    for reading in (instance.log.get(narrow, one.id), instance.log.page(narrow)):
        with pytest.raises(Forbidden) as caught:
            await reading
        assert caught.value.code == "scope.missing"
    assert await instance.log.conversation(narrow, one.conversation) == [one]


async def test_feedback_decides_the_outcome(instance: Instance) -> None:
    one = trace(1)
    await instance.log.record(one)
    with pytest.raises(Invalid):
        await instance.log.feedback(ALICE, one.id, Feedback())
    view = await instance.log.feedback(ALICE, one.id, Feedback(rating="down", note="wrong file"))
    assert (view.outcome, view.outcome_sources, view.rating) == (Outcome.FAILURE, ("feedback",), "down")
    await instance.log.fold()
    view = await instance.log.feedback(ALICE, one.id, Feedback(rating="up", kept="the text"))
    for _ in range(2):
        assert [(given.rating, given.note, given.kept, given.by) for given in view.feedback] == [
            ("down", "wrong file", "", "alice"),
            ("up", "", "the text", "alice"),
        ]
        assert (view.outcome, view.rating) == (Outcome.SUCCESS, "up")
        row = (await instance.log.page(ALICE, outcome=Outcome.SUCCESS)).items[0]
        assert (row.trace_id, row.rating) == (one.id, "up")
        await instance.log.fold()
        view = await instance.log.get(ALICE, one.id)
    assert (await instance.log.page(ALICE, outcome=Outcome.UNKNOWN)).total == 0


async def test_a_note_alone_decides_nothing(instance: Instance) -> None:
    one = trace(1)
    await instance.log.record(one)
    view = await instance.log.feedback(ALICE, one.id, Feedback(note="hm"))
    assert (view.outcome, view.rating, len(view.feedback)) == (Outcome.UNKNOWN, "", 1)


async def test_a_team_sees_a_digest(instance: Instance) -> None:
    one = trace(
        1,
        team="sre",
        share=Share.DIGEST,
        tool_calls=(ToolCall("grep", '{"secret": 1}', "found"),),
        skills_used=(SkillUse("review", "Review", "system", "v", 1.5),),
        commits={"user:alice": "abc"},
        error="model.cut",
    )
    await instance.log.record(one)
    page = await instance.log.page(BOB, volume=SRE)
    assert page.total == 1
    (row,) = page.items
    digest = (await instance.log.get(BOB, row.trace_id)).trace
    assert digest == digest_of(one)
    assert digest.id != one.id
    assert (digest.id[:10], digest.time, digest.goal) == (one.id[:10], one.time, one.goal)
    assert (digest.messages, digest.tool_calls, digest.source) == ((), (ToolCall("grep"),), "digest")
    assert (digest.skills_used, digest.actor, digest.error) == (one.skills_used, "alice", "")
    assert digest.conversation != one.conversation
    with pytest.raises(Forbidden) as caught:
        await instance.log.feedback(BOB, digest.id, Feedback(rating="up"))
    assert caught.value.code == "trace.not_yours"
    await instance.log.feedback(ALICE, one.id, Feedback(rating="up", note="private"))
    for _ in range(2):
        view = await instance.log.get(BOB, digest.id)
        assert (view.outcome, view.feedback) == (Outcome.SUCCESS, ())
        assert (await instance.log.page(BOB, volume=SRE)).items[0].outcome is Outcome.SUCCESS
        await instance.log.fold()
    with pytest.raises(NotFound):
        await instance.log.get(EVE, digest.id)
    assert (await instance.log.feedback(ALICE, digest.id, Feedback(rating="down"))).outcome is Outcome.FAILURE


async def test_a_team_sees_all_or_nothing_when_the_person_says_so(instance: Instance) -> None:
    full, none = trace(1, team="sre", share=Share.FULL), trace(2, team="sre")
    await instance.log.record(full)
    await instance.log.record(none)
    (row,) = (await instance.log.page(BOB, volume=SRE)).items
    assert (await instance.log.get(BOB, row.trace_id)).trace.messages == full.messages
    assert digest_of(none) is None
    assert digest_of(trace(3, share=Share.FULL)) is None


def test_a_digest_knows_its_parent_and_its_conversation() -> None:
    first = trace(1, team="sre", share=Share.DIGEST)
    second = trace(2, team="sre", share=Share.DIGEST, conversation=first.conversation, parent=first.id)
    one, other = digest_of(first), digest_of(second)
    assert one is not None
    assert other is not None
    assert (other.parent, other.conversation) == (one.id, one.conversation)
    assert digest_of(first, "ops") != one


async def test_a_conversation_is_remembered_and_read_again(instance: Instance) -> None:
    turns = [trace(number, conversation="c", parent="" if number == 1 else "x") for number in (1, 2, 3)]
    for turn in turns:
        await instance.log.record(turn)
        assert (await instance.log.conversation(ALICE, "c"))[-1] == turn
    assert await instance.log.conversation(ALICE, "c") == turns
    await instance.log.fold()
    cold = TraceLog(instance.volumes, instance.journal, instance.catalog)
    assert await cold.conversation(ALICE, "c") == turns
    assert await cold.conversation(ALICE, "c") == turns
    with pytest.raises(NotFound) as caught:
        await cold.conversation(BOB, "c")
    assert caught.value.code == "conversation.unknown"


async def test_export_gives_one_line_each(instance: Instance) -> None:
    for number in range(5):
        await instance.log.record(trace(number))
    await instance.log.fold()
    await instance.log.record(trace(5))
    await instance.log.feedback(ALICE, trace(2).id, Feedback(rating="up"))
    lines = [json.loads(line) async for line in instance.log.export(ALICE)]
    assert [line["trace"]["goal"] for line in lines] == [f"Goal {number}" for number in range(5, -1, -1)]
    assert [line["outcome"] for line in lines] == ["unknown"] * 3 + ["success"] + ["unknown"] * 2
    assert [line async for line in instance.log.export(ALICE, text="goal 3")] == [
        line async for line in instance.log.export(ALICE, after=trace(3).time, before=trace(4).time)
    ]


async def test_evolution_reads_conversations_and_their_traces(instance: Instance) -> None:
    await instance.log.record(trace(1, conversation="c", outcome=Outcome.SUCCESS))
    await instance.log.record(trace(2))
    await instance.log.record(trace(3, conversation="c", parent=trace(1).id))
    await instance.log.fold()
    first, second = await instance.log.conversations(ALICE.volume)
    assert (first.trace_id, first.goal, first.outcome, first.last) == (
        trace(1).id,
        "Goal 1",
        Outcome.SUCCESS,
        trace(3).time,
    )
    assert first.trace_ids == (trace(1).id, trace(3).id)
    assert second.trace_ids == (trace(2).id,)
    assert await instance.log.conversations(ALICE.volume, since=trace(3).time) == [first]
    ids = [trace(3).id, trace(1).id, "unknown", trace(3).id]
    assert [one.goal for one in await instance.log.read_many(ALICE.volume, ids)] == ["Goal 3", "Goal 1"]
    assert await instance.log.read_many(BOB.volume, ids) == []


async def test_imports_go_straight_into_git_and_only_once(instance: Instance) -> None:
    beside = TraceLog(instance.volumes, None, instance.catalog)
    heard: list[tuple[int, int]] = []
    traces = [trace(number * 50) for number in range(2500)]
    counts = await beside.store_many(ALICE.volume, iter(traces), lambda *seen: heard.append(seen), total=2500)
    assert counts == (2500, 0)
    assert heard == [(2000, 2500), (2500, 2500)]
    assert await beside.store_many(ALICE.volume, [*traces[:10], trace(1), trace(1)]) == (1, 11)
    assert (await beside.page(ALICE)).total == 2501
    assert (await beside.get(ALICE, traces[700].id)).trace == traces[700]
    with pytest.raises(Unavailable) as caught:
        await beside.record(trace(9))
    assert caught.value.code == "journal.elsewhere"


async def test_a_process_beside_the_server_leaves_unfolded_rows_alone(instance: Instance) -> None:
    await instance.log.record(trace(1))
    await instance.log.settle()
    beside = TraceLog(instance.volumes, None, instance.catalog)
    assert await beside.read_many(ALICE.volume, [trace(1).id]) == []
    await beside.reindex()
    assert (await instance.log.page(ALICE)).total == 1
    await beside.fold()
    assert beside.problems() == {}


async def test_lists_are_bounded_and_cursors_checked(instance: Instance) -> None:
    for number in range(3):
        await instance.log.record(trace(number))
    first = await instance.log.page(ALICE, limit=0)
    assert len(first.items) == 1
    second = await instance.log.page(ALICE, limit=10_000, cursor=first.next_cursor)
    assert (len(second.items), second.next_cursor, second.total) == (2, None, 3)
    with pytest.raises(Invalid):
        await instance.log.page(ALICE, cursor="made up")
    assert (await instance.log.page(ALICE, volume=SYSTEM)).total == 0


async def test_half_characters_harm_nobody(instance: Instance) -> None:
    half = "half \ud83d"
    await instance.log.record(trace(1, goal=half, messages=(Message("user", half),)))
    assert (await instance.log.get(ALICE, trace(1).id)).trace.goal == "half ?"
    assert await instance.log.store_many(ALICE.volume, [trace(2, goal=half), trace(3)]) == (2, 0)
    assert (await instance.log.page(ALICE, text=half)).total == 2
    with pytest.raises(NotFound):
        await instance.log.get(ALICE, half)
    with pytest.raises(NotFound):
        await instance.log.conversation(ALICE, half)


async def test_what_cannot_be_folded_does_not_fill_the_memory(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmos_lite.core.traces.fold.MOST_UNWRITTEN", 5)
    log = TraceLog(instance.volumes, instance.journal, instance.catalog, fold_events=1, fold_seconds=3600)
    log._folder._fail("user:alice", ValueError("broken"))
    log._folder._failures["user:alice"] = ("broken", 9, 1e15)
    log.start()
    for number in range(20):
        await log.record(trace(number))
    await until(lambda: len(log._folder._unwritten) < 5)
    assert len(instance.journal.pending()) == 20
    await instance.database.run(lambda connection: connection.exec_driver_sql("DROP TABLE traces"))
    for number in range(20, 40):
        await log.record(trace(number))
    await until(lambda: len(log._folder._unwritten) >= 20)
    await log.stop()
    assert len(instance.journal.pending()) == 40
    assert list(log.problems()) == ["user:alice"]


async def test_a_process_that_folds_nothing_lists_what_was_left(instance: Instance) -> None:
    await instance.log.record(trace(1))
    later = TraceLog(instance.volumes, instance.journal, instance.catalog)
    assert (await later.page(ALICE)).total == 1


async def test_the_background_folds_by_size(instance: Instance) -> None:
    log = TraceLog(instance.volumes, instance.journal, instance.catalog, fold_events=3, fold_seconds=3600)
    log.start()
    await log.record(trace(1))
    await log.record(trace(2))
    assert len(instance.journal.pending()) == 2
    await log.record(trace(3))
    await until(lambda: instance.journal.pending() == [])
    await log.stop()


async def test_the_background_folds_by_age_and_what_was_left(instance: Instance) -> None:
    await instance.log.record(trace(1))
    log = TraceLog(instance.volumes, instance.journal, instance.catalog, fold_seconds=0.01)
    log.start()
    await until(lambda: instance.journal.pending() == [])
    await log.record(trace(2))
    await until(lambda: instance.journal.pending() == [])
    await log.record(trace(3))
    await log.stop()
    assert instance.journal.pending() == []
    assert (await log.page(ALICE)).total == 3


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.to_thread(condition)  # let the other tasks and threads go on
