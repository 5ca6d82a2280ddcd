"""What our search is compared with, each behind the same call: a query and a limit give ids, best first."""

from __future__ import annotations

import importlib.util
import math
import re
import sqlite3
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from benchmarks._skill_data import ANALYZER, Ranking
from llmos_lite.core.skills.format import Skill


def rankings(skills: Sequence[Skill]) -> Mapping[str, Ranking]:
    """Return every reference by its name; one whose package is not there is left out, and a line says so."""
    made: dict[str, Ranking] = {
        "the seed's substrings": SeedScoring(skills).rank,
        "plain BM25": PlainBm25(skills).rank,
        "SQLite FTS5 porter 10/5/1": Fts5(skills).rank,
    }
    for name, package, maker in (("tantivy .5/1/1", "tantivy", Tantivy), ("bm25s", "bm25s", Bm25s)):
        if importlib.util.find_spec(package):
            made[name] = maker(skills).rank
        else:
            print(f"{name} is not compared with: the package {package} is not installed (make dev)")
    return made


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


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
            words = _words(f"{skill.name} {skill.header} {skill.body}")
            lengths.append(len(words))
            for word, count in Counter(words).items():
                postings[word][number] = count
        mean = statistics.fmean(lengths)
        self._norms = [1.2 * (0.25 + 0.75 * length / mean) for length in lengths]
        self._postings = dict(postings)

    def rank(self, query: str, limit: int) -> list[str]:
        """Return the best ids."""
        scores: defaultdict[int, float] = defaultdict(float)
        for word in set(_words(query)):
            found = self._postings.get(word, {})
            idf = math.log1p((len(self._keys) - len(found) + 0.5) / (len(found) + 0.5))
            for number, count in found.items():
                scores[number] += idf * count * 2.2 / (count + self._norms[number])
        best = sorted(scores.items(), key=lambda one: -one[1])[:limit]
        return [self._keys[number] for number, _ in best]


class Fts5:
    """SQLite's full-text search: Porter's stemmer, name 10, header 5, body 1."""

    def __init__(self, skills: Sequence[Skill]) -> None:
        self._base = sqlite3.connect(":memory:")
        self._base.execute("create virtual table s using fts5(key unindexed, name, header, body, tokenize='porter')")
        rows = [(one.skill_id, one.name.replace("-", " "), one.header, one.body) for one in skills]
        self._base.executemany("insert into s values (?, ?, ?, ?)", rows)

    def rank(self, query: str, limit: int) -> list[str]:
        """Return the best ids."""
        asked = " OR ".join(f'"{word}"' for word in dict.fromkeys(_words(query)))
        found = self._base.execute(
            "select key from s where s match ? order by bm25(s, 0, 10, 5, 1) limit ?", (asked or '""', limit)
        )
        return [key for (key,) in found]


class Tantivy:
    """The search library tantivy: name .5, header 1, body 1, English stemming."""

    def __init__(self, skills: Sequence[Skill]) -> None:
        import tantivy  # noqa: PLC0415 - a dependency of this comparison only

        schema = tantivy.SchemaBuilder()
        schema.add_text_field("key", stored=True, tokenizer_name="raw")
        for field in ("name", "header", "body"):
            schema.add_text_field(field, tokenizer_name="en_stem")
        self._index = tantivy.Index(schema.build())
        writer = self._index.writer(heap_size=60_000_000, num_threads=1)
        for one in skills:
            name = one.name.replace("-", " ")
            writer.add_document(tantivy.Document(key=one.skill_id, name=name, header=one.header, body=one.body))
        writer.commit()
        self._index.reload()
        self._searcher = self._index.searcher()

    def rank(self, query: str, limit: int) -> list[str]:
        """Return the best ids."""
        boosts = {"name": 0.5, "header": 1.0, "body": 1.0}
        asked = self._index.parse_query(" ".join(_words(query)), list(boosts), field_boosts=boosts)
        return [self._searcher.doc(place)["key"][0] for _, place in self._searcher.search(asked, limit).hits]


class Bm25s:
    """The library bm25s, over everything in one field, with our own stemmed terms."""

    def __init__(self, skills: Sequence[Skill]) -> None:
        import bm25s  # noqa: PLC0415 - a dependency of this comparison only

        self._keys = [skill.skill_id for skill in skills]
        self._retriever = bm25s.BM25()
        texts = [ANALYZER.terms(f"{one.name} {one.header} {one.body}") for one in skills]
        self._retriever.index(texts, show_progress=False)

    def rank(self, query: str, limit: int) -> list[str]:
        """Return the best ids."""
        terms = ANALYZER.terms(query) or [""]
        places, scores = self._retriever.retrieve([terms], k=min(limit, len(self._keys)), show_progress=False)
        return [self._keys[place] for place, score in zip(places[0], scores[0], strict=True) if score > 0]
