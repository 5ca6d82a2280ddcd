"""Verifying, changing keys and scrubbing, over the API."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest
from asgi_client import Client
from planted import objects_of

from llmos_lite.bootstrap import Services
from llmos_lite.volumes.access import PLATFORM, VolumeRef

SECRET = "sk-live-4242 of the blue harbour"
SKILL = "---\nname: deploy\ndescription: How to deploy.\n---\n\nUse {} here.\n"


@pytest.fixture
async def alice(client: Client) -> Client:
    await client.post("/teams", {"team_id": "sre"})
    for name in ("alice", "bob"):
        await client.post("/users", {"user_id": name})
        await client.post("/teams/sre/members", {"user_id": name})
    alice = client.acting_as("alice")
    for text in (SECRET, "nothing"):
        body = {"skill_id": "deploy", "content": SKILL.format(text)}
        answer = await alice.post("/skills", body)
        if answer.status == 409:
            answer = await alice.request("PUT", "/skills/deploy", json_body={"content": body["content"]})
        assert answer.status < 300, answer.body
    return alice


def verified(tree: Path, rev: str = "HEAD") -> bool:
    command = ["git", "-c", "safe.directory=*", "-C", str(tree), "verify-commit", rev]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


async def test_a_volume_is_verified_by_its_owner(alice: Client, client: Client) -> None:
    items = (await alice.get("/volumes/verify")).json()["items"]
    assert [(one["volume"], one["repository"], one["sound"]) for one in items] == [
        ("user:alice", "skills", True),
        ("user:alice", "traces", True),
    ]
    assert items[0]["platform"] == items[0]["commits"] >= 3
    head = items[0]["heads"]["refs/heads/main"]
    again = (await alice.get(f"/volumes/verify?since={head}&objects=false")).json()["items"]
    assert (again[0]["sound"], again[0]["commits"]) == (True, 0)
    lost = (await client.get(f"/volumes/verify?volume=user:alice&since={'1' * 40}")).json()["items"]
    assert [problem["code"] for problem in lost[0]["problems"]] == ["rewound"]
    bob = alice.acting_as("bob")
    assert (await bob.get("/volumes/verify?volume=user:alice")).status == 404
    assert (await bob.get("/volumes/verify?volume=team:sre")).status == 403
    assert (await alice.get("/volumes/verify?since=HEAD")).status == 400
    assert (await client.get("/volumes/verify?volume=team:none")).status == 404


async def test_keys_are_rotated_and_revoked_by_an_admin(alice: Client, client: Client, services: Services) -> None:
    (first,) = (await alice.get("/signing/keys")).json()["items"]
    assert (first["state"], first["until"], first["revoked"]) == ("current", 0, 0)
    assert (await alice.post("/signing/rotate")).status == 403
    assert (await alice.post("/signing/revoke", {"fingerprint": first["fingerprint"]})).status == 403
    current = await client.post("/signing/revoke", {"fingerprint": first["fingerprint"]})
    assert current.json()["code"] == "signing.current_key"
    new, old = (await client.post("/signing/rotate")).json()["items"]
    assert (new["state"], old["state"], old["fingerprint"]) == ("current", "retired", first["fingerprint"])
    await alice.request("PUT", "/skills/deploy", json_body={"content": SKILL.format("another thing")})
    tree = services.volumes.folder(VolumeRef.user("alice"))
    assert await asyncio.to_thread(verified, tree)
    assert await asyncio.to_thread(verified, tree, "HEAD~1")
    unknown = await client.post("/signing/revoke", {"fingerprint": "SHA256:nobody"})
    assert unknown.json()["code"] == "signing.unknown_key"
    assert (await client.post("/signing/revoke", {"fingerprint": "x", "at": -5})).status == 400
    gone = await client.post("/signing/revoke", {"fingerprint": old["fingerprint"], "at": 1_600_000_000_000})
    assert gone.json()["items"][1]["revoked"] == 1_600_000_000_000
    assert not await asyncio.to_thread(verified, tree, "HEAD~1")
    skills = (await alice.get("/volumes/verify?objects=false")).json()["items"][0]
    assert {problem["code"] for problem in skills["problems"]} == {"signature.revoked"}
    assert skills["platform"] == 1


async def test_a_secret_is_scrubbed_by_the_owner(alice: Client, services: Services) -> None:
    bob = alice.acting_as("bob")
    body = {"volume": "user:alice", "texts": [SECRET], "reason": "Leaked"}
    assert (await bob.post("/skills/scrub", body)).status == 404
    assert (await alice.post("/skills/scrub", {"texts": []})).json()["code"] == "scrub.text"
    assert (await alice.post("/skills/scrub", {"texts": [SECRET], "reason": SECRET})).json()["code"] == "scrub.reason"
    assert (await alice.post("/skills/scrub", {"quoted": True})).json()["commits"] == 0
    done = await alice.post("/skills/scrub", body)
    assert done.status == 200, done.body
    assert done.json()["commits"] == 2
    assert "clone" in done.json()["out_of_reach"]
    gitdir = services.volumes.folder(VolumeRef.user("alice")) / ".git"
    assert [oid for oid, data in objects_of(gitdir).items() if SECRET.encode() in data] == []
    version = (await alice.get("/skills/deploy")).json()["version"]
    found = services.volumes.open(PLATFORM, VolumeRef.user("alice")).skill_entry("deploy")
    assert found is not None
    assert version == found.version
    history = (await alice.get("/volumes/history")).json()["items"]
    assert history[0]["trailers"]["Scrub-By"] == "alice"
    assert SECRET not in str(history)
    assert all(one["sound"] for one in (await alice.get("/volumes/verify")).json()["items"])
