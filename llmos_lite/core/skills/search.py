"""Which skill: BM25 per field over name, header and body, with pairs of neighbouring words.

Reference (`tantivy`, boosts .5/1/1, 2,000 public skills, 342 eval prompts): recall@5 .763, nDCG@10 .659; this one .80
and .72. Choosing for one chat takes about .21 ms of CPU among 1,000 skills and .33 among 10,000. `make bench` measures
both. No substring ever matches: only whole, stemmed words do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from llmos_lite.core.skills.fusion import Close, Near, fused, unit_of
from llmos_lite.core.skills.index import Piece, SkillIndex, repeats_any, twins
from llmos_lite.core.skills.matches import Floats, Held, Matches
from llmos_lite.core.skills.segment import PRINT_WIDTH, Bytes, Hashes, Places
from llmos_lite.core.skills.text import QUERY_CHARACTERS

_NOTHING = 1e-3
_SPARE = 8
"""Candidates that are looked at beside those that are wanted: some are hidden or repeat others."""
_MANY = 8
"""Times as many candidates as are wanted are sorted; of more, the best are picked first."""


_PAIRS = 64
"""Up to so many candidates are compared with each other at once. Their pairs grow with the square, so that of more each
is compared with those that are kept."""


class Bonus(NamedTuple):
    """What speaks for a document beside its own text.

    Args:
        score: points on top of BM25; negative for what speaks against it.
        coverage: share of the query's idf mass that it covers, 0 to 1.
        terms: how many different terms of the query it holds.
    """

    score: float
    coverage: float
    terms: int


class Extra(Protocol):
    """Knows more about documents than they say of themselves."""

    def __call__(self, terms: Hashes, idf: Floats) -> Mapping[tuple[int, str], Bonus]:
        """Return what more there is, by source and key.

        Args:
            terms: the chosen terms of the query, shape (t,).
            idf: how rare each is in the libraries, shape (t,).
        """


class Hit(NamedTuple):
    """A document that matches.

    Args:
        source: position of its index among those searched.
        key: its key there.
        score: BM25; 0 would be no term in common.
        coverage: share of the query's idf mass that it covers, 0 to 1.
        header: share of that mass that its name, description, keywords or category cover, 0 to 1.
        terms: how many different terms of the query it holds.
        searched: how many documents it was chosen from.
        asked: points of the score that come from `Extra`.
        meaning: points of the score that come from `Close`.
        surprise: as `Near` says; None when nothing is known of its meaning, or when it tells nothing.
    """

    source: int
    key: str
    score: float
    coverage: float
    header: float
    terms: int
    searched: int
    asked: float = 0.0
    meaning: float = 0.0
    surprise: float | None = None


def search(
    indexes: Sequence[SkillIndex],
    query: str,
    limit: int,
    *,
    hidden: Callable[[int, str], bool] | None = None,
    collapse: bool = True,
    extra: Extra | None = None,
    close: Close | None = None,
    share: float = 0.0,
    sure: int = 0,
) -> list[Hit]:
    """Return the best documents of several indexes as if they were one, best first.

    Args:
        indexes: the libraries, the one that wins a tie first.
        query: free text; only its first 16,384 characters and its rarest words count.
        limit: hits to return at most.
        hidden: tells which (source, key) may not be returned, as shadowed skills; None hides nothing.
        collapse: leave out a document that nearly repeats a better one.
        extra: gives documents further points; a bad mark takes at most half of what their text earned.
        close: gives them points for what they mean; None compares words alone.
        share: of the best hit's score that a hit needs, unless it is one of the first `sure`.
        sure: hits that need no share of the best one's score.
    """
    found = searched(indexes, query, extra=extra, close=close) if limit > 0 else None
    return found.best(limit, hidden=hidden, collapse=collapse, share=share, sure=sure) if found else []


def searched(
    indexes: Sequence[SkillIndex], query: str, *, extra: Extra | None = None, close: Close | None = None
) -> Searched | None:
    """Return a search that can be asked for its best more than once, or None; see `search`."""
    analyzer = next((index.analyzer for index in indexes), None)
    sources = [source for source, index in enumerate(indexes) for _ in index.pieces]
    hashes = analyzer.hashes(query[:QUERY_CHARACTERS]) if analyzer is not None else []
    if not hashes or not sources:
        return None
    found = Searched(sources, [piece for index in indexes for piece in index.pieces], hashes)
    if extra is not None:
        found.add_extra(extra)
    if close is not None:
        found.add_close(close)
    return found


class _Wanted(NamedTuple):
    """Which hits are wanted; see `search`."""

    limit: int
    hidden: Callable[[int, str], bool] | None
    collapse: bool
    share: float
    sure: int

    @property
    def width(self) -> int:
        """Return how many candidates to begin with: some of them are hidden, or repeat others."""
        return self.limit + _SPARE


class Searched:
    """One query on its way through the pieces, whose documents are numbered one after the other.

    Args:
        sources: by piece, the position of its index among those searched.
        pieces: what is searched.
        hashes: the terms of the query.
    """

    def __init__(self, sources: Sequence[int], pieces: Sequence[Piece], hashes: Sequence[int]) -> None:
        self._sources, self._pieces = sources, pieces
        self._matches = Matches(pieces, hashes)
        self._scores, self._starts = self._matches.scores, self._matches.starts
        self._bonuses: dict[int, Bonus] = {}
        self._nears: dict[int, tuple[Near, Floats]] = {}

    def add_extra(self, extra: Extra) -> None:
        """Give documents points for what else is known of them."""
        for (wanted, key), bonus in extra(self._matches.terms, self._matches.idf).items():
            for number, (source, piece) in enumerate(zip(self._sources, self._pieces, strict=True)):
                place = piece.place(key) if source == wanted else None
                if place is not None:
                    at = self._starts[number] + place
                    own = float(self._scores[at])
                    points = max(bonus.score, -own / 2)
                    self._scores[at] = own + points
                    self._bonuses[at] = bonus._replace(score=points)

    def add_close(self, close: Close) -> None:
        """Give documents points for what they mean."""
        unit = unit_of(float(self._scores.max(initial=0)), self._matches.known)
        for number, (source, piece) in enumerate(zip(self._sources, self._pieces, strict=True)):
            near = close(source, piece.segment.keys)
            if near is not None:
                here = self._scores[self._starts[number] : self._starts[number + 1]]
                self._nears[number] = near, here.copy()
                here[:] = fused(here, near, unit) * piece.alive

    def best(
        self,
        limit: int,
        *,
        hidden: Callable[[int, str], bool] | None = None,
        collapse: bool = True,
        share: float = 0.0,
        sure: int = 0,
    ) -> list[Hit]:
        """Return the best hits, widening the choice until enough are left or nothing is; see `search`."""
        wanted = _Wanted(limit, hidden, collapse, share, sure)
        width = wanted.width
        while True:
            candidates = self._candidates(width)
            kept, is_enough = self._kept(candidates, wanted)
            if is_enough or len(candidates) < width:
                return self._hits(kept)
            width *= 8

    def _candidates(self, width: int) -> list[tuple[float, int]]:
        """Return the `width` best as (score, place), best first; ties in the order of the documents."""
        places = _top(self._scores, width)
        found = zip(self._scores.take(places).tolist(), places.tolist(), strict=True)
        return [(score, place) for score, place in found if score > 0]

    def _kept(self, candidates: list[tuple[float, int]], wanted: _Wanted) -> tuple[list[int], bool]:
        """Return the places that are wanted, and whether further candidates could add none."""
        kept: list[int] = []
        repeated = _repeated(self._prints(candidates)) if wanted.collapse else None
        numbers: list[int] = []
        least = 0.0
        for at, (score, place) in enumerate(candidates):
            if len(kept) >= wanted.limit or (len(kept) >= wanted.sure and score < least):
                return kept, True
            if wanted.hidden is not None and wanted.hidden(*self._key_of(place)):
                continue
            if repeated is not None and repeated(at, numbers):
                continue
            numbers.append(at)
            kept.append(place)
            least = least or score * wanted.share
        return kept, len(kept) >= wanted.limit

    def _prints(self, candidates: list[tuple[float, int]]) -> Bytes:
        """Return the fingerprints of candidates, shape (n, 32)."""
        if len(self._pieces) == 1:
            return self._pieces[0].segment.prints.take([place for _, place in candidates], axis=0)
        prints = np.empty((len(candidates), PRINT_WIDTH), dtype=np.uint8)
        for at, (_, place) in enumerate(candidates):
            number = self._piece_of(place)
            prints[at] = self._pieces[number].segment.prints[place - self._starts[number]]
        return prints

    def _key_of(self, place: int) -> tuple[int, str]:
        """Return the source and the key of a document."""
        number = self._piece_of(place)
        return self._sources[number], self._pieces[number].segment.keys[place - self._starts[number]]

    def _piece_of(self, place: int) -> int:
        return bisect_right(self._starts, place) - 1 if len(self._pieces) > 1 else 0

    def _hits(self, kept: list[int]) -> list[Hit]:
        return [self._hit(place, held) for place, held in zip(kept, self._matches.held(kept), strict=True)]

    def _hit(self, place: int, held: Held) -> Hit:
        number, score = self._piece_of(place), float(self._scores[place])
        here, mass = place - self._starts[number], self._matches.mass
        bonus = self._bonuses.get(place, _NO_BONUS)
        meaning, surprise = 0.0, None
        if number in self._nears:
            near, words = self._nears[number]
            meaning = score - float(words[here])
            surprise = float(near.surprise[here]) if near.tells else None
        return Hit(
            source=self._sources[number],
            key=self._pieces[number].segment.keys[here],
            score=score,
            coverage=max(bonus.coverage, held.idf / mass),
            header=max(bonus.coverage, held.header / mass),
            terms=max(bonus.terms, held.terms),
            searched=self._matches.total,
            asked=bonus.score,
            meaning=meaning,
            surprise=None if surprise == -np.inf else surprise,
        )


_NO_BONUS = Bonus(0.0, 0.0, 0)


def _repeated(prints: Bytes) -> Callable[[int, list[int]], bool]:
    """Return what tells whether a candidate nearly repeats one of those that are kept already.

    Args:
        prints: of all candidates, shape (n, 32).
    """
    if len(prints) > _PAIRS:
        return lambda at, kept: bool(kept) and repeats_any(prints[at], prints[kept])
    same = twins(prints)
    return lambda at, kept: bool(same) and any((at, before) in same for before in kept)


def _top(scores: Floats, width: int) -> Places:
    """Return the places of the `width` best in order, of equal ones the first; only those near the best are sorted."""
    least = float(scores.max(initial=0)) / 2
    places = (scores >= least).nonzero()[0]
    while len(places) < width and least > _NOTHING:
        least /= 2
        places = (scores >= least).nonzero()[0]
    near = scores.take(places)
    if len(places) > _MANY * width:
        last = np.partition(near, len(near) - width)[len(near) - width]
        sure, equal = (near > last).nonzero()[0], (near == last).nonzero()[0]
        chosen = np.sort(np.concatenate((sure, equal[: width - len(sure)])))
        places, near = places.take(chosen), near.take(chosen)
    return places.take((-near).argsort(kind="stable")[:width])
