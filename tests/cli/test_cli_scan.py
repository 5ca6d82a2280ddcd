"""`llmos skills scan` without a server, and on a volume; signing off from the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmos_lite.cli.main import main
from tests.hostile.samples import SAMPLES

BAD = next(one for one in SAMPLES if one.name == "two-files")


def laid(folder: Path) -> Path:
    for path, data in BAD.files.items():
        (folder / BAD.name / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / BAD.name / path).write_bytes(data)
    return folder / BAD.name


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_a_folder_is_scanned_without_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = laid(tmp_path)
    (folder / "link").symlink_to("/etc/passwd")
    assert run("skills", "scan", str(folder)) == 1
    out = capsys.readouterr().out
    assert "high   two-files/scripts/read.py:5" in out
    assert "[exfiltration.flow]" in out
    assert "[file.link]" in out
    assert run("skills", "scan", str(folder), "--json") == 1
    (first, second) = json.loads(capsys.readouterr().out)
    assert first["findings"][0]["category"] == "exfiltration"
    assert second["findings"][0]["file"] == "link"
    assert run("skills", "scan", str(folder), "--sarif") == 1
    log = json.loads(capsys.readouterr().out)
    uris = [one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in log["runs"][0]["results"]]
    assert "two-files/scripts/read.py" in uris


def test_a_volume_is_scanned_and_a_skill_signed_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ("--data", str(tmp_path / "data"))
    folder = laid(tmp_path)
    assert run("skills", "add", str(folder), *data) == 0
    capsys.readouterr()
    assert run("skills", "scan", "--volume", "user:admin", *data) == 1
    assert "[exfiltration.flow]" in capsys.readouterr().out
    run("skills", "list", "--json", *data)
    listed = json.loads(capsys.readouterr().out)
    version = next(one["version"] for one in listed if one["skill_id"] == "two-files")
    assert run("skills", "sign-off", "two-files", "-m", "A sample.", "--digest", version, *data) == 0
    assert "Signed off" in capsys.readouterr().out
    assert run("skills", "sign-off", "two-files", "-m", "A sample.", "--digest", version, *data) != 0
