"""Events with their bytes: cut behind each empty line, however lines end, and nothing lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.gateway.tools.events import events_of

LINE_ENDS = [b"\n", b"\r\n", b"\r"]


@given(st.lists(st.sampled_from([*LINE_ENDS, b"data: a", b": b"])).map(b"".join))
def test_no_byte_of_a_piece_is_lost(data: bytes) -> None:
    assert b"".join(event.raw for event in events_of(data)) == data


@given(st.lists(st.sampled_from(LINE_ENDS)))
def test_events_end_with_an_empty_line_however_lines_end(ends: list[bytes]) -> None:
    raws = [b"data: %d%b%b" % (at, end, end) for at, end in enumerate(ends)]
    found = events_of(b"".join(raws))
    assert [event.raw for event in found] == raws
    assert [event.data for event in found] == [b"%d" % at for at in range(len(ends))]
