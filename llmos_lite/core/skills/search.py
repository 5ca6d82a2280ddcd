"""Which skill: BM25 per field over name, header and body, with pairs of neighbouring words.

Reference (`tantivy`, boosts .5/1/1, 2,000 public skills, 342 eval prompts): recall@5 .763, nDCG@10 .659; this one .80
and .72. Choosing for one chat takes about .04 ms of CPU among 1,000 skills and .09 among 10,000. `make bench` measures
both. No substring ever matches: only whole, stemmed words do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from msgspec.structs import replace

from llmos_lite.core.skills.fusion import Close, Near, fused, unit_of
from llmos_lite.core.skills.index import Piece, Pieces, SkillIndex
from llmos_lite.core.skills.kernel import IS_COMPILED
from llmos_lite.core.skills.matches import Floats, Found, Matches, Wanted
from llmos_lite.core.skills.segment import Hashes
from llmos_lite.core.skills.text import QUERY_CHARACTERS, Analyzer

MATCHES: type[Matches] = Matches
if IS_COMPILED:
    from llmos_lite.core.skills.compiled import CompiledMatches

    MATCHES = CompiledMatches


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


class Hit(msgspec.Struct, frozen=True, gc=False):
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
    hidden: Sequence[Collection[str]] | None = None,
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
        hidden: by index, the keys that may not be returned, as of shadowed skills; None hides nothing.
        collapse: leave out a document that nearly repeats a better one.
        extra: gives documents further points; a bad mark takes at most half of what their text earned.
        close: gives them points for what they mean; None compares words alone.
        share: of the best hit's score that a hit needs, unless it is one of the first `sure`.
        sure: hits that need no share of the best one's score.
    """
    pieces = Pieces.of(indexes)
    if limit <= 0 or not pieces.every:
        return []
    found = searched(pieces, indexes[0].analyzer, query, extra=extra, close=close)
    by_piece = tuple([hidden[source] for source in pieces.sources]) if hidden is not None else None
    if found is None:
        return []
    return [found.hit(one) for one in found.top(Wanted(limit, by_piece, collapse, share, sure))]


def searched(
    pieces: Pieces, analyzer: Analyzer, query: str, *, extra: Extra | None = None, close: Close | None = None
) -> Searched | None:
    """Return a search of at least one piece that can be asked for its best more than once, or None; see `search`."""
    hashes = analyzer.hashes(query[:QUERY_CHARACTERS])
    if not hashes:
        return None
    found = Searched(pieces, hashes)
    if extra is not None:
        found.add_extra(extra)
    if close is not None:
        found.add_close(close)
    return found


class Searched:
    """One query on its way through the pieces, whose documents are numbered one after the other.

    Args:
        pieces: what is searched.
        hashes: the terms of the query.
    """

    def __init__(self, pieces: Pieces, hashes: list[int]) -> None:
        self._pieces = pieces
        self._matches = MATCHES(pieces, hashes)
        self._bonuses: dict[tuple[int, int], Bonus] = {}
        self._nears: dict[int, tuple[Near, Floats]] = {}

    def add_extra(self, extra: Extra) -> None:
        """Give documents points for what else is known of them."""
        for (wanted, key), bonus in extra(*self._matches.rarity).items():
            for number, (source, piece) in enumerate(self._every()):
                place = piece.place(key) if source == wanted else None
                if place is not None:
                    at = self._matches.starts[number] + place
                    own = float(self._matches.scores[at])
                    points = max(bonus.score, -own / 2)
                    self._matches.scores[at] = own + points
                    self._bonuses[number, place] = bonus._replace(score=points)

    def add_close(self, close: Close) -> None:
        """Give documents points for what they mean."""
        scores, starts = self._matches.scores, self._matches.starts
        unit = unit_of(float(scores.max(initial=0)), self._matches.known)
        for number, (source, piece) in enumerate(self._every()):
            near = close(source, piece.segment.keys)
            if near is not None:
                here = scores[starts[number] : starts[number + 1]]
                self._nears[number] = near, here.copy()
                here[:] = fused(here, near, unit) * piece.alive

    def _every(self) -> Iterator[tuple[int, Piece]]:
        return zip(self._pieces.sources, self._pieces.every, strict=True)

    def top(self, wanted: Wanted) -> list[Found]:
        """Return the best that are wanted, best first."""
        return self._matches.top(wanted)

    def hit(self, one: Found) -> Hit:
        """Return what there is to say of one of the best."""
        score, number, document = one
        key, held = self._pieces.keys[number][document], self._matches.held(number, document)
        hit = Hit(self._pieces.sources[number], key, score, *held, self._matches.total)
        return self._with_more(number, document, hit) if self._bonuses or self._nears else hit

    def _with_more(self, number: int, document: int, hit: Hit) -> Hit:
        """Return a hit with what is known of its document beside its words."""
        bonus = self._bonuses.get((number, document))
        if bonus is not None:
            hit = _with_bonus(hit, bonus)
        if number in self._nears:
            near, words = self._nears[number]
            surprise = float(near.surprise[document])
            is_told = near.tells and surprise != -np.inf
            meaning = hit.score - float(words[document])
            hit = replace(hit, meaning=meaning, surprise=surprise if is_told else None)
        return hit


def _with_bonus(hit: Hit, bonus: Bonus) -> Hit:
    return replace(
        hit,
        coverage=max(bonus.coverage, hit.coverage),
        header=max(bonus.coverage, hit.header),
        terms=max(bonus.terms, hit.terms),
        asked=bonus.score,
    )
