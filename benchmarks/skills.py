"""Choosing skills: how long it takes, and how often the right one is among the first.

Quality is measured on public skills and queries when they are there (`LLMOS_BENCH_DATA`, or `../shared/data`): 1,991
skills, 342 eval prompts with the one skill they belong to, and requests of CLINC150 that need none. Times are CPU
times, the best of three rounds; without the data the libraries are made of the starter skills' lines.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import random
import re
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import Row
from llmos_lite.core.skills.abstain import THRESHOLD, evidence, is_side_request
from llmos_lite.core.skills.fields import Document
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.library import document
from llmos_lite.core.skills.search import SkillIndex, search
from llmos_lite.core.skills.starter import starter_skills
from llmos_lite.core.skills.text import Analyzer

ANALYZER = Analyzer()
ROUNDS = 3
LIMIT = 3
QUERIES = 200
LINES = 45
TANTIVY_RECALL, TANTIVY_NDCG = 0.763, 0.659
"""Reference, boosts .5/1/1, on the same 1,991 skills and 342 queries; measured once, elsewhere."""

Ranking = Callable[[str, int], list[str]]
SIDE_REQUESTS = (
    "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.",
    "### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history.",
    "### Task:\nSuggest 3-5 relevant follow-up questions that the user might naturally ask next in this conversation.",
)


@dataclass(frozen=True)
class Query:
    """A request and the skill it belongs to; empty for one that needs none."""

    text: str
    gold: str = ""


def run() -> Iterator[Row]:
    """Measure."""
    data = Path(os.environ.get("LLMOS_BENCH_DATA") or Path(__file__).parents[2] / "shared" / "data")
    skills = list(_public_skills(data)) or [Skill.parse(skill_id, text) for skill_id, text in starter_skills().items()]
    queries = list(_public_queries(data)) or [Query(skill.description) for skill in skills]
    for size, target in ((1_000, "value <= 0.2"), (10_000, "value <= 0.4")):
        yield from _speed(skills, queries, size, target)
    if (data / "skills_2k.jsonl.gz").exists():
        yield from _quality(skills, queries)
        yield from _small_libraries(skills, queries)
        yield from _abstaining(skills, queries, list(_intents(data)))


def _public_skills(data: Path) -> Iterator[Skill]:
    path = data / "skills_2k.jsonl.gz"
    if path.exists():
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                fields = {name: row.get(name) or "" for name in ("name", "description", "category", "body")}
                yield Skill(skill_id=row["id"], keywords=tuple(row.get("keywords") or ()), **fields)


def _public_queries(data: Path) -> Iterator[Query]:
    path = data / "skill_queries_dev.jsonl"
    if path.exists():
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        yield from (Query(row["query"], row["gold"][0]) for row in rows)


def _intents(data: Path) -> Iterator[Query]:
    path = data / "intents_dev.jsonl.gz"
    if path.exists():
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from (Query(json.loads(line)["text"]) for line in lines)


def _document(skill: Skill) -> Document:
    """Return what is searched, by the id of the data and the name of the skill."""
    named = Skill(skill_id=skill.name, name=skill.name)
    searched = document(skill)
    return Document(skill.skill_id, document(named).name, searched.header, searched.body)


def _index(skills: Iterable[Skill]) -> SkillIndex:
    return SkillIndex(ANALYZER).updated([_document(skill) for skill in skills])


# Time


def _speed(skills: Sequence[Skill], queries: Sequence[Query], size: int, target: str) -> Iterator[Row]:
    library, asked = _grown(skills, size), [query.text for query in queries][:QUERIES]
    started = time.process_time()
    index = _index(library)
    built = time.process_time() - started
    ours = _milliseconds(lambda query, limit: [hit.key for hit in search([index], query, limit)], asked)
    bm25 = _milliseconds(PlainBm25(library).rank, asked[::8])
    seed = _milliseconds(SeedScoring(library).rank, asked[::8])
    yield Row(f"choose from {size:,} skills (reference: plain BM25)", ours, bm25, unit="ms CPU", target=target)
    yield Row(f"choose from {size:,} skills (reference: the seed's substrings)", ours, seed, unit="ms CPU")
    if size == 10_000:
        changed = _milliseconds_of(lambda: index.updated([_document(library[size // 2])]))
        yield Row(f"index {size:,} skills", built, unit="s CPU", target="value <= 10")
        yield Row("index memory per skill", index.size / size / 1024, unit="KB", target="value <= 2.5")
        yield Row(f"one skill of {size:,} changes (reference: all of them)", changed, built * 1000, unit="ms CPU")


def _grown(skills: Sequence[Skill], size: int) -> list[Skill]:
    """Return a library of any size, of the same vocabulary and without repeats: skills of shuffled lines."""
    chance = random.Random(8420)  # noqa: S311 - the same library every time
    lines = [line for skill in skills for line in skill.body.splitlines() if line.strip()]
    return [
        Skill(
            skill_id=f"skill-{number}",
            name=f"skill-{number}",
            description=chance.choice(skills).description,
            body="\n".join(chance.choices(lines, k=LINES)),
        )
        for number in range(size)
    ]


def _milliseconds(rank: Ranking, queries: Sequence[str]) -> float:
    def all_queries() -> None:
        for query in queries:
            rank(query, LIMIT)

    return _milliseconds_of(all_queries) / len(queries)


def _milliseconds_of(work: Callable[[], object]) -> float:
    best = math.inf
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best * 1000


# Quality


def _quality(skills: Sequence[Skill], queries: Sequence[Query]) -> Iterator[Row]:
    index = _index(skills)
    ours = _measures(lambda query, limit: [hit.key for hit in search([index], query, limit)], queries)
    bm25 = _measures(PlainBm25(skills).rank, queries)
    seed = _measures(SeedScoring(skills).rank, queries)
    goals = (("recall@5", TANTIVY_RECALL + 0.02), ("nDCG@10", TANTIVY_NDCG))
    for place, (name, goal) in enumerate(goals):
        what = f"{name}, {len(skills):,} public skills"
        yield Row(f"{what} (reference: plain BM25)", ours[place], bm25[place], target=f"value >= {goal:.3f}")
        yield Row(f"{what} (reference: the seed's substrings)", ours[place], seed[place])


def _measures(rank: Ranking, queries: Sequence[Query]) -> tuple[float, float]:
    """Return recall@5 and nDCG@10; there is one right answer to each query."""
    ranks = [_rank_of(query.gold, rank(query.text, 10)) for query in queries]
    recall = statistics.fmean(place is not None and place < 5 for place in ranks)
    return recall, statistics.fmean(0 if place is None else 1 / math.log2(place + 2) for place in ranks)


def _rank_of(gold: str, found: Sequence[str]) -> int | None:
    return found.index(gold) if gold in found else None


def _small_libraries(skills: Sequence[Skill], queries: Sequence[Query], size: int = 200) -> Iterator[Row]:
    chance = random.Random(8420)  # noqa: S311 - the same libraries every time
    by_id = {skill.skill_id: skill for skill in skills}
    ours, bm25 = [], []
    for _ in range(10):
        asked = chance.sample(queries, 40)
        library = {query.gold: by_id[query.gold] for query in asked}
        while len(library) < size:
            other = chance.choice(skills)
            library[other.skill_id] = other
        index, plain = _index(library.values()), PlainBm25(list(library.values()))
        ours += [query.gold in _first(index, query.text) for query in asked]
        bm25 += [query.gold in plain.rank(query.text, 5) for query in asked]
    name = f"recall@5, {size} public skills (reference: plain BM25)"
    yield Row(name, statistics.fmean(ours), statistics.fmean(bm25), target="ratio >= 1, value >= 0.94")


def _abstaining(skills: Sequence[Skill], queries: Sequence[Query], intents: Sequence[Query]) -> Iterator[Row]:
    index = _index(skills)
    found = {query: _injected(index, query.text) for query in queries}
    kept = statistics.fmean(query.gold in keys for query, keys in found.items())
    everything = statistics.fmean(query.gold in _first(index, query.text) for query in queries)
    name = f"recall@5 after abstaining, {len(skills):,} skills (reference: never abstaining)"
    yield Row(name, kept, everything, unit="", target=f"value >= {everything - 0.05:.3f}")
    starter = _index(Skill.parse(skill_id, text) for skill_id, text in starter_skills().items())
    needless = random.Random(8420).sample(list(intents), 1000) if intents else []  # noqa: S311 - always the same
    for library, where in ((index, f"{len(skills):,} skills"), (starter, "starter skills")):
        if needless:
            silent = statistics.fmean(not _injected(library, query.text) for query in needless)
            yield Row(f"abstains on CLINC150, {where}", silent, unit="", target="value >= 0.8")
        aside = statistics.fmean(not _injected(library, text) for text in SIDE_REQUESTS)
        yield Row(f"abstains on titles, tags, follow-ups, {where}", aside, unit="", target="value >= 1")


def _first(index: SkillIndex, query: str) -> list[str]:
    return [hit.key for hit in search([index], query, 5)]


def _injected(index: SkillIndex, query: str) -> list[str]:
    """Return what would be used, as `SkillsManager` decides it."""
    hits = search([index], query, 5)
    if is_side_request(query) or not any(evidence(hit) >= THRESHOLD for hit in hits[:LIMIT]):
        return []
    return [hit.key for hit in hits if hit.score >= hits[0].score / 2]


# What we compare with


class SeedScoring:
    """The seed's first scoring: keywords, name and category as substrings of the query."""

    def __init__(self, skills: Sequence[Skill]) -> None:
        self._skills = skills

    def rank(self, query: str, limit: int) -> list[str]:
        """Return the best ids."""
        asked = query.lower()
        scored = [(self._score(skill, asked), skill.skill_id) for skill in self._skills]
        return [key for score, key in sorted(scored, key=lambda one: -one[0])[:limit] if score]

    @staticmethod
    def _score(skill: Skill, asked: str) -> int:
        score = sum(10 for keyword in skill.keywords if keyword.lower() in asked)
        score += 5 * (skill.name.lower() in asked)
        score += 3 * bool(skill.category and skill.category.lower() in asked)
        return score + sum(1 for word in skill.description.lower().split() if word in asked)


class PlainBm25:
    """BM25 (k1 1.2, b .75) over everything in one field, with posting lists in dictionaries and no stemming."""

    def __init__(self, skills: Sequence[Skill]) -> None:
        self._keys = [skill.skill_id for skill in skills]
        postings: defaultdict[str, dict[int, int]] = defaultdict(dict)
        lengths = []
        for number, skill in enumerate(skills):
            words = re.findall(r"\w+", f"{skill.name} {skill.header} {skill.body}".lower())
            lengths.append(len(words))
            for word, count in Counter(words).items():
                postings[word][number] = count
        mean = statistics.fmean(lengths)
        self._norms = [1.2 * (0.25 + 0.75 * length / mean) for length in lengths]
        self._postings = dict(postings)

    def rank(self, query: str, limit: int) -> list[str]:
        """Return the best ids."""
        scores: defaultdict[int, float] = defaultdict(float)
        for word in set(re.findall(r"\w+", query.lower())):
            found = self._postings.get(word, {})
            idf = math.log1p((len(self._keys) - len(found) + 0.5) / (len(found) + 0.5))
            for number, count in found.items():
                scores[number] += idf * count * 2.2 / (count + self._norms[number])
        best = sorted(scores.items(), key=lambda one: -one[1])[:limit]
        return [self._keys[number] for number, _ in best]
