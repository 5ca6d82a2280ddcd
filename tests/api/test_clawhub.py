"""The ClawHub protocol, by the fields that its client insists on."""

from __future__ import annotations

import io
import zipfile

import pytest
from asgi_client import Client

from llmos_lite.api.app import App

SKILL = {"skill_id": "my-skill", "name": "My Skill", "description": "Use it when Postgres has deadlocks."}
TEXT = "# My Skill\n\n1. Do it.\n"


@pytest.fixture
async def alice(client: Client) -> Client:
    """Alice of sre with a key that reads skills; the team has a skill in two versions."""
    await client.post("/teams", {"team_id": "sre"})
    await client.post("/users", {"user_id": "alice"})
    await client.post("/teams/sre/members", {"user_id": "alice"})
    made = await client.post("/skills", SKILL | {"volume": "team:sre", "content": TEXT})
    assert made.status == 201
    changed = await client.request(
        "PATCH", "/skills/my-skill?volume=team:sre", json_body={"content": f"{TEXT}2. Again.\n"}
    )
    assert changed.status == 200
    key = (await client.acting_as("alice").post("/keys", {"name": "x", "scopes": ["skills:read"]})).json()["key"]
    return Client(client.app, {"Authorization": f"Bearer {key}"})


async def test_a_client_finds_the_registry_and_itself(alice: Client, app: App) -> None:
    assert (await Client(app).get("/.well-known/clawhub.json")).json() == {"apiBase": "http://127.0.0.1:8420"}
    assert (await alice.get("/api/v1/whoami")).json()["user"]["handle"] == "alice"


async def test_a_skill_is_searched_shown_and_installed(alice: Client) -> None:
    (hit, *_) = (await alice.get("/api/v1/search?q=Postgres+deadlocks&limit=5")).json()["results"]
    assert (hit["slug"], hit["version"], hit["ownerHandle"]) == ("my-skill", "1.0.2", "sre")
    assert isinstance(hit["score"], float)
    shown = (await alice.get("/api/v1/skills/my-skill")).json()
    assert shown["skill"]["tags"] == {"latest": "1.0.2"}
    assert shown["latestVersion"].keys() == {"version", "createdAt", "changelog", "license"}
    assert shown["moderation"] is None
    got = await alice.get("/api/v1/download?slug=my-skill&version=1.0.2&ownerHandle=sre")
    assert got.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(got.body)) as archive:
        assert b"2. Again." in archive.read("SKILL.md")
    assert (await alice.get("/api/v1/download?slug=sre--my-skill&tag=latest")).body == got.body
    older = await alice.get("/api/v1/download?slug=my-skill&version=1.0.1")
    assert older.body != got.body


async def test_versions_and_files_are_listed(alice: Client) -> None:
    first = (await alice.get("/api/v1/skills/my-skill/versions?limit=1")).json()
    assert ([one["version"] for one in first["items"]], first["nextCursor"]) == (["1.0.2"], "1.0.2")
    second = (await alice.get("/api/v1/skills/my-skill/versions?limit=1&cursor=1.0.2")).json()
    assert ([one["version"] for one in second["items"]], second["nextCursor"]) == (["1.0.1"], None)
    version = (await alice.get("/api/v1/skills/my-skill/versions/1.0.1")).json()
    (file,) = version["version"]["files"]
    text = await alice.get("/api/v1/skills/my-skill/file?path=SKILL.md&version=1.0.1")
    assert (len(text.body), text.headers["content-type"]) == (file["size"], "application/octet-stream")
    assert len(version["version"]["gitVersion"]) == 40
    resolved = (await alice.get(f"/api/v1/resolve?slug=my-skill&hash={'0' * 64}")).json()
    assert resolved == {"match": None, "latestVersion": {"version": "1.0.2"}}
    listed = (await alice.get("/api/v1/skills?limit=200")).json()
    assert "my-skill" in [one["slug"] for one in listed["items"]]
    assert all(one["latestVersion"]["version"].startswith("1.0.") for one in listed["items"])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/skills/none", 404), ("/api/v1/skills/hr--x", 404), ("/api/v1/skills/..%2f..", 404),
        ("/api/v1/skills/A", 400), ("/api/v1/skills/my-skill/versions/1.0.9", 404),
        ("/api/v1/skills/my-skill/file?path=..%2f..%2fmetadata.json", 404),
        ("/api/v1/skills/my-skill/file?path=%2fetc%2fpasswd", 404),
        ("/api/v1/download?slug=my-skill&version=main", 404),
        ("/api/v1/download?slug=my-skill&tag=old", 400), ("/api/v1/download", 400), ("/api/v1/nothing", 404),
        ("/api/v1/skills/my-skill?ownerHandle=bob", 404), ("/api/v1/skills/my-skill?ownerHandle=..", 400),
    ],
)  # fmt: skip
async def test_errors_are_plain_text(alice: Client, path: str, status: int) -> None:
    answer = await alice.get(path)
    assert (answer.status, answer.headers["content-type"]) == (status, "text/plain; charset=utf-8"), answer.body
    assert answer.body
    assert b"{" not in answer.body


async def test_nobody_reads_without_a_key_for_it(alice: Client, client: Client, app: App) -> None:
    for path in (
        "whoami",
        "search?q=x",
        "skills",
        "skills/my-skill",
        "download?slug=my-skill",
        "resolve?slug=my-skill",
    ):
        answer = await Client(app).get(f"/api/v1/{path}")
        assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="llmos"')
    chats = (await client.acting_as("alice").post("/keys", {"name": "x", "scopes": ["chat"]})).json()["key"]
    assert (await Client(app, {"Authorization": f"Bearer {chats}"}).get("/api/v1/skills")).status == 403
    bob = client.acting_as("bob")
    assert (await bob.get("/api/v1/skills/my-skill")).status == 404
    assert (await bob.get("/api/v1/download?slug=sre--my-skill")).status == 404
    assert (await alice.request("POST", "/api/v1/skills")).status == 405
    assert (await alice.request("DELETE", "/api/v1/skills/my-skill")).status == 405
