"""What people name is not called inside this server's network, and nobody is sent on to anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from world import Host, World

from llmos_lite.engines.llm import ChatRequest
from llmos_lite.engines.llm_openai import OpenAIModel
from llmos_lite.engines.oidc import Client, OpenIdProvider
from llmos_lite.errors import LlmosError

INSIDE = [
    "https://127.0.0.1/x.git", "https://127.1/x.git", "https://0x7f.0.0.1/x.git", "https://2130706433/x.git",
    "https://[::1]/x.git", "https://[::ffff:127.0.0.1]/x.git", "https://[64:ff9b::7f00:1]/x.git", "https://localhost/x",
    "https://[fec0::1]/x.git", "https://[2002:7f00:1::]/x.git", "https://169.254.169.254/latest/x", "https://10.0.0.1/x",
    "https://192.168.1.1:8443/x", "https://100.64.0.1/x", "https://0.0.0.0/x", "https://[::]/x", "ssh://git@127.0.0.1/x",
    "git@127.0.0.1:x.git", "git@localhost:x.git", "ssh://git@[::1]:22/x",
]  # fmt: skip
NO_ADDRESS = [
    "http://127.0.0.1/x", "file:///etc", "file:///../etc", "git://127.0.0.1/x", "ftp://127.0.0.1/x", "gopher://x/x",
    "ext::sh -c id", "--upload-pack=id", "-x", "https://a:b@127.0.0.1/x", "https://127.0.0.1#@github.com/x",
    "https://github.com@127.0.0.1/x", "https://127.0.0.1\\@github.com/x", "https://github.com\n.127.0.0.1/x",
    "https://127.0.0.1/x?y", "//127.0.0.1/x", "javascript:1", "", "https://", "https:///x", "\x00",
]  # fmt: skip


@pytest.mark.parametrize("url", INSIDE + NO_ADDRESS)
def test_no_remote_is_in_the_servers_own_network(host: Host, world: World, url: str) -> None:
    async def look() -> None:
        answer = await world.client("chief").post("/volumes/team:sre/remotes", {"name": "x", "url": url})
        assert answer.status in {400, 502}, answer.body
        assert answer.json()["code"].startswith(("address.", "remote.", "request.")), answer.body
        assert (await world.client("chief").get("/volumes/team:sre/remotes")).json()["items"] == []

    host.run(look())


@dataclass
class Sending:
    """A server that sends everybody on to another one, which counts who comes."""

    port: int = 0
    asked: list[bytes] = field(default_factory=list)
    arrived: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def sending_on(status: int) -> AsyncIterator[Sending]:
    found = Sending()

    async def arrives(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.arrived.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    async def sends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.asked.append(await reader.readuntil(b"\r\n\r\n"))
        place = f"Location: http://127.0.0.1:{target.sockets[0].getsockname()[1]}/secret\r\n"
        writer.write(f"HTTP/1.1 {status} On\r\n{place}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    target = await asyncio.start_server(arrives, "127.0.0.1", 0)
    server = await asyncio.start_server(sends, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        target.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_model_sends_nobody_on(status: int) -> None:
    async with sending_on(status) as there:
        model = OpenAIModel(f"http://127.0.0.1:{there.port}/v1", key="sk-x", model="plain", timeout=5)
        with pytest.raises(LlmosError):
            await model.complete(ChatRequest(messages=[]))
        await model.close()
    assert there.asked
    assert there.arrived == []


@pytest.mark.parametrize("status", [302, 307])
async def test_a_sign_in_provider_sends_nobody_on(status: int) -> None:
    async with sending_on(status) as there:
        provider = OpenIdProvider(Client(f"http://127.0.0.1:{there.port}", "llmos", "secret"))
        with pytest.raises(LlmosError):
            await provider.address("http://localhost/x", state="s", nonce="n", verifier="v")
        await provider.close()
    assert there.asked
    assert there.arrived == []
