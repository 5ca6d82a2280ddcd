"""The content of GenAI spans: messages as `[{role, parts: [{type, content, …}]}]`, in JSON text or as values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from llmos_lite.core.gateway.scaffolding import words_of
from llmos_lite.core.telemetry.protobuf import Json
from llmos_lite.core.traces.importers.base import as_json, as_text, clean, parse_json
from llmos_lite.core.traces.trace import Message, ToolCall

MOST_NUMBERED = 10_000
"""Messages of one request, or calls of one message, that are written one attribute each."""
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
    found = decoded(attribute)
    return [_message(item) for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def numbered(attributes: Mapping[str, object], side: str) -> list[Spoken]:
    """Return the messages that OpenLLMetry wrote one attribute each: `gen_ai.prompt.0.content`, `.role` and others."""
    found: list[Spoken] = []
    while len(found) < MOST_NUMBERED:
        start = f"gen_ai.{'prompt' if side == 'input' else 'completion'}.{len(found)}"
        said, role = attributes.get(f"{start}.content"), attributes.get(f"{start}.role")
        calls = tuple(_numbered_calls(attributes, start))
        if said is None and role is None and not calls:
            break
        found.append(_numbered(role, said, calls, _short(attributes.get(f"{start}.tool_call_id"))))
    return found


def _numbered(role: object, said: object, calls: tuple[ToolCall, ...], result_of: str) -> Spoken:
    if role == "tool":
        return Spoken("tool", "", calls, ((result_of, text_attribute(said)),))
    parts = decoded(said)
    text = _text(parts) if isinstance(parts, list) else as_text(said)
    return Spoken(role if isinstance(role, str) and role in ROLES else "user", text, calls, ())


def _numbered_calls(attributes: Mapping[str, object], start: str) -> Iterator[ToolCall]:
    for number in range(MOST_NUMBERED):
        call = f"{start}.tool_calls.{number}"
        name = attributes.get(f"{call}.name")
        if not isinstance(name, str):
            return
        given = text_attribute(attributes.get(f"{call}.arguments"))
        yield ToolCall(_short(name), given, id=_short(attributes.get(f"{call}.id")))


def instructions(attribute: object) -> str:
    """Return the system instructions: a list of parts, or text."""
    found = decoded(attribute)
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


def decoded(attribute: object) -> object:
    """Return what JSON text says; anything else as it is."""
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
