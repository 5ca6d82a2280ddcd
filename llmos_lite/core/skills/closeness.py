"""How near the skills of some libraries are to a query, in the order in which the index holds them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from llmos_lite.core.skills.fusion import Near
from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.scale import Measure
from llmos_lite.engines.vectors import Neighbours

Places: TypeAlias = npt.NDArray[np.intp]

REMEMBERED = 256


class Aligned(NamedTuple):
    """A library, and what is near in its volume, perhaps of other versions of its skills."""

    library: Library
    neighbours: Neighbours


class _Known(NamedTuple):
    keys: tuple[str, ...]
    skill_ids: tuple[str, ...]
    commit: str
    places: Places


class Alignments:
    """Where the vector of each document lies; remembered until the documents, the vectors or the commit change."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, int], _Known] = OrderedDict()

    def places(self, keys: tuple[str, ...], aligned: Aligned) -> Places:
        """Return the place among the neighbours of each key, -1 for one that has no vector of its version."""
        skill_ids, commit = aligned.neighbours.skill_ids, aligned.library.commit
        known = self._known.get((id(keys), id(skill_ids)))
        if known is None or known.keys is not keys or known.skill_ids is not skill_ids or known.commit != commit:
            known = _Known(keys, skill_ids, commit, _aligned(keys, aligned))
            self._known[id(keys), id(skill_ids)] = known
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return known.places


class Closeness:
    """Answers for the documents of one search; see `search.Close`.

    Args:
        measure: how cosines are read.
        sources: by the position of a library among those searched; None for one that is not ready.
        alignments: remembers where vectors lie.
        tells: as `Near` says.
    """

    def __init__(
        self, measure: Measure, sources: Sequence[Aligned | None], alignments: Alignments, *, tells: bool = True
    ) -> None:
        self._measure, self._sources, self._alignments, self._tells = measure, sources, alignments, tells

    def __call__(self, source: int, keys: tuple[str, ...]) -> Near | None:
        """Return how near the documents with these keys are; None when nothing is known of their library."""
        aligned = self._sources[source]
        if aligned is None or not len(aligned.neighbours.cosines):
            return None
        places = self._alignments.places(keys, aligned)
        cosines = aligned.neighbours.cosines[places]
        closeness, surprise = self._measure.closeness(cosines), self._measure.surprise(cosines)
        unknown = places < 0
        if unknown.any():
            closeness[unknown], surprise[unknown] = 0, -np.inf
        return Near(closeness, surprise, self._tells)


def _aligned(keys: tuple[str, ...], aligned: Aligned) -> Places:
    skills, neighbours = aligned.library.skills, aligned.neighbours
    both = zip(neighbours.skill_ids, neighbours.versions, strict=True)
    current = {
        skill_id: place
        for place, (skill_id, version) in enumerate(both)
        if (skill := skills.get(skill_id)) is not None and skill.version == version
    }
    return np.array([current.get(key, -1) for key in keys], dtype=np.intp)
