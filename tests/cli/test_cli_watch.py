"""`llmos watch`: one round, many rounds, a server that does not answer, and the file that says how far it is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from llmos_lite.cli.main import run
from llmos_lite.cli.watch import LONGEST, follow_on
from llmos_lite.cli.watching import Kept, Watch, usual_folders
from llmos_lite.core.traces.importers.following import FORGOTTEN, Part
from llmos_lite.errors import StorageFailed, TooLarge, Unauthenticated, Unavailable

SAMPLES = Path(__file__).parents[1] / "core" / "traces" / "importers" / "samples"
SESSION = next((SAMPLES / "codex").glob("*.jsonl")).read_bytes()
OLD = 1_700_000_000
LATER = OLD + FORGOTTEN


def log(path: Path, data: bytes = SESSION) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (OLD, OLD))
    return path


class Server:
    """Takes parts, or does not."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.error: Exception | None = None

    def __call__(self, parts: Sequence[Part]) -> None:
        if self.error:
            raise self.error
        self.parts += parts


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def watching(tmp_path: Path, server: Server) -> Callable[[], Watch]:
    return lambda: Watch([tmp_path / "logs"], Kept.read(tmp_path / "state" / "watch.json", "here alice"), server)


def test_what_was_sent_is_remembered(tmp_path: Path, watching: Callable[[], Watch], server: Server) -> None:
    path = log(tmp_path / "logs" / "2026" / "rollout-1.jsonl")
    log(tmp_path / "logs" / "notes.txt")
    assert watching().round(LATER) == len(SESSION)
    assert watching().round(LATER) == 0
    assert [part.path for part in server.parts] == [path]
    state = tmp_path / "state" / "watch.json"
    assert state.stat().st_mode & 0o777 == 0o600
    other = Watch([tmp_path / "logs"], Kept.read(state, "there alice"), server)
    assert other.round(LATER) == len(SESSION)
    assert watching().round(LATER) == 0


def test_what_the_server_did_not_take_comes_again(
    tmp_path: Path, watching: Callable[[], Watch], server: Server
) -> None:
    log(tmp_path / "logs" / "rollout-1.jsonl")
    watch = watching()
    server.error = Unavailable("server.unreachable", "Nobody answers.")
    for _ in range(2):
        with pytest.raises(Unavailable):
            watch.round(LATER)
    server.error = None
    assert watch.round(LATER) == len(SESSION)
    assert watch.round(LATER) == 0


def test_what_the_server_cannot_take_is_passed_over(
    tmp_path: Path, watching: Callable[[], Watch], server: Server
) -> None:
    log(tmp_path / "logs" / "rollout-1.jsonl")
    server.error = TooLarge("body.too_large", "It is too large.")
    watching().round(LATER)
    server.error = None
    assert watching().round(LATER) == 0


@pytest.mark.parametrize("state", ["", "{", "[]", '{"here alice": 7}', '{"here alice": {"x": {"sent": "many"}}}'])
def test_a_damaged_state_says_nothing(
    tmp_path: Path, watching: Callable[[], Watch], server: Server, state: str
) -> None:
    log(tmp_path / "logs" / "rollout-1.jsonl")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "watch.json").write_text(state)
    assert watching().round(LATER) == len(SESSION)
    assert len(server.parts) == 1


def test_a_state_of_an_earlier_version_holds(tmp_path: Path, watching: Callable[[], Watch]) -> None:
    """It did not say where the person last spoke."""
    path = log(tmp_path / "logs" / "rollout-1.jsonl")
    watching().round(LATER)
    state = tmp_path / "state" / "watch.json"
    kept = json.loads(state.read_text())
    del kept["here alice"][str(path)]["asked"]
    state.write_text(json.dumps(kept))
    assert watching().round(LATER) == 0


def test_a_state_that_cannot_be_written_is_said(tmp_path: Path, server: Server) -> None:
    log(tmp_path / "logs" / "rollout-1.jsonl")
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailed):
        Watch([tmp_path / "logs"], Kept.read(tmp_path / "file" / "watch.json", "x"), server).round(LATER)


def test_files_that_are_gone_are_forgotten(tmp_path: Path, watching: Callable[[], Watch]) -> None:
    path = log(tmp_path / "logs" / "rollout-1.jsonl")
    log(tmp_path / "logs" / "rollout-2.jsonl", SESSION.replace(b"5d0f", b"6d0f"))
    watching().round(LATER)
    path.unlink()
    log(tmp_path / "logs" / "rollout-3.jsonl", SESSION.replace(b"5d0f", b"7d0f"))
    watching().round(LATER)
    kept = json.loads((tmp_path / "state" / "watch.json").read_text())["here alice"]
    assert [Path(name).name for name in sorted(kept)] == ["rollout-2.jsonl", "rollout-3.jsonl"]


def test_the_usual_folders(tmp_path: Path) -> None:
    (tmp_path / ".claude" / "projects").mkdir(parents=True)
    (tmp_path / "elsewhere" / "sessions").mkdir(parents=True)
    found = usual_folders({"HOME": str(tmp_path), "CODEX_HOME": str(tmp_path / "elsewhere")})
    assert found == [tmp_path / ".claude" / "projects", tmp_path / "elsewhere" / "sessions"]
    assert usual_folders({"HOME": str(tmp_path / "nobody")}) == []


class Enough(Exception):
    """The test has seen enough."""


def test_a_server_that_is_away_is_said_once_and_tried_less_and_less() -> None:
    waited: list[float] = []
    notes: list[str] = []

    def look() -> None:
        if len(waited) < 10:
            raise Unavailable("server.unreachable", "Nobody answers.")
        if len(waited) == 12:
            raise Unauthenticated("credential.unknown", "Who are you?")

    with pytest.raises(Unauthenticated):
        follow_on(look, 15.0, waited.append, notes.append)
    assert waited[:4] == [2, 4, 8, 16]
    assert waited[9:] == [LONGEST, 15, 15]
    assert notes == ["Nobody answers. It is tried again.", "The server answers again."]


@pytest.fixture
def data(tmp_path: Path, fresh_data: Path) -> Path:
    """A copy: what is written into the folder that all tests copy, they all see."""
    shutil.copytree(fresh_data, tmp_path / "data", symlinks=True)
    return tmp_path / "data"


def test_one_round_imports_and_the_next_adds_nothing(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LLMOS_URL", "LLMOS_KEY", "LLMOS_USER", "CLAUDE_CONFIG_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / ".codex"))
    log(tmp_path / ".codex" / "sessions" / "2026" / "09" / "01" / "rollout-1.jsonl")
    common = ["--data", str(data), "--json"]
    assert run(["watch", "--once", *common]) == 0
    assert json.loads(capsys.readouterr().out) == {"traces": 4, "duplicates": 0}
    assert run(["watch", "--once", *common]) == 0
    assert json.loads(capsys.readouterr().out) == {"traces": 0, "duplicates": 0}
    assert run(["watch", "--once", *common, "--state", str(tmp_path / "other")]) == 0
    assert json.loads(capsys.readouterr().out) == {"traces": 0, "duplicates": 4}
    assert run(["traces", "list", *common]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 4


def test_there_has_to_be_something_to_follow(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LLMOS_URL", "CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    assert run(["watch", "--once", "--data", str(data)]) == 4
    assert run(["watch", "--once", "--data", str(data), str(tmp_path / "missing")]) == 4
    assert "missing" in capsys.readouterr().err
