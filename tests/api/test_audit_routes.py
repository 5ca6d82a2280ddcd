"""What the API records, and what it shows of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asgi_client import Client
from auditing import ADMIN
from fastapi.routing import APIRoute

from llmos_lite.api.app import App
from llmos_lite.api.audited import record_refusal
from llmos_lite.api.audited_routes import ACTIONS
from llmos_lite.api.routes import all_routes
from llmos_lite.bootstrap import Services
from llmos_lite.core.accounts.permissions import Scope
from llmos_lite.errors import RateLimited, StorageFailed, Unauthenticated

SAFE = {"GET", "HEAD", "OPTIONS"}
SKILL = {"skill_id": "my-skill", "description": "How to.", "content": "# My skill\n\n1. Do it.\n"}


def names() -> list[str]:
    return [f"{method} {route.path}" for route in all_routes() for method in sorted(route.methods or ())]  # type: ignore[attr-defined]


def needs_admin(route: object) -> bool:
    found = (
        [getattr(one.call, "scope", None) for one in route.dependant.dependencies]
        if isinstance(route, APIRoute)
        else []
    )
    return Scope.ADMIN in found


def test_every_route_that_changes_something_or_is_for_admins_says_what_is_recorded() -> None:
    wanted = {name for name in names() if name.partition(" ")[0] not in SAFE}
    wanted |= {
        f"{method} {route.path}"
        for route in all_routes()
        if needs_admin(route)
        for method in route.methods  # type: ignore[attr-defined]
    } - {name for name in names() if name.startswith("HEAD ")}
    assert wanted - ACTIONS.keys() == set()
    assert ACTIONS.keys() - set(names()) == set(), "no such route"


def test_no_fact_names_a_secret() -> None:
    secrets = {"key", "token", "password", "secret", "credential", "content", "message", "link", "code"}
    for route, action in ACTIONS.items():
        assert not {fact.strip(">?") for fact in action.facts} & secrets, route
        assert action.name.replace("_", "").replace(".", "").isalpha(), route


async def rows(client: Client, query: str = "") -> list[dict[str, Any]]:
    answer = await client.get(f"/audit{query}")
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_what_was_done_is_there_before_the_answer(client: Client) -> None:
    alice = client.acting_as("alice")
    made = await alice.post("/skills", SKILL, headers={"X-Request-ID": "mine-1"})
    await alice.request("DELETE", "/skills/my-skill?volume=user:alice")
    await client.post("/teams", {"team_id": "sre", "name": "Reliability"})
    await client.post("/teams/sre/members", {"user_id": "alice", "role": "team_admin"})
    deleted, created = (await rows(client, "?action=skill."))[:2]
    assert (created["action"], created["target"], created["actor"]) == ("skill.create", "user:alice/my-skill", "alice")
    assert (created["owner"], created["client"], created["request_id"]) == ("admin", "127.0.0.1", "mine-1")
    assert created["detail"] == {"version": made.json()["version"]}
    assert (deleted["action"], deleted["target"], deleted["result"]) == ("skill.delete", "user:alice/my-skill", "ok")
    (member,) = await rows(client, "?action=member.")
    assert (member["target"], member["about"]) == ("team:sre", "team:sre")
    assert member["detail"] == {"user_id": "alice", "role": "team_admin"}
    assert {row["action"] for row in await rows(alice)} == {"skill.create", "skill.delete", "team.create", "member.set"}
    assert await rows(client.acting_as("bob")) == []


async def test_a_name_is_not_in_the_log_only_that_it_was_changed(client: Client) -> None:
    await client.acting_as("alice").request("PATCH", "/me", json_body={"name": "Alice Liddell", "share": "none"})
    (row,) = await rows(client, "?action=user.change")
    assert row["detail"] == {"name": "given", "share": "none"}


async def test_refusals_are_recorded(client: Client) -> None:
    alice = client.acting_as("alice")
    assert (await alice.post("/users", {"user_id": "bob"})).status == 403
    assert (await alice.get("/users")).status == 403
    assert (await alice.request("DELETE", "/skills/my-skill?volume=team:sre")).status == 404
    assert (await client.without_credential().post("/teams", {"team_id": "x"})).status == 401
    assert (await alice.post("/skills", {"skill_id": "../x", "content": ""})).status == 400
    found = {row["action"]: row for row in await rows(client, "?result=refused")}
    assert found.keys() == {"user.create", "user.list", "skill.delete", "team.create"}
    assert (found["user.create"]["target"], found["user.create"]["code"]) == ("user:bob", "scope.missing")
    assert (found["skill.delete"]["target"], found["skill.delete"]["about"]) == ("team:sre/my-skill", "team:sre")
    assert (found["team.create"]["actor"], found["team.create"]["code"]) == ("", "credential.missing")


async def test_a_key_that_does_not_hold_is_recorded_wherever_it_is_tried(client: Client) -> None:
    wrong = {"Authorization": "Bearer nonsense"}
    stranger = client.without_credential()
    for method, path in (
        ("GET", "/skills"),
        ("POST", "/chat"),
        ("GET", "/metrics"),
        ("GET", "/git/system.git/info/refs"),
    ):
        body = {"message": "x"} if method == "POST" else None
        assert (await stranger.request(method, path, json_body=body, headers=wrong)).status == 401
        await stranger.request(method, path, json_body=body)
    found = await rows(client, "?result=refused")
    assert {row["code"] for row in found} <= {"credential.invalid", "http.401"}
    assert {row["target"] for row in found} >= {"GET /skills"}
    assert all("nonsense" not in json.dumps(row) for row in found)


async def test_strangers_are_slowed_down(client: Client, services: Services) -> None:
    object.__setattr__(services.limits, "defaults", type(services.limits.defaults)(strangers=3))
    stranger, wrong = client.without_credential(), {"Authorization": "Bearer nonsense"}
    statuses = [(await stranger.get("/skills", headers=wrong)).status for _ in range(4)]
    assert statuses == [401, 401, 401, 429]
    refused = await stranger.post("/chat", {"message": "x"}, headers=wrong)
    assert (refused.status, refused.json()["code"]) == (429, "limit.strangers")
    assert int(refused.headers["retry-after"]) >= 1
    assert (await client.get("/me")).status == 200
    scope = {"method": "POST", "path": "/chat", "headers": [], "client": ("127.0.0.1", 1), "state": {}}
    with pytest.raises(RateLimited):
        await record_refusal(services, scope, Unauthenticated("credential.invalid", "No."))


async def test_a_system_admin_who_reads_what_is_somebody_elses_is_recorded(client: Client) -> None:
    alice = client.acting_as("alice")
    trace_id = (await alice.post("/chat", {"message": "Hello there"})).json()["trace_id"]
    assert (await alice.get(f"/traces/{trace_id}")).status == 200
    assert (await client.get(f"/traces/{trace_id}?volume=user:alice")).status == 200
    assert (await client.get("/traces?volume=user:alice")).status == 200
    await client.get("/traces")
    found = await rows(alice, "?action=trace.")
    assert [(row["action"], row["actor"], row["client"]) for row in found] == [
        ("trace.list", "admin", ""),
        ("trace.read", "admin", ""),
    ]
    assert found[1]["target"] == f"user:alice/{trace_id}"


async def test_it_is_exported_and_verified(client: Client) -> None:
    await client.post("/teams", {"team_id": "sre"})
    await client.post("/teams", {"team_id": "sre"})
    exported = await client.get("/audit/export?action=team.")
    assert exported.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in exported.body.splitlines()]
    assert [(line["result"], line["code"]) for line in lines] == [("ok", ""), ("refused", "team.exists")]
    report = (await client.get("/audit/verify")).json()
    assert (report["ok"], report["first_wrong"]) == (True, 0)
    assert [row["action"] for row in await rows(client, "?action=audit.")] == ["audit.verify", "audit.export"]
    for path in ("/audit/export", "/audit/verify"):
        assert (await client.acting_as("alice").get(path)).status == 403


async def test_a_search_that_cannot_be_meant_is_refused(client: Client) -> None:
    for query in ("result=maybe", "after=-1", "limit=0", "cursor=x", f"user={'a' * 65}", "before=x"):
        assert (await client.get(f"/audit?{query}")).status == 400, query


CRAFTED: list[tuple[str, str, bytes]] = [
    ("?" + "&".join(f"a{number}=1" for number in range(200)), "application/json", b'{"team_id": "x"}'),
    ("?%00=%ff", "application/json", b'{"team_id": "\\ud800"}'),
    ("", "application/json", b"[" * 5000),
    ("", "application/json", b'{"team_id": "x", "name": "' + b"y" * 300_000 + b'"}'),
    ("", "text/plain", b"\xff\xfe"),
]


async def test_what_is_crafted_to_break_the_log_is_refused(client: Client) -> None:
    for query, kind, content in CRAFTED:
        headers = {"content-type": kind}
        answer = await client.acting_as("alice").request("POST", f"/teams{query}", content=content, headers=headers)
        assert answer.status in {400, 403}, (query, kind)
    assert (await client.get("/audit/verify")).json()["ok"] is True


async def test_what_was_done_and_cannot_be_recorded_is_said(
    client: Client, services: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def full(*_given: object, **_more: object) -> None:
        raise StorageFailed("storage.full", "The disk is full.")

    monkeypatch.setattr(services.audit, "record", full)
    answer = await client.post("/teams", {"team_id": "sre"})
    assert (answer.status, answer.json()["code"]) == (507, "storage.full")
    assert (await client.acting_as("alice").post("/teams", {"team_id": "x"})).status == 403
    assert "team.create of team:sre is not in the audit log" in caplog.text


async def test_a_failure_of_ours_is_recorded(app: App, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_given: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(app, "_crud", broken)
    monkeypatch.setattr(app._audited, "_app", broken)
    assert (await client.post("/teams", {"team_id": "sre"})).status == 500
    (row,) = await app.services.audit._rows.following(0, limit=10)
    assert (row.action, row.result, row.code) == ("team.create", "failed", "internal")
    assert ADMIN.is_admin
