from __future__ import annotations

import pytest
from asgi_client import Client
from planted import traces_of
from trace_instance import trace

from llmos_lite.bootstrap import Services
from llmos_lite.core.traces.archive import month_of
from llmos_lite.core.traces.keeping import MS_PER_DAY
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.volumes.access import VolumeRef

MARKER = "seven purple walruses juggle antique teapots quietly"


@pytest.fixture
async def alice(client: Client) -> Client:
    await client.post("/teams", {"team_id": "sre"})
    for name in ("alice", "bob"):
        await client.post("/users", {"user_id": name})
        await client.post("/teams/sre/members", {"user_id": name})
    return client.acting_as("alice")


async def chat(client: Client, message: str = f"Tell me of {MARKER}", **given: object) -> dict[str, str]:
    answer = await client.post("/chat", {"message": message} | given)
    assert answer.status == 200
    return answer.json()


async def test_a_person_erases_a_trace(alice: Client, services: Services) -> None:
    first = await chat(alice, team_id="sre")
    await chat(alice, "And something else", conversation_id=first["conversation_id"])
    bob = alice.acting_as("bob")
    assert (await bob.request("DELETE", f"/traces/{first['trace_id']}")).json()["code"] == "trace.unknown"
    done = await alice.request("DELETE", f"/traces/{first['trace_id']}?reason=Not+for+here")
    assert done.status == 200
    assert {one["volume"] for one in done.json()["volumes"]} == {"user:alice", "team:sre"}
    assert "backups" in done.json()["out_of_reach"]
    assert (await alice.get(f"/traces/{first['trace_id']}")).json()["code"] == "trace.unknown"
    assert (await alice.get("/traces")).json()["total"] == 1
    third = await chat(alice, "Once more", conversation_id=first["conversation_id"])
    assert third["conversation_id"] == first["conversation_id"]
    services.volumes.close()
    assert traces_of(services.settings.data, MARKER) == []


async def test_what_a_forgotten_person_said_about_proposals_goes_too(
    alice: Client, client: Client, services: Services
) -> None:
    policy = {"volume": "team:sre", "review": "required"}
    assert (await client.request("PUT", "/volumes/policy", json_body=policy)).status == 200
    skill = {"skill_id": "tea", "description": "Brews tea", "content": "Boil water."}
    assert (await alice.post("/skills", skill)).status == 201
    made = (await alice.post("/skills/promote", {"skill_id": "tea", "team_id": "sre", "reason": "Good"})).json()
    comments = f"/proposals/{made['proposal_id']}/comments"
    assert (await alice.post(comments, {"text": f"It was about {MARKER}"})).status in {200, 201}
    assert (await alice.acting_as("bob").post(comments, {"text": "I see"})).status in {200, 201}
    done = (await client.request("DELETE", "/users/alice/traces")).json()
    assert done["comments"] >= 1
    kept = (await alice.acting_as("bob").get(f"/proposals/{made['proposal_id']}")).body
    assert MARKER.encode() not in kept
    assert b"I see" in kept
    services.volumes.close()
    assert traces_of(services.settings.data, MARKER) == []


async def test_a_person_is_forgotten(alice: Client, client: Client, services: Services) -> None:
    for _ in range(3):
        await chat(alice, team_id="sre")
    assert (await alice.acting_as("bob").request("DELETE", "/users/alice/traces")).json()["code"] == "role.missing"
    done = await client.request("DELETE", "/users/alice/traces?reason=Left")
    assert done.json()["traces"] == 6
    assert (await alice.get("/traces")).json()["total"] == 0
    assert (await alice.request("DELETE", "/users/alice/traces")).json()["traces"] == 0
    assert (await alice.request("DELETE", "/users/Not%20An%20Id/traces")).json()["code"] == "user.invalid_id"
    services.volumes.close()
    assert traces_of(services.settings.data, MARKER) == []


async def test_a_month_is_archived_and_comes_back(alice: Client, client: Client, services: Services) -> None:
    await services.traces.store_many(VolumeRef.user("alice"), [trace(-245 * 1440, goal=MARKER)])
    (row,) = (await alice.get("/traces")).json()["items"]
    assert (await alice.get("/archives")).json()["total"] == 0
    month = month_of(row["time"])
    archived = await alice.post("/archives", {"month": month})
    assert archived.status == 201
    assert archived.json()["traces"] == 1
    (listed,) = (await client.get("/archives?volume=user:alice")).json()["items"]
    assert listed == archived.json()
    read = await alice.get(f"/traces/{row['trace_id']}")
    assert (read.status, read.json()["code"], read.json()["month"]) == (409, "trace.archived", month)
    refused = await alice.acting_as("bob").post("/archives/restore", {"month": month, "volume": "user:alice"})
    assert refused.json()["code"] == "volume.unknown"
    assert (await alice.post("/archives/restore", {"month": month})).status == 200
    assert (await alice.get(f"/traces/{row['trace_id']}")).status == 200
    assert (await alice.post("/archives", {"month": "nonsense"})).status == 400


async def test_how_long_a_volume_keeps_traces(alice: Client, client: Client, services: Services) -> None:
    await chat(alice)
    await services.traces.fold()
    shown = await client.request("PUT", "/volumes/policy", json_body={"volume": "user:alice", "retention_days": 30})
    assert (shown.json()["retention_days"], shown.json()["review"]) == (30, "none")
    assert services.keeping.retention_days(VolumeRef.user("alice")) == 30
    assert services.keeping.retention_days(VolumeRef.user("bob")) == services.settings.retention_days == 0
    report = await services.eraser.retain(VolumeRef.user("alice"), now_ms() + MS_PER_DAY)
    assert report is not None
    assert (await alice.get("/traces")).json()["total"] == 0
    bad = await client.request("PUT", "/volumes/policy", json_body={"volume": "user:alice", "retention_days": -1})
    assert bad.status == 400
