"""Tool servers from the terminal, on a data folder without a server."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmos_lite.cli.main import run
from tests.beside import beside
from tests.tool_oauth import browse, client, guarded_beside
from tests.tool_server import tool_host
from tests.upstream import running

TOKEN = "t0ken-that-nobody-sees"


Terminal = Callable[..., int]


@pytest.fixture
def said() -> list[str]:
    """What was said, command by command."""
    return []


@pytest.fixture
def llmos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: list[str]
) -> Terminal:
    for name in ("LLMOS_URL", "LLMOS_KEY", "LLMOS_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LLMOS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LLMOS_LLM_PROVIDER", "offline")
    monkeypatch.setenv("LLMOS_ALLOW_PRIVATE_URLS", "on")

    def llmos(*arguments: object) -> int:
        code = run([str(item) for item in ("tool-servers", *arguments)])
        captured = capsys.readouterr()
        said.append(captured.out + captured.err)
        return code

    return llmos


def test_a_tool_server_is_set_shown_and_removed(llmos: Terminal, said: list[str], tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    address = "http://127.0.0.1:9/mcp"
    rules = ["--always", "search", "--ask", "write", "--never", "drop", "--others", "never", "--person", "alice"]
    assert llmos("set", "wiki", address, *rules, "--token-file", tmp_path / "token") == 0
    assert "Check its address, which is that of its MCP endpoint, and its credential." in said[-1]
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


def test_a_server_that_wants_a_sign_in_says_so_and_gets_it(llmos: Terminal, said: list[str]) -> None:
    with guarded_beside() as host:
        assert llmos("set", "wiki", host.url, "--others", "always") == 0
        assert "The tool server wiki wants to be signed in to." in said[-1]
        assert "llmos tool-servers sign-in wiki" in said[-1]
        assert llmos("tools", "wiki") != 0
        assert llmos("sign-in", "wiki") == 0
        address = next(word for word in said[-1].split() if word.startswith(f"{host.authority.issuer}/authorize"))
        ended = asyncio.run(browse(address))
        assert llmos("sign-in", "wiki", "--answer", ended) == 0
        assert "wiki is signed in to. It offers 1 tool." in said[-1]
        assert llmos("sign-in", "wiki", "--answer", ended) != 0
        assert llmos("list", "--json") == 0
        assert json.loads(said[-1])[0]["sign_in"] == "done"
        assert llmos("tools", "wiki") == 0
        assert llmos("sign-out", "wiki") == 0
        assert llmos("tools", "wiki") != 0
        assert llmos("set", "wiki", host.url, "--each") == 0
        assert llmos("mine", "--json") == 0
        [mine] = json.loads(said[-1])
        assert (mine["name"], mine["own"], mine["sign_in"]) == ("wiki", True, "needed")
        assert not [text for text in host.authority.texts if text in "".join(said[3:])]


def test_a_client_with_a_secret_signs_in_as_itself(llmos: Terminal, said: list[str], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(TOKEN)
    with guarded_beside() as host:
        host.authority.clients["bot"] = client("bot", TOKEN)
        oauth = ["--client-id", "bot", "--client-secret-file", tmp_path / "secret", "--as-itself"]
        assert llmos("set", "wiki", host.url, *oauth) != 0
        assert "issuer" in said[-1]
        assert llmos("set", "wiki", host.url, *oauth, "--issuer", host.authority.issuer) == 0
        assert "wiki is a tool server. It offers 1 tool." in said[-1]
        assert llmos("sign-in", "wiki") == 0
        assert "wiki is signed in to." in said[-1]
        assert TOKEN not in "".join(said)


@pytest.mark.parametrize(
    ("typed", "calls"),
    [("y\n", [("delete", "old")]), ("\n", []), ("", [])],
)
def test_a_chat_on_a_terminal_asks_for_leave(
    llmos: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: str,
    calls: list[object],
) -> None:
    with beside(tool_host()) as host, beside(running()) as upstream:
        _chats_with(monkeypatch, upstream.url)
        upstream.script = [[("wiki__delete", '{"page":"old"}')]]
        assert llmos("set", "wiki", host.url) == 0
        typing = io.StringIO(typed)
        monkeypatch.setattr(typing, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stdin", typing)
        assert run(["chat", "tidy up", "--user", "alice"]) == 0
        assert 'Run wiki__delete {"page":"old"}? [y/N] ' in capsys.readouterr().out
        assert (host.calls, len(upstream.chats)) == (calls, 2)


def test_a_chat_without_a_terminal_says_what_waits_for_leave(
    llmos: Terminal, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with beside(tool_host()) as host, beside(running()) as upstream:
        _chats_with(monkeypatch, upstream.url)
        upstream.script = [[("wiki__delete", '{"page":"old"}')]]
        assert llmos("set", "wiki", host.url) == 0
        monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
        assert run(["chat", "tidy up", "--user", "alice"]) == 0
        said = capsys.readouterr()
        assert '[wiki__delete {"page":"old"} waits for your leave' in said.err
        assert (host.calls, len(upstream.chats)) == ([], 1)


def test_what_is_no_server_of_mcp_is_said_to_be_none(llmos: Terminal, said: list[str]) -> None:
    with beside(running()) as upstream:
        assert llmos("set", "plain", f"{upstream.url}/mcp") == 0
        assert "plain was not reached: it answers, but not as a server of MCP." in said[-1]
    assert llmos("set", "Wiki!", "http://127.0.0.1:9/mcp") == 2
    assert "Use lower-case letters" in said[-1]


def _chats_with(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("LLMOS_LLM_PROVIDER", "openai")
    monkeypatch.setenv("LLMOS_LLM_URL", url)
    monkeypatch.setenv("LLMOS_LLM_MODEL", "ask")
