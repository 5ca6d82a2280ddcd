"""What every journal does, whichever store holds it; a suite that each engine's tests inherit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from power_cut import PowerCutDisk

from llmos_lite.engines.journal import Beside, Entry, Journal
from llmos_lite.engines.journal_local import LocalJournal
from llmos_lite.errors import Unavailable


def one_name(entries: Sequence[Entry]) -> list[str]:
    return [f"{entries[0].trace_id}-{len(entries)}"]


def lines(entries: Sequence[Entry]) -> list[bytes]:
    return [entry.line for entry in entries]


class JournalContract:
    """Inherit, and give a `journal` fixture that is empty."""

    async def test_what_was_appended_can_be_read(self, journal: Journal) -> None:
        first = await journal.append("user:alice", "t1", b'{"a":1}')
        second = await journal.append("user:alice", "t2", b"{}")
        third = await journal.append("user:alice", "t1", b'{"b":2}')
        assert first < second < third
        assert lines(journal.get("t1")) == [b'{"a":1}', b'{"b":2}']
        assert [(entry.seq, entry.volume, entry.trace_id) for entry in journal.get("t2")] == [
            (second, "user:alice", "t2")
        ]
        assert journal.get("unknown") == []

    async def test_several_are_appended_together(self, journal: Journal) -> None:
        seqs = await journal.append_many([("user:alice", "t", b"1"), ("team:sre", "d", b"2")])
        assert len(seqs) == 2
        assert lines(journal.pending("user:alice")) == [b"1"]
        assert lines(journal.pending("team:sre")) == [b"2"]
        assert await journal.append_many([]) == []

    async def test_pending_comes_in_order_and_in_pieces(self, journal: Journal) -> None:
        seqs = [await journal.append(f"user:u{number % 2}", f"t{number}", b"%d" % number) for number in range(6)]
        assert lines(journal.pending()) == [b"0", b"1", b"2", b"3", b"4", b"5"]
        assert lines(journal.pending("user:u1")) == [b"1", b"3", b"5"]
        assert [*map(lines, journal.pages(limit=4, size=100))] == [[b"0", b"1", b"2", b"3"], [b"4", b"5"]]
        assert [*map(lines, journal.pages("user:u1", limit=4, size=1))] == [[b"1"], [b"3"], [b"5"]]
        found, count = journal.some([*seqs[1:3], seqs[-1] + 1], size=100)
        assert (lines(found), count) == ([b"1", b"2"], 3)
        assert journal.pending("user:nobody") == []

    async def test_what_is_set_aside_is_left_out_of_everything(self, journal: Journal) -> None:
        seqs = [await journal.append("user:a", f"t{number}", b"%d" % number) for number in range(4)]

        def naming(entries: Sequence[Entry]) -> list[str]:
            journal.set_aside(seqs[2], "odd")
            return [str(len(entries))]

        journal.set_aside(seqs[0], "odd")
        journal.set_aside(seqs[0], "odd")
        assert lines(journal.pending()) == [b"1", b"2", b"3"]
        assert (journal.get("t0"), journal.backlog()["user:a"].events, journal.damaged) == ([], 3, 1)
        batch = journal.fix("user:a", naming)
        assert batch is not None
        assert lines(batch.entries) == [b"1", b"3"]
        journal.finish(batch)
        assert (journal.pending(), journal.backlog(), journal.damaged) == ([], {}, 2)
        assert (journal.aside("user:a"), journal.aside("user:b")) == (["t0", "t2"], [])
        journal.discard("user:b", {"t0"})
        journal.discard("user:a", {"t0", "t1"})
        assert (journal.aside("user:a"), journal.damaged) == (["t2"], 2)

    async def test_a_batch_of_which_all_is_set_aside_has_no_events(self, journal: Journal) -> None:
        seqs = [await journal.append("user:a", f"t{number}", b"%d" % number) for number in range(3)]

        def naming(entries: Sequence[Entry]) -> list[str]:
            for entry in entries:
                journal.set_aside(entry.seq, "odd")
            return []

        batch = journal.fix("user:a", naming, limit=2)
        assert batch is not None
        assert batch.entries == ()
        journal.finish(batch)
        batch = journal.fix("user:a", one_name, limit=2)
        assert batch is not None
        assert [entry.seq for entry in batch.entries] == seqs[2:]

    async def test_a_page_that_has_left_meanwhile_hides_none_behind_it(self, journal: Journal) -> None:
        for number in range(4):
            await journal.append(f"user:u{number // 2}", f"t{number}", b"%d" % number)
        pages = journal.pages(limit=1, size=100)
        assert lines(next(pages)) == [b"0"]
        batch = journal.fix("user:u0", one_name)
        assert batch is not None
        journal.finish(batch)
        assert [*map(lines, pages)] == [[b"2"], [b"3"]]

    async def test_many_writers_get_their_own_numbers(self, journal: Journal) -> None:
        seqs = await asyncio.gather(*(journal.append("user:a", f"t{n}", b"%d" % n) for n in range(500)))
        assert len(set(seqs)) == 500
        assert [journal.get(f"t{n}")[0].seq for n in range(500)] == list(seqs)

    async def test_the_backlog_counts_by_volume(self, journal: Journal) -> None:
        await journal.append_many([("user:a", "t1", b"1"), ("user:a", "t2", b"2"), ("user:b", "t3", b"3")])
        assert {volume: backlog.events for volume, backlog in journal.backlog().items()} == {"user:a": 2, "user:b": 1}
        assert journal.backlog()["user:a"].oldest == journal.get("t1")[0].at

    async def test_a_batch_is_fixed_until_it_is_finished(self, journal: Journal) -> None:
        await journal.append_many([("user:a", f"t{n}", b"%d" % n) for n in range(3)])
        batch = journal.fix("user:a", one_name, limit=2)
        assert batch is not None
        assert (batch.names, lines(batch.entries)) == (("t0-2",), [b"0", b"1"])
        await journal.append("user:a", "t3", b"3")
        assert journal.fix("user:a", one_name) == batch
        journal.finish(batch)
        assert journal.get("t0") == []
        following = journal.fix("user:a", one_name)
        assert following is not None
        assert (following.names, lines(following.entries)) == (("t2-2",), [b"2", b"3"])
        journal.finish(following)
        journal.finish(following)
        await journal.append("user:a", "t4", b"4")
        last = journal.fix("user:a", one_name)
        journal.finish(batch)
        assert journal.fix("user:a", one_name) == last
        assert last is not None
        journal.finish(last)
        assert journal.fix("user:a", one_name) is None
        assert journal.backlog() == {}

    async def test_volumes_have_batches_of_their_own(self, journal: Journal) -> None:
        await journal.append_many([("user:a", "t1", b"1"), ("user:b", "t2", b"2")])
        first, second = journal.fix("user:a", one_name), journal.fix("user:b", one_name)
        assert first is not None
        assert second is not None
        journal.finish(first)
        assert journal.fix("user:b", one_name) == second
        assert lines(journal.pending()) == [b"2"]

    async def test_a_name_that_fails_fixes_nothing(self, journal: Journal) -> None:
        def fail(_entries: Sequence[Entry]) -> list[str]:
            raise ValueError

        await journal.append("user:a", "t1", b"1")
        with pytest.raises(ValueError):  # noqa: PT011 - the very error of `fail`
            journal.fix("user:a", fail)
        batch = journal.fix("user:a", one_name)
        assert batch is not None
        assert batch.names == ("t1-1",)

    async def test_large_lines_and_large_batches(self, journal: Journal) -> None:
        large = [bytes([65 + n]) * (12 << 20) for n in range(3)]
        for number, line in enumerate(large):
            await journal.append("user:a", f"t{number}", line)
        assert lines(journal.pending()) == large
        assert [*map(lines, journal.pages(limit=9, size=25 << 20))] == [large[:2], large[2:]]
        first = journal.fix("user:a", one_name)
        assert first is not None
        assert len(first.entries) == 2
        journal.finish(first)
        assert lines(journal.pending()) == large[2:]

    async def test_a_caller_that_went_away_harms_nobody(self, journal: Journal) -> None:
        gone = asyncio.create_task(journal.append("user:a", "t1", b"1"))
        await asyncio.sleep(0)
        gone.cancel()
        await journal.append("user:a", "t2", b"2")
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert lines(journal.pending()) == [b"1", b"2"]

    async def test_what_follows_is_done_for_a_caller_that_went_away_too(self, journal: Journal) -> None:
        heard: list[int] = []

        async def append(number: int) -> None:
            heard.extend(await journal.append_many([("user:a", f"t{number}", b"%d" % number)], heard.extend))

        gone = asyncio.create_task(append(1))
        await asyncio.sleep(0)
        gone.cancel()
        await append(2)
        first, second = (entry.seq for entry in journal.pending())
        assert heard == [first, second, second]

    async def test_what_comes_with_events_is_kept_before_anybody_hears_of_them(self, journal: Journal) -> None:
        kept: list[tuple[str, bool]] = []

        def keep(words: Sequence[str]) -> None:
            kept.extend((word, bool(journal.get(word))) for word in words)

        async def append(name: str) -> None:
            await journal.append_many(
                [("user:a", name, b"1")], lambda _: kept.append(("heard", True)), Beside(keep, [name])
            )

        await append("t1")
        assert kept == [("t1", True), ("heard", True)]
        await asyncio.gather(*(append(f"t{number}") for number in range(2, 20)))
        assert {word for word, durable in kept if durable} == {"heard", *(f"t{number}" for number in range(1, 20))}

    async def test_draining_waits_for_what_was_taken(self, journal: Journal) -> None:
        heard: list[int] = []
        journal.append_many([("user:a", "t1", b"1")], heard.extend)
        await journal.drain()
        assert heard == [journal.get("t1")[0].seq]

    async def test_a_closed_journal_says_so(self, journal: Journal) -> None:
        await journal.append("user:a", "t1", b"1")
        journal.close()
        journal.close()
        with pytest.raises(Unavailable) as caught:
            await journal.append("user:a", "t2", b"2")
        assert caught.value.code == "journal.closed"
        await journal.drain()


class TestLocalJournal(JournalContract):
    @pytest.fixture
    def journal(self, tmp_path: Path) -> Iterator[Journal]:
        journal = LocalJournal(tmp_path / "journal")
        yield journal
        journal.close()


class TestLocalJournalWithSmallSegments(JournalContract):
    """Nearly every append needs a new segment, and nearly every batch frees one."""

    @pytest.fixture
    def journal(self, tmp_path: Path) -> Iterator[Journal]:
        journal = LocalJournal(tmp_path / "journal", disk=PowerCutDisk(), segment=256)
        yield journal
        journal.close()
