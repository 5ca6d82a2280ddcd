"""The searchable skills of one volume: a few immutable pieces, so that a change costs what it changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from llmos_lite.core.skills.fields import Document
from llmos_lite.core.skills.segment import LARGEST, PRINT_WIDTH, Bytes, Hashes, Numbers, Places, Segment, Short
from llmos_lite.core.skills.text import Analyzer

if TYPE_CHECKING:
    from llmos_lite.core.skills import _kernel

SAME = 0.85
"""Share of equal fingerprint columns from which two skills are the same text with small changes."""
FEW = 16
"""Up to so many documents, finding the terms of each costs less than counting all terms anew."""
MANY_PIECES = 6


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment and what of it still counts.

    Args:
        segment: the postings.
        alive: which documents count; shape (documents,).
        count: how many they are.
        frequency: in how many of them each term stands, shape (terms,); None when all documents count.

    Attributes:
        opened: what the compiled search knows it as, once it was searched.
    """

    segment: Segment
    alive: npt.NDArray[np.bool_]
    count: int
    frequency: npt.NDArray[np.int32] | None = None
    opened: _kernel.Piece | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def whole(cls, segment: Segment) -> Piece:
        """Return a piece of which everything counts."""
        return cls(segment, np.ones(len(segment), dtype=bool), len(segment))

    @property
    def arrays(self) -> tuple[npt.NDArray[np.generic] | None, ...]:
        """Return what the compiled search reads, in its order."""
        one = self.segment
        postings = (one.terms, one.starts, one.docs, one.weights, one.buckets, one.pair_low, one.pair_docs)
        return (*postings, self.alive, one.prints, self.frequency)

    def postings(self, terms: Hashes) -> tuple[Places, Numbers, Numbers, Numbers]:
        """Return the terms that stand here, where their postings begin and end, and in how many documents they stand.

        All of shape (k,): the first are places in `terms`, the last counts only documents that count.
        """
        known, place, begin, end = self.segment.postings(terms)
        counts = end - begin if self.frequency is None else self.frequency.take(place)
        return known, begin, end, counts

    def pair_postings(self, pairs: Hashes) -> tuple[Places, Short]:
        """Return (index into `pairs`, document) of every document that counts and holds one of these pairs."""
        which, docs = self.segment.pair_postings(pairs)
        if self.frequency is None:
            return which, docs
        counts = self.alive[docs]
        return which[counts], docs[counts]

    def place(self, key: str) -> int | None:
        """Return the number of a document that counts."""
        found = self.segment.place(key)
        return found if found is not None and self.alive[found] else None

    def without(self, keys: Collection[str]) -> Piece:
        """Return the piece with fewer documents that count."""
        places = (self.place(key) for key in keys) if len(keys) < len(self.segment) else self._places(keys)
        gone = [place for place in places if place is not None]
        if not gone:
            return self
        alive = self.alive.copy()
        alive[gone] = False
        return Piece(self.segment, alive, self.count - len(gone), self._fewer(gone, alive))

    def _places(self, keys: Collection[str]) -> Iterator[int]:
        return (place for place, key in enumerate(self.segment.keys) if key in keys and self.alive[place])

    def _fewer(self, gone: Sequence[int], alive: npt.NDArray[np.bool_]) -> Numbers:
        """Return in how many documents each term stands when some more are gone; a few are looked for one by one."""
        segment = self.segment
        if len(gone) > FEW:
            return np.add.reduceat(alive[segment.docs], segment.starts[:-1], dtype=np.int32)
        frequency = np.diff(segment.starts) if self.frequency is None else self.frequency.copy()
        for place in gone:
            at = (segment.docs == place).nonzero()[0]
            frequency[segment.starts.searchsorted(at, side="right") - 1] -= 1
        return frequency


class Pieces:
    """Pieces that are searched as if they were one; made once for indexes that stay as they are.

    Args:
        every: the pieces; their documents are numbered one after the other.
        sources: by piece, the position of its index among those that are searched.

    Attributes:
        keys: by piece, those of its documents.
        total: how many documents count.
        opened: what the compiled search knows the pieces as, once they were searched.
    """

    def __init__(self, every: Sequence[Piece], sources: Sequence[int] = ()) -> None:
        self.every, self.sources = every, sources
        self.keys = [piece.segment.keys for piece in every]
        self.total = sum([piece.count for piece in every])
        self.opened: tuple[_kernel.Piece, ...] = ()

    @classmethod
    def of(cls, indexes: Sequence[SkillIndex]) -> Pieces:
        """Return the pieces of several indexes."""
        sources = [source for source, index in enumerate(indexes) for _ in index.pieces]
        return cls([piece for index in indexes for piece in index.pieces], sources)


@dataclass(frozen=True, slots=True)
class SkillIndex:
    """The searchable documents of one volume; immutable, so that readers never wait for a writer."""

    analyzer: Analyzer
    pieces: tuple[Piece, ...] = ()

    @property
    def count(self) -> int:
        """Return how many documents there are."""
        return sum([piece.count for piece in self.pieces])

    @property
    def size(self) -> int:
        """Return the bytes that the arrays take."""
        return sum(piece.segment.size for piece in self.pieces)

    def updated(self, documents: Iterable[Document], gone: Collection[str] = ()) -> SkillIndex:
        """Return the index with `documents` put in place of those with their keys, and without `gone`.

        Costs what the changed documents cost; small segments are merged now and then, large ones rarely.
        """
        fresh = list(documents)
        replaced = {document.key for document in fresh} | set(gone)
        pieces = [piece.without(replaced) for piece in self.pieces] if replaced else list(self.pieces)
        for start in range(0, len(fresh), LARGEST):
            pieces.append(Piece.whole(Segment.build(fresh[start : start + LARGEST], self.analyzer)))
        return SkillIndex(self.analyzer, tuple(_merged([piece for piece in pieces if piece.count])))


def _merged(pieces: list[Piece]) -> list[Piece]:
    """Merge small pieces when there are many, and clean a piece of which half is dead."""
    pieces.sort(key=lambda piece: -piece.count)
    while len(pieces) > MANY_PIECES and pieces[-1].count + pieces[-2].count <= LARGEST:
        pieces = _with_tail_merged(pieces)
    return [_joined([piece]) if 2 * piece.count < len(piece.segment) else piece for piece in pieces]


def _with_tail_merged(pieces: list[Piece]) -> list[Piece]:
    """Merge the two smallest pieces, and those before them while these are not more than twice as large as the sum."""
    cut = len(pieces) - 2
    together = pieces[-1].count + pieces[-2].count
    while cut and pieces[cut - 1].count <= 2 * together and together + pieces[cut - 1].count <= LARGEST:
        cut -= 1
        together += pieces[cut].count
    return [*pieces[:cut], _joined(pieces[cut:])]


def _joined(pieces: Sequence[Piece]) -> Piece:
    return Piece.whole(Segment.merge([(piece.segment, piece.alive) for piece in pieces]))


def same_text(index: SkillIndex, key: str, other: SkillIndex, other_key: str) -> bool:
    """Tell whether two documents nearly repeat each other."""
    mine, theirs = _print_of(index, key), _print_of(other, other_key)
    return mine is not None and theirs is not None and repeats(mine, theirs)


def _print_of(index: SkillIndex, key: str) -> Bytes | None:
    places = ((piece.segment.prints, piece.place(key)) for piece in index.pieces)
    return next((prints[place] for prints, place in places if place is not None), None)


def repeats(mine: Bytes, other: Bytes) -> bool:
    """Tell whether a fingerprint, shape (32,), nearly equals another; an empty one equals none."""
    return bool(np.count_nonzero(mine == other) >= SAME * PRINT_WIDTH and mine.any())


def repeats_any(mine: Bytes, others: Bytes) -> bool:
    """Tell the same of at least one fingerprint, shape (n, 32)."""
    most = int(np.count_nonzero(others == mine, axis=1).max(initial=0))
    return most >= SAME * PRINT_WIDTH and bool(mine.any())
