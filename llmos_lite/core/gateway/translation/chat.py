"""OpenAI's chat completions, read and written."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from llmos_lite.core.gateway.translation.neutral import (
    Argued,
    Ask,
    Began,
    Called,
    Counted,
    Failed,
    Gathered,
    Image,
    Part,
    Raw,
    Result,
    Said,
    Stop,
    Stopped,
    Text,
    ToolSpec,
    Turn,
    Use,
    Words,
    merged,
    resulted,
)
from llmos_lite.core.gateway.translation.reading import (
    decoded,
    is_said,
    keeps_no,
    no_file_kept,
    no_file_taken,
    no_sound,
    not_shown,
    present,
    role_of,
    takes_no,
    text_or_json,
    text_or_parts,
)
from llmos_lite.core.gateway.translation.tools import arguments_of, custom, described, named
from llmos_lite.engines.llm_http import decoded as answered
from llmos_lite.engines.sse import SseReader

STOPS: dict[str, Stop] = {
    "stop": "end",
    "length": "length",
    "tool_calls": "tools",
    "function_call": "tools",
    "content_filter": "filtered",
}
_WHY = {"end": "stop", "stop": "stop", "length": "length", "tools": "tool_calls", "filtered": "content_filter"}


_WORDS = frozenset({"text", "refusal"})


class _Url(msgspec.Struct):
    url: str = ""


class _File(msgspec.Struct):
    file_id: str | None = None


class _Part(msgspec.Struct):
    type: str = ""
    text: str = ""
    image_url: _Url | str | None = None
    file: _File | None = None
    refusal: str = ""


class _Function(msgspec.Struct):
    name: str = ""
    arguments: str = ""
    description: str = ""
    parameters: Raw = Raw(b'{"type":"object","properties":{}}')
    strict: bool | None = None


class _Grammar(msgspec.Struct):
    syntax: str = ""
    definition: str = ""


class _Form(msgspec.Struct):
    grammar: _Grammar | None = None


class _Custom(msgspec.Struct):
    name: str = ""
    description: str = ""
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
    tool_call_id: str = ""
    audio: Raw = Raw()


class _Tool(msgspec.Struct):
    function: _Function | None = None
    custom: _Custom | None = None


class _Named(msgspec.Struct):
    name: str = ""
    schema: Raw = Raw(b"null")


class _Format(msgspec.Struct):
    type: str = ""
    json_schema: _Named | None = None


class _Request(msgspec.Struct):
    model: str = ""
    messages: list[_Message] = []
    tools: list[_Tool] | None = None
    tool_choice: str | _Tool | None = None
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
    temperature: Raw = Raw()
    top_p: Raw = Raw()


class _SaidFunction(msgspec.Struct):
    name: str | None = None
    arguments: Raw = Raw(b'""')


class _SaidCall(msgspec.Struct):
    id: str | None = None
    index: int | None = None
    function: _SaidFunction | None = None


class _Piece(msgspec.Struct):
    text: str | None = None


class _Delta(msgspec.Struct):
    content: str | list[_Piece] | None = None
    refusal: str | None = None
    tool_calls: list[_SaidCall] | None = None

    @property
    def text(self) -> str:
        """Return the words; Mistral's models that think answer in pieces, and a refusal stands beside."""
        if isinstance(self.content, list):
            return "".join(piece.text or "" for piece in self.content)
        return self.content or self.refusal or ""


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Cached(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Cached | None = None


class _Error(msgspec.Struct):
    message: str = ""


class _Chunk(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: _Error | str | None = None


_request = msgspec.json.Decoder(_Request)
_parts = msgspec.json.Decoder(str | list[_Part] | None)
_chunk = msgspec.json.Decoder(_Chunk)
_encode = msgspec.json.Encoder().encode


def read_request(body: bytes) -> Ask:
    """Read a request.

    Raises:
        Invalid: `request.invalid`.
    """
    asked = decoded(_request, body)
    _check_known(asked)
    choice = asked.tool_choice
    if isinstance(choice, _Tool):
        one = choice.function or choice.custom
        choice = one.name if one else "auto"
    form = asked.response_format or _Format()
    wanted, odd = form.json_schema if form.type == "json_schema" and form.json_schema else _Named(), list[str]()
    has_schema = is_said(wanted.schema)
    return Ask(
        model=asked.model,
        turns=_turns(asked.messages, odd),
        tools=[spec for tool in asked.tools or () for spec in _specs(tool)],
        choice=choice or "auto",
        parallel=asked.parallel_tool_calls,
        stream=bool(asked.stream),
        most_tokens=asked.max_completion_tokens or asked.max_tokens or 0,
        stop=[asked.stop] if isinstance(asked.stop, str) else asked.stop or [],
        numbers=present(temperature=asked.temperature, top_p=asked.top_p),
        effort=asked.reasoning_effort or "",
        schema=(wanted.name, wanted.schema) if has_schema else None,
        json=form.type in {"json_object", "json_schema"} and not has_schema,
        user=asked.user or "",
        left_out=named(odd),
    )


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
        yield ToolSpec(function.name, function.description, function.parameters, bool(function.strict))
    elif own := tool.custom:
        grammar = own.format.grammar if own.format else None
        yield custom(own.name, own.description, (grammar.syntax, grammar.definition) if grammar else None)


def _turns(messages: Sequence[_Message], odd: list[str]) -> list[Turn]:
    turns: list[Turn] = []
    for message in messages:
        by_person = odd if message.role == "user" else None
        parts = list(_content(message.content, given=message.role == "tool", odd=by_person))
        if is_said(message.audio):
            raise keeps_no("sound", "audio", "Send the words of that answer as its `content`.")
        if message.role == "tool":
            turns.append(Turn("user", [resulted(message.tool_call_id, parts)]))
        elif message.role == "assistant":
            turns.append(Turn("assistant", [*parts, *_uses(message.tool_calls)]))
        else:
            turns.append(Turn(role_of(message.role), parts))
    return turns


def _content(raw: Raw, *, given: bool = False, odd: list[str] | None = None) -> Iterator[Part]:
    """Yield what a content says, or what a tool gave; `odd` takes the types of what nobody else knows."""
    found = text_or_parts(_parts, raw)
    if isinstance(found, str):
        yield Text(found)
        return
    for part in found:
        if part.image_url is not None:
            yield Image.at(part.image_url if isinstance(part.image_url, str) else part.image_url.url)
        elif part.text or part.refusal:
            yield Text(part.text or part.refusal)
        elif part.file is not None:
            if part.file.file_id:
                raise no_file_kept("file_id")
            yield Text(not_shown(no_file_taken(), given=given))
        elif part.type == "input_audio":
            yield Text(not_shown(no_sound(), given=given))
        elif odd is not None and part.type not in _WORDS:
            odd.append(part.type)


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
        body["max_tokens"] = ask.most_tokens
    if ask.stop:
        body["stop"] = ask.stop
    if ask.effort:
        body["reasoning_effort"] = ask.effort
    if ask.schema:
        schema: dict[str, object] = {"name": ask.schema[0] or "answer", "schema": ask.schema[1]}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif ask.json:
        body["response_format"] = {"type": "json_object"}
    return _encode(body | dict(ask.numbers) | ({"user": ask.short_user} if ask.short_user else {}))


def _written(tool: ToolSpec) -> dict[str, object]:
    strict = {"strict": True} if tool.strict else {}
    return {"name": tool.name, "description": described(tool), "parameters": tool.schema, **strict}


def _with_pictures(turns: Iterable[Turn]) -> Iterator[Turn]:
    """Yield turns in which pictures that calls gave come after all results of the answer: these hold only text here."""
    pictures: list[Image] = []
    for turn in turns:
        results = [part for part in turn.parts if isinstance(part, Result)]
        if pictures and not results:
            yield Turn("user", pictures)
            pictures = []
        yield turn
        pictures += [image for result in results for image in result.images]
    if pictures:
        yield Turn("user", pictures)


def _messages(turn: Turn) -> Iterator[dict[str, object]]:
    """A turn as messages: results of tools are messages of their own, before the words that came with them."""
    for part in turn.parts:
        if isinstance(part, Result):
            text = part.text or ("The picture follows." if part.images else "")
            yield {"role": "tool", "tool_call_id": part.id, "content": text}
    shown = [part for part in turn.parts if isinstance(part, Text | Image)]
    calls = [part for part in turn.parts if isinstance(part, Use)]
    if not (shown or calls):
        return
    message: dict[str, object] = {"role": turn.role, "content": _shown(shown) if shown else None}
    if calls:
        message["tool_calls"] = [_use(call._replace(arguments=arguments_of(call), kind="function")) for call in calls]
    yield message


def _use(call: Use) -> dict[str, object]:
    if call.kind == "custom":
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}


def _shown(parts: Sequence[Text | Image]) -> object:
    if not any(isinstance(part, Image) for part in parts):
        return "\n\n".join(part.text for part in parts if isinstance(part, Text))
    return [
        {"type": "text", "text": part.text}
        if isinstance(part, Text)
        else {"type": "image_url", "image_url": {"url": part.address}}
        for part in parts
    ]


class ChatIn:
    """Reads an answer, at once or in events."""

    def __init__(self) -> None:
        self._sse, self._began, self._stopped = SseReader(), False, False
        self._calls: set[int] = set()

    def whole(self, body: bytes) -> list[Said]:
        """Read an answer that came at once."""
        return list(self._said(answered(_chunk, body)))

    def feed(self, data: bytes) -> list[Said]:
        """Read a piece of a stream."""
        return [
            said for event in self._sse.feed(data) if event != b"[DONE]" for said in self._said(answered(_chunk, event))
        ]

    def _said(self, chunk: _Chunk) -> Iterator[Said]:
        if chunk.error:
            yield Failed(chunk.error if isinstance(chunk.error, str) else chunk.error.message)
            return
        if not self._began:
            self._began = True
            yield Began(chunk.id or "", chunk.model or "")
        for choice in (chunk.choices or ())[:1]:
            yield from self._choice(choice)
        if chunk.usage:
            details = chunk.usage.prompt_tokens_details
            cached = details.cached_tokens if details else None
            yield Counted(chunk.usage.prompt_tokens, chunk.usage.completion_tokens, cached)

    def _choice(self, choice: _Choice) -> Iterator[Said]:
        delta = choice.delta or choice.message or _Delta()
        if text := delta.text:
            yield Words(text)
        for place, call in enumerate(delta.tool_calls or ()):
            at = call.index if call.index is not None else place
            function = call.function or _SaidFunction()
            if at not in self._calls:
                self._calls.add(at)
                yield Called(at, call.id or f"call_{at}", function.name or "")
            if arguments := text_or_json(function.arguments):
                yield Argued(at, arguments)
        if choice.finish_reason and not self._stopped:
            self._stopped = True
            yield Stopped(STOPS.get(choice.finish_reason, "end"))


class ChatOut:
    """Writes an answer, at once or in events."""

    answer_id = ""
    number = 0

    def __init__(self, *, usage: bool = True) -> None:
        self._id, self._model, self._usage = "chatcmpl-0", "", usage
        self._custom = False
        self._count, self._created = Counted(), int(time.time())

    def whole(self, answer: Gathered) -> bytes:
        """Write an answer at once."""
        message: dict[str, object] = {"role": "assistant", "content": answer.text or None}
        if answer.calls:
            message["tool_calls"] = [_use(call) for call in answer.uses]
        choice = {"index": 0, "message": message, "finish_reason": _WHY[answer.why], "logprobs": None}
        self._id, self._model = answer.id or self._id, answer.model
        return _encode(self._base("chat.completion") | {"choices": [choice], "usage": _usage(answer.count)})

    def event(self, said: Said) -> bytes:
        """Write a piece of an answer."""
        if isinstance(said, Counted):
            self._count = merged(self._count, said)
            return b""
        if isinstance(said, Failed):
            return _event({"error": {"message": said.message, "type": "server_error", "code": "model.failed"}})
        if isinstance(said, Began):
            self._id, self._model = said.id or self._id, said.model
        if isinstance(said, Called):
            self._custom = said.kind == "custom"
        return self._chunk(_delta(said, custom=self._custom), _WHY[said.why] if isinstance(said, Stopped) else None)

    def end(self) -> bytes:
        """Write the end of a stream."""
        counted = self._base("chat.completion.chunk") | {"choices": [], "usage": _usage(self._count)}
        return (_event(counted) if self._usage else b"") + b"data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, object], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return _event(self._base("chat.completion.chunk") | {"choices": [choice]})

    def _base(self, kind: str) -> dict[str, object]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model}


def _delta(said: Began | Words | Called | Argued | Stopped, *, custom: bool) -> dict[str, object]:
    kind, key = ("custom", "input") if custom else ("function", "arguments")
    match said:
        case Began():
            return {"role": "assistant", "content": ""}
        case Words():
            return {"content": said.text}
        case Called():
            return {"tool_calls": [{"index": said.at, "id": said.id, "type": kind, kind: {"name": said.name, key: ""}}]}
        case Argued():
            return {"tool_calls": [{"index": said.at, kind: {key: said.text}}]}
        case Stopped():
            return {}


def _event(body: dict[str, object]) -> bytes:
    return b"data: %b\n\n" % _encode(body)


def _usage(count: Counted) -> dict[str, object]:
    asked, answered = count.asked or 0, count.answered or 0
    cached = {"prompt_tokens_details": {"cached_tokens": count.cached}} if count.cached else {}
    return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered, **cached}
