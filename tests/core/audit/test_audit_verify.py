"""Whoever has the database file changes it; whoever has the keys, too, does not go unseen either."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pygit2
import pytest
from auditing import Room
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.audit.chain import GENESIS, Draft, digest, seal
from llmos_lite.core.audit.checkpoints import Checkpoint, Checkpoints
from llmos_lite.engines.signing import Signer
from llmos_lite.records.audit import AuditRecord
from llmos_lite.volumes.access import SYSTEM

ROWS, MARKED = 10, 8


async def replace_row(room: Room, record: AuditRecord) -> None:
    fields = msgspec.structs.asdict(record)
    sets = ", ".join(f"{name} = '{value}'" for name, value in fields.items() if name not in {"seq", "time", "detail"})
    await room.sql(f"UPDATE audit SET {sets} WHERE seq = {record.seq}")  # noqa: S608 - what an attacker writes


async def forge(room: Room, seq: int, *, onward: bool) -> None:
    """Change who did row `seq` and make its hash right; also of all rows after it."""
    rows = await room.all()
    prev = rows[seq - 2].hash if seq > 1 else GENESIS
    for row in rows[seq - 1 : None if onward else seq]:
        changed = msgspec.structs.replace(row, actor="mallory" if row.seq == seq else row.actor, prev=prev)
        changed = msgspec.structs.replace(changed, hash=digest(changed))
        await replace_row(room, changed)
        prev = changed.hash


async def edited(room: Room) -> None:
    await room.sql("UPDATE audit SET actor = 'mallory' WHERE seq = 4")


async def edited_with_its_hash(room: Room) -> None:
    await forge(room, 4, onward=False)


async def edited_with_all_hashes(room: Room) -> None:
    await forge(room, 4, onward=True)


async def edited_last(room: Room) -> None:
    await room.sql("UPDATE audit SET detail = '{}' WHERE seq = 10")


async def deleted(room: Room) -> None:
    await room.sql("DELETE FROM audit WHERE seq = 5")


async def deleted_and_closed_up(room: Room) -> None:
    await room.sql("DELETE FROM audit WHERE seq = 5", "UPDATE audit SET seq = seq - 1 WHERE seq > 5")


async def deleted_first(room: Room) -> None:
    await room.sql("DELETE FROM audit WHERE seq = 1")


async def swapped(room: Room) -> None:
    await room.sql(
        "UPDATE audit SET seq = 99 WHERE seq = 3",
        "UPDATE audit SET seq = 3 WHERE seq = 4",
        "UPDATE audit SET seq = 4 WHERE seq = 99",
    )


async def inserted(room: Room) -> None:
    rows = await room.all()
    await room.sql("UPDATE audit SET seq = seq + 100 WHERE seq > 5", "UPDATE audit SET seq = seq - 99 WHERE seq > 100")
    made = seal(Draft(time=rows[4].time, action="user.create", target="user:x"), 6, rows[4].hash)
    await room.rows.append(lambda _seq, _prev: [made])


async def cut_off(room: Room) -> None:
    await room.sql("DELETE FROM audit WHERE seq > 6")


async def emptied(room: Room) -> None:
    await room.sql("DELETE FROM audit")


TAMPERING: list[tuple[Callable[[Room], Awaitable[None]], int, str]] = [
    (edited, 4, "Row 4 was changed: its hash is another."),
    (edited_with_its_hash, 4, "Row 4 was changed: row 5 followed another."),
    (edited_with_all_hashes, 4, "the checkpoint of row 8 has another hash"),
    (edited_last, ROWS, "its hash is another"),
    (deleted, 5, "Row 5 is missing: after row 4 comes 6."),
    (deleted_and_closed_up, 5, "its hash is another"),
    (deleted_first, 1, "Row 1 is missing: after row 0 comes 2."),
    (swapped, 3, "its hash is another"),
    (inserted, 7, "its hash is another"),
    (cut_off, 7, "Rows 7 to 8 are missing: a checkpoint covers them."),
    (emptied, 1, "Rows 1 to 8 are missing"),
]


@pytest.mark.parametrize(("tamper", "first", "said"), TAMPERING, ids=lambda one: getattr(one, "__name__", ""))
async def test_tampering_is_found_and_the_first_wrong_row_is_named(
    room: Room, tamper: Callable[[Room], Awaitable[None]], first: int, said: str
) -> None:
    await room.write(3)
    await room.audit.checkpoint()
    await room.write(MARKED - 3)
    await room.audit.checkpoint()
    await room.write(ROWS - MARKED)
    before = await room.verify()
    assert (before.ok, before.rows, before.covered, before.checkpoints) == (True, ROWS, MARKED, 2)
    await room.break_lock()
    await tamper(room)
    report = await room.verify()
    assert (report.ok, report.first_wrong) == (False, first)
    assert said in report.problem


async def test_what_was_cut_off_after_the_last_checkpoint_cannot_be_seen(room: Room) -> None:
    await room.write(2)
    await room.audit.checkpoint()
    await room.write(2)
    await room.break_lock()
    await room.sql("DELETE FROM audit WHERE seq > 2")
    report = await room.verify()
    assert (report.ok, report.seq, report.covered) == (True, 2, 2)


async def test_a_checkpoint_that_the_platform_did_not_sign_is_found(room: Room, tmp_path: Path) -> None:
    await room.write(2)
    await room.audit.checkpoint()
    stranger = Checkpoints(room.volumes, Signer.open(tmp_path / "other-keys"))
    assert [point.signed for point in stranger.all()] == [False]
    repository = pygit2.Repository(str(room.volumes.folder(SYSTEM)))
    head = repository.references["refs/llmos/audit"]
    tip = repository[head.target].peel(pygit2.Commit)
    someone = pygit2.Signature("llmos-lite", "llmos@localhost")
    forged = repository.create_commit(None, someone, someone, tip.message, tip.tree_id, [tip.id])
    head.set_target(forged)
    repository.free()
    report = await room.verify()
    assert (report.ok, report.first_wrong) == (False, 0)
    assert "is not signed by a key of this platform" in report.problem


async def test_a_checkpoint_that_says_nothing_or_is_gone_is_found(room: Room) -> None:
    await room.write(1)
    await room.audit.checkpoint()
    room.checkpoints.add(Checkpoint(0, "", 0))
    assert "is not signed" in (await room.verify()).problem
    path = room.volumes.folder(SYSTEM) / ".git" / "refs" / "llmos" / "audit"
    path.write_text("1" * 40 + "\n")
    assert "cannot be read" in (await room.verify()).problem


async def test_an_empty_log_is_well(room: Room) -> None:
    report = await room.verify()
    assert (report.ok, report.rows, report.hash, report.covered) == (True, 0, "", 0)


async def test_checkpoints_are_in_no_branch(room: Room) -> None:
    await room.write(1)
    await room.audit.checkpoint()
    repository = pygit2.Repository(str(room.volumes.folder(SYSTEM)))
    assert list(repository.branches.local) == ["main"]
    assert "refs/llmos/audit" in repository.references
    repository.free()


@given(
    st.text(max_size=300),
    st.text(max_size=300),
    st.dictionaries(st.text(max_size=20), st.text(max_size=400), max_size=20),
    st.integers(0, 1 << 50),
)
def test_any_text_is_sealed_and_every_change_of_it_is_seen(
    actor: str, target: str, detail: dict[str, str], time: int
) -> None:
    row = seal(Draft(time=time, action="a.b", actor=actor, target=target, detail=detail), 7, GENESIS)
    assert row.hash == digest(row)
    assert row.target.encode().decode() == row.target
    for name in AuditRecord.__struct_fields__:
        value = getattr(row, name)
        changed = msgspec.structs.replace(row, **{name: value + 1 if isinstance(value, int) else value + "x"})
        assert name == "hash" or digest(changed) != row.hash


def test_the_hash_is_the_documented_one() -> None:
    row = seal(Draft(time=1, action="a.b", target="system", about="system", actor="admin"), 1, "")
    told = f'[1,1,1,"admin","","","","","a.b","system","system","ok","","{{}}","{GENESIS}"]'
    assert row.hash == hashlib.sha256(told.encode()).hexdigest()
