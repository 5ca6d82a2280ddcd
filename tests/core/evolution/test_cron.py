from __future__ import annotations

import msgspec
import pytest

from llmos_lite.core.evolution.report import Action, EvolutionReport
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.traces.trace import Ended, Outcome
from llmos_lite.engines.git import Author
from llmos_lite.volumes.access import VolumeRef
from tests.evolving import ANSWER, CSV, OTHER, SECURITY, World, used

ALICE = Author("alice", "alice@localhost")
PERSONS = "---\nname: mine\ndescription: Parse a CSV file with a Python script\n---\n\nMy own way.\n"


async def only(world: World, user: str = "alice") -> EvolutionReport:
    return await world.cron.run_user_evolution(user)


async def test_repeated_goals_become_a_skill_in_a_commit(world: World) -> None:
    await world.store(world.chat(goal) for goal in [*CSV[:3], *OTHER])
    report = await only(world)
    assert (report.traces_analyzed, report.patterns_detected, report.skills_created) == (7, 1, 1)
    detail = report.details[0]
    assert (detail.action, detail.count, detail.users, detail.success_rate) == (Action.CREATED, 3, 1, 1.0)
    commit = world.volume("user:alice").get_git_log(1)[0]
    assert commit.subject == f"Evolution: Create skill {detail.skill_id} from 3 traces"
    assert commit.author == "evolution"
    assert commit.trailers["Skill-Op"] == "create"
    assert commit.trailers["Pattern-Id"] == detail.pattern_id
    assert (commit.trailers["Evidence-Count"], commit.trailers["Evidence-Users"]) == ("3", "1")
    assert len(commit.trailers["Evidence-Root"]) == 32
    assert commit.trailers["Generator"] == "heuristic/1"


async def test_the_skill_says_what_when_and_how(world: World) -> None:
    await world.store(world.chat(goal) for goal in CSV[:3])
    skill_id = (await only(world)).details[0].skill_id
    text = world.volume("user:alice").read_skill(skill_id)
    skill = Skill.parse(skill_id, text)
    assert skill.error is None
    assert skill.category == "coding"
    assert {"python", "script", "csv"} <= set(skill.keywords)
    assert "Use when" in skill.description
    assert "## When to Use" in skill.body
    assert "1. Open the file `sales.csv` with the csv module" in skill.body
    assert CSV[0] in skill.body


async def test_the_second_run_changes_nothing(world: World) -> None:
    await world.store(world.chat(goal) for goal in [*CSV, *SECURITY, *OTHER])
    first = await only(world)
    assert first.skills_created == 2
    log, rows = world.log("user:alice"), await world.catalog.patterns.of("user:alice")
    second = await only(world)
    assert (second.skills_created, second.skills_updated) == (0, 0)
    assert world.log("user:alice") == log
    assert {detail.reason.partition(";")[2] for detail in second.details} == {" nothing new"}
    third = await only(world)
    assert third == second
    again = {row.pattern_id: (row.count, row.skill_id) for row in await world.catalog.patterns.of("user:alice")}
    assert again == {row.pattern_id: (row.count, row.skill_id) for row in rows}


async def test_few_more_conversations_do_not_rewrite_it_and_many_do(world: World) -> None:
    await world.store(world.chat(goal) for goal in CSV[:3])
    skill_id = (await only(world)).details[0].skill_id
    await world.store([world.chat(CSV[3])])
    report = await only(world)
    assert (
        report.details[0].reason == f"covered by its skill {skill_id}; 1 more conversations are too few to rewrite it"
    )
    more = ANSWER + "4. Close the file at the end\n"
    await world.store(world.chat(goal, more) for goal in CSV)
    report = await only(world)
    assert (report.skills_created, report.skills_updated) == (0, 1)
    assert world.log("user:alice")[0] == f"Evolution: Update skill {skill_id} from 9 traces"
    assert "Close the file at the end" in world.volume("user:alice").read_skill(skill_id)
    assert (await only(world)).skills_updated == 0


async def test_too_few_conversations_are_no_pattern(world: World) -> None:
    await world.store(world.chat(goal) for goal in [*CSV[:2], *OTHER])
    report = await only(world)
    assert (report.patterns_detected, report.skills_created) == (0, 0)
    assert await only(world, "nobody") == EvolutionReport(scope="user")


async def test_turns_of_one_conversation_count_once(world: World) -> None:
    turns = [world.chat(CSV[0], conversation="c1"), world.chat(CSV[1], conversation="c1")]
    turns.append(world.chat(CSV[2], conversation="c1"))
    await world.store(turns)
    assert (await only(world)).patterns_detected == 0


async def test_a_low_success_rate_is_left_alone_and_says_so(world: World) -> None:
    await world.store(world.chat(goal, ended=Ended.ABORTED) for goal in CSV[:2])
    await world.store([world.chat(CSV[2])])
    report = await only(world)
    assert report.skills_created == 0
    assert report.skipped == 1
    assert report.details[0].reason == "success rate 33%, below 70%"
    row = (await world.catalog.patterns.of("user:alice"))[0]
    assert (row.reason, row.skill_id, row.count) == ("success rate 33%, below 70%", "", 3)


async def test_failures_of_the_model_count_only_where_a_person_says_what_came_of_them(world: World) -> None:
    await world.store(world.chat(goal, ended=Ended.ERROR) for goal in CSV[:2])
    assert (await only(world)).patterns_detected == 0
    told = {"outcome": Outcome.FAILURE, "outcome_sources": ("feedback",)}
    await world.store([*(world.chat(goal, ended=Ended.ERROR, **told) for goal in CSV[2:4]), world.chat(CSV[4])])
    assert (await only(world)).details[0].reason == "success rate 33%, below 70%"


async def test_corrections_and_ratings_count(world: World) -> None:
    conversations = [
        [world.chat(goal, conversation=goal), world.chat("no, that is wrong: use ; as delimiter", conversation=goal)]
        for goal in CSV[:2]
    ]
    await world.store(trace for turns in conversations for trace in turns)
    await world.store([world.chat(CSV[2]), world.chat(CSV[3], outcome=Outcome.FAILURE, outcome_sources=("feedback",))])
    report = await only(world)
    assert report.details[0].success_rate == 0.25
    await world.store(world.chat(goal) for goal in CSV * 2)
    report = await only(world)
    assert report.skills_created == 1
    text = world.volume("user:alice").read_skill(report.details[0].skill_id)
    assert 'Somebody had to say: "no, that is wrong: use ; as delimiter"' in text


async def test_a_persons_skill_is_never_edited(world: World) -> None:
    world.volume("user:alice").write_skill("my-csv", PERSONS, author=ALICE)
    await world.store(world.chat(goal) for goal in CSV)
    report = await only(world)
    assert (report.skills_created, report.skills_updated) == (0, 0)
    assert report.details[0].reason == "covered by the skill my-csv, which a person wrote"
    assert world.volume("user:alice").read_skill("my-csv") == PERSONS
    assert len(await world.catalog.patterns.of("user:alice")) == 1


async def test_a_skill_that_a_person_edited_belongs_to_the_person(world: World) -> None:
    await world.store(world.chat(goal) for goal in CSV[:3])
    skill_id = (await only(world)).details[0].skill_id
    volume = world.volume("user:alice")
    edited = volume.read_skill(skill_id) + "\nMy own addition.\n"
    volume.write_skill(skill_id, edited, author=ALICE)
    await world.store(world.chat(goal) for goal in CSV * 3)
    report = await only(world)
    assert report.details[0].reason == f"covered by the skill {skill_id}, which a person wrote"
    assert volume.read_skill(skill_id) == edited


async def test_a_skill_that_a_person_renamed_belongs_to_the_person(world: World) -> None:
    await world.store(world.chat(goal) for goal in CSV[:3])
    skill_id = (await only(world)).details[0].skill_id
    volume = world.volume("user:alice")
    text = volume.read_skill(skill_id).replace(f"name: {skill_id}", "name: commas")
    volume.rename_skill(skill_id, "commas", text.encode(), ALICE)
    await world.store(world.chat(goal) for goal in CSV * 3)
    for _ in range(2):  # the pattern is the renamed skill's from then on
        report = await only(world)
        assert report.skills_created == 0
        assert report.details[0].reason == "covered by the skill commas, which a person wrote"
    assert volume.read_skill("commas") == text


async def test_a_skill_that_a_person_deleted_does_not_come_back(world: World) -> None:
    await world.store(world.chat(goal) for goal in CSV[:3])
    skill_id = (await only(world)).details[0].skill_id
    world.volume("user:alice").delete_skill(skill_id, author=ALICE)
    await world.store(world.chat(goal) for goal in CSV * 3)
    report = await only(world)
    assert report.skills_created == 0
    assert report.details[0].reason == "a person removed or refused its skill"


async def test_conversations_that_used_a_skill_are_evidence_for_it(world: World) -> None:
    volume = world.volume("user:alice")
    volume.write_skill(
        "table-tamer", PERSONS.replace("Parse a CSV file with a Python script", "Tame tables"), author=ALICE
    )
    await world.store(world.chat(goal, skills_used=used("table-tamer", "user:alice")) for goal in CSV)
    assert (await only(world)).details[0].reason == "covered by the skill table-tamer, which a person wrote"


async def test_a_broad_skill_of_the_system_does_not_stand_in_for_ones_own(world: World) -> None:
    world.volume("system").write_skill("python-scripts", PERSONS)
    await world.store(world.chat(goal, skills_used=used("python-scripts", "system")) for goal in CSV)
    assert (await only(world)).skills_created == 1


async def test_a_skill_of_the_team_covers_what_its_members_ask(world: World) -> None:
    world.teams["sre"] = {"alice"}
    world.volume("team:sre").write_skill("csv", PERSONS)
    await world.store(world.chat(goal) for goal in CSV)
    report = await only(world)
    assert report.skills_created == 0
    assert report.details[0].reason == "covered by the skill csv of team:sre"
    world.teams["sre"] = set()
    assert (await only(world)).skills_created == 1


async def test_rows_that_were_lost_come_back_without_a_second_skill(world: World) -> None:
    await world.store(world.chat(goal) for goal in CSV)
    first = (await only(world)).details[0]
    await world.catalog.patterns.replace("user:alice", [], {})
    report = await only(world)
    assert (report.skills_created, report.skills_updated) == (0, 0)
    assert (report.details[0].pattern_id, report.details[0].skill_id) == (first.pattern_id, first.skill_id)


async def test_a_skill_with_the_same_name_is_not_overwritten(world: World) -> None:
    await world.store(world.chat(goal) for goal in CSV)
    skill_id = (await only(world)).details[0].skill_id
    bob = world.volume("user:bob")
    bob.write_skill(skill_id, "---\nname: x\ndescription: Something else\n---\nOther.\n")
    (world.volumes.folder(bob.ref) / "skills" / "broken").mkdir()
    bob.store.commit({"skills/broken/notes.txt": b"no SKILL.md"}, "Half a skill", ALICE)
    await world.store(world.chat(goal, user="bob") for goal in CSV)
    assert (await only(world, "bob")).details[0].skill_id == f"{skill_id}-2"


async def test_answers_of_the_offline_model_are_no_steps(world: World) -> None:
    boilerplate = "This is the offline model of llmos-lite.\n\n1. Quote the skills\n2. Configure a model\n"
    await world.store(world.chat(goal, boilerplate, model="offline") for goal in CSV)
    skill_id = (await only(world)).details[0].skill_id
    text = world.volume("user:alice").read_skill(skill_id)
    assert "offline" not in text
    assert "Quote the skills" not in text
    assert "## Approach" in text


async def test_a_team_learns_from_what_its_members_share(world: World) -> None:
    world.teams["sre"] = {"alice", "bob"}
    traces = [world.chat(goal, user=user) for goal in CSV[:3] for user in ("alice", "bob")]
    await world.share(traces[:4], "sre")
    assert (await world.cron.run_team_evolution("sre")).details[0].reason == "too few conversations: 4 of 5"
    await world.share(traces[4:], "sre")
    report = await world.cron.run_team_evolution("sre")
    assert report.skills_created == 1
    commit = world.volume("team:sre").get_git_log(1)[0]
    assert commit.subject.endswith("from 6 traces")
    assert commit.trailers["Evidence-Users"] == "2"
    assert (await world.cron.run_team_evolution("sre")).skills_created == 0


async def test_one_persons_habit_is_no_pattern_of_a_team(world: World) -> None:
    world.teams["sre"] = {"alice", "bob"}
    await world.share([world.chat(goal) for goal in CSV * 2], "sre")
    report = await world.cron.run_team_evolution("sre")
    assert report.details[0].reason == "the conversations of one person only; a pattern of a team needs 2"


async def test_a_team_that_asks_for_a_review_gets_a_proposal(world: World) -> None:
    world.teams["sre"] = {"alice", "bob"}
    volume = world.volume("team:sre")
    volume.set_metadata({"policy": {"review": "required"}})
    await world.share([world.chat(goal, user=user) for goal in CSV[:3] for user in ("alice", "bob")], "sre")
    report = await world.cron.run_team_evolution("sre")
    assert (report.skills_created, report.proposed) == (0, 1)
    skill_id = report.details[0].skill_id
    assert volume.list_skills() == []
    assert f"pr/evolution/{skill_id}" in volume.branches()
    row = await world.cron.proposals.open_on("team:sre", f"pr/evolution/{skill_id}")
    assert row is not None
    assert (row.author, row.skill_id, row.state) == ("evolution", skill_id, "open")
    again = await world.cron.run_team_evolution("sre")
    assert (again.proposed, again.details[0].reason) == (0, "its proposal waits for a review")
    volume.delete_branch(f"pr/evolution/{skill_id}")
    closed = await world.cron.run_team_evolution("sre")
    assert (closed.proposed, closed.details[0].reason) == (0, "a person removed or refused its skill")


async def test_an_update_waits_for_a_review_as_well(world: World) -> None:
    world.teams["sre"] = {"alice", "bob"}
    volume = world.volume("team:sre")
    goals = [(goal, user) for goal in CSV[:3] for user in ("alice", "bob")]
    await world.share([world.chat(goal, user=user) for goal, user in goals], "sre")
    skill_id = (await world.cron.run_team_evolution("sre")).details[0].skill_id
    volume.set_metadata({"policy": {"review": "required"}})
    await world.share([world.chat(goal + " please", user=user) for goal, user in goals], "sre")
    report = await world.cron.run_team_evolution("sre")
    assert (report.skills_updated, report.proposed) == (0, 1)
    again = await world.cron.run_team_evolution("sre")
    assert (again.proposed, again.details[0].reason) == (0, "a proposal for its skill waits for a review")
    assert f"pr/evolution/{skill_id}" in volume.branches()


async def team_with_uses(world: World, count: int = 6, users: tuple[str, ...] = ("alice", "bob", "cleo")) -> None:
    world.teams["sre"] = {"alice", "bob", "cleo", "dan"}
    if world.volume("team:sre").skill_entry("csv") is None:
        world.volume("team:sre").write_skill("csv", PERSONS)
    chats = [
        world.chat(f"{CSV[0]} number {place}", user=users[place % len(users)], skills_used=used("csv", "team:sre"))
        for place in range(count)
    ]
    await world.store(chats)


async def test_a_skill_that_a_team_uses_much_is_proposed_to_the_system(world: World) -> None:
    await team_with_uses(world)
    report = await world.cron.run_system_evolution()
    assert (report.proposed, report.skills_created, report.patterns_detected) == (1, 0, 1)
    assert "pr/evolution/csv" in world.volume("system").branches()
    row = await world.cron.proposals.open_on("system", "pr/evolution/csv")
    assert row is not None
    assert row.source == "team:sre"
    again = await world.cron.run_system_evolution()
    assert (again.proposed, again.details[0].reason) == (0, "its proposal waits for a review")
    world.volume("system").delete_branch("pr/evolution/csv")
    closed = msgspec.structs.replace(row, state="closed", decided=row.created + 1, decided_by="admin")
    await world.cron.proposals.put(closed)
    refused = await world.cron.run_system_evolution()
    assert refused.details[0].reason == "its proposal was refused, and it has not changed since"


async def test_without_a_review_it_is_promoted_once(world: World) -> None:
    world.volume("system").set_metadata({"policy": {"review": "none"}})
    await team_with_uses(world)
    report = await world.cron.run_system_evolution()
    assert (report.skills_created, report.proposed) == (1, 0)
    assert world.log("system")[0].startswith("Promote 'csv' from team:sre - Reason: used 6 times by 3 people")
    assert (await world.cron.run_system_evolution()).details[0].reason == "the system has it already"
    world.volume("team:sre").write_skill("csv", PERSONS + "Better.\n")
    assert (await world.cron.run_system_evolution()).skills_created == 1
    assert world.volume("system").read_skill("csv").endswith("Better.\n")
    world.volume("system").write_skill("csv", PERSONS + "A person's.\n", author=ALICE)
    assert (await world.cron.run_system_evolution()).details[0].reason == "the system has another skill of this name"


async def test_little_used_skills_stay_where_they_are(world: World) -> None:
    await team_with_uses(world, 4)
    assert (await world.cron.run_system_evolution()).details[0].reason == "used 4 times; 5 are needed"
    await team_with_uses(world, 0)
    world.teams.pop("sre")


@pytest.mark.parametrize(
    ("users", "outcome", "reason"),
    [
        (("alice",), Outcome.UNKNOWN, "used by 1 people; 3 are needed"),
        (("alice", "bob", "cleo"), Outcome.FAILURE, "success rate 0%, below 70%"),
    ],
)
async def test_a_system_skill_needs_people_and_success(
    world: World, users: tuple[str, ...], outcome: Outcome, reason: str
) -> None:
    world.teams["sre"] = {"alice", "bob", "cleo"}
    world.volume("team:sre").write_skill("csv", PERSONS)
    chats = [world.chat(CSV[0], user=users[at % len(users)], skills_used=used("csv", "team:sre")) for at in range(6)]
    await world.store(msgspec.structs.replace(chat, outcome=outcome) for chat in chats)
    assert (await world.cron.run_system_evolution()).details[0].reason == reason


async def test_a_skill_that_the_team_deleted_is_not_offered(world: World) -> None:
    await team_with_uses(world)
    world.volume("team:sre").delete_skill("csv")
    assert (await world.cron.run_system_evolution()).details[0].reason == "the team has deleted it"
    await world.store(
        world.chat(CSV[0], user=user, skills_used=used("csv", "team:gone")) for user in ("alice", "bob", "cleo") * 2
    )
    reasons = {detail.reason for detail in (await world.cron.run_system_evolution()).details}
    assert "its team has no volume any more" in reasons


async def test_the_nights_run_visits_everybody(world: World) -> None:
    world.teams["sre"] = {"alice", "bob"}
    for user in ("alice", "bob"):
        await world.store(world.chat(goal, user=user) for goal in CSV)
    stages: list[str] = []

    async def tell(stage: str, _done: int, _total: int) -> None:
        stages.append(stage)

    report = await world.cron.run_all_users(tell)
    assert (report.scope, report.traces_analyzed, report.skills_created) == ("users", 10, 2)
    assert stages == ["user:alice", "user:bob"]
    assert (await world.cron.run_all_teams()).traces_analyzed == 0
    await world.share([world.chat(goal, user=user) for goal in CSV[:3] for user in ("alice", "bob")], "sre")
    assert (await world.cron.run_all_teams()).skills_created == 1


async def test_nobodys_volume_is_made_by_looking(world: World) -> None:
    world.teams["sre"] = {"alice"}
    await world.store(world.chat(goal) for goal in CSV)
    await only(world)
    assert not world.volumes.exists(VolumeRef.team("sre"))
