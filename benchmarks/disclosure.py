"""Texts, a catalog, or both: what a context costs, and how often the right skill is within reach of the model.

On the public skills and eval prompts (`LLMOS_BENCH_DATA`, or `../shared/data`) and on the starter skills. A skill is
within reach when it stands in the context as a text or an entry; tokens are those of the system prompt and of the
tools, by our own estimate, in the mean. The reference is texts alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from benchmarks import Row
from benchmarks._skill_data import Query, public_queries, public_skills
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.chat.choice import Chooser
from llmos_lite.core.chat.chosen import Choice
from llmos_lite.core.chat.conversation import Conversation
from llmos_lite.core.chat.disclosure import Disclosure
from llmos_lite.core.skills.format import Skill, estimate_tokens
from llmos_lite.core.skills.index import SkillIndex
from llmos_lite.core.skills.library import Library, document
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.ranking import LIMIT
from llmos_lite.core.skills.starter import starter_skills
from llmos_lite.core.skills.text import Analyzer
from llmos_lite.volumes.access import SYSTEM
from llmos_lite.volumes.manager import VolumeManager

BUDGET = 4000
SMALL = 200
LONGER = 4


class _Shelved(SkillsManager):
    """Skills that are in memory and in no volume."""

    def __init__(self, skills: Sequence[Skill]) -> None:
        super().__init__(VolumeManager.__new__(VolumeManager))
        placed = {skill.skill_id: replace(skill, volume=str(SYSTEM), version="0" * 40) for skill in skills}
        index = SkillIndex(Analyzer()).updated([document(skill) for skill in placed.values()])
        self._all = [Library(SYSTEM, "0" * 40, MappingProxyType(placed), index)]

    def in_memory(self, actor: Actor, team_id: str | None = None) -> list[Library] | None:
        """Return them."""
        del actor, team_id
        return self._all


@dataclass(frozen=True)
class Measured:
    """What contexts cost and hold: tokens in the mean, and shares of the prompts."""

    tokens: float
    reach: float
    with_tools: float


async def _measured(skills: Sequence[Skill], queries: Sequence[Query], disclosure: Disclosure) -> Measured:
    chooser = Chooser(_Shelved(skills), budget_tokens=BUDGET)
    alice, talk = Actor("alice"), Conversation("")
    found = [
        (query.gold, await chooser.choose(alice, query.text, None, LIMIT, talk, disclosure=disclosure))
        for query in queries
    ]
    return Measured(
        statistics.mean(_tokens(choice) for _, choice in found),
        statistics.mean(_reaches(choice, gold) for gold, choice in found),
        statistics.mean(choice.box is not None for _, choice in found),
    )


def _tokens(choice: Choice) -> int:
    tools = [(tool.name, tool.description, tool.parameters) for tool in choice.box.tools] if choice.box else []
    return estimate_tokens(choice.system) + (estimate_tokens(json.dumps(tools)) if tools else 0)


def _reaches(choice: Choice, gold: str) -> bool:
    return any(use.skill_id == gold for use in choice.context) or f"{SYSTEM}/{gold}" in choice.offered


def run() -> Iterator[Row]:
    """Measure."""
    data = Path(os.environ.get("LLMOS_BENCH_DATA") or Path(__file__).parents[2] / "shared" / "data")
    starter = [Skill.parse(skill_id, text) for skill_id, text in starter_skills().items()]
    own = [Query(skill.description.split(". Use")[0], skill.skill_id) for skill in starter]
    yield from _rows("starter skills", starter, own)
    skills, queries = list(public_skills(data)), list(public_queries(data))
    if skills:
        yield from _rows(f"{SMALL} skills", *_sample(skills, queries))
        yield from _rows(f"{len(skills):,} skills", skills, queries)
        longer = [replace(skill, body=f"{skill.body}\n\n" * LONGER) for skill in skills]
        yield from _rows(f"{len(skills):,} skills, {LONGER} times as long", longer, queries)


def _sample(skills: Sequence[Skill], queries: Sequence[Query]) -> tuple[list[Skill], list[Query]]:
    """Return a small library, half of whose skills have a prompt, and those prompts."""
    chance = random.Random(1)  # noqa: S311 - the same library every time
    gold = {query.gold for query in queries}
    chosen = set(chance.sample(sorted(gold), SMALL // 2))
    others = chance.sample([skill for skill in skills if skill.skill_id not in gold], SMALL - len(chosen))
    return [
        *(skill for skill in skills if skill.skill_id in chosen),
        *others,
    ], [query for query in queries if query.gold in chosen]


def _rows(name: str, skills: Sequence[Skill], queries: Sequence[Query]) -> Iterator[Row]:
    ids = {skill.skill_id: f"skill-{place}" for place, skill in enumerate(skills)}
    named = [replace(skill, skill_id=ids[skill.skill_id]) for skill in skills]
    asked = [Query(query.text, ids.get(query.gold, "")) for query in queries]
    texts, auto, listed = (
        asyncio.run(_measured(named, asked, mode)) for mode in (Disclosure.BODIES, Disclosure.AUTO, Disclosure.CATALOG)
    )
    yield Row(f"{name}: tokens of a context, auto / texts alone", auto.tokens, texts.tokens, target="ratio <= 1.3")
    yield Row("  the right skill within reach", auto.reach, texts.reach, target="ratio >= 1")
    yield Row("  contexts with tools", auto.with_tools)
    yield Row("  a catalog alone: tokens", listed.tokens, texts.tokens)
    yield Row("  a catalog alone: within reach", listed.reach, texts.reach)
