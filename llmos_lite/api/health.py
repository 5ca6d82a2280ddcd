"""Whether requests are served (`/health`), whether every part works (`/ready`), and figures (`/metrics`)."""

from __future__ import annotations

from typing import Any

import msgspec

import llmos_lite
from llmos_lite.api.auth import Needs, actor_of, client_of
from llmos_lite.api.errors import Receive, Scope, Send
from llmos_lite.api.openapi import problem
from llmos_lite.bootstrap import Services
from llmos_lite.core.accounts.permissions import Scope as Right
from llmos_lite.engines.folder import is_demo
from llmos_lite.errors import LlmosError

JSON = b"application/json"
TEXT = b"text/plain; version=0.0.4; charset=utf-8"


class Health:
    """`GET /health`: 200 as soon as, and as long as, requests are served."""

    needs = Needs(open=True)

    def __init__(self) -> None:
        self._body = msgspec.json.encode({"status": "ok", "version": llmos_lite.__version__})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        del scope, receive
        await send_bytes(send, 200, self._body, JSON)


class Ready:
    """`GET /ready`: 200 when every part works, 503 with a sentence for each that does not.

    Somebody without an admin's credential learns how many volumes have a problem, not which.
    """

    needs = Needs(open=True)

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        del receive
        is_admin = await self._is_admin(scope)
        checks = await self._services.check()
        volumes = self._services.problems()
        shown = volumes if is_admin else {}
        body = {
            "ready": not volumes and all(said == "ok" for said in checks.values()),
            "checks": checks | {"volumes": f"{len(volumes)} with a problem" if volumes else "ok"},
            "volumes": shown,
            "demo": is_demo(self._services.settings.data),
        }
        await send_bytes(send, 200 if body["ready"] else 503, msgspec.json.encode(body), JSON)

    async def _is_admin(self, scope: Scope) -> bool:
        """Tell whether an admin asks; whoever is nobody asks only so often, since looking costs something."""
        try:
            actor = await actor_of(self._services.accounts, scope)
        except LlmosError:
            await self._services.limits.stranger(client_of(scope))
            return False
        await self._services.limits.hit(actor)
        return actor.is_admin


class Metrics:
    """`GET /metrics`: figures in the Prometheus text format, for a system admin."""

    needs = Needs(scope=Right.ADMIN, admin=True)

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        del receive
        actor = await actor_of(self._services.accounts, scope)
        await self._services.limits.hit(actor)
        self.needs.check(actor)
        await send_bytes(send, 200, self._services.metrics.render_metrics(), TEXT)


async def send_bytes(send: Send, status: int, body: bytes, kind: bytes) -> None:
    """Answer with a body that is whole."""
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


_READY = {
    "ready": True,
    "checks": {"journal": "ok", "rows": "ok", "disk": "ok", "jobs": "ok", "git": "ok", "volumes": "ok"},
    "volumes": {},
    "demo": False,
}
_HEALTH = {"status": "ok", "version": llmos_lite.__version__}
_STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}


def _answer(example: object, schema: dict[str, Any], *, kind: str = "application/json") -> dict[str, Any]:
    return {"description": "Done.", "content": {kind: {"schema": schema, "example": example}}}


_HEALTH_SCHEMA = {
    "type": "object",
    "required": ["status", "version"],
    "properties": {"status": {"type": "string"}, "version": {"type": "string"}},
}
_READY_SCHEMA = {
    "type": "object",
    "required": ["ready", "checks", "volumes", "demo"],
    "properties": {
        "ready": {"type": "boolean"},
        "checks": _STRINGS,
        "volumes": _STRINGS,
        "demo": {"type": "boolean", "description": "The data are those of the example team of `llmos serve --demo`."},
    },
}


def _operation(name: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"get": {"tags": ["health"], "summary": summary, "operationId": name, "responses": responses}}


OPENAPI: dict[str, Any] = {
    "paths": {
        "/health": _operation("health", "Say whether requests are served", {"200": _answer(_HEALTH, _HEALTH_SCHEMA)}),
        "/ready": _operation(
            "ready",
            "Say whether every part works",
            {
                "200": _answer(_READY, _READY_SCHEMA),
                "429": problem(429),
                "503": _answer(_READY | {"ready": False}, _READY_SCHEMA) | {"description": "Some part does not work."},
            },
        ),
        "/metrics": _operation(
            "metrics",
            "Figures in the Prometheus text format, for a system admin",
            {"200": _answer("llmos_chats_total 42.0\n", {"type": "string"}, kind="text/plain")}
            | {str(status): problem(status) for status in (401, 403, 429)},
        ),
    }
}
