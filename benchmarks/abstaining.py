"""No skill for what needs none: small talk, out-of-scope requests, and what clients send on the side.

What is false here is an injected skill. The rule was fitted on eval prompts, phrases quoted in descriptions, CLINC150
and the first halves of the side calls and the short requests; the other halves, and the requests in other languages,
were only measured.
"""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from benchmarks import Row
from benchmarks._foreign import FOREIGN
from benchmarks._short_requests import DEV, HELD
from benchmarks._side_calls import CHIT_CHAT, FITTED, HELD_OUT, HELD_TALKS, TALKS, calls
from benchmarks._skill_data import (
    LIMIT,
    SEED,
    Query,
    data_folder,
    from_templates,
    index,
    intents,
    public_queries,
    public_skills,
    starters,
)
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.index import SkillIndex
from llmos_lite.core.skills.library import Library, document
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.search import search
from llmos_lite.core.skills.text import Analyzer
from llmos_lite.engines.signing import Signer
from llmos_lite.volumes.access import SYSTEM
from llmos_lite.volumes.manager import VolumeManager

SAMPLE = 1000

Injected = Callable[[str], list[str]]


def run() -> Iterator[Row]:
    """Measure."""
    data = data_folder()
    skills, queries = list(public_skills(data)), list(public_queries(data))
    with tempfile.TemporaryDirectory() as folder:
        volumes = VolumeManager(Path(folder), Signer.open(Path(folder) / "keys"))
        manager = SkillsManager(volumes)
        if skills and queries:
            where = f"{len(skills):,} skills"
            yield _recall(manager, skills, queries, where)
            yield from _silence(_injecting(manager, index(skills), skills), data, where)
        made = SkillIndex(Analyzer()).updated(map(document, starters()))
        yield from _silence(_injecting(manager, made, starters()), data, "starter skills")
        yield from _everyday(manager, [*starters(), *from_templates()])
        volumes.close()


def _injecting(manager: SkillsManager, made: SkillIndex, skills: Sequence[Skill], limit: int = LIMIT) -> Injected:
    """Return what a chat would get, by the real decision: as in a volume, the id of a skill is its name."""
    named = {skill.skill_id: replace(skill, skill_id=skill.name, version=skill.skill_id) for skill in skills}
    known = [Library(SYSTEM, "0" * 40, MappingProxyType(named), made)]
    return lambda query: [scored.skill.version for scored in manager.context(known, query, limit).used]


def _recall(manager: SkillsManager, skills: Sequence[Skill], queries: Sequence[Query], where: str) -> Row:
    made = index(skills)
    injecting = _injecting(manager, made, skills, 5)
    kept = statistics.fmean(query.gold in injecting(query.text) for query in queries)
    first = statistics.fmean(query.gold in [hit.key for hit in search([made], query.text, 5)] for query in queries)
    name = f"recall@5 after abstaining, {where} (reference: never abstaining)"
    return Row(name, kept, first, target=f"value >= {first - 0.05:.3f}")


def _everyday(manager: SkillsManager, skills: Sequence[Skill]) -> Iterator[Row]:
    """Say how many short requests get a skill that would do; the reference is the first three without abstaining."""
    made = SkillIndex(Analyzer()).updated(map(document, skills))
    injecting = _injecting(manager, made, skills)
    for half, asked in (("fitted", DEV), ("held out", HELD)):
        kept = statistics.fmean(not set(good).isdisjoint(injecting(text)) for text, good in asked.items())
        first = statistics.fmean(
            not {hit.key for hit in search([made], text, LIMIT)}.isdisjoint(good) for text, good in asked.items()
        )
        yield Row(f"short requests that get their skill, {half}, starter skills and templates", kept, first)


def _silence(injecting: Injected, data: Path, where: str) -> Iterator[Row]:
    chance = random.Random(SEED)  # noqa: S311 - always the same
    every, outside = list(intents(data)), list(intents(data, out_of_scope=True))
    if every:
        yield _silent("CLINC150", [query.text for query in chance.sample(every, SAMPLE)], injecting, where)
        yield _silent("CLINC150, out of scope", [query.text for query in outside], injecting, where)
    yield _silent("small talk", CHIT_CHAT, injecting, where)
    yield _silent("side calls, fitted", [text for _, text in calls(FITTED, TALKS)], injecting, where)
    yield _silent("side calls, held out", [text for _, text in calls(HELD_OUT, HELD_TALKS)], injecting, where)
    for language, texts in FOREIGN.items():
        yield _silent(f"{language} requests", texts, injecting, where)


def _silent(what: str, texts: Sequence[str], injecting: Injected, where: str) -> Row:
    silent = statistics.fmean(not injecting(text) for text in texts)
    return Row(f"abstains on {what}, {where}", silent, target="value >= 0.9")
