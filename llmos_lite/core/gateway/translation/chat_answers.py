"""Answers of OpenAI's chat completions, read and written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from secrets import token_hex

import msgspec

from llmos_lite.core.gateway.translation.chat import call_of
from llmos_lite.core.gateway.translation.neutral import (
    Argued,
    Began,
    Called,
    Counted,
    Failed,
    Gathered,
    Raw,
    Said,
    Stop,
    Stopped,
    Words,
    merged,
)
from llmos_lite.core.gateway.translation.reading import text_or_json
from llmos_lite.engines.llm_http import decoded as answered
from llmos_lite.engines.sse import SseReader

_STOPS: dict[str, Stop] = {
    "stop": "end",
    "length": "length",
    "tool_calls": "tools",
    "function_call": "tools",
    "content_filter": "filtered",
}
_WHY = {"end": "stop", "stop": "stop", "length": "length", "tools": "tool_calls", "filtered": "content_filter"}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: Raw = Raw(b'""')


class _Call(msgspec.Struct):
    id: str | None = None
    index: int | None = None
    function: _Function | None = None


class _Piece(msgspec.Struct):
    text: str | None = None


class _Delta(msgspec.Struct):
    content: str | list[_Piece] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None

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
    cache_write_tokens: int | None = None


class _Thought(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Cached | None = None
    completion_tokens_details: _Thought | None = None


class _Error(msgspec.Struct):
    message: str = ""


class _Chunk(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: _Error | str | None = None


_chunk = msgspec.json.Decoder(_Chunk)
_encode = msgspec.json.Encoder().encode


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
            if not (chunk.id or chunk.choices):  # Azure first tells what it thinks of the prompt, and nothing's name
                return
            self._began = True
            yield Began(chunk.id or "", chunk.model or "")
        for choice in (chunk.choices or ())[:1]:
            yield from self._choice(choice)
        if chunk.usage:
            usage, kept = chunk.usage, chunk.usage.prompt_tokens_details or _Cached()
            thought = usage.completion_tokens_details.reasoning_tokens if usage.completion_tokens_details else None
            asked, told = usage.prompt_tokens, usage.completion_tokens
            yield Counted(asked, told, kept.cached_tokens, kept.cache_write_tokens, thought)

    def _choice(self, choice: _Choice) -> Iterator[Said]:
        delta = choice.delta or choice.message or _Delta()
        if text := delta.text:
            yield Words(text)
        for place, call in enumerate(delta.tool_calls or ()):
            at = call.index if call.index is not None else place
            function = call.function or _Function()
            if at not in self._calls:
                self._calls.add(at)
                yield Called(at, call.id or f"call_{token_hex(8)}", function.name or "")
            if arguments := text_or_json(function.arguments):
                yield Argued(at, arguments)
        if choice.finish_reason and not self._stopped:
            self._stopped = True
            yield Stopped(_STOPS.get(choice.finish_reason, "end"))


class ChatOut:
    """Writes an answer, at once or in events."""

    answer_id = ""
    number = 0

    def __init__(self, *, usage: bool = True) -> None:
        self._id, self._model, self._usage = "chatcmpl-0", "", usage
        self._custom = False
        self._lacking: Called | None = None
        """A call without arguments so far: Anthropic streams none where there are none, and our clients read JSON."""
        self._count, self._created = Counted(), int(time.time())

    def whole(self, answer: Gathered) -> bytes:
        """Write an answer at once."""
        message: dict[str, object] = {"role": "assistant", "content": answer.text or None}
        if answer.calls:
            message["tool_calls"] = [call_of(call) for call in answer.uses]
        choice = {"index": 0, "message": message, "finish_reason": _WHY[answer.why], "logprobs": None}
        self._id, self._model = answer.id or self._id, answer.model
        return _encode(self._base("chat.completion") | {"choices": [choice], "usage": _usage(answer.count)})

    def event(self, said: Said) -> bytes:
        """Write a piece of an answer."""
        if isinstance(said, Words):
            return self._chunk(_delta(said, custom=False), None)
        if isinstance(said, Counted):
            self._count = merged(self._count, said)
            return b""
        if isinstance(said, Failed):
            return _event({"error": {"message": said.message, "type": "server_error", "code": "model.failed"}})
        if isinstance(said, Began):
            self._id, self._model = said.id or self._id, said.model
        filled = self._filled() if isinstance(said, Called | Stopped) else b""
        if isinstance(said, Called):
            self._custom = said.kind == "custom"
            self._lacking = None if self._custom else said
        elif isinstance(said, Argued) and said.text:
            self._lacking = None
        why = _WHY[said.why] if isinstance(said, Stopped) else None
        return filled + self._chunk(_delta(said, custom=self._custom), why)

    def _filled(self) -> bytes:
        call, self._lacking = self._lacking, None
        return self._chunk(_delta(Argued(call.at, "{}"), custom=False), None) if call else b""

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
    details = ({"cached_tokens": count.cached} if count.cached else {}) | (
        {"cache_write_tokens": count.stored} if count.stored else {}
    )
    kept: dict[str, object] = {"prompt_tokens_details": details} if details else {}
    if count.thought:
        kept["completion_tokens_details"] = {"reasoning_tokens": count.thought}
    return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered, **kept}
