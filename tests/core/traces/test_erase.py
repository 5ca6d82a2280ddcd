"""Erasure with the real lower layers: nothing of it is left in any object, page, row, file or archive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest
from erasing import MARKER, MINE, Erasing, gone, record, secret
from fork_server import ForkServer
from planted import traces_of
from trace_instance import ADMIN, ALICE, BOB, EVE, NOV, SRE, trace

from llmos_lite.core.accounts.permissions import Actor, Role, Scope
from llmos_lite.core.traces.erase import Eraser
from llmos_lite.core.traces.erasure_report import ErasureReport
from llmos_lite.core.traces.erasures import Erasure, Erasures
from llmos_lite.core.traces.reader import TraceReader
from llmos_lite.core.traces.trace import Feedback, Outcome, Share
from llmos_lite.engines.git import PLATFORM as PLATFORM_AUTHOR
from llmos_lite.errors import Forbidden, LlmosError, NotFound, Unavailable
from llmos_lite.records.catalog_patterns import PatternRecord
from llmos_lite.records.catalog_runs import RunRecord
from llmos_lite.volumes.access import PLATFORM, VolumeRef


@pytest.fixture
async def instance(tmp_path: Path) -> AsyncIterator[Erasing]:
    async with Erasing.opened(tmp_path / "data") as instance:
        yield instance


async def test_the_search_finds_what_is_there(instance: Erasing) -> None:
    await record(instance, secret(1), trace(2))
    await record(instance, secret(3), fold=False)
    found = "\n".join(traces_of(instance.data, MARKER))
    assert "journal" in found
    assert "rows.db" in found
    assert "table traces" in found
    assert "users/alice/traces.git" in found
    assert "teams/sre/traces.git" in found


@pytest.mark.parametrize("fold", [True, False], ids=["in Git", "in the journal"])
async def test_nothing_is_left_of_an_erased_trace_and_the_others_stay(instance: Erasing, *, fold: bool) -> None:
    others = [trace(number) for number in (0, 2, 3)]
    await record(instance, others[0], secret(1), *others[1:], fold=fold)
    await instance.log.feedback(ALICE, secret(1).id, Feedback(rating="down", note=MARKER, kept=MARKER))
    report = await instance.eraser.erase(ALICE, secret(1).id, reason="It was not meant for here")
    assert report.unfinished == {}
    assert {one.volume for one in report.volumes} == {"user:alice", "team:sre"}
    with pytest.raises(NotFound):
        await instance.log.get(ALICE, secret(1).id)
    page = await instance.log.page(ALICE)
    assert [row.trace_id for row in page.items] == [one.id for one in reversed(others)]
    for one in others:
        assert (await instance.log.get(ALICE, one.id)).trace == one
    gone(instance)
    assert Erasures(instance.data / "erasures").all() == []


async def test_a_tombstone_says_who_when_and_why(instance: Erasing) -> None:
    await record(instance, secret(1), trace(2))
    report = await instance.eraser.erase(ALICE, secret(1).id, reason="Because  I\nsay so")
    assert report.traces == 2
    mine = next(one for one in report.volumes if one.volume == "user:alice")
    assert mine.branches == ["2026-11"]
    assert mine.objects > 0
    (stone,) = await instance.catalog.traces.events([secret(1).id])
    assert stone.kind == "tombstone"
    store = instance.volumes.open(PLATFORM, MINE).traces
    line = json.loads(store.blob(stone.blob)[stone.offset :][: stone.length])
    assert (line["by"], line["reason"], line["kind"]) == ("alice", "Because I say so", "tombstone")
    assert line["at"] > NOV


async def test_months_that_hold_nothing_of_it_stay_as_they_are(instance: Erasing) -> None:
    await record(instance, trace(-60 * 1440), secret(1))
    before = instance.volumes.open(PLATFORM, MINE).traces.branches()
    report = await instance.eraser.erase(ALICE, secret(1).id)
    after = instance.volumes.open(PLATFORM, MINE).traces.branches()
    assert before["2026-09"] == after["2026-09"]
    assert "2026-11" not in after or before["2026-11"] != after["2026-11"]
    assert next(one for one in report.volumes if one.volume == "user:alice").branches == ["2026-11"]


async def test_who_may_erase_what(instance: Erasing) -> None:
    await record(instance, secret(1), secret(2), secret(4, "bob"))
    with pytest.raises(NotFound):
        await instance.eraser.erase(EVE, secret(1).id)
    with pytest.raises(NotFound):
        await instance.eraser.erase(BOB, secret(1).id)
    with pytest.raises(NotFound):  # a system admin names the volume
        await instance.eraser.erase(ADMIN, secret(1).id)
    team = (await instance.log.page(BOB, volume=SRE)).items
    bobs_view = next(row.trace_id for row in team if row.actor == "alice" and row.time == secret(1).time)
    with pytest.raises(Forbidden) as caught:
        await instance.eraser.erase(BOB, bobs_view)
    assert caught.value.code == "trace.not_yours"
    reader = Actor("alice", scopes=frozenset({Scope.TRACES_READ}))
    with pytest.raises(Forbidden):
        await instance.eraser.erase(reader, secret(1).id)
    with pytest.raises(Forbidden):
        await instance.eraser.forget(BOB, "alice")
    lead = Actor("lena", teams={"sre": Role.TEAM_ADMIN})
    report = await instance.eraser.erase(lead, bobs_view)
    assert [one.volume for one in report.volumes] == ["team:sre"]
    assert (await instance.log.get(ALICE, secret(1).id)).trace.id == secret(1).id
    report = await instance.eraser.erase(ADMIN, secret(1).id, volume=MINE)
    assert [one.volume for one in report.volumes] == ["user:alice"]
    mine = next(row.trace_id for row in team if row.actor == "alice" and row.time == secret(2).time)
    report = await instance.eraser.erase(ALICE, mine)  # by the id that the team knows
    assert {one.volume for one in report.volumes} == {"user:alice", "team:sre"}
    assert (await instance.log.page(ALICE)).total == 0
    assert (await instance.log.page(BOB)).total == 1


async def test_a_person_is_forgotten_everywhere(instance: Erasing) -> None:
    days = [secret(number * 1440) for number in range(0, 40, 3)]
    await record(instance, *days[:6], trace(7, "bob", team="sre", share=Share.DIGEST))
    await record(instance, *days[6:], fold=False)
    await instance.log.feedback(ALICE, days[0].id, Feedback(note=MARKER))
    report = await instance.eraser.forget(ALICE, "alice", reason="Leaving")
    assert report.traces == 2 * len(days)
    assert (await instance.log.page(ALICE)).total == 0
    assert [row.actor for row in (await instance.log.page(BOB, volume=SRE)).items] == ["bob"]
    gone(instance)
    assert (await instance.eraser.forget(ADMIN, "alice")).traces == 0


async def test_a_person_is_forgotten_in_events_that_only_a_later_version_knows(
    instance: Erasing, tmp_path: Path
) -> None:
    await instance.journal.append("user:alice", secret(1).id, json.dumps({"v": 2, "song": MARKER}).encode())
    await instance.journal.append("user:bob", trace(2, "bob").id, b'{"v":2,"song":"of bob"}')
    await instance.close()
    async with Erasing.opened(tmp_path / "data") as again:
        assert (await again.eraser.forget(ALICE, "alice")).traces == 1
        gone(again)
        assert traces_of(again.data, "song") != []


async def test_what_was_erased_does_not_come_back(instance: Erasing) -> None:
    await record(instance, secret(1), trace(2))
    await instance.eraser.erase(ALICE, secret(1).id)
    counts = await instance.log.store_many(MINE, [secret(1), trace(2), trace(5)])
    assert counts == (1, 2)
    await instance.log.reindex()
    assert {row.trace_id for row in (await instance.log.page(ALICE)).items} == {trace(2).id, trace(5).id}
    gone(instance)


async def test_feedback_that_was_on_its_way_is_dropped(instance: Erasing, tmp_path: Path) -> None:
    await record(instance, secret(1), trace(2))
    line = json.dumps(
        {"v": 1, "kind": "feedback", "id": "01KA0000000000000000000000", "trace_id": secret(1).id, "at": NOV,
         "volume": "user:alice", "by": "alice", "feedback": {"note": MARKER}}
    )  # fmt: skip
    await instance.eraser.erase(ALICE, secret(1).id)
    await instance.journal.append("user:alice", secret(1).id, line.encode())
    await instance.close()
    async with Erasing.opened(tmp_path / "data") as again:
        await again.log.settle()
        await again.log.fold()
        await again.database.compact()
        gone(again)


async def test_patterns_and_runs_say_nothing_of_it(instance: Erasing) -> None:
    await record(instance, secret(1), trace(2), trace(3))
    goal = secret(1).goal

    def pattern(key: str, goal: str, *examples: str) -> PatternRecord:
        return PatternRecord(
            pattern_id=key, volume="user:alice", goal=goal, count=3, users=1, success_rate=1.0,
            examples=json.dumps(examples), first=NOV, last=NOV,
        )  # fmt: skip

    await instance.catalog.patterns.put(pattern("p-1", goal, goal, "Goal 2"), [secret(1).id, trace(2).id, trace(3).id])
    await instance.catalog.patterns.put(pattern("p-2", goal, goal), [secret(1).id])
    await instance.catalog.patterns.put(pattern("p-3", "Goal 3", "Goal 3"), [trace(3).id])
    result = {"scope": "user", "details": [{"goal": goal[:40] + "…", "count": 3}, {"goal": "Goal 3"}], "left": [goal]}
    left = instance.data / "tmp" / "upload-1"
    left.parent.mkdir()
    left.write_text(MARKER)
    request = json.dumps({"path": str(left)})
    failed = RunRecord(
        run_id="r0", kind="import", actor="alice", created=NOV, state="failed", request=request, finished=1
    )
    await instance.catalog.runs.create(failed)
    run = RunRecord(run_id="r1", kind="evolve", actor="alice", created=NOV, state="done", request='{"scope": "user"}')
    await instance.catalog.runs.create(
        msgspec.structs.replace(run, result=json.dumps(result), error=f"ValueError: {MARKER}\nat line 3")
    )
    await instance.eraser.erase(ALICE, secret(1).id)
    assert not left.exists()
    patterns = {one.pattern_id: one for one in await instance.catalog.patterns.of("user:alice")}
    assert set(patterns) == {"p-1", "p-3"}
    first = patterns["p-1"]
    assert (first.goal, first.count, json.loads(first.examples)) == ("Goal 2", 2, ["Goal 2"])
    assert (patterns["p-3"].goal, patterns["p-3"].count) == ("Goal 3", 1)
    found = await instance.catalog.runs.get("r1")
    assert found is not None
    assert json.loads(found.result)["details"][1] == {"goal": "Goal 3"}
    assert json.loads(found.request) == {"scope": "user"}
    assert found.error == "(erased)\nat line 3"
    gone(instance)


async def test_work_that_goes_on_meanwhile_is_looked_through_when_it_has_ended(instance: Erasing) -> None:
    await record(instance, secret(1), trace(2))
    await instance.catalog.runs.create(
        RunRecord(run_id="r1", kind="evolve", actor="alice", created=NOV, state="running")
    )
    await instance.eraser.erase(ALICE, secret(1).id)
    assert len(Erasures(instance.data / "erasures").all()) == 1
    await instance.catalog.runs.update("r1", state="done", result=json.dumps({"goal": secret(1).goal}))
    (later,) = instance.eraser._later
    await later
    assert Erasures(instance.data / "erasures").all() == []
    gone(instance)


async def test_skills_that_quote_it_are_listed_and_evolved_ones_mended(instance: Erasing) -> None:
    volume = instance.volumes.open(PLATFORM, MINE, write=True)
    evolved = (
        f'---\nname: evolved\ndescription: \'Use when asked for something like "About {MARKER} please" or "Goal 2".\'\n'
        "---\n\n# Evolved\n\n## When to Use\n\n"
        f'- "About {MARKER} please"\n- "Goal 2"\n\n## Approach\n\n1. Look at it.\n\n## Example\n\n'
        f"Asked: About {MARKER} please\n\n> Well: {MARKER}.\n> And more.\n"
    )
    trailers = {"Evidence-Root": "abc", "Evidence-Count": "3", "Skill-Id": "evolved", "Pattern-Id": "p-1"}
    await record(instance, secret(1), trace(2))
    volume.write_skill("evolved", evolved, trailers=trailers)
    volume.write_skill("by-hand", f"---\nname: by-hand\ndescription: d\n---\n\nAs in: About {MARKER} please.\n")
    volume.write_skill("innocent", "---\nname: innocent\ndescription: d\n---\n\nNothing of the kind is in here.\n")
    report = await instance.eraser.erase(ALICE, secret(1).id, reason="Asked for")
    told = {(skill.skill_id, skill.replaced) for skill in report.skills}
    assert told == {("evolved", True), ("by-hand", False)}
    text = instance.volumes.open(PLATFORM, MINE).read_skill("evolved")
    assert MARKER not in text
    assert "1. Look at it." in text
    assert '- "Goal 2"' in text
    (commit,) = instance.volumes.open(PLATFORM, MINE).get_git_log(1, skill_id="evolved")
    assert commit.trailers["Evidence-Root"] == "abc"
    assert commit.trailers["Skill-Op"] == "erase"
    assert "Asked for" in commit.subject


async def test_what_a_skill_said_before_is_no_quotation(instance: Erasing) -> None:
    volume = instance.volumes.open(PLATFORM, MINE, write=True)
    text = f"---\nname: old\ndescription: d\n---\n\nAlways say {MARKER} and then stop.\n"
    store = volume.store
    store.commit({"skills/old/SKILL.md": text.encode()}, "Create skill: old", PLATFORM_AUTHOR, at=NOV - 86_400_000)
    await record(instance, secret(1))
    assert (await instance.eraser.erase(ALICE, secret(1).id)).skills == []


async def test_what_others_say_too_is_nobodys(instance: Erasing) -> None:
    volume = instance.volumes.open(PLATFORM, MINE, write=True)
    await record(instance, secret(1), secret(2))
    volume.write_skill("shared", f"---\nname: shared\ndescription: d\n---\n\nAbout {MARKER} please\n")
    assert (await instance.eraser.erase(ALICE, secret(1).id)).skills == []


async def test_a_volume_that_is_broken_is_reported_and_finished_later(instance: Erasing, tmp_path: Path) -> None:
    await record(instance, secret(1))
    head = instance.data / "volumes" / "teams" / "sre" / "traces.git" / "refs" / "heads" / "2026-11"
    good = head.read_text()
    head.write_text("nonsense\n")
    report = await instance.eraser.erase(ALICE, secret(1).id)
    assert list(report.unfinished) == ["team:sre"]
    assert [one.volume for one in report.volumes] == ["user:alice"]
    head.write_text(good)
    await instance.close()
    async with Erasing.opened(tmp_path / "data") as again:
        again.eraser.hide()
        assert (await again.log.page(BOB, volume=SRE)).total == 0
        (report,) = await again.eraser.resume()
        assert report.unfinished == {}
        gone(again)


class _Unreachable:
    def __init__(self) -> None:
        self.begun: list[VolumeRef] = []

    async def begin(self, volume: VolumeRef) -> None:
        self.begun.append(volume)

    async def erase(self, volume: VolumeRef, branches: object) -> list[str]:
        assert volume in self.begun
        if volume == SRE:
            raise Unavailable("remote.gone", "Nobody answers at mirror.example.")
        return [f"origin of {volume}: {branches}"]


async def test_mirrors_are_told_and_those_out_of_reach_named(instance: Erasing) -> None:
    eraser = Eraser(
        instance.data, instance.volumes, instance.catalog, instance.log, instance.archives, mirrors=[_Unreachable()]
    )
    await record(instance, secret(1))
    report = await eraser.erase(ALICE, secret(1).id)
    assert report.unreached == ["origin of user:alice: ['2026-11']", "Nobody answers at mirror.example."]


async def test_chats_go_on_while_it_erases(instance: Erasing) -> None:
    await record(instance, *[trace(number) for number in range(50)], secret(60))
    instance.log.start()
    task = asyncio.create_task(instance.eraser.erase(ALICE, secret(60).id))
    count = 0
    while not task.done():
        await instance.log.record(trace(100 + count))
        count += 1
        await asyncio.sleep(0.002)
    await task
    await instance.log.stop()
    assert count > 3
    rows = (await instance.log.page(ALICE, limit=500)).items
    assert {row.trace_id for row in rows} == {trace(n).id for n in [*range(50), *range(100, 100 + count)]}
    for row in rows[:: max(1, len(rows) // 20)]:
        assert (await instance.log.get(ALICE, row.trace_id)).outcome is Outcome.UNKNOWN
    await instance.database.compact()
    gone(instance)


async def test_reading_goes_on_while_a_month_is_rewritten(instance: Erasing, monkeypatch: pytest.MonkeyPatch) -> None:
    await record(instance, *[trace(number) for number in range(30)], secret(40))
    reads = 0
    looked = TraceReader._states

    async def late(reader: TraceReader, trace_ids: Sequence[str]) -> object:
        """Fail as when the rows were read just before the month was rewritten."""
        nonlocal reads
        reads += 1
        if reads == 1:
            raise NotFound("object.unknown", "There is no file with this id.")
        return await looked(reader, trace_ids)

    monkeypatch.setattr(TraceReader, "_states", late)
    assert (await instance.log.get(ALICE, trace(3).id)).trace == trace(3)
    monkeypatch.undo()
    task = asyncio.create_task(instance.eraser.erase(ALICE, secret(40).id))
    while not task.done():
        for number in range(0, 30, 7):
            assert (await instance.log.get(ALICE, trace(number).id)).trace == trace(number)
    await task


async def test_leftovers_of_a_process_that_died_are_removed(instance: Erasing) -> None:
    folder = instance.data / "tmp"
    (folder / "backup-x").mkdir(parents=True)
    (folder / "backup-x" / "part").write_text(MARKER)
    for name in ("upload-old", "upload-wanted", "somebody-elses"):
        (folder / name).write_text(MARKER)
    request = json.dumps({"path": str(folder / "upload-wanted")})
    await instance.catalog.runs.create(
        RunRecord(run_id="r1", kind="import", actor="alice", created=NOV, request=request)
    )
    again = Eraser(instance.data, instance.volumes, instance.catalog, instance.log, instance.archives)
    (folder / "upload-coming-in").write_text("of somebody who waits for it")
    await again.resume()
    assert sorted(path.name for path in folder.iterdir()) == ["somebody-elses", "upload-coming-in", "upload-wanted"]


STEPS = ("put", "cut", "place", "remove", "bury", "prune", "forget_traces", "patterns", "compact", "last")
CRASH = """
import asyncio, os, sys
sys.path[:0] = {paths!r}
from test_erase import *
from llmos_lite.core.traces import erase
from llmos_lite.engines.database import Database
from llmos_lite.engines.git_history import History
from llmos_lite.records.catalog_erasure import ErasureRows
from llmos_lite.records.catalog_patterns import PatternRows

TARGETS = dict(
    put=(Erasures, "put"), cut=(History, "rewrite"), place=(Eraser, "_place"), remove=(ErasureRows, "remove"),
    bury=(Eraser, "_bury"), prune=(History, "_prune"), forget_traces=(VolumeManager, "forget_traces"),
    patterns=(PatternRows, "of"), compact=(Database, "compact"), last=(Erasures, "remove"),
)

def kill_in(owner, name, after):
    inner = getattr(owner, name)
    if asyncio.iscoroutinefunction(inner):
        async def dying(*args, **given):
            if after: await inner(*args, **given)
            os.kill(os.getpid(), 9)
    else:
        def dying(*args, **given):
            if after: inner(*args, **given)
            os.kill(os.getpid(), 9)
    setattr(owner, name, dying)

async def main():
    async with Erasing.opened(Path({data!r})) as instance:
        await instance.log.settle()
        kill_in(*TARGETS[{step!r}], {after!r})
        await instance.eraser.forget(ALICE, "alice", reason="Leaving")

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "after", [pytest.param(False, id="before", marks=pytest.mark.soak), pytest.param(True, id="after")]
)
@pytest.mark.parametrize("step", STEPS)
async def test_kill_9_in_the_middle_is_finished_at_the_next_start(
    tmp_path: Path, forks: ForkServer, step: str, *, after: bool
) -> None:
    data = tmp_path / "data"
    async with Erasing.opened(data) as instance:
        await record(instance, secret(1), trace(2, "bob"), secret(40 * 1440))
        await record(instance, secret(3), fold=False)
    here = Path(__file__).parent
    code = CRASH.format(paths=[str(here), str(here.parents[1])], data=str(data), step=step, after=after)
    code = code.replace(
        "from test_erase import *", "from test_erase import *\nfrom llmos_lite.volumes.manager import VolumeManager"
    )
    ended = await asyncio.to_thread(forks.run, code)
    assert ended.code == -9, ended.said
    async with Erasing.opened(data) as instance:
        noted = Erasures(data / "erasures").all()
        assert len(noted) == (0 if (step, after) in {("put", False), ("last", True)} else 1)
        instance.eraser.hide()
        await instance.eraser.resume()
        if (step, after) == ("put", False):
            await instance.eraser.forget(ALICE, "alice")
        assert (await instance.log.page(ALICE)).total == 0
        assert (await instance.log.page(BOB)).total == 1
        stones = await instance.catalog.erasure.tombstones([secret(1).id, secret(3).id, secret(40 * 1440).id])
        assert len(stones) == 3
        gone(instance)


def test_what_is_noted_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    noted = Erasures(tmp_path / "data" / "erasures")
    erasure = Erasure(erasure_id="01", by="alice", at=NOV, copies={"user:alice": ("a", "b")}, marks=b"123")
    noted.put(erasure)
    noted.put(erasure)
    assert noted.all() == [erasure]
    assert (tmp_path / "data" / "erasures" / "01.erasure").stat().st_mode & 0o077 == 0
    noted.remove("01")
    noted.remove("01")
    assert noted.all() == []
    with pytest.raises(LlmosError):
        Erasures(tmp_path / "no" / "where").put(erasure)


def test_a_report_is_plain_data() -> None:
    assert msgspec.to_builtins(ErasureReport(erasure_id="1", traces=0))["volumes"] == []
