"""Tool servers from the terminal, on a data folder without a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmos_lite.cli.main import run

TOKEN = "t0ken-that-nobody-sees"


def test_a_tool_server_is_set_shown_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LLMOS_URL", "LLMOS_KEY", "LLMOS_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LLMOS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LLMOS_LLM_PROVIDER", "offline")
    monkeypatch.setenv("LLMOS_ALLOW_PRIVATE_URLS", "on")
    (tmp_path / "token").write_text(TOKEN)
    said = []

    def llmos(*arguments: object) -> int:
        code = run([str(item) for item in ("tool-servers", *arguments)])
        captured = capsys.readouterr()
        said.append(captured.out + captured.err)
        return code

    address = "http://127.0.0.1:9/mcp"
    rules = ["--always", "search", "--ask", "write", "--never", "drop", "--others", "never", "--person", "alice"]
    assert llmos("set", "wiki", address, *rules, "--token-file", tmp_path / "token") == 0
    assert llmos("list", "--json") == 0
    [shown] = json.loads(said[-1])
    assert shown["tools"] == {"search": "always", "write": "ask", "drop": "never"}
    assert (shown["headers"], shown["users"], shown["others"]) == (["Authorization"], ["alice"], "never")
    assert llmos("tools", "wiki") != 0
    assert "was not reached" in said[-1]
    assert llmos("set", "evil", "stdio:///bin/sh") != 0
    assert llmos("remove", "wiki") == 0
    assert llmos("list") == 0
    assert "There is no tool server." in said[-1]
    assert TOKEN not in "".join(said)
