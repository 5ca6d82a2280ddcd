"""Errors of ours in the words of other APIs, so that a client's own library raises what its program expects."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from llmos_lite.core.gateway.asked import encode
from llmos_lite.core.gateway.dialect import Told
from llmos_lite.core.gateway.responses_form import begun_response, event_of
from llmos_lite.errors import LlmosError, UpstreamFailed

_OPENAI = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}
_SERVER = 500
_ANTHROPIC = _OPENAI | {413: "request_too_large", 503: "overloaded_error", 529: "overloaded_error"}


def _message(error: LlmosError) -> str:
    return " ".join(filter(None, (error.message, error.hint)))


class Refused(NamedTuple):
    """What a server says of its refusal.

    Args:
        message: for people.
        code: for programs; empty when it says none.
    """

    message: str
    code: str = ""


class _Said(msgspec.Struct):
    message: str | None = None
    code: object = None


class _Refusal(msgspec.Struct):
    error: _Said | str | None = None
    message: str | None = None
    detail: msgspec.Raw = msgspec.Raw()


_refusal = msgspec.json.Decoder(_Refusal | list[_Refusal] | str)
_QUOTED = 300


def refusal_in(body: bytes, status: int) -> Refused:
    """Return what a server says in a refusal, in whichever dialect, or in none: a proxy before it answers in HTML."""
    try:
        found = _refusal.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _in_text(body, status)
    if isinstance(found, str):
        return _in_text(found.encode(), status)
    said = found if isinstance(found, _Refusal) else found[0] if found else _Refusal()  # Gemini sends a list
    return _refused(said) or _in_text(bytes(said.detail), status)


def failure_in(body: bytes) -> UpstreamFailed | None:
    """Return what a server says of its failure in an answer whose status was fine; None when it says nothing."""
    try:
        found = _refusal.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    said = _refused(found) if isinstance(found, _Refusal) else None
    return UpstreamFailed("model.failed", f"The model failed: {said.message[:_QUOTED]}") if said else None


def _refused(said: _Refusal) -> Refused | None:
    inner = said.error if isinstance(said.error, _Said) else _Said(said.error)
    code = inner.code if isinstance(inner.code, str) else ""
    message = inner.message or said.message
    return Refused(message, code) if message else None


def _in_text(said: bytes, status: int) -> Refused:
    """Quote a few words; a page is none."""
    text = " ".join(said[: 4 * _QUOTED].decode(errors="replace").split())[:_QUOTED]
    quoted = f": {text}" if text and not text.startswith("<") else "."
    return Refused(f"The model's server answered {status}{quoted}")


def openai_refusal(status: int, message: str, code: str, request_id: str) -> bytes:
    """Return a refusal as OpenAI's API gives it."""
    kind = _OPENAI.get(status, "server_error" if status >= _SERVER else "invalid_request_error")
    said = {"message": message, "type": kind, "code": code, "param": None}
    return encode({"error": said | {"request_id": request_id}})


def openai_problem(error: LlmosError, request_id: str) -> bytes:
    """Return an error as OpenAI's API gives it."""
    return openai_refusal(error.status, _message(error), error.code, request_id)


def openai_event(error: LlmosError, request_id: str, told: Told) -> bytes:
    """Return an error inside a stream of chat chunks."""
    del told
    return b"data: %b\n\n" % openai_problem(error, request_id)


def responses_event(error: LlmosError, request_id: str, told: Told) -> bytes:
    """Return an error inside a stream of the Responses API, and a response that failed, which is what Codex reads.

    A client that has got nothing is told first that there is a response: OpenAI's library wants that. A response that
    is made in the background has not failed because its stream has.
    """
    number, said = told.number, {"code": error.code, "message": _message(error)}
    begun = begun_response(told.answer_id or f"resp_{request_id}", told.model, int(time.time()))
    events: list[tuple[str, dict[str, object]]] = [
        ("error", {**said, "param": None, "request_id": request_id}),
        ("response.failed", {"response": begun | {"status": "failed", "error": said}}),
    ]
    if told.goes_on:
        events.pop()
    elif not told.answer_id:
        events.insert(0, ("response.created", {"response": begun}))
    return b"".join(event_of(kind, number + at, fields) for at, (kind, fields) in enumerate(events))


def anthropic_refusal(
    status: int, message: str, code: str, request_id: str, details: Mapping[str, object] | None = None
) -> bytes:
    """Return a refusal as Anthropic's API gives it."""
    kind = _ANTHROPIC.get(status, "api_error" if status >= _SERVER else "invalid_request_error")
    said = {"type": kind, "message": message, "code": code} | ({"details": details} if details else {})
    return encode({"type": "error", "error": said, "request_id": request_id})


def anthropic_problem(error: LlmosError, request_id: str) -> bytes:
    """Return an error as Anthropic's API gives it, with the code that its libraries act on where there is one."""
    known = error.detail.get("error_code")
    details = {"error_code": known} if known else None
    return anthropic_refusal(error.status, _message(error), error.code, request_id, details)


def anthropic_event(error: LlmosError, request_id: str, told: Told) -> bytes:
    """Return an error inside a stream of the Messages API."""
    del told
    return b"event: error\ndata: %b\n\n" % anthropic_problem(error, request_id)
