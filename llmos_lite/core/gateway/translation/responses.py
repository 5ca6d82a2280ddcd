"""Requests of OpenAI's responses, read and written."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from llmos_lite.core.gateway.translation.neutral import (
    Ask,
    Image,
    Part,
    Raw,
    Result,
    Text,
    ToolSpec,
    Turn,
    Use,
)
from llmos_lite.core.gateway.translation.reading import decoded, present, role_of, text_or_parts
from llmos_lite.errors import Invalid


class ContentPart(msgspec.Struct):
    """A part of a message."""

    type: str = ""
    text: str = ""
    image_url: str | None = None
    refusal: str = ""


class _Item(msgspec.Struct):
    type: str = "message"
    role: str = ""
    content: Raw = Raw(b"null")
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    input: str = ""
    output: Raw = Raw(b"null")


class _Tool(msgspec.Struct):
    type: str = ""
    name: str = ""
    description: str = ""
    parameters: Raw = Raw(b'{"type":"object","properties":{}}')
    strict: bool | None = None


class _Reasoning(msgspec.Struct):
    effort: str | None = None


class _Format(msgspec.Struct):
    type: str = ""
    name: str = ""
    schema: Raw = Raw(b"null")


class _TextOptions(msgspec.Struct):
    format: _Format | None = None


class _Request(msgspec.Struct):
    model: str = ""
    input: Raw = Raw(b"null")
    instructions: str | None = None
    previous_response_id: str | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | _Tool | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    max_output_tokens: int | None = None
    reasoning: _Reasoning | None = None
    text: _TextOptions | None = None
    user: str | None = None
    temperature: Raw = Raw()
    top_p: Raw = Raw()


_request = msgspec.json.Decoder(_Request)
_input = msgspec.json.Decoder(str | list[_Item] | None)
_parts = msgspec.json.Decoder(str | list[ContentPart] | None)
_encode = msgspec.json.Encoder().encode


def read_request(body: bytes) -> Ask:
    """Read a request.

    Raises:
        Invalid: `request.invalid`, also for one that goes on from an answer that only OpenAI keeps.
    """
    asked = decoded(_request, body)
    if asked.previous_response_id:
        raise Invalid(
            "request.invalid",
            "The model's server keeps no conversations, so `previous_response_id` leads nowhere.",
            hint="Send the whole conversation as `input`.",
        )
    choice = asked.tool_choice
    wanted = asked.text.format if asked.text else None
    lead = [Turn("system", [Text(asked.instructions)])] if asked.instructions else []
    return Ask(
        model=asked.model,
        turns=[*lead, *_turns(asked.input)],
        tools=[
            ToolSpec(tool.name, tool.description, tool.parameters, bool(tool.strict))
            for tool in asked.tools or ()
            if tool.type == "function"
        ],
        choice=(choice.name if isinstance(choice, _Tool) else choice) or "auto",
        parallel=asked.parallel_tool_calls,
        stream=bool(asked.stream),
        most_tokens=asked.max_output_tokens or 0,
        numbers=present(temperature=asked.temperature, top_p=asked.top_p),
        effort=(asked.reasoning.effort if asked.reasoning else "") or "",
        schema=(wanted.name, wanted.schema) if wanted and wanted.type == "json_schema" else None,
        user=asked.user or "",
    )


def _turns(raw: Raw) -> Iterator[Turn]:
    found = text_or_parts(_input, raw)
    if isinstance(found, str):
        yield Turn("user", [Text(found)])
        return
    for item in found:
        if item.type in {"function_call", "custom_tool_call"}:
            yield Turn("assistant", [Use(item.call_id, item.name, item.arguments or item.input)])
        elif item.type in {"function_call_output", "custom_tool_call_output"}:
            text = "\n".join(part.text for part in _content(item.output) if isinstance(part, Text))
            yield Turn("user", [Result(item.call_id, text)])
        elif item.type == "message":
            yield Turn(role_of(item.role), [*_content(item.content)])


def _content(raw: Raw) -> Iterator[Part]:
    found = text_or_parts(_parts, raw)
    if isinstance(found, str):
        yield Text(found)
        return
    for part in found:
        if part.image_url:
            yield Image.at(part.image_url)
        elif part.text or part.refusal:
            yield Text(part.text or part.refusal)


def write_request(ask: Ask) -> bytes:
    """Write a request."""
    body: dict[str, object] = {"model": ask.model, "input": [one for turn in ask.turns for one in _items(turn)]}
    if ask.tools:
        body["tools"] = [_written(tool) for tool in ask.tools]
        named = {"type": "function", "name": ask.choice}
        body["tool_choice"] = ask.choice if ask.choice in {"auto", "none", "required"} else named
        if ask.parallel is not None:
            body["parallel_tool_calls"] = ask.parallel
    if ask.stream:
        body["stream"] = True
    if ask.most_tokens:
        body["max_output_tokens"] = ask.most_tokens
    if ask.effort:
        body["reasoning"] = {"effort": ask.effort}
    if ask.schema:
        form = {"type": "json_schema", "name": ask.schema[0] or "answer", "schema": ask.schema[1]}
        body["text"] = {"format": form}
    return _encode(body | {"store": False} | dict(ask.numbers) | ({"user": ask.short_user} if ask.short_user else {}))


def _written(tool: ToolSpec) -> dict[str, object]:
    found = {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.schema}
    return found | {"strict": tool.strict}


def _items(turn: Turn) -> Iterator[dict[str, object]]:
    shown = [part for part in turn.parts if isinstance(part, Text | Image)]
    for part in turn.parts:
        if isinstance(part, Result):
            yield {"type": "function_call_output", "call_id": part.id, "output": part.text}
    if shown:
        role = "developer" if turn.role == "system" else turn.role
        yield {"type": "message", "role": role, "content": [_shown(part, turn.role) for part in shown]}
    for part in turn.parts:
        if isinstance(part, Use):
            arguments = part.arguments or "{}"
            yield {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": arguments}


def _shown(part: Text | Image, role: str) -> dict[str, object]:
    if isinstance(part, Image):
        return {"type": "input_image", "image_url": part.address}
    return {"type": "output_text" if role == "assistant" else "input_text", "text": part.text}
