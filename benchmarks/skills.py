"""Choosing skills: how long it takes, how much memory, and what a change costs. CPU times, the best of three rounds.

Without public data the libraries are made of the starter skills' lines. `LLMOS_BENCH_LARGE=0` leaves the library of
100,000 skills out, which takes some minutes and about a gigabyte to build.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from benchmarks import Row
from benchmarks._rankers import PlainBm25, SeedScoring, Tantivy
from benchmarks._skill_data import (
    LIMIT,
    Query,
    Ranking,
    data_folder,
    grown,
    index,
    milliseconds,
    milliseconds_of,
    public_queries,
    public_skills,
    searched,
    starters,
)
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.index import SkillIndex
from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.search import search
from llmos_lite.engines.signing import Signer
from llmos_lite.volumes.access import SYSTEM
from llmos_lite.volumes.manager import VolumeManager

QUERIES = 300
"""More than a server remembers the choice of."""
TARGETS = {1_000: "value <= 0.2", 10_000: "value <= 0.4"}
LARGE = 100_000


def run() -> Iterator[Row]:
    """Measure."""
    data = data_folder()
    skills = list(public_skills(data)) or starters()
    queries = list(public_queries(data)) or [Query(skill.description) for skill in skills]
    asked = [query.text for query in queries][:QUERIES]
    for size, target in TARGETS.items():
        yield from _speed(skills, asked, size, target)
    if os.environ.get("LLMOS_BENCH_LARGE") != "0":
        yield from _large(skills, asked)


def _speed(skills: Sequence[Skill], asked: Sequence[str], size: int, target: str) -> Iterator[Row]:
    library = grown(skills, size)
    started = time.process_time()
    made = index(library)
    built = time.process_time() - started
    ours = milliseconds(_search_in(made), asked)
    with _manager() as manager:
        whole = milliseconds(_selection(library, made, manager), asked)
    name = f"selection for one chat, {size:,} skills (reference: the search alone)"
    yield Row(name, whole, ours, unit="ms CPU", target=target)
    for name, rank in (("plain BM25", PlainBm25(library).rank), ("the seed's substrings", SeedScoring(library).rank)):
        yield Row(f"search {size:,} skills (reference: {name})", ours, milliseconds(rank, asked[::8]), unit="ms CPU")
    yield from _tantivy(library, asked, ours)
    if size == max(TARGETS):
        yield Row(f"index {size:,} skills", built, unit="s CPU", target="value <= 10")
        yield Row("index memory per skill", made.size / size / 1024, unit="KB", target="value <= 2.5")
        changed = milliseconds_of(lambda: made.updated([searched(library[size // 2])]))
        yield Row(f"one skill of {size:,} changes (reference: all)", changed, built * 1000, unit="ms CPU")


def _tantivy(library: Sequence[Skill], asked: Sequence[str], ours: float) -> Iterator[Row]:
    try:
        theirs = milliseconds(Tantivy(library).rank, asked)
    except ImportError:
        return
    yield Row(f"search {len(library):,} skills (reference: tantivy)", ours, theirs, unit="ms CPU")


def _search_in(made: SkillIndex) -> Ranking:
    return lambda query, limit: [hit.key for hit in search([made], query, limit)]


def _selection(library: Sequence[Skill], made: SkillIndex, manager: SkillsManager) -> Ranking:
    """Return what a chat does: choose, decide whether anything fits, name the commits."""
    by_id = MappingProxyType({skill.skill_id: skill for skill in library})
    known = [Library(SYSTEM, "0" * 40, by_id, made)]
    return lambda query, limit: [one.skill.skill_id for one in manager.context(known, query, limit).used]


@contextmanager
def _manager() -> Iterator[SkillsManager]:
    with tempfile.TemporaryDirectory() as folder:
        volumes = VolumeManager(Path(folder), Signer.open(Path(folder) / "keys"))
        yield SkillsManager(volumes)
        volumes.close()


def _large(skills: Sequence[Skill], asked: Sequence[str]) -> Iterator[Row]:
    started = time.process_time()
    made = index(grown(skills, LARGE))
    built = time.process_time() - started
    times = sorted(_each(made, asked))
    p99 = times[int(len(times) * 0.99)]
    name = f"p99 of a search of {LARGE:,} skills (reference: p50)"
    yield Row(name, p99, statistics.median(times), unit="ms CPU", target="value <= 30")
    changed = milliseconds_of(lambda: made.updated([searched(skills[0])]))
    yield Row(f"one skill of {LARGE:,} changes (reference: all)", changed, built * 1000, unit="ms CPU")
    yield Row(f"index memory per skill, {LARGE:,} skills", made.size / LARGE / 1024, unit="KB", target="value <= 2.5")


def _each(made: SkillIndex, asked: Sequence[str]) -> Iterator[float]:
    for query in (*asked, *asked, *asked):
        started = time.process_time()
        search([made], query, LIMIT)
        yield (time.process_time() - started) * 1000
