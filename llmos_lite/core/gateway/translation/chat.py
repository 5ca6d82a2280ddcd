"""Requests of OpenAI's chat completions, read and written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from llmos_lite.core.gateway.translation.files import File
from llmos_lite.core.gateway.translation.neutral import (
    Ask,
    Form,
    Image,
    Part,
    Raw,
    Result,
    Shown,
    Text,
    ToolSpec,
    Turn,
    Use,
    resulted,
)
from llmos_lite.core.gateway.translation.reading import (
    decoded,
    is_said,
    keeps_no,
    no_file_kept,
    no_sound,
    not_shown,
    present,
    role_of,
    schema_of,
    takes_no,
    text_or_parts,
)
from llmos_lite.core.gateway.translation.tools import allowed, arguments_of, custom, described, named

_WORDS = frozenset({"text", "refusal"})
_DETAIL = {"original": "high"}
"""What stands for a word of responses that this API does not know."""


class _Url(msgspec.Struct):
    url: str = ""
    detail: str | None = None


class _File(msgspec.Struct):
    file_id: str | None = None
    file_data: str | None = None
    filename: str | None = None


class _Part(msgspec.Struct):
    type: str = ""
    text: str = ""
    image_url: _Url | str | None = None
    file: _File | None = None
    refusal: str = ""


class _Function(msgspec.Struct):
    name: str = ""
    arguments: str = ""
    description: str | None = None
    parameters: Raw = Raw()
    strict: bool | None = None


class _Grammar(msgspec.Struct):
    syntax: str = ""
    definition: str = ""


class _Form(msgspec.Struct):
    grammar: _Grammar | None = None


class _Custom(msgspec.Struct):
    name: str = ""
    description: str | None = None
    input: str = ""
    format: _Form | None = None


class _Call(msgspec.Struct):
    id: str | None = None
    index: int | None = None
    function: _Function | None = None
    custom: _Custom | None = None


class _Message(msgspec.Struct):
    role: str = ""
    content: Raw = Raw(b"null")
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None
    tool_call_id: str = ""
    name: str | None = None
    audio: Raw = Raw()


class _Tool(msgspec.Struct):
    function: _Function | None = None
    custom: _Custom | None = None

    @property
    def name(self) -> str:
        """Return its name."""
        one = self.function or self.custom
        return one.name if one else ""


class _Allowed(msgspec.Struct):
    mode: str = "auto"
    tools: list[_Tool] = []


class _Choice(_Tool):
    allowed_tools: _Allowed | None = None


class _Named(msgspec.Struct):
    name: str = ""
    description: str | None = None
    schema: Raw = Raw(b"null")
    strict: bool | None = None


class _Format(msgspec.Struct):
    type: str = ""
    json_schema: _Named | None = None


class _Request(msgspec.Struct):
    model: str = ""
    messages: list[_Message] = []
    tools: list[_Tool] | None = None
    tool_choice: str | _Choice | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    reasoning_effort: str | None = None
    response_format: _Format | None = None
    n: int | None = None
    functions: Raw = Raw()
    modalities: list[str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    temperature: Raw = Raw()
    top_p: Raw = Raw()


KNOWN = frozenset(_Request.__struct_fields__) | {
    *("audio", "function_call", "metadata", "prediction", "prompt_cache_key", "prompt_cache_options"),
    *("prompt_cache_retention", "service_tier", "store", "stream_options"),
}
"""Fields that are read, and hints: they change the price or the pace of an answer, or what is kept of it."""
_request = msgspec.json.Decoder(_Request)
_parts = msgspec.json.Decoder(str | list[_Part] | None)
_encode = msgspec.json.Encoder().encode


def read_request(body: bytes) -> Ask:
    """Read a request.

    Raises:
        Invalid: `request.invalid`.
    """
    asked = decoded(_request, body)
    _check_known(asked)
    choice, tools = _chosen(asked.tool_choice, [spec for tool in asked.tools or () for spec in _specs(tool)])
    form = asked.response_format or _Format()
    wanted, odd = form.json_schema if form.type == "json_schema" and form.json_schema else _Named(), list[str]()
    has_schema = is_said(wanted.schema)
    return Ask(
        model=asked.model,
        turns=_turns(asked.messages, odd),
        tools=tools,
        choice=choice,
        parallel=asked.parallel_tool_calls,
        stream=bool(asked.stream),
        most_tokens=asked.max_completion_tokens or asked.max_tokens or 0,
        stop=[asked.stop] if isinstance(asked.stop, str) else asked.stop or [],
        numbers=present(temperature=asked.temperature, top_p=asked.top_p),
        effort=asked.reasoning_effort or "",
        form=Form(wanted.schema, wanted.name, wanted.description or "", bool(wanted.strict)) if has_schema else None,
        json=form.type in {"json_object", "json_schema"} and not has_schema,
        user=asked.user or asked.safety_identifier or "",
        left_out=named(odd),
    )


def _chosen(choice: str | _Choice | None, tools: Sequence[ToolSpec]) -> tuple[str, Sequence[ToolSpec]]:
    """Return what is demanded, and the tools that may be called."""
    if not isinstance(choice, _Choice):
        return choice or "auto", tools
    if few := choice.allowed_tools:
        return allowed(few.mode, [tool.name for tool in few.tools], tools)
    return choice.name or "auto", tools


def _check_known(asked: _Request) -> None:
    """Raise for a request of which the other dialects would leave out what the client counts on."""
    if "audio" in (asked.modalities or ()):
        raise no_sound()
    if (asked.n or 1) > 1:
        raise takes_no("several answers", "Leave `n` out, and ask as often as you want answers.")
    if is_said(asked.functions):
        raise takes_no("`functions`", "Send them as `tools`, which took their place.")


def _specs(tool: _Tool) -> Iterator[ToolSpec]:
    if function := tool.function:
        schema = schema_of(function.parameters)
        yield ToolSpec(function.name, function.description or "", schema, bool(function.strict))
    elif own := tool.custom:
        grammar = own.format.grammar if own.format else None
        yield custom(own.name, own.description or "", (grammar.syntax, grammar.definition) if grammar else None)


def _turns(messages: Sequence[_Message], odd: list[str]) -> list[Turn]:
    turns: list[Turn] = []
    old = ""
    for at, message in enumerate(messages):
        is_old = message.role == "function" and bool(old)
        by_person = odd if message.role == "user" else None
        parts = list(_content(message.content, given=is_old or message.role == "tool", odd=by_person))
        if is_said(message.audio):
            raise keeps_no("sound", "audio", "Send the words of that answer as its `content`.")
        if message.name and message.role not in {"tool", "function"}:
            odd.append("name")
        if is_old or message.role == "tool":
            turns.append(Turn("user", [resulted(old if is_old else message.tool_call_id, parts)]))
            old = "" if is_old else old
        elif message.role == "assistant":
            old = f"call_{at}" if message.function_call else ""
            turns.append(Turn("assistant", [*parts, *_uses(message.tool_calls), *_old_use(message.function_call, old)]))
        else:
            turns.append(Turn(role_of(message.role), parts))
    return turns


def _old_use(call: _Function | None, call_id: str) -> list[Use]:
    """Return a call of before they had ids; what it gave is in the next message of a function."""
    return [Use(call_id, call.name, call.arguments)] if call else []


def _content(raw: Raw, *, given: bool = False, odd: list[str] | None = None) -> Iterator[Part]:
    """Yield what a content says, or what a tool gave; `odd` takes the types of what nobody else knows."""
    found = text_or_parts(_parts, raw)
    if isinstance(found, str):
        yield Text(found)
        return
    for part in found:
        if part.image_url is not None:
            place = _Url(part.image_url) if isinstance(part.image_url, str) else part.image_url
            yield Image.at(place.url, place.detail or "")
        elif part.text or part.refusal:
            yield Text(part.text or part.refusal)
        elif part.file is not None:
            yield _file(part.file, given=given)
        elif part.type == "input_audio":
            yield Text(not_shown(no_sound(), given=given))
        elif odd is not None and part.type not in _WORDS:
            odd.append(part.type)


def _file(part: _File, *, given: bool) -> Image | File:
    if not part.file_data:
        raise no_file_kept("file_id")
    file = File.of(part.file_data, part.filename or "", given=given)
    return Image(data=file.data, kind=file.kind) if file.kind.startswith("image/") else file


def _uses(calls: Sequence[_Call] | None) -> Iterator[Use]:
    for call in calls or ():
        if call.function:
            yield Use(call.id or "", call.function.name, call.function.arguments)
        elif call.custom:
            yield Use(call.id or "", call.custom.name, call.custom.input, "custom")


def write_request(ask: Ask) -> bytes:
    """Write a request."""
    turns = _with_pictures(ask.turns)
    body: dict[str, object] = {"model": ask.model, "messages": [one for turn in turns for one in _messages(turn)]}
    if ask.tools:
        body["tools"] = [{"type": "function", "function": _written(tool)} for tool in ask.tools]
        one = {"type": "function", "function": {"name": ask.choice}}
        body["tool_choice"] = ask.choice if ask.choice in {"auto", "none", "required"} else one
        if ask.parallel is not None:
            body["parallel_tool_calls"] = ask.parallel
    if ask.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if ask.most_tokens:
        body[ask.limit] = ask.most_tokens
    if ask.stop:
        body["stop"] = ask.stop
    if ask.effort:
        body["reasoning_effort"] = ask.effort
    if ask.form:
        body["response_format"] = {"type": "json_schema", "json_schema": ask.form.written}
    elif ask.json:
        body["response_format"] = {"type": "json_object"}
    return _encode(body | dict(ask.numbers) | ({"user": ask.short_user} if ask.short_user else {}))


def _written(tool: ToolSpec) -> dict[str, object]:
    strict = {"strict": True} if tool.strict else {}
    return {"name": tool.name, "description": described(tool), "parameters": tool.schema, **strict}


def _with_pictures(turns: Iterable[Turn]) -> Iterator[Turn]:
    """Yield turns in which what calls gave to see comes after all results of the answer: these hold only text here."""
    pictures: list[Shown] = []
    for turn in turns:
        results = [part for part in turn.parts if isinstance(part, Result)]
        if pictures and not results:
            yield Turn("user", pictures)
            pictures = []
        yield turn
        for result in results:
            pictures += [*result.images]
            pictures += [*result.files]
    if pictures:
        yield Turn("user", pictures)


def _messages(turn: Turn) -> Iterator[dict[str, object]]:
    """A turn as messages: results of tools are messages of their own, before the words that came with them."""
    for part in turn.parts:
        if isinstance(part, Result):
            text = part.text or ("The picture follows." if part.images else "The file follows." if part.files else "")
            yield {"role": "tool", "tool_call_id": part.id, "content": text}
    shown = [part for part in turn.parts if isinstance(part, Text | Image | File)]
    calls = [part for part in turn.parts if isinstance(part, Use)]
    if not (shown or calls):
        return
    message: dict[str, object] = {"role": turn.role, "content": _shown(shown) if shown else None}
    if calls:
        message["tool_calls"] = [
            call_of(call._replace(arguments=arguments_of(call), kind="function")) for call in calls
        ]
    yield message


def call_of(call: Use) -> dict[str, object]:
    """Write a call."""
    if call.kind == "custom":
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}


def _shown(parts: Sequence[Shown]) -> object:
    if all(isinstance(part, Text) for part in parts):
        return "\n\n".join(part.text for part in parts if isinstance(part, Text))
    return [_part(part) for part in parts]


def _part(part: Shown) -> dict[str, object]:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Image():
            detail = {"detail": _DETAIL.get(part.detail, part.detail)} if part.detail else {}
            return {"type": "image_url", "image_url": {"url": part.address, **detail}}
        case File():
            return {"type": "file", "file": {"filename": part.called, "file_data": part.address}}
