"""Whether the right skill is among the first: recall, MRR and nDCG beside tantivy, SQLite, bm25s, BM25 and the seed.

On eval prompts (about 26 words, one skill each) and on long requests that are made here, in libraries of 50 to 2,000
public skills. Without the public data there is nothing to measure on, and a line says so.

A small library is drawn around some requests: those are sampled without repeats, the skills that they want are put in,
and skills drawn by chance fill it up. So many of a library's skills are wanted by one request or another, and are
siblings by one author: harder than one wanted skill among strangers, where recall@5 at 200 is 2 points higher. The
figure is the mean over libraries, and the unit column names their standard deviation. Nobody gets credit for a twin.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice

from benchmarks import Row
from benchmarks._rankers import rankings
from benchmarks._skill_data import (
    Drawn,
    Query,
    Ranking,
    data_folder,
    drawn,
    index,
    own_examples,
    public_queries,
    public_skills,
    quality,
    three_in_one,
)
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.search import search

OURS = "ours"
TANTIVY = "tantivy .5/1/1"
POOLS = {50: 10, 200: 20, 1_000: 3}
"""Skills in a library, and how many such libraries are drawn."""
ASKED, TASKS = 40, 20
"""Requests around which a library is drawn; a task wants 2.5 skills on average."""
POOL_TARGETS = {200: "ratio >= 1, value >= 0.94"}
TASK_SIZE, TASK_TARGET = 200, "ratio >= 1, value >= 0.88"


def run() -> Iterator[Row]:
    """Measure."""
    data = data_folder()
    skills, queries = list(public_skills(data)), list(public_queries(data))
    if not skills or not queries:
        print("search quality is not measured: there is no public data (LLMOS_BENCH_DATA)")
        return
    yield from _compared(f"eval prompts, {len(skills):,} skills", skills, queries, goal=0.02)
    yield from _compared(f"three eval prompts in one, {len(skills):,} skills", skills, three_in_one(queries), goal=0.02)
    cut, tasks = own_examples(skills)
    yield from _compared(f"tasks of own examples, {len(skills):,} skills", cut, tasks, goal=0.02)
    for size, draws in POOLS.items():
        libraries = drawn(skills, queries, size, ASKED)
        yield from _pools(f"eval prompts, {size:,} skills", libraries, draws, POOL_TARGETS.get(size, ""))
    libraries = drawn(cut, tasks, TASK_SIZE, TASKS)
    yield from _pools(f"tasks of own examples, {TASK_SIZE} skills", libraries, POOLS[TASK_SIZE], TASK_TARGET)


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


def _pools(what: str, libraries: Iterator[Drawn], draws: int, target: str) -> Iterator[Row]:
    """Compare the mean recall@5 of some libraries."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for library, asked in islice(libraries, draws):
        ranked = {OURS: ours(library), **rankings(library)}
        for name, rank in ranked.items():
            found[name].append(quality(rank, asked)["recall@5"])
    mine = found.pop(OURS)
    for name, theirs in found.items():
        goal, unit = target if name == TANTIVY else "", f"±{statistics.stdev(mine):.2f}"
        yield Row(
            f"recall@5, {what} ({name})", statistics.fmean(mine), statistics.fmean(theirs), unit=unit, target=goal
        )
