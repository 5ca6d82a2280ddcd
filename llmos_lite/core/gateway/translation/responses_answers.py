"""Answers of OpenAI's responses, read and written."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import msgspec

from llmos_lite.core.gateway.responses_form import begun_response, event_of
from llmos_lite.core.gateway.translation.neutral import (
    Argued,
    Began,
    Called,
    Counted,
    Failed,
    Gathered,
    Kind,
    Raw,
    Said,
    Stopped,
    Use,
    Words,
)
from llmos_lite.core.gateway.translation.reading import text_or_json
from llmos_lite.core.gateway.translation.responses import ContentPart
from llmos_lite.core.gateway.translation.responses_tools import CALLS, written_call
from llmos_lite.engines.llm_http import decoded as answered
from llmos_lite.engines.sse import SseReader


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _Thought(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Thought | None = None


class _Reason(msgspec.Struct):
    reason: str | None = None


class _Error(msgspec.Struct):
    message: str = ""


class _Output(msgspec.Struct):
    type: str = ""
    content: list[ContentPart] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: Raw = Raw(b'""')
    input: str | None = None

    @property
    def given(self) -> str:
        """Return what the tool is given; a search has an object."""
        return self.input or text_or_json(self.arguments)


class _Response(msgspec.Struct):
    id: str = ""
    model: str = ""
    status: str | None = None
    output: list[_Output] = []
    usage: _Usage | None = None
    incomplete_details: _Reason | None = None
    error: _Error | None = None


class _Event(msgspec.Struct):
    type: str = ""
    output_index: int = 0
    delta: Raw = Raw()
    item: _Output | None = None
    response: _Response | None = None
    message: str = ""


_WORDS = {"response.output_text.delta", "response.refusal.delta"}
_PIECES = {"response.function_call_arguments.delta", "response.custom_tool_call_input.delta"}
_ARGUMENTS: Mapping[Kind, str] = {"function": "function_call_arguments", "custom": "custom_tool_call_input"}
_SHORT = {"message": "msg", "function_call": "fc", "custom_tool_call": "ctc", "tool_search_call": "tsc"}
_response = msgspec.json.Decoder(_Response)
_event = msgspec.json.Decoder(_Event)
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


class ResponsesIn:
    """Reads an answer, at once or in events."""

    def __init__(self) -> None:
        self._sse, self._called = SseReader(), False

    def whole(self, body: bytes) -> list[Said]:
        """Read an answer that came at once."""
        response = answered(_response, body)
        said: list[Said] = [Began(response.id, response.model)]
        for at, item in enumerate(response.output):
            if item.call_id:
                said += [_called(at, item), Argued(at, item.given)]
            elif item.type == "message":
                said += [Words(part.text or part.refusal) for part in item.content or ()]
        called = any(item.call_id for item in response.output)
        return [*said, *_ended(response, called=called)]

    def feed(self, data: bytes) -> list[Said]:
        """Read a piece of a stream."""
        events = (event for event in self._sse.feed(data) if event != b"[DONE]")
        return [said for event in events for said in self._said(answered(_event, event))]

    def _said(self, event: _Event) -> Iterator[Said]:
        item, response = event.item, event.response
        if event.type == "error":
            yield Failed(event.message)
        elif event.type == "response.failed":
            yield Failed(response.error.message if response and response.error else "")
        elif event.type == "response.created" and response:
            yield Began(response.id, response.model)
        elif event.type in _WORDS:
            yield Words(answered(_text, bytes(event.delta)))
        elif event.type == "response.output_item.added" and item and item.call_id:
            self._called = True
            yield _called(event.output_index, item)
        elif event.type in _PIECES:
            yield Argued(event.output_index, answered(_text, bytes(event.delta)))
        elif event.type in {"response.completed", "response.incomplete"} and response:
            yield from _ended(response, called=self._called)


def _called(at: int, item: _Output) -> Called:
    return Called(at, item.call_id or "", item.name or "", CALLS.get(item.type, "function"))


def _ended(response: _Response, *, called: bool) -> Iterator[Said]:
    if response.usage:
        usage, kept = response.usage, response.usage.input_tokens_details or _Details()
        thought = usage.output_tokens_details.reasoning_tokens if usage.output_tokens_details else None
        yield Counted(usage.input_tokens, usage.output_tokens, kept.cached_tokens, kept.cache_write_tokens, thought)
    reason = response.incomplete_details.reason if response.incomplete_details else None
    if reason:
        yield Stopped("filtered" if reason == "content_filter" else "length")
    else:
        yield Stopped("tools" if called else "end")


class ResponsesOut:
    """Writes an answer, at once or in events."""

    def __init__(self) -> None:
        self._id, self._model, self._created = "resp_0", "", int(time.time())
        self.number = 0
        self._answer = Gathered()
        self._output: list[dict[str, object]] = []
        self._item: dict[str, object] | None = None
        self._use: Use | None = None
        self._said = ""
        self._at = -1

    @property
    def answer_id(self) -> str:
        """Return how the client knows the answer; empty as long as it has none of it."""
        return self._id if self.number else ""

    def whole(self, answer: Gathered) -> bytes:
        """Write an answer at once."""
        self._id, self._model = answer.id or self._id, answer.model
        self._answer = answer
        self._output = ([self._message(answer.text)] if answer.text else []) + [_call(use) for use in answer.uses]
        return _encode(self._response(done=True))

    def event(self, said: Said) -> bytes:
        """Write a piece of an answer."""
        self._answer.take(said)
        match said:
            case Began():
                self._id, self._model = said.id or self._id, said.model
                now = self._response(done=False)
                return self._named("response.created", response=now) + self._named("response.in_progress", response=now)
            case Words():
                start = b"" if self._item and self._item["type"] == "message" else self._open_message()
                self._said += said.text
                place = {"item_id": self._item_id, "output_index": self._at, "content_index": 0}
                return start + self._named("response.output_text.delta", **place, delta=said.text, logprobs=[])
            case Called():
                use = Use(said.id, said.name, "", said.kind, said.group)
                opened = self._open(_call(use) | {"status": "in_progress"})
                self._use = use
                return opened
            case Argued():
                self._said += said.text
                place = {"item_id": self._item_id, "output_index": self._at}
                kind = _ARGUMENTS.get(self._use.kind, "") if self._use else ""
                return self._named(f"response.{kind}.delta", **place, delta=said.text) if kind else b""
            case Failed():
                begun = b"" if self.number else self.event(Began(self._id, self._model))
                error = {"code": "server_error", "message": said.message}
                failed = self._response(done=True) | {"status": "failed", "error": error}
                return begun + self._named("response.failed", response=failed)
        return b""

    def end(self) -> bytes:
        """Write the end of a stream."""
        closed = self._close()
        whole = self._response(done=True)
        return closed + self._named(f"response.{whole['status']}", response=whole)

    @property
    def _item_id(self) -> str:
        return str(self._item["id"]) if self._item else ""

    def _open_message(self) -> bytes:
        opened = self._open(self._message(None))
        part = {"type": "output_text", "text": "", "annotations": []}
        place = {"item_id": self._item_id, "output_index": self._at, "content_index": 0}
        return opened + self._named("response.content_part.added", **place, part=part)

    def _open(self, item: dict[str, object]) -> bytes:
        closed = self._close()
        self._at += 1
        if item["type"] != "local_shell_call":  # its result names it by its id, which is the call's
            item |= {"id": f"{_SHORT[str(item['type'])]}_{self._id}_{self._at}"}
        self._item, self._said = item, ""
        return closed + self._named("response.output_item.added", output_index=self._at, item=self._item)

    def _close(self) -> bytes:
        """End the item that is open, with everything that it held."""
        item, self._item = self._item, None
        if item is None:
            return b""
        place = {"item_id": item["id"], "output_index": self._at}
        if item["type"] == "message":
            part = {"type": "output_text", "text": self._said, "annotations": []}
            item |= {"status": "completed", "content": [part]}
            said = self._named("response.output_text.done", **place, content_index=0, text=self._said, logprobs=[])
            said += self._named("response.content_part.done", **place, content_index=0, part=part)
        else:
            use, self._use, said = self._use or Use("", "", ""), None, b""
            if use.kind == "function" and not self._said:  # a client reads JSON
                self._said = "{}"
                said = self._named("response.function_call_arguments.delta", **place, delta=self._said)
            use = use._replace(arguments=self._said)
            item = _call(use) | {"id": item["id"]}
            kind, key = _ARGUMENTS.get(use.kind, ""), "input" if use.kind == "custom" else "arguments"
            said += self._named(f"response.{kind}.done", **place, **{key: item[key]}) if kind else b""
        self._output.append(item)
        return said + self._named("response.output_item.done", output_index=self._at, item=item)

    def _message(self, text: str | None) -> dict[str, object]:
        parts = [] if text is None else [{"type": "output_text", "text": text, "annotations": []}]
        status = "in_progress" if text is None else "completed"
        return {"id": "msg_0", "type": "message", "role": "assistant", "status": status, "content": parts}

    def _response(self, *, done: bool) -> dict[str, object]:
        cut = self._answer.why in {"length", "filtered"}
        reason = "content_filter" if self._answer.why == "filtered" else "max_output_tokens"
        return begun_response(self._id, self._model, self._created) | {
            "status": "in_progress" if not done else "incomplete" if cut else "completed",
            "incomplete_details": {"reason": reason} if done and cut else None,
            "output": list(self._output),
            "usage": _usage(self._answer.count) if done else None,
        }

    def _named(self, kind: str, **fields: object) -> bytes:
        self.number += 1
        return event_of(kind, self.number - 1, fields)


def _call(use: Use) -> dict[str, object]:
    item = written_call(use)
    short = "" if use.kind == "local_shell" else f"{_SHORT[str(item['type'])]}_"
    return {"id": f"{short}{use.id}"} | item | {"status": "completed"}


def _usage(count: Counted) -> dict[str, object]:
    asked, told = count.asked or 0, count.answered or 0
    return {
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": count.cached or 0, "cache_write_tokens": count.stored or 0},
        "output_tokens": told,
        "output_tokens_details": {"reasoning_tokens": count.thought or 0},
        "total_tokens": asked + told,
    }
