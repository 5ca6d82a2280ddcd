"""Why a skill was found, and why it was not used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmos_lite.core.skills.abstain import is_side_request
from llmos_lite.core.skills.fields import K1, TYPICAL, WEIGHTS, B
from llmos_lite.core.skills.library import document
from llmos_lite.core.skills.manager import ScoredSkill
from llmos_lite.core.skills.text import QUERY_CHARACTERS, Analyzer

_ANALYZER = Analyzer()


@dataclass(frozen=True, slots=True)
class Explanation:
    """What matched.

    Args:
        fields: by field (`name`, `header`, `body`): the stemmed words of the query that stand there, each with its
            weight before rarity counts (boosted BM25 term frequency).
        missing: stemmed words of the query that the skill does not hold.
        coverage: share of the query's idf mass that it covers.
        header: the same for name, description, keywords and category.
        note: why it would not be put into a context; empty when it would.
    """

    fields: Mapping[str, Mapping[str, float]]
    missing: tuple[str, ...]
    coverage: float
    header: float
    note: str


def explain(scored: ScoredSkill, query: str) -> Explanation:
    """Explain one hit."""
    asked = dict.fromkeys(_ANALYZER.terms(query[:QUERY_CHARACTERS]))
    searched = document(scored.skill)
    texts = {"name": searched.name, "header": searched.header, "body": searched.body}
    settings = zip(texts.items(), WEIGHTS, TYPICAL, strict=True)
    fields = {field: _weights(text, asked, boost, typical) for (field, text), boost, typical in settings}
    missing = tuple(term for term in asked if not any(term in found for found in fields.values()))
    return Explanation(fields, missing, scored.coverage, scored.header, _note(scored, query))


def _weights(text: str, asked: Mapping[str, None], boost: float, typical: float) -> dict[str, float]:
    terms = _ANALYZER.terms(text)
    length = K1 * (1 - B + B * len(terms) / typical)
    counts = {term: terms.count(term) for term in asked}
    return {term: round(boost * (K1 + 1) * count / (count + length), 3) for term, count in counts.items() if count}


def _note(scored: ScoredSkill, query: str) -> str:
    if scored.skill.shadowed_by:
        return f"The skill of this name in {scored.skill.shadowed_by} is used instead."
    if scored.fits:
        return ""
    if is_side_request(query):
        return "The query asks for something about the conversation itself; no skill is used for that."
    return "It matches too little of the query: no skill is better than a wrong one."
