from __future__ import annotations

import pytest
from asgi_client import Client

ROUTES = [("GET", "/me"), ("GET", "/skills"), ("POST", "/chat"), ("GET", "/metrics"), ("GET", "/openapi.json")]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_nothing_is_reachable_without_a_credential(client: Client, method: str, path: str) -> None:
    answer = await client.without_credential().request(method, path, json_body={} if method == "POST" else None)
    assert (answer.status, answer.json()["code"]) == (401, "credential.missing")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    wrong = await client.without_credential().request(method, path, headers={"X-API-Key": "llmos_wrong"})
    assert (wrong.status, wrong.json()["code"]) == (401, "credential.invalid")


async def test_the_key_works_in_either_header(client: Client) -> None:
    key = client.headers["Authorization"].removeprefix("Bearer ")
    for headers in ({"X-API-Key": key}, {"Authorization": f"bearer  {key} "}, {"Authorization": f"BEARER {key}"}):
        answer = await client.without_credential().get("/me", headers=headers)
        assert (answer.status, answer.json()["user_id"]) == (200, "admin")
    basic = await client.without_credential().get("/me", headers={"Authorization": f"Basic {key}"})
    assert basic.status == 401


async def test_the_admin_key_acts_as_somebody_with_only_that_ones_rights(client: Client) -> None:
    alice = client.acting_as("alice")
    me = (await alice.get("/me")).json()
    assert (me["user_id"], me["role"]) == ("alice", "user")
    assert "admin" not in me["scopes"]
    for method, path, body in (
        ("GET", "/users", None),
        ("POST", "/users", {"user_id": "x"}),
        ("POST", "/teams", {"team_id": "x"}),
        ("PATCH", "/users/alice", {"role": "system_admin"}),
        ("GET", "/backup", None),
        ("POST", "/reindex", {}),
        ("GET", "/metrics", None),
    ):
        answer = await alice.request(method, path, json_body=body)
        assert answer.status == 403, path


@pytest.mark.parametrize("name", ["../x", "Alice", "a" * 300, "a%00b", " ", "é"])
async def test_a_name_that_is_no_id_is_refused_and_makes_nobody(client: Client, name: str) -> None:
    answer = await client.get("/me", headers={"X-LLMOS-User": name})
    assert (answer.status, answer.json()["code"]) == (400, "user.invalid_id")
    assert (await client.get("/users")).json()["total"] <= 1


async def test_people_set_what_is_theirs(client: Client) -> None:
    alice = client.acting_as("alice")
    changed = await alice.request("PATCH", "/me", json_body={"share": "none", "record": False, "name": "Alice"})
    assert (changed.status, changed.json()["share"], changed.json()["record"]) == (200, "none", False)
    assert (await alice.get("/me")).json()["name"] == "Alice"
    for wrong in ({"share": "all"}, {"role": "system_admin"}, {"record": "maybe"}, {"name": "x" * 201}, []):
        refused = await alice.request("PATCH", "/me", json_body=wrong)
        assert (refused.status, refused.json()["code"]) == (400, "request.invalid"), wrong
        assert refused.json()["fields"]


async def test_a_persons_setting_keeps_chats_out_of_the_traces(client: Client) -> None:
    alice = client.acting_as("alice")
    await alice.request("PATCH", "/me", json_body={"record": False})
    answer = (await alice.post("/chat", {"message": "How do I review code?"})).json()
    assert (answer["trace_id"], answer["recorded"]) == (None, False)
    assert (await alice.get("/traces")).json()["total"] == 0


async def test_teams_and_members_as_scripts_make_them(client: Client) -> None:
    team = await client.post("/teams", {"team_id": "sre", "name": "Site reliability"})
    assert (team.status, team.json()["name"]) == (201, "Site reliability")
    assert (await client.post("/teams", {"team_id": "sre"})).status == 409
    unknown = await client.post("/teams/sre/members", {"user_id": "bob", "role": "team_admin"})
    assert (unknown.status, unknown.json()["code"]) == (404, "user.unknown")
    for user_id in ("bob", "carol"):
        assert (await client.post("/users", {"user_id": user_id})).status == 201
    member = await client.post("/teams/sre/members", {"user_id": "bob", "role": "team_admin"})
    assert (member.status, member.json()["role"]) == (201, "team_admin")
    bob = client.acting_as("bob")
    assert (await bob.post("/teams/sre/members", {"user_id": "carol", "role": "user"})).status == 201
    listed = (await bob.get("/teams/sre/members?limit=1")).json()
    assert (listed["total"], [item["user_id"] for item in listed["items"]]) == (2, ["bob"])
    second = (await bob.get(f"/teams/sre/members?cursor={listed['next_cursor']}")).json()
    assert ([item["user_id"] for item in second["items"]], second["next_cursor"]) == (["carol"], None)
    assert (await bob.get("/teams")).json()["items"][0]["members"] == 2
    assert (await bob.get("/teams/sre")).json()["team_id"] == "sre"
    assert (await bob.request("DELETE", "/teams/sre/members/carol")).status == 204
    assert (await bob.request("DELETE", "/teams/sre/members/carol")).json()["code"] == "member.unknown"
    dave = client.acting_as("dave")
    for path in ("/teams/sre", "/teams/sre/members", "/teams/none"):
        assert (await dave.get(path)).json()["code"] == "team.unknown"
    assert (await dave.get("/teams")).json()["items"] == []


async def test_a_system_admin_looks_after_people(client: Client) -> None:
    assert (await client.post("/users", {"user_id": "bob", "name": "Bob"})).status == 201
    assert (await client.post("/users", {"user_id": "bob"})).json()["code"] == "user.exists"
    assert (await client.post("/users", {"user_id": "Bob"})).json()["code"] == "user.invalid_id"
    page = (await client.get("/users?limit=1")).json()
    assert (page["total"], page["next_cursor"]) == (2, "admin")
    off = await client.request("PATCH", "/users/bob", json_body={"active": False})
    assert off.json()["active"] is False
    assert (await client.acting_as("bob").get("/me")).json()["code"] == "user.inactive"
    unknown = await client.request("PATCH", "/users/nobody", json_body={"active": False})
    assert unknown.json()["code"] == "user.unknown"
