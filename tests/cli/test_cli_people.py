"""Keys, invitations, people and teams by the terminal, on a data folder without a server."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmos_lite.cli.client import Client, Where, connect
from llmos_lite.cli.main import run
from llmos_lite.errors import Forbidden

Command = Callable[..., str]


@pytest.fixture
def llmos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    for name in ("LLMOS_URL", "LLMOS_KEY", "LLMOS_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LLMOS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LLMOS_LLM_PROVIDER", "offline")

    def command(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        found = run(list(arguments))
        said = capsys.readouterr()
        assert (found, "Traceback" in said.err) == (code, False), said.err
        return said.out if code == 0 else said.err

    return command


@pytest.fixture
def ask(llmos: Command) -> Callable[..., Any]:
    return lambda *arguments: json.loads(llmos(*arguments, "--json"))


def test_keys_are_made_listed_and_ended(
    llmos: Command, ask: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    secret = llmos("api-keys", "create", "Build", "--scope", "git", "--scope", "skills:read", "--user", "bob").strip()
    assert secret.startswith("llmos_")
    key_id = secret.split("_")[1]
    (listed,) = ask("api-keys", "list", "--user", "bob")
    assert (listed["key_id"], listed["scopes"]) == (key_id, ["git", "skills:read"])
    assert listed["expires"] - listed["created"] == 365 * 86_400_000
    capsys.readouterr()
    assert run(["api-keys", "create", "For ever", "--scope", "git", "--days", "never"]) == 0
    assert "It holds for ever; `llmos api-keys revoke" in capsys.readouterr().err
    assert ask("api-keys", "create", "Short", "--scope", "git", "--days", 1)["expires"]
    assert ask("api-keys", "create", "None", "--scope", "git", "--days", "never")["expires"] is None
    for wrong in ("0", "-1", "x", "1.5"):
        assert "Use 1 to 3650, or never" in llmos("api-keys", "create", "x", "--scope", "git", "--days", wrong, code=2)
    assert "3650" in llmos("api-keys", "create", "x", "--scope", "git", "--days", 4000, code=2)
    assert key_id in llmos("api-keys", "list", "--of", "*")
    assert "never" in llmos("api-keys", "list")
    assert "does not work any more" in llmos("api-keys", "revoke", key_id)
    assert "revoked" in llmos("api-keys", "list", "--of", "bob")
    assert "no key 'ffffffff'" in llmos("api-keys", "revoke", "ffffffff", code=4)
    assert "--scope" in llmos("api-keys", "create", "Nothing", code=2)


def test_a_name_that_is_nearly_somebodys_makes_no_account(
    llmos: Command, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for new in ("alice", "demo-ana", "user-1"):
        llmos("users", "add", new)
    said = llmos("traces", "list", "--user", "alcie", code=4)
    assert "There is no user 'alcie'. Did you mean alice?" in said
    assert "`llmos users add alcie`, without --user and LLMOS_USER, adds" in said
    monkeypatch.setenv("LLMOS_USER", "demo-anna")
    assert "Did you mean demo-ana?" in llmos("skills", "list", code=4)
    monkeypatch.delenv("LLMOS_USER")
    for named, new in (("alice", False), ("bob", True), ("bob", False), ("user-2", True), ("admin", False)):
        capsys.readouterr()
        assert run(["traces", "list", "--user", named]) == 0
        assert (f"{named} is new here." in capsys.readouterr().err) is new
    llmos("users", "add", "alcie")
    llmos("traces", "list", "--user", "alcie")
    assert {one["user_id"] for one in ask("users", "list")} == {
        "admin", "alice", "alcie", "bob", "demo-ana", "user-1", "user-2"
    }  # fmt: skip


def test_a_key_that_may_not_look_leaves_a_name_to_the_server(llmos: Command) -> None:
    llmos("users", "add", "alice")
    key = llmos("api-keys", "create", "x", "--scope", "traces:read", "--user", "alice").strip()
    with connect(Where(), os.environ) as api:
        other = Client(api.transport, key, "alcie")
        other.check_user()
        assert not other.newcomer
        with pytest.raises(Forbidden):
            other.get("/traces")


def test_urls_for_clients_without_headers(llmos: Command, ask: Callable[..., Any]) -> None:
    llmos("teams", "add", "sre")
    llmos("users", "add", "bob")
    llmos("members", "add", "sre", "bob")
    url = llmos("keys", "catalog", "--team", "sre", "--user", "bob").strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:8420/c/llmos_[0-9a-f]{8}_[0-9a-f]{64}/t/sre", url)
    assert 89 <= (ask("api-keys", "list", "--user", "bob")[-1]["expires"] / 1000 - time.time()) / 86400 <= 90
    assert re.search(r"/mcp/t/llmos_\w+$", llmos("keys", "mcp", "--days", "30", "--user", "bob").strip())
    assert {one["purpose"] for one in ask("api-keys", "list", "--user", "bob")} == {"mcp", "catalog"}
    assert "URL: catalog" in llmos("api-keys", "list", "--user", "bob")
    assert "no team" in llmos("keys", "mcp", "--team", "hr", "--user", "bob", code=4)


def test_people_are_invited_changed_and_shut_out(llmos: Command, ask: Callable[..., Any]) -> None:
    llmos("teams", "add", "sre")
    link = llmos("invitations", "create", "--team", "sre", "--role", "team_admin", "--name", "Bob").strip()
    token = link.partition("token=")[2]
    assert "open" in llmos("invitations", "list", "--team", "sre")
    assert "You are in as bob. Your key: llmos_" in llmos("invitations", "accept", token, "--id", "bob")
    assert "does not hold" in llmos("invitations", "accept", token, "--id", "carol", code=4)
    assert "accepted by bob" in llmos("invitations", "list")
    spare = ask("invitations", "create", "--team", "sre")["invitation_id"]
    assert "does not work any more" in llmos("invitations", "revoke", spare)
    assert ask("users", "change", "bob", "--email", " Bob@Example.org ")["email"] == "bob@example.org"
    assert "knows bob as 42" in llmos("users", "identify", "bob", "openwebui", "42")
    assert "/sign-in?token=" in llmos("users", "link", "bob")
    assert "deactivated" in llmos("users", "deactivate", "bob")
    assert "is deactivated" in llmos("skills", "list", "--user", "bob", code=3)
    assert "active" in llmos("users", "activate", "bob")
    assert {one["user_id"] for one in ask("users", "list", "--service")} == {"sre-cron"}


def test_teams_are_renamed_deleted_and_brought_back(llmos: Command, ask: Callable[..., Any]) -> None:
    llmos("teams", "add", "sre")
    llmos("users", "add", "bob")
    llmos("members", "add", "sre", "bob")
    assert ask("teams", "rename", "sre", "Reliability")["name"] == "Reliability"
    assert "Its volume stays" in llmos("teams", "delete", "sre")
    assert ask("teams", "list") == []
    assert "already, or there was one" in llmos("teams", "add", "sre", code=5)
    assert ask("teams", "restore", "sre")["members"] == 0
