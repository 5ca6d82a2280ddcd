"""The doctor from the terminal: what it says, how it ends, and that repairing makes the rows anew."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from trace_instance import Instance, trace

from llmos_lite.cli.main import run

Command = Callable[..., str]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LLMOS_URL", "LLMOS_KEY", "LLMOS_USER"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("LLMOS_DATA", str(folder))
    monkeypatch.setenv("LLMOS_LLM_PROVIDER", "offline")
    asyncio.run(_filled(folder))
    (folder / "rows.db").rename(folder / "llmos.db")
    return folder


async def _filled(data: Path) -> None:
    async with Instance.opened(data) as instance:
        for number in range(3):
            await instance.log.record(trace(number))
        await instance.log.fold()
        await instance.log.record(trace(5))


@pytest.fixture
def doctor(data: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    assert run(["stats", "--data", str(data)]) == 0  # the first use of the folder, which makes what a server makes

    def command(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert run(["doctor", *arguments]) == code
        captured = capsys.readouterr()
        return captured.out + captured.err

    return command


def test_rows_that_are_wrong_are_made_anew(doctor: Command, data: Path) -> None:
    assert "BROKEN" not in doctor()
    with closing(sqlite3.connect(data / "llmos.db")) as rows, rows:
        rows.execute("DELETE FROM traces WHERE trace_id = (SELECT min(trace_id) FROM traces)")
    said = doctor(code=1)
    assert "1 event in Git has no row" in said
    found = {one["check"]: one for one in json.loads(doctor("--repair", "--json"))}
    assert found["traces user:alice"]["state"] == "repaired"
    assert found["settings"]["state"] == "ok"
    assert "BROKEN" not in doctor()


def test_a_broken_volume_is_told_and_ends_badly(doctor: Command, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = data / "volumes/users/alice/.git/refs/heads/main"
    ref.write_text("nonsense")
    assert "refs users/alice/.git" in doctor(code=1)
    assert "repaired" in doctor("--repair")
    assert "BROKEN" not in doctor()
    monkeypatch.setenv("LLMOS_PORT", "http")
    assert "LLMOS_PORT" in doctor(code=1)


def test_a_model_server_that_is_not_there_is_a_warning(doctor: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMOS_LLM_PROVIDER", "openai")
    monkeypatch.setenv("LLMOS_LLM_URL", "http://127.0.0.1:1/v1")
    found = {one["check"]: one for one in json.loads(doctor("--json"))}
    assert found["models default"]["state"] == "warning"
    assert "LLMOS_LLM_URL" in found["models default"]["hint"]
