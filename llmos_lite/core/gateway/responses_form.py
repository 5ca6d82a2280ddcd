"""The form of OpenAI's responses, and of the events of their streams."""

from __future__ import annotations

from collections.abc import Mapping

from llmos_lite.core.gateway.asked import encode


def begun_response(answer_id: str, model: str, created: int) -> dict[str, object]:
    """Return a response that has nothing yet, with every key that OpenAI's libraries read; `created` is in seconds."""
    return {
        "id": answer_id,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
    }


def event_of(kind: str, number: int, fields: Mapping[str, object]) -> bytes:
    """Return an event; each of a stream has the next number, errors too."""
    body = {"type": kind, "sequence_number": number, **fields}
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode(body))
