"""Remotes from the terminal, on a data folder without a server."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from remote_server import bare, git

from llmos_lite.cli.main import run

Command = Callable[..., str]
TOKEN = "t0ken-that-nobody-sees"


@pytest.fixture
def llmos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    for name in ("LLMOS_URL", "LLMOS_KEY", "LLMOS_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LLMOS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LLMOS_LLM_PROVIDER", "offline")
    monkeypatch.setenv("LLMOS_ALLOW_PRIVATE_URLS", "on")
    monkeypatch.setenv("LLMOS_REMOTE_FOLDER", str(tmp_path / "disk"))

    def command(*arguments: object, code: int = 0) -> str:
        capsys.readouterr()
        found = run([str(item) for item in arguments])
        captured = capsys.readouterr()
        assert found == code, captured.err
        assert TOKEN not in captured.out + captured.err
        return captured.out + captured.err

    return command


@pytest.fixture
def ask(llmos: Command) -> Callable[..., Any]:
    return lambda *arguments, code=0: json.loads(llmos(*arguments, "--json", code=code))


def test_a_volume_is_mirrored(llmos: Command, ask: Callable[..., Any], tmp_path: Path) -> None:
    disk = bare(tmp_path / "disk" / "skills.git")
    assert llmos("remotes", "list", "--volume", "system") == "There are no remotes.\n"
    said = llmos("remotes", "add", "disk", f"file://{disk}", "--volume", "system", "--manual", "--direction", "both")
    assert said == "disk is a remote of system.\n"
    assert llmos("remotes", "sync", "disk", "--volume", "system") == "disk: ok\n"
    assert git(disk, "rev-parse", "main")
    (row,) = ask("remotes", "list", "--volume", "system")
    assert (row["name"], row["when"], row["state"]) == ("disk", "manual", "ok")
    assert "skills" in llmos("remotes", "list", "--volume", "system")
    assert "no remote any more" in llmos("remotes", "remove", "disk", "--volume", "system")
    assert "has no remote disk" in llmos("remotes", "sync", "disk", "--volume", "system", code=4)


def test_a_failure_is_an_exit_code(llmos: Command, tmp_path: Path) -> None:
    made = ["remotes", "add", "none", f"file://{tmp_path}/disk/none.git", "--cron", "0 * * * *", "--user", "alice"]
    llmos(*made)
    said = llmos("remotes", "sync", "none", "--user", "alice", code=7)
    assert said.startswith("none: failed\n")
    assert "0 * * * *" in llmos("remotes", "list", "--user", "alice")


def test_secrets_come_from_files(
    llmos: Command, ask: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, web = tmp_path / "token", "https://127.0.0.1:1/x"
    file.write_text(f"{TOKEN}\n")
    assert ask("remotes", "add", "a", web, "--token-file", file, "--username", "bot")["username"] == "bot"
    monkeypatch.setattr("sys.stdin", io.StringIO(TOKEN))
    assert ask("remotes", "add", "b", web, "--token-file", "-", "--traces")["traces"] is True
    said = llmos("remotes", "add", "c", "git@127.0.0.1:x.git", "--new-key")
    assert "Let this key in there:\nssh-ed25519 " in said
    assert ask("remotes", "add", "d", web, "--variable", "LLMOS_REMOTE_D")["credential"] == "variable"
    file.write_text(" \n")
    assert "There is nothing in" in llmos("remotes", "add", "e", web, "--token-file", file, code=2)
    file.write_bytes(b"\xff\xfe")
    assert "is no text" in llmos("remotes", "add", "e", web, "--key-file", file, code=2)
    assert "There is no file" in llmos("remotes", "add", "e", web, "--key-file", tmp_path / "none", code=4)
    assert "Could not read" in llmos("remotes", "add", "e", web, "--key-file", tmp_path, code=9)
