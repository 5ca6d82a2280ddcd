"""Server-sent events with their bytes, so that what need not change passes as it came."""

from __future__ import annotations

import re

import msgspec

from llmos_lite.core.gateway.asked import Raw, encode

_END = re.compile(rb"\n\r?\n|\r(?:\n\r?\n|\r)")  # each way begins with a sign of its own: a third of the time
_object = msgspec.json.Decoder(dict[str, Raw])
_list = msgspec.json.Decoder(list[Raw])
_number = (int, float)


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event: its bytes with the empty line that ends it, and what stands in `data`; empty for a comment."""

    raw: bytes
    data: bytes


def events_of(data: bytes) -> list[Event]:
    """Return the events of a piece in which all are whole."""
    found, start = list[Event](), 0
    for end in _END.finditer(data):
        found.append(event_of(data[start : end.end()]))
        start = end.end()
    return found if start == len(data) else [*found, event_of(data[start:])]


def event_of(raw: bytes) -> Event:
    """Return an event from its bytes."""
    if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and raw.find(b"\r") < 0:
        return Event(raw, raw[6:-2])
    lines = [line[5:].lstrip(b" ") for line in raw.splitlines() if line.startswith(b"data:")]
    return Event(raw, lines[0] if len(lines) == 1 else b"\n".join(lines))


def object_of(data: bytes | Raw) -> dict[str, Raw]:
    """Return the top of an object, each value as it was written; empty for what is none."""
    try:
        return _object.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def list_of(raw: Raw | None) -> list[Raw]:
    """Return the items of a list, each as it was written; none of what is none."""
    try:
        return _list.decode(raw) if raw is not None else []
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


def rewritten(event: Event, changes: dict[str, object]) -> bytes:
    """Return an event with other values at the top of its data."""
    name = event.raw.partition(b"\n")[0].rstrip(b"\r")
    head = name + b"\n" if name.startswith(b"event:") else b""
    return b"%bdata: %b\n\n" % (head, encode(object_of(event.data) | changes))


def summed(one: object, two: object) -> object:
    """Return two counts as one: numbers are added, and what is no number is taken from the later."""
    if isinstance(one, dict) and isinstance(two, dict):
        return {key: summed(one.get(key), two.get(key)) for key in (*one, *(key for key in two if key not in one))}
    if isinstance(one, _number) and isinstance(two, _number) and not isinstance(two, bool):
        return one + two
    return one if two is None else two
