"""`POST /v1/traces` and `/v1/logs`: telemetry by OTLP/HTTP, as protobuf or JSON; answers are OTLP's, and most errors.

https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from llmos_lite.api.auth import Needs, actor_of
from llmos_lite.api.errors import Receive, Scope, Send, explain, log_unexpected, problem_headers
from llmos_lite.api.waiting import read_body
from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.accounts.permissions import Scope as Right
from llmos_lite.core.limits import Limits
from llmos_lite.core.telemetry.service import Export, Taken, Telemetry
from llmos_lite.errors import Forbidden, Invalid, LlmosError, StorageFailed, TooLarge, Unauthenticated

JSON, PROTOBUF = b"application/json", b"application/x-protobuf"
ROUTES = {"/v1/traces": "Traces", "/v1/logs": "Logs"}
_COUNTED = {"Traces": "rejectedSpans", "Logs": "rejectedLogRecords"}
_AGAIN = 503
"""What an exporter sends again; it throws away what any other error refuses."""
_GRPC = {400: 3, 429: 8, 503: 14}


class Unsupported(Invalid):
    """The body is of a type that nobody here reads."""

    status = 415


class Services(Protocol):
    """What the routes need of an instance."""

    @property
    def accounts(self) -> Accounts:
        """Know who sends."""

    @property
    def limits(self) -> Limits:
        """Say how much may be sent."""

    @property
    def telemetry(self) -> Telemetry:
        """Takes it."""


class OtlpEndpoint:
    """One signal of OTLP/HTTP.

    Args:
        services: of the instance.
        message: `Traces` or `Logs`.
    """

    needs = Needs(scope=Right.CHAT)

    def __init__(self, services: Services, message: str) -> None:
        self._services, self._message = services, message

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one export."""
        headers = dict(scope["headers"])
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        as_json = kind == JSON
        actor = self.needs.check(await actor_of(self._services.accounts, scope))
        try:
            taken = await self._taken(actor, kind, headers, receive)
        except (Unauthenticated, Forbidden, TooLarge):
            raise  # an exporter looks at the status only; the audit log and the edge look at the error
        except Exception as error:  # noqa: BLE001 - said in OTLP's words
            await self._fail(send, error, scope.get("state", {}).get("request_id", ""), as_json=kind != PROTOBUF)
            return
        body = _answer(self._message, taken, as_json=as_json)
        await _send(send, 200, body, [(b"content-type", JSON if as_json else PROTOBUF)])

    async def _taken(self, actor: Actor, kind: bytes, headers: Mapping[bytes, bytes], receive: Receive) -> Taken:
        await self._services.limits.hit(actor)
        if kind not in {JSON, PROTOBUF}:
            raise _unsupported(kind)
        encoding = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
        export = Export(await read_body(receive), self._message, kind == JSON, encoding)
        return await self._services.telemetry.take(actor, export)

    async def _fail(self, send: Send, error: Exception, request_id: str, *, as_json: bool) -> None:
        said = explain(error)  # not where it was caught: there it would hold itself, and the body that was sent
        log_unexpected(error, said, request_id)
        again = isinstance(said, StorageFailed)
        kept = [(name, value) for name, value in problem_headers(said) if name != b"content-type"]
        headers = [(b"content-type", JSON if as_json else PROTOBUF), *kept]
        await _send(send, _AGAIN if again else said.status, _status(said, as_json=as_json), headers)


def otlp_routes(services: Services) -> dict[tuple[str, str], OtlpEndpoint]:
    """Return the routes by method and path."""
    return {("POST", path): OtlpEndpoint(services, message) for path, message in ROUTES.items()}


def _unsupported(kind: bytes) -> Unsupported:
    return Unsupported(
        "otlp.type",
        f"{kind[:60].decode('latin-1')!r} is not read here.",
        hint="Set OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf or http/json.",
    )


def _answer(message: str, taken: Taken, *, as_json: bool) -> bytes:
    """Return the answer; only what cannot be read counts as rejected, what is passed over was no mistake."""
    said = "They have no valid ids, no time, the wrong types, or too many others before them."
    if not as_json:
        from llmos_lite.core.telemetry import protobuf  # noqa: PLC0415 - not before the first export

        return protobuf.partial_success(taken.rejected, said)
    partial = {_COUNTED[message]: str(taken.rejected), "errorMessage": said}
    return msgspec.json.encode({"partialSuccess": partial} if taken.rejected else {})


def _status(error: LlmosError, *, as_json: bool) -> bytes:
    """Return the `google.rpc.Status` of an error."""
    code, message = _GRPC.get(error.status, 13 if error.status >= 500 else 3), f"{error.message} {error.hint}".strip()  # noqa: PLR2004 - INTERNAL, INVALID_ARGUMENT
    if as_json:
        return msgspec.json.encode({"code": code, "message": message})
    from llmos_lite.core.telemetry import protobuf  # noqa: PLC0415 - not before the first export

    return protobuf.status(code, message)


async def _send(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
