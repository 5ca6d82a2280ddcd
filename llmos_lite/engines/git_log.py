"""A history, newest first: all of it, or the commits that changed an entry.

What the commit-graph knows is not read: its filters name the commits that may have changed a path, and only those are
looked at. Where branches come together the newest goes first, and parents never before their children: by Git's
corrected commit date, which is a commit's own time, or a second after the newest of its parents; by id, where that
is the same, so that a page fits to the one before, whatever came into the graph in between.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import NamedTuple, Protocol

from llmos_lite.engines.git_graph import CommitGraph, DamagedGraph, PathKeys
from llmos_lite.errors import NotFound

_HEADER = re.compile(rb"tree ([0-9a-f]{40})\n((?:parent [0-9a-f]{40}\n)*)")
_PARENT = re.compile(r"parent (.{40})\n")
_TIME = re.compile(rb"^committer .* (-?\d{1,18}) [+-]\d", re.MULTILINE)
_KEPT = 1000


class Source(Protocol):
    """Reads what the graph does not say; `Objects` does."""

    def raw(self, oid: str) -> bytes:
        """Return an object's content."""

    def standing(self, tree: str, paths: Sequence[str]) -> tuple[str, ...]:
        """Return what stands at each path of a root tree, empty for nothing."""


class _Read(NamedTuple):
    """A commit that the graph does not have."""

    oid: str
    tree: str
    parents: tuple[str, ...]
    time: int


class History:
    """The history of a commit.

    Args:
        source: reads objects.
        start: the newest commit.
        paths: only commits in which one of these entries differs from what every parent has; none for all commits.
        graph: knows older commits; None when there is none.
    """

    def __init__(self, source: Source, start: str, paths: Sequence[str] = (), graph: CommitGraph | None = None) -> None:
        self._source, self._paths, self._graph = source, tuple(paths), graph
        self._keys = PathKeys(paths)
        self._changers: dict[int, int] = {}
        self._read: dict[int, _Read] = {}
        self._places: dict[str, int] = {}
        self._ranks: dict[int, int] = {}
        self._values: dict[str, tuple[str, ...]] = {}
        self._start = start

    def page(self, limit: int, before: str | None = None) -> list[str]:
        """Return the ids of at most `limit` commits, those after `before`.

        Raises:
            NotFound: `commit.unknown`, when `before` is not among the commits.
            DamagedGraph: look without the graph.
        """
        commits = self._walk()
        if before is not None:
            place = next((place for place in commits if self._oid(place) == before), None)
            if place is None or not self._touches(place):
                raise NotFound("commit.unknown", f"There is no commit {before[:40]!r} in this history.")
        wanted = (self._oid(place) for place in commits if self._touches(place))
        return list(islice(wanted, limit))

    def __iter__(self) -> Iterator[str]:
        """Yield the ids of all commits."""
        return (self._oid(place) for place in self._walk() if self._touches(place))

    def _walk(self) -> Iterator[int]:
        """Yield the places of all commits that may count, each once."""
        waiting: list[tuple[int, str, int]] = []
        seen: set[int] = set()
        place = self._changer(self._place(self._start))
        for turn in count():
            if self._graph is not None and turn >= self._graph.count + len(self._read):
                raise DamagedGraph("a commit is its own ancestor")
            yield place
            parents = self._parents(place)
            if waiting or len(parents) != 1:
                for parent in map(self._changer, parents):
                    if parent not in seen:
                        seen.add(parent)
                        heapq.heappush(waiting, (-self._rank(parent), self._oid(parent), parent))
                if not waiting:
                    return
                place = heapq.heappop(waiting)[2]
            else:
                place = self._changer(parents[0])

    def _touches(self, place: int) -> bool:
        """Tell whether one of the entries differs from what every parent has."""
        if not self._paths:
            return True
        mine = self._standing(self._tree(place))
        parents = self._parents(place)
        if not parents:
            return any(mine)
        # What stands at the paths is the same from a commit up to its next changer, which is looked at next anyway.
        theirs = [self._standing(self._tree(self._changer(parent))) for parent in parents]
        return any(all(one[i] != mine[i] for one in theirs) for i in range(len(mine)))

    def _standing(self, tree: str) -> tuple[str, ...]:
        found = self._values.get(tree)
        if found is None:
            if len(self._values) > _KEPT:
                self._values.clear()
            found = self._values[tree] = self._source.standing(tree, self._paths)
        return found

    def _changer(self, place: int) -> int:
        """Return a commit, or the next on its line that may have changed something."""
        if not self._paths or self._graph is None or place < 0:
            return place
        found = self._changers.get(place)
        if found is None:
            if len(self._changers) > _KEPT:
                self._changers.clear()
            found = self._changers[place] = self._graph.changer(place, self._keys)
        return found

    # Commits by their places: those that the graph does not have get negative ones

    def _place(self, oid: str) -> int:
        place = self._places.get(oid)
        if place is None:
            found = self._graph.find(bytes.fromhex(oid)) if self._graph else None
            place = self._places[oid] = -1 - len(self._places) if found is None else found
            if place < 0:
                self._read[place] = self._parsed(oid)
        return place

    def _parsed(self, oid: str) -> _Read:
        header = self._source.raw(oid).partition(b"\n\n")[0] + b"\n"
        lines, time = _HEADER.match(header), _TIME.search(header)
        if lines is None:
            raise NotFound("commit.unknown", f"There is no commit {oid} in this volume.")
        parents = tuple(_PARENT.findall(lines[2].decode()))
        return _Read(oid, lines[1].decode(), parents, int(time[1]) if time else 0)

    def _oid(self, place: int) -> str:
        return self._read[place].oid if place < 0 else self._known(place).oid(place).hex()

    def _tree(self, place: int) -> str:
        return self._read[place].tree if place < 0 else self._known(place).commit(place).tree.hex()

    def _parents(self, place: int) -> Sequence[int]:
        if place < 0:
            return [self._place(parent) for parent in self._read[place].parents]
        return self._known(place).commit(place).parents

    def _known(self, place: int) -> CommitGraph:
        if self._graph is None:
            raise DamagedGraph(f"nothing stands at {place}")
        return self._graph

    def _rank(self, place: int) -> int:
        """Return the corrected date of a commit: above that of each ancestor."""
        if place >= 0:
            return self._known(place).commit(place).rank
        waiting = [place]
        while waiting:
            parents = self._parents(waiting[-1])
            unknown = [parent for parent in parents if parent < 0 and parent not in self._ranks]
            if not unknown:
                one = waiting.pop()
                self._ranks[one] = max([self._read[one].time, *(self._ranks_of(parent) + 1 for parent in parents)])
            waiting += unknown
        return self._ranks[place]

    def _ranks_of(self, place: int) -> int:
        return self._ranks[place] if place < 0 else self._known(place).commit(place).rank
