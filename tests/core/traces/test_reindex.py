"""Reindex: every row about traces and skills comes back from Git alone, as it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import delete, select
from trace_instance import ALICE, BOB, SRE, Instance, trace

from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.origins import skill_records
from llmos_lite.core.traces.rows import TraceIndexer, trace_row
from llmos_lite.core.traces.segments import Placed
from llmos_lite.core.traces.trace import Feedback, Outcome, Share, SkillUse, ToolCall
from llmos_lite.records.catalog_skills import SkillRecord
from llmos_lite.records.catalog_traces import EventRecord, Location
from llmos_lite.records.tables import Table
from llmos_lite.volumes.access import PLATFORM, SYSTEM
from llmos_lite.volumes.git_volume import GitVolume, author_of

REBUILT = ("traces", "trace_skills", "trace_events", "skills")
SKILL = "---\nname: review\ndescription: Reviews code.\n---\n\n# Review\n"


async def rows(instance: Instance) -> dict[str, list[tuple[object, ...]]]:
    """Return every row that a reindex rebuilds."""
    async with instance.database.reader() as session:
        return {
            name: sorted(tuple(row) for row in await session.execute(select(Table.metadata.tables[name])))
            for name in REBUILT
        }


async def wipe(instance: Instance) -> None:
    for name in REBUILT:
        async with instance.database.session() as session:
            await session.execute(delete(Table.metadata.tables[name]))


async def work(instance: Instance) -> None:
    """Do something of everything that leaves rows."""
    used = (SkillUse("review", "Review", "system", "v1", 2.0), SkillUse("review", "Review", "user:alice", "v2", 1.0))
    shared = trace(1, team="sre", share=Share.DIGEST, skills_used=used, tool_calls=(ToolCall("grep"),))
    await instance.log.record(shared)
    await instance.log.record(trace(60 * 24 * 40, conversation=shared.conversation, parent=shared.id))
    await instance.log.record(trace(3, "bob", outcome=Outcome.FAILURE, outcome_sources=("verifier",)))
    await instance.log.fold()
    await instance.log.feedback(ALICE, shared.id, Feedback(rating="down"))
    await instance.log.feedback(BOB, trace(3, "bob").id, Feedback(rating="up", note="it did not fail for me"))
    await instance.log.fold()
    await instance.log.feedback(ALICE, shared.id, Feedback(rating="up"))
    await instance.log.store_many(BOB.volume, [trace(number, "bob") for number in range(100, 140)])
    volume = instance.volumes.open(PLATFORM, SYSTEM, write=True)
    volume.write_skill("review", SKILL)
    await instance.catalog.skills.put(skill_records(volume))
    await instance.log.fold()


async def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    async with Instance.opened(tmp_path) as instance:
        await work(instance)
        before = await rows(instance)
        assert {name: len(found) for name, found in before.items()} == {
            "traces": 44,
            "trace_skills": 4,
            "trace_events": 5,
            "skills": 1,
        }
        outcomes = {row.trace_id: row.outcome for row in (await instance.log.page(ALICE)).items}
        assert outcomes[trace(1).id] is Outcome.SUCCESS
        await wipe(instance)
        heard: list[tuple[int, int]] = []
        report = await instance.log.reindex(lambda *seen: heard.append(seen))
        assert await rows(instance) == before
        assert heard[-1] == (report.segments, report.segments)
        assert (report.events, report.skills, report.broken) == (49, 1, {})
        again = await instance.log.reindex()
        assert await rows(instance) == before
        assert again == report


async def test_rows_of_the_journal_come_back_too(tmp_path: Path) -> None:
    async with Instance.opened(tmp_path) as instance:
        await instance.log.record(trace(1))
        await instance.log.fold()
        await instance.log.record(trace(2))
        await instance.log.feedback(ALICE, trace(1).id, Feedback(rating="up"))
        await instance.log.settle()
        before = await rows(instance)
        await wipe(instance)
        await instance.log.reindex()
        assert await rows(instance) == before


async def test_rows_of_what_is_gone_go(tmp_path: Path) -> None:
    async with Instance.opened(tmp_path) as instance:
        await work(instance)
        instance.volumes.close()
        (tmp_path / "volumes" / "users" / "bob").rename(tmp_path / "gone")
        await instance.log.reindex()
        assert await instance.catalog.traces.volumes() == ["team:sre", "user:alice"]


async def test_rows_that_git_knows_nothing_of_go(tmp_path: Path) -> None:
    async with Instance.opened(tmp_path) as instance:
        await work(instance)
        before = await rows(instance)
        made_up = trace_row(trace(77, skills_used=trace(1).skills_used), Location("2026-11", "f" * 40, 0, 1))
        await instance.catalog.traces.put([made_up])
        await instance.catalog.traces.put_events([EventRecord("e", "t", "user:alice", "feedback", 1, blob="f")])
        await instance.catalog.traces.set_outcomes([(trace(1).id, "failure", "down")])
        gone = SkillRecord(
            volume="system", skill_id="gone", version="f", origin="person", author="x", created=1, updated=1
        )
        await instance.catalog.skills.put([gone])
        await instance.log.reindex()
        assert await rows(instance) == before


async def test_folds_go_on_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server folds while another process rebuilds is not lost, nor is its feedback."""
    real = TraceIndexer.rebuild

    async with Instance.opened(tmp_path) as instance:
        await instance.log.record(trace(1))
        await instance.log.fold()
        beside = TraceLog(instance.volumes, None, instance.catalog)
        folded: list[int] = []

        async def rebuild(self: TraceIndexer, placed: Sequence[Placed]) -> list[str]:
            if not folded:
                folded.append(1)
                await instance.log.record(trace(2))
                await instance.log.feedback(ALICE, trace(1).id, Feedback(rating="up"))
                await instance.log.fold()
            return await real(self, placed)

        monkeypatch.setattr(TraceIndexer, "rebuild", rebuild)
        await beside.reindex()
        assert folded == [1]
        page = await instance.log.page(ALICE)
        assert [(row.trace_id, row.rating) for row in page.items] == [(trace(2).id, ""), (trace(1).id, "up")]


async def test_a_broken_volume_is_told_and_the_others_are_rebuilt(tmp_path: Path) -> None:
    async with Instance.opened(tmp_path) as instance:
        await work(instance)
        instance.volumes.close()
        (tmp_path / "volumes" / "users" / "alice" / ".git" / "HEAD").unlink()
        (tmp_path / "volumes" / "users" / "alice" / ".git" / "config").unlink()
        report = await instance.log.reindex()
        assert list(report.broken) == ["user:alice"]
        assert (await instance.log.page(ALICE)).total == 2
        assert (await instance.log.page(BOB)).total == 41


async def test_others_rebuild_their_rows_by_hooks(tmp_path: Path) -> None:
    seen: list[str] = []

    async def hook(volume: GitVolume) -> None:
        seen.append(str(volume.ref))

    async with Instance.opened(tmp_path) as instance:
        instance.volumes.create(SYSTEM)
        instance.volumes.create(SRE)
        await instance.log.reindex(hooks=[hook])
    assert seen == ["system", "team:sre"]


def test_the_history_tells_where_a_skill_came_from(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    volume = instance.volumes.open(PLATFORM, ALICE.volume, write=True)
    alice = author_of("alice")
    volume.write_skill("review", SKILL, author=alice)
    volume.write_skill(
        "evolved", SKILL, "Evolution: Create skill evolved from 3 traces", trailers={"Generator": "steps"}
    )
    volume.write_skill("patterned", SKILL, author=alice, trailers={"Pattern-Id": "p1"})
    volume.write_skill("imported", SKILL, author=alice, trailers={"Skill-Op": "import"})
    volume.write_skill("starter", SKILL)
    volume.write_skill("again", SKILL, "Evolution: Create skill again from 3 traces")
    volume.delete_skill("again", author=alice)
    volume.write_skill("again", SKILL + "by hand", author=alice)
    volume.write_skill("evolved", SKILL + "better", author=alice)
    (instance.volumes.folder(ALICE.volume) / "skills" / "dropped.md").write_text(SKILL)
    instance.volumes.adopt(ALICE.volume)
    records = {record.skill_id: record for record in skill_records(volume)}
    assert {skill_id: (record.origin, record.author) for skill_id, record in records.items()} == {
        "again": ("person", "alice"),
        "dropped": ("person", "alice"),
        "evolved": ("evolution", "alice"),
        "imported": ("import", "alice"),
        "patterned": ("evolution", "alice"),
        "review": ("person", "alice"),
        "starter": ("system", "llmos-lite"),
    }
    assert records["patterned"].pattern_id == "p1"
    versions = {entry.skill_id: entry.version for entry in volume.list_skills()}
    assert {skill_id: record.version for skill_id, record in records.items()} == versions
    assert records["evolved"].created <= records["evolved"].updated
    instance.journal.close()
    instance.volumes.close()


def test_a_skill_that_main_just_got_has_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list may be newer than the history that was read."""
    instance = Instance(tmp_path)
    volume = instance.volumes.open(PLATFORM, ALICE.volume, write=True)
    volume.write_skill("review", SKILL, author=author_of("alice"))
    monkeypatch.setattr("llmos_lite.core.traces.origins._steps", lambda _volume: iter(()))
    assert [record.skill_id for record in skill_records(volume)] == ["review"]
    instance.journal.close()
    instance.volumes.close()
