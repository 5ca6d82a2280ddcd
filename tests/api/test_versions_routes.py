"""Versions over HTTP: what a client sees of them, and what it is refused."""

from __future__ import annotations

import pytest
from asgi_client import Client

SKILL = {"skill_id": "tea", "description": "Brews tea. Use when thirsty.", "content": "# Tea\n\n1. Boil.\n"}


@pytest.fixture
async def alice(client: Client) -> Client:
    """Alice with a skill of three versions; her team sre has another copy."""
    await client.post("/teams", {"team_id": "sre", "name": "SRE"})
    await client.post("/users", {"user_id": "alice"})
    await client.post("/teams/sre/members", {"user_id": "alice", "role": "user"})
    await client.post("/users", {"user_id": "bob"})
    await client.post("/teams/sre/members", {"user_id": "bob", "role": "team_admin"})
    alice = client.acting_as("alice")
    assert (await alice.post("/skills", SKILL)).status == 201
    for body in ("# Tea\n\n1. Boil.\n2. Pour.\n", "# Tea\n\n1. Boil water.\n2. Pour.\n"):
        assert (await alice.request("PATCH", "/skills/tea", json_body={"content": body})).status == 200
    bob = client.acting_as("bob")
    shared = SKILL | {"volume": "team:sre", "content": "# Tea\n\n1. Ask somebody.\n"}
    assert (await bob.post("/skills", shared)).status == 201
    return alice


async def versions(client: Client, query: str = "") -> list[str]:
    return [one["version"] for one in (await client.get(f"/skills/tea/history{query}")).json()["items"]]


async def test_a_history_has_versions_and_comes_in_pages(alice: Client) -> None:
    first = (await alice.get("/skills/tea/history?limit=2")).json()
    assert [one["change"] for one in first["items"]] == ["updated", "updated"]
    assert first["total"] == 3
    rest = (await alice.get(f"/skills/tea/history?limit=2&cursor={first['next_cursor']}")).json()
    assert [(one["change"], one["renamed_from"]) for one in rest["items"]] == [("created", None)]
    assert rest["next_cursor"] is None
    [one] = rest["items"]
    assert (one["skill_id"], one["path"], one["signed"]) == ("tea", "skills/tea/SKILL.md", True)
    shown = (await alice.get(f"/skills/tea?version={one['version']}")).json()
    assert "Pour" not in shown["content"]
    assert shown["version"] == one["version"]
    whole = (await alice.get("/volumes/history?skill_id=tea&limit=1")).json()
    assert (whole["total"], whole["items"][0]["signed"]) == (3, True)


async def test_two_versions_and_two_volumes_are_compared(alice: Client) -> None:
    new, middle, old = await versions(alice)
    found = (await alice.get(f"/skills/tea/diff?from={old}&to={middle}")).json()
    assert (found["old"]["version"], found["new"]["version"]) == (old, middle)
    [file] = found["files"]
    assert (file["path"], file["status"], file["added"], file["removed"]) == ("SKILL.md", "changed", 1, 0)
    assert file["diff"] == found["diff"]
    assert "+2. Pour." in found["diff"]
    latest = (await alice.get("/skills/tea/diff")).json()
    assert (latest["old"]["version"], latest["new"]["version"]) == (middle, new)
    beginning = (await alice.get(f"/skills/tea/diff?to={old}")).json()
    assert (beginning["old"]["version"], beginning["files"][0]["old_size"]) == (None, None)
    other = (await alice.get("/skills/tea/diff?volume=team:sre&from_volume=user:alice")).json()
    assert (other["old"]["volume"], other["new"]["volume"]) == ("user:alice", "team:sre")
    assert "+1. Ask somebody." in other["diff"]


async def test_each_line_has_its_commit(alice: Client) -> None:
    found = (await alice.get("/skills/tea/blame")).json()
    assert (found["complete"], found["path"], found["volume"]) == (True, "SKILL.md", "user:alice")
    lines = {one["text"]: one for one in found["lines"]}
    new, middle, old = await versions(alice)
    assert [lines[text]["version"] for text in ("# Tea", "2. Pour.", "1. Boil water.")] == [old, middle, new]
    assert lines["# Tea"]["author"] == "alice"
    assert [one["line"] for one in found["lines"]] == [*range(1, len(found["lines"]) + 1)]
    before = (await alice.get(f"/skills/tea/blame?version={old[:12]}")).json()
    assert "2. Pour." not in [one["text"] for one in before["lines"]]


async def test_a_file_of_a_version_is_shown(alice: Client) -> None:
    *_, old = await versions(alice)
    found = (await alice.get(f"/skills/tea/file?path=SKILL.md&version={old}")).json()
    assert (found["version"], found["binary"], found["size"]) == (old, False, len(found["content"]))
    assert (await alice.get("/skills/tea/file")).json()["code"] == "request.invalid"
    assert (await alice.get("/skills/tea/file?path=none")).json()["code"] == "file.unknown"


async def test_a_version_comes_back(alice: Client) -> None:
    new, _, old = await versions(alice)
    stale = await alice.post("/skills/tea/restore", {"version": old, "expect": old})
    assert (stale.status, stale.json()["code"]) == (409, "skill.changed")
    done = (await alice.post("/skills/tea/restore", {"version": old, "expect": new})).json()
    assert (done["status"], done["version"], done["volume"]) == ("restored", old, "user:alice")
    [row] = (await alice.get("/skills/tea/history?limit=1")).json()["items"]
    assert (row["commit"], row["subject"]) == (done["commit"], f"Restore skill: tea to {old[:10]}")
    again = (await alice.post("/skills/tea/restore", {"version": old})).json()
    assert (again["status"], again["commit"]) == ("unchanged", None)
    await alice.request("DELETE", "/skills/tea")
    back = await alice.post("/skills/tea/restore", {"version": new, "volume": "user:alice"})
    assert back.json()["status"] == "restored"
    assert "Boil water" in (await alice.get("/skills/tea")).json()["content"]


async def test_a_skill_gets_another_id(alice: Client, client: Client) -> None:
    new, *_ = await versions(alice)
    stale = await alice.post("/skills/tea/rename", {"new_id": "cup", "expect": "0" * 40})
    assert (stale.status, stale.json()["code"]) == (409, "skill.changed")
    made = (await alice.post("/skills/tea/rename", {"new_id": "cup", "expect": new})).json()
    assert (made["skill_id"], made["volume"], made["path"]) == ("cup", "user:alice", "skills/cup/SKILL.md")
    assert (made["origin"], made["held"], made["lint"][:0]) == ("person", False, [])
    items = (await alice.get("/skills/cup/history")).json()["items"]
    assert [(one["change"], one["renamed_from"]) for one in items[:2]] == [("renamed", "tea"), ("updated", None)]
    assert len(items) == 4
    assert (await alice.get("/skills/tea")).json()["volume"] == "team:sre"
    [told] = (await client.get("/audit?action=skill.rename&result=ok")).json()["items"]
    assert (told["target"], told["detail"]) == ("user:alice/tea", {"new_id": "cup", "version": made["version"]})
    for body, status, code in (
        ({"new_id": "Cup"}, 400, "skill.invalid_id"),
        ({"new_id": "cup", "volume": "team:sre"}, 403, "volume.readonly"),
        ({"new_id": "tea", "volume": "user:alice"}, 404, "skill.unknown"),
        ({"name": "cup"}, 400, "request.invalid"),
    ):
        answer = await alice.post("/skills/tea/rename", body)
        assert (answer.status, answer.json()["code"]) == (status, code)
    taken = await alice.post("/skills", SKILL | {"skill_id": "pot"})
    assert taken.status == 201
    answer = await alice.post("/skills/pot/rename", {"new_id": "cup"})
    assert (answer.status, answer.json()["code"]) == (409, "skill.exists")


@pytest.mark.parametrize("version", ["0" * 40, "main", "..%2Fx", "%00", "-n", "é", "g" * 40, "abcdef0"])
async def test_what_is_no_version_is_missing(alice: Client, version: str) -> None:
    for route in ("", "/blame"):
        answer = await alice.get(f"/skills/tea{route}?version={version}")
        assert (answer.status, answer.json()["code"]) == (404, "skill.unknown_version")
    for side in ("from", "to"):
        answer = await alice.get(f"/skills/tea/diff?{side}={version}")
        assert (answer.status, answer.json()["code"]) == (404, "skill.unknown_version")
    answer = await alice.post("/skills/tea/restore", {"version": version})
    assert (answer.status, answer.json()["code"]) == (404, "skill.unknown_version")


async def test_what_others_have_looks_missing(alice: Client, client: Client) -> None:
    *_, old = await versions(alice)
    carol = client.acting_as("carol")
    for query in ("volume=user:alice", f"volume=user:alice&version={old}"):
        for route in ("", "/history", "/blame", "/diff", "/file?path=SKILL.md&x=1"):
            answer = await carol.get(f"/skills/tea{route}{'&' if '?' in route else '?'}{query}")
            assert answer.status == 404
            assert "Boil" not in answer.body.decode()
    answer = await carol.get("/skills/tea/diff?volume=user:carol&from_volume=user:alice")
    assert answer.status == 404
    for volume in ("user:alice", "team:sre"):
        answer = await carol.post("/skills/tea/restore", {"version": old, "volume": volume})
        assert answer.status in {403, 404}
    shared = (await versions(alice, "?volume=team:sre"))[0]
    assert (await alice.get(f"/skills/tea?volume=user:alice&version={shared}")).status == 404
    answer = await alice.post("/skills/tea/restore", {"version": shared, "volume": "team:sre"})
    assert (answer.status, answer.json()["code"]) == (403, "volume.readonly")
    for cursor in ("x", "WyJ0ZWEiLCIwIiwiIl0"):
        assert (await alice.get(f"/skills/tea/history?cursor={cursor}")).json()["code"] == "cursor.invalid"
    assert (await alice.get("/skills/never/history")).json()["code"] == "skill.unknown"
