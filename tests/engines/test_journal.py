"""The journal on one machine: what survives a kill, a cut of power, a full disk and a broken one."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from power_cut import PowerCutDisk

from llmos_lite.engines import journal_disk, journal_log
from llmos_lite.engines.journal import Batch, Beside, Entry
from llmos_lite.engines.journal_disk import FolderDisk
from llmos_lite.engines.journal_local import LocalJournal
from llmos_lite.engines.journal_log import SECTOR, Frame, Kind, Place, SegmentLog
from llmos_lite.errors import Conflict, LlmosError, StorageFailed

CHANCE = random.Random(1)  # noqa: S311 - chance, not secrets


def name(entries: Sequence[Entry]) -> list[str]:
    return [f"segment-{entries[0].seq}"]


def held(journal: LocalJournal) -> list[bytes]:
    return [entry.line for entry in journal.pending()]


def fold(journal: LocalJournal, volume: str, limit: int = 2000) -> Batch | None:
    batch = journal.fix(volume, name, limit=limit)
    if batch is not None:
        journal.finish(batch)
    return batch


async def test_a_new_process_finds_everything(tmp_path: Path) -> None:
    journal = LocalJournal(tmp_path / "j")
    await journal.append_many([("user:a", "t1", b"1"), ("user:b", "t2", b"2")])
    fixed = journal.fix("user:a", name)
    journal.close()
    again = LocalJournal(tmp_path / "j")
    assert held(again) == [b"1", b"2"]
    assert again.fix("user:a", name) == fixed
    seq = await again.append("user:a", "t3", b"3")
    assert seq > max(entry.seq for entry in again.pending()[:2])
    assert again.damaged == 0
    again.close()


async def test_its_files_are_private(tmp_path: Path) -> None:
    journal = LocalJournal(tmp_path / "j")
    await journal.append("user:a", "t", b"x")
    assert stat.S_IMODE((tmp_path / "j").stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "j").iterdir()} == {0o600}
    journal.close()


def test_one_process_holds_it(tmp_path: Path) -> None:
    journal = LocalJournal(tmp_path / "j")
    with pytest.raises(Conflict) as caught:
        LocalJournal(tmp_path / "j")
    assert caught.value.code == "journal.held"
    journal.close()
    LocalJournal(tmp_path / "j").close()


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed):
        LocalJournal(tmp_path / "file" / "j")


async def test_what_is_finished_is_overwritten(tmp_path: Path) -> None:
    journal = LocalJournal(tmp_path / "j")
    for number in range(20):
        await journal.append(f"user:u{number % 2}", f"t{number}", b"secret-%d" % (number % 2))
    fold(journal, "user:u1")
    content = b"".join(file.read_bytes() for file in (tmp_path / "j").glob("*.seg"))
    assert b"secret-1" not in content
    assert content.count(b"secret-0") == 10
    fold(journal, "user:u0")
    content = b"".join(file.read_bytes() for file in (tmp_path / "j").glob("*.seg"))
    assert b"secret" not in content
    assert b"user:" not in content
    journal.close()


class _Overwriting(FolderDisk):
    """Lets somebody look while an event is being overwritten."""

    look: Callable[[], None] | None = None
    fails = False

    def write(self, name: str, offset: int, data: bytes) -> None:
        super().write(name, offset, data)
        if self.look is not None and len(data) > journal_log.ALIGN:
            self.look()
        if self.fails:
            raise OSError(errno.EIO, "Input/output error")


async def test_nobody_reads_an_event_while_it_is_overwritten(tmp_path: Path) -> None:
    seen: list[tuple[list[Entry], list[Entry]]] = []
    disk = _Overwriting(tmp_path / "j")
    journal = LocalJournal(tmp_path / "j", disk=disk)
    await journal.append_many([("user:a", "t1", b"x" * 100), ("user:b", "t2", b"y" * 100)])
    disk.look = lambda: seen.append((journal.pending(), journal.get("t1")))
    fold(journal, "user:a")
    assert seen
    assert all([entry.line for entry in pending] == [b"y" * 100] and got == [] for pending, got in seen)
    journal.close()


async def test_an_overwriting_that_fails_is_done_again(tmp_path: Path) -> None:
    disk = _Overwriting(tmp_path / "j")
    journal = LocalJournal(tmp_path / "j", disk=disk)
    await journal.append("user:a", "t1", b"x" * 100)
    batch = journal.fix("user:a", name)
    assert batch
    disk.fails = True
    with pytest.raises(StorageFailed):
        journal.finish(batch)
    assert held(journal) == []
    assert journal.backlog()["user:a"].events == 1
    disk.fails = False
    again = fold(journal, "user:a")
    assert again
    assert (again.seq, again.names) == (batch.seq, batch.names)
    assert journal.backlog() == {}
    assert b"xxx" not in b"".join(path.read_bytes() for path in (tmp_path / "j").iterdir())
    journal.close()


async def test_segments_are_used_again(tmp_path: Path) -> None:
    journal = LocalJournal(tmp_path / "j", segment=4096)
    for number in range(80):
        await journal.append("user:a", f"t{number}", b"x" * 1500)
        fold(journal, "user:a")
    assert len(list((tmp_path / "j").glob("*.seg"))) <= journal_log.SPARE + 1
    journal.close()


async def test_what_stays_behind_is_carried_on(tmp_path: Path) -> None:
    """A volume that is never folded must not keep every segment that it has an event in."""
    journal = LocalJournal(tmp_path / "j", segment=4096)
    for number in range(90):
        await journal.append("user:a", f"t{number}", b"x" * 1500)
        if number % 12 == 0:
            await journal.append("user:broken", f"b{number}", b"kept-%d" % number)
        if number == 20:
            fixed = journal.fix("user:broken", name)
        fold(journal, "user:a")
    kept = [b"kept-%d" % number for number in range(0, 90, 12)]
    assert len(list((tmp_path / "j").glob("*.seg"))) <= 8 + journal_log.SPARE + 1
    assert [entry.line for entry in journal.pending("user:broken")] == kept
    journal.close()
    again = LocalJournal(tmp_path / "j", segment=4096)
    assert held(again) == kept
    assert again.fix("user:broken", name) == fixed
    again.close()


async def test_a_full_disk_is_told_and_then_works_again(tmp_path: Path) -> None:
    disk = PowerCutDisk(room=3 * 1024)
    journal = LocalJournal(tmp_path / "j", disk=disk, segment=1024)
    stored: list[bytes] = []
    failed: list[StorageFailed] = []
    while not failed:
        try:
            await journal.append("user:a", "t", b"%0100d" % len(stored))
            stored.append(b"%0100d" % len(stored))
        except StorageFailed as error:
            failed.append(error)
    assert failed[0].code == "storage.full"
    assert held(journal) == stored
    with pytest.raises(StorageFailed):
        journal.fix("user:a", name)
    disk.room = None
    await journal.append("user:a", "t", b"last")
    assert held(journal) == [*stored, b"last"]
    fold(journal, "user:a")
    assert held(journal) == []
    journal.close()


async def test_a_broken_disk_is_told_and_then_works_again(tmp_path: Path) -> None:
    disk = PowerCutDisk()
    journal = LocalJournal(tmp_path / "j", disk=disk)
    await journal.append("user:a", "t0", b"first")
    batch = journal.fix("user:a", name)
    assert batch is not None
    disk.broken = True
    results = await asyncio.gather(
        *(journal.append("user:a", f"t{n}", b"x" * 900) for n in range(5)), return_exceptions=True
    )
    assert {type(result) for result in results} == {StorageFailed}
    with pytest.raises(StorageFailed):
        journal.finish(batch)
    disk.broken = False
    await journal.append("user:a", "t9", b"last")
    assert held(journal) == [b"last"]  # the first is in Git already, and may be half overwritten
    after = LocalJournal(tmp_path / "k", disk=disk.cut(CHANCE))
    assert held(after)[-1:] == [b"last"]
    fixed = after.fix("user:a", name)  # its events may be gone, since they were being finished; its names must not be
    assert fixed is not None
    assert fixed.names == batch.names
    journal.close()
    after.close()


class LyingDisk(PowerCutDisk):
    """Has all of a write on the disk when it says that it failed; may refuse so many further calls after that."""

    def __init__(self, refused: int = 0) -> None:
        super().__init__()
        self.lies, self.refused = False, refused

    def write_durably(self, name: str, offset: int, parts: Sequence[bytes]) -> None:
        super().write_durably(name, offset, parts)
        if self.lies:
            self.lies, self.broken = False, self.refused > 0
            raise OSError(errno.EIO, "Input/output error")

    def _check(self) -> None:
        if self.broken:
            self.refused -= 1
            self.broken = self.refused > 0
            raise OSError(errno.EIO, "Input/output error")


def lost(disk: PowerCutDisk) -> SegmentLog:
    """Cut the power so that nothing is left of what was not made durable."""
    return SegmentLog(PowerCutDisk({name: bytes(content) for name, content in disk.durable.items()}), 4096)


@pytest.mark.parametrize("before", [0, 1])
def test_what_failed_is_not_found_after_a_cut_of_power(before: int) -> None:
    disk = LyingDisk()
    log = SegmentLog(disk, 4096)
    for number in range(before):
        log.append([frame(number, b"stored")])
    disk.lies = True
    with pytest.raises(OSError, match="Input/output"):
        log.append([frame(7, b"refused"), frame(8, b"refused, too")])
    assert [one.key for one, _ in lost(disk).recover()] == list(range(before))


@pytest.mark.parametrize("refused", [1, 2])
def test_what_failed_and_could_not_be_erased_is_erased_before_the_next_write(refused: int) -> None:
    disk = LyingDisk(refused)
    log = SegmentLog(disk, 4096)
    disk.lies = True
    for _ in range(refused):
        with pytest.raises(OSError, match="Input/output"):
            log.append([frame(7, b"refused"), frame(8, b"refused, too")])
    log.append([frame(9, b"stored ")])  # as long as the first, so that the second lies right behind it
    assert [one.key for one, _ in lost(disk).recover()] == [9]


def test_what_failed_and_could_not_be_erased_is_erased_at_the_end() -> None:
    disk = LyingDisk(1)
    log = SegmentLog(disk, 4096)
    log.append([frame(1, b"stored")])
    disk.lies = True
    with pytest.raises(OSError, match="Input/output"):
        log.append([frame(7, b"refused")])
    log.close()
    assert [one.key for one, _ in lost(disk).recover()] == [1]


async def test_damage_in_the_middle_loses_nothing_behind_it(tmp_path: Path) -> None:
    journal = LocalJournal(tmp_path / "j")
    for number in range(5):
        await journal.append("user:a", f"t{number}", b"line-%d" % number)
    journal.close()
    (segment,) = (tmp_path / "j").glob("*.seg")
    content = segment.read_bytes()
    segment.write_bytes(content.replace(b"line-1", b"lime-1").replace(b"LJf1", b"XXXX", 1))
    again = LocalJournal(tmp_path / "j")
    assert held(again) == [b"line-2", b"line-3", b"line-4"]
    assert again.damaged == 1
    await again.append("user:a", "t9", b"line-9")
    again.close()
    third = LocalJournal(tmp_path / "j")
    assert held(third)[-1] == b"line-9"
    third.close()


def flip(path: Path, what: bytes) -> None:
    """Flip a bit of what lies in a file, in place, as a disk does that rots."""
    with path.open("r+b") as file:
        place = file.read().index(what)
        file.seek(place)
        file.write(bytes([what[0] ^ 1]))


async def five(folder: Path, segment: int = journal_log.SEGMENT) -> LocalJournal:
    journal = LocalJournal(folder, segment=segment)
    for number in range(5):
        await journal.append("user:a", f"t{number}", b"line-%d" % number + b"." * 100)
    return journal


def short(journal: LocalJournal) -> list[str]:
    return [line[:6].decode() for line in held(journal)]


async def test_an_event_that_rots_is_left_out_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = await five(tmp_path / "j")
    (segment,) = (tmp_path / "j").glob("*.seg")
    flip(segment, b"line-1")
    for _ in range(2):
        assert short(journal) == ["line-0", "line-2", "line-3", "line-4"]
        assert journal.get("t1") == []
    place = segment.read_bytes().index(b"LJf1", 100)
    said = f"an event of user:a (trace t1) is left out: {segment.name} at byte {place}: "
    assert [record.getMessage() for record in caplog.records] == [said + "its bytes are not those that were written"]
    assert journal.damaged == 1
    assert journal.backlog()["user:a"].events == 4
    batch = fold(journal, "user:a")
    assert batch is not None
    assert [entry.trace_id for entry in batch.entries] == ["t0", "t2", "t3", "t4"]
    assert fold(journal, "user:a") is None
    await journal.append("user:a", "t9", b"line-9")
    journal.close()
    assert b"mine-1" in segment.read_bytes()  # nothing is written where the disk rots
    again = LocalJournal(tmp_path / "j")
    assert (short(again), again.damaged) == (["line-9"], 1)
    assert f"{segment.name} from byte {place} to " in caplog.records[-1].getMessage()
    assert caplog.records[-1].getMessage().endswith("or was not confirmed to anybody when the power was cut")
    again.close()


async def test_a_batch_of_which_an_event_rots_is_folded_without_it(tmp_path: Path) -> None:
    journal = await five(tmp_path / "j")
    fixed = journal.fix("user:a", name)
    flip(next((tmp_path / "j").glob("*.seg")), b"line-3")
    again = journal.fix("user:a", name)
    assert fixed is not None
    assert again is not None
    assert (again.names, [one.trace_id for one in again.entries]) == (fixed.names, ["t0", "t1", "t2", "t4"])
    journal.finish(again)
    assert (held(journal), journal.fix("user:a", name)) == ([], None)
    journal.close()


def lose_sector(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Let a sector be unreadable, as Linux says it: what lies before it is read, and it itself fails."""
    read, begin, size = os.pread, at // SECTOR * SECTOR, SECTOR

    def pread(file: int, length: int, offset: int) -> bytes:
        if begin <= offset < begin + size:
            raise OSError(errno.EIO, "Input/output error")
        return read(file, begin - offset if offset < begin < offset + length else length, offset)

    monkeypatch.setattr("llmos_lite.engines.journal_disk.os.pread", pread)


@pytest.mark.parametrize("byte", [0, SECTOR + 500, 5 * SECTOR + 9])
async def test_a_sector_that_cannot_be_read_takes_no_neighbour_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, byte: int
) -> None:
    """Neither while the journal is open, nor at the next start, which finds what is behind it."""
    journal = LocalJournal(tmp_path / "j")
    for number in range(80):
        await journal.append("user:a", f"t{number}", b"line-%d" % number + b"." * 480)
    everything = held(journal)
    slots = [slot.place for slot in journal._slots.values()]
    lost = [
        number
        for number, place in enumerate(slots)
        if place.offset // SECTOR <= byte // SECTOR <= (place.offset + place.length) // SECTOR
    ]
    assert len(lost) in {7, 8, 9}
    left = [line for number, line in enumerate(everything) if number not in lost]
    lose_sector(monkeypatch, byte)
    assert held(journal) == left
    assert journal.damaged == len(lost)
    journal.close()
    again = LocalJournal(tmp_path / "j")
    assert held(again) == left
    assert again.damaged == (2 if byte == 0 else 1)  # the header, and what was behind it
    again.close()


async def test_the_last_events_in_a_sector_that_is_gone_are_no_torn_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = LocalJournal(tmp_path / "j")
    await journal.append("user:a", "t0", b"line-0" + b"." * (SECTOR - 100))
    await journal.append("user:a", "t1", b"line-1")
    journal.close()
    lose_sector(monkeypatch, SECTOR)
    again = LocalJournal(tmp_path / "j")
    assert (short(again), again.damaged) == (["line-0"], 1)
    await again.append("user:a", "t2", b"line-2")
    again.close()


async def test_a_file_that_lost_its_end_loses_no_more(tmp_path: Path) -> None:
    journal = await five(tmp_path / "j")
    (segment,) = (tmp_path / "j").glob("*.seg")
    with segment.open("r+b") as file:
        file.truncate(segment.read_bytes().index(b"line-3") + 2)
    assert short(journal) == ["line-0", "line-1", "line-2"]
    journal.close()
    again = LocalJournal(tmp_path / "j")
    assert short(again) == ["line-0", "line-1", "line-2"]
    await again.append("user:a", "t9", b"line-9")
    assert short(again)[-1] == "line-9"
    again.close()


@pytest.mark.parametrize("byte", range(0, 32, 3))
async def test_a_segment_whose_header_rots_is_read_nevertheless(tmp_path: Path, byte: int) -> None:
    journal = await five(tmp_path / "j", segment=384)
    journal.close()
    files = sorted((tmp_path / "j").glob("*.seg"))
    assert len(files) == 3
    for number in (1, 2) if byte % 2 else (0, 1, 2):
        content = bytearray(files[number].read_bytes())
        content[byte] ^= 4
        files[number].write_bytes(content)
    again = LocalJournal(tmp_path / "j", segment=384)
    assert short(again) == ["line-0", "line-1", "line-2", "line-3", "line-4"]
    assert again.damaged == (0 if byte >= 20 else 2 if byte % 2 else 3)  # behind byte 20 nothing is said
    await again.append("user:a", "t9", b"line-9" + b"." * 300)
    again.close()
    third = LocalJournal(tmp_path / "j", segment=384)
    assert short(third)[-2:] == ["line-4", "line-9"]
    assert fold(third, "user:a") is not None
    third.close()
    assert not any(b"line-" in path.read_bytes() for path in (tmp_path / "j").glob("*.seg"))


async def test_a_segment_whose_header_rots_has_no_number_of_another(tmp_path: Path) -> None:
    journal = LocalJournal(tmp_path / "j", segment=384)
    for number in range(6):  # two in each segment; those of the second are done
        await journal.append(f"user:{'b' if number in (2, 3) else 'a'}", f"t{number}", b"line-%d" % number + b"." * 100)
    journal._log.finish([journal._slots[seq].place for seq in journal._volumes["user:b"]])
    journal.close()
    third = sorted((tmp_path / "j").glob("*.seg"))[2]
    third.write_bytes(b"?" + third.read_bytes()[1:])
    again = LocalJournal(tmp_path / "j", segment=384)
    assert short(again) == ["line-0", "line-1", "line-4", "line-5"]
    again.close()


def test_a_file_with_nothing_but_a_damaged_header_is_removed(tmp_path: Path) -> None:
    (tmp_path / "j").mkdir()
    (tmp_path / "j" / "00000001.seg").write_bytes(b"x" * 40 + bytes(600))
    journal = LocalJournal(tmp_path / "j")
    assert (journal.damaged, [*(tmp_path / "j").glob("*.seg")]) == (0, [])
    journal.close()


async def test_the_end_of_an_old_segment_is_no_torn_write(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = await five(tmp_path / "j", segment=384)
    journal.close()
    first = min((tmp_path / "j").glob("*.seg"))
    flip(first, b"line-1")  # the last one in there
    again = LocalJournal(tmp_path / "j", segment=384)
    assert short(again) == ["line-0", "line-2", "line-3", "line-4"]
    assert again.damaged == 1
    assert caplog.records[-1].getMessage().endswith("what was in there is lost")
    again.close()


async def test_what_rots_in_an_old_segment_is_not_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmos_lite.engines.journal_local.CARRY_SEGMENTS", 1)
    journal = LocalJournal(tmp_path / "j", segment=1024)
    await journal.append("user:b", "stays", b"stays" + b"." * 20)
    await journal.append("user:b", "rots", b"rots" + b"." * 20)
    for number in range(20):
        await journal.append("user:a", f"t{number}", b"line" + b"." * 200)
    first = min((tmp_path / "j").glob("*.seg"))
    flip(first, b"rots.")
    fold(journal, "user:a")
    assert {slot.place.segment for slot in journal._slots.values() if slot.trace_id == "stays"} != {1}
    assert [line[:5] for line in held(journal)] == [b"stays"]
    assert journal.damaged == 1
    journal.close()


async def test_files_that_were_never_used_are_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "j").mkdir()
    (tmp_path / "j" / "00000007.seg").write_bytes(b"")
    (tmp_path / "j" / "00000008.seg").write_bytes(bytes(4096))
    journal = LocalJournal(tmp_path / "j")
    assert list((tmp_path / "j").glob("*.seg")) == []
    await journal.append("user:a", "t", b"1")
    assert held(journal) == [b"1"]
    journal.close()


class _Counting(FolderDisk):
    """Counts its reads and durable writes."""

    writes = reads = 0

    def read(self, name: str, offset: int, length: int) -> bytes:
        self.reads += 1
        return super().read(name, offset, length)

    def write_durably(self, name: str, offset: int, parts: Sequence[bytes]) -> None:
        self.writes += 1
        super().write_durably(name, offset, parts)


async def test_what_ends_in_one_turn_of_the_loop_is_one_durable_write(tmp_path: Path) -> None:
    disk = _Counting(tmp_path / "j")
    journal = LocalJournal(tmp_path / "j", disk=disk)
    before = disk.writes
    told = [journal.append_many([("user:a", f"t{number}", b"1")]) for number in range(100)]
    await asyncio.gather(*told)
    assert disk.writes == before + 1
    journal.close()


async def test_what_lies_together_is_read_together(tmp_path: Path) -> None:
    disk = _Counting(tmp_path / "j")
    journal = LocalJournal(tmp_path / "j", disk=disk, segment=64 << 10)
    lines = [b"%d" % number + b"x" * (number * 7 % 900) for number in range(400)]
    for number, line in enumerate(lines):
        await journal.append("user:b" if number % 90 == 50 else "user:a", f"t{number}", line)
    disk.reads = 0
    found = journal.pending("user:a")
    assert [entry.line for entry in found] == [line for at, line in enumerate(lines) if at % 90 != 50]
    assert disk.reads < 30  # a new one for each segment, each gap, and each hundred
    journal.close()


def test_no_read_is_larger_than_need_be(tmp_path: Path) -> None:
    disk = _Counting(tmp_path)
    log = SegmentLog(disk, 1 << 20)
    bodies = [b"a" * (100 << 10), b"b" * (100 << 10), b"c" * (100 << 10), b"d" * (400 << 10), b"e"]
    places = log.append([frame(key, body) for key, body in enumerate(bodies)])
    assert [*log.read(places)] == [b"head " + body for body in bodies]
    assert disk.reads == 4  # two of the first three go into one, and the fourth is alone
    assert [*log.read(places[::-1])] == [b"head " + body for body in bodies[::-1]]
    log.close()


async def test_what_nobody_handed_over_before_the_end_is_stored(tmp_path: Path) -> None:
    journal = LocalJournal(tmp_path / "j")
    told = journal.append_many([("user:a", "t", b"1")])
    journal.close()  # in the same turn of the loop, as when a server stops
    assert await told
    again = LocalJournal(tmp_path / "j")
    assert held(again) == [b"1"]
    again.close()


def test_a_loop_that_ended_keeps_no_other_from_writing(tmp_path: Path) -> None:
    journal = LocalJournal(tmp_path / "j")
    loop = asyncio.new_event_loop()

    async def leave() -> None:
        journal.append_many([("user:a", "t1", b"1")])
        loop.stop()  # before the turn in which the writer would have been woken

    task = loop.create_task(leave())
    loop.run_forever()
    assert task.done()
    loop.close()
    asyncio.run(journal.append("user:a", "t2", b"2"))
    assert held(journal) == [b"1", b"2"]
    journal.close()


async def test_nothing_is_kept_beside_what_is_not_stored(tmp_path: Path) -> None:
    disk, kept = PowerCutDisk(), list[str]()
    journal = LocalJournal(tmp_path / "j", disk=disk)
    disk.broken = True
    with pytest.raises(StorageFailed):
        await journal.append_many([("user:a", "t", b"1")], beside=Beside(kept.extend, ["1"]))
    disk.broken = False
    await journal.append_many([("user:a", "t", b"2")], beside=Beside(kept.extend, ["2"]))
    assert kept == ["2"]
    journal.close()


async def test_what_cannot_be_kept_beside_a_write_does_not_undo_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal, kept, heard = LocalJournal(tmp_path / "j"), list[str](), list[int]()

    def broken(_: object) -> None:
        raise ValueError("broken")

    first = journal.append_many([("user:a", "t", b"1")], broken, Beside(broken, ["1"]))
    second = journal.append_many([("user:a", "t", b"2")], heard.extend, Beside(kept.extend, ["2"]))
    assert [*await first, *await second] == [1, 2]
    assert (held(journal), kept, heard) == ([b"1", b"2"], ["2"], [2])
    assert caplog.text.count("ValueError: broken") == 2
    journal.close()


async def test_an_event_that_cannot_be_written_stops_no_other(tmp_path: Path) -> None:
    journal = LocalJournal(tmp_path / "j")
    names = ("half \ud83d", "t")
    told = await asyncio.gather(*(journal.append("user:a", one, b"1") for one in names), return_exceptions=True)
    assert list(map(type, told)) == [UnicodeEncodeError, int]
    assert [entry.trace_id for entry in journal.pending()] == ["t"]
    journal.close()


async def test_an_event_that_is_lost_when_nobody_waits_any_more_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = PowerCutDisk()
    journal = LocalJournal(tmp_path / "j", disk=disk)
    disk.broken = True
    lost = asyncio.ensure_future(journal.append_many([("user:a", "t", b"1")]))
    lost.cancel()
    with pytest.raises(StorageFailed):
        await journal.append("user:a", "t", b"2")
    assert "a trace was lost" in caplog.text
    journal.close()


KILLED = """
import asyncio, os, sys
from pathlib import Path
from llmos_lite.engines.journal_local import LocalJournal

def say(*words):
    os.write(1, (" ".join(words) + "\\n").encode())  # one call, since two threads speak

async def chats(journal, user):
    number = 0
    while True:
        line = b'{"n":%d,"pad":"%s"}' % (number, b"x" * (number * 37 % 3000))
        await journal.append(f"user:{user}", f"{user}-{number}", line)
        say(f"{user}-{number}")
        number += 1

def folds(journal):
    while True:
        for user in range(4):
            batch = journal.fix(f"user:{user}", lambda entries: ["s"])
            if batch:
                say("folded", *(entry.trace_id for entry in batch.entries))
                journal.finish(batch)

async def main():
    journal = LocalJournal(Path(sys.argv[1]), segment=1 << 16)
    await asyncio.gather(asyncio.to_thread(folds, journal), *(chats(journal, user) for user in range(8)))

asyncio.run(main())
"""


def killed(folder: Path, after: int) -> tuple[set[str], set[str]]:
    """Run chats and folds until `after` lines were printed, kill -9, return what was acknowledged and what folded."""
    acknowledged, folded = set[str](), set[str]()
    with subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for number, line in enumerate(process.stdout):
            words = line.split() if line.endswith("\n") else []
            if words[:1] == ["folded"]:
                folded.update(words[1:])
            else:
                acknowledged.update(words)
            if number == after:
                process.kill()
    return acknowledged, folded


@pytest.mark.parametrize("after", [1, 97, 700])
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path, after: int) -> None:
    acknowledged, folded = killed(tmp_path / "j", after)
    journal = LocalJournal(tmp_path / "j", segment=1 << 16)
    left = {entry.trace_id for entry in journal.pending()}
    assert acknowledged <= left | folded
    assert journal.damaged == 0
    journal.close()


@pytest.mark.soak
def test_kill_9_again_and_again(tmp_path: Path) -> None:
    for number in range(40):
        acknowledged, folded = killed(tmp_path / f"j{number}", number * 53 % 1500)
        journal = LocalJournal(tmp_path / f"j{number}", segment=1 << 16)
        assert acknowledged <= {entry.trace_id for entry in journal.pending()} | folded
        journal.close()


class Cut(Exception):
    """The power went."""


class CuttingDisk(PowerCutDisk):
    """Loses its power in the middle of the n-th call that reaches the disk."""

    def __init__(self, files: dict[str, bytes] | None = None, *, calls: int, seed: int) -> None:
        super().__init__(files)
        self.calls, self.chance = calls, random.Random(seed)  # noqa: S311 - chance, not secrets
        self.after: PowerCutDisk | None = None

    def write_durably(self, name: str, offset: int, parts: Sequence[bytes]) -> None:
        self._count((name, offset, b"".join(parts)))
        super().write_durably(name, offset, parts)

    def sync(self, name: str) -> None:
        self._count(None)
        super().sync(name)

    def _count(self, pending: tuple[str, int, bytes] | None) -> None:
        self.calls -= 1
        if self.calls == 0:
            self.after = self.cut(self.chance, pending=pending)
            raise Cut


def frame(key: int, body: bytes) -> Frame:
    return Frame(Kind.EVENT, key, b"head ", body)


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 900), st.integers(0, 3)), min_size=1, max_size=25),
    calls=st.integers(1, 80),
    seed=st.integers(0, 2**32),
)
def test_a_cut_of_power_loses_nothing_that_was_acknowledged(
    steps: list[tuple[int, int, int]], calls: int, seed: int
) -> None:
    disk = CuttingDisk(calls=calls, seed=seed)
    log = SegmentLog(disk, 2048)
    acknowledged: dict[int, bytes] = {}
    tried: dict[int, bytes] = {}
    places: dict[int, Place] = {}
    finishing: set[int] = set()
    key = 0
    try:
        for count, size, finished in steps:
            frames = [frame(key + one, b"%d:" % (key + one) + b"x" * size) for one in range(1, count + 1)]
            room = log.left(journal_log.span(5 + len(frames[0].body)))
            while sum(journal_log.span(5 + len(one.body)) for one in frames) > room:
                frames.pop()
            tried |= {one.key: one.head + one.body for one in frames}
            key += count
            found = log.append(frames)
            acknowledged |= {one.key: one.head + one.body for one in frames}
            places |= {one.key: place for one, place in zip(frames, found, strict=True)}
            finishing = set(list(acknowledged)[:finished])
            log.finish([places[one] for one in finishing])
            for one in finishing:
                del acknowledged[one]
            finishing = set()
            log.collect()
    except Cut:
        pass
    after = SegmentLog(disk.after or disk.cut(CHANCE), 2048)
    recovered = {one.key: one.body for one, _ in after.recover()}
    must = {one: body for one, body in acknowledged.items() if one not in finishing}
    assert must.items() <= recovered.items()
    assert all(tried[one] == body for one, body in recovered.items())
    # and it goes on working, and what it stores now is found as well
    place = after.append([frame(10_000, b"afterwards")])[0]
    assert [*after.read([place])] == [b"head afterwards"]
    third = SegmentLog(after._disk, 2048)
    assert {one.key for one, _ in third.recover()} == recovered.keys() | {10_000}


async def test_a_cut_of_power_at_any_call(tmp_path: Path) -> None:
    """Cut at each call in turn while chats and folds go on: what was acknowledged or fixed is there afterwards."""
    for calls in range(1, 60):
        disk = CuttingDisk(calls=calls, seed=calls)
        journal = LocalJournal(tmp_path / f"j{calls}", disk=_Guard(disk), segment=2048)
        acknowledged: list[bytes] = []
        folded: list[bytes] = []
        try:
            for number in range(12):
                line = b"%d:" % number + b"y" * (number * 97 % 700)
                await journal.append("user:a", f"t{number}", line)
                acknowledged.append(line)
                if number % 3 == 2:
                    batch = journal.fix("user:a", name, limit=2)
                    assert batch is not None
                    folded += [entry.line for entry in batch.entries]
                    journal.finish(batch)
        except LlmosError:
            pass
        journal.close()
        after = LocalJournal(tmp_path / f"k{calls}", disk=disk.after or disk, segment=2048)
        assert set(acknowledged) - set(folded) <= set(held(after))
        after.close()


class _Guard:
    """Turns the cut into an error that the journal reports, as if the machine were gone from then on."""

    def __init__(self, disk: CuttingDisk) -> None:
        self._disk = disk

    def __getattr__(self, attribute: str) -> Callable[..., object]:
        method: Callable[..., object] = getattr(self._disk, attribute)

        def call(*arguments: object) -> object:
            if self._disk.after is not None and attribute in {"create", "sync", "write_durably", "write"}:
                raise OSError(5, "gone")
            try:
                return method(*arguments)
            except Cut:
                raise OSError(5, "gone") from None

        return call


def test_a_short_write_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FolderDisk(tmp_path)
    disk.create("1.seg", 8192)
    real = journal_disk.os.pwritev
    monkeypatch.setattr(journal_disk.os, "pwritev", lambda file, parts, at: real(file, [b"".join(parts)[:5]], at))
    disk.write_durably("1.seg", 3, [b"hello", b" ", b"world"])
    assert disk.read("1.seg", 3, 11) == b"hello world"
    disk.close()


def test_a_system_without_writes_through_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS: no place is taken at once, and only a call of its own reaches the disk."""
    synced: list[int] = []
    monkeypatch.delattr(journal_disk.os, "posix_fallocate", raising=False)
    monkeypatch.setattr(journal_disk.fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(journal_disk.fcntl, "fcntl", lambda _file, command: synced.append(command))
    disk = FolderDisk(tmp_path)
    disk.create("1.seg", 4096)
    disk.write_durably("1.seg", 0, [b"x"])
    assert synced == [51, 51]
    assert disk.size("1.seg") == 4096
    disk.remove("1.seg")
    assert disk.names() == []


def test_a_file_that_finds_no_place_is_removed(tmp_path: Path) -> None:
    disk = FolderDisk(tmp_path)
    with pytest.raises(OSError, match=r"."):
        disk.create("1.seg", 1 << 62)
    assert disk.names() == []
