"""What an importer is, and what all of them need: bounded lines, times, ids, texts.

An importer turns the log of another tool into traces. It is chosen by looking at the head of a file, reads the file
line by line in bounded memory, and never fails: what it cannot use it returns as `Skipped`, and the report counts it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

import msgspec

from llmos_lite.core.traces.trace import SkillUse, Trace, make_ulid

HEAD = 64 << 10
MAX_LINE = 16 << 20
MAX_TEXT = 200_000
MAX_GOAL = 4_000
MAX_CONVERSATION = 128

_YEAR_2000 = 946_684_800_000
_YEAR_2100 = 4_102_444_800_000
_SECONDS_BELOW = 100_000_000_000  # as seconds the year 5138, as milliseconds 1973: no log holds either
_DAY = 86_400_000

Json: TypeAlias = "dict[str, object]"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A line (or a whole file, when `line` is 0) that gave no trace; equal reasons are counted together."""

    reason: str
    line: int = 0


class Known(NamedTuple):
    """A skill that a log names and the person sees here; `held` when a scanner holds it back, so that none gets it."""

    use: SkillUse
    held: bool = False


class Find(Protocol):
    """Finds a skill that the person sees."""

    def __call__(self, skill_id: str, volume: str = "") -> Known | None:
        """Return the skill of an id; of a volume, where the log says which one."""


def find_none(skill_id: str, volume: str = "") -> Known | None:
    """Find nothing."""
    del skill_id, volume
    return None


@dataclass(frozen=True, slots=True)
class Target:
    """Where the traces go.

    Args:
        actor: id of the person whose work it was.
        volume: the person's volume, written as everywhere (`user:alice`).
        find: finds the skills that this person sees, so that a use of one is known as such.
    """

    actor: str
    volume: str
    find: Find = find_none

    def trace_id(self, at: int, key: str) -> str:
        """Return the id of the trace that `key` names in its source: the same key gives the same id."""
        return make_ulid(at, f"{self.volume}\0{key}")


class Source:
    """A file that is being read: bounded lines, and how far the reading is.

    Attributes:
        path: the file.
        name: what it is called in reports.
        lines: lines read so far.
        position: bytes read so far.
    """

    def __init__(self, path: Path, name: str = "") -> None:
        self.path, self.name = path, name or path.name
        self.lines = 0
        self.position = 0

    def head(self) -> bytes:
        """Return the first 64 KiB."""
        with self.path.open("rb") as file:
            return file.read(HEAD)

    def records(self) -> Iterator[Json | Skipped]:
        """Yield each line as a JSON object; blank lines are passed over, unreadable ones are `Skipped`."""
        for line in self._raw():
            if isinstance(line, Skipped):
                yield line
            elif text := line.strip():
                yield self._parse(text)

    def skipped(self, reason: str) -> Skipped:
        """Return `Skipped` for the line that was read last."""
        return Skipped(reason, self.lines)

    def _raw(self) -> Iterator[bytes | Skipped]:
        with self.path.open("rb") as file:
            while line := file.readline(MAX_LINE):
                self.lines += 1
                self.position += len(line)
                if len(line) < MAX_LINE or line.endswith(b"\n"):
                    yield line.removeprefix(b"\xef\xbb\xbf") if self.lines == 1 else line
                    continue
                while line and not line.endswith(b"\n"):
                    line = file.readline(1 << 20)
                    self.position += len(line)
                yield self.skipped(f"line over {MAX_LINE >> 20} MiB")

    def _parse(self, text: bytes) -> Json | Skipped:
        try:
            record = parse_json(text)
        except RecursionError:
            return self.skipped("nested too deeply")
        except ValueError:
            return self.skipped("binary" if b"\0" in text else "not JSON")
        return record if isinstance(record, dict) else self.skipped("not a JSON object")


@runtime_checkable
class Importer(Protocol):
    """Turns one kind of log into traces.

    Register one as an entry point in the group `llmos_lite.importers`: a class without arguments, or an object.
    """

    name: str
    """Short name, used as `--format NAME`; its traces have the source `import:NAME`."""

    def sniff(self, head: bytes) -> bool:
        """Tell from the first 64 KiB whether a file is of this kind; must not raise on anything."""

    def read(self, source: Source, target: Target) -> Iterator[Trace | Skipped]:
        """Yield the file's traces in order, parents first.

        Ids come from `Target.trace_id`, with a key that the same source gives again; times are those of the source.
        """


def parse_json(text: bytes) -> object:
    """Read one JSON text; half surrogate pairs, which JavaScript writes into logs, become a mark.

    Raises:
        ValueError: it is not JSON.
        RecursionError: it is nested too deeply.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        again = json.dumps(json.loads(text.decode("utf-8", "replace")), ensure_ascii=False)
        return msgspec.json.decode(again.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def clean(text: str) -> str:
    """Return the text as it is stored: at most 200,000 characters, and a sentence about the rest."""
    if len(text) <= MAX_TEXT:
        return text
    return f"{text[:MAX_TEXT]}\n[… {len(text) - MAX_TEXT} more characters were left out by the import]"


def as_text(value: object) -> str:
    """Return a message's content as text: a string, or the texts of its parts; other parts as `[image]`."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return clean("\n".join(part for part in map(_part, value) if part))
    return ""


def _part(part: object) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return ""
    text = part.get("text")
    if isinstance(text, str):
        return text
    kind = part.get("type")
    return f"[{kind}]" if isinstance(kind, str) else ""


def as_json(value: object) -> str:
    """Return a tool's arguments as JSON text; text that already is stays as it is."""
    return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def as_count(value: object) -> int:
    """Return a count of tokens; anything that is none is 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else 0


def as_time(value: object) -> int | None:
    """Return milliseconds since the epoch of an ISO 8601 text, or of seconds or milliseconds; None when it is none."""
    if isinstance(value, str):
        at = _iso(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        at = value * 1000 if abs(value) < _SECONDS_BELOW else value
    else:
        return None
    return int(at) if at is not None and _YEAR_2000 <= at < _YEAR_2100 else None


def _iso(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
    except (ValueError, OverflowError):
        return None


def undated(key: str) -> int:
    """Return a time for a record that has none: a moment of 1 January 2000 (UTC) that its content alone decides.

    A time of the file would change when the file is copied, and the same source would be imported twice.
    """
    return _YEAR_2000 + int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % _DAY


def short_goal(text: str) -> str:
    """Return a goal from what a person wrote, at most 4,000 characters."""
    return text.strip()[:MAX_GOAL]


def conversation_id(text: str) -> str:
    """Return a conversation's id as the rows can hold it: long ones become their hash."""
    return text if len(text) <= MAX_CONVERSATION else hashlib.sha256(text.encode()).hexdigest()
