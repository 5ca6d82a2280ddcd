"""The words of one query in some pieces of an index, as if these were one: scores, and what each document holds.

Among 1,000 skills the number of calls into numpy counts, not the size of the arrays: `compiled` needs none, and gives
the same, in a sixth of the time. This is what it is compared with, and what searches where it could not be built.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from typing import NamedTuple, TypeAlias, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from llmos_lite.core.skills.commonness import BACKGROUND, in_background
from llmos_lite.core.skills.index import SAME, Pieces, repeats_any
from llmos_lite.core.skills.segment import HEADER_BIT, PRINT_WIDTH, STEP, Bytes, Hashes, Numbers, Places, pair_hashes

T = TypeVar("T", bound=np.generic)
Floats: TypeAlias = npt.NDArray[np.float64]
Found: TypeAlias = tuple[float, int, int]
"""A document that matches: its score, the number of its piece, and its own number in there."""
Held: TypeAlias = tuple[float, float, int]
"""What a document holds of a query: the share of its idf mass whose terms stand there, the share of those that stand in
name or header, both 0 to 1, and how many terms these are."""
Repeated: TypeAlias = Callable[[int, list[int]], bool]
"""Tells whether one of those that were found nearly repeats one of others, all of them by their places in the list."""
Postings: TypeAlias = tuple[Places, Numbers, Numbers, Numbers]

QUERY_TERMS = 128
"""A long query counts by its rarest terms only. On requests of 145 to 190 words, 32 terms lost 8 to 16 points of
recall@5 against 128 and more gained nothing."""
PAIR_WEIGHT = 1.0
PRIOR_DOCUMENTS = 100.0
PRIOR_MATCHES = 0.5
"""A library of a few skills says little about how rare a pair of words is; see `_idf`."""

_SPARE = 8
"""Candidates that are looked at beside those that are wanted: some are hidden or repeat others."""
_WIDER = 8
"""Times as many are looked at when these were too few."""
_NOTHING = 1e-3
_MANY = 8
"""Times as many candidates as are wanted are sorted; of more, the best are picked first."""
_SAME = SAME * PRINT_WIDTH
_FEW = 32
"""Up to so many fingerprints are compared one by one, as numbers."""
_STEPS = np.uint8(HEADER_BIT - 1)
_BLOCK = 1 << 18
"""Weights that are made floats at once, so that they stay in the cache of a core."""


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """Which documents are wanted.

    Args:
        limit: so many at most.
        hidden: by piece, keys of those that are not; None hides nothing.
        collapse: leave out one that nearly repeats a better one.
        share: of the best one's score that one needs, unless it is one of the first `sure`.
        sure: those that need no share of the best one's score.
    """

    limit: int
    hidden: tuple[Collection[str], ...] | None = None
    collapse: bool = True
    share: float = 0.0
    sure: int = 0


class _Rows(NamedTuple):
    """Terms that come by document.

    Args:
        piece: where.
        terms: which of the query, shape (r,).
        weights: theirs, shape (r, documents).
    """

    piece: int
    terms: Places
    weights: Bytes


class Matches:
    """Scores of the documents of all pieces, one after the other.

    `scores` has shape (documents,), of which those of piece i lie at `starts[i]:starts[i + 1]`. The postings of the
    terms `_terms` (shape (k,)) lie in `_docs` and `_weights`, one term after the other, `_lengths` of each.

    Args:
        pieces: at least one.
        hashes: the terms of the query in order, with repeats; at least one.
    """

    def __init__(self, pieces: Pieces, hashes: list[int]) -> None:
        self.pieces, self.total = pieces.every, pieces.total
        self._match(hashes)

    @cached_property
    def starts(self) -> list[int]:
        """Return where the documents of each piece begin among all, and how many there are."""
        return list(accumulate([len(piece.segment.keys) for piece in self.pieces], initial=0))

    @cached_property
    def scores(self) -> Floats:
        """Return the scores, shape (documents,); whoever changes them changes which are the best."""
        return self._scores

    def _match(self, hashes: list[int]) -> None:
        """Compare the query with all documents."""
        numbers: dict[int, int] = {}
        order = [numbers.setdefault(value, len(numbers)) for value in hashes]
        every = np.array(list(numbers), dtype=np.uint32)
        found = [piece.postings(every) for piece in self.pieces]
        used = self._weigh(every, found)
        self._rows: list[_Rows] = []
        self._gather(found, used)
        self._scores = self._scored()
        if len(order) > 1:
            self._add_pairs(every, order, found)

    @property
    def rarity(self) -> tuple[Hashes, Floats]:
        """Return the chosen terms of the query, and how rare each is; both of shape (t,)."""
        return self._chosen

    @property
    def known(self) -> float:
        """Return the share of the query's idf mass whose terms stand in some document."""
        return float(self._chosen[1] @ (self._frequency > 0)) / self._mass

    def _weigh(self, every: Hashes, found: Sequence[Postings]) -> npt.NDArray[np.bool_] | None:
        """Weigh the terms; return which of them are used, None for all."""
        frequency = np.zeros(len(every), dtype=np.int64)
        for known, _, _, counts in found:
            frequency[known] += counts
        used = None
        self._idf = _rarity(every, frequency, self.total)
        self._chosen, self._frequency = (every, self._idf), frequency
        if len(every) > QUERY_TERMS:
            rarity = np.where(frequency == 0, self.total + 1, frequency)
            chosen = rarity.argsort(kind="stable")[:QUERY_TERMS]
            used = np.zeros(len(every), dtype=bool)
            used[chosen] = True
            self._chosen, self._frequency = (every[chosen], self._idf[chosen]), frequency[chosen]
        self._mass = float(self._chosen[1].sum())
        self._share = self._idf / self._mass
        return used

    def _gather(self, found: Sequence[Postings], used: npt.NDArray[np.bool_] | None) -> None:
        """Bring the postings of all pieces together."""
        docs: list[Places] = []
        weights: list[Bytes] = []
        terms: list[Places] = []
        lengths: list[Numbers] = []
        for number, postings in enumerate(found):
            known, begin, end = self._sparse(number, postings, used)
            if not len(known):
                continue
            segment, counts = self.pieces[number].segment, end - begin
            at = (end - counts.cumsum()).repeat(counts)
            at += np.arange(len(at))
            docs.append(segment.docs.take(at).astype(np.intp))
            if number:
                docs[-1] += self.starts[number]
            weights.append(segment.weights.take(at))
            terms.append(known)
            lengths.append(counts)
        self._docs, self._weights = _joined(docs, np.intp), _joined(weights, np.uint8)
        self._terms, self._lengths = _joined(terms, np.intp), _joined(lengths, np.int32)

    def _sparse(
        self, number: int, postings: Postings, used: npt.NDArray[np.bool_] | None
    ) -> tuple[Places, Numbers, Numbers]:
        """Return the terms that come as postings, and note those that come by document."""
        known, begin, end, _ = postings
        if used is not None:
            chosen = used.take(known)
            known, begin, end = known[chosen], begin[chosen], end[chosen]
        segment = self.pieces[number].segment
        common = end - begin > segment.common
        if not len(segment.row_starts) or not common.any():
            return known, begin, end
        weights = segment.rows.take(segment.row_starts.searchsorted(begin[common]), axis=0)
        self._rows.append(_Rows(number, known[common], weights))
        rest = ~common
        return known[rest], begin[rest], end[rest]

    def _scored(self) -> Floats:
        """Return BM25 of every document; 0 for one that does not count."""
        gains = self._idf * STEP
        each = (self._weights & _STEPS) * gains.take(self._terms).repeat(self._lengths)
        scores: Floats = np.bincount(self._docs, weights=each, minlength=self.starts[-1]).astype(np.float64, copy=False)
        if self._rows:
            self._add_rows(scores, gains.astype(np.float32))
        for number, piece in enumerate(self.pieces):
            if piece.count != len(piece.segment):
                scores[self.starts[number] : self.starts[number + 1]] *= piece.alive
        return scores

    def _add_rows(self, scores: Floats, gains: npt.NDArray[np.float32]) -> None:
        """Add what comes by document, in 32 bits: half of the time, and seven digits of a score are enough."""
        for number, terms, weights in self._rows:
            here = scores[self.starts[number] : self.starts[number + 1]]
            step = max(1, _BLOCK // len(here))
            for first in range(0, len(terms), step):
                block = slice(first, first + step)
                here += gains.take(terms[block]) @ (weights[block] & _STEPS).astype(np.float32)

    def _add_pairs(self, every: Hashes, order: Sequence[int], found: Sequence[Postings]) -> None:
        """Reward documents in which two neighbouring words of the query are neighbours, too.

        Args:
            every: the different terms of the query, shape (t,).
            order: the query as numbers of these terms.
            found: where they stand in each piece; a pair of others cannot.
        """
        words = np.array(order)
        first, second = words[:-1], words[1:]
        if len(words) > len(every):  # a pair may stand there twice
            first, second = (np.array(side) for side in zip(*dict.fromkeys(pairwise(order)), strict=True))
        hashes = pair_hashes(every.take(first), every.take(second))
        which: list[Places] = []
        docs: list[Places] = []
        for number, (known, *_) in enumerate(found):
            both = _both(first, second, known, len(every))
            if len(both):
                pair, places = self.pieces[number].pair_postings(hashes.take(both))
                which.append(both.take(pair))
                docs.append(places + np.intp(self.starts[number]))
        if which:
            self._reward(_joined(which, np.intp), _joined(docs, np.intp), len(hashes))

    def _reward(self, which: Places, docs: Places, count: int) -> None:
        gains = PAIR_WEIGHT * _idf(np.bincount(which, minlength=count), self.total)
        np.add.at(self._scores, docs, gains.take(which) * (self._scores.take(docs) > 0))

    def top(self, wanted: Wanted) -> list[Found]:
        """Return the best that are wanted, best first; the choice is widened until enough are left or nothing is."""
        width = wanted.limit + _SPARE
        while True:
            candidates = self._best(width)
            kept, is_enough = self._kept(candidates, wanted)
            if is_enough or len(candidates) < width:
                return kept
            width *= _WIDER

    def _kept(self, candidates: list[Found], wanted: Wanted) -> tuple[list[Found], bool]:
        """Return those that are wanted, and whether further candidates could add none."""
        kept, is_enough, least = list[int](), False, 0.0
        repeated = self._repeated(candidates) if wanted.collapse else None
        for at, (score, number, document) in enumerate(candidates):
            is_enough = len(kept) >= wanted.limit or (len(kept) >= wanted.sure and score < least)
            if is_enough:
                break
            if wanted.hidden is not None and self.pieces[number].segment.keys[document] in wanted.hidden[number]:
                continue
            if repeated is None or not kept or not repeated(at, kept):
                kept.append(at)
                least = least or score * wanted.share
        return [candidates[at] for at in kept], is_enough or len(kept) >= wanted.limit

    def _best(self, width: int) -> list[Found]:
        """Return the `width` best, best first; ties in the order of the documents."""
        places = _best(self.scores, width)
        scores = self.scores.take(places).tolist()
        return [(score, *self._inside(at)) for score, at in zip(scores, places.tolist(), strict=True) if score > 0]

    def _inside(self, place: int) -> tuple[int, int]:
        """Return the piece of a document, and its number there."""
        number = bisect_right(self.starts, place) - 1
        return number, place - self.starts[number]

    def _repeated(self, found: list[Found]) -> Repeated:
        """Return what tells whether one of those that were found nearly repeats another."""
        prints = np.empty((len(found), PRINT_WIDTH), dtype=np.uint8)
        for at, (_, number, document) in enumerate(found):
            prints[at] = self.pieces[number].segment.prints[document]
        rows = [int.from_bytes(row, "little") for row in prints]

        def repeats(at: int, others: list[int]) -> bool:
            if len(others) > _FEW:
                return repeats_any(prints[at], prints[others])
            mine = rows[at]
            return mine != 0 and any(
                (mine ^ rows[other]).to_bytes(PRINT_WIDTH, "little").count(0) >= _SAME for other in others
            )

        return repeats

    def held(self, piece: int, document: int) -> Held:
        """Return what a document of a piece holds of the query."""
        at = (self._docs == self.starts[piece] + document).nonzero()[0]
        terms = self._terms.take(self._lengths.cumsum().searchsorted(at, side="right"))
        weights = self._weights.take(at)
        for rows in self._rows:
            if rows.piece == piece:
                here = rows.weights[:, document]
                there = here.nonzero()[0]
                terms = np.concatenate((terms, rows.terms.take(there)))
                weights = np.concatenate((weights, here.take(there)))
        rarity = self._share.take(terms)
        whole = float(rarity.sum())
        return whole, min(whole, float(rarity @ (weights >= HEADER_BIT))), len(terms)  # their orders round differently


def _best(scores: Floats, width: int) -> Places:
    """Return the places of the `width` best in order, of equal ones the first; only those near the best are sorted."""
    least = float(scores.max(initial=0)) / 2
    places = (scores >= least).nonzero()[0]
    while len(places) < width and _NOTHING < least < np.inf:
        least /= 2
        places = (scores >= least).nonzero()[0]
    near = scores.take(places)
    if len(places) > _MANY * width:
        last = np.partition(near, len(near) - width)[len(near) - width]
        sure, equal = (near > last).nonzero()[0], (near == last).nonzero()[0]
        chosen = np.sort(np.concatenate((sure, equal[: width - len(sure)])))
        places, near = places.take(chosen), near.take(chosen)
    return places.take((-near).argsort(kind="stable")[:width])


def _both(first: Places, second: Places, known: Places, count: int) -> Places:
    """Return the pairs of which both terms are known."""
    if len(known) == count:
        return np.arange(len(first))
    here = np.zeros(count, dtype=bool)
    here[known] = True
    return (here.take(first) & here.take(second)).nonzero()[0]


def _rarity(terms: Hashes, frequency: npt.NDArray[np.int64], total: int) -> Floats:
    """Return BM25's inverse document frequency of terms, in the library and skills at large together."""
    idf: Floats = np.log((total + BACKGROUND + 1) / (frequency + in_background(terms) + 0.5))
    return idf


def _idf(frequency: npt.NDArray[np.int64], total: int) -> Floats:
    """Return BM25's inverse document frequency of pairs, as if the library held `PRIOR_DOCUMENTS` more.

    In them a pair is found `PRIOR_MATCHES` times: with three skills, every pair would otherwise look common. It is
    log(1 + (n - df + .5) / (df + .5)), written shorter.
    """
    idf: Floats = np.log((total + PRIOR_DOCUMENTS + 1) / (frequency + (PRIOR_MATCHES + 0.5)))
    return idf


def _joined(parts: Sequence[npt.NDArray[T]], kind: type[T]) -> npt.NDArray[T]:
    """Return arrays as one; mostly there is one only."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=kind)
