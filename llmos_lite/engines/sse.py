"""Server-sent events, read from any cut of the bytes."""

from __future__ import annotations

from llmos_lite.errors import UpstreamFailed

LONGEST_EVENT = 1 << 20


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
        self.events = 0
        """How many events came so far; comments, which only keep a line open, are none."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of each event that `chunk` completes.

        Raises:
            UpstreamFailed: `model.garbage`, when an event does not end.
        """
        lines = (self._rest + chunk).splitlines(keepends=True)
        self._rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        events: list[bytes] = []
        for line in lines:
            self._line(line.rstrip(b"\r\n"), events)
        if len(self._rest) + self._size > self._longest:
            raise UpstreamFailed("model.garbage", "The model sent an event that does not end.")
        return events

    def close(self) -> list[bytes]:
        """Return what a stream without a last empty line still held."""
        return self.feed(b"\n\n")

    def _line(self, line: bytes, events: list[bytes]) -> None:
        if line.startswith(b"data:"):
            data = line[6:] if line[5:6] == b" " else line[5:]
            self._data.append(data)
            self._size += len(data)
        elif not line and self._data:
            events.append(b"\n".join(self._data))
            self.events += 1
            self._data, self._size = [], 0
