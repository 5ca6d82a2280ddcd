"""Errors of ours in the words of other APIs, so that a client's own library raises what its program expects."""

from __future__ import annotations

from llmos_lite.core.gateway.asked import encode
from llmos_lite.errors import LlmosError

_OPENAI = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}
_ANTHROPIC = _OPENAI | {413: "request_too_large", 503: "overloaded_error"}


def _message(error: LlmosError) -> str:
    return " ".join(filter(None, (error.message, error.hint)))


def openai_problem(error: LlmosError, request_id: str) -> bytes:
    """Return an error as OpenAI's API gives it."""
    said = {"message": _message(error), "type": _OPENAI.get(error.status, "server_error"), "code": error.code}
    return encode({"error": said | {"param": None, "request_id": request_id}})


def openai_event(error: LlmosError, request_id: str) -> bytes:
    """Return an error inside a stream of chat chunks."""
    return b"data: %b\n\n" % openai_problem(error, request_id)


def responses_event(error: LlmosError, request_id: str) -> bytes:
    """Return an error inside a stream of the Responses API."""
    said = {"type": "error", "code": error.code, "message": _message(error), "param": None, "request_id": request_id}
    return b"event: error\ndata: %b\n\n" % encode(said)


def anthropic_problem(error: LlmosError, request_id: str) -> bytes:
    """Return an error as Anthropic's API gives it."""
    said = {"type": _ANTHROPIC.get(error.status, "api_error"), "message": _message(error), "code": error.code}
    return encode({"type": "error", "error": said, "request_id": request_id})


def anthropic_event(error: LlmosError, request_id: str) -> bytes:
    """Return an error inside a stream of the Messages API."""
    return b"event: error\ndata: %b\n\n" % anthropic_problem(error, request_id)
