"""The rows: insert or update many, page with filters, cursors that nobody can craft."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.engines.database import Database
from llmos_lite.errors import Invalid
from llmos_lite.records import schema
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.catalog_patterns import PatternRecord
from llmos_lite.records.catalog_runs import RunRecord
from llmos_lite.records.catalog_skills import SkillRecord
from llmos_lite.records.catalog_traces import (
    EventRecord,
    Location,
    TraceFilter,
    TraceRecord,
    TraceSkillRecord,
    first_id,
)
from llmos_lite.records.cursor import decode_cursor, encode_cursor


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'rows.db'}")
    await schema.prepare(database)
    yield Catalog(database)
    await database.close()


def trace(number: int, **given: str | int) -> TraceRecord:
    values: dict[str, str | int] = {
        "trace_id": first_id(number * 1000)[:10] + f"{number:016d}",
        "volume": "user:alice",
        "actor": "alice",
        "conversation": f"c{number // 2}",
        "parent": "",
        "time": number * 1000,
        "goal": f"goal {number}",
        "text": f"goal {number} with 100% care_fully",
        "model": "m",
        "source": "chat",
        "ended": "complete",
        "outcome": "unknown",
    }
    return TraceRecord(**values | given)  # type: ignore[arg-type]  # the caller knows the columns


async def ids(catalog: Catalog, **given: object) -> list[int]:
    filters = TraceFilter(volumes=("user:alice",), **given)  # type: ignore[arg-type]  # the caller knows the filters
    rows = await catalog.traces.page(filters)
    assert rows.total == len(rows.items)
    return [int(row.trace_id[10:]) for row in rows.items]


async def test_rows_come_newest_first_page_by_page(catalog: Catalog) -> None:
    await catalog.traces.put([trace(number) for number in range(1201)])
    seen, cursor = [], None
    while True:
        rows = await catalog.traces.page(TraceFilter(volumes=("user:alice",)), limit=500, cursor=cursor)
        assert rows.total == 1201
        seen += [int(row.trace_id[10:]) for row in rows.items]
        if (cursor := rows.next_cursor) is None:
            break
    assert seen == list(range(1200, -1, -1))


async def test_filters_narrow(catalog: Catalog) -> None:
    used = TraceSkillRecord(trace(3).trace_id, "system", "review", "v1")
    rows = [trace(number) for number in range(6)]
    rows[2] = trace(2, outcome="success", text="Über_x".lower())
    rows[4] = trace(4, actor="bob")
    await catalog.traces.put(rows, [used])
    await catalog.traces.put([trace(9, volume="team:sre")])
    assert await ids(catalog, skill="review") == [3]
    assert await ids(catalog, outcome="success") == [2]
    assert await ids(catalog, actor="bob") == [4]
    assert await ids(catalog, after=2000, before=4000) == [3, 2]
    assert await ids(catalog, text="ÜBER_") == [2]
    assert await ids(catalog, text="100%") == [5, 4, 3, 1, 0]
    assert await ids(catalog, text="1000%") == []
    assert await ids(catalog, conversation="c1") == [3, 2]
    both = await catalog.traces.page(TraceFilter(volumes=("user:alice", "team:sre")), limit=2)
    assert (both.total, [int(row.trace_id[10:]) for row in both.items]) == (7, [9, 5])
    assert (await catalog.traces.page(TraceFilter(volumes=()))).total == 0
    assert (await catalog.traces.page(TraceFilter(), count=False)).total == 0


async def test_a_row_is_updated_by_its_id(catalog: Catalog) -> None:
    await catalog.traces.put([trace(1)])
    await catalog.traces.put([trace(1, blob="b", offset=5, length=7, branch="2026-11"), trace(2)])
    found = await catalog.traces.many([trace(1).trace_id, "unknown"])
    assert [row.location for row in found.values()] == [Location("2026-11", "b", 5, 7)]
    assert await catalog.traces.known([trace(1).trace_id, trace(2).trace_id]) == {trace(1).trace_id}
    await catalog.traces.set_outcomes([(trace(1).trace_id, "success", "up"), ("unknown", "failure", "")])
    row = await catalog.traces.get(trace(1).trace_id)
    assert row is not None
    assert (row.outcome, row.rating) == ("success", "up")


async def test_later_events_come_in_order_of_time(catalog: Catalog) -> None:
    events = [EventRecord(f"e{at}", "t", "user:alice", "feedback", at, "2026-11", "b", at, 1) for at in (3, 1, 2)]
    await catalog.traces.put_events(events)
    found = await catalog.traces.events(["t", "other"])
    assert [event.at for event in found] == [1, 2, 3]
    assert found[0].location == Location("2026-11", "b", 1, 1)


async def test_turns_of_a_volume_and_of_a_conversation(catalog: Catalog) -> None:
    await catalog.traces.put([trace(number) for number in (3, 2, 5)] + [trace(4, volume="user:bob")])
    assert [int(row.trace_id[10:]) for row in await catalog.traces.conversation("user:alice", "c1")] == [2, 3]
    assert [int(turn.trace_id[10:]) async for turn in catalog.traces.turns("user:alice")] == [2, 3, 5]
    assert await catalog.traces.volumes() == ["user:alice", "user:bob"]


async def test_rebuilding_makes_rows_what_git_says(catalog: Catalog) -> None:
    one = trace(1, blob="b")
    await catalog.traces.put([one], [TraceSkillRecord(one.trace_id, "system", "stale", "v")])
    await catalog.traces.set_outcomes([(one.trace_id, "success", "up")])
    used = [TraceSkillRecord(one.trace_id, "system", "real", "v")]
    await catalog.traces.rebuild([one, trace(2, blob="b")], used)
    row = await catalog.traces.get(one.trace_id)
    assert row is not None
    assert (row.outcome, row.rating) == ("unknown", "")
    assert await ids(catalog, skill="stale") == []
    assert await ids(catalog, skill="real") == [1]


async def test_rows_are_removed_by_their_ids(catalog: Catalog) -> None:
    used = [TraceSkillRecord(trace(number).trace_id, "system", "s", "v") for number in range(600)]
    await catalog.traces.put([trace(number, blob="b" if number else "") for number in range(600)], used)
    await catalog.traces.put_events([EventRecord("e", "t", "user:alice", "feedback", 1, blob="b")])
    traces, events = await catalog.traces.folded("user:alice")
    assert (len(traces), events) == (599, {"e"})
    assert await catalog.traces.folded("user:bob") == (set(), set())
    await catalog.traces.remove(sorted(traces), ["e"])
    assert await ids(catalog) == [0]
    assert await ids(catalog, skill="s") == [0]
    assert await catalog.traces.events(["t"]) == []


def test_a_cursor_reads_as_it_was_written() -> None:
    assert decode_cursor(encode_cursor(3, "x", 0.5), int, str, float) == (3, "x", 0.5)


@given(st.one_of(st.text(), st.binary().map(lambda raw: encode_cursor(raw.hex()) + "x"), st.just(encode_cursor(1))))
def test_a_crafted_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid) as caught:
        decode_cursor(cursor, str, int)
    assert caught.value.code == "cursor.invalid"


async def test_lists_refuse_a_crafted_cursor(catalog: Catalog) -> None:
    for listing in (
        catalog.traces.page(TraceFilter(), cursor="x"),
        catalog.patterns.page(["system"], cursor="WzFd"),
        catalog.runs.page(cursor="{}"),
    ):
        with pytest.raises(Invalid, match="cursor"):
            await listing


async def test_skill_rows(catalog: Catalog) -> None:
    def row(skill_id: str, version: str, created: int) -> SkillRecord:
        return SkillRecord(
            volume="system", skill_id=skill_id, version=version, origin="person", created=created, updated=created
        )

    await catalog.skills.put([row("a", "1", 1), row("b", "1", 1)])
    await catalog.skills.put([row("a", "2", 9)], keep=["created"])
    found = await catalog.skills.of("system")
    assert {key: (value.version, value.created, value.updated) for key, value in found.items()} == {
        "a": ("2", 1, 9),
        "b": ("1", 1, 1),
    }
    await catalog.skills.remove("system", "a")
    assert await catalog.skills.get("system", "a") is None
    assert await catalog.skills.get("system", "b") == row("b", "1", 1)
    await catalog.skills.remove("system")
    assert await catalog.skills.of("system") == {}


def pattern(pattern_id: str, count: int, volume: str = "user:alice") -> PatternRecord:
    return PatternRecord(
        pattern_id=pattern_id,
        volume=volume,
        goal="g",
        count=count,
        users=1,
        success_rate=0.5,
        examples='["g"]',
        first=1,
        last=2,
    )


async def test_patterns_and_their_members(catalog: Catalog) -> None:
    await catalog.patterns.put(pattern("p1", 3), ["t2", "t1", "t2"])
    await catalog.patterns.put(pattern("p2", 5), ["t3"])
    await catalog.patterns.put(pattern("q", 9, "user:bob"), [])
    assert await catalog.patterns.members("p1") == ["t1", "t2"]
    assert await catalog.patterns.members_of("user:alice") == {"p1": ["t1", "t2"], "p2": ["t3"]}
    await catalog.patterns.replace("user:alice", [pattern("p2", 6)], {"p2": ["t9"]})
    assert await catalog.patterns.of("user:alice") == [pattern("p2", 6)]
    assert await catalog.patterns.members("p1") == []
    assert await catalog.patterns.members("p2") == ["t9"]
    assert await catalog.patterns.get("q") == pattern("q", 9, "user:bob")
    assert await catalog.patterns.get("p1") is None


async def test_patterns_come_most_frequent_first(catalog: Catalog) -> None:
    for number in range(7):
        await catalog.patterns.put(pattern(f"p{number}", 10 - number // 2), [])
    first = await catalog.patterns.page(["user:alice", "system"], limit=5)
    rest = await catalog.patterns.page(["user:alice", "system"], limit=5, cursor=first.next_cursor)
    assert [row.pattern_id for row in first.items + rest.items] == [f"p{number}" for number in range(7)]
    assert (first.total, rest.next_cursor) == (7, None)


async def test_runs(catalog: Catalog) -> None:
    for number in range(3):
        await catalog.runs.create(RunRecord(run_id=f"r{number}", kind="evolve", actor="alice", created=number))
    await catalog.runs.create(RunRecord(run_id="r9", kind="import", actor="bob", created=9))
    assert await catalog.runs.update("r1", state="done", done=3, total=3, result='{"n":1}')
    assert not await catalog.runs.update("unknown", state="done")
    run = await catalog.runs.get("r1")
    assert run is not None
    assert (run.state, run.result, run.total) == ("done", '{"n":1}', 3)
    assert await catalog.runs.get("unknown") is None
    assert [row.run_id for row in await catalog.runs.unfinished()] == ["r0", "r2", "r9"]
    first = await catalog.runs.page(actor="alice", kind="evolve", limit=2)
    rest = await catalog.runs.page(actor="alice", kind="evolve", limit=2, cursor=first.next_cursor)
    assert [row.run_id for row in first.items + rest.items] == ["r2", "r1", "r0"]
    assert (first.total, rest.next_cursor) == (3, None)
