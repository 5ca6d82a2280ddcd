"""The README's tour is run literally, against a real server, and shows what it says that it shows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks._server import serving

README = (Path(__file__).parents[1] / "README.md").read_text()
TOUR = re.findall(r"```sh\n(.*?)```", README.partition("## The 60-second tour")[2].partition("\n## ")[0], re.DOTALL)
CUT = "=== next block ==="

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="the tour needs curl")


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Start the server as `make run` does: with its data in ./data, and .venv beside it."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    with serving(tmp_path / "data", LLMOS_LLM_PROVIDER="offline") as server:
        yield server.port


def documents(text: str) -> list[dict[str, Any]]:
    found, at = [], 0
    while (at := text.find("{", at)) >= 0:
        document, at = json.JSONDecoder().raw_decode(text, at)
        found.append(document)
    return found


def test_the_commands_to_run_and_to_test_stand_at_the_top() -> None:
    assert re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[:2] == ["make run\n", "make test\n"]
    assert len(README.splitlines()) <= 120


def test_the_tour_shows_what_it_says(tmp_path: Path, port: int) -> None:
    script = f"\necho '{CUT}'\n".join(TOUR).replace("8420", str(port))
    done = subprocess.run(
        ["sh", "-eu", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=90
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    _, chat, trace, evolve, promote = done.stdout.split(CUT)

    answers = documents(chat)
    assert [answer["skills_used"][0]["volume"] for answer in answers] == ["system"] * 3
    assert re.fullmatch(r"[0-9a-f]{40}", answers[0]["skills_used"][0]["version"])

    (listed,) = documents(trace)
    assert listed["total"] == 3
    assert listed["items"][0]["trace_id"] == answers[-1]["trace_id"]
    assert listed["items"][0]["skills_used"][0]["skill_id"] == answers[-1]["skills_used"][0]["skill_id"]

    report = documents(evolve)[0]
    assert (report["patterns_detected"], report["skills_created"]) == (1, 1)
    assert re.search(r"Evolution: Create skill .* from 3 traces", evolve)
    assert "SKILL.md" in evolve

    *_, promoted, team_mate = documents(promote)
    assert promoted["status"] == "merged"
    assert "from user:alice - Reason: We all rename files" in promote
    assert "team:sre" in {used["volume"] for used in team_mate["skills_used"]}
