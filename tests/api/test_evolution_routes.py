from __future__ import annotations

import pytest
from asgi_client import Client

from llmos_lite.bootstrap import Services

GOALS = [
    "Write a Python script that renames my photos by date",
    "I need a Python script which renames scans by their date",
    "Please write a Python script to rename invoices by date",
    "Python script for renaming recordings by date",
    "Can you write me a Python script that renames files by date?",
]
COUNTS = {"traces_analyzed", "patterns_detected", "skills_created", "skills_updated", "skipped"}


@pytest.fixture
async def alice(client: Client) -> Client:
    await client.post("/teams", {"team_id": "sre"})
    await client.post("/users", {"user_id": "alice"})
    await client.post("/teams/sre/members", {"user_id": "alice"})
    alice = client.acting_as("alice")
    for goal in GOALS:
        assert (await alice.post("/chat", {"message": goal})).status == 200
    return alice


async def test_what_repeats_becomes_a_skill_and_the_second_run_changes_nothing(alice: Client) -> None:
    run = await alice.post("/evolve", {"scope": "user", "wait": True})
    said = run.json()
    assert (run.status, said["state"]) == (200, "done")
    assert said.keys() >= COUNTS
    assert (said["traces_analyzed"], said["skills_created"]) == (5, 1)
    created = next(item for item in said["details"] if item["action"] == "created")
    skill = (await alice.get(f"/skills/{created['skill_id']}")).json()
    assert (skill["origin"], skill["volume"]) == ("evolution", "user:alice")
    subject = (await alice.get("/volumes/history?limit=1")).json()["items"][0]["subject"]
    assert subject.startswith("Evolution: Create skill")
    assert (await alice.post("/evolve")).json()["skills_created"] == 0

    patterns = (await alice.get("/patterns")).json()
    pattern = patterns["items"][0]
    assert (pattern["count"], pattern["users"], pattern["skill_id"]) == (5, 1, created["skill_id"])
    whole = (await alice.get(f"/patterns/{pattern['pattern_id']}")).json()
    traces = (await alice.get("/traces")).json()["items"]
    assert set(whole["trace_ids"]) == {trace["trace_id"] for trace in traces}
    listed = (await alice.get("/evolutions?limit=1")).json()
    assert (listed["total"], len(listed["items"])) == (2, 1)


async def test_a_run_that_nobody_waits_for_is_followed(alice: Client, client: Client, services: Services) -> None:
    started = await alice.post("/evolve", {"wait": False})
    assert (started.status, started.json()["state"]) == (202, "queued")
    evolution_id = started.json()["evolution_id"]
    await services.runs.wait(evolution_id, 20)
    done = (await alice.get(f"/evolutions/{evolution_id}")).json()
    assert (done["state"], done["traces_analyzed"]) == ("done", 5)
    assert (await alice.get(f"/runs/{evolution_id}")).json()["kind"] == "evolve"
    bob = client.acting_as("bob")
    for path in (f"/evolutions/{evolution_id}", f"/runs/{evolution_id}", "/evolutions/none", "/runs/none"):
        assert (await bob.get(path)).json()["code"] == "run.unknown"
    assert (await client.get(f"/evolutions/{evolution_id}")).status == 200
    assert (await client.get("/runs")).json()["total"] == 1
    assert (await bob.get("/runs")).json()["total"] == 0


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"scope": "everything"}, 400, "request.invalid"),
        ({"scope": "team"}, 400, "evolution.scope"),
        ({"scope": "team", "team_id": "none"}, 404, None),
        ({"scope": "team", "team_id": "../x"}, 400, "team.invalid_id"),
        ({"scope": "system"}, 403, "role.missing"),
        ({"user_id": "bob"}, 400, "request.invalid"),
    ],
)
async def test_only_ones_own_evolution_is_run(alice: Client, body: object, status: int, code: str | None) -> None:
    answer = await alice.post("/evolve", body)
    assert answer.status == status
    assert code is None or answer.json()["code"] == code


async def test_the_admin_runs_the_systems_and_rebuilds_the_rows(alice: Client, client: Client) -> None:
    assert (await client.post("/evolve", {"scope": "system"})).json()["state"] == "done"
    before = (await alice.get("/traces")).json()
    reindexed = await client.post("/reindex", {"wait": True})
    assert (reindexed.status, reindexed.json()["state"]) == (200, "done")
    assert (await alice.get("/traces")).json() == before
    assert (await client.post("/reindex", {"wait": False})).status == 202
    assert (await client.get("/imports/01M824TGNEVE2D3EADSQGF7XJ8")).json()["code"] == "run.unknown"


async def test_a_pattern_of_others_looks_like_none(alice: Client, client: Client) -> None:
    await alice.post("/evolve")
    pattern_id = (await alice.get("/patterns")).json()["items"][0]["pattern_id"]
    bob = client.acting_as("bob")
    assert (await bob.get(f"/patterns/{pattern_id}")).json()["code"] == "pattern.unknown"
    assert (await bob.get("/patterns?volume=user:alice")).json()["code"] == "volume.unknown"
    assert (await client.get("/patterns?volume=user:alice")).json()["total"] == 1


async def test_a_backup_is_streamed_to_the_admin(client: Client) -> None:
    answer = await client.get("/backup")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/gzip")
    assert answer.body[:2] == b"\x1f\x8b"
