"""Which goals repeat: conversations grouped by what was asked, in whatever words."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from llmos_lite.core.evolution.clusters import cluster, means
from llmos_lite.core.evolution.features import embed_goals
from llmos_lite.core.evolution.success import Verdict
from llmos_lite.engines.embedder import Embedder
from llmos_lite.errors import LlmosError

log = logging.getLogger("llmos")

Floats: TypeAlias = npt.NDArray[np.float32]

SMALL, LARGE = (50, 0.36, 0.26), (600, 0.50, 0.40)
"""Goals, leader's and merging threshold of a small and a large volume; between them by the logarithm of the goals.
Few goals are seldom alike by accident, so that a looser threshold stays as pure (precision .95 at 70 goals)."""
MOST_GOALS = 100_000
"""The newest conversations that one run looks at; bounds its memory to about 0.5 GB."""
EXAMPLES = 5
EMBEDDED_SHARE = 0.7
"""What an embedder weighs beside the words."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the detector needs of one conversation.

    Args:
        trace_id: of its first trace.
        goal: what the person asked first.
        actor: who.
        time: of the first trace, in milliseconds.
        verdict: what came of it.
        tools: names of the tools that were called, where known.
        turns: ids of all its traces, in order.
    """

    trace_id: str
    goal: str
    actor: str
    time: int
    verdict: Verdict = Verdict.COMPLETED
    tools: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pattern:
    """A goal that repeats; `members` in order of trace id, `centre` the mean of their vectors.

    `central` are places in `members`, the most typical first.
    """

    pattern_id: str
    members: tuple[Conversation, ...]
    centre: Floats
    central: tuple[int, ...]

    @property
    def count(self) -> int:
        """Return how many conversations."""
        return len(self.members)

    @property
    def users(self) -> int:
        """Return how many people."""
        return len({member.actor for member in self.members})

    @property
    def success_rate(self) -> float:
        """Return the share of conversations that count as a success."""
        return sum(member.verdict.is_success for member in self.members) / len(self.members)

    @property
    def goal(self) -> str:
        """Return the most typical wording."""
        return self.members[self.central[0]].goal

    @property
    def examples(self) -> list[str]:
        """Return different wordings, the most typical first."""
        return list(dict.fromkeys(self.members[place].goal for place in self.central))[:EXAMPLES]

    @property
    def trace_ids(self) -> list[str]:
        """Return the opening traces."""
        return [member.trace_id for member in self.members]

    def alike(self, other: Pattern) -> float:
        """Return the mean cosine between the members of two patterns of one run."""
        return float(self.centre @ other.centre)


class PatternDetector:
    """Groups conversations by goal.

    The same conversations give the same patterns, in whatever order they come. Goals are compared by their words, and
    by an embedder's vectors as well where there is one.

    Args:
        embedder: see `engines.embedder`; None needs no model.
        least: conversations that make a pattern.
    """

    def __init__(self, embedder: Embedder | None = None, *, least: int = 3) -> None:
        self._embedder, self._least = embedder, least

    def analyze_traces(
        self,
        conversations: Iterable[Conversation],
        *,
        volume: str = "",
        known: Mapping[str, Sequence[str]] | None = None,
    ) -> list[Pattern]:
        """Return the goals that repeat, the most frequent first.

        Args:
            conversations: of one volume; of more than 100,000 the newest count.
            volume: becomes part of a new pattern's id.
            known: opening traces of the patterns known so far, by id: a pattern that grew keeps its id.
        """
        asked = sorted((one for one in conversations if one.goal.strip()), key=lambda one: one.trace_id)[-MOST_GOALS:]
        if len(asked) < self._least:
            return []
        vectors, factor = self._vectors(asked)
        leader, merge = thresholds(len(asked))
        labels = cluster(vectors, leader=leader * factor, merge=merge * factor)
        found = self._patterns(asked, vectors, labels)
        ids = _name([pattern.trace_ids for pattern in found], volume, known or {})
        named = [
            Pattern(pattern_id, pattern.members, pattern.centre, pattern.central)
            for pattern_id, pattern in zip(ids, found, strict=True)
        ]
        return sorted(named, key=lambda pattern: (-pattern.count, pattern.pattern_id))

    def _vectors(self, asked: list[Conversation]) -> tuple[Floats, float]:
        """Return a vector for each goal, and the factor of the thresholds that goes with them."""
        goals = [one.goal for one in asked]
        plain = embed_goals(goals, [one.tools for one in asked])
        if self._embedder is None:
            return plain, 1.0
        try:
            frame = _Frame.of(self._embedder)
            embedded = frame.fit(self._embedder.embed(goals))
        except Exception as error:  # noqa: BLE001 - another package's code, or an API: a night goes by words then
            log.warning("The embedder failed (%s); goals are grouped by words alone.", _said(error))
            return plain, 1.0
        return np.hstack([EMBEDDED_SHARE**0.5 * embedded, (1 - EMBEDDED_SHARE) ** 0.5 * plain]), frame.factor

    def _patterns(self, asked: list[Conversation], vectors: Floats, labels: npt.NDArray[np.int64]) -> list[Pattern]:
        centres, sizes = means(vectors, labels)
        order = np.argsort(labels, kind="stable")
        ends = np.cumsum(sizes)
        return [
            _pattern(asked, vectors, order[ends[group] - sizes[group] : ends[group]], centres[group])
            for group in np.flatnonzero(sizes >= self._least)
        ]


def _said(error: Exception) -> str:
    return error.message if isinstance(error, LlmosError) else type(error).__name__


def thresholds(goals: int) -> tuple[float, float]:
    """Return the leader's and the merging threshold for this many goals; see `SMALL` and `LARGE`."""
    place = float(np.clip(np.log(max(goals, 1) / SMALL[0]) / np.log(LARGE[0] / SMALL[0]), 0, 1))
    return SMALL[1] + place * (LARGE[1] - SMALL[1]), SMALL[2] + place * (LARGE[2] - SMALL[2])


def _pattern(asked: list[Conversation], vectors: Floats, places: npt.NDArray[np.intp], centre: Floats) -> Pattern:
    central = np.argsort(-(vectors[places] @ centre), kind="stable")
    return Pattern("", tuple(asked[place] for place in places), centre, tuple(central.tolist()))


def _name(groups: Sequence[Sequence[str]], volume: str, known: Mapping[str, Sequence[str]]) -> list[str]:
    """Return an id for each group: that of the known pattern with which it shares most, else one of its own."""
    home = {trace_id: pattern_id for pattern_id, members in known.items() for trace_id in members}
    shared: dict[tuple[int, str], int] = {}
    for place, members in enumerate(groups):
        for trace_id in members:
            if trace_id in home:
                shared[place, home[trace_id]] = shared.get((place, home[trace_id]), 0) + 1
    names: dict[int, str] = {}
    for (place, pattern_id), _ in sorted(shared.items(), key=lambda item: (-item[1], item[0])):
        if place not in names and pattern_id not in names.values():
            names[place] = pattern_id
    taken = set(known) | set(names.values())
    for place, members in enumerate(groups):
        if place not in names:
            names[place] = next(name for name in _fresh(volume, members) if name not in taken)
            taken.add(names[place])
    return [names[place] for place in range(len(groups))]


def _fresh(volume: str, members: Sequence[str]) -> Iterable[str]:
    """Yield ids made of the volume and the oldest member; of the next one where that id is taken."""
    return (f"p-{hashlib.sha256(f'{volume} {member}'.encode()).hexdigest()[:16]}" for member in members)


@dataclass(frozen=True, slots=True)
class _Frame:
    """How an embedder's cosines compare with ours: the mean of its vectors, and a factor for the thresholds.

    Models differ widely (two unrelated goals have a cosine of .1 in one and .75 in another), so each is measured on
    pairs that mean the same.
    """

    mean: Floats
    factor: float

    @classmethod
    def of(cls, embedder: Embedder) -> _Frame:
        """Measure an embedder."""
        rows = _unit(np.asarray(embedder.embed([text for pair in _PAIRS for text in pair]), dtype=np.float32))
        mean = rows.mean(axis=0)
        centred = _unit(rows - mean)
        same = float(np.mean(np.sum(centred[0::2] * centred[1::2], axis=1)))
        factor = EMBEDDED_SHARE * same / _PAIR_COSINE + (1 - EMBEDDED_SHARE)
        return cls(mean, float(np.clip(factor, 0.6, 1.4)))

    def fit(self, rows: Floats) -> Floats:
        """Return the rows without the mean, at length 1."""
        return _unit(_unit(np.asarray(rows, dtype=np.float32)) - self.mean)


_PAIR_COSINE = 0.6
"""Cosine that two wordings of one goal should have."""
_PAIRS = (
    ("How do I reset my password?", "I forgot my password and need a new one"),
    ("Summarise this report for the board", "write a short summary of the report for management"),
    ("Translate this letter into French", "please put the following letter in French"),
    ("Fix the failing unit test", "one of the tests breaks, can you repair it"),
    ("What will the weather be tomorrow?", "is it going to rain tomorrow"),
    ("Book a table for two tonight", "reserve a restaurant table for this evening, two people"),
    ("Write a SQL query for monthly sales", "I need the sales per month with SQL"),
    ("Plan a week of healthy dinners", "make me a meal plan for the week"),
    ("Explain how photosynthesis works", "how do plants turn light into energy"),
    ("Draft a job advert for a nurse", "write a posting to hire a nurse"),
    ("Convert this table to JSON", "turn the table below into a JSON file"),
    ("How much money is in my account?", "tell me the balance of my account"),
)


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-9))
    return unit
