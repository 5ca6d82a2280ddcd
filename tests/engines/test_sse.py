from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.engines.sse import SseReader, lacks_ends, whole_events
from llmos_lite.errors import UpstreamFailed

lines = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)


@given(
    data=st.lists(st.lists(lines, min_size=1, max_size=3), max_size=5),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    cut=st.data(),
)
def test_any_line_end_and_any_cut_give_the_same_events(data: list[list[str]], end: str, cut: st.DataObject) -> None:
    text = "".join("".join(f"data: {line}{end}" for line in event) + end for event in data)
    raw = (": comment" + end + "event: x" + end + text).encode()
    reader, events, position = SseReader(), list[bytes](), 0
    while position < len(raw):
        size = cut.draw(st.integers(1, len(raw) - position))
        events += reader.feed(raw[position : position + size])
        position += size
    events += reader.close()
    assert events == ["\n".join(event).encode() for event in data]


def test_the_space_after_the_colon_is_optional() -> None:
    assert SseReader().feed(b"data:a\ndata: b\ndata:  c\n\n") == [b"a\nb\n c"]


def test_a_stream_without_a_last_empty_line_still_ends_its_event() -> None:
    reader = SseReader()
    assert reader.feed(b"data: a") == []
    assert reader.close() == [b"a"]


@given(cuts=st.lists(st.integers(0, 60), max_size=8))
def test_objects_that_only_their_line_ends_are_events(cuts: list[int]) -> None:
    data = b'event: x\ndata: {"a": 1}\nevent: x\ndata: {"a": 2}\ndata: [DONE]\n'
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    reader = SseReader()
    events = [event for start, stop in pairwise(edges) for event in reader.feed(data[start:stop])]
    assert events + reader.close() == [b'{"a": 1}', b'{"a": 2}', b"[DONE]"]


def test_an_empty_line_at_the_end_of_all_makes_no_one_event_of_them() -> None:
    assert SseReader().feed(b'data: {"a": 1}\ndata: [DONE]\n\n') == [b'{"a": 1}', b"[DONE]"]


@pytest.mark.parametrize(
    "text", [b"data: {\ndata: }\n", b"data: 1\ndata: 2\n", b'data: {"a": 1}\nid: 5\n', b"data: {}"]
)
def test_lines_that_may_be_one_event_are_one(text: bytes) -> None:
    assert not lacks_ends(text)
    assert SseReader().feed(text) == []


def test_a_long_beginning_is_not_looked_at_again_and_again() -> None:
    assert not lacks_ends(b": " + b"x" * (1 << 16) + b"\ndata: {}\ndata: {}\n")


def test_an_empty_line_ends_an_event_whatever_its_lines_end_in() -> None:
    assert not lacks_ends(b"data: {}\r\n\r\ndata: {}\r\n\r\n")


@pytest.mark.parametrize("line", [b"data: ", b"data: aaaaaaaaaa\n"])
def test_an_event_that_does_not_end_is_garbage(line: bytes) -> None:
    reader = SseReader(longest=100)
    with pytest.raises(UpstreamFailed, match="does not end"):
        reader.feed(line * 50)


@given(
    events=st.lists(st.sampled_from([b": ping", b"event: x\ndata: {}", b"data: a\ndata: b", b"data: c"]), max_size=6),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_only_whole_events_pass_however_they_are_cut(events: list[bytes], end: bytes, cuts: list[int]) -> None:
    written = [event.replace(b"\n", end) + end + end for event in events]
    data, begun, passed = b"".join(written) + b"data: half", bytearray(), b""
    ends = {sum(map(len, written[:number])) for number in range(len(written) + 1)}
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, stop in pairwise(edges):
        passed += whole_events(begun, data[start:stop])
        assert len(passed) == max(place for place in ends if place <= stop)
        assert passed + begun == data[:stop]
    assert begun == b"data: half"
