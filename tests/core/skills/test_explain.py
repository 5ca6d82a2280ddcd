"""An explanation adds up, and names the one reason why a hit is not used."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from conftest import ALICE, skill_text

from llmos_lite.core.skills.asked import AskedIndex, Goal
from llmos_lite.core.skills.explain import Explainer, Explanation
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.guard import Guard
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.scan import Finding, Severity
from llmos_lite.core.skills.segment import STEP
from llmos_lite.core.skills.text import Analyzer
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.volumes.git_volume import GitVolume, author_of
from llmos_lite.volumes.manager import VolumeManager

ROUNDING = STEP / 2
"""Most that a word's weight in the index differs from what is counted anew."""
MOST_IDF = 6.0
"""Of a word in a library of a few skills."""


def explained(manager: SkillsManager, query: str, *goals: Goal) -> dict[str, Explanation]:
    """Return the explanations by volume and skill, in the order of the list."""
    asked = [AskedIndex.empty(Analyzer()).updated(goals)]
    explainer = Explainer(manager, manager.libraries(ALICE), query, asked)
    return {f"{one.skill.volume}/{one.skill.skill_id}": explainer.explain(one) for one in explainer.items}


def points(one: Explanation) -> float:
    return sum(sum(words.values()) for words in one.fields.values())


def test_points_add_up_to_the_score(manager: SkillsManager, own: GitVolume) -> None:
    own.write_skill("tea", skill_text("tea", "Brews a cup of tea", "Boil water. Brew slowly.\n"))
    found = explained(manager, "brew a cup of zebra tea")["user:alice/tea"]
    assert set(found.fields["name"]) == {"tea"}
    assert set(found.fields["header"]) == {"brew", "cup", "tea"}
    assert set(found.fields["body"]) == {"brew"}
    assert found.missing == ("zebra",)
    assert found.pairs > 0
    assert found.total == pytest.approx(points(found) + found.pairs, abs=0.05)
    assert (found.used, found.code, found.reason) == (True, "", "")
    assert found.evidence["sum"] == pytest.approx(sum(found.evidence.values()) - found.evidence["sum"], abs=0.03)
    assert found.evidence["sum"] >= found.needed
    assert found.cut == pytest.approx(found.total / 2, abs=0.01)


def test_points_add_up_whatever_is_asked(manager: SkillsManager, own: GitVolume) -> None:
    chance = random.Random(8420)  # noqa: S311 - the same every time
    words = ["boil", "water", "tea", "cup", "leaf", "pot", "slow", "zebra", "the"]
    for number in range(6):
        text = [" ".join(chance.choices(words, k=count)) for count in (4, 30)]
        own.write_skill(f"skill-{number}", skill_text(f"skill-{number}", *text))
    for _ in range(30):
        query = chance.choices(words, k=chance.randint(1, 8))
        for found in explained(manager, " ".join(query)).values():
            rest = found.total - points(found) - found.pairs - found.asked
            assert abs(rest) <= ROUNDING * MOST_IDF * len(set(query)) + 0.1


def test_a_shadowed_skill_names_who_wins(manager: SkillsManager, system: GitVolume, own: GitVolume) -> None:
    system.write_skill("tea", skill_text("tea", "Brews tea", keywords="cup"))
    own.write_skill("tea", skill_text("tea", "Brews my tea"))
    found = explained(manager, "brew a cup of tea")
    assert list(found) == ["system/tea", "user:alice/tea"]
    assert (found["system/tea"].code, found["system/tea"].by) == ("shadowed", "user:alice")
    assert "The skill of this id in user:alice is used instead." in found["system/tea"].reason
    assert found["user:alice/tea"].used


def test_a_copy_names_what_it_repeats(manager: SkillsManager, own: GitVolume) -> None:
    body = "Boil the water, warm the pot, measure the leaves, pour, wait for four minutes, stir once and serve.\n"
    for name in ("tea", "tea-copy"):
        own.write_skill(name, skill_text(name, "Brews a pot of tea for guests in the afternoon", body))
    found = explained(manager, "brew a pot of tea for guests")
    (repeated,) = [one for one in found.values() if one.code == "repeats"]
    assert repeated.by in found
    assert found[repeated.by].used
    assert not repeated.used


def test_a_hit_far_behind_says_what_it_needs(manager: SkillsManager, own: GitVolume) -> None:
    own.write_skill("tea", skill_text("tea", "Brews black tea in a pot for guests"))
    own.write_skill("stove", skill_text("stove", "Repairs a stove", "Do not put a pot on it.\n"))
    found = explained(manager, "brew black tea in a pot for guests")["user:alice/stove"]
    assert (found.code, found.used) == ("below_cut", False)
    assert found.cut is not None
    assert found.total < found.cut
    assert f"{found.cut:.2f}" in found.reason


def test_abstaining_gives_the_numbers(manager: SkillsManager, own: GitVolume) -> None:
    for number in range(30):
        own.write_skill(f"skill-{number}", skill_text(f"skill-{number}", f"Thing number {number}", "Boil water.\n"))
    own.write_skill("kettle", skill_text("kettle", "Descales kettles", "Then boil once.\n"))
    found = explained(manager, "can you boil an egg for granny tomorrow")
    assert {one.code for one in found.values()} <= {"too_little", "repeats"}
    first = next(iter(found.values()))
    assert first.cut is None
    assert f"{first.evidence['sum']:.2f} (" in first.reason
    assert "library -" in first.reason
    assert "no skill is better than a wrong one" in first.reason


def test_a_side_request_says_so(manager: SkillsManager, own: GitVolume) -> None:
    own.write_skill("tea", skill_text("tea", "Brews tea and tags it"))
    found = explained(manager, "Generate tags for the chat history: brew tea")
    assert found["user:alice/tea"].code == "side_request"


def test_a_broken_skill_says_why(manager: SkillsManager, own: GitVolume) -> None:
    own.write_skill("tea", skill_text("tea", "Brews tea"))
    own.store.commit({"skills/tea-pots/SKILL.md": b"---\nname: [\n---\n"}, "Break it", author_of("alice"))
    own.store.commit({"skills/soap.md": b"\xff\xfe"}, "Break another", author_of("alice"))
    found = explained(manager, "brew tea in pots")
    assert list(found) == ["user:alice/tea", "user:alice/tea-pots"]
    assert (found["user:alice/tea-pots"].code, found["user:alice/tea-pots"].used) == ("broken", False)
    assert found["user:alice/tea-pots"].reason.startswith("It cannot be read: ")


class Wary:
    def scan(self, skill: Skill) -> Iterable[Finding]:
        return [Finding("test.tea", Severity.HIGH, "It is tea.")] if skill.skill_id == "tea" else []


def test_an_unsafe_skill_says_so(volumes: VolumeManager, own: GitVolume) -> None:
    own.write_skill("tea", skill_text("tea", "Brews tea"))
    wary = SkillsManager(volumes, watch=Guard(volumes, {"test": Wary()}))
    found = explained(wary, "brew tea")["user:alice/tea"]
    assert (found.code, found.used) == ("unsafe", False)
    assert found.reason == "A scanner holds it back (test.tea), and nobody has signed it off."


def test_what_was_asked_shows_as_points(manager: SkillsManager, own: GitVolume) -> None:
    own.write_skill("tea", skill_text("tea", "Brews tea"))
    found = explained(
        manager, "granny visits on sunday", Goal("t1", "user:alice", "tea", "granny visits on sunday", now_ms(), 1.0)
    )["user:alice/tea"]
    assert found.asked == found.total > 0
    assert set(found.missing) == {"granni", "visit", "sunday"}


@pytest.mark.parametrize("query", ["", "the", "\ud800", "\0", "🍵" * 5000, "a" * 100_000])
def test_any_query_is_explained(manager: SkillsManager, own: GitVolume, query: str) -> None:
    own.write_skill("tea", skill_text("tea", "Brews tea"))
    assert explained(manager, query) == {}
