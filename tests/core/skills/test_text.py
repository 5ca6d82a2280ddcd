"""Words are folded and stemmed, in every script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.skills import text
from llmos_lite.core.skills.text import Analyzer, fold, is_latin

ANALYZER = Analyzer()


@pytest.mark.parametrize(
    ("given", "terms"),
    [
        ("Running the tests, please!", ["run", "test"]),
        (
            "getUserName parseHTTPServer snake_case",
            ["get", "user", "name", "getusernam", "pars", "http", "server", "parsehttpserv", "snake", "case"],
        ),
        ("Perdón, café ﬁle \uff26\uff35\uff2c\uff2c", ["perdon", "cafe", "file", "full"]),
        ("数据库查询", ["数据", "据库", "库查", "查询"]),
        ("用SQL查", ["用", "sql", "查"]),
        ("이력서", ["이력", "력서"]),
        ("مُحَمَّد", ["محمد"]),
        ("हिन्दी", ["हनद"]),
        ("がく", ["がく"]),
        ("🎉 🚀", []),
        ("a I", []),
        ("R", ["r"]),
        ("x" * 41, []),
        ("", []),
    ],
)
def test_terms(given: str, terms: list[str]) -> None:
    assert ANALYZER.terms(given) == terms
    assert len(ANALYZER.hashes(given)) == len(terms)


def test_equal_terms_have_equal_hashes() -> None:
    assert ANALYZER.hashes("Tests") == ANALYZER.hashes("testing")
    assert ANALYZER.hashes("Tests") != ANALYZER.hashes("rests")


def test_folding_forgets_case_width_and_accents() -> None:
    assert fold("ÀÉ ß ① ™") == "ae ss 1 tm"


def test_the_cache_of_words_stays_small_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_CACHE", 4)
    analyzer = Analyzer()
    words = [f"word{number}" for number in range(40)]
    assert [analyzer.hashes(word) for word in words] == [ANALYZER.hashes(word) for word in words]
    assert [analyzer.hashes(word) for word in reversed(words)] == [ANALYZER.hashes(word) for word in reversed(words)]
    assert len(analyzer._known) <= 4


def test_function_words_of_other_languages_count_for_nothing() -> None:
    assert ANALYZER.terms("¿Por qué no me lo das?") == []
    assert ANALYZER.terms("Wie ist das und warum?") == []
    assert ANALYZER.terms("pourquoi est-ce que vous avez cela") == ["est", "avez", "cela"]


@pytest.mark.parametrize("word", ["todo", "os", "io", "ci", "mit", "nas", "bin", "dir", "dos", "die", "war", "son"])
def test_words_with_a_meaning_in_english_stay(word: str) -> None:
    assert ANALYZER.terms(word)


@given(st.text(st.characters(max_codepoint=127)))
def test_plain_text_gives_the_words_that_any_text_gives(plain: str) -> None:
    slow = [word for word in text.words(f"{plain} \u00e9") if word != "e"]
    assert [word for word in text.words(plain) if word != "e"] == slow


@pytest.mark.parametrize(
    ("text", "latin"),
    [("plain", True), ("Größe über Maß", True), ("请问今天天气怎么样", False), ("오늘 날씨 어때", False), ("", True),
     ("123 !?", True), ("deploy 部署", True), ("部署 服务器 x", False), ("żółw", True), ("погода", False)],
)  # fmt: skip
def test_a_text_is_latin_when_half_of_its_letters_are(text: str, *, latin: bool) -> None:
    assert is_latin(text) is latin
