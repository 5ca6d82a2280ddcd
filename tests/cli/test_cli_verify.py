"""Verifying, keys and scrubbing from the terminal, on a data folder without a server."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llmos_lite import __version__
from llmos_lite.cli.main import run
from llmos_lite.engines.signing import Signer
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.git_volume import author_of
from llmos_lite.volumes.manager import VolumeManager

Command = Callable[..., str]
SECRET = "sk-live-4242 of the blue harbour"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LLMOS_URL", "LLMOS_KEY", "LLMOS_USER"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "data"
    monkeypatch.setenv("LLMOS_DATA", str(folder))
    monkeypatch.setenv("LLMOS_LLM_PROVIDER", "offline")
    folder.mkdir(mode=0o700)
    volumes = VolumeManager(folder, Signer.open(folder / "keys"))
    volume = volumes.open(PLATFORM, VolumeRef.user("alice"), write=True)
    for text in (f"Use {SECRET}.", "Use nothing."):
        body = f"---\nname: deploy\ndescription: How to deploy.\n---\n\n{text}\n"
        volume.write_skill("deploy", body, author=author_of("alice"))
    volumes.close()
    return folder


@pytest.fixture
def llmos(data: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    assert data.is_dir()

    def command(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert run(list(arguments)) == code
        captured = capsys.readouterr()
        return captured.out + captured.err

    return command


def test_the_version_is_told_both_ways(llmos: Command) -> None:
    assert llmos("--version") == llmos("version") == f"llmos-lite {__version__}\n"


def test_volumes_are_verified_and_later_only_what_is_new(llmos: Command, data: Path, tmp_path: Path) -> None:
    said = llmos("verify")
    assert "user:alice" in said
    assert "WRONG" not in said
    first = llmos("verify", "user:alice", "--json")
    report = json.loads(first)
    assert [one["commits"] for one in report] == [3, 0]
    before = tmp_path / "before.json"
    before.write_text(first)
    again = json.loads(llmos("verify", "user:alice", "--fast", "--since", str(before), "--json"))
    assert [one["commits"] for one in again] == [0, 0]
    ref = data / "volumes/users/alice/.git/refs/heads/main"
    head = ref.read_text().strip()
    assert [one["commits"] for one in json.loads(llmos("verify", "user:alice", "--since", head, "--json"))] == [0, 0]
    before.write_text('{"nothing": 1}')
    assert "not what" in llmos("verify", "user:alice", "--since", str(before), code=2)
    ref.write_text("1" * 40 + "\n")
    assert "missing" in llmos("verify", "user:alice", "--fast", code=1)


def test_a_key_is_rotated_and_revoked(llmos: Command, data: Path) -> None:
    (key,) = json.loads(llmos("signing", "list", "--json"))
    assert "retired" in llmos("signing", "rotate")
    assert "signs now" not in llmos("signing", "revoke", key["fingerprint"], "--since", "2020-01-01T00:00")
    assert "is not a time" in llmos("signing", "revoke", key["fingerprint"], "--since", "tomorrow", code=2)
    assert json.loads(llmos("signing", "list", "--json"))[1]["revoked"] == 1_577_836_800_000
    assert llmos("signing", "list", "--signers") == (data / "allowed_signers").read_text()
    assert "Its key was revoked at 2020-01-01 00:00:00 UTC." in llmos("verify", "user:alice", code=1)


def test_a_secret_is_scrubbed_and_never_an_argument(
    llmos: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    on = ["skills", "scrub", "--volume", "user:alice"]
    assert "--yes" in llmos(*on, "--file", str(file), code=2)
    said = llmos(*on, "--file", str(file), "--reason", "Leaked", "--yes")
    assert "2 commits of user:alice are new" in said
    assert "clone" in said
    monkeypatch.setattr("sys.stdin", io.StringIO(SECRET))
    assert "No commit of user:alice holds it" in llmos(*on, "--file", "-", "--yes")
    monkeypatch.setattr("typer.prompt", lambda *_, **__: SECRET)
    assert json.loads(llmos(*on, "--yes", "--json"))["commits"] == 0
    assert json.loads(llmos(*on, "--yes", "--quoted", "--json"))["commits"] == 0
    assert "no file" in llmos(*on, "--file", str(tmp_path / "none"), "--yes", code=4)
    file.write_bytes(b"\xff\xfe")
    assert "no text" in llmos(*on, "--file", str(file), "--yes", code=2)
