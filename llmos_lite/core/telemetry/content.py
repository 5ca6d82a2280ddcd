"""The content of GenAI spans: messages as `[{role, parts: [{type, content, …}]}]`, in JSON text or as values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from llmos_lite.core.gateway.scaffolding import words_of
from llmos_lite.core.telemetry.protobuf import Json
from llmos_lite.core.traces.importers.base import as_json, as_text, clean, parse_json
from llmos_lite.core.traces.trace import Message, ToolCall

ROLES = frozenset({"user", "assistant", "tool", "system", "developer"})


class Spoken(NamedTuple):
    """One message: who said it, the words, what was called, what calls gave back (id and text)."""

    role: str
    text: str
    calls: tuple[ToolCall, ...]
    results: tuple[tuple[str, str], ...]

    def messages(self) -> Iterator[Message]:
        """Yield what a trace keeps of it; calls ride beside."""
        for call_id, text in self.results:
            yield Message("tool", text, tool_call_id=call_id)
        if self.text:
            yield Message(self.role, self.text)


def spoken(attribute: object) -> list[Spoken]:
    """Return the messages of an attribute; anything that is none is left out."""
    found = _decoded(attribute)
    return [_message(item) for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def instructions(attribute: object) -> str:
    """Return the system instructions: a list of parts, or text."""
    found = _decoded(attribute)
    return _text(found) if isinstance(found, list) else as_text(found)


def text_attribute(attribute: object) -> str:
    """Return arguments or a result of a call as text."""
    return "" if attribute is None else as_json(attribute)


def words(said: Sequence[Spoken]) -> str:
    """Return the last words of a person, without what clients put around them."""
    return next((text for one in reversed(said) if one.role == "user" and (text := words_of(one.text))), "")


def chain(said: Sequence[Spoken], start: str) -> list[str]:
    """Return one hash for each beginning of a conversation, the shortest first."""
    found = []
    for one in said:
        calls = "\0".join(f"{call.id}\0{call.name}\0{call.arguments}" for call in one.calls)
        start = hashlib.sha256(f"{start}\0{one.role}\0{one.text}\0{calls}\0{one.results}".encode()).hexdigest()[:32]
        found.append(start)
    return found


def _decoded(attribute: object) -> object:
    if not isinstance(attribute, str):
        return attribute
    try:
        return parse_json(attribute.encode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return attribute


def _message(item: Json) -> Spoken:
    role, parts = item.get("role"), item.get("parts", item.get("content"))
    listed = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    return Spoken(
        role if isinstance(role, str) and role in ROLES else "user",
        _text(parts) if isinstance(parts, list) else as_text(parts),
        tuple(
            ToolCall(_short(part.get("name")), text_attribute(part.get("arguments")), id=_short(part.get("id")))
            for part in listed
            if part.get("type") == "tool_call"
        ),
        tuple(
            (_short(part.get("id")), text_attribute(part.get("response", part.get("result"))))
            for part in listed
            if part.get("type") == "tool_call_response"
        ),
    )


def _text(parts: list[object]) -> str:
    """Return the words of parts; what a model thought is not said, and files are named by their kind."""
    said = []
    for part in parts:
        if isinstance(part, str):
            said.append(part)
        elif isinstance(part, dict):
            kind, content = part.get("type"), part.get("content", part.get("text"))
            if kind in {"text", None} and isinstance(content, str):
                said.append(content)
            elif isinstance(kind, str) and kind not in {"text", "reasoning", "tool_call", "tool_call_response"}:
                said.append(f"[{kind[:40]}]")
    return clean("\n".join(said))


def _short(value: object) -> str:
    return clean(value)[:200] if isinstance(value, str) else ""
