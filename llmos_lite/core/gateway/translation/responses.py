"""Requests of OpenAI's responses, read and written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from llmos_lite.core.gateway.translation.files import File
from llmos_lite.core.gateway.translation.neutral import (
    Ask,
    Form,
    Image,
    Kind,
    Part,
    Raw,
    Result,
    Shown,
    Text,
    Turn,
    Use,
)
from llmos_lite.core.gateway.translation.reading import (
    decoded,
    is_on,
    is_said,
    keeps_no,
    no_file_kept,
    no_sound,
    not_shown,
    present,
    role_of,
    takes_no,
    text_or_parts,
)
from llmos_lite.core.gateway.translation.responses_tools import (
    CALLS,
    OUTPUTS,
    CallItem,
    Choice,
    Offer,
    chosen,
    offered,
    result_of,
    use_of,
    written_call,
    written_choice,
    written_tool,
)
from llmos_lite.core.gateway.translation.tools import named

FEWEST_TOKENS = 16
"""The least that OpenAI takes for `max_output_tokens`; Claude Code asks for one token to see whether it may ask."""
_SILENT = frozenset(
    {"reasoning", "additional_tools", "configuration_update", "mcp_list_tools", "mcp_approval_request", "program"}
)
"""Items that are read elsewhere, or are what the model did with what only its own provider runs, as calls are."""
_WORDS = frozenset({"input_text", "output_text", "text", "refusal"})


class ContentPart(msgspec.Struct):
    """A part of a message."""

    type: str = ""
    text: str = ""
    image_url: str | None = None
    detail: str | None = None
    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None
    refusal: str = ""


class _Reasoning(msgspec.Struct):
    effort: str | None = None
    mode: Raw = Raw()


class _Format(msgspec.Struct):
    type: str = ""
    name: str = ""
    description: str | None = None
    schema: Raw = Raw(b"null")
    strict: bool | None = None


class _TextOptions(msgspec.Struct):
    format: _Format | None = None
    verbosity: Raw = Raw()


class _Item(CallItem):
    role: str = ""
    content: Raw = Raw(b"null")
    reasoning: Raw = Raw(b"null")
    text: Raw = Raw(b"null")


class _Request(msgspec.Struct):
    model: str = ""
    input: Raw = Raw(b"null")
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: Raw = Raw()
    prompt: Raw = Raw()
    tools: list[Offer] | None = None
    tool_choice: str | Choice | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    max_output_tokens: int | None = None
    reasoning: Raw = Raw(b"null")
    text: Raw = Raw(b"null")
    user: str | None = None
    safety_identifier: str | None = None
    temperature: Raw = Raw()
    top_p: Raw = Raw()


KNOWN = frozenset(_Request.__struct_fields__) | {
    *("background_options", "client_metadata", "image", "include", "metadata", "prompt_cache_key"),
    *("prompt_cache_options", "prompt_cache_retention", "service_tier", "store", "stream_options"),
}
"""Fields that are read, and hints; see `chat.KNOWN`."""
_request = msgspec.json.Decoder(_Request)
_input = msgspec.json.Decoder(str | list[_Item] | None)
_reasoning = msgspec.json.Decoder(_Reasoning | None)
_text = msgspec.json.Decoder(_TextOptions | None)
_parts = msgspec.json.Decoder(str | list[ContentPart] | None)
_encode = msgspec.json.Encoder().encode


def read_request(body: bytes) -> Ask:
    """Read a request.

    Raises:
        Invalid: `request.invalid`, also for one of which only OpenAI keeps a part.
    """
    asked = decoded(_request, body)
    _check_whole(asked)
    items = text_or_parts(_input, asked.input)
    brought = [tool for item in items if isinstance(item, _Item) for tool in item.tools or ()]
    offers, left_out = offered([*(asked.tools or ()), *brought])
    choice, tools = chosen(asked.tool_choice, offers)
    reasoning, text = _settings(asked, items)
    wanted = text.format or _Format()
    has_schema = wanted.type == "json_schema" and is_said(wanted.schema)
    lead = [Turn("system", [Text(asked.instructions)])] if asked.instructions else []
    odd: list[str] = []
    turns = [Turn("user", [Text(items)])] if isinstance(items, str) else list(_turns(items, odd))
    return Ask(
        model=asked.model,
        turns=[*lead, *turns],
        tools=tools,
        choice=choice,
        parallel=asked.parallel_tool_calls,
        stream=bool(asked.stream),
        most_tokens=asked.max_output_tokens or 0,
        numbers=present(temperature=asked.temperature, top_p=asked.top_p),
        effort=reasoning.effort or "",
        form=Form(wanted.schema, wanted.name, wanted.description or "", bool(wanted.strict)) if has_schema else None,
        json=wanted.type in {"json_object", "json_schema"} and not has_schema,
        user=asked.user or asked.safety_identifier or "",
        left_out=[*left_out, *_lost(text, reasoning), *named(odd)],
    )


def _settings(asked: _Request, items: str | Sequence[_Item]) -> tuple[_Reasoning, _TextOptions]:
    """Return how to think and to answer, as the conversation says it last."""
    reasoning, text = decoded(_reasoning, asked.reasoning), decoded(_text, asked.text)
    for item in items:
        if isinstance(item, _Item) and item.type == "configuration_update":
            reasoning = decoded(_reasoning, item.reasoning) or reasoning
            text = decoded(_text, item.text) or text
    return reasoning or _Reasoning(), text or _TextOptions()


def _lost(text: _TextOptions, reasoning: _Reasoning) -> list[str]:
    """Return the names of settings inside of others that nobody else knows."""
    said = {"verbosity": text.verbosity, "mode": reasoning.mode}
    return [name for name, raw in said.items() if is_on(name, raw)]


def _check_whole(asked: _Request) -> None:
    """Raise for a request of which OpenAI alone keeps a part."""
    for name, there in (
        ("previous_response_id", bool(asked.previous_response_id)),
        ("conversation", is_said(asked.conversation)),
    ):
        if there:
            raise keeps_no("conversations", name, "Send the whole conversation as `input`.")
    if is_said(asked.prompt):
        raise keeps_no("prompts", "prompt", "Send its text as `instructions` and `input`.")


def _turns(items: Iterable[_Item], odd: list[str]) -> Iterator[Turn]:
    for item in items:
        kind = item.type or ("message" if item.role else "item_reference")
        if kind in CALLS:
            yield Turn("assistant", [use_of(item)])
        elif kind in OUTPUTS:
            yield Turn("user", [result_of(item, list(_content(item.output, given=True)))])
        elif kind == "message":
            role = role_of(item.role)
            yield Turn(role, [*_content(item.content, odd=odd if role == "user" else None)])
        elif kind == "item_reference":
            raise keeps_no("items", "item_reference", "Send the item itself.")
        elif kind.startswith("compaction"):
            raise keeps_no("conversations", kind[:32], "Send what it stands for, or begin a new conversation.")
        elif not (kind in _SILENT or kind.endswith("_call")):
            odd.append(kind)


def _content(raw: Raw, *, given: bool = False, odd: list[str] | None = None) -> Iterator[Part]:
    """Yield what a content says, or what a tool gave; `odd` takes the types of what nobody else knows."""
    found = text_or_parts(_parts, raw)
    if isinstance(found, str):
        yield Text(found)
        return
    for part in found:
        if part.image_url:
            yield Image.at(part.image_url, part.detail or "")
        elif part.file_id or part.type == "input_file":
            yield _file(part, given=given)
        elif part.type == "input_audio":
            yield Text(not_shown(no_sound(), given=given))
        elif part.text or part.refusal:
            yield Text(part.text or part.refusal)
        elif odd is not None and part.type not in _WORDS:
            odd.append(part.type)


def _file(part: ContentPart, *, given: bool) -> Image | File:
    if part.file_data:
        file = File.of(part.file_data, part.filename or "", given=given)
        return Image(data=file.data, kind=file.kind) if file.kind.startswith("image/") else file
    if part.file_url:
        return File(url=part.file_url, name=part.filename or "", given=given)
    raise no_file_kept("file_id")


def write_request(ask: Ask) -> bytes:
    """Write a request.

    Raises:
        Invalid: `request.invalid`, for one that says where the answer shall stop.
    """
    if ask.stop:
        raise takes_no("where to stop", "Leave `stop` out, or name a model whose provider speaks this API.")
    kinds = {part.id: part.kind for turn in ask.turns for part in turn.parts if isinstance(part, Use)}
    body: dict[str, object] = {"model": ask.model, "input": [one for turn in ask.turns for one in _items(turn, kinds)]}
    if ask.tools:
        body["tools"] = [written_tool(tool) for tool in ask.tools]
        body["tool_choice"] = written_choice(ask)
        if ask.parallel is not None:
            body["parallel_tool_calls"] = ask.parallel
    if ask.stream:
        body["stream"] = True
    if ask.most_tokens:
        body["max_output_tokens"] = max(ask.most_tokens, FEWEST_TOKENS)
    if ask.effort:
        body["reasoning"] = {"effort": ask.effort}
    if ask.form:
        body["text"] = {"format": {"type": "json_schema", **ask.form.written}}
    elif ask.json:
        body["text"] = {"format": {"type": "json_object"}}
    return _encode(body | {"store": False} | dict(ask.numbers) | ({"user": ask.short_user} if ask.short_user else {}))


def _items(turn: Turn, kinds: Mapping[str, Kind]) -> Iterator[dict[str, object]]:
    shown = [part for part in turn.parts if isinstance(part, Text | Image | File)]
    for part in turn.parts:
        if isinstance(part, Result):
            kind = "custom_tool" if kinds.get(part.id) == "custom" else "function"
            given = [_shown(one) for one in part.parts] if part.images or part.files else part.text
            yield {"type": f"{kind}_call_output", "call_id": part.id, "output": given}
    if shown:
        role = "developer" if turn.role == "system" else turn.role
        yield {"type": "message", "role": role, "content": _content_of(shown, role)}
    yield from (written_call(part) for part in turn.parts if isinstance(part, Use))


def _content_of(parts: Sequence[Shown], role: str) -> object:
    """Write what is said: of the model as one text, since parts of its own have ids that only OpenAI gives."""
    if role == "assistant":
        return "\n\n".join(part.text for part in parts if isinstance(part, Text))
    return [_shown(part) for part in parts]


def _shown(part: Shown) -> dict[str, object]:
    if isinstance(part, Image):
        return {"type": "input_image", "image_url": part.address, "detail": part.detail or "auto"}
    if isinstance(part, File):
        name = {"filename": part.called} if part.data else {}
        return {"type": "input_file", **({"file_url": part.url} if part.url else {"file_data": part.address}), **name}
    return {"type": "input_text", "text": part.text}
