"""A stream passes byte for byte however the network cut it, but nothing of an event that was never whole."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmos_lite.core.gateway import passage as module
from llmos_lite.core.gateway.chat_dialect import ChatDialect
from llmos_lite.core.gateway.passage import Passage, always
from llmos_lite.core.gateway.reading import Reading
from llmos_lite.engines.http_client import Reply
from llmos_lite.engines.sse import SseReader
from llmos_lite.errors import UpstreamFailed

WORDS = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


class Pieces(Reply):
    """A body that comes in pieces."""

    status = 200

    def __init__(self, pieces: Iterable[bytes | Exception | None]) -> None:
        self._pieces = iter(pieces)

    def header(self, name: str) -> str:
        """Return none."""
        del name
        return ""

    def headers(self) -> Iterable[tuple[bytes, bytes]]:
        """Return none."""
        return ()

    async def chunk(self) -> bytes:
        """Return the next piece, raise an error, or wait for ever."""
        piece = next(self._pieces, b"")
        if isinstance(piece, Exception):
            raise piece
        return await asyncio.Future() if piece is None else piece

    async def end(self) -> None:
        """Do nothing."""


async def passed(pieces: Iterable[bytes | Exception | None], *, full: bool = False) -> tuple[bytes, bytes, bool]:
    """Return what went out before the end of a stream and at it, and whether it is known to have ended."""
    sent: list[bytes] = []
    reading = Reading(ChatDialect(), "m")

    def straight(data: bytes) -> bool:
        if not full:
            sent.append(data)
        return not full

    passage = Passage(Pieces(pieces), reading, None, straight, always)
    while (held := await passage.held()) is not None:
        sent.append(held)
    return b"".join(sent), passage.close(), reading.ended


@given(cuts=st.lists(st.integers(1, 200), max_size=8), full=st.booleans(), end=st.sampled_from([b"\n", b"\r\n", b"\r"]))
async def test_any_cut_passes_byte_for_byte(cuts: list[int], end: bytes, *, full: bool) -> None:
    data = (b": ping\n\n" + WORDS * 3 + DONE).replace(b"\n", end)
    edges = sorted({0, *(min(cut, len(data)) for cut in cuts), len(data)})
    pieces = [data[start:end] for start, end in pairwise(edges)]
    assert await passed(pieces, full=full) == (data, b"", True)


def chunk(words: str, more: str = "", key: str = "content") -> bytes:
    return b'data: {"id":"1","choices":[{"delta":{"%b":"%b"}%b}]}\n\n' % (key.encode(), words.encode(), more.encode())


STREAM = [chunk("", ',"x":1'), *(chunk(f"word {number} ") for number in range(5))]
ODD = [
    chunk(r"he said \"so\" \n"), chunk("", ',"finish_reason":"stop"'), chunk("a", key="reasoning_content"),
    chunk("[DONE]"), chunk('"}}]}\n\ndata: [DONE]\n\ndata: {"choices":[{"delta":{"content":"'), chunk("a\n\nb"),
    chunk("a\r\rdata: [DONE]\r\rb"), chunk("a\\\\"), chunk("\\\\\\"),
    chunk('"},"error":{"message":"x"},"y":{"z":"'), chunk("a") + chunk("b"),
    chunk("half")[:-9], chunk("") + DONE, b": ping\n\n", b"event: x\ndata: y\n\n", DONE, WORDS, b"\n\n",
]  # fmt: skip


@given(odd=st.lists(st.sampled_from(ODD), max_size=3), at=st.integers(0, 6), full=st.booleans())
@example(odd=[chunk("\\\\\\"), chunk("a\\\\"), chunk("[DONE]")], at=3, full=False)
async def test_events_that_differ_in_their_words_are_what_they_are_by_themselves(
    odd: list[bytes], at: int, *, full: bool
) -> None:
    pieces = [*STREAM[:at], *odd, *STREAM[at:], DONE]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_LEARNED", 0)
        slow = await passed(pieces, full=full)
    assert await passed(pieces, full=full) == slow


async def test_words_alone_are_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    take = Reading.take
    monkeypatch.setattr(Reading, "take", lambda self, data: (seen.append(data), take(self, data))[1])
    pieces = [*STREAM, ODD[0], ODD[1], *STREAM[1:], DONE]
    assert await passed(pieces) == (b"".join(pieces), b"", True)
    assert seen == [*STREAM[:2], ODD[1], STREAM[1], DONE]


async def test_the_end_of_the_stream_ends_the_last_event() -> None:
    assert await passed([WORDS, DONE.rstrip()]) == (WORDS, DONE.rstrip(), True)
    assert await passed([WORDS, DONE, b": bye\n"]) == (WORDS + DONE, b": bye\n", True)


@pytest.mark.parametrize("last", [None, UpstreamFailed("model.cut", "cut"), ConnectionResetError("cut")])
async def test_a_stream_that_does_not_end_behind_its_answer_is_whole(
    last: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "END_SECONDS", 0.01)
    assert await passed([WORDS, DONE, b": bye\n\n", last]) == (WORDS + DONE + b": bye\n\n", b"", True)


@given(cuts=st.lists(st.integers(1, 200), max_size=8), end=st.sampled_from([b"\n", b"\r\n"]))
async def test_events_that_only_their_line_ends_pass_as_events(cuts: list[int], end: bytes) -> None:
    line, last = WORDS.rstrip() + end, DONE.rstrip() + end
    data = b": ping" + end + b"event: x" + end + line * 3 + last
    edges = sorted({0, *(min(cut, len(data)) for cut in cuts), len(data)})
    pieces = [data[start:stop] for start, stop in pairwise(edges)]
    told = b": ping" + end + b"event: x" + end + (line + b"\n") * 3 + last + b"\n"
    assert await passed(pieces) == (told, b"", True)


@given(cuts=st.lists(st.integers(1, 200), max_size=8), end=st.sampled_from([b"\n", b"\r\n"]))
async def test_lines_behind_which_an_empty_one_ends_the_stream_pass_as_events(cuts: list[int], end: bytes) -> None:
    data = (WORDS.rstrip() + end) * 3 + DONE.rstrip() + end + end
    edges = sorted({0, *(min(cut, len(data)) for cut in cuts), len(data)})
    sent, last, ended = await passed([data[start:stop] for start, stop in pairwise(edges)])
    assert SseReader().feed(sent + last) == [WORDS[6:-2]] * 3 + [b"[DONE]"]
    assert ended


async def test_events_that_only_their_line_ends_pass_as_soon_as_that_is_sure() -> None:
    line = WORDS.rstrip() + b"\n"
    sent: list[bytes] = []
    pieces = Pieces([line, line, line, line[:-1], ConnectionResetError("cut")])
    passage = Passage(pieces, Reading(ChatDialect(), "m"), None, lambda data: sent.append(data) is None, always)
    with pytest.raises(ConnectionResetError):
        await passage.held()
    assert sent == [WORDS * 2, WORDS]


async def test_of_an_event_that_was_cut_nothing_passes() -> None:
    assert await passed([WORDS, WORDS[:-9]]) == (WORDS, b"", False)


async def test_an_event_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_ANSWER", 100)
    with pytest.raises(UpstreamFailed):
        await passed([b"data: " + b"x" * 60] * 2)
