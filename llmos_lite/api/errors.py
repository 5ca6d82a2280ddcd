"""Every error as an RFC 9457 problem document with a stable `code`; nothing else ever leaves the server."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any, NamedTuple, TypeAlias

import msgspec

from llmos_lite.errors import (
    Invalid,
    LlmosError,
    RateLimited,
    StorageFailed,
    Unauthenticated,
    Unavailable,
    storage_error,
    too_deep,
)

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Asgi: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("llmos.api")


class Words(NamedTuple):
    """How errors are told to the clients of another API.

    Args:
        say: writes the body, of the error and the id of the request.
        kind: type of the body.
    """

    say: Callable[[LlmosError, str], bytes]
    kind: bytes = b"application/json"


PROBLEM = b"application/problem+json"
_BROKEN_DISK = ("readonly database", "database or disk is full", "disk i/o error", "unable to open database")


class Internal(LlmosError):
    """A mistake of ours; the log has its traceback under the request's id."""


class MethodNotAllowed(Invalid):
    """The path is there, the method is not."""

    status = 405

    def __init__(self, method: str, allowed: Iterable[str]) -> None:
        self.allowed = ", ".join(sorted(allowed))
        super().__init__("method.not_allowed", f"{method[:20]} does not work here.", hint=f"Use {self.allowed}.")


def explain(error: BaseException) -> LlmosError:
    """Return the error of ours that an exception stands for: itself, one it was raised from, or `internal`."""
    for cause in _chain(error):
        if isinstance(cause, LlmosError):
            return cause
        if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ConnectionError):
            return storage_error(cause, "finish the request")
        if isinstance(cause, sqlite3.OperationalError):
            return _database_error(str(cause))
        if isinstance(cause, RecursionError):  # whatever reads JSON counts its levels and our own calls together
            return too_deep()
    return Internal(
        "internal",
        "Something went wrong that should not have.",
        hint="The server's log has the cause under this request_id.",
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(8):
        if error is None:
            return
        yield error
        error = error.__cause__ or getattr(error, "orig", None)


def _database_error(text: str) -> LlmosError:
    if any(sign in text.lower() for sign in _BROKEN_DISK):
        return StorageFailed("storage.failed", f"The database could not be written: {text}.", hint="Look at the disk.")
    if "locked" in text:
        return Unavailable("database.busy", "The database is busy.", hint="Try again in a moment.")
    return Internal("internal", "The database refused the request.", hint="The server's log has the cause.")


def log_unexpected(error: BaseException, said: LlmosError, request_id: str = "") -> None:
    """Log what nobody raised on purpose, with its traceback, under the request's id."""
    if (said.status >= 500 and said is not error) or isinstance(error, RecursionError):  # noqa: PLR2004 - our mistakes
        log.error("request %s failed: %s", request_id, said.message, exc_info=error)


def problem_body(error: LlmosError, request_id: str) -> bytes:
    """Return the document of an error as JSON."""
    return msgspec.json.encode(error.problem() | ({"request_id": request_id} if request_id else {}))


def problem_headers(error: LlmosError) -> list[tuple[bytes, bytes]]:
    """Return the headers that go with an error."""
    headers = [(b"content-type", PROBLEM)]
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", b'Bearer realm="llmos"'))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allowed.encode()))
    if isinstance(error, (RateLimited, Unavailable)):
        headers.append((b"retry-after", str(error.detail.get("retry_after", 1)).encode()))
    return headers


async def send_problem(send: Send, error: LlmosError, request_id: str = "", *, words: Words | None = None) -> None:
    """Answer a request with a problem document, or in the words of another API."""
    body = words.say(error, request_id) if words else problem_body(error, request_id)
    headers = [*problem_headers(error), (b"content-length", str(len(body)).encode())]
    if words:
        headers[0] = (b"content-type", words.kind)
    if words and (trace_id := error.detail.get("trace_id")):
        headers.append((b"x-llmos-trace", str(trace_id).encode()))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
