"""Which skill: BM25 per field over name, header and body, with pairs of neighbouring words.

Reference (`tantivy`, boosts .5/1/1, 2,000 public skills, 342 eval prompts): recall@5 .763, nDCG@10 .659; this one .80
and .72. `make bench` measures both side by side. No substring ever matches: only whole, stemmed words do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from llmos_lite.core.skills.fields import Document
from llmos_lite.core.skills.fusion import Close, Near, fused, unit_of
from llmos_lite.core.skills.segment import (
    HEADER_BIT,
    LARGEST,
    PRINT_WIDTH,
    STEP,
    Hashes,
    Numbers,
    Segment,
    pair_hashes,
)
from llmos_lite.core.skills.text import QUERY_CHARACTERS, Analyzer

Floats: TypeAlias = npt.NDArray[np.float64]

QUERY_TERMS = 128
"""A long query counts by its rarest terms only. On requests of 145 to 190 words, 32 terms lost 8 to 16 points of
recall@5 against 128 and more gained nothing."""
PAIR_WEIGHT = 1.0
PRIOR_DOCUMENTS = 100.0
PRIOR_MATCHES = 0.5
"""A library of a few skills says little about how rare a word is; see `_idf`."""
SAME = 0.85
"""Share of equal fingerprint columns from which two skills are the same text with small changes."""
FEW = 16
"""Up to so many documents, finding the terms of each costs less than counting all terms anew."""
_MANY_SEGMENTS = 6
_NOTHING = 1e-3


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


@dataclass(frozen=True, slots=True)
class Hit:
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
        surprise: as `Near` says; None when nothing is known of its meaning.
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


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment and what of it still counts.

    Args:
        segment: the postings.
        alive: which documents count; shape (documents,).
        count: how many they are.
        frequency: in how many of them each term stands, shape (terms,); None when all documents count.
    """

    segment: Segment
    alive: npt.NDArray[np.bool_]
    count: int
    frequency: npt.NDArray[np.int32] | None = None

    @classmethod
    def whole(cls, segment: Segment) -> Piece:
        """Return a piece of which everything counts."""
        return cls(segment, np.ones(len(segment), dtype=bool), len(segment))

    def postings(self, terms: Hashes) -> tuple[Numbers, Numbers, Numbers]:
        """Return where each term's postings begin and end, and in how many documents that count it stands."""
        place, begin, end = self.segment.postings(terms)
        if self.frequency is None or not len(self.frequency):
            return begin, end, end - begin
        return begin, end, self.frequency[place] * (end > begin)

    def pair_postings(self, pairs: Hashes) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint16]]:
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
            return np.add.reduceat(alive[segment.docs].astype(np.int32), segment.starts[:-1])
        frequency = np.diff(segment.starts) if self.frequency is None else self.frequency.copy()
        for place in gone:
            at = (segment.docs == place).nonzero()[0]
            frequency[segment.starts.searchsorted(at, side="right") - 1] -= 1
        return frequency


@dataclass(frozen=True, slots=True)
class SkillIndex:
    """The searchable documents of one volume; immutable, so that readers never wait for a writer."""

    analyzer: Analyzer
    pieces: tuple[Piece, ...] = ()

    @property
    def count(self) -> int:
        """Return how many documents there are."""
        return sum(piece.count for piece in self.pieces)

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
    while len(pieces) > _MANY_SEGMENTS and pieces[-1].count + pieces[-2].count <= LARGEST:
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


def search(
    indexes: Sequence[SkillIndex],
    query: str,
    limit: int,
    *,
    hidden: Callable[[int, str], bool] | None = None,
    collapse: bool = True,
    extra: Extra | None = None,
    close: Close | None = None,
) -> list[Hit]:
    """Return the best documents of several indexes as if they were one, best first.

    Args:
        indexes: the libraries, the one that wins a tie first.
        query: free text; only its first 16,384 characters and its 128 rarest known terms count.
        limit: hits to return at most.
        hidden: tells which (source, key) may not be returned, as shadowed skills; None hides nothing.
        collapse: leave out a document that nearly repeats a better one.
        extra: gives documents further points; a bad mark takes at most half of what their text earned.
        close: gives them points for what they mean; None compares words alone.
    """
    analyzer = next((index.analyzer for index in indexes), None)
    if analyzer is None or limit < 1:
        return []
    pieces = [(source, piece) for source, index in enumerate(indexes) for piece in index.pieces]
    hashes = analyzer.hashes(query[:QUERY_CHARACTERS])
    if not hashes or not pieces:
        return []
    return _Search(pieces, hashes, extra, close).best(limit, hidden, collapse=collapse)


@dataclass(frozen=True, slots=True)
class _Matches:
    """The postings of the query's terms in one piece, one after the other.

    `docs` and `weights` have shape (p,); those of the term with `idf[i]` end before `ends[i]`. `rows` are the terms
    that come by document, each with its idf. `scores` has shape (documents,).
    """

    docs: npt.NDArray[np.uint16]
    weights: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.intp]
    idf: Floats
    rows: list[tuple[npt.NDArray[np.uint8], float]]
    scores: Floats

    def held(self, places: Sequence[int]) -> Iterator[tuple[float, float, int]]:
        """Yield for each document the idf that it covers, that of its name and header, and the number of its terms."""
        found = [(self.docs == place).nonzero()[0] for place in places]
        at = np.concatenate(found)
        which = np.arange(len(places)).repeat([len(one) for one in found])
        idf = self.idf[self.ends.searchsorted(at, side="right")]
        covered = np.bincount(which, idf, len(places)).tolist()
        in_header = np.bincount(which, idf * (self.weights[at] >= HEADER_BIT), len(places)).tolist()
        terms = np.bincount(which, minlength=len(places)).tolist()
        for number, place in enumerate(places):
            rows = [(idf, int(row[place])) for row, idf in self.rows if row[place]]
            yield (
                covered[number] + sum(idf for idf, _ in rows),
                in_header[number] + sum(idf for idf, weight in rows if weight >= HEADER_BIT),
                terms[number] + len(rows),
            )


class _Search:
    """One query on its way through the pieces. Arrays are small: what counts is the number of calls into numpy."""

    def __init__(
        self, pieces: list[tuple[int, Piece]], hashes: list[int], extra: Extra | None, close: Close | None
    ) -> None:
        self.pieces = pieces
        self.nears: dict[int, tuple[Near, Floats]] = {}
        self.bonuses: dict[tuple[int, int], Bonus] = {}
        self.total = sum(piece.count for _, piece in pieces)
        numbers: dict[int, int] = {}
        order = [numbers.setdefault(value, len(numbers)) for value in hashes]
        terms = np.array(list(numbers), dtype=np.uint32)
        looked_up = [piece.postings(terms) for _, piece in pieces]
        frequency = sum((counts for _, _, counts in looked_up), start=np.zeros(len(terms), dtype=np.int32))
        chosen = self._weighed(frequency)
        self.matches = [
            self._matches(piece, begin[chosen], end[chosen])
            for (_, piece), (begin, end, _) in zip(pieces, looked_up, strict=True)
        ]
        if len(order) > 1:
            self._add_pairs(terms, order, [end > begin for begin, end, _ in looked_up])
        if extra is not None:
            self._add_extra(extra(terms[chosen], self.idf))
        if close is not None:
            self._add_close(close)

    def _weighed(self, frequency: Numbers) -> npt.NDArray[np.intp] | slice:
        """Choose the rarest terms and weigh them; return which of the query's different terms they are."""
        chosen: npt.NDArray[np.intp] | slice = _ALL
        if len(frequency) > QUERY_TERMS:
            rarity = np.where(frequency == 0, self.total + 1, frequency)
            chosen = rarity.argsort(kind="stable")[:QUERY_TERMS]
        self.idf = _idf(frequency[chosen], self.total)
        self.mass = float(self.idf.sum())
        self.known = float(self.idf @ (frequency[chosen] > 0)) / self.mass
        return chosen

    def _matches(self, piece: Piece, begin: Numbers, end: Numbers) -> _Matches:
        segment = piece.segment
        lengths, rows = end - begin, []
        for term in self._in_rows(segment, begin, lengths):
            rows.append((segment.rows[int(begin[term])], float(self.idf[term])))
            lengths[term] = 0
        ends = lengths.cumsum()
        at = np.arange(ends[-1]) + (end - ends).repeat(lengths)
        docs, weights = segment.docs.take(at), segment.weights.take(at)
        gains = _TABLE.take(weights) * self.idf.repeat(lengths)
        scores: Floats = np.bincount(docs, weights=gains, minlength=len(segment)).astype(np.float64, copy=False)
        for row, gain in rows:
            scores += (row & (HEADER_BIT - 1)) * (gain * STEP)
        if piece.count != len(segment):
            scores *= piece.alive
        return _Matches(docs, weights, ends, self.idf, rows, scores)

    def _in_rows(self, segment: Segment, begin: Numbers, lengths: Numbers) -> list[int]:
        """Return which terms come by document in a segment."""
        if not segment.rows:
            return []
        both = zip(begin.tolist(), lengths.tolist(), strict=True)
        return [term for term, (start, length) in enumerate(both) if length and start in segment.rows]

    def _add_pairs(self, terms: Hashes, order: list[int], known: list[npt.NDArray[np.bool_]]) -> None:
        """Reward documents in which two neighbouring words of the query are neighbours, too.

        Args:
            terms: the different terms of the query, shape (t,).
            order: the query as numbers of these terms.
            known: which of them stand in each piece, shapes (t,); a pair of others cannot.
        """
        coded = dict.fromkeys(one * len(terms) + other for one, other in pairwise(order))
        first, second = np.divmod(np.array(list(coded)), len(terms))
        hashes = pair_hashes(terms[first], terms[second])
        found = [
            _pairs_in(piece, hashes, (here[first] & here[second]).nonzero()[0])
            for (_, piece), here in zip(self.pieces, known, strict=True)
        ]
        frequency = sum((np.bincount(which, minlength=len(hashes)) for which, _ in found), start=np.zeros(len(hashes)))
        gains = PAIR_WEIGHT * _idf(frequency.astype(np.float64, copy=False), self.total)
        for matches, (which, docs) in zip(self.matches, found, strict=True):
            if len(docs):
                np.add.at(matches.scores, docs, gains[which] * (matches.scores[docs] > 0))

    def _add_extra(self, found: Mapping[tuple[int, str], Bonus]) -> None:
        for (wanted, key), bonus in found.items():
            for number, (source, piece) in enumerate(self.pieces):
                place = piece.place(key) if source == wanted else None
                if place is not None:
                    own = float(self.matches[number].scores[place])
                    points = max(bonus.score, -own / 2)
                    self.matches[number].scores[place] = own + points
                    self.bonuses[number, place] = bonus._replace(score=points)

    def _add_close(self, close: Close) -> None:
        unit = unit_of(max(float(found.scores.max(initial=0)) for found in self.matches), self.known)
        for number, ((source, piece), found) in enumerate(zip(self.pieces, self.matches, strict=True)):
            near = close(source, piece.segment.keys)
            if near is not None:
                words = found.scores.copy()
                found.scores[:] = fused(words, near, unit) * piece.alive
                self.nears[number] = near, words

    def best(self, limit: int, hidden: Callable[[int, str], bool] | None, *, collapse: bool) -> list[Hit]:
        """Return the best hits, widening the choice until `limit` are left or nothing is."""
        width = 4 * limit + 8
        while True:
            candidates = self._candidates(width)
            kept = self._kept(candidates, limit, hidden, collapse=collapse)
            if len(kept) >= limit or len(candidates) < width:
                return self._hits(kept)
            width *= 8

    def _candidates(self, width: int) -> list[tuple[int, int]]:
        """Return the `width` best (piece, place), best first; ties in the order of the pieces."""
        ranked: list[tuple[float, int, int]] = []
        for number, scores in enumerate(found.scores for found in self.matches):
            places = _top(scores, width)
            ranked += [
                (-score, number, place)
                for score, place in zip(scores[places].tolist(), places.tolist(), strict=True)
                if score > 0
            ]
        ranked.sort()
        return [(number, place) for _, number, place in ranked[:width]]

    def _kept(
        self,
        candidates: list[tuple[int, int]],
        limit: int,
        hidden: Callable[[int, str], bool] | None,
        *,
        collapse: bool,
    ) -> list[tuple[int, int]]:
        kept: list[tuple[int, int]] = []
        prints: list[npt.NDArray[np.uint8]] = []
        for number, place in candidates:
            source, piece = self.pieces[number]
            if hidden and hidden(source, piece.segment.keys[place]):
                continue
            mine = piece.segment.prints[place]
            if collapse and _repeats(mine, prints):
                continue
            prints.append(mine)
            kept.append((number, place))
            if len(kept) == limit:
                break
        return kept

    def _hits(self, kept: list[tuple[int, int]]) -> list[Hit]:
        hits: dict[tuple[int, int], Hit] = {}
        for number in {number for number, _ in kept}:
            places = [place for piece, place in kept if piece == number]
            for place, held in zip(places, self.matches[number].held(places), strict=True):
                hits[number, place] = self._hit(number, place, *held)
        return [hits[one] for one in kept]

    def _hit(self, number: int, place: int, covered: float, in_header: float, terms: int) -> Hit:
        (source, piece), scores = self.pieces[number], self.matches[number].scores
        bonus = self.bonuses.get((number, place), _NO_BONUS)
        near, words = self.nears.get(number, (None, scores))
        surprise = None if near is None else float(near.surprise[place])
        return Hit(
            source=source,
            key=piece.segment.keys[place],
            score=float(scores[place]),
            coverage=max(bonus.coverage, covered / self.mass),
            header=max(bonus.coverage, in_header / self.mass),
            terms=max(bonus.terms, terms),
            searched=self.total,
            asked=bonus.score,
            meaning=float(scores[place] - words[place]),
            surprise=None if surprise == -np.inf else surprise,
        )


def same_text(index: SkillIndex, key: str, other: SkillIndex, other_key: str) -> bool:
    """Tell whether two documents nearly repeat each other."""
    mine, theirs = _print_of(index, key), _print_of(other, other_key)
    return mine is not None and theirs is not None and _repeats(mine, [theirs])


def _print_of(index: SkillIndex, key: str) -> npt.NDArray[np.uint8] | None:
    places = ((piece.segment.prints, piece.place(key)) for piece in index.pieces)
    return next((prints[place] for prints, place in places if place is not None), None)


def _pairs_in(
    piece: Piece, pairs: Hashes, places: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint16]]:
    """Return (index into `pairs`, document) of every document that holds one of those at `places`."""
    if not len(places):
        return _NOWHERE, _NO_DOCUMENTS
    which, docs = piece.pair_postings(pairs[places])
    return places[which], docs


_ALL = slice(None)
_NO_BONUS = Bonus(0.0, 0.0, 0)
_NOWHERE, _NO_DOCUMENTS = np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.uint16)


_TABLE = (np.arange(256) & (HEADER_BIT - 1)) * STEP


def _idf(frequency: npt.NDArray[np.float64 | np.int32], total: int) -> Floats:
    """Return BM25's inverse document frequency, as if the library held `PRIOR_DOCUMENTS` more.

    In them a term is found `PRIOR_MATCHES` times: with three skills, every word would otherwise look common.
    """
    df = frequency.astype(np.float64) + PRIOR_MATCHES
    idf: Floats = np.log1p((total + PRIOR_DOCUMENTS + 0.5 - df) / (df + 0.5))
    return idf


def _top(scores: Floats, width: int) -> npt.NDArray[np.intp]:
    """Return the places of the `width` best; only those near the best one are ever sorted out."""
    if len(scores) <= width:
        return np.arange(len(scores))
    least = float(scores.max()) / 2
    places = (scores >= least).nonzero()[0]
    while len(places) < width and least > _NOTHING:
        least /= 2
        places = (scores >= least).nonzero()[0]
    if len(places) <= width:
        return places
    return places[np.argpartition(scores[places], len(places) - width)[len(places) - width :]]


def _repeats(mine: npt.NDArray[np.uint8], others: Sequence[npt.NDArray[np.uint8]]) -> bool:
    """Tell whether a fingerprint nearly equals one of the others; an empty one equals none."""
    return any(np.count_nonzero(mine == other) >= SAME * PRINT_WIDTH for other in others) and bool(mine.any())
