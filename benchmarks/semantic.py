"""Choosing skills by meaning beside words: what each embedder adds, and what it costs.

Data and queries are those of `skills`. Nothing is measured without the data or without `make semantic`. Embedding 2,000
skills by the sentence model takes minutes of CPU; `LLMOS_BENCH_CACHE` names a folder that keeps their vectors.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from benchmarks import Row
from benchmarks._skill_data import (
    ANALYZER,
    LIMIT,
    SEED,
    Query,
    data_folder,
    drawn,
    index,
    intents,
    milliseconds,
    public_queries,
    public_skills,
    quality,
    searched,
)
from llmos_lite.core.skills.abstain import is_enough, is_side_request
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.index import SkillIndex
from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.search import Hit, search
from llmos_lite.core.skills.semantic import Semantics
from llmos_lite.engines.embedder import Embedder
from llmos_lite.engines.embedder_local import LocalEmbedder
from llmos_lite.engines.embedder_static import StaticEmbedder
from llmos_lite.engines.model_folder import packaged
from llmos_lite.engines.vectors import LocalVectors
from llmos_lite.volumes.access import SYSTEM

TANTIVY_RECALL, TANTIVY_NDCG = 0.763, 0.659
"""Reference, boosts .5/1/1, on the same skills and queries; `search_quality` measures it again."""
SMALL, ASKED, DRAWS = 200, 40, 20


@dataclass(frozen=True)
class Setting:
    """A library and what compares meanings in it; None for words alone."""

    name: str
    library: Library
    semantics: Semantics | None = None

    def hits(self, query: str, limit: int) -> list[Hit]:
        """Return the best skills."""
        close = None
        if self.semantics and (meaning := self.semantics.meaning_now([self.library], query, patience=10)):
            close = self.semantics.closeness([self.library], meaning)
        return search([self.library.index], query, limit, close=close)

    def rank(self, query: str, limit: int) -> list[str]:
        """Return the best ids."""
        return [hit.key for hit in self.hits(query, limit)]

    def used(self, query: str) -> list[str]:
        """Return what would be put into a context, as `SkillsManager` decides it."""
        hits = self.hits(query, 5)
        if is_side_request(query) or not any(is_enough(hit, partial(self._names, query, hit)) for hit in hits[:LIMIT]):
            return []
        return [hit.key for hit in hits if hit.score >= hits[0].score / 2]

    def _names(self, query: str, hit: Hit) -> bool:
        return set(ANALYZER.hashes(query)).issuperset(ANALYZER.hashes(self.library.skills[hit.key].name))


def run() -> Iterator[Row]:
    """Measure."""
    data = data_folder()
    skills, queries, unrelated = list(public_skills(data)), list(public_queries(data)), list(intents(data))
    if not skills or packaged() is None:
        return
    library, asked = library_of(skills, queries)
    needless = random.Random(SEED).sample(unrelated, 1000)  # noqa: S311 - always the same
    words = Setting("words", library)
    kept = os.environ.get("LLMOS_BENCH_CACHE")
    with tempfile.TemporaryDirectory() as fresh:
        folder = Path(kept or fresh)
        for embedder in (StaticEmbedder(LocalEmbedder(), folder), LocalEmbedder()):
            yield from _measured(words, embedder, folder, asked, needless)


def library_of(skills: Sequence[Skill], queries: Sequence[Query]) -> tuple[Library, list[Query]]:
    """Return the skills as a library, and the queries with the ids that they have there."""
    ids = {skill.skill_id: f"s{place}" for place, skill in enumerate(skills)}
    documents = [replace(searched(skill), key=ids[skill.skill_id]) for skill in skills]
    held = {ids[skill.skill_id]: replace(skill, skill_id=ids[skill.skill_id], version="1") for skill in skills}
    made = SkillIndex(ANALYZER).updated(documents)
    return Library(SYSTEM, "c", MappingProxyType(held), made), [replace(one, gold=ids[one.gold]) for one in queries]


def prepared(library: Library, embedder: Embedder, folder: Path) -> tuple[Semantics, float]:
    """Return what compares meanings in a library, all of it embedded, and the CPU seconds that took."""
    started = time.process_time()
    semantics = Semantics(embedder, LocalVectors(folder / embedder.name.replace(":", "-"), embedder.name))
    semantics.look_at([library])
    semantics.settle(timeout=3600)
    return semantics, time.process_time() - started


def _measured(
    words: Setting, embedder: Embedder, folder: Path, queries: Sequence[Query], needless: Sequence[Query]
) -> Iterator[Row]:
    kind = embedder.name.partition(":")[0].rstrip("1")
    semantics, seconds = prepared(words.library, embedder, folder)
    meant = replace(words, name=kind, semantics=semantics)
    count = len(words.library.skills)
    found = [quality(one.rank, queries) for one in (meant, words)]
    for name, goal in (("recall@5", TANTIVY_RECALL + 0.04), ("nDCG@10", TANTIVY_NDCG)):
        with_it, without = (measured[name] for measured in found)
        yield Row(
            f"{name}, {count:,} skills, {kind} (reference: words)", with_it, without, target=f"value >= {goal:.3f}"
        )
    yield _small(meant, words, queries)
    yield from _abstaining(meant, words, queries, needless)
    texts = [query.text for query in queries[:100]]
    plain, both = milliseconds(words.rank, texts), milliseconds(meant.rank, texts)
    yield Row(f"choose from {count:,}, {kind}, the query known (reference: words)", both, plain, unit="ms CPU")
    alone = milliseconds(lambda query, _limit: [str(embedder.embed([query]).shape)], texts)
    yield Row(f"embed a query, {kind}", alone, unit="ms CPU")
    yield Row(f"embed {count:,} skills, {kind}; less when they were kept", seconds, unit="s CPU")
    yield Row(f"vectors in memory, {kind}", 4 * embedder.dimension / 1024, unit="KB a skill")
    semantics.close()


def _small(meant: Setting, words: Setting, queries: Sequence[Query]) -> Row:
    """Compare small libraries, drawn as in `search_quality`; what a cosine is worth is measured on all skills."""
    found: list[list[float]] = [[], []]
    skills = list(words.library.skills.values())
    for library, asked in islice(drawn(skills, queries, SMALL, ASKED), DRAWS):
        held = MappingProxyType({skill.skill_id: skill for skill in library})
        small = replace(words.library, skills=held, index=index(library))
        for measured, setting in zip(found, (meant, words), strict=True):
            measured.append(quality(replace(setting, library=small).rank, asked)["recall@5"])
    name = f"recall@5, eval prompts, {SMALL} skills, {meant.name} (reference: words)"
    mine, theirs = map(statistics.fmean, found)
    return Row(name, mine, theirs, unit=f"±{statistics.stdev(found[0]):.2f}", target="ratio >= 1")


def _abstaining(meant: Setting, words: Setting, queries: Sequence[Query], needless: Sequence[Query]) -> Iterator[Row]:
    kept = [statistics.fmean(one.gold in setting.used(one.text) for one in queries) for setting in (meant, words)]
    yield Row(f"recall@5 after abstaining, {meant.name} (reference: words)", *kept)
    silent = [statistics.fmean(not setting.used(one.text) for one in needless) for setting in (meant, words)]
    yield Row(f"abstains on CLINC150, {meant.name} (reference: words)", *silent, target="ratio >= 1")
