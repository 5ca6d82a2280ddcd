"""Server-sent events, read from any cut of the bytes."""

from __future__ import annotations

import re

import msgspec

from llmos_lite.errors import UpstreamFailed

LONGEST_EVENT = 1 << 20
EVENT_ENDS = (b"\n\n", b"\n\r\n", b"\r\r")
_LOOKED_AT = 1 << 16
"""Bytes at the beginning of a stream in which it shows that no empty line ends its events."""
_TWO_LINES = re.compile(rb"(?:(?!data:)[^\n]*\n)*+data:([^\n]*)\n(?:(?!data:|\r?\n)[^\n]+\n)*+data:")
_DATA_LINE = re.compile(rb"^(data:[^\n]*\n)(?!\r?\n)", re.MULTILINE)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def whole_events(begun: bytearray, data: bytes) -> bytes:
    """Return as many whole events as there are now, byte for byte; what stands behind them waits in `begun`.

    Args:
        begun: the beginning of an event.
        data: what comes after it.
    """
    start = max(0, len(begun) - 3)  # an end may be cut, too
    begun += data
    places = ((begun.rfind(end, start), len(end)) for end in EVENT_ENDS)
    size = max((place + length for place, length in places if place >= 0), default=0)
    whole = bytes(begun[:size])
    del begun[:size]
    return whole


def lacks_ends(begun: bytes | bytearray, data: bytes = b"") -> bool:
    """Tell whether a server puts no empty line between its events: an object in one line, and behind it another.

    As one event, which they are to the standard, these two would be nothing that any API of models says.

    Args:
        begun: what came of an event that is not whole.
        data: what comes after it.
    """
    found = _TWO_LINES.match(begun + data[:_LOOKED_AT]) if len(begun) < _LOOKED_AT else None
    if found is None:
        return False
    try:
        _object.decode(found[1])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def ended_lines(begun: bytearray, data: bytes) -> bytes:
    """Return as many events as there are now of a server that ends them with their line, each with its empty line.

    Args:
        begun: the beginning of a line.
        data: what comes after it.
    """
    begun += data
    size = begun.rfind(b"\n") + 1
    whole = _ended(bytes(begun[:size]))
    del begun[:size]
    return whole


def _ended(text: bytes) -> bytes:
    """Return a text with an empty line behind each whole line of data."""
    return _DATA_LINE.sub(rb"\1\n", text)


class SseReader:
    """Turns chunks of bytes, cut anywhere, into the `data` of whole events.

    Lines may end in LF, CRLF or CR, as the standard wants; comments and other fields are skipped.

    Args:
        longest: most bytes of one unfinished event.
    """

    def __init__(self, longest: int = LONGEST_EVENT) -> None:
        self._longest = longest
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._lacks_ends = False
        self.events = 0
        """How many events came so far; comments, which only keep a line open, are none."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of each event that `chunk` completes.

        Raises:
            UpstreamFailed: `model.garbage`, when an event does not end.
        """
        text = self._rest + chunk
        events = self._by_line(text) if self._data or b"\r" in text else self._whole(text)
        if len(self._rest) + self._size > self._longest:
            raise UpstreamFailed("model.garbage", "The model sent an event that does not end.")
        self.events += len(events)
        return events

    def _whole(self, text: bytes) -> list[bytes]:
        """Return the events of a text whose lines end in LF, as nearly every server sends it."""
        if text.startswith(b"data: ") and text.endswith(b"\n\n"):
            events = text[6:-2].split(b"\n\ndata: ")
            if text.count(b"\n") == 2 * len(events):  # one line each, and nothing else
                self._rest = b""
                return events
        if self._lacks_ends:
            text = _ended(text)
        elif lacks_ends(text):
            self._lacks_ends = True
            return self._whole(text)
        *found, self._rest = text.split(b"\n\n")
        events = []
        for event in found:
            if event.startswith(b"data: ") and event.find(b"\n") < 0:
                events.append(event[6:])
            elif lines := [_value(line) for line in event.split(b"\n") if line.startswith(b"data:")]:
                events.append(b"\n".join(lines))
        return events

    def _by_line(self, text: bytes) -> list[bytes]:
        lines = text.splitlines(keepends=True)
        self._rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        events: list[bytes] = []
        for line in lines:
            self._line(line.rstrip(b"\r\n"), events)
        return events

    def close(self) -> list[bytes]:
        """Return what a stream without a last empty line still held."""
        return self.feed(b"\n\n")

    def _line(self, line: bytes, events: list[bytes]) -> None:
        if line.startswith(b"data:"):
            self._data.append(_value(line))
            self._size += len(line)
        elif not line and self._data:
            events.append(b"\n".join(self._data))
            self._data, self._size = [], 0


def _value(line: bytes) -> bytes:
    return line[6:] if line[5:6] == b" " else line[5:]
