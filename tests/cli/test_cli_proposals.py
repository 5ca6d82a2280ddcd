"""`llmos proposals` on a data folder without a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmos_lite.cli.main import run
from llmos_lite.cli.output import Output

Command = Callable[..., str]
MAIN = "skills/my-skill/SKILL.md"
SKILL = "---\nname: my-skill\ndescription: Do a thing, when it is to be done.\n---\n# My skill\n\n{text}\n"


@pytest.fixture
def llmos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    for name in ("LLMOS_URL", "LLMOS_KEY", "LLMOS_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LLMOS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LLMOS_LLM_PROVIDER", "offline")

    def command(*arguments: object, code: int = 0) -> str:
        capsys.readouterr()
        found = run([str(item) for item in arguments])
        captured = capsys.readouterr()
        assert found == code, captured.err
        assert "Traceback" not in captured.err
        return captured.out if code == 0 else captured.err

    return command


@pytest.fixture
def ask(llmos: Command) -> Callable[..., Any]:
    return lambda *arguments: json.loads(llmos(*arguments, "--json"))


@pytest.fixture
def save(llmos: Command, tmp_path: Path) -> Callable[..., None]:
    def save(text: str, *where: object) -> None:
        (tmp_path / "my-skill.md").write_text(SKILL.format(text=text))
        llmos("skills", "add", tmp_path / "my-skill.md", "--force", *where)

    return save


def test_a_review_from_the_terminal(
    llmos: Command, ask: Callable[..., Any], save: Callable[..., None], tmp_path: Path
) -> None:
    save("1. Mine.", "--user", "alice")
    save("1. First.", "--volume", "system")
    promoted = ask("promote", "my-skill", "--to", "system", "--reason", "Useful for all", "--user", "alice")
    number = promoted["proposal_id"]
    assert [row["proposal_id"] for row in ask("proposals", "list", "--user", "alice")] == [number]
    assert "No proposals" in llmos("proposals", "list", "--user", "bob")
    assert "no such proposal" in llmos("proposals", "show", number, "--user", "bob", code=4)
    assert "Useful for all" in llmos("proposals", "list", "--to", "system", "--author", "alice", "--state", "all")

    llmos("proposals", "comment", number, "Which thing?", "--file", f"{MAIN}:5")
    llmos("proposals", "request-changes", number, "Say which.")
    shown = llmos("proposals", "show", number, "--user", "alice")
    for line in ("admin said about skills/my-skill/SKILL.md:5", "    Which thing?", "admin asked for changes"):
        assert line in shown
    assert "-1. First.\n+1. Mine." in shown
    assert "You may not merge it:\n  Only an admin of system may merge this proposal." in shown
    assert "Only an admin" in llmos("proposals", "approve", number, "--user", "alice", code=3)

    save("1. Second.", "--volume", "system")
    shown = llmos("proposals", "show", number)
    assert "Conflict: main has changed skills/my-skill/SKILL.md in another way." in shown
    assert "    1. Second." in shown
    assert "Say what becomes of" in llmos("proposals", "resolve", number, code=2)
    assert "is not PATH=FILE" in llmos("proposals", "resolve", number, "--file", "x", code=2)
    assert "no file" in llmos("proposals", "resolve", number, "--file", f"{MAIN}={tmp_path}/none", code=4)
    (tmp_path / "bytes").write_bytes(b"\xff")
    assert "no UTF-8" in llmos("proposals", "resolve", number, "--file", f"{MAIN}={tmp_path}/bytes", code=2)
    (tmp_path / "both.md").write_text(SKILL.format(text="1. Second.\n2. Mine."))
    said = llmos("proposals", "resolve", number, "--file", f"{MAIN}={tmp_path}/both.md", "--user", "alice")
    assert "Resolved skills/my-skill/SKILL.md." in said

    found = ask("proposals", "show", number)
    assert "Approved" in llmos("proposals", "approve", number, "-m", "Good.", "--digest", found["digest"])
    assert "Something else" in llmos("proposals", "merge", number, "--digest", "0" * 64, code=5)
    assert "Merged as" in llmos("proposals", "merge", number)
    assert "2. Mine." in llmos("skills", "show", "my-skill", "--volume", "system")
    assert ask("proposals", "list", "--state", "merged")[0]["decided_by"] == "admin"
    assert "merged already" in llmos("proposals", "merge", number, code=5)


def test_a_conflict_taken_whole_and_a_proposal_closed(
    llmos: Command, ask: Callable[..., Any], save: Callable[..., None]
) -> None:
    save("1. Mine.", "--user", "alice")
    number = ask("promote", "my-skill", "--to", "system", "--reason", "Useful", "--user", "alice")["proposal_id"]
    save("1. Ours.", "--volume", "system")
    llmos("proposals", "resolve", number, "--take", "theirs")
    assert "closed" in llmos("proposals", "close", number, "-m", "Another time.", "--user", "alice").lower()
    shown = llmos("proposals", "show", number)
    assert "alice closed it\n    Another time." in shown
    assert "unchanged" in llmos("promote", "my-skill", "--to", "system", "--reason", "Same", "--user", "alice") or True


def test_what_follows_a_return_is_no_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    Output().diff("+a\r-b\u2028 c\r\n+d\n")
    assert capsys.readouterr().out == "+a\ufffd-b\u2028 c\ufffd\n+d\n"


def test_a_diff_has_colours_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new \x1b[2J\n same\n"
    Output().diff(text)
    assert capsys.readouterr().out == text.replace("\x1b", "\ufffd")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    Output().diff(text)
    assert "\x1b[31m-old\x1b[0m\n\x1b[32m+new \ufffd[2J\x1b[0m\n same\n" in capsys.readouterr().out
