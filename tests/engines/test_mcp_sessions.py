"""Sessions with MCP servers of others: real ones, and servers that hang, flood or are not there."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmos_lite.engines.mcp_sessions import LONGEST_TEXT, McpSession, Where, checked_endpoint
from llmos_lite.engines.oauth import Refusal
from llmos_lite.errors import Invalid, LlmosError, UpstreamFailed, UpstreamTimeout
from tests.tool_server import ToolHost, old_server, tool_host

PROGRAM = """
from mcp.server import MCPServer
server = MCPServer("local")

@server.tool()
def add(one: int, two: int) -> int:
    "Add"
    return one + two

server.run()
"""


@pytest.fixture
async def host() -> AsyncIterator[ToolHost]:
    async with tool_host() as found:
        yield found


@pytest.fixture
async def session(host: ToolHost) -> AsyncIterator[McpSession]:
    found = McpSession("wiki", Where(url=host.url, headers={"x-key": "s3cret"}, private=True))
    yield found
    await found.close()


async def test_tools_are_listed_and_called_over_one_session(host: ToolHost, session: McpSession) -> None:
    tools = {tool.name: tool for tool in await session.tools()}
    assert set(tools) == {"search", "delete", "slow", "flood", "long", "hang", "broken"}
    assert tools["search"].description == "Search the wiki"
    assert tools["search"].parameters["required"] == ["query"]
    outcomes = await asyncio.gather(*(session.call("search", {"query": word}, 10) for word in ("a", "b")))
    assert [outcome.text[:7] for outcome in outcomes] == ["found a", "found b"]
    assert all(headers["x-key"] == "s3cret" for headers in host.headers)
    assert all(headers["host"] == f"127.0.0.1:{host.port}" for headers in host.headers)


class Lost:
    """Has lost its sign-in."""

    problem: LlmosError | None = None

    async def token(self) -> str:
        self.problem = UpstreamFailed("tool_server.sign_in", "The sign-in does not hold any more.")
        return ""

    async def renewed(self, stale: str) -> str:
        raise NotImplementedError(stale)

    async def refused(self, refusal: Refusal, token: str) -> None:
        raise NotImplementedError(refusal, token)


async def test_what_keeps_a_server_away_does_not_hold_whoever_asked(host: ToolHost) -> None:
    session = McpSession("wiki", Where(url=host.url, private=True, bearer=Lost()))
    raised = []
    for _ in range(3):
        with pytest.raises(UpstreamFailed, match="does not hold") as caught:
            await session.tools()
        raised.append(caught.value)
    session._why, session._down_until, session.where = session.problem, 1e12, Where(url=host.url, private=True)
    for _ in range(3):
        with pytest.raises(UpstreamFailed, match="does not hold") as caught:
            await session.tools()
        raised.append(caught.value)
    assert session._why is not None
    assert session._why.__traceback__ is None
    assert len({len(traceback.extract_tb(error.__traceback__)) for error in raised[3:]}) == 1


async def test_a_long_answer_is_cut_and_a_broken_tool_is_an_error(session: McpSession) -> None:
    assert len((await session.call("long", {}, 20)).text) == LONGEST_TEXT
    assert (await session.call("broken", {}, 10)).is_error


async def test_a_flood_is_cut_off_and_the_session_made_anew(session: McpSession) -> None:
    with pytest.raises((UpstreamFailed, UpstreamTimeout)):
        await session.call("flood", {}, 5)
    assert (await session.call("search", {"query": "again"}, 10)).text.startswith("found again")


async def test_a_server_that_hangs_is_left_after_its_time(session: McpSession) -> None:
    await session.tools()
    with pytest.raises(UpstreamTimeout) as caught:
        await session.call("hang", {}, 0.3)
    assert caught.value.code == "tool_server.timeout"
    assert (await session.call("search", {"query": "x"}, 10)).text.startswith("found x")


async def test_a_server_that_is_not_there_is_left_alone_for_a_while() -> None:
    gone = McpSession("gone", Where(url="http://127.0.0.1:9/mcp", private=True))
    for _ in range(2):
        with pytest.raises(UpstreamFailed) as caught:
            await gone.tools()
        assert caught.value.code == "tool_server.unreachable"
    await gone.close()


async def test_a_session_that_a_server_has_forgotten_is_begun_anew_and_nothing_is_lost() -> None:
    async with old_server() as server:
        session = McpSession("old", Where(url=server.url, private=True))
        assert (await session.call("look", {}, 10)).text == "looked"
        server.sessions.clear()
        both = await asyncio.gather(*(session.call("look", {}, 10) for _ in range(2)))
        assert [outcome.text for outcome in both] == ["looked"] * 2
        assert server.calls == 3
        server.sessions.clear()
        assert [tool.name for tool in await session.tools(anew=True)] == ["look"]
        server.sessions.clear()
        server.forgetful = True
        with pytest.raises(UpstreamFailed):
            await session.call("look", {}, 10)
        assert server.calls == 3
        await session.close()


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"content": [{"type": "resource", "resource": {"uri": "repo://a/b.py", "text": "print(1)"}}]}, "print(1)"),
        ({"content": [{"type": "resource", "resource": {"uri": "repo://a/b.png", "blob": "AAAA"}}]}, "[resource]"),
        (
            {"content": [{"type": "resource_link", "uri": "file:///a.md", "name": "a", "description": "notes"}]},
            "[resource_link a file:///a.md notes]",
        ),
        ({"content": [{"type": "image", "data": "AAAA", "mimeType": "image/png"}]}, "[image]"),
        ({"content": [], "structuredContent": {"ok": True, "who": "Zo\u00eb"}}, '{"ok": true, "who": "Zo\u00eb"}'),
    ],
)
async def test_a_result_may_be_more_than_text(result: dict[str, object], text: str) -> None:
    async with old_server() as server:
        server.result = result
        session = McpSession("old", Where(url=server.url, private=True))
        assert (await session.call("look", {}, 10)).text == text
        await session.close()


async def test_a_call_that_failed_is_not_made_again_whatever_else_the_server_lacks() -> None:
    """It may have been done in part; servers without a stream of their own answer to that with 404, too."""
    async with old_server() as server:
        server.no_stream, server.failing = 404, True
        session = McpSession("old", Where(url=server.url, private=True))
        await session.tools()
        async with asyncio.timeout(10):
            await server.streamed.wait()
        with pytest.raises(UpstreamFailed):
            await session.call("look", {}, 10)
        assert server.calls == 1
        await session.close()


async def test_a_call_that_is_on_its_way_when_the_session_is_forgotten_ends_and_is_made_once() -> None:
    async with old_server() as server, asyncio.timeout(20):
        session = McpSession("old", Where(url=server.url, private=True))
        server.goes_on.clear()
        first = asyncio.ensure_future(session.call("look", {}, 10))
        await server.called.wait()
        server.called.clear()
        server.sessions.clear()
        second = asyncio.ensure_future(session.call("look", {}, 10))
        await server.called.wait()
        server.goes_on.set()
        assert [outcome.text for outcome in await asyncio.gather(first, second)] == ["looked"] * 2
        assert server.calls == 2
        await session.close()
        assert session.is_idle


async def test_a_server_is_granted_no_answer_of_the_model_none_of_the_person_and_no_folder() -> None:
    async with old_server() as server:
        server.begging = True
        session = McpSession("old", Where(url=server.url, private=True))
        assert (await session.call("look", {}, 10)).text == "looked"
        await session.close()
    assert [refused["code"] for refused in server.refusals] == [-32600] * 3


async def test_an_address_in_our_network_is_not_called(host: ToolHost) -> None:
    inside = McpSession("inside", Where(url=host.url))
    with pytest.raises((Invalid, UpstreamFailed)) as caught:
        await inside.tools()
    assert caught.value.code in {"address.private", "tool_server.unreachable"}
    assert host.headers == []
    await inside.close()


async def test_a_program_of_this_machine_is_spoken_to(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(PROGRAM)
    local = McpSession("local", Where(command=[sys.executable, str(tmp_path / "server.py")]))
    assert [tool.name for tool in await local.tools()] == ["add"]
    assert (await local.call("add", {"one": 1, "two": 2}, 10)).text == "3"
    await local.close()


async def test_a_program_that_is_not_there_is_no_server() -> None:
    local = McpSession("local", Where(command=["/nothing/such"]))
    with pytest.raises(UpstreamFailed):
        await local.tools()
    await local.close()


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://a.example/mcp", True),
        ("http://a.example:8080/", True),
        ("stdio:///bin/sh", False),
        ("file:///etc/passwd", False),
        ("https://user:pw@a.example/", False),
        ("https:///mcp", False),
        ("https://a.example:99999/", False),
        ("", False),
    ],
)
def test_only_http_has_endpoints(url: str, *, good: bool) -> None:
    assert bool(checked_endpoint(url)) is good
