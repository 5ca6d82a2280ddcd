"""Answers of Anthropic's messages, read and written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from secrets import token_hex

import msgspec

from llmos_lite.core.gateway.translation.messages import Block, block_of
from llmos_lite.core.gateway.translation.neutral import (
    Argued,
    Began,
    Called,
    Counted,
    Failed,
    Gathered,
    Said,
    Stop,
    Stopped,
    Words,
    merged,
)
from llmos_lite.engines.llm_http import decoded as answered
from llmos_lite.engines.sse import SseReader

_STOPS: Mapping[str, Stop] = {
    "end_turn": "end",
    "pause_turn": "end",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tools",
    "refusal": "filtered",
}
_WHY = {"end": "end_turn", "stop": "stop_sequence", "length": "max_tokens", "tools": "tool_use", "filtered": "refusal"}


class _Thought(msgspec.Struct):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens_details: _Thought | None = None


class _Details(msgspec.Struct):
    explanation: str | None = None


class _Answer(msgspec.Struct):
    id: str = ""
    model: str = ""
    content: list[Block] = []
    stop_reason: str | None = None
    stop_details: _Details | None = None
    usage: _Usage | None = None


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    partial_json: str = ""
    stop_reason: str | None = None
    stop_details: _Details | None = None


class _Error(msgspec.Struct):
    message: str = ""


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: _Answer | None = None
    content_block: Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: _Error | None = None


_answer = msgspec.json.Decoder(_Answer)
_event = msgspec.json.Decoder(_Event)
_encode = msgspec.json.Encoder().encode


class MessagesIn:
    """Reads an answer, at once or in events."""

    def __init__(self) -> None:
        self._sse = SseReader()
        self._inputs: dict[int, str] = {}
        self._spoke = False

    def whole(self, body: bytes) -> list[Said]:
        """Read an answer that came at once."""
        answer = answered(_answer, body)
        said: list[Said] = [Began(answer.id, answer.model)]
        for at, block in enumerate(answer.content):
            if block.type == "text":
                said.append(Words(block.text))
            elif block.type == "tool_use":
                said += [Called(at, block.id, block.name), Argued(at, bytes(block.input).decode())]
        said += _excuse(answer.stop_details, any(block.text for block in answer.content))
        if answer.usage:
            said.append(_counted(answer.usage))
        return [*said, Stopped(_STOPS.get(answer.stop_reason or "", "end"))]

    def feed(self, data: bytes) -> list[Said]:
        """Read a piece of a stream."""
        return [said for event in self._sse.feed(data) for said in self._said(answered(_event, event))]

    def _said(self, event: _Event) -> Iterator[Said]:
        block, delta = event.content_block, event.delta
        if event.type == "error":
            yield Failed(event.error.message if event.error else "")
        elif event.message is not None:
            yield Began(event.message.id, event.message.model)
            if event.message.usage:
                yield _counted(event.message.usage)
        elif block is not None and block.type == "tool_use":
            yield Called(event.index, block.id, block.name)
            self._inputs[event.index] = bytes(block.input).decode()
        elif event.type == "content_block_stop" and self._inputs.get(event.index, "{}") != "{}":
            yield Argued(event.index, self._inputs.pop(event.index))
        elif delta is not None and delta.text:
            self._spoke = True
            yield Words(delta.text)
        elif delta is not None and delta.partial_json:
            self._inputs.pop(event.index, None)
            yield Argued(event.index, delta.partial_json)
        if event.usage is not None:
            yield _counted(event.usage)
        if delta is not None and delta.stop_reason:
            yield from _excuse(delta.stop_details, self._spoke)
            yield Stopped(_STOPS.get(delta.stop_reason, "end"))


def _excuse(details: _Details | None, spoke: bool) -> list[Said]:  # noqa: FBT001
    """Return why a model refuses, where it says nothing: in other dialects that is what it answers."""
    return [Words(details.explanation)] if details and details.explanation and not spoke else []


def _counted(usage: _Usage) -> Counted:
    """Return what was counted; this API counts what came from the cache, and went into it, beside the rest."""
    cached = (usage.cache_read_input_tokens, usage.cache_creation_input_tokens)
    asked = usage.input_tokens
    if asked is not None:
        asked += sum(filter(None, cached))
    thought = usage.output_tokens_details.thinking_tokens if usage.output_tokens_details else None
    return Counted(asked, usage.output_tokens, *cached, thought)


class MessagesOut:
    """Writes an answer, at once or in events."""

    answer_id = ""
    number = 0

    def __init__(self) -> None:
        self._open = -1
        self._at: dict[int, int] = {}
        self._texting = False
        self._count = Counted()
        self._why: Stop = "end"

    def whole(self, answer: Gathered) -> bytes:
        """Write an answer at once."""
        content: list[dict[str, object]] = [{"type": "text", "text": answer.text}] if answer.text else []
        content += [block_of(use) for use in answer.uses]
        base = _base(answer.model) | {"content": content, "stop_reason": _WHY[answer.why]}
        return _encode(base | {"usage": _usage(answer.count)})

    def event(self, said: Said) -> bytes:
        """Write a piece of an answer."""
        match said:
            case Began():
                usage = _usage(self._count)
                return _named("message_start", message=_base(said.model) | {"usage": usage})
            case Words():
                return self._text(said.text)
            case Called():
                block = {"type": "tool_use", "id": said.id, "name": said.name, "input": {}}
                return self._start(block, said.at)
            case Argued():
                delta = {"type": "input_json_delta", "partial_json": said.text}
                return _named("content_block_delta", index=self._at.get(said.at, self._open), delta=delta)
            case Counted():
                self._count = merged(self._count, said)
            case Stopped():
                self._why = said.why
            case Failed():
                return _named("error", error={"type": "api_error", "message": said.message})
        return b""

    def end(self) -> bytes:
        """Write the end of a stream."""
        delta = {"stop_reason": _WHY[self._why], "stop_sequence": None}
        last = _named("message_delta", delta=delta, usage=_usage(self._count))
        return self._close() + last + _named("message_stop")

    def _text(self, text: str) -> bytes:
        start = b"" if self._texting else self._start({"type": "text", "text": ""})
        self._texting = True
        delta = {"type": "text_delta", "text": text}
        return start + _named("content_block_delta", index=self._open, delta=delta)

    def _start(self, block: Mapping[str, object], at: int | None = None) -> bytes:
        closed = self._close()
        self._open += 1
        if at is not None:
            self._at[at] = self._open
        return closed + _named("content_block_start", index=self._open, content_block=block)

    def _close(self) -> bytes:
        self._texting = False
        return _named("content_block_stop", index=self._open) if self._open >= 0 else b""


def _base(model: str) -> dict[str, object]:
    """Return how an answer begins; its id is ours: Ollama has 999, and Claude Code joins answers of one id."""
    found: dict[str, object] = {"id": f"msg_{token_hex(12)}", "type": "message", "role": "assistant", "model": model}
    return found | {"content": [], "stop_reason": None, "stop_sequence": None}


def _named(kind: str, **fields: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **fields}))


def _usage(count: Counted) -> dict[str, object]:
    cached, stored = count.cached or 0, count.stored or 0
    return {
        "input_tokens": max(0, (count.asked or 0) - cached - stored),
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": stored,
        "output_tokens": count.answered or 0,
    } | ({"output_tokens_details": {"thinking_tokens": count.thought}} if count.thought else {})
