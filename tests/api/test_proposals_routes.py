"""A proposal over HTTP: looked at, discussed, reviewed, resolved, merged; and what a stranger may send."""

from __future__ import annotations

from typing import Any

import pytest
from asgi_client import Client

SKILL = {
    "skill_id": "my-skill",
    "name": "My Skill",
    "description": "Use when a database query in Postgres is slow.",
    "content": "# My Skill\n\n1. Run EXPLAIN ANALYZE.\n",
}
MAIN = "skills/my-skill/SKILL.md"
PROMOTION = {"skill_id": "my-skill", "team_id": "sre", "reason": "Useful for team"}


class People:
    """Alice and carol are in the team sre, bob is its admin, dave is not; the team asks for a review."""

    def __init__(self, admin: Client) -> None:
        self.admin = admin
        self.alice, self.bob, self.carol, self.dave = (
            admin.acting_as(name) for name in ("alice", "bob", "carol", "dave")
        )

    async def set_up(self) -> None:
        await self.admin.post("/teams", {"team_id": "sre", "name": "SRE"})
        for user_id, role in (("alice", "user"), ("carol", "user"), ("bob", "team_admin")):
            await self.admin.post("/users", {"user_id": user_id})
            await self.admin.post("/teams/sre/members", {"user_id": user_id, "role": role})
        policy = {"volume": "team:sre", "review": "required"}
        assert (await self.bob.request("PUT", "/volumes/policy", json_body=policy)).status == 200
        assert (await self.alice.post("/skills", SKILL)).status == 201

    async def propose(self, **more: str) -> str:
        answer = (await self.alice.post("/skills/promote", PROMOTION | more)).json()
        assert answer["status"] == "open", answer
        return f"/proposals/{answer['proposal_id']}"

    async def rewrite(self, content: str) -> None:
        changed = await self.alice.request("PATCH", "/skills/my-skill", json_body={"content": content})
        assert changed.status == 200, changed.body


@pytest.fixture
async def people(client: Client) -> People:
    people = People(client)
    await people.set_up()
    return people


async def ok(answer: Any) -> Any:  # noqa: ANN401 - JSON
    got = await answer
    assert got.status < 300, got.body
    return got.json()


async def code(answer: Any) -> str:  # noqa: ANN401 - a request
    got = await answer
    assert got.status >= 400, got.body
    return str(got.json()["code"])


async def test_a_proposal_is_discussed_approved_and_merged(people: People) -> None:
    path = await people.propose()
    seen = await ok(people.bob.get(path))
    assert "+1. Run EXPLAIN ANALYZE." in seen["diff"]
    assert (seen["may"], seen["mergeable"]) == (["comment", "review", "merge", "close"], True)
    said = await ok(people.carol.post(f"{path}/comments", {"text": "Which\r\nversion?", "path": MAIN, "line": 3}))
    assert said["may"] == ["comment"]
    assert said["obstacles"] == ["Only an admin of team:sre may merge this proposal."]
    await ok(people.bob.post(f"{path}/reviews", {"verdict": "request_changes", "text": "Say which version."}))
    mine = await ok(people.alice.get(path))
    assert (mine["review"], mine["comments"]) == ("changes_requested", 1)
    assert [(event["kind"], event["by"]) for event in mine["timeline"]] == [
        ("opened", "alice"), ("commented", "carol"), ("changes_requested", "bob"),
    ]  # fmt: skip
    assert mine["timeline"][1] | {"at": 0, "digest": ""} == {
        "kind": "commented", "at": 0, "by": "carol", "text": "Which\nversion?", "path": MAIN, "line": 3, "paths": [],
        "commit": "", "approved_by": [], "digest": "", "outdated": False, "erased": False,
    }  # fmt: skip
    assert await code(people.admin.post(f"{path}/merge")) == "proposal.changes_requested"

    await people.rewrite("# My Skill\n\n1. Run EXPLAIN ANALYZE, from version 9.\n")
    assert await people.propose() == path
    fallen = await ok(people.bob.get(path))
    assert (fallen["review"], fallen["reviews"][0]["valid"]) == ("", False)
    assert fallen["timeline"][1]["outdated"]
    stale = {"verdict": "approve", "digest": seen["digest"]}
    assert await code(people.bob.post(f"{path}/reviews", stale)) == "proposal.changed"
    approved = await ok(people.bob.post(f"{path}/reviews", stale | {"digest": fallen["digest"]}))
    assert (approved["review"], approved["reviews"][0]["valid"]) == ("approved", True)
    merged = await ok(people.admin.post(f"{path}/merge", {"digest": fallen["digest"]}))
    assert (merged["state"], merged["decided_by"], merged["may"]) == ("merged", "admin", ["comment"])
    assert merged["timeline"][-1]["approved_by"] == ["bob", "admin"]
    history = (await ok(people.bob.get("/volumes/history?volume=team:sre&limit=1")))["items"][0]
    assert history["subject"] == "Merge pr/alice/my-skill: Useful for team"
    assert history["trailers"]["Approved-By"].split("\n") == ["bob", "admin"]
    assert "from version 9" in merged["diff"]
    assert (await ok(people.carol.post(f"{path}/comments", {"text": "Thanks!"})))["comments"] == 2


async def test_a_conflict_is_shown_and_resolved(people: People) -> None:
    await ok(people.bob.post("/skills", SKILL | {"volume": "team:sre", "content": "# First\n"}))
    path = await people.propose()
    await ok(people.bob.post(f"{path}/reviews", {"verdict": "approve"}))
    row = await ok(people.bob.get("/skills/my-skill?volume=team:sre"))
    new = {"content": "# Second\n", "version": row["version"]}
    await ok(people.bob.request("PATCH", "/skills/my-skill?volume=team:sre", json_body=new))
    seen = await ok(people.alice.get(path))
    assert seen["conflict"]
    (conflict,) = seen["conflicts"]
    assert (conflict["path"], conflict["binary"], conflict["cut"]) == (MAIN, False, False)
    assert ["# First" in conflict["base"], "# Second" in conflict["ours"]] == [True, True]
    assert "EXPLAIN ANALYZE" in conflict["theirs"]
    assert "Both sides changed" in (await ok(people.bob.get(path)))["obstacles"][0]
    assert await code(people.bob.post(f"{path}/merge")) == "proposal.conflict"

    both = conflict["ours"] + "\n1. Run EXPLAIN ANALYZE.\n"
    files = [{"path": MAIN, "content": both}]
    for wrong, found in (
        ({"files": []}, "resolve.missing"),
        ({"files": [*files, {"path": "x", "take": "ours"}]}, "resolve.unknown"),
        ({"files": [{"path": MAIN, "content": "---\nname: ["}]}, "skill.unreadable"),
        ({"files": [{"path": MAIN}]}, "request.invalid"),
        ({"files": [{"path": MAIN, "take": "ours", "content": "x"}]}, "request.invalid"),
        ({"files": files, "seen": "0" * 64}, "proposal.changed"),
    ):
        assert await code(people.alice.post(f"{path}/resolve", wrong)) == found
    assert await code(people.carol.post(f"{path}/resolve", {"files": files})) == "role.missing"
    done = await ok(people.alice.post(f"{path}/resolve", {"files": files, "seen": seen["seen"]}))
    assert (done["conflict"], done["reviews"][0]["valid"]) == (False, False)
    assert await code(people.alice.post(f"{path}/resolve", {"files": files})) == "proposal.no_conflict"
    assert await code(people.bob.post(f"{path}/merge")) == "proposal.approval_fallen"
    merged = await ok(people.bob.post(f"{path}/merge", {"digest": done["digest"]}))
    assert merged["timeline"][-1]["approved_by"] == ["bob"]
    assert (await ok(people.bob.get("/skills/my-skill?volume=team:sre")))["content"] == both


async def test_who_sees_what_and_foreign_proposals_look_like_missing_ones(people: People) -> None:
    path = await people.propose()
    missing = (await people.dave.get("/proposals/01KBFW2Q7XN4T9C2Y4R8M0D6ZV")).json()
    actions = [("GET", "", None)]
    actions += [("POST", "/comments", {"text": "x"}), ("POST", "/reviews", {"verdict": "approve"})]
    actions += [("POST", "/merge", None), ("POST", "/close", None), ("POST", "/resolve", {"files": []})]
    for method, end, body in actions:
        told = (await people.dave.request(method, path + end, json_body=body)).json()
        assert {**told, "request_id": ""} == {**missing, "request_id": ""}, end
    assert (await ok(people.dave.get("/proposals")))["total"] == 0
    assert (await ok(people.carol.get("/proposals?author=alice&target=team:sre&state=open")))["total"] == 1
    assert (await ok(people.carol.get("/proposals?author=bob")))["total"] == 0
    assert (await ok(people.admin.get("/proposals?target=system")))["total"] == 0
    system = {"skill_id": "my-skill", "to": "system", "reason": "For all"}
    proposed = (await ok(people.alice.post("/skills/promote", system)))["proposal_id"]
    assert await code(people.carol.get(f"/proposals/{proposed}")) == "proposal.unknown"
    assert await code(people.bob.get(f"/proposals/{proposed}")) == "proposal.unknown"
    assert (await ok(people.bob.get("/proposals?target=system")))["total"] == 0
    for someone in (people.alice, people.admin):
        assert (await ok(someone.get("/proposals?target=system")))["items"][0]["proposal_id"] == proposed


HOSTILE_IDS = ["x", "..", "..%2F..%2Fetc", "0" * 26, "7" + "Z" * 25, "01kbfw2q7xn4t9c2y4r8m0d6zv", "%00", "a" * 64]


@pytest.mark.parametrize("crafted", HOSTILE_IDS)
async def test_ids_that_are_none_are_not_found(client: Client, crafted: str) -> None:
    for end in ("", "/merge", "/close", "/comments"):
        answer = await client.request("POST" if end else "GET", f"/proposals/{crafted}{end}", json_body={"text": "x"})
        assert answer.status in {400, 404, 405}, (end, answer.body)


async def test_what_somebody_says_is_bounded_and_cannot_steer_a_terminal(people: People) -> None:
    path = await people.propose()
    comments = f"{path}/comments"
    for body, found in (
        ({"text": "x" * 10_001}, "comment.too_long"),
        ({"text": "x" * 20_001}, "request.invalid"),
        ({"text": " \x00\x1b "}, "comment.empty"),
        ({"text": "x", "line": 3}, "request.invalid"),
        ({"text": "x", "path": MAIN, "line": 4000}, "comment.line"),
        ({"text": "x", "path": "../../etc/passwd"}, "comment.path"),
        ({"text": "x", "path": "metadata.json"}, "comment.path"),
        ({"text": "x", "more": 1}, "request.invalid"),
    ):
        assert await code(people.alice.post(comments, body)) == found, body
    raw = b'{"text": "half \\ud800 of it"}'
    half = await people.alice.request("POST", comments, content=raw, headers={"content-type": "application/json"})
    assert half.status in {201, 400}
    said = await ok(people.alice.post(comments, {"text": "\x1b[2Jred\u202e \u200dtab\there\r\nnext\x9b"}))
    assert said["timeline"][-1]["text"] == "[2Jred \u200dtab\there\nnext"
    assert await code(people.bob.post(f"{path}/reviews", {"verdict": "request_changes"})) == "comment.empty"
    assert await code(people.bob.post(f"{path}/reviews", {"verdict": "merged"})) == "request.invalid"
    assert await code(people.alice.post(f"{path}/reviews", {"verdict": "approve"})) == "role.missing"


async def test_closing_says_why_and_another_promotion_opens_another_proposal(people: People) -> None:
    path = await people.propose()
    assert await code(people.carol.post(f"{path}/close", {"reason": "No"})) == "role.missing"
    closed = await ok(people.bob.post(f"{path}/close", {"reason": "We have this\nalready."}))
    assert (closed["state"], closed["decision"], closed["decided_by"]) == ("closed", "We have this\nalready.", "bob")
    for end in ("close", "merge"):
        assert await code(people.bob.post(f"{path}/{end}")) == "proposal.decided"
    assert await code(people.bob.post(f"{path}/reviews", {"verdict": "approve"})) == "proposal.decided"
    again = await people.propose()
    assert again != path
    assert (await ok(people.alice.get("/proposals?state=closed")))["total"] == 1
    assert await people.propose() == again
    assert len((await ok(people.alice.get(again)))["timeline"]) == 1


async def test_a_promotion_of_what_is_there_is_unchanged(people: People) -> None:
    path = await people.propose()
    await ok(people.bob.post(f"{path}/merge"))
    same = await ok(people.alice.post("/skills/promote", PROMOTION))
    head = (await ok(people.bob.get("/volumes/history?volume=team:sre&limit=1")))["items"][0]["commit"]
    assert same == {"status": "unchanged", "proposal_id": "", "commit": head, "held_for": []}
