"""Why a skill was found, and why it would not be put into a context.

Points are counted anew from the texts, with the words that the search chose and their rarity; they add up to the score,
but for rounding (the index keeps weights in 7 bits).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from llmos_lite.core.skills.abstain import CLOSE, THRESHOLD, evidence, is_side_request, parts
from llmos_lite.core.skills.fields import K1, TYPICAL, WEIGHTS, B
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.library import Library, document
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.ranking import LIMIT, ScoredSkill
from llmos_lite.core.skills.text import QUERY_CHARACTERS, Analyzer

if TYPE_CHECKING:
    from llmos_lite.core.skills.asked import AskedIndex
    from llmos_lite.core.skills.matches import Floats
    from llmos_lite.core.skills.search import Bonus
    from llmos_lite.core.skills.segment import Hashes
    from llmos_lite.core.skills.semantic import Meaning

FIELDS = ("name", "header", "body")
MOST_RANKED = 1000
"""Hits of a query that are looked at."""

_ANALYZER = Analyzer()
_WORD = re.compile(r"\w{2,40}")


@dataclass(frozen=True, slots=True)
class Explanation:
    """What matched, and what comes of it.

    Args:
        fields: by field (`name`, `header`, `body`): points of each stemmed word of the query that stands there.
        pairs: points for words that are neighbours in the query and in the skill.
        asked: points for what was asked where it helped; negative where it did not.
        meaning: points for what it means, beside its words; negative for what is farther than most.
        total: the score.
        missing: stemmed words of the query that no field holds.
        coverage: share of the query's meaning (idf mass) that it covers, 0 to 1.
        header: the same for name, description, keywords and category.
        cut: the score that it needs beside the best hit; None when nothing is used at all.
        evidence: what spoke for and against using anything, by feature; of the first three hits.
        needed: the sum of evidence from which skills are used; the best of the first three counts.
        used: whether it would be put into a context that has room.
        code: why not: `shadowed`, `repeats`, `side_request`, `too_little`, `below_cut`, `unsafe` or `broken`; empty
            when used.
        reason: the same as a sentence.
        by: the volume, or volume and skill, that is used instead.
    """

    total: float = 0.0
    fields: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    pairs: float = 0.0
    asked: float = 0.0
    meaning: float = 0.0
    missing: tuple[str, ...] = ()
    coverage: float = 0.0
    header: float = 0.0
    cut: float | None = None
    evidence: Mapping[str, float] = field(default_factory=dict)
    needed: float = THRESHOLD
    used: bool = False
    code: str = ""
    reason: str = ""
    by: str = ""


class Explainer:
    """Explains the answer to one query.

    Args:
        manager: ranks.
        libraries: what is searched, the one that wins first.
        query: free text.
        asked: the goals that whoever asks profits from.
        meaning: of the query.
    """

    def __init__(
        self,
        manager: SkillsManager,
        libraries: Sequence[Library],
        query: str,
        asked: Sequence[AskedIndex] = (),
        meaning: Meaning | None = None,
    ) -> None:
        self._libraries, self._query = libraries, query[:QUERY_CHARACTERS]
        self._manager = manager
        self._indexes = {str(library.ref): library.index for library in libraries}
        self._chosen = manager.ranking.ranked(
            libraries, query, MOST_RANKED, only_fitting=False, asked=asked, meaning=meaning
        )
        every = manager.ranking.ranked(
            libraries, query, MOST_RANKED, only_fitting=False, shadowed=True, asked=asked, meaning=meaning
        )
        self._known = {_key(one.skill) for one in self._chosen}
        self._others = [one for one in every if _key(one.skill) not in self._known]
        self._idf = _rarity(libraries, self._query)
        self._evidence = {_key(one.skill): self._parts(one) for one in self._chosen[:LIMIT]}

    @property
    def items(self) -> list[ScoredSkill]:
        """Return every hit, best first, those among them that are not used; then the broken ones that it may mean."""
        ranked = sorted([*self._chosen, *self._others], key=lambda one: -one.score)
        return [*ranked, *(ScoredSkill(skill, 0.0, fits=False) for skill in self._broken())]

    def explain(self, scored: ScoredSkill) -> Explanation:
        """Explain one of the items."""
        skill = scored.skill
        hit = scored.hit
        if hit is None:
            return Explanation(code="broken", reason=f"It cannot be read: {skill.error}")
        fields = self._fields(skill)
        told = {word for found in fields.values() for word in found}
        own = sum(sum(found.values()) for found in fields.values())
        code, reason, by = self._verdict(scored)
        best = self._chosen[0].score if self._chosen and any(one.fits for one in self._chosen) else None
        return Explanation(
            total=round(scored.score, 2),
            fields=fields,
            pairs=round(max(0.0, scored.score - hit.asked - hit.meaning - own), 2) if self._has_pairs(skill) else 0.0,
            asked=round(hit.asked, 2),
            meaning=round(hit.meaning, 2),
            missing=tuple(word for word in self._words() if word not in told),
            coverage=round(hit.coverage, 3),
            header=round(hit.header, 3),
            cut=None if best is None else round(CLOSE * best, 2),
            evidence=self._evidence.get(_key(skill), {}),
            used=not code,
            code=code,
            reason=reason,
            by=by,
        )

    # Points

    def _words(self) -> list[str]:
        return list(dict.fromkeys(_ANALYZER.terms(self._query)))

    def _fields(self, skill: Skill) -> dict[str, dict[str, float]]:
        searched = document(skill)
        texts = zip(FIELDS, (searched.name, searched.header, searched.body), WEIGHTS, TYPICAL, strict=True)
        return {name: self._points(text, boost, typical) for name, text, boost, typical in texts}

    def _points(self, text: str, boost: float, typical: float) -> dict[str, float]:
        terms = _ANALYZER.terms(text)
        length = K1 * (1 - B + B * len(terms) / typical)
        found: dict[str, float] = {}
        for word in self._words():
            count, idf = terms.count(word), self._idf.get(word, 0.0)
            if count and idf:
                found[word] = round(idf * boost * (K1 + 1) * count / (count + length), 2)
        return found

    def _has_pairs(self, skill: Skill) -> bool:
        asked = set(pairwise(_ANALYZER.terms(self._query)))
        searched = document(skill)
        texts = (searched.name, searched.header, searched.body)
        return any(not asked.isdisjoint(pairwise(_ANALYZER.terms(text))) for text in texts)

    # Why not

    def _verdict(self, scored: ScoredSkill) -> tuple[str, str, str]:
        """Return code, sentence, and what is used instead."""
        skill = scored.skill
        if skill.shadowed_by:
            return "shadowed", f"The skill of this id in {skill.shadowed_by} is used instead.", skill.shadowed_by
        if skill.held:
            return "unsafe", f"A scanner holds it back ({', '.join(skill.held)}), and nobody has signed it off.", ""
        if other := self._repeated(skill):
            return "repeats", f"It says nearly the same as {other}, which comes first.", other
        return ("", "", "") if scored.fits else (*self._too_weak(scored.score), "")

    def _too_weak(self, score: float) -> tuple[str, str]:
        if is_side_request(self._query):
            return "side_request", "The query asks for something about the conversation itself: no skill is used."
        if not any(one.fits for one in self._chosen):
            return "too_little", self._too_little()
        cut = CLOSE * self._chosen[0].score
        return "below_cut", f"Its score {score:.2f} is below the cut of {cut:.2f}: {CLOSE:g} of the best hit's."

    def _too_little(self) -> str:
        most = max(self._evidence.values(), key=lambda one: one.get("sum", 0.0))
        shown = ", ".join(f"{name} {value:+.2f}" for name, value in most.items() if name != "sum" and value)
        return (
            f"The best evidence is {most.get('sum', 0.0):.2f} ({shown}), and {THRESHOLD:g} is needed: "
            "no skill is better than a wrong one."
        )

    def _parts(self, scored: ScoredSkill) -> dict[str, float]:
        if scored.hit is None:
            return {}
        named = set(self._words()).issuperset(_ANALYZER.terms(scored.skill.skill_id))
        found = parts(scored.hit, named=named) | {"sum": evidence(scored.hit, named=named)}
        return {name: round(value, 2) for name, value in found.items()}

    def _repeated(self, skill: Skill) -> str:
        """Return the better hit that a skill nearly repeats; empty when it is used itself, or repeats none."""
        from llmos_lite.core.skills.index import same_text  # noqa: PLC0415 - loads numpy

        if _key(skill) in self._known:
            return ""
        index = self._indexes[skill.volume]
        for one in self._chosen:
            if same_text(index, skill.skill_id, self._indexes[one.skill.volume], one.skill.skill_id):
                return f"{one.skill.volume}/{one.skill.skill_id}"
        return ""

    def _broken(self) -> Iterator[Skill]:
        """Yield the skills that cannot be used and whose id or text holds a word of the query."""
        asked = set(_WORD.findall(self._query.casefold()))
        for library in self._libraries:
            for skill in library.skills.values():
                if skill.error is not None:
                    text = f"{skill.skill_id} {skill.name} {skill.description}".casefold()
                    if not asked.isdisjoint(_WORD.findall(text)):
                        yield skill


class _Rarity:
    """Takes note of how rare the words are that a search chooses; adds no points."""

    def __init__(self) -> None:
        self.known: dict[int, float] = {}

    def __call__(self, terms: Hashes, idf: Floats) -> Mapping[tuple[int, str], Bonus]:
        self.known = dict(zip(terms.tolist(), idf.tolist(), strict=True))
        return {}


def _rarity(libraries: Sequence[Library], query: str) -> dict[str, float]:
    """Return the rarity of the words of a query that count, by stem."""
    from llmos_lite.core.skills.search import search  # noqa: PLC0415 - loads numpy

    noted = _Rarity()
    search([library.index for library in libraries], query, 1, extra=noted)
    words = zip(_ANALYZER.terms(query), _ANALYZER.hashes(query), strict=True)
    return {word: noted.known[value] for word, value in words if value in noted.known}


def _key(skill: Skill) -> tuple[str, str]:
    return skill.volume, skill.skill_id
