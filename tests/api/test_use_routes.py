"""The choice of skills gets better with use, for those whose use it was, and forgets what is erased."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from asgi_client import Client
from trace_instance import trace

from llmos_lite.bootstrap import Services, open_services
from llmos_lite.core.traces.trace import Outcome, SkillUse, Trace, make_ulid, now_ms
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import VolumeRef

TEXT = "Condense zebra tables"
ASKED = "quarterly figures for our supervisory board"
QUERY = "quarterly figures, supervisory board"


@pytest.fixture
async def alice(client: Client) -> Client:
    """Alice and bob are in a team, and the system has a skill whose text says nothing of what they will ask."""
    await client.post("/teams", {"team_id": "sre"})
    for name in ("alice", "bob"):
        await client.post("/users", {"user_id": name})
        await client.post("/teams/sre/members", {"user_id": name})
    skill = {"skill_id": "digest", "description": "Condense zebra tables", "content": "Each total.", "volume": "system"}
    assert (await client.post("/skills", skill)).status == 201
    return client.acting_as("alice")


async def found(client: Client, query: str = QUERY) -> list[str]:
    answer = await client.get("/skills?query=" + query.replace(" ", "+"))
    assert answer.status == 200
    return [item["skill_id"] for item in answer.json()["items"]]


async def helped(client: Client, services: Services, rating: str = "up", **given: object) -> str:
    """Ask something that finds the skill by its text, and say what came of it."""
    chat = (await client.post("/chat", {"message": f"{TEXT}: {ASKED}"} | given)).json()
    assert "digest" in [used["skill_id"] for used in chat["skills_used"]]
    answer = await client.post(f"/traces/{chat['trace_id']}/feedback", {"rating": rating})
    assert answer.status == 200
    await services.traces.fold()
    trace_id: str = chat["trace_id"]
    return trace_id


async def test_a_skill_that_helped_is_found_by_what_was_asked(alice: Client, services: Services) -> None:
    assert "digest" not in await found(alice)
    await helped(alice, services)
    assert (await found(alice))[0] == "digest"
    again = await alice.post("/chat", {"message": "The quarterly figures for the supervisory board"})
    assert [used["skill_id"] for used in again.json()["skills_used"]] == ["digest"]


async def test_what_was_only_used_or_did_not_help_counts_for_nothing(alice: Client, services: Services) -> None:
    await found(alice)
    await alice.post("/chat", {"message": f"{TEXT}: {ASKED}"})
    await services.traces.fold()
    assert "digest" not in await found(alice)
    await helped(alice, services, rating="down")
    assert "digest" not in await found(alice)


async def test_nobody_elses_search_sees_it_but_the_teams_what_the_team_was_told(
    alice: Client, services: Services
) -> None:
    bob = alice.acting_as("bob")
    await helped(alice, services)
    assert "digest" not in await found(bob)
    await helped(alice, services, team_id="sre")
    assert (await found(bob))[0] == "digest"


async def test_what_is_not_shared_stays_with_the_person(alice: Client, services: Services) -> None:
    assert (await alice.request("PATCH", "/me", json_body={"share": "none"})).status == 200
    await helped(alice, services, team_id="sre")
    assert "digest" in await found(alice)
    assert "digest" not in await found(alice.acting_as("bob"))


async def test_a_credential_for_skills_alone_is_told_nothing_of_traces(
    alice: Client, client: Client, services: Services
) -> None:
    await helped(alice, services)
    made = await alice.post("/keys", {"name": "reader", "scopes": ["skills:read"]})
    reader = Client(client.app, {"Authorization": f"Bearer {made.json()['key']}"})
    assert "digest" not in await found(reader)


async def test_the_answer_says_what_use_did(alice: Client, services: Services) -> None:
    await helped(alice, services)
    answer = await alice.get("/skills?explain=true&query=" + QUERY.replace(" ", "+"))
    (first, *_) = answer.json()["items"]
    told = first["explanation"]
    assert (first["skill_id"], told["used"], told["code"]) == ("digest", True, "")
    assert told["asked"] == told["total"] > 0
    assert told["meaning"] == 0
    assert (await alice.get("/skills?explain=true")).json()["items"][0]["explanation"] is None


async def test_a_changed_mind_counts(alice: Client, services: Services) -> None:
    trace_id = await helped(alice, services)
    assert "digest" in await found(alice)
    await alice.post(f"/traces/{trace_id}/feedback", {"rating": "down"})
    await services.traces.fold()
    assert "digest" not in await found(alice)


async def test_a_skill_keeps_its_goals_under_another_id(alice: Client, client: Client, services: Services) -> None:
    await helped(alice, services)
    assert (await found(alice))[0] == "digest"
    renamed = await client.post("/skills/digest/rename", {"new_id": "summary", "volume": "system"})
    assert renamed.status == 200
    assert (await found(alice))[0] == "summary"
    await services.traces.reindex()
    assert (await found(alice))[0] == "summary"


async def test_an_erased_trace_takes_its_goal_along_at_once(alice: Client, services: Services) -> None:
    trace_id = await helped(alice, services, team_id="sre")
    bob = alice.acting_as("bob")
    assert "digest" in await found(alice)
    assert "digest" in await found(bob)
    assert (await alice.request("DELETE", f"/traces/{trace_id}")).status == 200
    assert "digest" not in await found(alice)
    assert "digest" not in await found(bob)


async def test_a_forgotten_persons_goals_are_gone(alice: Client, client: Client, services: Services) -> None:
    await helped(alice, services, team_id="sre")
    bob = alice.acting_as("bob")
    assert "digest" in await found(bob)
    assert (await client.request("DELETE", "/users/alice/traces")).status == 200
    assert "digest" not in await found(bob)


async def test_retention_takes_old_goals_along(alice: Client, services: Services) -> None:
    await helped(alice, services)
    assert "digest" in await found(alice)
    await services.eraser.retain(VolumeRef.user("alice"), now_ms() + 1000)
    assert "digest" not in await found(alice)


async def test_restart_and_reindex_bring_it_back_from_git_alone(
    alice: Client, services: Services, settings: Settings
) -> None:
    await helped(alice, services)
    me = await services.accounts.actor("alice")
    await services.traces.fold()
    await services.stop()
    copied = settings.data.with_name("copy")
    shutil.copytree(settings.data, copied, symlinks=True)
    async with open_services(replace(settings, data=copied), serve=False) as again:
        assert (await again.skills.page(me, query=QUERY)).items[0].skill.skill_id == "digest"
        rows = await again.catalog.traces.folded("user:alice")
        await again.catalog.traces.remove(sorted(rows[0]), sorted(rows[1]))
        again.traces.reload()
        assert all(item.skill.skill_id != "digest" for item in (await again.skills.page(me, query=QUERY)).items)
        await again.traces.reindex()
        assert (await again.skills.page(me, query=QUERY)).items[0].skill.skill_id == "digest"


async def test_a_goal_is_kept_redacted(alice: Client, services: Services) -> None:
    await alice.post("/skills", {"skill_id": "mail", "description": "Write a walrus letter", "content": "Be kind."})
    sent = (
        await alice.post("/chat", {"message": "Write a walrus letter to zoe.quux@example.org about my rent"})
    ).json()
    await alice.post(f"/traces/{sent['trace_id']}/feedback", {"rating": "up"})
    await services.traces.fold()
    assert await found(alice, "rent") == ["mail"]
    assert await found(alice, "quux") == []


async def test_an_imported_success_counts_and_the_share_of_each_skill(alice: Client, services: Services) -> None:
    me = await services.accounts.actor("alice")
    used = (SkillUse("digest", "Digest", "system", "v1", 4.0), SkillUse("tea", "Tea", "system", "v1", 1.0))
    await found(alice)
    await services.traces.store_many(me.volume, [_success(used)])
    view = (await services.skills.manager.asked(me))[0]
    weights = {goal.skill_id: goal.weight for goal in view.goals.values()}
    assert weights == {"digest": 1.0, "tea": 0.25}
    assert (await found(alice))[0] == "digest"


async def test_a_later_turn_has_to_stand_by_itself(alice: Client, services: Services) -> None:
    me = await services.accounts.actor("alice")
    used = (SkillUse("digest", "Digest", "system", "v1", 4.0),)
    later = [_success(used, goal="now whistle it", parent=make_ulid(1)), _success(used, goal="whistle a fugue", at=2)]
    await services.traces.store_many(me.volume, later)
    assert await found(alice, "whistling") == ["digest"]
    view = (await services.skills.manager.asked(me))[0]
    assert [goal.text for goal in view.goals.values()] == ["whistle a fugue"]


def _success(used: tuple[SkillUse, ...], goal: str = ASKED, parent: str = "", at: int = 1) -> Trace:
    return trace(at, "alice", goal=goal, outcome=Outcome.SUCCESS, skills_used=used, parent=parent)
