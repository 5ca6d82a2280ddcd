"""Following logs while they are written: what of a file is new and whole, in parts that can be read on their own.

A part ends where a turn does and begins with the turn before it, which is known already, so that what follows it
hangs where it belongs, and before that with what the person said last: news of agents serve that. Ids are stable,
hence a part that is sent twice adds nothing. A half-written last line waits; so does a turn that is not over, until
its file has been quiet for long.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmos_lite.core.traces.importers.base import HEAD, MAX_LINE, Importer, Json, Source, parse_json
from llmos_lite.core.traces.importers.claude_code import ClaudeCode
from llmos_lite.core.traces.importers.codex import Codex
from llmos_lite.core.traces.importers.turns import MARKS, Mark

PART = 32 << 20
"""Bytes of new turns that a part has at most, unless one turn is longer."""
LONGEST_TURN = 256 << 20
QUIET = 5.0
"""Seconds without a new line after which a turn that says it is over is."""
FORGOTTEN = 600.0
"""Seconds without a new line after which any turn is over: its program was stopped."""
CHECKED = 4096

_FOLLOWED: tuple[Importer, ...] = (ClaudeCode(), Codex())


@dataclass(slots=True)
class Place:
    """How far a file has been sent.

    Args:
        sent: bytes that need not be looked at again.
        turn: where the last turn in them begins.
        file: inode, by which another file under the same name is noticed ...
        begins: ... and a hash of the first 4096 bytes of `sent`, by which other content is.
        asked: where the line begins with which a person last said something.
    """

    sent: int = 0
    turn: int = 0
    file: int = 0
    begins: str = ""
    asked: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """Turns of a file that can be read on their own: `head`, then the bytes from `start` to `end`.

    `turn` and `asked` are those of its `Place` when it is sent.
    """

    path: Path
    start: int
    end: int
    turn: int
    asked: int
    head: bytes = b""

    @property
    def size(self) -> int:
        """Return how many bytes it has."""
        return len(self.head) + self.end - self.start


@dataclass(slots=True)
class _Scan:
    """What was seen beyond what was sent.

    Args:
        end: where it ends.
        turn: where the turn begins that is being read ...
        asked: ... and where the line begins with which a person last said something.
        cut: the last place at which the file may be cut ...
        before: ... where the turn before that begins ...
        wanted: ... and the line with which a person last said something there.
        has: whether there is anything to send before the cut.
        answered: whether the model said something in the turn that is being read.
        ended: whether that turn says that it is over.
    """

    end: int
    turn: int
    asked: int
    cut: int
    before: int
    wanted: int
    has: bool = False
    answered: bool = False
    ended: bool = False

    def settle(self, cut: int) -> None:
        """Let the file be cut here."""
        self.cut, self.before, self.wanted, self.turn = cut, self.turn, self.asked, cut
        self.has, self.answered, self.ended = True, False, False


class Followed:
    """One file on its way: what was seen of it.

    Args:
        path: the file.
        place: how far it was sent before.
    """

    def __init__(self, path: Path, place: Place | None = None) -> None:
        self.path, self.place = path, place or Place()
        self._scan, self._format = self._from_place(), ""
        self._seen, self._waits = (-1, 0), False

    def look(self, now: float) -> Part | None:
        """Return what is new and whole, or None.

        Args:
            now: seconds since the epoch.

        Raises:
            OSError: the file cannot be read, or is gone.
        """
        found = self.path.stat()
        seen = (found.st_size, found.st_mtime_ns)
        if not stat.S_ISREG(found.st_mode) or (seen == self._seen and not self._waits):
            return None
        self._seen = seen
        if self._is_another(found):
            self.place = Place()
            self._scan, self._format = self._from_place(), ""
        self.place.file = found.st_ino
        self._waits = False
        return None if found.st_size == self.place.sent else self._part(now - found.st_mtime)

    def sent(self, part: Part) -> None:
        """Note that a part needs not be looked at again."""
        self.place = Place(part.end, part.turn, self.place.file, _begins(self.path, part.end), part.asked)
        self._scan.has, self._waits = False, True

    def _from_place(self) -> _Scan:
        sent, turn, asked = self.place.sent, self.place.turn, self.place.asked
        return _Scan(sent, sent, asked, sent, turn, asked)

    def _is_another(self, found: os.stat_result) -> bool:
        """Tell whether the file was cut off, or another one stands there now."""
        place = self.place
        if found.st_size < max(place.sent, self._scan.end) or place.file not in {0, found.st_ino}:
            return True
        return bool(place.sent) and place.begins != _begins(self.path, place.sent)

    def _part(self, quiet: float) -> Part | None:
        self._format = self._format or self._recognised()
        if not self._format:
            return None
        scan, whole = self._scan, self._read_on()
        over = quiet >= FORGOTTEN or (scan.ended and quiet >= QUIET)
        if whole and over and scan.answered:
            scan.settle(scan.end)
        self._waits = not whole or scan.answered or scan.has
        if not scan.has:
            return None
        start = min(self.place.turn, self.place.sent)
        return Part(self.path, start, scan.cut, scan.before, scan.wanted, self._head(start) if start else b"")

    def _recognised(self) -> str:
        head = Source(self.path).head()
        if len(head) < HEAD and b"\n" not in head:
            return ""
        return next((item.name for item in _FOLLOWED if item.sniff(head)), "")

    def _read_on(self) -> bool:
        """Read on, and tell whether the end was reached."""
        scan, mark = self._scan, MARKS[self._format]
        for end, record in _lines(self.path, scan.end):
            begins, scan.end = scan.end, end
            said = mark(record) if record is not None else Mark.OTHER
            if said in {Mark.OPENS, Mark.BEGINS}:
                if scan.answered:
                    scan.settle(begins)
                scan.asked = begins if said is Mark.BEGINS else scan.asked
            elif said in {Mark.ANSWERS, Mark.ENDS}:
                scan.answered = True
            if said is not Mark.OTHER:
                scan.ended = said is Mark.ENDS
            if scan.answered and end - scan.turn > LONGEST_TURN:
                scan.settle(end)
            if scan.has and end - self.place.sent > PART:
                return False
        return True

    def _head(self, start: int) -> bytes:
        """Return what says what the whole session is, and what the person wants, where that stands before the part."""
        asked = self.place.asked
        return self._line(0, Mark.HEAD) + (self._line(asked, Mark.BEGINS) if asked < start else b"")

    def _line(self, start: int, mark: Mark) -> bytes:
        """Return the line at a place, when it is marked so."""
        end, record = next(_lines(self.path, start), (start, None))
        if record is None or MARKS[self._format](record) is not mark:
            return b""
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)


def _lines(path: Path, start: int) -> Iterator[tuple[int, Json | None]]:
    """Yield where each whole line ends, and the object on it; None for anything else, and for one that is too long."""
    with path.open("rb") as file:
        file.seek(start)
        while line := file.readline(MAX_LINE):
            is_long = not line.endswith(b"\n")
            while line and not line.endswith(b"\n"):
                line = file.readline(1 << 20)
            if not line:
                return
            yield file.tell(), None if is_long else _object(line)


def _object(line: bytes) -> Json | None:
    try:
        found = parse_json(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _begins(path: Path, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(min(size, CHECKED))).hexdigest()[:16]
