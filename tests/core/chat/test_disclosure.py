"""What is listed, and how: nothing breaks out of a catalog, and it keeps within its budget."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.chat.disclosure import (
    FILES,
    INTRODUCTION,
    MOST_ENTRIES,
    Disclosure,
    catalog,
    with_new,
    within,
)
from llmos_lite.core.chat.injection import INTRODUCTION as OPENING
from llmos_lite.core.chat.injection import inject, split
from llmos_lite.core.skills.card import LEAST, LONGEST_DESCRIPTION, Card, card_of
from llmos_lite.core.skills.format import Skill, estimate_tokens
from llmos_lite.core.skills.ranking import ScoredSkill
from llmos_lite.errors import Invalid


def skill(skill_id: str = "a", description: str = "x", body: str = "Do it.", path: str = "") -> Skill:
    return Skill(skill_id=skill_id, description=description, body=body, volume="system", version="0" * 40, path=path)


def scored(*skills: Skill) -> list[ScoredSkill]:
    return [ScoredSkill(one, 1.0) for one in skills]


@pytest.mark.parametrize("word", ["auto", "bodies", "catalog"])
def test_the_setting_is_one_of_three_words(word: str) -> None:
    assert Disclosure.parse(word).value == word


def test_another_word_is_refused() -> None:
    with pytest.raises(Invalid) as caught:
        Disclosure.parse("all")
    assert caught.value.code == "settings.invalid"


def test_a_catalog_has_the_form_of_the_standards_own_tool() -> None:
    assert catalog([Card(skill("pdf", 'Fill <forms> & "more"'))]) == (
        "<available_skills>\n<skill>\n<name>\npdf\n</name>\n<description>\n"
        "Fill &lt;forms&gt; &amp; &quot;more&quot;\n</description>\n</skill>\n</available_skills>"
    )


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=900), max_size=5))
def test_no_description_breaks_out_of_a_catalog(texts: list[str]) -> None:
    written = catalog([Card(skill(f"s{place}", text)) for place, text in enumerate(texts)])
    root = ET.fromstring(re.sub("[\ufffe\uffff]", "", written))  # noqa: S314 - our own text
    assert [entry.tag for entry in root] == ["skill"] * len(texts)
    found = [(entry.findtext("description") or "").strip() for entry in root]
    assert all(len(said) <= LONGEST_DESCRIPTION for said in found)


@given(st.lists(st.integers(1, 400), max_size=40), st.integers(0, 6000))
def test_a_catalog_keeps_within_its_budget(sizes: list[int], budget: int) -> None:
    cards = [Card(skill(f"s{place}", "x" * size)) for place, size in enumerate(sizes)]
    count = within(cards, budget)
    kept, more = cards[:count], sum(card.entry_tokens for card in cards[: count + 1])
    assert not kept or estimate_tokens(f"{INTRODUCTION} {FILES}\n\n{catalog(kept)}") <= budget
    frame = estimate_tokens(f"{INTRODUCTION} {FILES}\n\n{catalog([])}\n")
    assert count == len(cards) or frame + more > budget, "no other would fit"


@given(st.lists(st.integers(1, 9000), max_size=6), st.integers(200, 5000))
def test_what_is_not_listed_stands_there_whole(sizes: list[int], budget: int) -> None:
    skills = scored(*(skill(f"s{place}", body="word " * size) for place, size in enumerate(sizes)))
    whole, long = split(skills, budget)
    assert sorted([*whole, *long], key=skills.index) == skills
    injection = inject(whole, budget)
    assert injection.whole
    assert list(injection.skills) == whole
    assert inject(skills, budget).whole == (not long)


@given(st.lists(st.sets(st.integers(0, 60), max_size=12), max_size=10))
def test_a_list_grows_at_its_end_or_begins_anew(turns: list[set[int]]) -> None:
    offered: tuple[str, ...] = ()
    for turn in turns:
        fresh = [f"system/s{number}" for number in sorted(turn)]
        grown = with_new(offered, fresh)
        assert grown[: len(offered)] == offered or grown == tuple(fresh)
        assert len(grown) == len(set(grown)) <= MOST_ENTRIES
        assert set(fresh) <= set(grown)
        offered = grown


def test_files_are_spoken_of_by_the_names_of_their_folders() -> None:
    folder = "skills/a/SKILL.md"
    assert Card(skill(body="See references/x.md.", path=folder)).has_files
    assert not Card(skill(body="See https://example.org/x.md.", path=folder)).has_files
    assert not Card(skill(body="See references/x.md.", path="skills/a.md")).has_files, "a flat file has no folder"
    found = scored(skill("a"), skill("b", body="See references/x.md.", path=folder))
    assert inject(found, 4000).has_files
    assert not inject(found[:1], 4000).has_files


def test_a_key_names_volume_and_id() -> None:
    assert Card(skill("pdf")).key == "system/pdf"


@given(st.text(st.sampled_from("a \n</skil_content>é"), max_size=60), st.text(max_size=400), st.integers(0, 600))
def test_a_text_stands_in_a_context_as_the_skill_writes_it(body: str, name: str, budget: int) -> None:
    one = replace(skill(body=body), name=name, version="")
    for again in (one, one):
        injection = inject(scored(again), budget)
        room = min(Card(one).tokens, budget - estimate_tokens(OPENING))
        block = one.to_context_injection(room) if room >= LEAST else ""
        assert injection.prompt.text == (f"{OPENING}\n\n{block}" if block else "")


def test_a_card_is_made_once_for_a_skill_and_never_for_another() -> None:
    one = skill("a", body="See references/x.md.", path="skills/a/SKILL.md")
    assert card_of(one) is card_of(one)
    other = replace(one, body="None.", description="y")
    assert (card_of(one).has_files, card_of(other).has_files) == (True, False)
    assert card_of(one).entry != card_of(other).entry
    assert one == replace(one)
    assert "card" not in repr(one)
