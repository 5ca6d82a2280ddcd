"""`POST /v1/traces` and `/v1/logs`: telemetry by OTLP/HTTP, as protobuf or JSON; answers are OTLP's, and errors too.

https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, Self

import msgspec

from llmos_lite.api.auth import Needs, actor_of
from llmos_lite.api.errors import Receive, Scope, Send, Words, explain, log_unexpected
from llmos_lite.api.waiting import read_body
from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.accounts.permissions import Scope as Right
from llmos_lite.core.limits import Limits
from llmos_lite.core.telemetry.service import Export, Taken, Telemetry
from llmos_lite.errors import Invalid, LlmosError, StorageFailed, Unavailable

JSON, PROTOBUF = b"application/json", b"application/x-protobuf"
INFO, DOMAIN = "type.googleapis.com/google.rpc.ErrorInfo", "llmos"
ROUTES = {"/v1/traces": "Traces", "/v1/logs": "Logs"}
_COUNTED = {"Traces": "rejectedSpans", "Logs": "rejectedLogRecords"}
_GRPC = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 429: 8, 503: 14}


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
        kind, state = _kind(scope), scope.setdefault("state", {})
        state["words"] = self.words_of(scope)
        actor = self.needs.check(await actor_of(self._services.accounts, scope))
        try:
            taken = await self._taken(actor, kind, dict(scope["headers"]), receive)
        except Exception as error:
            if isinstance(explain(error), StorageFailed):
                raise _again(error, state.get("request_id", "")) from error
            raise
        body = _answer(self._message, taken, as_json=kind == JSON)
        await _send(send, 200, body, [(b"content-type", kind)])

    @staticmethod
    def words_of(scope: Scope) -> Words:
        """Return how errors of a request are told: in the form of its body."""
        return _IN_PROTOBUF if _kind(scope) == PROTOBUF else _IN_JSON

    async def _taken(self, actor: Actor, kind: bytes, headers: Mapping[bytes, bytes], receive: Receive) -> Taken:
        await self._services.limits.hit(actor)
        if kind not in {JSON, PROTOBUF}:
            raise _unsupported(kind)
        encoding = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
        export = Export(await read_body(receive), self._message, kind == JSON, encoding)
        return await self._services.telemetry.take(actor, export)


def otlp_routes(services: Services) -> dict[tuple[str, str], OtlpEndpoint]:
    """Return the routes by method and path."""
    return {("POST", path): OtlpEndpoint(services, message) for path, message in ROUTES.items()}


def _kind(scope: Scope) -> bytes:
    found = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    return bytes(found).partition(b";")[0].strip().lower()


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


def _again(error: Exception, request_id: str) -> Unavailable:
    """Return what an exporter sends again; it throws away what any other error refuses."""
    said = explain(error)
    log_unexpected(error, said, request_id)
    return Unavailable(said.code, said.message, hint=said.hint)


class _Told(NamedTuple):
    """An error as `google.rpc.Status` and `google.rpc.ErrorInfo` have it; the latter writes its reasons in capitals."""

    code: int
    message: str
    reason: str
    metadata: dict[str, str]

    @classmethod
    def of(cls, error: LlmosError, request_id: str) -> Self:
        code = _GRPC.get(error.status, 13 if error.status >= 500 else 3)  # noqa: PLR2004 - INTERNAL, INVALID_ARGUMENT
        about = {"code": error.code} | ({"request_id": request_id} if request_id else {})
        return cls(code, f"{error.message} {error.hint}".strip(), error.code.replace(".", "_").upper(), about)


def _as_json(error: LlmosError, request_id: str) -> bytes:
    told = _Told.of(error, request_id)
    info = {"@type": INFO, "reason": told.reason, "domain": DOMAIN, "metadata": told.metadata}
    return msgspec.json.encode({"code": told.code, "message": told.message, "details": [info]})


def _as_protobuf(error: LlmosError, request_id: str) -> bytes:
    from llmos_lite.core.telemetry import protobuf  # noqa: PLC0415 - not before the first export

    told = _Told.of(error, request_id)
    info = protobuf.error_info(told.reason, DOMAIN, told.metadata)
    return protobuf.status(told.code, told.message, [(INFO, info)])


_IN_JSON, _IN_PROTOBUF = Words(_as_json, JSON), Words(_as_protobuf, PROTOBUF)


async def _send(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
