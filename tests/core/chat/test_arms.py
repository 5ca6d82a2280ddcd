"""Arms: asked once for each skill, and exposed where that can tell anything."""

from __future__ import annotations

from collections.abc import Sequence

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.chat.arms import Arms
from llmos_lite.core.chat.assignment import TREATED, Arm
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.ranking import ScoredSkill

ALICE = Actor("alice")


class Chance:
    """Hides `b`, might have hidden `c`, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def arms(self, actor: Actor, conversation_id: str, skills: Sequence[ScoredSkill]) -> Sequence[Arm]:
        assert (actor, conversation_id) == (ALICE, "talk")
        self.asked.append([one.skill.skill_id for one in skills])
        known = {"b": Arm(treated=False, propensity=0.2), "c": Arm(propensity=0.8)}
        return [known.get(one.skill.skill_id, TREATED) for one in skills]


def skills(names: str, score: float = 1.23456) -> list[ScoredSkill]:
    return [ScoredSkill(Skill(skill_id=name, volume="system", version=f"v{name}"), score) for name in names]


def names(found: Sequence[ScoredSkill]) -> str:
    return "".join(one.skill.skill_id for one in found)


def test_what_is_listed_is_exposed_where_chance_could_hide_it() -> None:
    arms = Arms(Chance(), ALICE, "talk")
    assert names(arms.seen(skills("abcd"))) == "acd"
    assert [(one.skill_id, one.version, one.arm, one.propensity, one.score) for one in arms.exposures] == [
        ("b", "vb", "control", 0.2, 1.235),
        ("c", "vc", "treatment", 0.8, 1.235),
    ]
    assert arms.expose(skills("d")[0].skill) == 1.235
    assert [one.skill_id for one in arms.exposures] == ["b", "c", "d"]


def test_what_is_considered_for_its_text_is_always_exposed() -> None:
    arms = Arms(Chance(), ALICE, "talk")
    assert names(arms.seen(skills("ab"), whole=True)) == "a"
    assert [(one.skill_id, one.arm) for one in arms.exposures] == [("a", "treatment"), ("b", "control")]


def test_each_is_asked_once_and_counts_as_it_was_found_first() -> None:
    chance = Chance()
    arms = Arms(chance, ALICE, "talk", [*skills("ab"), *skills("bc", 0.5)])
    assert chance.asked == [["a", "b", "b", "c"]]
    assert arms.exposures == (), "it was only asked"
    assert names(arms.seen(skills("bcd", 9.0))) == "cd"
    assert names(arms.seen(skills("dc", 9.0))) == "dc"
    assert chance.asked[1:] == [["d"]]
    assert [(one.skill_id, one.score) for one in arms.exposures] == [("b", 1.235), ("c", 0.5)]


def test_without_an_assignment_all_are_seen_and_what_is_read_is_exposed() -> None:
    arms = Arms(None, ALICE, "talk", skills("ab"))
    assert names(arms.seen(skills("a"), whole=True)) == "a"
    assert names(arms.seen(skills("bc", 9.0))) == "bc"
    assert [one.skill_id for one in arms.exposures] == ["a"]
    assert [arms.expose(one.skill) for one in skills("bc")] == [1.235, 9.0]
    assert [(one.skill_id, one.arm, one.propensity) for one in arms.exposures] == [
        (name, "treatment", 1.0) for name in "abc"
    ]
