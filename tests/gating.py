"""The app with one person at it and a model server behind it, for tests of the gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from asgi_client import Answer, Client

from llmos_lite.api.app import create_app
from llmos_lite.api.patience import PatientProtocol
from llmos_lite.bootstrap import Services, open_services
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.traces.trace import Trace
from llmos_lite.settings import Settings
from tests.upstream import Seen, Upstream

PHOTOS = "Write a Python script that renames my photos by date"
REVIEW = "Now review this pull request for bugs, please"
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}
WIRES = sorted(PATHS)


@dataclass
class Gate:
    """The app, one person at it, and the model server behind it."""

    services: Services
    client: Client
    upstream: Upstream
    key: str
    actor: Actor
    ids: list[str] = field(default_factory=list)

    async def ask(self, wire: str, *said: object, model: str = "plain", stream: bool = False, **more: Any) -> Answer:  # noqa: ANN401
        headers = more.pop("headers", None)
        body = {"model": model, **({"stream": True} if stream else {}), **request(wire, *said), **more}
        answer = await self.client.post(PATHS[wire], body, headers=headers)
        self.ids.append(answer.headers.get("x-llmos-trace", ""))
        return answer

    @property
    def seen(self) -> Seen:
        """What the model server got last."""
        return self.upstream.chats[-1]

    async def traces(self) -> list[Trace]:
        """Every trace of the person, in the order of the requests."""
        page = await self.services.traces.page(self.actor)
        found = [(await self.services.traces.get(self.actor, row.trace_id)).trace for row in page.items]
        return sorted(found, key=lambda trace: self.ids.index(trace.id) if trace.id in self.ids else -1)

    async def trace(self) -> Trace:
        return (await self.traces())[-1]


def request(wire: str, *said: object) -> dict[str, Any]:
    """A conversation in a dialect: texts take turns, the person first; anything else is an item as it is."""
    roles = ("user", "assistant")
    items = [one if isinstance(one, dict) else {"role": roles[at % 2], "content": one} for at, one in enumerate(said)]
    if wire == "responses":
        return {"input": [{"type": "message", **one} if "role" in one else one for one in items]}
    return {"messages": items} | ({"max_tokens": 100} if wire == "messages" else {})


@asynccontextmanager
async def gate(data: Path, upstream: Upstream, **settings: Any) -> AsyncIterator[Gate]:  # noqa: ANN401
    options = {"llm_provider": "openai", "llm_url": upstream.url, "llm_key": "upstream-key", "fold_seconds": 60.0}
    async with open_services(Settings(data=data, **options | settings), serve=False) as services:
        key = (data / "admin.key").read_text().strip()
        app = create_app(services)
        client = Client(app, {"Authorization": f"Bearer {key}", "X-LLMOS-User": "alice"})
        yield Gate(services, client, upstream, key, await services.accounts.authenticate(key, "alice"))


def system_of(seen: Seen) -> str:
    """All that stands before the conversation, in whichever dialect."""
    body = seen.body
    leading = [one for one in body.get("messages", body.get("input", ())) if one.get("role") in {"system", "developer"}]
    system = body.get("system", "")
    blocks = [one["content"] for one in leading] + (system if isinstance(system, list) else [system])
    return json.dumps([body.get("instructions", ""), blocks])


def words_of(seen: Seen) -> str:
    return json.dumps([one for one in seen.body.get("messages", seen.body.get("input", ())) if one["role"] == "user"])


@asynccontextmanager
async def served(here: Gate) -> AsyncIterator[int]:
    """Let a real server answer for the app, so that hanging up is real too; the value is its port."""
    config = uvicorn.Config(
        here.client.app, port=0, lifespan="off", http=PatientProtocol, log_level="critical", access_log=False
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.force_exit = True
        await server.shutdown()


async def leave_after(  # noqa: PLR0917 - all of a request
    port: int, wire: str, here: Gate, body: dict[str, Any], sign: bytes, more: str = ""
) -> None:
    """Ask, read up to a sign, and hang up; `more` are lines of the head."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    raw = json.dumps(body).encode()
    head = f"POST {PATHS[wire]} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {here.key}\r\n"
    writer.write(f"{head}{more}x-llmos-user: alice\r\ncontent-length: {len(raw)}\r\n\r\n".encode() + raw)
    await reader.readuntil(sign)
    writer.close()
