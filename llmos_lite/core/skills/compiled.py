"""The same as `Matches` in a few calls: what is there once `_kernel.c` was compiled, see `hatch_build.py`."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from llmos_lite.core.skills import _kernel, commonness, matches
from llmos_lite.core.skills.index import Piece, Pieces
from llmos_lite.core.skills.matches import Floats, Found, Held, Matches, Wanted
from llmos_lite.core.skills.segment import STEP, Hashes

_RULES = _kernel.rules(
    commonness.LEVELS,
    commonness.SHARES,
    STEP,
    matches.PAIR_WEIGHT,
    matches.PRIOR_DOCUMENTS,
    matches.PRIOR_MATCHES,
    commonness.BACKGROUND,
    matches.QUERY_TERMS,
)


class CompiledMatches(Matches):
    """Scores of the documents of all pieces; see `Matches`."""

    def __init__(self, pieces: Pieces, hashes: list[int]) -> None:
        self.pieces, self.total = pieces.every, pieces.total
        self._query = _kernel.match(_RULES, pieces.opened or _all_opened(pieces), hashes)

    @cached_property
    def scores(self) -> Floats:
        """Return the scores, which are changed where they lie; shape (documents,)."""
        return np.frombuffer(_kernel.scores(self._query), dtype=np.float64)

    @property
    def rarity(self) -> tuple[Hashes, Floats]:
        """Return the chosen terms of the query, and how rare each is; both of shape (t,)."""
        terms, idf, _ = zip(*_kernel.terms(self._query), strict=True)
        return np.array(terms, dtype=np.uint32), np.array(idf)

    @property
    def known(self) -> float:
        """Return the share of the query's idf mass whose terms stand in some document."""
        words = _kernel.terms(self._query)
        return sum(idf for _, idf, documents in words if documents) / sum(idf for _, idf, _ in words)

    def top(self, wanted: Wanted) -> list[Found]:
        """Return the best that are wanted, best first; see `Matches`."""
        return _kernel.top(self._query, wanted.limit, wanted.hidden, wanted.collapse, wanted.share, wanted.sure)

    def held(self, piece: int, document: int) -> Held:
        """Return what a document of a piece holds of the query; see `Matches`."""
        return _kernel.held(self._query, piece, document)


def _all_opened(pieces: Pieces) -> tuple[_kernel.Piece, ...]:
    pieces.opened = tuple([piece.opened or _opened(piece) for piece in pieces.every])
    return pieces.opened


def _opened(piece: Piece) -> _kernel.Piece:
    """Return a piece as it is searched; made once for each, as its arrays never change."""
    opened = _kernel.piece(piece.arrays, piece.segment.keys, piece.count)
    object.__setattr__(piece, "opened", opened)
    return opened
