"""Speaks the Model Context Protocol by hand, to see every byte: one request, one answer, in either revision."""

from __future__ import annotations

import json
from typing import Any

from asgi_client import Answer, Client

OLD, NEW = "2025-11-25", "2026-07-28"
ACCEPT = "application/json, text/event-stream"
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
META = "io.modelcontextprotocol/"


class Speaker:
    """One client of `/mcp`, without a session (revision 2026-07-28) until it shakes hands (2025-11-25).

    Args:
        client: carries the requests, with a credential.
        path: the address.
    """

    def __init__(self, client: Client, path: str = "/mcp") -> None:
        self.client, self.path = client, path
        self.session = ""
        self._id = 0

    async def shake_hands(self) -> dict[str, Any]:
        params = {"protocolVersion": OLD, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        answer = await self.send({"method": "initialize", "params": params}, {})
        assert answer.status == 200, answer.body
        self.session = answer.headers["mcp-session-id"]
        done = await self.send({"method": "notifications/initialized"}, self._session(), numbered=False)
        assert done.status == 202
        return dict(answer.json()["result"])

    async def result(self, method: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever the method takes
        answer = (await self.ask(method, **params)).json()
        assert "result" in answer, answer
        return dict(answer["result"])

    async def error(self, method: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
        answer = (await self.ask(method, **params)).json()
        assert "error" in answer, answer
        return dict(answer["error"])

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
        return await self.result("tools/call", name=tool, arguments=arguments)

    async def ask(self, method: str, **params: Any) -> Answer:  # noqa: ANN401 - as above
        if self.session:
            return await self.send({"method": method, "params": params}, self._session())
        meta = {f"{META}protocolVersion": NEW, f"{META}clientCapabilities": {}}
        headers = {"mcp-protocol-version": NEW, "mcp-method": method}
        if method in NAMED:
            headers["mcp-name"] = str(params[NAMED[method]])
        return await self.send({"method": method, "params": params | {"_meta": meta}}, headers)

    async def send(self, message: dict[str, Any], headers: dict[str, str], *, numbered: bool = True) -> Answer:
        self._id += 1
        body = {"jsonrpc": "2.0", **({"id": self._id} if numbered else {}), **message}
        return await self.client.request(
            "POST",
            self.path,
            content=json.dumps(body).encode(),
            headers={"accept": ACCEPT, "content-type": "application/json", **headers},
        )

    def _session(self) -> dict[str, str]:
        return {"mcp-session-id": self.session, "mcp-protocol-version": OLD}
