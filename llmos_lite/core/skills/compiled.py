"""The same as `Matches` in a few calls: what is there once `_kernel.c` was compiled, see `hatch_build.py`."""

from __future__ import annotations

from functools import partial

import numpy as np

from llmos_lite.core.skills import _kernel, commonness, matches
from llmos_lite.core.skills.matches import Floats, Found, Held, Matches, Repeated
from llmos_lite.core.skills.segment import STEP, Hashes

_RULES = (
    STEP,
    matches.PAIR_WEIGHT,
    matches.PRIOR_DOCUMENTS,
    matches.PRIOR_MATCHES,
    commonness.BACKGROUND,
    matches.QUERY_TERMS,
)


class CompiledMatches(Matches):
    """Scores of the documents of all pieces; see `Matches`."""

    def _match(self, hashes: list[int]) -> None:
        arrays = tuple([piece.arrays for piece in self.pieces])
        self.scores = np.empty(self.starts[-1])
        levels, shares = commonness.LEVELS, commonness.SHARES
        self._query = _kernel.match(arrays, hashes, self.total, self.scores, levels, shares, _RULES)

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

    def best(self, width: int) -> list[Found]:
        """Return the `width` best, best first; see `Matches`."""
        return _kernel.best(self._query, self.scores, width)

    def repeated(self, found: list[Found]) -> Repeated:
        """Return what tells whether one of those that were found nearly repeats another; see `Matches`."""
        return partial(_kernel.repeats_any, self._query, found)

    def held(self, found: list[Found]) -> list[Held]:
        """Return what documents hold of the query; see `Matches`."""
        return _kernel.held(self._query, found)
