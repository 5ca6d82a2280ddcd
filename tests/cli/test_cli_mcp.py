"""`llmos mcp`: what stands between a pipe and the protocol over HTTP."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import decode_header_value

from llmos_lite.cli import mcp as command
from llmos_lite.cli.client import Client, Where, connect
from llmos_lite.cli.mcp import lines
from llmos_lite.cli.mcp_pipe import LONGEST, Pipe, _header

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
HANDS = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


class Ends:
    """Both ends of a pipe to a data folder."""

    def __init__(self, data: Path, path: str = "/mcp") -> None:
        self.said: list[dict[str, Any]] = []
        self.opened = 0
        self.pipe = Pipe(lambda: self._open(data), path, lambda message: self.said.append(json.loads(message)))

    def _open(self, data: Path) -> Any:  # noqa: ANN401 - what connect gives
        self.opened += 1
        return connect(Where(data=str(data)), {"LLMOS_LLM_PROVIDER": "offline"})

    def ask(self, method: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever the method takes
        count = len(self.said)
        message = {"jsonrpc": "2.0", "id": count, "method": method, "params": params}
        self.pipe.take(json.dumps(message).encode())
        assert len(self.said) == count + 1, self.said[count:]
        assert self.said[-1]["id"] == count
        return self.said[-1]

    def tell(self, method: str, **params: Any) -> None:  # noqa: ANN401 - as above
        self.pipe.take(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode())

    def shake_hands(self) -> dict[str, Any]:
        found = self.ask("initialize", **HANDS)
        self.tell("notifications/initialized")
        return found


@pytest.fixture
def data(tmp_path: Path, fresh_data: Path) -> Path:
    shutil.copytree(fresh_data, tmp_path / "data", symlinks=True)
    return tmp_path / "data"


@pytest.fixture
def ends(data: Path) -> Iterator[Ends]:
    ends = Ends(data)
    yield ends
    ends.pipe.close()


def test_each_revision_gets_its_answers(ends: Ends) -> None:
    found = ends.ask("server/discover", _meta=META)
    assert found["result"]["supportedVersions"] == ["2026-07-28"]
    listed = ends.ask("tools/call", name="load_skill", arguments={"name": "charts"}, _meta=META)
    assert listed["result"]["content"][0]["text"].startswith("<skill_content")
    assert ends.ask("resources/read", uri="skill://x/ä", _meta=META)["error"]["code"] == -32602
    assert ends.shake_hands()["result"]["protocolVersion"] == "2025-11-25"
    assert ends.ask("ping")["result"] == {}
    assert ends.ask("nothing")["error"]["code"] == -32601
    count = len(ends.said)
    ends.tell("notifications/cancelled", requestId=1)
    assert len(ends.said) == count


def test_a_folder_is_let_go_of_while_nothing_is_asked_and_the_session_goes_on(ends: Ends, data: Path) -> None:
    ends.shake_hands()
    assert ends.ask("ping")["result"] == {}
    ends.pipe.rest()
    with connect(Where(data=str(data)), {}) as other:
        other.post("/skills", {"skill_id": "tidy", "description": "Tidy.", "content": "Do."})
    found = ends.ask("tools/call", name="load_skill", arguments={"name": "tidy"})
    assert "Do." in found["result"]["content"][0]["text"]
    assert ends.opened == 2


def test_who_waits_for_a_folder_too_long_is_told(ends: Ends, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmos_lite.cli.mcp_pipe.PATIENCE", 0.0)
    with connect(Where(data=str(data)), {}):
        said = ends.ask("ping")
    assert said["error"]["data"]["code"] == "data.locked"
    assert ends.ask("server/discover", _meta=META)["result"]


def test_a_folder_tells_of_no_changes(ends: Ends) -> None:
    said = ends.ask("subscriptions/listen", notifications={"resourcesListChanged": True}, _meta=META)
    assert said["error"]["code"] == -32601


def test_a_refusal_of_the_server_is_an_error_of_the_protocol(data: Path) -> None:
    ends = Ends(data, "/mcp/no-such-team")
    said = ends.ask("skills/list", _meta=META)["error"]
    assert said["data"]["code"] == "volume.unknown"
    ends.tell("notifications/initialized")
    assert len(ends.said) == 1
    ends.pipe.close()


@pytest.mark.parametrize(
    ("line", "code"),
    [(b"x", -32700), (b"\xff", -32700), (b"[" * 100_000, -32700), (b"[]", -32600), (b'"x"', -32600), (b"1", -32600),
     (b'{"jsonrpc": "2.0", "id": 1, "result": {}}', None), (b'{"a":' + b" " * LONGEST + b"1}", -32700)],
)  # fmt: skip
def test_what_is_no_message_is_refused_here(ends: Ends, line: bytes, code: int | None) -> None:
    ends.pipe.take(line)
    assert [one["error"]["code"] for one in ends.said] == ([] if code is None else [code])
    assert ends.opened == 0


@given(st.text(max_size=50))
def test_any_text_goes_through_a_header(text: str) -> None:
    header = _header(text)
    assert header.isascii()
    assert "\n" not in header
    assert "\r" not in header
    assert decode_header_value(header) == text.encode(errors="replace").decode()


def test_lines_come_whole_whatever_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "BLOCK", 3)
    monkeypatch.setattr(command, "LONGEST", 10)
    source, end = os.pipe()
    os.write(end, b"one\n\n  \ntwo two\r\n" + b"x" * 50 + b"\nlast")
    os.close(end)
    rested: list[None] = []
    found = list(lines(source, lambda: rested.append(None)))
    os.close(source)
    assert [line.strip() for line in found[:2]] == [b"one", b"two two"]
    assert len(found[2]) <= 14
    assert found[3:] == [b"last"]
    assert not rested


def test_who_asks_nothing_for_a_while_lets_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "IDLE", 0.01)
    source, end = os.pipe()
    assert list(lines(source, lambda: os.close(end))) == []
    os.close(source)


def test_a_client_sends_what_else_it_is_given() -> None:
    sent: list[Any] = []

    class Transport:
        def send(self, request: Any) -> Any:  # noqa: ANN401 - a request
            sent.append(request)
            return type("Reply", (), {"status": 200, "headers": {}})()

        def wait(self, seconds: float) -> None: ...

        def close(self) -> None: ...

    Client(Transport(), "key").send("GET", "/mcp", more={"mcp-session-id": "x"})
    assert sent[0].headers["mcp-session-id"] == "x"
    assert sent[0].headers["authorization"] == "Bearer key"
