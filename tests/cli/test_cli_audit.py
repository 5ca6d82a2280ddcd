"""`llmos audit`, `llmos usage`, `llmos limits` on a data folder without a server."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from llmos_lite.cli.main import run

Command = Callable[..., str]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LLMOS_URL", "LLMOS_KEY", "LLMOS_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LLMOS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LLMOS_LLM_PROVIDER", "offline")
    return tmp_path / "data"


@pytest.fixture
def llmos(data: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    assert not data.exists()

    def command(*arguments: object, code: int = 0) -> str:
        capsys.readouterr()
        found = run([str(item) for item in arguments])
        captured = capsys.readouterr()
        assert found == code, captured.err
        return captured.out + captured.err

    return command


def test_the_log_is_listed_exported_and_verified(llmos: Command, data: Path, tmp_path: Path) -> None:
    said = llmos("limits", "set", "user:alice", "--tokens", 10)
    assert "alice may use 10 tokens and any amount of money a month, any number of requests a minute" in said
    listed = llmos("audit", "list", "--action", "limit.", "--by", "admin", "--after", "2020-01-01")
    assert "limit.set" in listed
    assert "tokens=10" in listed
    (row,) = json.loads(llmos("audit", "list", "--target", "user:alice", "--json"))
    assert (row["action"], row["detail"]) == ("limit.set", {"tokens": "10"})
    assert json.loads(llmos("audit", "export", "--target", "user:").splitlines()[0])["seq"] == row["seq"]
    assert "Wrote" in llmos("audit", "export", tmp_path / "audit.jsonl")
    exported = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [line["action"] for line in exported][:2] == ["limit.set", "audit.export"]
    said = llmos("audit", "verify")
    assert "as they were written" in said
    database = sqlite3.connect(data / "llmos.db")
    database.execute("DROP TRIGGER audit_no_update")
    database.execute("UPDATE audit SET actor = 'nobody' WHERE seq = 1")
    database.commit()
    database.close()
    assert "NOT as it was written. Row 1 was changed" in llmos("audit", "verify", code=1)
    assert json.loads(llmos("audit", "verify", "--json", code=1))["first_wrong"] == 1


def test_usage_is_shown_and_limited(llmos: Command) -> None:
    assert "Nothing was used." in llmos("usage", "--all")
    llmos("chat", "How do I review a pull request?", "--user", "alice")
    assert "user:alice" in llmos("usage", "--all")
    said = llmos("usage", "user:alice")
    assert "1 chat\n" in said
    assert ", no limit\n" in said
    assert json.loads(llmos("usage", "--user", "alice", "--json"))["requests"] == 1
    assert "The settings hold for everybody." in llmos("limits", "list")
    llmos("limits", "set", "user:alice", "--tokens", 1, "--money", 2.5)
    assert "2.5" in llmos("limits", "list")
    assert "user:alice may use in" in llmos("chat", "Again?", "--user", "alice", code=6)
    assert "as everybody" in llmos("limits", "unset", "user:alice")
    llmos("chat", "Again?", "--user", "alice")
    assert "names nobody" in llmos("usage", "nobody", code=2)
