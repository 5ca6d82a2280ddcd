"""The commands that the README names exist, set themselves up, and say what is missing."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TARGETS = ("help", "install", "semantic", "run", "demo", "test", "soak", "check", "bench", "openapi", "lock")


def make(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=inherited | env, capture_output=True, text=True, check=False, timeout=60
    )


def test_help_lists_every_command() -> None:
    listed = re.findall(r"^  make (\w+) +\w", make().stdout, re.MULTILINE)
    assert listed == list(TARGETS)


def test_every_command_can_be_made() -> None:
    assert make("--dry-run", *TARGETS).returncode == 0


@pytest.mark.parametrize(("target", "command"), [("run", "llmos serve --data data"), ("test", "-m pytest -n auto")])
def test_a_clean_clone_sets_itself_up_first(target: str, command: str) -> None:
    steps = make("--dry-run", "--always-make", target).stdout
    assert (
        steps.index("-m venv") < steps.index("requirements.lock") < steps.index("--editable .") < steps.index(command)
    )


def test_an_old_python_is_refused_with_a_sentence(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    refused = make("--always-make", "install", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert refused.returncode != 0
    assert "needs Python 3.11 or newer" in refused.stderr
    assert not (tmp_path / "venv").exists()


def test_the_build_machine_runs_the_readme_s_own_commands() -> None:
    script, readme = (ROOT / ".ci" / "run").read_text(), (ROOT / "README.md").read_text()
    assert "\nmake check\n" in script
    assert "\nmake test\n" in script
    assert "\nmake test\n" in readme
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)
