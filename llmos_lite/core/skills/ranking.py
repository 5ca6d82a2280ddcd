"""Which of the skills that somebody sees fit a query, and what a scanner keeps out of the answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from llmos_lite.core.skills.abstain import CLOSE, LOOKED_AT, is_enough, is_side_request
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.lru import Lru
from llmos_lite.core.skills.text import QUERY_CHARACTERS, Analyzer
from llmos_lite.core.skills.together import Together
from llmos_lite.core.traces.trace import now_ms

if TYPE_CHECKING:
    from llmos_lite.core.skills.asked import AskedIndex
    from llmos_lite.core.skills.matches import Found
    from llmos_lite.core.skills.search import Extra, Hit, Searched
    from llmos_lite.core.skills.semantic import Meaning, Semantics

    Once: TypeAlias = Callable[[], Searched | None]
    """Searches when it is called first."""

LIMIT = 3
HELD = 50
"""Hits among which those are looked for that are held back."""
CACHED_RANKINGS, LONGEST_CACHED = 256, 2000
"""Answers to the same words: a retry, another try at an answer and a job that runs every hour ask again. And how many
characters such a query may have."""
MINUTE = 60_000
"""Milliseconds for which what was asked is as old as it was: it counts less with its age."""


class ScoredSkill(msgspec.Struct, frozen=True, gc=False):
    """A skill and how well it fits a query.

    Args:
        skill: the skill.
        score: BM25 over its fields; comparable inside one answer only.
        fits: whether that is enough to be put into a context.
        hit: what the search said of it; None where only what fits was asked for, or nothing was searched.
    """

    skill: Skill
    score: float
    fits: bool = True
    hit: Hit | None = None


class Ranking:
    """Ranks skills.

    Args:
        analyzer: knows the words.
        semantics: knows what skills and queries mean; None compares words alone.
    """

    def __init__(self, analyzer: Analyzer, semantics: Semantics | None = None) -> None:
        self._analyzer, self._semantics = analyzer, semantics
        self._known: Lru[tuple[object, ...], list[ScoredSkill]] = Lru(CACHED_RANKINGS)

    def ranked(
        self,
        libraries: Sequence[Library],
        query: str,
        limit: int = LIMIT,
        *,
        only_fitting: bool = True,
        shadowed: bool = False,
        asked: Sequence[AskedIndex] = (),
        meaning: Meaning | None = None,
        searched: Once | None = None,
    ) -> list[ScoredSkill]:
        """Return the best skills of these libraries, of which the first wins.

        Args:
            libraries: what is searched.
            query: free text.
            limit: skills to return at most.
            only_fitting: leave out what matches too little to be put into a context.
            shadowed: let in shadowed ones, and what a scanner holds back.
            asked: the goals that whoever asks profits from; see `asked`.
            meaning: of the query; see `meaning`.
            searched: the search itself, where it is ranked more than once; see `searched`.
        """
        if limit <= 0:
            return []
        libraries = Together.of(libraries)
        if meaning is not None or len(query) > LONGEST_CACHED:
            found = searched() if searched else self.searched(libraries, query, asked=asked, meaning=meaning)
            return self._ranked(libraries, query, limit, found, only_fitting=only_fitting, shadowed=shadowed)
        age: tuple[int, ...] = ()
        for view in asked:
            if view.goals:
                age = (*age, view.serial)
        if age:
            age = (now_ms() // MINUTE, *age)
        asks = hash(query)  # nobody's words are kept
        key = (asks, limit, only_fitting, shadowed, libraries.states, age)
        known = self._known.get(key)
        if known is None:
            found = searched() if searched else self.searched(libraries, query, asked=asked if age else ())
            known = self._ranked(libraries, query, limit, found, only_fitting=only_fitting, shadowed=shadowed)
            self._known.put(key, known)
        return known.copy()

    def _ranked(
        self,
        libraries: Together,
        query: str,
        limit: int,
        found: Searched | None,
        *,
        only_fitting: bool,
        shadowed: bool,
    ) -> list[ScoredSkill]:
        """Return the best skills that were found; see `ranked`."""
        if found is None:
            return []
        share = CLOSE if only_fitting else 0.0
        hidden = None if shadowed else libraries.hidden
        rows = found.top(_search().Wanted(limit, hidden, not shadowed, share, LOOKED_AT))
        if only_fitting and not shadowed:  # nothing is hidden that would have to be marked
            bar = self._bar(_looked_at(libraries, found, rows[:LOOKED_AT]), query)
            skills, keys = libraries.skills, libraries.pieces.keys
            fitting = rows if rows and rows[-1][0] >= bar else [row for row in rows if row[0] >= bar]
            return [ScoredSkill(skills[part][keys[part][at]], score) for score, part, at in fitting]
        pairs = [
            (_marked(libraries[: hit.source], libraries[hit.source], hit.key), hit) for hit in map(found.hit, rows)
        ]
        return self.scored(pairs, query, only_fitting=only_fitting, shadowed=shadowed)

    def searched(
        self,
        libraries: Sequence[Library],
        query: str,
        *,
        asked: Sequence[AskedIndex] = (),
        meaning: Meaning | None = None,
    ) -> Searched | None:
        """Return a search of these libraries, for whoever ranks more than once; None when nothing can be found."""
        close = self._semantics.closeness(libraries, meaning) if self._semantics and meaning else None
        extra = _asked_by(libraries, asked) if asked else None
        pieces = Together.of(libraries).pieces
        if not pieces.every:
            return None
        found: Searched | None = _search().searched(pieces, self._analyzer, query, extra=extra, close=close)
        return found

    def scored(
        self, found: Sequence[tuple[Skill, Hit]], query: str, *, only_fitting: bool, shadowed: bool = False
    ) -> list[ScoredSkill]:
        """Decide once for all matches that may be used whether anything fits; then those near the best one do.

        `shadowed` tells whether there are some among them that may not be used.
        """
        usable = [one for one in found if one[0].usable] if shadowed else found
        bar = self._bar(usable[:LOOKED_AT], query)
        return [
            ScoredSkill(skill, score, score >= bar and (not shadowed or skill.usable), hit)
            for skill, hit in (usable if only_fitting else found)
            if (score := hit.score) >= bar or not only_fitting
        ]

    def _bar(self, found: Iterable[tuple[Skill, Hit]], query: str) -> float:
        """Return the least score that fits, by the first that were found; infinite when nothing does."""
        asked: list[int] = []
        most = 0.0
        for skill, hit in found:
            most = most or hit.score
            if is_enough(hit, partial(self._names, asked, query, skill)):
                return math.inf if is_side_request(query) else CLOSE * most
        return math.inf

    def _names(self, asked: list[int], query: str, skill: Skill) -> bool:
        """Tell whether a query holds every word of a skill's name; `asked` takes the words of the query."""
        asked += [] if asked else self._analyzer.hashes(query[:QUERY_CHARACTERS])
        return set(asked).issuperset(self._analyzer.hashes(skill.skill_id))

    def held(
        self,
        libraries: Sequence[Library],
        query: str,
        limit: int = LIMIT,
        *,
        asked: Sequence[AskedIndex] = (),
        meaning: Meaning | None = None,
    ) -> list[ScoredSkill]:
        """Return the best hits that a scanner holds back, whether they would fit or not; see `ranked`."""
        libraries = Together.of(libraries)
        if not libraries.withholds:
            return []
        every = self.ranked(libraries, query, HELD, only_fitting=False, shadowed=True, asked=asked, meaning=meaning)
        return [one for one in every if one.skill.held and not one.skill.shadowed_by][:limit]

    def withheld(
        self,
        libraries: Sequence[Library],
        query: str,
        limit: int = LIMIT,
        *,
        asked: Sequence[AskedIndex] = (),
        meaning: Meaning | None = None,
        searched: Once | None = None,
    ) -> list[Skill]:
        """Return what would go into the context of a query beside the rest, if no scanner held it back; see `ranked`.

        It searches only where something is held back at all.
        """
        libraries = Together.of(libraries)
        if not libraries.withholds:
            return []
        codes = {str(library.ref): library.held for library in libraries}
        ranked = self.ranked(libraries.unheld, query, limit, asked=asked, meaning=meaning, searched=searched)
        best = [one.skill for one in ranked]
        return [replace(skill, held=held) for skill in best if (held := codes[skill.volume].get(skill.skill_id))]


def _looked_at(libraries: Together, found: Searched, rows: Sequence[Found]) -> Iterator[tuple[Skill, Hit]]:
    """Yield the best with what there is to say of them, as long as somebody asks."""
    for row in rows:
        hit = found.hit(row)
        yield libraries.skills[row[1]][hit.key], hit


@cache
def _search() -> ModuleType:
    """Return what searches; the statement alone would cost a fiftieth of each choice."""
    from llmos_lite.core.skills import search  # noqa: PLC0415 - loads numpy

    return search


def _asked_by(libraries: Sequence[Library], asked: Sequence[AskedIndex]) -> Extra | None:
    """Return what gives skills points for what was asked; None when nothing was."""
    views = [view for view in asked if view.goals]
    if not views:
        return None
    from llmos_lite.core.skills.asked import AskedBy  # noqa: PLC0415 - loads numpy

    return AskedBy(libraries, views, now_ms())


def usable(libraries: Sequence[Library], volume: str, skill_id: str) -> Skill | None:
    """Return a skill of a volume, if it can be used: it is there, whole, and no better library has one of its id."""
    winner = next((library for library in libraries if library.offers(skill_id)), None)
    return winner.skills[skill_id] if winner is not None and str(winner.ref) == volume else None


def resolved(libraries: Sequence[Library]) -> list[Skill]:
    """Return all skills by id, the shadowed ones marked with the volume that wins."""
    found: list[tuple[str, int, Skill]] = []
    for place, library in enumerate(libraries):
        found += [(skill_id, place, _marked(libraries[:place], library, skill_id)) for skill_id in library.skills]
    found.sort(key=lambda item: item[:2])
    return [skill for _, _, skill in found]


def _marked(better: Sequence[Library], library: Library, skill_id: str) -> Skill:
    skill, held = library.skills[skill_id], library.held.get(skill_id, ())
    if not better and not held:
        return skill
    winner = next((one for one in better if one.offers(skill_id)), None)
    if winner is None and not held:
        return skill
    return replace(skill, shadowed_by=str(winner.ref) if winner else "", held=held)
