"""Remotes over HTTP, as a team's admin, a member and a stranger meet them."""

from __future__ import annotations

from pathlib import Path

import pytest
from asgi_client import Client
from remote_server import bare

from llmos_lite.api.remotes import Credential
from llmos_lite.settings import Settings

TOKEN = "t0ken-that-nobody-sees"
REMOTES = "/volumes/team:sre/remotes"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data=tmp_path / "data", llm_provider="offline", allow_private_urls=True, remote_folder=str(tmp_path / "disk")
    )


@pytest.fixture
def disk(tmp_path: Path) -> str:
    return f"file://{bare(tmp_path / 'disk' / 'skills.git')}"


@pytest.fixture
async def chief(client: Client) -> Client:
    await client.post("/teams", {"team_id": "sre"})
    await client.post("/users", {"user_id": "chief"})
    await client.post("/teams/sre/members", {"user_id": "chief", "role": "team_admin"})
    await client.post("/users", {"user_id": "member"})
    await client.post("/teams/sre/members", {"user_id": "member"})
    return client.acting_as("chief")


async def test_a_remote_is_added_looked_at_changed_and_taken_away(chief: Client, disk: str) -> None:
    made = await chief.post(REMOTES, {"name": "origin", "url": disk, "direction": "both", "when": "manual"})
    assert made.status == 201
    remote = made.json()
    assert (remote["volume"], remote["name"], remote["when"], remote["state"]) == (
        "team:sre",
        "origin",
        "manual",
        "new",
    )
    synced = await chief.post(f"{REMOTES}/origin/sync")
    assert (synced.status, synced.json()["state"], synced.json()["problem"]) == (200, "ok", "")
    assert synced.json()["succeeded"] == synced.json()["tried"] > 0
    listed = (await chief.get(REMOTES)).json()
    assert (listed["total"], listed["items"]) == (1, [synced.json()])
    assert (await chief.get(f"{REMOTES}/origin")).json() == synced.json()
    change = {"when": "schedule", "cron": "0 * * * *", "active": False}
    changed = await chief.request("PATCH", f"{REMOTES}/origin", json_body=change)
    assert {key: changed.json()[key] for key in change} == change
    gone = await chief.request("DELETE", f"{REMOTES}/origin")
    assert (gone.status, gone.body) == (204, b"")
    assert (await chief.get(f"{REMOTES}/origin")).json()["code"] == "remote.unknown"


async def test_a_secret_goes_in_and_never_out(chief: Client) -> None:
    body = {"name": "web", "url": "https://127.0.0.1:1/x", "credential": {"username": "bot", "token": TOKEN}}
    made = await chief.post(REMOTES, body)
    assert (made.json()["credential"], made.json()["username"]) == ("token", "bot")
    answers = [made, await chief.get(REMOTES), await chief.post(f"{REMOTES}/web/sync")]
    assert [TOKEN in answer.body.decode() for answer in answers] == [False] * 3
    member = chief.acting_as("member")
    seen = (await member.get(f"{REMOTES}/web")).json()
    assert (seen["url"], seen["credential"], seen["username"]) == (body["url"], "", "")
    kept = await chief.request("PATCH", f"{REMOTES}/web", json_body={"active": False})
    assert kept.json()["credential"] == "token"
    without = await chief.request("PATCH", f"{REMOTES}/web", json_body={"credential": None})
    assert without.json()["credential"] == ""
    key = {"url": "git@127.0.0.1:x.git", "credential": {"ssh_key": "new"}}
    changed = await chief.request("PATCH", f"{REMOTES}/web", json_body=key)
    assert changed.json()["public_key"].startswith("ssh-ed25519 ")
    assert TOKEN not in repr(Credential(token=TOKEN))


async def test_members_and_strangers_change_nothing(chief: Client, disk: str) -> None:
    body = {"name": "origin", "url": disk}
    await chief.post(REMOTES, body)
    for user, status, code in (("member", 403, "role.missing"), ("stranger", 404, "volume.unknown")):
        somebody = chief.acting_as(user)
        for method, path, sent in (
            ("POST", REMOTES, body), ("PATCH", f"{REMOTES}/origin", {"active": False}),
            ("DELETE", f"{REMOTES}/origin", None), ("POST", f"{REMOTES}/origin/sync", None),
        ):  # fmt: skip
            answer = await somebody.request(method, path, json_body=sent)
            assert (answer.status, answer.json()["code"]) == (status, code)
    assert (await chief.without_credential().get(REMOTES)).status == 401


MEANINGLESS: list[tuple[dict[str, object], str]] = [
    ({"name": "x", "url": "ext::sh -c id"}, "remote.invalid"),
    ({"name": "x", "url": "-oProxyCommand=id"}, "remote.invalid"),
    ({"name": "../x", "url": "https://127.0.0.1/x"}, "remote.invalid_id"),
    ({"name": "x", "url": "https://127.0.0.1/x", "when": "never"}, "request.invalid"),
    ({"name": "x", "url": "https://127.0.0.1/x", "secret": "y"}, "request.invalid"),
    ({"name": "x", "url": "https://127.0.0.1/x", "credential": {}}, "remote.credential"),
    ({"name": "x", "url": "https://127.0.0.1/x", "credential": {"token": "\ud800"}}, "request.invalid"),
    ({"name": "x", "url": "https://127.0.0.1/\ud800"}, "request.invalid"),
    ({"name": "x", "url": "https://127.0.0.1/x", "branch": "\0"}, "branch.invalid"),
    ({"name": "x"}, "request.invalid"),
]


async def test_what_cannot_be_meant_is_said(chief: Client) -> None:
    for body, code in MEANINGLESS:
        answer = await chief.post(REMOTES, body)
        assert (body, answer.status, answer.json()["code"]) == (body, 400, code)
    for path in ("/volumes/x/remotes", "/volumes/team:../remotes", "/volumes/team:sre/remotes/A"):
        assert (await chief.get(path)).status == 400
