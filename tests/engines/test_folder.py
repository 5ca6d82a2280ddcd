from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmos_lite.engines import folder
from llmos_lite.engines.folder import check_format, holder, locked, read_or_make, write_private
from llmos_lite.errors import StorageFailed, Unavailable


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_fresh_folder_is_made_private(tmp_path: Path) -> None:
    data = tmp_path / "deep" / "data"
    with locked(data, "http://127.0.0.1:1"):
        assert check_format(data) == 0
        assert read_or_make(data / "admin.key", lambda: "secret") == "secret"
    assert (mode(data), mode(data / "admin.key"), mode(data / "lock")) == (0o700, 0o600, 0o600)
    assert read_or_make(data / "admin.key", lambda: "other") == "secret"
    assert check_format(data) == folder.FORMAT


def test_a_second_owner_is_told_where_the_first_one_is(tmp_path: Path) -> None:
    with locked(tmp_path, "http://127.0.0.1:8420"):
        with pytest.raises(Unavailable) as refused, locked(tmp_path, "http://127.0.0.1:8421"):
            pass
        assert f"is served at http://127.0.0.1:8420 (pid {os.getpid()})" in refused.value.message
        assert "LLMOS_URL=http://127.0.0.1:8420" in refused.value.hint
        assert holder(tmp_path) == folder.Holder(os.getpid(), "http://127.0.0.1:8420")
    assert holder(tmp_path) is None
    with locked(tmp_path, ""), pytest.raises(Unavailable, match="another llmos command"), locked(tmp_path, ""):
        pass


def test_the_lock_goes_with_its_process_however_that_ends(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from llmos_lite.engines.folder import locked\n"
        "with locked(Path(sys.argv[1]), 'http://x'):\n print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        found = holder(tmp_path)
        assert found is not None
        assert found.pid == child.pid
        child.kill()
    assert holder(tmp_path) is None
    with locked(tmp_path, ""):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_a_child_that_an_owner_was_starting_when_it_died_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it runs its own program, a child has the files of its parent, and the lock."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / "lock").write_text(json.dumps({"pid": gone.pid, "url": "http://x"}))
    child = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(child, fcntl.LOCK_EX)
    monkeypatch.setattr(folder.time, "sleep", lambda _: os.close(child))
    with locked(tmp_path, "http://y"):
        assert json.loads((tmp_path / "lock").read_text())["url"] == "http://y"
    child = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(child, fcntl.LOCK_EX)
    monkeypatch.setattr(folder, "PATIENCE", 0.0)
    with pytest.raises(Unavailable), locked(tmp_path, "http://z"):
        pass
    os.close(child)


def test_nobody_owns_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert holder(tmp_path / "none") is None


def test_a_lock_file_without_sense_is_still_a_lock(tmp_path: Path) -> None:
    with locked(tmp_path, "http://x"):
        (tmp_path / "lock").write_text("??")
        assert holder(tmp_path) == folder.Holder(0, "")


@pytest.mark.parametrize(
    ("text", "code"), [("2", "data.newer"), ("99\n", "data.newer"), ("x", "data.format"), ("", "data.format")]
)
def test_another_format_is_refused_with_a_sentence(tmp_path: Path, text: str, code: str) -> None:
    (tmp_path / "format").write_text(text)
    with pytest.raises(Unavailable) as refused:
        check_format(tmp_path)
    assert refused.value.code == code


def test_an_unreadable_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "format").write_bytes(b"\xff\xfe")
    with pytest.raises(Unavailable, match="Could not read the format"):
        check_format(tmp_path)


def test_an_older_folder_is_brought_here_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    monkeypatch.setattr(folder, "FORMAT", 3)
    monkeypatch.setattr(folder, "UPGRADES", {1: lambda _: steps.append(1), 2: lambda _: steps.append(2)})
    (tmp_path / "format").write_text("1\n")
    assert check_format(tmp_path) == 1
    assert steps == [1, 2]
    assert (tmp_path / "format").read_text() == "3\n"


def test_what_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed), locked(tmp_path / "file", ""):
        pass
    with pytest.raises(StorageFailed):
        write_private(tmp_path / "none" / "key", "x")
    (tmp_path / "key").mkdir()
    with pytest.raises(Unavailable, match="Could not read"):
        read_or_make(tmp_path / "key", lambda: "x")
