from __future__ import annotations

import asyncio
import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from asgi_client import Client

from llmos_lite.core.skills.install import unpacked
from llmos_lite.core.skills.starter import starter_skills
from llmos_lite.settings import Settings

SKILL = {
    "skill_id": "my-skill",
    "name": "My Skill",
    "category": "coding",
    "description": "Use when a database query in Postgres is slow.",
    "keywords": ["postgres", "slow"],
    "content": "# My Skill\n\n1. Run EXPLAIN ANALYZE.\n",
}
EVERY = len(starter_skills()) + 1
"""Skills that alice sees."""
ROW = {
    "skill_id", "name", "category", "description", "keywords", "volume", "version", "tree", "path", "score",
    "shadowed_by", "held", "held_for", "error", "origin", "explanation",
}  # fmt: skip


@pytest.fixture
async def alice(client: Client) -> Client:
    """Alice, in the team sre with its admin bob, and with a skill of her own."""
    await client.post("/teams", {"team_id": "sre", "name": "SRE"})
    await client.post("/users", {"user_id": "alice"})
    await client.post("/teams/sre/members", {"user_id": "alice", "role": "user"})
    await client.post("/users", {"user_id": "bob"})
    await client.post("/teams/sre/members", {"user_id": "bob", "role": "team_admin"})
    alice = client.acting_as("alice")
    assert (await alice.post("/skills", SKILL)).status == 201
    return alice


def tar(files: dict[str, str]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return target.getvalue()


async def ids(client: Client, query: str = "") -> list[str]:
    return [row["skill_id"] for row in (await client.get(f"/skills{query}")).json()["items"]]


async def test_a_skill_is_created_read_changed_and_deleted(alice: Client) -> None:
    skill = (await alice.get("/skills/my-skill")).json()
    assert (skill["name"], skill["volume"], skill["origin"]) == ("My Skill", "user:alice", "person")
    assert "Run EXPLAIN ANALYZE" in skill["content"]
    changed = await alice.request("PATCH", "/skills/my-skill", json_body={"description": "Use when it is slow."})
    assert (changed.status, changed.json()["description"]) == (200, "Use when it is slow.")
    stale = await alice.request(
        "PUT", "/skills/my-skill", json_body={"content": "# Other", "version": skill["version"]}
    )
    assert (stale.status, stale.json()["code"]) == (409, "skill.changed")
    first = await alice.get(f"/skills/my-skill?version={skill['version']}")
    assert first.json()["description"] == SKILL["description"]
    history = (await alice.get("/skills/my-skill/history")).json()
    assert [commit["subject"] for commit in history["items"]] == ["Update skill: My Skill", "Create skill: My Skill"]
    gone = await alice.request("DELETE", "/skills/my-skill")
    assert (gone.status, gone.json()["author"]) == (200, "alice")
    assert (await alice.get("/skills/my-skill")).json()["code"] == "skill.unknown"
    after = (await alice.get("/skills/my-skill/history?volume=user:alice&limit=1")).json()
    assert (len(after["items"]), after["total"]) == (1, 3)
    rest = (await alice.get(f"/skills/my-skill/history?volume=user:alice&cursor={after['next_cursor']}")).json()
    assert len(rest["items"]) == 2


def git(volume: Path, *words: str) -> str:
    command = ["git", "-C", volume, "-c", "user.name=a", "-c", "user.email=a@x", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


async def test_the_tree_of_a_skill_is_the_one_that_git_knows(alice: Client, settings: Settings) -> None:
    volume = settings.data / "volumes/users/alice"
    (volume / "skills/flat.md").write_text("# Flat\n\nDo it flatly.\n")
    await asyncio.to_thread(git, volume, "add", "-A")
    await asyncio.to_thread(git, volume, "commit", "-qm", "Flat")
    said = await asyncio.to_thread(git, volume, "rev-parse", "HEAD:skills/my-skill")
    rows = {row["skill_id"]: row for row in (await alice.get("/skills?volume=user:alice")).json()["items"]}
    assert rows["my-skill"]["tree"] == said == rows["my-skill"]["version"]
    assert (await alice.get("/skills/my-skill")).json()["tree"] == said
    assert (rows["flat"]["tree"], len(rows["flat"]["version"])) == (None, 40)


async def test_the_best_fit_comes_first(alice: Client) -> None:
    found = (await alice.get("/skills?query=my+skill+slow+database+in+postgres&limit=2")).json()
    assert found["items"][0]["skill_id"] == "my-skill"
    assert set(found["items"][0]) == ROW
    scores = [row["score"] for row in found["items"]]
    assert scores == sorted(scores, reverse=True)
    listed = (await alice.get("/skills?limit=500")).json()
    assert listed["total"] == len(listed["items"]) == EVERY
    assert [row["score"] for row in listed["items"]] == [None] * EVERY


async def test_a_list_comes_in_pages(alice: Client) -> None:
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        page = (await alice.get(f"/skills?limit=4&cursor={cursor}")).json()
        found += [row["skill_id"] for row in page["items"]]
        cursor = page["next_cursor"]
    assert found == sorted(found)
    assert len(found) == EVERY


REFUSED: list[tuple[Any, str]] = [
    (SKILL, "skill.exists"),
    (SKILL | {"skill_id": "../x"}, "skill.invalid_id"),
    (SKILL | {"skill_id": "A"}, "skill.invalid_id"),
    (SKILL | {"skill_id": "a" * 300}, "skill.invalid_id"),
    (SKILL | {"skill_id": "a\0b"}, "skill.invalid_id"),
    (SKILL | {"skill_id": "x", "content": "---\nname: [\n---\n# X"}, "skill.unreadable"),
    (SKILL | {"skill_id": "x", "content": " "}, "skill.empty"),
    (SKILL | {"skill_id": "x", "volume": "team:sre"}, "volume.readonly"),
    (SKILL | {"skill_id": "x", "volume": "system"}, "volume.readonly"),
    (SKILL | {"skill_id": "x", "volume": "user:bob"}, "volume.unknown"),
    (SKILL | {"skill_id": "x", "volume": "team:none"}, "volume.unknown"),
    (SKILL | {"skill_id": "x", "volume": "../etc"}, "volume.invalid"),
    (SKILL | {"unknown": 1}, "request.invalid"),
    ({"skill_id": "x"}, "request.invalid"),
    ("text", "request.invalid"),
]


async def test_bad_input_gets_a_clear_error_and_changes_nothing(alice: Client) -> None:
    before = await ids(alice, "?limit=500")
    for body, code in REFUSED:
        answer = await alice.post("/skills", body)
        assert (answer.json()["code"], 400 <= answer.status < 500) == (code, True), body
        assert answer.headers["content-type"] == "application/problem+json"
    assert await ids(alice, "?limit=500") == before


async def test_a_body_that_is_no_json_says_so(alice: Client) -> None:
    for content in (b"{", b"", b"\xff\xfe", b"\xf1llv\x7f", b"[1,2", b'{"a": "x",}'):
        answer = await alice.request("POST", "/skills", content=content, headers={"content-type": "application/json"})
        assert (answer.status, answer.json()["code"]) in {(400, "request.not_json"), (400, "request.invalid")}, content
    deep = await alice.request("POST", "/skills", content=b"[" * 100_000, headers={"content-type": "application/json"})
    assert (deep.status, deep.json()["code"]) == (400, "request.too_deep")


async def test_half_characters_and_huge_bodies_are_refused(alice: Client) -> None:
    raw = b'{"skill_id": "x", "description": "d", "content": "\\ud800 half"}'
    half = await alice.request("POST", "/skills", content=raw, headers={"content-type": "application/json"})
    assert half.status == 400
    nul = await alice.post("/skills", {"skill_id": "x", "description": "d", "content": "a\0b"})
    assert nul.status == 400
    pieces = (b" " * (1 << 20) for _ in range(50))
    huge = await alice.request("POST", "/skills", content=pieces, headers={"content-type": "application/json"})
    assert (huge.status, huge.json()["code"]) == (413, "request.too_large")


BAD = [
    "/skills/..%2Fx",
    "/skills/A",
    f"/skills/{'a' * 300}",
    "/skills/a%00b",
    "/skills?volume=x",
    "/skills?limit=0",
    "/skills?limit=501",
    "/skills?limit=x",
    "/skills?cursor=!!",
    "/skills/none/history?volume=user:bob",
]


async def test_bad_paths_and_queries_are_refused(alice: Client) -> None:
    for path in BAD:
        answer = await alice.get(path)
        assert answer.status in {400, 404}, path
        assert answer.json()["code"]


async def test_what_is_shadowed_or_broken_is_shown_as_such(alice: Client, client: Client) -> None:
    await client.post("/skills", SKILL | {"volume": "system", "content": "# The system's\n\nText.\n"})
    rows = [row for row in (await alice.get("/skills?limit=500")).json()["items"] if row["skill_id"] == "my-skill"]
    assert {row["volume"]: row["shadowed_by"] for row in rows} == {"user:alice": None, "system": "user:alice"}
    system = await alice.get("/skills/my-skill?volume=system")
    assert "The system's" in system.json()["content"]


async def test_an_archive_of_skills_is_installed_as_one_commit(alice: Client) -> None:
    text = "---\nname: tool-one\ndescription: Use for the first tool.\n---\n# One\n"
    body = tar(
        {"tools/tool-one/SKILL.md": text, "tools/tool-one/run.sh": "echo", "flat.md": text, "broken/SKILL.md": ""}
    )
    done = await alice.request("POST", "/skills/install", content=body, headers={"content-type": "application/x-tar"})
    said = {item["skill_id"]: item["status"] for item in done.json()["items"]}
    assert said == {"tool-one": "created", "flat": "created", "broken": "refused"}
    assert (await alice.get("/skills/tool-one")).json()["files"] == ["run.sh"]
    history = (await alice.get("/volumes/history?limit=1")).json()["items"][0]
    assert history["subject"].startswith("Install 2 skills")
    wrong = await alice.request("POST", "/skills/install?volume=team:sre", content=body)
    assert wrong.json()["code"] == "volume.readonly"
    assert (await alice.request("POST", "/skills/install", content=b"no archive")).status == 400


async def test_promotion_by_team_id_or_by_volume(alice: Client) -> None:
    body = {"skill_id": "my-skill", "reason": "Useful for team"}
    merged = await alice.post("/skills/promote", body | {"team_id": "sre"})
    assert merged.json()["status"] == "merged"
    subject = (await alice.get("/volumes/history?volume=team:sre&limit=1")).json()["items"][0]["subject"]
    assert subject == "Promote 'my-skill' from user:alice - Reason: Useful for team"
    onward = await alice.post("/skills/promote", body | {"from": "team:sre", "to": "system"})
    assert onward.json()["status"] == "open"
    for wrong, code in (
        ({}, "request.invalid"),
        ({"team_id": "sre", "to": "system"}, "request.invalid"),
        ({"team_id": "none"}, "team.unknown"),
        ({"team_id": "../x"}, "team.invalid_id"),
        ({"to": "user:bob"}, "promotion.direction"),
        ({"to": "nowhere"}, "volume.invalid"),
        ({"team_id": "sre", "skill_id": "none"}, "skill.unknown"),
        ({"team_id": "sre", "from": "user:bob"}, "volume.unknown"),
        ({"team_id": "sre", "reason": " "}, "promotion.reason"),
    ):
        assert (await alice.post("/skills/promote", body | wrong)).json()["code"] == code, wrong


async def test_a_review_waits_for_a_team_admin(alice: Client, client: Client) -> None:
    bob = client.acting_as("bob")
    denied = await alice.request("PUT", "/volumes/policy", json_body={"volume": "team:sre", "review": "required"})
    assert denied.json()["code"] == "role.missing"
    policy = await bob.request("PUT", "/volumes/policy", json_body={"volume": "team:sre", "review": "required"})
    assert policy.json()["review"] == "required"
    body = {"skill_id": "my-skill", "team_id": "sre", "reason": "Useful for team"}
    proposal = (await alice.post("/skills/promote", body)).json()
    assert proposal["status"] == "open"
    listed = (await bob.get("/proposals?state=open")).json()
    assert [item["proposal_id"] for item in listed["items"]] == [proposal["proposal_id"]]
    path = f"/proposals/{proposal['proposal_id']}"
    shown = (await bob.get(path)).json()
    assert "+# My Skill" in shown["diff"]
    assert shown["conflict"] is False
    assert (await alice.post(f"{path}/merge")).json()["code"] == "role.missing"
    assert (await bob.post(f"{path}/merge")).json()["state"] == "merged"
    assert (await bob.post(f"{path}/close")).json()["code"] == "proposal.decided"
    assert "my-skill" in await ids(bob, "?volume=team:sre")
    assert (await client.acting_as("dave").get(path)).json()["code"] == "proposal.unknown"
    assert (await alice.post("/skills/promote", body)).json()["status"] == "unchanged"
    await alice.request("PATCH", "/skills/my-skill", json_body={"content": "# My Skill\n\nBetter.\n"})
    again = (await alice.post("/skills/promote", body)).json()
    assert (await alice.post(f"/proposals/{again['proposal_id']}/close")).json()["state"] == "closed"


async def test_volumes_tell_what_they_hold_to_whom_they_concern(alice: Client, client: Client) -> None:
    mine = (await alice.get("/volumes/stats")).json()
    assert [item["volume"] for item in mine["items"]] == ["system", "team:sre", "user:alice"] or mine["total"] == 2
    one = (await alice.get("/volumes/stats?volume=user:alice")).json()["items"][0]
    assert (one["skills"], one["traces"], one["review"], one["problem"]) == (1, 0, "none", None)
    everything = (await client.get("/volumes/stats?limit=1")).json()
    assert everything["next_cursor"]
    more = (await client.get(f"/volumes/stats?cursor={everything['next_cursor']}")).json()
    assert len(more["items"]) == everything["total"] - 1
    for path in (
        "/volumes/stats?volume=user:bob",
        "/volumes/history?volume=user:bob",
        "/volumes/stats?volume=user:none",
    ):
        assert (await alice.get(path)).json()["code"] == "volume.unknown"
    assert (await alice.get("/volumes/history?volume=team:none")).json()["code"] == "team.unknown"
    assert (await client.get("/volumes/history?volume=user:alice")).json()["total"] == 2
    assert (await alice.get("/volumes/history?cursor=bm9uZQ")).status in {400, 404}


async def test_a_skill_comes_out_as_it_went_in(alice: Client) -> None:
    text = "---\nname: tea\ndescription: Brews tea.\nargument-hint: '[leaf]'\n---\r\nBoil.\r\n"
    sent = await alice.request(
        "POST", "/skills/install", content=tar({"tea/SKILL.md": text, "tea/x.sh": "#!/bin/sh\n"})
    )
    assert "does not know argument-hint" in sent.json()["items"][0]["detail"]
    for form in ("tar.gz", "zip"):
        answer = await alice.get(f"/skills/tea/archive?format={form}")
        assert answer.status == 200
        assert answer.headers["etag"] == f'"{sent.json()["items"][0]["version"]}"'
        assert answer.headers["content-disposition"] == f'attachment; filename="tea.{form}"'
        files = unpacked(io.BytesIO(answer.body))
        assert {name: file[0] for name, file in files.items()} == {"SKILL.md": text.encode(), "x.sh": b"#!/bin/sh\n"}
        again = await alice.request("POST", "/skills/install", content=answer.body)
        assert [(one["skill_id"], one["status"]) for one in again.json()["items"]] == [("tea", "unchanged")]
    assert (await alice.get("/skills/nothing/archive")).json()["code"] == "skill.unknown"
    assert (await alice.get("/skills/tea/archive?format=rar")).status == 400
    assert (await alice.get("/skills/tea/archive?volume=user:bob")).status == 404
