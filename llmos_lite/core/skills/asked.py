"""What was asked where a skill helped: goals of traces, searched as one more field of the skill.

The field belongs to the volume whose traces they are, not to the skill: a person's own goals make that person's choice
better, a team's digests that of the team, and nobody else's search ever sees them. Goals are matched one by one (the
nearest one counts, not their sum), so each can grow old, and be erased, by itself. Measured with half of each skill's
queries as history (`benchmarks/use.py`): recall@5 .81 before, .86 after on the other half.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from llmos_lite.core.skills.fields import Document
from llmos_lite.core.skills.index import SkillIndex
from llmos_lite.core.skills.matches import Floats
from llmos_lite.core.skills.search import Bonus
from llmos_lite.core.skills.segment import HEADER_BIT, STEP, Hashes, Segment
from llmos_lite.core.skills.text import Analyzer

if TYPE_CHECKING:
    from llmos_lite.core.skills.index import Piece
    from llmos_lite.core.skills.library import Library

WEIGHT = 1.0
"""Times the boost of the header. A larger one measures up to two points higher, where history and queries have one
author, and costs the skills without history more."""
HALF_LIFE = 90 * 86_400_000
"""Milliseconds after which a goal counts half: what is asked once a quarter shall still count. Chosen, not measured."""
MOST_GOALS = 32
"""Goals of one skill: the newest ones that differ."""
SAME_GOAL = 0.8
"""Share of terms in common (Jaccard) from which two goals are the same one."""
LEAST_TERMS = 2
"""A goal of fewer terms ("again, please") says nothing about a skill."""
LOOKED_AT, NEAR = 8, 0.25
"""Nearest goals that are looked at for one query, and the share of the nearest one's score that they need."""

_SLOT = re.compile(r"<[a-z]{1,20}(?:-[a-z]{1,20}){0,3}:\d{1,4}>")
_TABLE = (np.arange(256) & (HEADER_BIT - 1)) * STEP


class Goal(NamedTuple):
    """A goal and the skill that was used for it.

    Args:
        trace_id: where it was asked.
        volume: of the skill.
        skill_id: the skill.
        text: the redacted goal.
        time: milliseconds.
        weight: the skill's share in the success, 0 to 1; negative for a failure.
    """

    trace_id: str
    volume: str
    skill_id: str
    text: str
    time: int
    weight: float

    @property
    def key(self) -> str:
        """Return what tells it from all others."""
        return f"{self.trace_id} {self.volume} {self.skill_id}"

    @property
    def skill(self) -> tuple[str, str]:
        """Return volume and id of the skill."""
        return self.volume, self.skill_id


class Nearest(NamedTuple):
    """The goals of a skill that come nearest to a query, one that went well and one that did not, in points.

    `coverage` is the share of the query's idf mass that the good one covers, `terms` how many of its terms.
    """

    good: float = 0.0
    bad: float = 0.0
    coverage: float = 0.0
    terms: int = 0

    def or_nearer(self, other: Nearest) -> Nearest:
        """Return the better of both, and the worse of both."""
        better = max(self, other, key=lambda one: one.good)
        return better._replace(bad=max(self.bad, other.bad))


@dataclass(frozen=True, slots=True)
class AskedIndex:
    """The goals of one volume's traces; immutable, so that readers never wait for a writer.

    Args:
        index: finds goals by their words.
        goals: by key.
        of_skill: keys of each skill's goals, newest first.
        serial: a number that no other has.
    """

    index: SkillIndex
    goals: Mapping[str, Goal] = field(default_factory=dict)
    of_skill: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    serial: int = field(default_factory=itertools.count().__next__, compare=False)

    @property
    def traces(self) -> frozenset[str]:
        """Return the traces that the goals are from."""
        return frozenset(goal.trace_id for goal in self.goals.values())

    @classmethod
    def empty(cls, analyzer: Analyzer) -> AskedIndex:
        """Return the index of a volume in which nothing was asked."""
        return cls(SkillIndex(analyzer))

    def updated(self, goals: Iterable[Goal], gone: Collection[str] = ()) -> AskedIndex:
        """Return the index without the traces `gone`, and with goals that are new.

        Of goals that are the same the newest stays, of a skill's goals the newest `MOST_GOALS`.
        """
        change = _Change(self, frozenset(gone))
        for goal in sorted(goals, key=lambda goal: goal.time):
            change.add(goal)
        return change.result()

    def nearest(self, terms: Hashes, idf: Floats, now: int) -> dict[tuple[str, str], Nearest]:
        """Return the nearest goals by skill.

        Args:
            terms: of the query, shape (t,).
            idf: how rare each is, shape (t,).
            now: milliseconds; older goals count less.
        """
        matches = [match for piece in self.index.pieces for match in _matches(piece, terms, idf)]
        bar = NEAR * max((match.score for match in matches), default=0.0)
        found: dict[tuple[str, str], Nearest] = {}
        for match in sorted(matches, key=lambda one: -one.score)[:LOOKED_AT]:
            if match.score >= bar:
                goal = self.goals[match.key]
                there = found.get(goal.skill)
                one = _weighed(match, goal.weight * 0.5 ** (max(0, now - goal.time) / HALF_LIFE))
                found[goal.skill] = one if there is None else there.or_nearer(one)
        return found


class _Change:
    """An update on its way."""

    def __init__(self, before: AskedIndex, gone: frozenset[str]) -> None:
        self._before, self._analyzer = before, before.index.analyzer
        self._goals = {key: goal for key, goal in before.goals.items() if goal.trace_id not in gone}
        self._of_skill = {skill: [key for key in keys if key in self._goals] for skill, keys in before.of_skill.items()}
        self._terms: dict[str, frozenset[int]] = {}

    def add(self, goal: Goal) -> None:
        """Put a goal among those of its skill, unless it says nothing, or a newer one says the same."""
        plain = goal._replace(text=_SLOT.sub(" ", goal.text))
        terms = self._terms[goal.key] = frozenset(self._analyzer.hashes(plain.text))
        if len(terms) < LEAST_TERMS:
            return
        keys = self._of_skill.setdefault(goal.skill, [])
        same = {key for key in keys if key == goal.key or self._is_same(plain, terms, self._goals[key])}
        if any(self._goals[key].time > goal.time for key in same):
            return
        self._goals[goal.key] = plain
        kept = sorted({goal.key, *keys} - (same - {goal.key}), key=lambda key: (-self._goals[key].time, key))
        for key in {*same, *kept[MOST_GOALS:]} - set(kept[:MOST_GOALS]):
            del self._goals[key]
        keys[:] = kept[:MOST_GOALS]

    def _is_same(self, goal: Goal, terms: frozenset[int], other: Goal) -> bool:
        if (goal.weight > 0) != (other.weight > 0):
            return False
        if other.key not in self._terms:
            self._terms[other.key] = frozenset(self._analyzer.hashes(other.text))
        theirs = self._terms[other.key]
        return len(terms & theirs) >= SAME_GOAL * len(terms | theirs)

    def result(self) -> AskedIndex:
        """Return the index as it is now."""
        before = self._before.goals
        fresh = [Document(key, "", goal.text, "") for key, goal in self._goals.items() if before.get(key) != goal]
        index = self._before.index.updated(fresh, before.keys() - self._goals.keys())
        return AskedIndex(index, self._goals, {skill: tuple(keys) for skill, keys in self._of_skill.items() if keys})


class AskedBy:
    """Gives skills points for what was asked; the `Extra` of a search.

    Args:
        libraries: that are searched, in their order.
        views: the goals that whoever searches may profit from.
        now: milliseconds.
    """

    def __init__(self, libraries: Sequence[Library], views: Sequence[AskedIndex], now: int) -> None:
        self._libraries, self._views, self._now = libraries, views, now
        self._places = {str(library.ref): place for place, library in enumerate(libraries)}

    def __call__(self, terms: Hashes, idf: Floats) -> dict[tuple[int, str], Bonus]:
        """Return the points, by library and skill id."""
        found: dict[tuple[int, str], Nearest] = {}
        for view in self._views:
            for (volume, skill_id), one in view.nearest(terms, idf, self._now).items():
                place = self._place(volume, skill_id)
                if place is not None:
                    found[place, skill_id] = found.get((place, skill_id), Nearest()).or_nearer(one)
        return {key: _bonus(one) for key, one in found.items()}

    def _place(self, volume: str, skill_id: str) -> int | None:
        """Return the library of the skill; when it is not there any more, the one that has it now.

        A promoted skill so keeps what was asked of it before.
        """
        place = self._places.get(volume)
        if place is not None and self._libraries[place].offers(skill_id):
            return place
        return next((n for n, library in enumerate(self._libraries) if library.offers(skill_id)), None)


def _bonus(one: Nearest) -> Bonus:
    points = one.good - one.bad
    return Bonus(points, one.coverage, one.terms) if points > 0 else Bonus(points, 0.0, 0)


class _Match(NamedTuple):
    """A goal that matches: what `Nearest` says of it, before its weight counts."""

    key: str
    score: float
    coverage: float
    terms: int


def _weighed(match: _Match, weight: float) -> Nearest:
    points = WEIGHT * match.score * weight
    return Nearest(points, 0.0, match.coverage, match.terms) if points > 0 else Nearest(bad=-points)


def _matches(piece: Piece, terms: Hashes, idf: Floats) -> Iterator[_Match]:
    """Yield the goals of a piece that match best."""
    segment: Segment = piece.segment
    known, _, begin, end = segment.postings(terms)
    if not len(known):
        return
    lengths = end - begin
    at = np.arange(lengths.sum()) + (end - lengths.cumsum()).repeat(lengths)
    docs, rarity = segment.docs.take(at), idf.take(known).repeat(lengths)
    gains = _TABLE.take(segment.weights.take(at)) * rarity
    scores: Floats = np.bincount(docs, weights=gains, minlength=len(segment)).astype(np.float64, copy=False)
    if piece.count != len(segment):
        scores *= piece.alive
    places = _best(scores)
    covered = np.bincount(docs, weights=rarity, minlength=len(segment))[places] / idf.sum()
    counts = np.bincount(docs, minlength=len(segment))[places]
    found = zip(places.tolist(), scores[places].tolist(), covered.tolist(), counts.tolist(), strict=True)
    for place, score, coverage, count in found:
        yield _Match(segment.keys[place], score, coverage, count)


def _best(scores: Floats) -> npt.NDArray[np.intp]:
    """Return the places of the `LOOKED_AT` best, in any order."""
    places: npt.NDArray[np.intp] = scores.nonzero()[0]
    if len(places) <= LOOKED_AT:
        return places
    return places[np.argpartition(scores[places], len(places) - LOOKED_AT)[len(places) - LOOKED_AT :]]
