"""Vectors of skills, by volume: the seam, and the exact search on numpy that needs no server.

They are a cache: each row says of which version of a skill it is, and can be made again at will. One store holds the
vectors of one embedder. `vectors_pg` will keep the same rows in a table (volume, skill, version, vector).
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from llmos_lite.engines.cache_file import read_cache, write_cache

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats: TypeAlias = npt.NDArray[np.float32]

BLOCK = 1024
"""Rows that are multiplied at once. A larger product wakes all threads of the BLAS, which then spin: with 10,000 rows
of 384 it takes 8 ms of CPU in one piece and .25 ms in blocks."""
MOST_VOLUMES = 1000
"""Volumes that are kept in memory; the others lie in their files."""


class Entry(NamedTuple):
    """One vector: which version of which skill it is of, and the row, shape (d,), of length 1."""

    skill_id: str
    version: str
    row: Floats


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The vectors of a volume that are nearest to another one.

    `versions[i]` of `skill_ids[i]` has the cosine `cosines[i]`, shape (n,). An exact engine returns every vector of
    the volume, in no order; one with an index at least the nearest ones that it was asked for.
    """

    skill_ids: tuple[str, ...]
    versions: tuple[str, ...]
    cosines: Floats


class Vectors(Protocol):
    """Vectors of one embedder. Synchronous, and safe to call from several threads at once."""

    def versions(self, volume: str) -> Mapping[str, str]:
        """Return of which version the vector of each skill is, by skill id; empty for an unknown volume."""

    def update(self, volume: str, entries: Sequence[Entry], gone: Collection[str] = ()) -> None:
        """Put vectors in the place of those of the same skills, and remove those of `gone`, from the disk as well.

        A disk that takes nothing is no error: what is lost is made again. All rows of a store have one width; a row
        of another starts it anew.
        """

    def nearest(self, volume: str, row: Floats, limit: int) -> Neighbours:
        """Return at least the `limit` nearest vectors of a volume, or all when there are fewer.

        A row of another width than theirs finds none.
        """

    def forget(self, volume: str) -> None:
        """Remove a volume."""

    def close(self) -> None:
        """Let go of memory and connections; what was updated stays."""


class _Shelf(NamedTuple):
    """The vectors of a volume, never changed: `rows` has shape (n, d)."""

    skill_ids: tuple[str, ...]
    versions: tuple[str, ...]
    rows: Floats


class LocalVectors:
    """Vectors in memory, and in one file for each volume; compared with every one of them.

    Args:
        folder: of all embedders' vectors; those of others are removed.
        space: name of the embedder.
    """

    def __init__(self, folder: Path, space: str) -> None:
        name = hashlib.sha256(space.encode()).hexdigest()[:16]
        self._folder = folder / name
        self._guard = threading.Lock()
        self._shelves: dict[str, _Shelf] = {}
        with suppress(OSError):
            for other in folder.iterdir():
                if other.name != name:
                    shutil.rmtree(other, ignore_errors=True)

    def versions(self, volume: str) -> Mapping[str, str]:
        """Return of which version the vector of each skill is; see `Vectors`."""
        shelf = self._shelf(volume)
        return dict(zip(shelf.skill_ids, shelf.versions, strict=True))

    def update(self, volume: str, entries: Sequence[Entry], gone: Collection[str] = ()) -> None:
        """Put vectors and remove others; see `Vectors`."""
        with self._guard:
            old = self._shelf(volume)
            new = _replaced(old, {entry.skill_id: entry for entry in entries}, gone)
            if new is not old:
                self._keep(volume, new)
                self._save(volume, new)

    def nearest(self, volume: str, row: Floats, limit: int) -> Neighbours:  # noqa: ARG002 - it is exact, and returns all
        """Return every vector of a volume; see `Vectors`."""
        import numpy as np  # noqa: PLC0415 - slow to load, and not every server needs it at its start

        shelf = self._shelf(volume)
        if not shelf.skill_ids or shelf.rows.shape[1] != len(row):
            return Neighbours((), (), np.zeros(0, dtype=np.float32))
        return Neighbours(shelf.skill_ids, shelf.versions, cosines(shelf.rows, row))

    def forget(self, volume: str) -> None:
        """Remove a volume; see `Vectors`."""
        with self._guard:
            self._shelves.pop(volume, None)
            with suppress(OSError):
                self._path(volume).unlink(missing_ok=True)

    def close(self) -> None:
        """Forget what is in memory."""
        self._shelves.clear()

    def _shelf(self, volume: str) -> _Shelf:
        found = self._shelves.get(volume)
        if found is None:
            found = _read(self._path(volume))
            self._keep(volume, found)
        return found

    def _keep(self, volume: str, shelf: _Shelf) -> None:
        """Remember a shelf, and forget the one that was read first when there are too many."""
        self._shelves[volume] = shelf
        while len(self._shelves) > MOST_VOLUMES:
            self._shelves.pop(next(iter(self._shelves)), None)

    def _save(self, volume: str, shelf: _Shelf) -> None:
        path = self._path(volume)
        if shelf.skill_ids:
            write_cache(path, _written(shelf))
        else:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _path(self, volume: str) -> Path:
        return self._folder / f"{hashlib.sha256(volume.encode()).hexdigest()[:24]}.vectors"


def cosines(rows: Floats, row: Floats) -> Floats:
    """Return the products of rows (n, d) of length 1 with a row (d,), shape (n,)."""
    import numpy as np  # noqa: PLC0415 - as above

    found = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), BLOCK):
        np.dot(rows[start : start + BLOCK], row, out=found[start : start + BLOCK])
    return found


def _replaced(old: _Shelf, entries: Mapping[str, Entry], gone: Collection[str]) -> _Shelf:
    """Return a shelf with other entries; costs a copy of its memory (15 MB, 5 ms for 10,000 of 384)."""
    import numpy as np  # noqa: PLC0415 - as above

    fits = not entries or len(next(iter(entries.values())).row) == old.rows.shape[1]
    away = set(entries) | set(gone)
    kept = [place for place, skill_id in enumerate(old.skill_ids) if fits and skill_id not in away]
    if not entries and len(kept) == len(old.skill_ids):
        return old
    fresh = list(entries.values())
    parts = [old.rows[kept]] if kept else []
    parts += [np.stack([entry.row for entry in fresh]).astype(np.float32)] if fresh else []
    return _Shelf(
        (*(old.skill_ids[place] for place in kept), *(entry.skill_id for entry in fresh)),
        (*(old.versions[place] for place in kept), *(entry.version for entry in fresh)),
        np.concatenate(parts) if parts else _nothing(),
    )


def _nothing() -> Floats:
    import numpy as np  # noqa: PLC0415 - as above

    return np.zeros((0, 0), dtype=np.float32)


# A file: the number of rows and their width, a line `skill version` for each, then the rows as 16-bit floats.


def _written(shelf: _Shelf) -> bytes:
    lines = [f"{len(shelf.skill_ids)} {shelf.rows.shape[1]}"]
    lines += [f"{skill_id} {version}" for skill_id, version in zip(shelf.skill_ids, shelf.versions, strict=True)]
    return "\n".join(lines).encode() + b"\n\n" + shelf.rows.astype("<f2").tobytes()


def _read(path: Path) -> _Shelf:
    """Read a file; one that is not there, or not as it was written, is empty."""
    import numpy as np  # noqa: PLC0415 - as above

    head, gap, data = (read_cache(path) or b"").partition(b"\n\n")
    if not gap:
        return _Shelf((), (), _nothing())
    sizes, *lines = head.decode().split("\n")
    count, width = (int(number) for number in sizes.split())
    pairs: Iterable[list[str]] = [line.split(" ", 1) for line in lines]
    skill_ids, versions = zip(*pairs, strict=True)
    rows = np.frombuffer(data, dtype="<f2").reshape(count, width).astype(np.float32)
    return _Shelf(skill_ids, versions, rows)
