"""The goals where a skill helped find it again: the nearest one counts, less with time, and none that is gone."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos_lite.core.skills.asked import HALF_LIFE, LOOKED_AT, MOST_GOALS, AskedBy, AskedIndex, Goal, Nearest
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.index import SkillIndex
from llmos_lite.core.skills.library import Library, document
from llmos_lite.core.skills.search import Hit, search
from llmos_lite.core.skills.text import Analyzer
from llmos_lite.volumes.access import SYSTEM, VolumeRef

ANALYZER = Analyzer()
ALICE = VolumeRef.user("alice")
WORDS = ["quarterly", "numbers", "board", "slides", "ledger", "invoice", "walrus", "teapot"]


def library(ref: VolumeRef, **described: str) -> Library:
    skills = {name: Skill(skill_id=name, name=name, description=text) for name, text in described.items()}
    index = SkillIndex(ANALYZER).updated([document(skill) for skill in skills.values()])
    return Library(ref, "c0", MappingProxyType(skills), index)


def goal(text: str, skill: str = "report", *, at: int = 0, weight: float = 1.0, volume: str = "system") -> Goal:
    return Goal(f"{at:026}{text[:3]}", volume, skill, text, at, weight)


def asked(*goals: Goal) -> AskedIndex:
    return AskedIndex.empty(ANALYZER).updated(goals)


def found(libraries: list[Library], view: AskedIndex, query: str, now: int = 0) -> list[Hit]:
    return search([one.index for one in libraries], query, 5, extra=AskedBy(libraries, [view], now))


LIBRARY = library(SYSTEM, report="Write the summary of a period", mail="Answer letters", tea="Boil water")


def test_a_skill_is_found_by_what_was_asked_of_it() -> None:
    query = "slides for the board, quarterly numbers"
    assert search([LIBRARY.index], query, 5) == []
    (hit,) = found([LIBRARY], asked(goal("Prepare the quarterly numbers as slides for the board")), query)
    assert (hit.key, hit.terms) == ("report", 4)
    assert hit.asked == hit.score > 0
    assert hit.coverage == hit.header == pytest.approx(1.0)


def test_the_nearest_goal_counts_and_not_the_sum() -> None:
    near, far = goal("quarterly numbers for the board"), goal("numbers of walruses in the zoo", at=1)
    query = "quarterly numbers for the board"
    assert found([LIBRARY], asked(near), query)[0].score == found([LIBRARY], asked(near, far), query)[0].score


def test_a_goal_counts_less_with_time() -> None:
    view = asked(goal("quarterly numbers for the board"))
    fresh, old = (found([LIBRARY], view, "quarterly numbers", now)[0].score for now in (0, HALF_LIFE))
    assert old == pytest.approx(fresh / 2)


def test_a_failure_counts_against() -> None:
    good, bad = goal("quarterly numbers for the board"), goal("quarterly numbers as a poem", at=1, weight=-1.0)
    query = "quarterly numbers"
    assert found([LIBRARY], asked(good), query)
    both = found([LIBRARY], asked(good, bad), query)
    assert not both or both[0].score < found([LIBRARY], asked(good), query)[0].score / 2
    plain = search([LIBRARY.index], "summary of quarterly numbers", 1)[0].score
    marked = found([LIBRARY], asked(bad), "summary of quarterly numbers")[0]
    assert marked.asked < 0
    assert plain / 2 <= marked.score < plain


def test_of_goals_that_are_the_same_the_newest_stays() -> None:
    view = asked(*(goal("quarterly numbers for the board", at=at) for at in range(5)), goal("a walrus and a teapot"))
    assert sorted((one.time, one.text[:3]) for one in view.goals.values()) == [(0, "a w"), (4, "qua")]


def test_a_skill_keeps_its_newest_goals_only() -> None:
    view = asked(*(goal(f"ledger{at} invoice{at} walrus{at}", at=at) for at in range(100)))
    assert sorted(one.time for one in view.goals.values()) == list(range(100 - MOST_GOALS, 100))
    assert view.index.count == len(view.goals) == MOST_GOALS


@settings(max_examples=10)
@given(st.permutations(range(MOST_GOALS + 8)))
def test_the_order_in_which_goals_are_heard_of_does_not_matter(order: list[int]) -> None:
    index = AskedIndex.empty(ANALYZER)
    for at in order:
        index = index.updated([goal(f"ledger{at} invoice{at}", at=at)])
    assert sorted(one.time for one in index.goals.values()) == list(range(8, MOST_GOALS + 8))


@pytest.mark.parametrize("text", ["", "again", "<email:1> <name:2>", "the of and", "\ud800"])
def test_what_says_nothing_is_no_goal(text: str) -> None:
    assert asked(goal(text)).goals == {}


def test_slots_are_no_words() -> None:
    view = asked(goal("send the ledger to <email:1> and <phone-number:12>"))
    assert found([LIBRARY], view, "email or phone number") == []
    assert found([LIBRARY], view, "send the ledger")


def test_a_promoted_skill_keeps_its_goals_and_a_deleted_one_loses_them() -> None:
    view = asked(goal("quarterly numbers for the board", volume="user:alice"))
    mine, everybodys = library(ALICE, report="Mine"), LIBRARY
    (hit,) = found([mine, everybodys], view, "quarterly numbers")
    assert hit.source == 0
    (hit,) = found([library(ALICE, other="Mine"), everybodys], view, "quarterly numbers")
    assert (hit.source, hit.key) == (1, "report")
    assert found([library(ALICE, other="Mine")], view, "quarterly numbers") == []


goals = st.builds(
    lambda words, skill, at, weight: goal(" ".join(words), skill, at=at, weight=weight),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=6),
    st.sampled_from(["report", "mail", "tea"]),
    st.integers(0, 50),
    st.sampled_from([1.0, 0.5, -1.0]),
)


@given(st.lists(goals, max_size=LOOKED_AT), st.sets(st.integers(0, 50)), st.lists(st.sampled_from(WORDS), min_size=1))
def test_what_is_gone_counts_nowhere(some: list[Goal], doomed: set[int], query: list[str]) -> None:
    """However it came about, an index says what its goals say, and knows nothing of a trace that is gone."""
    ids = {one.trace_id for one in some if one.time in doomed}
    index = AskedIndex.empty(ANALYZER)
    for one in some:
        index = index.updated([one])
    index = index.updated((), ids)
    assert not ids & index.traces
    assert index.index.count == len(index.goals)
    anew = AskedIndex.empty(ANALYZER).updated(index.goals.values())
    terms = np.unique(np.array(ANALYZER.hashes(" ".join(query)), dtype=np.uint32))
    idf = np.ones(len(terms))
    assert _rounded(index.nearest(terms, idf, 60)) == _rounded(anew.nearest(terms, idf, 60))


def _rounded(found: dict[tuple[str, str], Nearest]) -> dict[tuple[str, str], tuple[float, float]]:
    return {key: (round(one.good, 3), round(one.bad, 3)) for key, one in found.items()}
