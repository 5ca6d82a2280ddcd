"""Words and meaning together: properties of the fused score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.skills.abstain import evidence
from llmos_lite.core.skills.fields import Document
from llmos_lite.core.skills.fusion import ALONE, Close, Near, fused, unit_of
from llmos_lite.core.skills.index import SkillIndex
from llmos_lite.core.skills.search import search
from llmos_lite.core.skills.text import Analyzer

ANALYZER = Analyzer()
SCORES = st.floats(0, 50)
CLOSE = st.floats(-1, 1, width=32)
SURPRISE = st.floats(-5, 10, width=32)


def one(words: float, closeness: float, surprise: float = 0.0, unit: float = 20.0) -> float:
    near = Near(np.array([closeness], np.float32), np.array([surprise], np.float32))
    return float(fused(np.array([words]), near, unit)[0])


@given(SCORES, SCORES, CLOSE, SURPRISE)
def test_more_words_never_lower_a_score(less: float, more: float, closeness: float, surprise: float) -> None:
    less, more = sorted((less, more))
    if less > 0 or surprise < ALONE:
        assert one(less, closeness, surprise) <= one(more, closeness, surprise) + 1e-9


@given(SCORES, CLOSE, CLOSE, SURPRISE)
def test_a_nearer_meaning_never_lowers_a_score(words: float, far: float, near: float, surprise: float) -> None:
    far, near = sorted((far, near))
    assert one(words, far, surprise) <= one(words, near, surprise) + 1e-9


@given(SCORES)
def test_an_unknown_meaning_leaves_the_words(words: float) -> None:
    assert one(words, 0.0, -np.inf) == words


@given(st.floats(1e-3, 50), CLOSE)
def test_what_holds_a_word_is_always_found(words: float, closeness: float) -> None:
    assert one(words, closeness) > 0


@given(st.floats(0, 1), st.floats(0.1, 50))
def test_unknown_words_make_meaning_count_more_but_not_without_end(known: float, best: float) -> None:
    assert best <= unit_of(best, known) <= 3 * best + 1e-9
    assert unit_of(0, known) == 1


def index() -> SkillIndex:
    texts = ("brew green tea", "brew coffee", "deploy a service", "write an invoice")
    return SkillIndex(ANALYZER).updated([Document(f"d{n}", "", text, text) for n, text in enumerate(texts)])


def nothing_known(_source: int, keys: tuple[str, ...]) -> Near | None:
    return Near(np.zeros(len(keys), np.float32), np.full(len(keys), -np.inf, np.float32))


@pytest.mark.parametrize("close", [None, lambda _source, _keys: None, nothing_known])
@pytest.mark.parametrize("query", ["brew tea", "deploy the invoice", "", "茶", "brew " * 3000])
def test_without_a_meaning_the_search_is_that_by_words(query: str, close: object) -> None:
    found = search([index()], query, 4, close=close)  # type: ignore[arg-type]  # any of them is one
    assert found == search([index()], query, 4)


def test_a_document_without_a_word_in_common_is_found_when_it_is_near_enough() -> None:
    def close(_source: int, keys: tuple[str, ...]) -> Near:
        near = [key == "d3" for key in keys]
        return Near(
            np.array(near, np.float32) * np.float32(0.6), np.array([5.0 if one else 1.0 for one in near], np.float32)
        )

    for query in ("rechnung schreiben", "a bill, and a cup to brew"):
        hit = next(hit for hit in search([index()], query, 4, close=close) if hit.key == "d3")
        assert (hit.meaning, hit.surprise, hit.terms) == (pytest.approx(hit.score), 5.0, 0)


def test_a_sum_of_words_orders_skills_and_does_not_say_whether_one_fits() -> None:
    def close(tells: bool) -> Close:  # noqa: FBT001 - only told apart here
        return lambda _source, keys: Near(np.ones(len(keys), np.float32), np.full(len(keys), 3.0, np.float32), tells)

    known, unsure = (search([index()], "brew tea", 1, close=close(tells))[0] for tells in (True, False))
    assert (known.surprise, unsure.surprise) == (3.0, None)
    assert known.score == unsure.score
    assert evidence(unsure) < evidence(known)


def test_removed_documents_stay_removed() -> None:
    def close(_source: int, keys: tuple[str, ...]) -> Near:
        return Near(np.ones(len(keys), np.float32), np.full(len(keys), 9.0, np.float32))

    some = index().updated([], gone=["d0"])
    assert {hit.key for hit in search([some], "brew tea", 9, close=close, collapse=False)} == {"d1", "d2", "d3"}
