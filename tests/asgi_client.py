"""Speaks HTTP to an ASGI app in this process, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Answer:
    """What a request got: status, headers (lower case) and body, in the pieces that were sent.

    `raw` has every header, also those of one name.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    raw: list[tuple[str, str]] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def json(self) -> Any:  # noqa: ANN401 - whatever the server said
        return json.loads(self.body)


class Client:
    """Speaks HTTP to an ASGI app in this process, without a socket."""

    def __init__(self, app: Any, headers: Mapping[str, str] | None = None) -> None:  # noqa: ANN401 - any ASGI app
        self.app, self.headers = app, dict(headers or {})

    def acting_as(self, user_id: str) -> Client:
        return Client(self.app, self.headers | {"X-LLMOS-User": user_id})

    def without_credential(self) -> Client:
        return Client(self.app)

    async def get(self, url: str, **options: Any) -> Answer:  # noqa: ANN401
        return await self.request("GET", url, **options)

    async def post(self, url: str, body: object = None, **options: Any) -> Answer:  # noqa: ANN401
        return await self.request("POST", url, json_body=body, **options)

    async def request(
        self,
        method: str,
        url: str,
        *,
        json_body: object = None,
        content: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        raw = content if content is not None else b"" if json_body is None else json.dumps(json_body).encode()
        pieces = [raw] if isinstance(raw, bytes) else list(raw)
        sent = {"host": "localhost"} | self.headers | dict(headers or {})
        if json_body is not None:
            sent.setdefault("content-type", "application/json")
        if isinstance(raw, bytes) and raw:
            sent.setdefault("content-length", str(len(raw)))
        return await self._call(method, url, pieces, sent)

    async def _call(self, method: str, url: str, pieces: list[bytes], headers: Mapping[str, str]) -> Answer:
        answer, done = Answer(), asyncio.Event()
        last = len(pieces) - 1
        messages = iter(
            {"type": "http.request", "body": piece, "more_body": index < last} for index, piece in enumerate(pieces)
        )

        async def receive() -> dict[str, Any]:
            try:
                return next(messages)
            except StopIteration:
                await done.wait()
                return {"type": "http.disconnect"}

        async def send(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.raw = [(name.decode().lower(), value.decode()) for name, value in message["headers"]]
                answer.headers = dict(answer.raw)
            else:
                answer.pieces.append(message.get("body", b""))
                if not message.get("more_body"):
                    done.set()

        await self.app(_scope(method, url, headers), receive, send)
        return answer


def _scope(method: str, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
        "state": {},
    }
