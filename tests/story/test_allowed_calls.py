"""kill -9 around a call that a person allowed: it is never run twice, and what it gave is not lost."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.tool_server import ToolHost, tool_host
from tests.upstream import running

if TYPE_CHECKING:
    from tests.story.conftest import Serve, Server

RULES = {"others": "ask"}


async def chat(server: Server, **body: Any) -> Any:  # noqa: ANN401 - JSON
    return await asyncio.to_thread(server.ask, "alice", "POST", "/chat", {"message": ""} | body)


async def handed(server: Server, host: ToolHost) -> dict[str, Any]:
    """A call that waits for leave, as the body of the message that gives it."""
    listed = 0
    while listed != 200:  # a busy machine may take longer to load the library than a session has to begin
        await asyncio.to_thread(server.ask, "admin", "PUT", "/tool-servers/wiki", {"url": host.url} | RULES)
        listed, _ = await asyncio.to_thread(server.try_, "admin", "GET", "/tool-servers/wiki/tools")
    body = await chat(server, message="Mail the wiki's old page to Bob")
    [call] = body["tool_calls"]
    return {
        "conversation_id": body["conversation_id"],
        "tool_results": [{"id": call["id"], "approved": True}],
    }


@pytest.mark.parametrize("when", ["while it runs", "while the model thinks"])
async def test_a_call_is_run_once_however_the_server_dies(serve: Serve, when: str) -> None:
    async with running() as upstream, tool_host() as host:
        server = serve(
            LLMOS_LLM_PROVIDER="openai",
            LLMOS_LLM_URL=upstream.url,
            LLMOS_LLM_MODEL="ask",
            LLMOS_ALLOW_PRIVATE_URLS="true",
            LLMOS_SKILL_EXAMPLES="off",
        )
        upstream.script = [[("wiki__slow", '{"page":"old"}')]]
        leave = await handed(server, host)
        upstream.silent = True
        cut = asyncio.create_task(chat(server, **leave))
        async with asyncio.timeout(60):
            await host.called.wait()
            if when == "while the model thinks":
                host.goes_on.set()
                async with upstream.changed:
                    await upstream.changed.wait_for(lambda: len(upstream.chats) > 1)
        await asyncio.to_thread(server.stop, signal.SIGKILL)
        with pytest.raises((ConnectionError, OSError)):
            await cut
        upstream.silent = False
        host.goes_on.set()
        again = await asyncio.to_thread(server.start)
        answer = await chat(again, **leave)
    assert host.calls == [("slow", "old")]
    [heard] = upstream.chats[-1].results
    if when == "while it runs":
        assert "was cut off" in heard
    else:
        assert "mailed" in heard
        assert "jane.miller" not in heard, "what waits in the rows is redacted"
    assert answer["response"]
