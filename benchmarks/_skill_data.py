"""Public skills and queries to measure on, when they are there (`LLMOS_BENCH_DATA`, or `../shared/data`).

1,991 skills, 342 eval prompts with the one skill they belong to, and requests of CLINC150 that need none. Long requests
are made here: of eval prompts, or of the skills' own examples, which are then taken out of the skills.
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from llmos_lite.core.skills.fields import Document
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.index import SkillIndex
from llmos_lite.core.skills.library import document
from llmos_lite.core.skills.starter import starter_skills
from llmos_lite.core.skills.templates import ABOUT, SHIPPED, Question, Template
from llmos_lite.core.skills.text import Analyzer
from llmos_lite.volumes.skill_paths import FILE

ANALYZER = Analyzer()
LIMIT = 3
ROUNDS = 3
SEED = 8420
LINES = 45

Ranking = Callable[[str, int], list[str]]
Drawn: TypeAlias = "tuple[list[Skill], list[Query]]"
"""A library, and the requests around which it was drawn."""


@dataclass(frozen=True)
class Query:
    """A request, the skill it belongs to (empty for one that needs none) and, for a long one, further skills."""

    text: str
    gold: str = ""
    also: tuple[str, ...] = ()

    @property
    def wanted(self) -> tuple[str, ...]:
        """Return all skills that it belongs to."""
        return (self.gold, *self.also)


def data_folder() -> Path:
    """Return where the data lies, if it is there."""
    return Path(os.environ.get("LLMOS_BENCH_DATA") or Path(__file__).parents[2] / "shared" / "data")


def public_skills(data: Path) -> Iterator[Skill]:
    """Yield the public skills; none without data."""
    path = data / "skills_2k.jsonl.gz"
    if path.exists():
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                fields = {name: row.get(name) or "" for name in ("name", "description", "category", "body")}
                yield Skill(skill_id=row["id"], keywords=tuple(row.get("keywords") or ()), **fields)


def public_queries(data: Path) -> Iterator[Query]:
    """Yield the eval prompts; none without data."""
    path = data / "skill_queries_dev.jsonl"
    if path.exists():
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        yield from (Query(row["query"], row["gold"][0]) for row in rows)


def intents(data: Path, *, out_of_scope: bool = False) -> Iterator[Query]:
    """Yield requests of CLINC150, or only those that its authors call out of scope."""
    path = data / "intents_dev.jsonl.gz"
    if path.exists():
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                if row["intent"] is None or not out_of_scope:
                    yield Query(row["text"])


def starters() -> list[Skill]:
    """Return the starter skills."""
    return [Skill.parse(skill_id, text) for skill_id, text in starter_skills().items()]


def from_templates() -> Iterator[Skill]:
    """Yield the skills that the shipped templates make with every gap left at its default."""
    for folder in sorted(SHIPPED.iterdir()):
        questions = json.loads((folder / ABOUT).read_text(encoding="utf-8"))["values"]
        values = {gap: Question(**question) for gap, question in questions.items()}
        template = Template(template_id=folder.name, values=values, content=(folder / FILE).read_text(encoding="utf-8"))
        yield Skill.parse(folder.name, template.draft(folder.name, {}).content)


def searched(skill: Skill) -> Document:
    """Return what is searched, by the id of the data and the name of the skill."""
    named = Skill(skill_id=skill.name, name=skill.name)
    found = document(skill)
    return Document(skill.skill_id, document(named).name, found.header, found.body)


def index(skills: Iterable[Skill]) -> SkillIndex:
    """Return the index of some skills."""
    return SkillIndex(ANALYZER).updated([searched(skill) for skill in skills])


def grown(skills: Sequence[Skill], size: int) -> list[Skill]:
    """Return a library of any size, of the same vocabulary and without repeats: skills of shuffled lines."""
    chance = random.Random(SEED)  # noqa: S311 - the same library every time
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


def drawn(skills: Sequence[Skill], queries: Sequence[Query], size: int, asked: int) -> Iterator[Drawn]:
    """Yield libraries of `size` skills without end, each with the `asked` requests that it is drawn around."""
    chance = random.Random(SEED)  # noqa: S311 - the same libraries every time
    by_id = {skill.skill_id: skill for skill in skills}
    while True:
        some = chance.sample(list(queries), asked)
        library = {key: by_id[key] for query in some for key in query.wanted}
        while len(library) < size:
            other = chance.choice(skills)
            library[other.skill_id] = other
        yield list(library.values()), some


# Long requests

_SECTION = re.compile(
    r"^#{1,4}\s+(?P<title>[^\n]*(?:when to (?:use|activate)|example|trigger|use this skill|use cases|scenario)[^\n]*)\n"
    r"(?P<text>.*?)(?=^#{1,4}\s|\Z)",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
_TASK = (
    "You are given the input files in the folder data.",
    "Do not modify the input files.",
    "Write the final result to output/result.json and make sure that it is valid JSON.",
    "Round all numbers to two decimal places unless stated otherwise.",
    "Some of the values may be missing or malformed; handle these cases gracefully.",
    "Your solution will be checked by a script, so keep the names of the files exactly as given.",
    "You may install additional packages if you need them.",
    "Use the tools that are available in the environment and verify your work before you finish.",
    "If there are several possible answers, choose the most likely one and explain why.",
    "Return a summary of what you changed at the end.",
)


def three_in_one(queries: Sequence[Query]) -> list[Query]:
    """Return long requests: three eval prompts each, among sentences that every task has."""
    chance = random.Random(SEED)  # noqa: S311 - the same requests every time
    mixed = chance.sample(list(queries), len(queries))
    return [_task(chance, mixed[start : start + 3]) for start in range(0, len(mixed) - 2, 3)]


def _task(chance: random.Random, parts: Sequence[Query]) -> Query:
    around = chance.sample(_TASK, 5)
    text = " ".join([*around[:2], *(part.text for part in parts), *around[2:]])
    return Query(text, parts[0].gold, tuple(part.gold for part in parts[1:]))


def own_examples(skills: Sequence[Skill], count: int = 250) -> tuple[list[Skill], list[Query]]:
    """Return the skills without their examples, and requests made of the examples of one to four alike skills each."""
    cut = {skill.skill_id: _without_examples(skill) for skill in skills}
    asked = [Query(text, key) for key, (_, text) in cut.items() if text]
    words = [set(ANALYZER.terms(query.text)) for query in asked]
    chance = random.Random(SEED)  # noqa: S311 - the same requests every time
    made = []
    for place in chance.sample(range(len(asked)), min(count, len(asked))):
        alike = sorted(
            range(len(asked)), key=lambda other: -len(words[place] & words[other]) / (len(words[other]) + 40)
        )
        others = chance.sample([other for other in alike[:9] if other != place], chance.choice((0, 1, 1, 2, 2, 2, 3)))
        parts = [asked[number] for number in (place, *others)]
        made.append(_task(chance, [replace(part, text=_first_words(part.text, 110 // len(parts))) for part in parts]))
    return [skill for skill, _ in cut.values()], made


def _without_examples(skill: Skill) -> tuple[Skill, str]:
    found = [section for section in _SECTION.finditer(skill.body) if " not " not in f" {section['title'].lower()} "]
    text = " ".join(
        re.sub(r"```.*?```|[`*_>|#\-]+", " ", " ".join(one["text"] for one in found), flags=re.DOTALL).split()
    )
    body = skill.body
    for section in found:
        body = body.replace(section.group(), "\n")
    enough = len(text.split()) >= 12 and len(body) >= 600
    return (replace(skill, body=body), text) if enough else (skill, "")


def _first_words(text: str, count: int) -> str:
    return " ".join(text.split()[:count])


# Measures


def quality(rank: Ranking, queries: Sequence[Query]) -> dict[str, float]:
    """Return recall@1, @5 and @10, MRR@10 and nDCG@10."""
    found = [(set(query.wanted), rank(query.text, 10)) for query in queries]
    measured = {
        f"recall@{cut}": statistics.fmean(len(gold & set(keys[:cut])) / len(gold) for gold, keys in found)
        for cut in (1, 5, 10)
    }
    measured["MRR@10"] = statistics.fmean(
        max((1 / place for place, key in enumerate(keys, 1) if key in gold), default=0.0) for gold, keys in found
    )
    return measured | {"nDCG@10": statistics.fmean(_ndcg(gold, keys) for gold, keys in found)}


def _ndcg(gold: set[str], keys: Sequence[str]) -> float:
    gained = sum(1 / math.log2(place + 2) for place, key in enumerate(keys) if key in gold)
    return gained / sum(1 / math.log2(place + 2) for place in range(min(10, len(gold))))


def milliseconds(rank: Ranking, queries: Sequence[str]) -> float:
    """Return the CPU time of one query."""

    def all_queries() -> None:
        for query in queries:
            rank(query, LIMIT)

    return milliseconds_of(all_queries) / len(queries)


def milliseconds_of(work: Callable[[], object]) -> float:
    """Return the CPU time of some work, the best of three rounds."""
    best = math.inf
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best * 1000
