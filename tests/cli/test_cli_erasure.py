"""Erasing and archiving from the terminal, on a data folder without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from trace_instance import Instance, trace

from llmos_lite.cli.main import run
from llmos_lite.volumes.access import VolumeRef

Command = Callable[..., str]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LLMOS_URL", "LLMOS_KEY"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "data"
    monkeypatch.setenv("LLMOS_DATA", str(folder))
    monkeypatch.setenv("LLMOS_LLM_PROVIDER", "offline")
    monkeypatch.setenv("LLMOS_USER", "alice")
    return folder


@pytest.fixture
def llmos(data: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    data.mkdir(mode=0o700)
    asyncio.run(_filled(data))

    def command(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert run(list(arguments)) == code
        captured = capsys.readouterr()
        return captured.out if code == 0 else captured.err

    return command


async def _filled(data: Path) -> None:
    """Put traces of two months into a folder."""
    async with Instance.opened(data) as instance:
        days = [trace(number - 245 * 1440) for number in range(3)] + [trace(5)]
        await instance.log.store_many(VolumeRef.user("alice"), days)
    (data / "rows.db").rename(data / "llmos.db")


def test_a_trace_is_erased_and_a_person_forgotten(llmos: Command) -> None:
    rows = json.loads(llmos("traces", "list", "--json"))
    assert len(rows) == 4
    said = llmos("traces", "erase", rows[0]["trace_id"], code=2)
    assert "--yes" in said
    said = llmos("traces", "erase", rows[0]["trace_id"], "--yes", "--reason", "Not for here")
    assert "Erased 1 trace." in said
    assert "user:alice: months 2026-11" in said
    assert "backups" in said
    assert "no trace" in llmos("traces", "erase", rows[0]["trace_id"], "--yes", code=4)
    assert json.loads(llmos("traces", "forget", "alice", "--yes", "--json"))["traces"] == 3
    assert llmos("traces", "list") == "No traces.\n"


def test_a_month_is_archived_listed_and_restored(llmos: Command) -> None:
    assert llmos("traces", "archives") == "Nothing is archived.\n"
    assert "3 traces in" in llmos("traces", "archive", "2026-03")
    assert "2026-03" in llmos("traces", "archives", "--volume", "user:alice")
    oldest = json.loads(llmos("traces", "list", "--json"))[-1]["trace_id"]
    assert "llmos traces restore 2026-03" in llmos("traces", "show", oldest, code=5)
    assert "is back" in llmos("traces", "restore", "2026-03")
    assert oldest in llmos("traces", "show", oldest)
    assert "not archived" in llmos("traces", "restore", "2026-03", code=4)
