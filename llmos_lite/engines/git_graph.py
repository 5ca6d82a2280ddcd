"""Git's commit-graph, read in place: parents, trees and order of commits, and what a commit cannot have changed.

Formats: gitformat-commit-graph(5), gitformat-chunk(5). A file for each layer, the commits of older layers first; a
commit has a place in all of them together. Each commit has a Bloom filter of the paths that differ from its first
parent: one look is 1 us, where reading two trees is 100; on a long walk, all are asked at once (`git_leaps`). All of it
is derived: whoever finds it damaged reads commits.
"""

from __future__ import annotations

import mmap
import struct
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

_HEAD = struct.Struct(">4sBBBB")
_CHUNK = struct.Struct(">4sQ")
_COMMIT = struct.Struct(">20sIIQ")
_LINE = struct.Struct(">IIQ")
_U32, _PAIR, _U64 = struct.Struct(">I"), struct.Struct(">II"), struct.Struct(">Q")
_BLOOM = struct.Struct(">III")
_ID, _FAN = 20, 256 * 4
_NONE, _MORE, _LAST = 0x70000000, 0x80000000, 0x80000000
"""No such parent; its place stands in the list of further parents; the end of that list."""
_TIME_BITS, _MOST_LEVEL = 34, 1 << 30
_NEEDED = frozenset({b"OIDF", b"OIDL", b"CDAT", b"GDA2"})
_MASK = 0xFFFFFFFF
_SEEDS = 0x293AE76F, 0x7E646E2C
_MOST_HASHES = 64
_MOST_PARENTS = 1 << 16
_LEAPS_COST, _NUMPY_COST = 100, 30_000
"""Asking all filters of a file costs as much as walking a hundredth of its commits, and loading numpy this many."""


class DamagedGraph(Exception):
    """The commit-graph cannot be what it says; the text says why."""


GRAPH_ERRORS = DamagedGraph, struct.error
"""What a damaged graph makes its readers raise."""


class GraphCommit(NamedTuple):
    """A commit as the graph knows it: the id of its tree, the places of its parents, and its rank.

    A commit's rank (Git: its corrected commit date) is above those of its ancestors.
    """

    tree: bytes
    parents: tuple[int, ...]
    rank: int


class PathKeys:
    """What the filters of a commit-graph hold when a commit changed one of some paths.

    Args:
        paths: of files and folders. Versions of Git hash letters beyond ASCII in two ways: of such a path, the folder
            above is asked for.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._hashes = [_hashes(path) for path in paths]
        self._masks: dict[tuple[int, int], list[int]] = {}

    @property
    def hashes(self) -> list[tuple[int, ...]] | None:
        """Both hashes of each path; None where no filter knows one of them."""
        return self._hashes if all(self._hashes) else None

    def masks(self, hashes: int, size: int) -> list[int]:
        """Return for each path the bits that must be set in a filter of `size` bytes."""
        key = hashes, size
        found = self._masks.get(key)
        if found is None:
            found = self._masks[key] = [_mask(pair, hashes, size) for pair in self._hashes]
        return found


def _hashes(path: str) -> tuple[int, ...]:
    while path and not path.isascii():
        path = path.rpartition("/")[0]
    return tuple(murmur3(path.encode(), seed) for seed in _SEEDS) if path else ()


def _mask(pair: tuple[int, ...], hashes: int, size: int) -> int:
    if not pair:
        return 0
    places = {((pair[0] + turn * pair[1]) & _MASK) % (size * 8) for turn in range(hashes)}
    return sum(1 << place for place in places)


class CommitGraph:
    """The layers of a graph, the oldest first.

    Args:
        layers: in the order of their places.
    """

    def __init__(self, layers: Sequence[_Layer]) -> None:
        self._layers = list(layers)
        self._newest_first = self._layers[::-1]
        self.count = sum(layer.count for layer in layers)

    def find(self, oid: bytes) -> int | None:
        """Return the place of a commit, None when it is not in the graph."""
        for layer in self._newest_first:
            index = layer.find(oid)
            if index is not None:
                return layer.base + index
        return None

    def oid(self, place: int) -> bytes:
        """Return the id of a commit."""
        layer = self._layer(place)
        return layer.oid(place - layer.base)

    def commit(self, place: int) -> GraphCommit:
        """Return what the graph knows of a commit."""
        layer = self._layer(place)
        return layer.commit(place - layer.base)

    def changer(self, place: int, keys: PathKeys) -> int:
        """Return the commit itself, or the nearest ancestor on its line that may have changed a path.

        A merge, and a commit without parents, is returned as one that may.
        """
        layer, level = self._layer(place), _MOST_LEVEL
        while True:
            if not layer.base <= place < layer.base + layer.count:
                layer = self._layer(place)
            parent, other, times = layer.line(place - layer.base)
            if not 0 < times >> _TIME_BITS < level:
                raise DamagedGraph("a commit is its own ancestor")
            if parent == _NONE or other != _NONE or layer.may_change(place - layer.base, keys):
                return place
            further = layer.further(place - layer.base, keys)
            place, level = parent if further is None else further, times >> _TIME_BITS

    def _layer(self, place: int) -> _Layer:
        for layer in self._newest_first:
            if place >= layer.base:
                if place < layer.base + layer.count:
                    return layer
                break
        raise DamagedGraph("a commit stands nowhere")


class _Layer:
    """One file of a graph, mapped."""

    def __init__(self, data: mmap.mmap, base: int) -> None:
        self._data, self.base = data, base
        magic, version, hashes, chunks, _ = _HEAD.unpack_from(data)
        if (magic, version, hashes) != (b"CGPH", 1, 1):
            raise DamagedGraph("its header is none that is known")
        table = [_CHUNK.unpack_from(data, _HEAD.size + turn * _CHUNK.size) for turn in range(chunks + 1)]
        ends = [start for _, start in table[1:]]
        chunk = {name: (start, end) for (name, start), end in zip(table, ends, strict=False)}
        if not chunk.keys() >= _NEEDED or any(start > end for start, end in chunk.values()) or ends[-1] > len(data):
            raise DamagedGraph("a part of it is missing")
        self._fan, self._oids, self._commits = (chunk[name][0] for name in (b"OIDF", b"OIDL", b"CDAT"))
        self._dates, self._far_dates = chunk[b"GDA2"][0], chunk.get(b"GDO2", (0, 0))
        self._edges = chunk.get(b"EDGE", (0, 0))
        self.count = int(_U32.unpack_from(data, self._fan + _FAN - 4)[0])
        sizes = ((b"OIDL", _ID), (b"CDAT", _COMMIT.size), (b"GDA2", 4))
        if any(chunk[name][1] - chunk[name][0] != size * self.count for name, size in sizes):
            raise DamagedGraph("its parts do not fit each other")
        self._ends, self._hashes, self._filters, self._filters_end = 0, 0, 0, 0
        self._leaps: dict[PathKeys, memoryview] = {}
        self._steps: dict[PathKeys, int] = {}
        if {b"BIDX", b"BDAT"} <= chunk.keys() and chunk[b"BIDX"][1] - chunk[b"BIDX"][0] == 4 * self.count:
            self._use_filters(chunk[b"BIDX"][0], *chunk[b"BDAT"])

    def _use_filters(self, ends: int, start: int, end: int) -> None:
        version, hashes, _ = _BLOOM.unpack_from(self._data, start)
        if version in (1, 2) and 0 < hashes <= _MOST_HASHES:
            self._ends, self._hashes = ends, hashes
            self._filters, self._filters_end = start + _BLOOM.size, end

    def find(self, oid: bytes) -> int | None:
        """Return the index of a commit."""
        low = int(_U32.unpack_from(self._data, self._fan + 4 * oid[0] - 4)[0]) if oid[0] else 0
        high = min(int(_U32.unpack_from(self._data, self._fan + 4 * oid[0])[0]), self.count)
        while low < high:
            middle = (low + high) // 2
            there = self.oid(middle)
            if there == oid:
                return middle
            low, high = (middle + 1, high) if there < oid else (low, middle)
        return None

    def oid(self, index: int) -> bytes:
        start = self._oids + _ID * index
        return self._data[start : start + _ID]

    def line(self, index: int) -> tuple[int, int, int]:
        """Return both parents, as they stand there, and the level and time of a commit."""
        found: tuple[int, int, int] = _LINE.unpack_from(self._data, self._commits + _COMMIT.size * index + _ID)
        return found

    def commit(self, index: int) -> GraphCommit:
        tree, first, second, times = _COMMIT.unpack_from(self._data, self._commits + _COMMIT.size * index)
        parents = () if first == _NONE else (first,) if second == _NONE else (first, *self._further(second))
        (offset,) = _U32.unpack_from(self._data, self._dates + 4 * index)
        if offset & _LAST:
            start = self._far_dates[0] + 8 * (offset & ~_LAST)
            if not self._far_dates[0] <= start <= self._far_dates[1] - 8:
                raise DamagedGraph("a date stands nowhere")
            (offset,) = _U64.unpack_from(self._data, start)
        return GraphCommit(tree, parents, (times & ((1 << _TIME_BITS) - 1)) + offset)

    def _further(self, second: int) -> list[int]:
        """Return all parents but the first."""
        if not second & _MORE:
            return [second]
        start, found = self._edges[0] + 4 * (second & ~_MORE), list[int]()
        while start + 4 <= self._edges[1] and len(found) < _MOST_PARENTS:
            (place,) = _U32.unpack_from(self._data, start)
            found.append(place & ~_LAST)
            if place & _LAST:
                return found
            start += 4
        raise DamagedGraph("a list of parents has no end")

    def may_change(self, index: int, keys: PathKeys) -> bool:
        """Tell whether a commit may have changed one of the paths, as far as its first parent is concerned."""
        if not self._hashes:
            return True
        at = self._ends + 4 * index
        start, end = _PAIR.unpack_from(self._data, at - 4) if index else (0, *_U32.unpack_from(self._data, at))
        if end <= start or self._filters + end > self._filters_end:
            return True
        bits = int.from_bytes(self._data[self._filters + start : self._filters + end], "little")
        return any([bits & mask == mask for mask in keys.masks(self._hashes, end - start)])  # noqa: C419 - half the cost

    def further(self, index: int, keys: PathKeys) -> int | None:
        """Return the place of a commit's ancestor with none between them that needs a look; None for its parent.

        Nothing is asked of all commits before a walk has been as long as that takes.
        """
        leaps = self._leaps.get(keys)
        if leaps is None:
            self._steps[keys] = steps = self._steps.get(keys, 0) + 1
            if steps <= self.count // _LEAPS_COST + (0 if "numpy" in sys.modules else _NUMPY_COST):
                return None
            leaps = self._leaps[keys] = self._leaps_for(keys)
        if not leaps or leaps[index] < 0:
            return None
        while (parent := leaps[index]) >= 0:
            index = parent
        return self.base + index

    def _leaps_for(self, keys: PathKeys) -> memoryview:
        if not self._hashes or keys.hashes is None:
            return memoryview(b"")
        from llmos_lite.engines.git_leaps import LayerData, leaps  # noqa: PLC0415 - loads numpy

        size, data = self.count, self._data
        commits = data[self._commits : self._commits + _COMMIT.size * size]
        ends, filters = data[self._ends : self._ends + 4 * size], data[self._filters : self._filters_end]
        try:
            return leaps(LayerData(self.base, size, commits, ends, filters, self._hashes), keys.hashes)
        except ValueError as error:
            raise DamagedGraph("its parts do not fit each other") from error


class OpenGraph:
    """The graph of a repository, for the time of a `with`; None when there is none that is complete.

    Args:
        gitdir: the repository's own folder.
    """

    def __init__(self, gitdir: Path) -> None:
        self._gitdir, self._files = gitdir, ExitStack()

    def __enter__(self) -> CommitGraph | None:
        with ExitStack() as files:
            found = self._opened(files)
            self._files = files.pop_all()
            return found

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def _opened(self, files: ExitStack) -> CommitGraph | None:
        layers: list[_Layer] = []
        try:
            for path in graph_files(self._gitdir):
                handle = files.enter_context(path.open("rb"))
                data = files.enter_context(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))
                layers.append(_Layer(data, layers[-1].base + layers[-1].count if layers else 0))
        except (OSError, ValueError, struct.error, DamagedGraph):
            return None
        return CommitGraph(layers) if layers else None


def graph_files(gitdir: Path) -> list[Path]:
    """Return the files of a repository's graph, the oldest layer first.

    A history that is cut off is not what its graph says.
    """
    info = gitdir / "objects" / "info"
    if (gitdir / "shallow").exists():
        return []
    if (whole := info / "commit-graph").exists():
        return [whole]
    try:
        names = (info / "commit-graphs" / "commit-graph-chain").read_text("ascii").split()
    except (OSError, ValueError):
        return []
    return [info / "commit-graphs" / f"graph-{name}.graph" for name in names if name.isalnum()]


def murmur3(data: bytes, seed: int) -> int:
    """Return the 32-bit hash of MurmurHash3 (Appleby, public domain), as Git takes it of ASCII text."""
    value, whole = seed, len(data) & ~3
    for start in range(0, whole, 4):
        value ^= _mixed(int.from_bytes(data[start : start + 4], "little"))
        value = (_rotated(value, 13) * 5 + 0xE6546B64) & _MASK
    if tail := data[whole:]:
        value ^= _mixed(int.from_bytes(tail, "little"))
    value ^= len(data)
    value = ((value ^ (value >> 16)) * 0x85EBCA6B) & _MASK
    value = ((value ^ (value >> 13)) * 0xC2B2AE35) & _MASK
    return value ^ (value >> 16)


def _mixed(block: int) -> int:
    return (_rotated((block * 0xCC9E2D51) & _MASK, 15) * 0x1B873593) & _MASK


def _rotated(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (32 - bits))) & _MASK
