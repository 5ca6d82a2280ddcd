"""The official client of the Model Context Protocol, over HTTP and over standard input and output."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import TextContent, TextResourceContents

from tests.story.conftest import plain_environment

if TYPE_CHECKING:
    from tests.story.conftest import Serve, Server

SKILL = "---\nname: aardvark\ndescription: Dig for ants. Use when ants are wanted.\n---\n# Dig\n\nDig.\n"
MODES = ("legacy", "auto")
TOOLS = ["search_skills", "load_skill", "record_outcome"]
OLD, NEW = "2025-11-25", "2026-07-28"


@pytest.fixture
def server(serve: Serve, tmp_path: Path) -> Iterator[Server]:
    server = serve()
    folder = tmp_path / "aardvark"
    (folder / "references").mkdir(parents=True)
    (folder / "SKILL.md").write_text(SKILL)
    (folder / "references" / "ants.md").write_text("Ants.")
    server.run("skills", "add", folder, "--volume", "system")
    yield server
    if server.process.poll() is None:
        assert server.stop() == 0
        assert "Traceback" not in server.said()


def program(*arguments: object) -> StdioServerParameters:
    env = plain_environment() | {"LLMOS_LLM_PROVIDER": "offline"}
    command = ["-m", "llmos_lite", "mcp", *map(str, arguments)]
    return StdioServerParameters(command=sys.executable, args=command, env=env)


@asynccontextmanager
async def over_http(server: Server, mode: str, heard: asyncio.Event) -> AsyncIterator[Client]:
    """Connect; `heard` is set when the server tells of a change."""

    async def hear(message: object) -> None:
        if "list_changed" in str(message):
            heard.set()

    async with create_mcp_http_client(headers={"Authorization": f"Bearer {server.key}"}) as http:
        transport = streamable_http_client(f"{server.url}/mcp", http_client=http)
        async with Client(transport, mode=mode, message_handler=hear) as client:
            yield client


async def look_around(client: Client, mode: str) -> None:
    assert client.protocol_version == (OLD if mode == "legacy" else NEW)
    assert [tool.name for tool in (await client.list_tools()).tools] == [
        "search_skills",
        "load_skill",
        "record_outcome",
    ]
    (content,) = (await client.read_resource("skill://system/aardvark/SKILL.md")).contents
    assert isinstance(content, TextResourceContents)
    assert content.text == SKILL
    found = await client.call_tool("search_skills", {"query": "I want ants, where do I dig?"})
    assert found.structured_content["skills"][0]["name"] == "aardvark"
    (loaded,) = (await client.call_tool("load_skill", {"name": "aardvark"})).content
    assert isinstance(loaded, TextContent)
    assert "<file>references/ants.md</file>" in loaded.text
    told = await client.call_tool("record_outcome", {"outcome": "success", "skill": "aardvark", "goal": "Ants"})
    assert told.structured_content["trace_id"]
    assert "aardvark" in {prompt.name for prompt in (await client.list_prompts()).prompts}
    with pytest.raises(MCPError) as refused:
        await client.read_resource("skill://system/aardvark/../../metadata.json")
    assert refused.value.code == -32602


async def test_the_official_client_over_http(server: Server) -> None:
    for mode in MODES:
        async with over_http(server, mode, asyncio.Event()) as client:
            await look_around(client, mode)


async def test_the_official_client_over_a_pipe_to_a_server(server: Server) -> None:
    for mode in MODES:
        async with Client(program("--url", server.url, "--key", server.key), mode=mode) as client:
            await look_around(client, mode)


async def test_two_clients_over_pipes_share_a_folder_without_a_server(server: Server) -> None:
    server.stop()
    async with (
        Client(program("--data", server.data), mode="legacy") as one,
        Client(program("--data", server.data), mode="auto") as other,
    ):
        await look_around(one, "legacy")
        await look_around(other, "auto")
        await one.call_tool("load_skill", {"name": "aardvark"})
    assert "Ants" in server.run("traces", "list")


async def test_a_pipe_outlives_its_server(serve: Serve, server: Server) -> None:
    async with Client(program("--url", server.url, "--key", server.key), mode="legacy") as client:
        await client.list_tools()
        server.stop()
        with pytest.raises(MCPError, match="Nobody answers"):
            await client.list_tools()
        serve("data", "--port", str(server.port))
        assert len((await client.list_tools()).tools) == 3


async def test_a_listener_hears_of_a_change_and_ends_with_the_server(server: Server) -> None:
    heard = asyncio.Event()
    async with over_http(server, "legacy", heard) as client:
        await client.list_tools()
        for number in range(10):  # the client opens its stream by itself, and says nothing of it
            skill = {"skill_id": f"skill-{number}", "description": "Dig.", "content": "Dig."}
            await asyncio.to_thread(server.ask, "admin", "POST", "/skills", skill)
            with suppress(TimeoutError):
                await asyncio.wait_for(heard.wait(), 3)
                break
        assert heard.is_set()
        assert await asyncio.to_thread(server.stop) == 0
    assert "timeout graceful shutdown exceeded" not in server.said()


GARBAGE = (
    b'x\n\n{"jsonrpc":"2.0"}\n[]\n[1]\n{"jsonrpc":"2.0","id":7,"method":"nothing"}\n' + b"[" * 100_000 + b"\n\xff\n"
)


def test_nothing_but_messages_leaves_a_pipe(server: Server) -> None:
    parameters = program("--url", server.url, "--key", "llmos_wrong")
    command = [parameters.command, *parameters.args]
    done = subprocess.run(command, env=parameters.env, input=GARBAGE, capture_output=True, timeout=60, check=True)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["jsonrpc"] for one in said} == {"2.0"}
    assert [one["error"]["code"] for one in said if one["id"] is None] == [-32700, -32600, -32600, -32700, -32700]
    (refused,) = [one for one in said if one["id"] == 7]
    assert refused["error"]["data"]["code"] == "credential.invalid"
    assert done.stderr == b""


CONFORMANCE = os.environ.get("MCP_CONFORMANCE", "")
SCENARIOS = [
    "sep-2640-skills-enumeration", "sep-2640-skills-manifest", "sep-2640-skills-directory", "server-initialize", "ping",
    "server-session-lifecycle", "tools-list", "resources-list", "prompts-list", "completion-complete",
    "sep-2164-resource-not-found", "caching", "dns-rebinding-protection", "http-header-validation",
]  # fmt: skip


@pytest.mark.skipif(not CONFORMANCE, reason="MCP_CONFORMANCE names no command of the public suite")
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_public_suite_passes_without_a_warning(server: Server, scenario: str) -> None:
    link = server.run("keys", "mcp").split()[-1]
    command = [*shlex.split(CONFORMANCE), "server", "--url", link, "--scenario", scenario]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
    assert "0 failed, 0 warnings" in said, said
