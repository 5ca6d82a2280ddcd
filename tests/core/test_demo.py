"""The example team: always the same story, labelled as what it is."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files

import pytest

from llmos_lite.core.demo.story import DAYS, Cast, load, tell
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.traces.trace import Ended, Outcome, SkillUse, Trace
from llmos_lite.volumes.access import VolumeRef

DAY = 86_400_000
NOON = 20_779 * DAY + DAY // 2
TEAM = load("team.yaml")
TEAMS = {user: team for team, about in TEAM["teams"].items() for user in about["members"]}
USED = {item["file"]: SkillUse(item["file"], item["file"], item["volume"], "a" * 40, 0.8) for item in TEAM["skills"]}


@pytest.fixture(scope="module")
def traces() -> list[Trace]:
    return tell(NOON, Cast(TEAMS, USED))


def test_the_story_is_always_the_same(traces: list[Trace]) -> None:
    assert tell(NOON + 1000, Cast(TEAMS, USED)) == traces
    assert len({trace.id for trace in traces}) == len(traces)


def test_it_happened_in_the_four_weeks_before(traces: list[Trace]) -> None:
    days = {(NOON - trace.time) // DAY for trace in traces}
    assert min(days) >= 0
    assert max(days) <= DAYS + 2
    assert len(days) > DAYS // 2


def test_six_people_in_two_teams_take_part(traces: list[Trace]) -> None:
    assert len(TEAM["users"]) == len({trace.actor for trace in traces}) == 6
    assert len(TEAM["teams"]) == len({trace.team for trace in traces}) == 2
    assert all(trace.volume == str(VolumeRef.user(trace.actor)) for trace in traces)


def test_it_has_all_that_real_work_has(traces: list[Trace]) -> None:
    assert {trace.outcome for trace in traces} == set(Outcome)
    assert {trace.ended for trace in traces} == {Ended.COMPLETE, Ended.ERROR}
    assert any(trace.parent for trace in traces)
    assert any(trace.tool_calls for trace in traces)
    assert any(trace.skills_used for trace in traces)
    goals = Counter(trace.goal for trace in traces if not trace.parent)
    assert len(goals) > 100
    assert not any("{" in trace.goal for trace in traces)


def test_the_same_goal_is_asked_in_other_words(traces: list[Trace]) -> None:
    slow = {trace.goal for trace in traces if "Postgres" in trace.goal and not trace.parent}
    assert len(slow) > 5


def test_skills_are_used_only_by_those_who_see_them(traces: list[Trace]) -> None:
    for trace in traces:
        for skill in trace.skills_used:
            assert skill.volume in {trace.volume, f"team:{trace.team}"}


def test_everything_is_labelled() -> None:
    assert all(user.startswith("demo-") for user in TEAM["users"])
    assert all(team.startswith("demo-") for team in TEAM["teams"])
    for item in TEAM["skills"]:
        text = files("llmos_lite.core.demo").joinpath("skills", f"{item['file']}.md").read_bytes()
        skill = Skill.parse(item["file"], text)
        assert skill.error is None
        assert "(example data)" in skill.name
