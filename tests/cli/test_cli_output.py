"""What people and programs see."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path

import pytest

from llmos_lite.cli.archive import Member, members, tar_stream
from llmos_lite.cli.main import run
from llmos_lite.cli.output import Output, one_line, printable, report, size, when
from llmos_lite.errors import Conflict, NotFound

Captured = pytest.CaptureFixture[str]


def test_a_table_is_never_cut(capsys: Captured) -> None:
    Output().table(["A", "B"], [["x", "long " * 30], ["[bold]y", 7]], "none")
    out = capsys.readouterr().out
    assert out.count("long") == 30
    assert "[bold]y" in out


def test_an_empty_table_is_a_sentence(capsys: Captured) -> None:
    Output().table(["A"], [], "Nothing yet.")
    assert capsys.readouterr().out == "Nothing yet.\n"


def test_programs_get_json_and_nothing_else(capsys: Captured) -> None:
    out = Output(as_json=True)
    out.note("not for programs")
    out.show({"a": "ü"}, lambda: out.say("not for programs"))
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"a": "ü"}
    assert captured.err == ""


def test_text_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[31mb\x07\u202ec\n\td\x9b") == "a\ufffd[31mb\ufffd\ufffdc\n\td\ufffd"


def test_a_bar_is_shown_on_a_terminal_only(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    with Output().progress("Working") as step:
        step(1, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Output().progress("Working") as step:
        step(1, 2)
        step(2, 0)


def test_texts_times_and_sizes_are_short() -> None:
    assert one_line("a\n b" + "c" * 100, 10) == "a bcccccc…"
    assert one_line(None) == ""
    assert when(0) == when(None) == ""
    assert when(1_767_225_600_000).startswith(("2025-12-31", "2026-01-01"))
    assert [size(count) for count in (0, 1023, 1024, 5 << 20, 3 << 30, 7 << 50, "x")] == [
        "0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 GiB", "7168.0 TiB", "0 B",
    ]  # fmt: skip


def test_an_error_says_what_to_do(capsys: Captured) -> None:
    report(Conflict("a.code", "It broke.", hint="Mend it."), as_json=False)
    report(Conflict("a.code", "It broke."), as_json=False)
    report(Conflict("a.code", "It broke."), as_json=True)
    *plain, last = capsys.readouterr().err.splitlines()
    assert plain == ["llmos: It broke.", "       Mend it.", "llmos: It broke."]
    assert json.loads(last)["code"] == "a.code"


# The command line itself


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["version"], 0), (["skills", "--help"], 0), (["nonsense"], 2), (["skills", "show"], 2), ([], 2)],
)
def test_exit_codes_mean_something(arguments: list[str], code: int, capsys: Captured) -> None:
    assert run(arguments) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert captured.out or captured.err


def test_an_error_for_programs_is_json(capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("LLMOS_URL", "LLMOS_DATA"):
        monkeypatch.delenv(name, raising=False)
    assert run(["skills", "list", "--json"]) == 4
    assert json.loads(capsys.readouterr().err)["code"] == "data.missing"


# Archives


def test_a_folder_becomes_an_archive_under_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    (folder / "b").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("left out")
    (folder / "b" / "two.txt").write_bytes(b"2" * 1000)
    (folder / "one.txt").write_bytes(b"1")
    (folder / "link").symlink_to("one.txt")
    (tmp_path / "single.txt").write_text("single")
    content = b"".join(tar_stream(members([folder, tmp_path / "single.txt"])))
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert tar.getnames() == ["logs/one.txt", "logs/b/two.txt", "single.txt"]
        file = tar.extractfile("logs/b/two.txt")
        assert file is not None
        assert file.read() == b"2" * 1000


def test_an_empty_archive_is_one() -> None:
    with tarfile.open(fileobj=io.BytesIO(b"".join(tar_stream([])))) as tar:
        assert tar.getnames() == []


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="gone"):
        list(members([tmp_path / "gone"]))


def test_a_file_that_shrinks_stops_the_archive(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("x")
    with pytest.raises(Conflict):
        list(tar_stream([Member("log", tmp_path / "log", 100)]))
