"""One level of a tree, column by column: of 10,000 lines an object each costs more than to read them.

An `Entry` is made when somebody asks for it; who wants only names and ids takes the columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import overload

from llmos_lite.engines.git_objects import FOLDER_MODE, PROGRAM_MODE, SERVED_MODES, Entry

_LINE = re.compile(rb"[^\0]+\0.{20}", re.DOTALL)
_LINES = re.compile(rb"(?:[^\0]++\0.{20})*+", re.DOTALL)
_ID = 20
_FOLDER, _PROGRAM = FOLDER_MODE.decode(), PROGRAM_MODE.decode()
_SERVED = frozenset(mode.decode() for mode in SERVED_MODES)


class Level(Sequence[Entry]):
    """What is served of one level, in Git's order: links and submodules are left out.

    Args:
        lead: stands before each name, as in `skills/`.
        names: of files and folders.
        oids: hexadecimal ids of their objects.
        modes: what they are.
    """

    def __init__(self, lead: str, names: list[str], oids: list[str], modes: Sequence[str]) -> None:
        self.lead, self.names, self.oids, self.modes = lead, names, oids, modes

    @classmethod
    def of(cls, raw: bytes, lead: str) -> Level:
        """Read a tree object."""
        lines = _LINE.findall(raw)
        hexed = b"".join([line[-_ID:] for line in lines]).hex()
        oids = [hexed[start : start + 2 * _ID] for start in range(0, len(hexed), 2 * _ID)]
        text = b"\0".join([line[: -_ID - 1] for line in lines]).decode("utf-8", "surrogateescape")
        names = text[len(_FOLDER) + 1 :].split(f"\0{_FOLDER} ") if text.startswith(f"{_FOLDER} ") else []
        if len(names) == len(lines):
            return cls(lead, names, oids, [_FOLDER] * len(lines))
        heads = [head.partition(" ") for head in text.split("\0")] if lines else []
        level = cls(lead, [head[2] for head in heads], oids, [head[0] for head in heads])
        return level if _SERVED.issuperset(level.modes) else level.where([mode in _SERVED for mode in level.modes])

    def where(self, chosen: Sequence[bool]) -> Level:
        """Return the lines that are chosen."""
        columns = (list(compress(column, chosen)) for column in (self.names, self.oids, self.modes))
        return Level(self.lead, *columns)

    def folders(self) -> Level:
        """Return the folders."""
        return self if set(self.modes) <= {_FOLDER} else self.where([mode == _FOLDER for mode in self.modes])

    def files(self) -> Level:
        """Return the files."""
        return self.where([mode != _FOLDER for mode in self.modes])

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Entry]:
        return (self._entry(*line) for line in zip(self.names, self.oids, self.modes, strict=True))

    @overload
    def __getitem__(self, place: int) -> Entry: ...

    @overload
    def __getitem__(self, place: slice) -> list[Entry]: ...

    def __getitem__(self, place: int | slice) -> Entry | list[Entry]:
        if isinstance(place, slice):
            return list(self)[place]
        return self._entry(self.names[place], self.oids[place], self.modes[place])

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as a list

    def _entry(self, name: str, oid: str, mode: str) -> Entry:
        return Entry(self.lead + name, oid, mode == _FOLDER, mode == _PROGRAM)


def differing(old: bytes, new: bytes, lead: str) -> tuple[Level, Level]:
    """Return the lines that stand in the first tree object alone, and those in the second alone.

    Lines are read from the first that differs to the last one; what is the same before and behind them is compared as
    bytes. Of 100,000 lines that is a tenth of reading them all.
    """
    if old == new:
        return Level(lead, [], [], []), Level(lead, [], [], [])
    start = _whole_lines(new, _same_length(old, new))
    old, new = old[start:], new[start:]
    same = _same_end(old, new)
    before, after = _lines_to(old, same), _lines_to(new, same)
    if sum(map(len, before)) - len(old) != sum(map(len, after)) - len(new):  # they end at different places
        before, after = _LINE.findall(old), _LINE.findall(new)
    gone, fresh = set(before), set(after)
    return (
        Level.of(b"".join([line for line in before if line not in fresh]), lead),
        Level.of(b"".join([line for line in after if line not in gone]), lead),
    )


def _same_length(old: bytes, new: bytes) -> int:
    """Return how many bytes two contents have in common at their beginning, by halves."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _same_end(old: bytes, new: bytes) -> int:
    """Return the same of their ends."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[len(old) - middle : len(old) - low] == new[len(new) - middle : len(new) - low]:
            low = middle
        else:
            high = middle - 1
    return low


def _whole_lines(raw: bytes, end: int) -> int:
    """Return where the last line ends that lies before `end` as a whole."""
    found = _LINES.match(raw, 0, end)
    return found.end() if found else 0


def _lines_to(raw: bytes, same: int) -> list[bytes]:
    """Return the lines up to the first that ends where the last `same` bytes begin, or behind it."""
    found, place = list[bytes](), 0
    while place < len(raw) - same:
        line = _LINE.match(raw, place)
        if line is None:
            return found
        found.append(line.group())
        place = line.end()
    return found
