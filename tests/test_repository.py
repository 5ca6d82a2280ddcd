"""What is in the repository can be cloned anywhere: no registry host, no path of a machine, nothing huge."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode > 1:
        pytest.skip(f"not a checkout: {done.stderr.strip()}")
    return done.stdout


@pytest.mark.parametrize(
    "pattern",
    [
        # The brackets keep this file from being what it looks for.
        r"[p]ypi\.org|[p]ythonhosted\.org|registry\.[n]pmjs\.org|deb\.[d]ebian\.org",
        r"(^|[^a-zA-Z0-9_.<>-])/([w]ork|[f]arm|[r]oot)/[a-z.]",
        r"[e]xtra-index-url|[f]ind-links",
    ],
    ids=["registry hosts", "paths of a machine", "package indexes"],
)
def test_nothing_names_one_machine(pattern: str) -> None:
    assert git("grep", "-nIE", pattern, "--", ".", ":!LICENSE") == ""


def test_locks_that_hold_hosts_are_not_kept() -> None:
    assert git("ls-files", "--", "uv.lock", "pylock.toml", "poetry.lock") == ""


def test_no_tracked_file_is_over_a_megabyte() -> None:
    tracked = [ROOT / name for name in git("ls-files", "-z").split("\0") if name]
    assert [path.name for path in tracked if path.is_file() and path.stat().st_size > 1 << 20] == []


def test_every_dependency_is_locked_with_a_hash() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "requirements.lock").read_text()
    locked = set(re.findall(r"^([a-z0-9-]+)(?:\[[a-z0-9,-]+\])?==", lock, re.MULTILINE))
    wanted = {re.split(r"[\[<>=; ]", line, maxsplit=1)[0] for line in project["dependencies"]}
    assert wanted <= locked
    assert len(re.findall(r"^[a-z0-9-]+(?:\[[a-z0-9,-]+\])?==\S+", lock, re.MULTILINE)) <= lock.count("--hash=sha256:")


def test_the_version_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f'__version__ = "{project["version"]}"' in (ROOT / "llmos_lite" / "__init__.py").read_text()
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text()
