"""Whether the right skill is among the first: recall, MRR and nDCG beside tantivy, SQLite, bm25s, BM25 and the seed.

On eval prompts (about 26 words, one skill each) and on long requests that are made here, in libraries
of 50 to 2,000 public skills. Without the public data there is nothing to measure on, and a line says so.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Mapping, Sequence

from benchmarks import Row
from benchmarks._rankers import rankings
from benchmarks._skill_data import (
    SEED,
    Query,
    Ranking,
    data_folder,
    index,
    own_examples,
    public_queries,
    public_skills,
    quality,
    three_in_one,
)
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.search import search

TANTIVY = "tantivy .5/1/1"
SEED_SCORING = "the seed's substrings"
POOLS = {50: 10, 200: 10, 1_000: 3}
"""Skills in a library, and how many such libraries are drawn."""
ASKED = 40
POOL_TARGETS = {200: "ratio >= 1, value >= 0.94"}


def run() -> Iterator[Row]:
    """Measure."""
    data = data_folder()
    skills, queries = list(public_skills(data)), list(public_queries(data))
    if not skills or not queries:
        print("search quality is not measured: there is no public data (LLMOS_BENCH_DATA)")
        return
    yield from _compared(f"eval prompts, {len(skills):,} skills", skills, queries, goal=0.02)
    yield from _compared(f"three eval prompts in one, {len(skills):,} skills", skills, three_in_one(queries), goal=0.02)
    yield from _compared(f"tasks of own examples, {len(skills):,} skills", *own_examples(skills), goal=0.02)
    for size, draws in POOLS.items():
        yield from _pools(skills, queries, size, draws)


def ours(skills: Sequence[Skill]) -> Ranking:
    """Return our search over some skills."""
    made = index(skills)
    return lambda query, limit: [hit.key for hit in search([made], query, limit)]


def _compared(what: str, skills: Sequence[Skill], queries: Sequence[Query], *, goal: float) -> Iterator[Row]:
    """Compare every measure with tantivy, and recall@5 with all others, too."""
    mine = quality(ours(skills), queries)
    others = {name: quality(rank, queries) for name, rank in rankings(skills).items()}
    reference = TANTIVY if TANTIVY in others else "plain BM25"
    for measure, value in mine.items():
        least = others[reference][measure] + goal if measure == "recall@5" else others[reference][measure]
        yield Row(f"{measure}, {what} ({reference})", value, others[reference][measure], target=f"value >= {least:.3f}")
    for name, measured in others.items():
        if name != reference:
            yield Row(f"recall@5, {what} ({name})", mine["recall@5"], measured["recall@5"])
            yield Row(f"nDCG@10, {what} ({name})", mine["nDCG@10"], measured["nDCG@10"])


def _pools(skills: Sequence[Skill], queries: Sequence[Query], size: int, draws: int) -> Iterator[Row]:
    """Compare recall@5 in small libraries, each drawn around the skills of some queries."""
    chance = random.Random(SEED)  # noqa: S311 - the same libraries every time
    mine: list[float] = []
    others: list[Mapping[str, float]] = []
    for _ in range(draws):
        asked = chance.sample(list(queries), ASKED)
        library = _drawn(chance, skills, asked, size)
        mine.append(quality(ours(library), asked)["recall@5"])
        ranked = rankings(library)
        others.append({name: quality(rank, asked)["recall@5"] for name, rank in ranked.items() if name != SEED_SCORING})
    for name in others[0]:
        what = f"recall@5, eval prompts, {size:,} skills ({name})"
        target = POOL_TARGETS.get(size, "") if name == TANTIVY else ""
        yield Row(what, statistics.fmean(mine), statistics.fmean(one[name] for one in others), target=target)


def _drawn(chance: random.Random, skills: Sequence[Skill], asked: Sequence[Query], size: int) -> list[Skill]:
    by_id = {skill.skill_id: skill for skill in skills}
    library = {query.gold: by_id[query.gold] for query in asked}
    while len(library) < size:
        other = chance.choice(skills)
        library[other.skill_id] = other
    return list(library.values())
