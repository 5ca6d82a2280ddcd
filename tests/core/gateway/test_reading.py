"""Streams are read in batches, whatever the cut, and the end is noticed where it is."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.gateway import reading as module
from llmos_lite.core.gateway.chat_dialect import ChatDialect
from llmos_lite.core.gateway.dialect import MOST_KEPT
from llmos_lite.core.gateway.messages_dialect import MessagesDialect
from llmos_lite.core.gateway.reading import BATCH, Reading
from llmos_lite.core.gateway.responses_dialect import ResponsesDialect
from llmos_lite.engines.llm_texts import Texts
from llmos_lite.engines.sse import whole_events
from llmos_lite.errors import UpstreamFailed


def chunk(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"


def stream(*texts: str) -> bytes:
    finish = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
    return b"".join(map(chunk, texts)) + finish + b"data: [DONE]\n\n"


@given(texts=st.lists(st.text(), max_size=6), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_any_cut_reads_the_same(texts: list[str], cuts: list[int]) -> None:
    data, reading, begun = stream(*texts), Reading(ChatDialect(), "m"), bytearray()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    ends = [reading.take(whole_events(begun, data[start:end])) for start, end in pairwise(edges)]
    assert ends[-1]
    assert not any(ends[: next(place for place, end in enumerate(edges) if end == len(data)) - 1])
    done = reading.completion()
    assert done is not None
    assert done.text == "".join(texts)


def test_a_text_that_holds_the_sign_of_the_end_does_not_end_it() -> None:
    reading = Reading(ChatDialect(), "m")
    assert not reading.take(chunk("say [DONE] and message_stop"))
    assert reading.take(stream("x"))


def test_small_events_wait_until_there_are_many() -> None:
    reading = Reading(ChatDialect(), "m")
    reading.take(chunk("a"))
    assert reading.waiting
    reading.take(chunk("b" * BATCH))
    assert not reading.waiting


def test_an_answer_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_ANSWER", 100)
    reading = Reading(ChatDialect(), "m")
    with pytest.raises(UpstreamFailed):
        reading.take(b"x" * 101)


def test_a_server_that_says_that_it_failed_is_heard() -> None:
    reading = Reading(ResponsesDialect(), "m")
    assert reading.take(b'event: response.failed\ndata: {"type":"response.failed","response":{"id":"r"}}\n\n')
    assert reading.failed is not None


FAILURES = {
    "chat": (ChatDialect(), {"choices": [{"delta": {"content": "half of it"}}]}, {"error": {"message": "no"}}),
    "messages": (
        MessagesDialect(),
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "half of it"}},
        {"type": "error"},
    ),
    "responses": (
        ResponsesDialect(),
        {"type": "response.output_text.delta", "delta": "half of it"},
        {"type": "error"},
    ),
}


@pytest.mark.parametrize("wire", FAILURES)
def test_what_was_said_before_a_failure_is_kept(wire: str) -> None:
    dialect, *events = FAILURES[wire]
    reading = Reading(dialect, "m")
    assert reading.take(b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events))
    assert reading.failed is not None
    done = reading.completion()
    assert done is not None
    assert done.text == "half of it"


@pytest.mark.parametrize("event", [b"nonsense", b"1", b'{"choices":[]},{"choices":[]}'])
def test_an_event_that_is_garbage_fails_the_stream_however_many_stand_around_it(event: bytes) -> None:
    reading = Reading(ChatDialect(), "m")
    reading.take(chunk("a") + b"data: " + event + b"\n\n" + stream("b"))
    assert reading.failed is not None
    assert reading.failed.code == "model.garbage"


def test_a_stream_that_only_stops_without_a_mark_has_ended() -> None:
    reading = Reading(ChatDialect(), "m")
    reading.take(stream("a").removesuffix(b"data: [DONE]\n\n"))
    reading.close()
    assert reading.ended


def test_the_end_of_a_stream_ends_its_last_event() -> None:
    reading = Reading(ChatDialect(), "m")
    reading.take(chunk("a"))
    reading.close(b"data: [DONE]")
    assert reading.ended


MUCH = "lorem ipsum " * (MOST_KEPT // 10)
DELTAS = {
    "chat": (ChatDialect(), {"choices": [{"delta": {"content": MUCH}}]}),
    "messages": (
        MessagesDialect(),
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": MUCH}},
    ),
    "responses": (ResponsesDialect(), {"type": "response.output_text.delta", "delta": MUCH}),
}


@pytest.mark.parametrize("wire", DELTAS)
def test_of_a_stream_that_is_too_long_the_beginning_is_kept_and_how_much_more_there_was(wire: str) -> None:
    dialect, event = DELTAS[wire]
    reading, data = Reading(dialect, "m"), b"data: " + json.dumps(event).encode() + b"\n\n"
    for _ in range(3):
        reading.take(data)
    done = reading.completion()
    assert done is not None
    assert done.text[:MOST_KEPT] == MUCH[:MOST_KEPT]
    assert done.text[MOST_KEPT:] == f"\n[characters that are not kept: {3 * len(MUCH) - MOST_KEPT:,}]"


def test_a_text_that_just_fits_is_kept_as_it_is() -> None:
    texts = Texts(6)
    for piece in ("abc", "", "def"):
        texts.add(piece)
    assert texts.whole() == "abcdef"
    texts.add("g")
    assert texts.whole() == "abcdef\n[characters that are not kept: 1]"
