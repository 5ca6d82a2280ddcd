"""What is recorded, in which order, and who sees it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import pairwise

import pytest
from auditing import ADMIN, ALICE, Room
from sqlalchemy.exc import IntegrityError

from llmos_lite.core.accounts.permissions import Actor, Role
from llmos_lite.core.audit import Audit, Caller
from llmos_lite.core.audit.chain import GENESIS, MOST_FACTS, Draft, digest
from llmos_lite.core.audit.checkpoints import Checkpoint
from llmos_lite.core.audit.floods import MOST, Floods
from llmos_lite.core.git.pushing import TO_MAIN, Pushes
from llmos_lite.core.git.repositories import Repository
from llmos_lite.engines.git import Author
from llmos_lite.engines.git_hooks import Arrival, Update
from llmos_lite.errors import Forbidden, Invalid, LlmosError, StorageFailed
from llmos_lite.records.audit import AuditFilter, AuditRecord
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.receiving import gitdir_of

BOB = Actor("bob", teams={"sre": Role.USER}, credential="key:4d5e6f70", key_id="4d5e6f70", client="192.0.2.9")

REF = VolumeRef.user("bob")


async def seen(room: Room, viewer: Actor, **wanted: object) -> list[AuditRecord]:
    return (await room.audit.page(viewer, AuditFilter(**wanted), limit=100)).items  # type: ignore[arg-type]


async def test_a_row_says_who_did_what_to_what_from_where_with_which_credential(room: Room) -> None:
    caller = Caller("198.51.100.1", "request-1")
    owned = replace(BOB, owner="front-end")
    await room.audit.record(owned, "skill.update", "user:bob/x", detail={"b": "2", "a": "1"}, caller=caller)
    (row,) = await room.all()
    assert (row.seq, row.prev, row.hash) == (1, GENESIS, digest(row))
    assert (row.actor, row.owner, row.credential) == ("bob", "front-end", "key:4d5e6f70")
    assert (row.client, row.request_id) == caller
    assert (row.action, row.target, row.about) == ("skill.update", "user:bob/x", "user:bob")
    assert (row.result, row.code, row.detail) == ("ok", "", '{"a": "1", "b": "2"}')


async def test_those_that_come_at_once_stand_in_one_chain(room: Room) -> None:
    await asyncio.gather(*(room.audit.record(ADMIN, "team.create", f"team:t-{number}") for number in range(50)))
    rows = await room.all()
    assert [row.seq for row in rows] == list(range(1, 51))
    assert all(row.prev == before.hash for before, row in pairwise(rows))
    assert sorted(row.target for row in rows) == sorted(f"team:t-{number}" for number in range(50))


async def test_two_processes_write_one_chain(room: Room) -> None:
    other = Audit(room.rows, room.checkpoints)
    await asyncio.gather(*(one.record(ADMIN, "a.b", "system") for one in (room.audit, other) * 10))
    assert (await room.verify()).rows == 20
    assert (await room.verify()).ok


async def test_somebody_who_gives_up_waiting_is_recorded_all_the_same(room: Room) -> None:
    waiting = [asyncio.create_task(room.audit.record(ADMIN, "a.b", "system")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await room.audit.record(ADMIN, "a.c", "system")
    assert [row.action for row in await room.all()][-1] == "a.c"
    assert (await room.verify()).ok


async def test_the_database_refuses_to_change_or_remove_a_row(room: Room) -> None:
    await room.write(2)
    for statement in ("UPDATE audit SET actor = 'nobody'", "DELETE FROM audit WHERE seq = 1"):
        with pytest.raises(IntegrityError, match="only grows"):
            await room.sql(statement)
    assert (await room.verify()).rows == 2


async def test_what_is_too_long_steers_a_terminal_or_opens_a_door_is_cut(room: Room) -> None:
    key = "llmos_0a1b2c3d_" + "5f" * 32
    detail = {f"k{number}": "v" for number in range(40)} | {"k1": "x" * 5000, "k2": "https://bob:secret@git.example/x"}
    await room.audit.record(None, "a.b", f"\x1b[31m{key}\ud800" + "t" * 500, detail=detail)
    (row,) = await room.all()
    assert len(row.target) == 200
    assert "\x1b" not in row.target
    assert "5f5f" not in row.target
    assert "llmos_0a1b2c3d_…" in row.target
    told = json.loads(row.detail)
    assert len(told) == MOST_FACTS
    assert (len(told["k1"]), told["k2"]) == (300, "https://…@git.example/x")
    assert row.hash == digest(row)


async def test_everybody_sees_what_concerns_them(room: Room) -> None:
    await room.audit.record(ADMIN, "volume.policy", "team:sre")
    await room.audit.record(ADMIN, "volume.policy", "team:ops")
    await room.audit.record(ADMIN, "user.change", "user:alice", detail={"active": "False"})
    await room.audit.record(BOB, "skill.create", "user:bob/x")
    await room.audit.record(replace(BOB, owner="alice"), "skill.create", "user:bob/y")
    await room.audit.record(ADMIN, "proposal.merge", "proposal:01K", about="team:sre")
    assert [row.target for row in await seen(room, ADMIN)][-1] == "team:sre"
    assert len(await seen(room, ADMIN)) == 6
    mine = await seen(room, ALICE)
    assert [row.target for row in mine] == ["proposal:01K", "user:bob/y", "user:alice", "team:sre"]
    assert {(row.client, row.credential, row.owner) for row in mine if row.actor == "admin"} == {("", "", "")}
    assert [row.client for row in mine if row.actor == "bob"] == ["192.0.2.9"]
    assert [row.target for row in await seen(room, BOB)] == ["user:bob/y", "user:bob/x"]
    assert await seen(room, Actor("carol")) == []


async def test_it_is_searched(room: Room) -> None:
    await room.audit.record(ADMIN, "key.create", "key:1")
    await room.audit.record(BOB, "key.revoke", "key:2", result="failed", code="storage.full")
    await room.audit.record(BOB, "keyring.x", "team:sre/a_b%")
    first = (await room.all())[0].time
    assert [row.target for row in await seen(room, ADMIN, action="key.")] == ["key:2", "key:1"]
    assert [row.action for row in await seen(room, ADMIN, actor="admin")] == ["key.create"]
    assert [row.action for row in await seen(room, ADMIN, target="team:sre")] == ["keyring.x"]
    assert await seen(room, ADMIN, target="team:sre/a.b") == []
    assert [row.code for row in await seen(room, ADMIN, result="failed")] == ["storage.full"]
    assert len(await seen(room, ADMIN, after=first)) == 3
    assert await seen(room, ADMIN, before=first) == []


async def test_pages_follow_each_other(room: Room) -> None:
    await room.write(5)
    found, cursor = list[int](), ""
    while True:
        page = await room.audit.page(ADMIN, AuditFilter(), limit=2, cursor=cursor)
        found += [row.seq for row in page.items]
        assert page.total == 5
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert found == [5, 4, 3, 2, 1]
    with pytest.raises(Invalid):
        await room.audit.page(ADMIN, AuditFilter(), cursor="nonsense")


async def test_an_export_has_every_row_as_a_line_for_a_system_admin(room: Room) -> None:
    await room.write(3)
    text = b"".join([block async for block in room.audit.export(ADMIN, AuditFilter(target="team:sre"))])
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3]
    assert digest(AuditRecord(**lines[1])) == lines[1]["hash"] == lines[2]["prev"]
    with pytest.raises(Forbidden):
        [block async for block in room.audit.export(ALICE, AuditFilter())]
    with pytest.raises(Forbidden):
        await room.audit.verify(ALICE)


async def test_refusals_that_repeat_are_counted(room: Room) -> None:
    async def refuse(actor: Actor) -> None:
        await room.audit.record(actor, "user.create", "user:x", result="refused", code="scope.missing")

    for _ in range(100):
        await refuse(BOB)
    await refuse(ALICE)
    assert [row.actor for row in await room.all()] == ["bob", "alice"]
    await room.audit.settle(everything=True)
    last = (await room.all())[-1]
    assert (last.actor, json.loads(last.detail)) == ("bob", {"times": "99"})
    await room.audit.settle(everything=True)
    assert len(await room.all()) == 3


async def test_a_row_that_cannot_be_written_is_said_and_the_next_one_can(room: Room) -> None:
    await room.sql("ALTER TABLE audit RENAME TO away")
    with pytest.raises(StorageFailed):
        await room.audit.record(ADMIN, "a.b", "system")
    await room.sql("ALTER TABLE away RENAME TO audit")
    await room.audit.record(ADMIN, "a.c", "system")
    assert [row.action for row in await room.all()] == ["a.c"]


async def test_a_checkpoint_is_made_when_there_is_something_new(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    await room.audit.settle(everything=True)
    assert room.checkpoints.all() == []
    await room.write(2)
    await room.audit.settle()
    assert [point.seq for point in room.checkpoints.all()] == [2]  # the first is due at once
    await room.write(1)
    await room.audit.settle()
    assert len(room.checkpoints.all()) == 1
    monkeypatch.setattr("llmos_lite.core.audit.log.EVERY_ROWS", 2)
    await room.write(1)
    await room.audit.settle()
    assert [(point.seq, point.signed) for point in room.checkpoints.all()] == [(2, True), (4, True)]
    await room.audit.stop()
    assert len(room.checkpoints.all()) == 2


async def test_the_end_waits_for_counts_and_marks_the_head(room: Room) -> None:
    room.audit.start()
    room.audit.start()
    for _ in range(2):
        await room.audit.record(BOB, "a.b", "system", result="refused", code="x.y")
    await room.audit.stop()
    await room.audit.stop()
    head = (await room.all())[-1]
    assert head.seq == 2
    found = room.checkpoints.all()[-1]
    assert (found.seq, found.hash) == (2, head.hash)


async def test_an_end_on_a_full_disk_is_logged(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_point: Checkpoint) -> None:
        raise StorageFailed("storage.full", "The disk is full.")

    await room.write(1)
    monkeypatch.setattr(room.checkpoints, "add", full)
    await room.audit.stop()
    assert "could not be brought to its end: The disk is full." in caplog.text
    with pytest.raises(LlmosError):
        await room.audit.checkpoint()


async def test_a_push_is_recorded_ref_by_ref_and_so_is_one_that_is_refused(room: Room) -> None:
    room.volumes.create(REF)
    store = room.volumes.open(PLATFORM, REF, write=True).store
    old = store.create_branch("aside")
    new = store.commit({"memory/x.md": b"X"}, "X", Author("bob", "bob@localhost"), branch="aside").oid
    repository = Repository(REF, gitdir_of(room.volumes, REF), ("refs/heads",), writable=True)
    push = Pushes(room.volumes, None, {}, room.audit).by(BOB, repository)  # type: ignore[arg-type]
    arrival = Arrival(None, (Update(TO_MAIN, old, new),))
    assert await push.check(arrival) == []
    await push.apply(arrival)
    moved = (await room.all())[-1]
    assert (moved.action, moved.target, moved.result, moved.actor) == ("git.push", "user:bob", "ok", "bob")
    assert json.loads(moved.detail) == {"ref": TO_MAIN, "old": old, "new": new}
    await push.apply(arrival)
    again = (await room.all())[-1]
    assert (again.result, again.code) == ("refused", "volume.moved")
    assert await push.check(Arrival(None, (Update("refs/heads/other", "", new),)))
    refused = (await room.all())[-1]
    assert (refused.result, refused.code) == ("refused", "push.refused")
    assert "only main takes a push" in json.loads(refused.detail)["why"]
    await room.sql("ALTER TABLE audit RENAME TO away")
    assert await push.check(Arrival(None, (Update("refs/heads/third", "", new),)))


def test_more_kinds_of_refusals_than_can_be_told_apart_are_counted_together() -> None:
    now = 0.0
    floods = Floods(lambda: now)
    drafts = [
        Draft(time=number, action="a.b", client=f"10.0.0.{number}", target="team:sre", result="refused")
        for number in range(200)
    ]
    first = [written for draft in drafts for written in floods.take(draft)]
    assert len(first) == MOST + 1
    assert (first[-1].client, first[-1].target, first[-1].action) == ("", "", "a.b")
    now = 61.0
    (counted,) = floods.take(drafts[0])[:1]
    assert counted.detail == {"times": str(200 - MOST - 1)}
