"""The starter skills are valid by the public standard, and their examples run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import skills_ref
import yaml

from llmos_lite.core.skills.starter import FOLDER, starter_skills

SKILLS = starter_skills()
HEAD = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)


def test_there_are_some_for_each_kind_of_work() -> None:
    kinds = [yaml.safe_load(HEAD.findall(text)[0])["metadata"]["category"] for text in SKILLS.values()]
    assert len(SKILLS) >= 8
    assert {kind: kinds.count(kind) >= 3 for kind in kinds} == dict.fromkeys(
        ("coding", "data", "analysis", "writing"), True
    )


@pytest.mark.parametrize("skill_id", SKILLS)
def test_each_is_valid_by_the_public_standard(skill_id: str) -> None:
    assert skills_ref.validate(FOLDER / skill_id) == []


@pytest.mark.parametrize("skill_id", SKILLS)
def test_each_says_when_to_use_it_and_how(skill_id: str) -> None:
    text = SKILLS[skill_id]
    front = yaml.safe_load(HEAD.findall(text)[0])
    assert " Use when " in front["description"]
    assert not set("<>") & set(front["description"])
    assert set(front["metadata"]) == {"title", "category", "keywords"}
    assert HEAD.sub("", text).lstrip().startswith("# ")
    assert "\n## When to use\n" in text
    assert re.search(r"\n## Approach\n\n1\. ", text)
    assert len(text.splitlines()) < 130


@pytest.mark.parametrize("skill_id", SKILLS)
def test_python_in_the_examples_compiles(skill_id: str) -> None:
    for code in re.findall(r"```python\n(.*?)```", SKILLS[skill_id], re.DOTALL):
        compile(code, f"{skill_id}/SKILL.md", "exec")


def test_the_example_script_renames_once_and_touches_nothing_on_a_dry_run(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", SKILLS["python-scripts"], re.DOTALL)
    script, photo = tmp_path / "rename.py", tmp_path / "IMG 1.jpg"
    script.write_text(code)
    photo.touch()
    os.utime(photo, (1_772_366_400, 1_772_366_400))

    def run(*options: str) -> str:
        command = [sys.executable, script, tmp_path, *options]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert run("--dry-run") == "IMG 1.jpg -> 2026-03-01_IMG 1.jpg\n"
    assert photo.exists()
    assert run() == "IMG 1.jpg -> 2026-03-01_IMG 1.jpg\n"
    assert run() == ""
    assert [path.name for path in tmp_path.glob("*.jpg")] == ["2026-03-01_IMG 1.jpg"]
