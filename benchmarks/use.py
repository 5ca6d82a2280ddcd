"""Search that gets better with use: what half of each skill's queries, as history, does for the other half.

The queries of each public skill are split by chance, three times; one half counts as goals of traces in which the
skill helped, the other is searched. History and queries of a skill come from one author here, so real use gains less.
Times are CPU times, the best of three rounds; without the data of `skills` only these are taken.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from benchmarks import Row
from benchmarks._skill_data import (
    ANALYZER,
    LIMIT,
    Query,
    index,
    intents,
    milliseconds,
    milliseconds_of,
    public_queries,
    public_skills,
    quality,
)
from llmos_lite.core.skills.asked import AskedBy, AskedIndex, Goal
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.search import search
from llmos_lite.core.skills.starter import starter_skills
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.engines.signing import Signer
from llmos_lite.volumes.access import SYSTEM
from llmos_lite.volumes.manager import VolumeManager

SEEDS = (1, 2, 3)
MANY_GOALS = 4_000


@dataclass(frozen=True)
class Split:
    """Queries that count as history, those that are searched, and those of skills that have no history."""

    history: list[Query]
    others: list[Query]
    without: list[Query]


def run() -> Iterator[Row]:
    """Measure."""
    data = Path(os.environ.get("LLMOS_BENCH_DATA") or Path(__file__).parents[2] / "shared" / "data")
    skills = list(public_skills(data)) or [Skill.parse(skill_id, text) for skill_id, text in starter_skills().items()]
    queries = list(public_queries(data)) or [Query(skill.description, skill.skill_id) for skill in skills]
    library = Library(SYSTEM, "", MappingProxyType({skill.skill_id: skill for skill in skills}), index(skills))
    splits = [_split(queries, seed) for seed in SEEDS]
    if (data / "skills_2k.jsonl.gz").exists():
        yield from _quality(library, splits)
        yield from _abstaining(library, splits[0], list(intents(data)))
    yield from _times(library, splits[0], [query.text for query in queries])


def _split(queries: Iterable[Query], seed: int) -> Split:
    chance = random.Random(seed)  # noqa: S311 - the same halves every time
    by_skill: defaultdict[str, list[Query]] = defaultdict(list)
    for query in queries:
        by_skill[query.gold].append(query)
    split = Split([], [], [])
    for group in by_skill.values():
        chance.shuffle(group)
        half = len(group) // 2
        split.history.extend(group[:half])
        (split.others if half else split.without).extend(group[half:])
    return split


def _recall_and_ndcg(rank: Callable[[str, int], list[str]], queries: Sequence[Query]) -> tuple[float, float]:
    measured = quality(rank, queries)
    return measured["recall@5"], measured["nDCG@10"]


def _view(history: Sequence[Query]) -> AskedIndex:
    now = now_ms()
    goals = (Goal(f"{place:026}", str(SYSTEM), one.gold, one.text, now, 1.0) for place, one in enumerate(history))
    return AskedIndex.empty(ANALYZER).updated(goals)


def _rank(library: Library, view: AskedIndex | None) -> Callable[[str, int], list[str]]:
    extra = AskedBy([library], [view], now_ms()) if view is not None else None
    return lambda query, limit: [hit.key for hit in search([library.index], query, limit, extra=extra)]


# Quality


def _quality(library: Library, splits: Sequence[Split]) -> Iterator[Row]:
    views = [_view(split.history) for split in splits]
    parts: dict[str, tuple[Callable[[Split], list[Query]], str]] = {
        "the other half": (lambda split: split.others, "value >= 0.85"),
        "all queries but the history": (lambda split: split.others + split.without, "ratio > 1"),
        "queries of skills without history": (lambda split: split.without, "ratio >= 0.98"),
    }
    for name, (part, target) in parts.items():
        after = [_recall_and_ndcg(_rank(library, view), part(split)) for view, split in zip(views, splits, strict=True)]
        before = [_recall_and_ndcg(_rank(library, None), part(split)) for split in splits]
        for place, measure in enumerate(("recall@5", "nDCG@10")):
            means = [statistics.fmean(one[place] for one in some) for some in (after, before)]
            yield Row(f"{measure} with use, {name} (reference: without)", *means, target="" if place else target)


def _abstaining(library: Library, split: Split, intents: Sequence[Query]) -> Iterator[Row]:
    view = _view(split.history)
    needless = random.Random(8420).sample(list(intents), 1000) if intents else []  # noqa: S311 - always the same
    with _manager() as manager:
        kept = [
            statistics.fmean(query.gold in _used(manager, library, asked, query) for query in split.others)
            for asked in ([view], [])
        ]
        yield Row("right skill in the context with use, the other half (reference: without)", *kept, target="ratio > 1")
        if needless:
            silent = [
                statistics.fmean(not _used(manager, library, asked, query) for query in needless)
                for asked in ([view], [])
            ]
            yield Row("abstains on CLINC150 with use (reference: without)", *silent, target="ratio >= 0.98")


@contextmanager
def _manager() -> Iterator[SkillsManager]:
    with tempfile.TemporaryDirectory() as folder:
        volumes = VolumeManager(Path(folder), Signer.open(Path(folder) / "keys"))
        yield SkillsManager(volumes)
        volumes.close()


def _used(manager: SkillsManager, library: Library, asked: Sequence[AskedIndex], query: Query) -> list[str]:
    return [one.skill.skill_id for one in manager.ranking.ranked([library], query.text, 5, asked=asked)]


# Time


def _times(library: Library, split: Split, queries: Sequence[str]) -> Iterator[Row]:
    lines = [line for skill in library.skills.values() for line in skill.body.splitlines() if len(line) > LIMIT]
    chance = random.Random(8420)  # noqa: S311 - the same history every time
    ids = list(library.skills)
    many = [Query(f"{chance.choice(lines)} {chance.choice(lines)}", chance.choice(ids)) for _ in range(MANY_GOALS)]
    without = milliseconds(_rank(library, None), queries)
    for history in (split.history, many):
        view = _view(history)
        name = f"choose with {len(view.goals):,} goals (reference: without)"
        yield Row(name, milliseconds(_rank(library, view), queries), without, unit="ms CPU")
    one = Goal("new", str(SYSTEM), ids[0], "something quite new that nobody asked for before", now_ms(), 1.0)
    more = milliseconds_of(lambda: _view(many))
    name = f"one more outcome among {MANY_GOALS:,} (reference: all of them)"
    yield Row(name, milliseconds_of(lambda: view.updated([one])), more, unit="ms CPU", target="value <= 20")
