"""Reads answers of the Responses API beside their way to the client."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from llmos_lite.core.gateway.dialect import MOST_KEPT
from llmos_lite.engines.llm import Completion, ToolCall, token_count
from llmos_lite.engines.llm_http import all_decoded, decoded
from llmos_lite.engines.llm_texts import Texts
from llmos_lite.engines.sse import SseReader
from llmos_lite.errors import UpstreamFailed

_ENDS = frozenset({"response.completed", "response.incomplete"})
_WORDS = frozenset({"response.output_text.delta", "response.refusal.delta"})
RUNNING = frozenset({"queued", "in_progress"})
"""How far a response is that is made behind its request."""
_PIECES = frozenset({"response.function_call_arguments.delta", "response.custom_tool_call_input.delta"})
_FAILS = frozenset({"error", "response.failed"})


class _Part(msgspec.Struct):
    type: str = ""
    text: str = ""
    refusal: str = ""


class _Item(msgspec.Struct):
    type: str = ""
    content: list[_Part] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: msgspec.Raw = msgspec.Raw(b'""')
    input: str | None = None
    action: msgspec.Raw = msgspec.Raw(b'""')


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Reason(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    id: str = ""
    model: str = ""
    status: str | None = None
    output: list[_Item] = []
    usage: _Usage | None = None
    incomplete_details: _Reason | None = None


class _Event(msgspec.Struct):
    type: str = ""
    sequence_number: int | None = None
    delta: msgspec.Raw = msgspec.Raw()
    item: _Item | None = None
    response: _Response | None = None


_response = msgspec.json.Decoder(_Response)
_event = msgspec.json.Decoder(_Event)
_events = msgspec.json.Decoder(list[_Event])
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


class ResponsesReader:
    """Reads a stream; what it gathers on the way is replaced by the response that ends it."""

    signs = (b"response.completed", b"response.incomplete", b"response.failed", b'"error"', b"[DONE]")

    def __init__(self, model: str) -> None:
        self.ended = False
        self.answer_id, self.number = "", 0
        self._model, self._texts, self._calls = model, Texts(MOST_KEPT), list[ToolCall]()
        self._response: _Response | None = None
        self._open, self._pieces = _Item(), Texts(MOST_KEPT)
        self._sse = SseReader()

    def feed(self, data: bytes) -> str:
        """Take bytes of a stream, and return the text in them."""
        return self._taken(self._sse.feed(data))

    def close(self) -> str:
        """Take the end of the stream; an event that nothing ends but this is none that a client got."""
        number, text = self.number, self._taken(self._sse.close())
        self.number = number
        return text

    def completion(self) -> Completion:
        """Return what was read so far."""
        if self._response is not None and self._response.output:
            return _completion(self._response, self._model)
        usage = self._response.usage if self._response else None
        return Completion(
            text=self._texts.whole(),
            model=self._model,
            tokens_in=token_count(usage.input_tokens) if usage else 0,
            tokens_out=token_count(usage.output_tokens) if usage else 0,
            tool_calls=(*self._calls, *self._half_call()),
        )

    def _half_call(self) -> Iterator[ToolCall]:
        """Yield the call that is under way, with the arguments that came: they are no JSON, so that it is not whole."""
        text, item = self._pieces.whole(), self._open
        if item.call_id and text:
            text = _encode({"input": text}).decode()[:-2] if item.type == "custom_tool_call" else text
            yield ToolCall(item.call_id, item.name or "", text)

    def _taken(self, events: list[bytes]) -> str:
        if b"[DONE]" in events:
            self.ended = True
            events = [event for event in events if event != b"[DONE]"]
        texts: list[str] = []
        event = None
        try:
            for event in all_decoded(_events, _event, events):
                texts.append(self._one(event))
            number = event.sequence_number if event else None
            self.number = self.number + len(events) if number is None else number + 1
        finally:  # what was said before a failure stands
            text = "".join(texts)
            self._texts.add(text)
        return text

    def _one(self, event: _Event) -> str:
        if event.type in _FAILS:
            raise UpstreamFailed("model.failed", "The model failed in the middle of its answer.", hint="Try again.")
        if event.response is not None:
            self._note(event.response, ended=event.type in _ENDS)
        elif event.type in _WORDS:
            return decoded(_text, bytes(event.delta))
        elif event.type in _PIECES:
            self._pieces.add(decoded(_text, bytes(event.delta)))
        elif event.item is not None and event.item.call_id:
            is_done = event.type == "response.output_item.done"
            if is_done:
                self._calls.append(_call(event.item))
            self._open, self._pieces = _Item() if is_done else event.item, Texts(MOST_KEPT)
        return ""

    def _note(self, response: _Response, *, ended: bool) -> None:
        self.answer_id = response.id or self.answer_id
        self._model = response.model or self._model
        if ended:
            self.ended, self._response = True, response


def response_state(data: bytes, model: str) -> tuple[str, Completion]:
    """Return how far a response is, and what there is of it.

    Raises:
        UpstreamFailed: `model.garbage`.
    """
    response = decoded(_response, data)
    return response.status or "", _completion(response, model)


def whole_response(data: bytes, model: str) -> Completion:
    """Read an answer that came at once.

    Raises:
        UpstreamFailed: `model.garbage`, or `model.failed`.
    """
    response = decoded(_response, data)
    if response.status == "failed":
        raise UpstreamFailed("model.failed", "The model failed.", hint="Try again.")
    if not (response.output or response.usage or response.id):
        raise UpstreamFailed("model.garbage", "The model answered without a message.")
    return _completion(response, model)


def _completion(response: _Response, model: str) -> Completion:
    usage = response.usage or _Usage()
    finish = (response.incomplete_details.reason if response.incomplete_details else None) or "stop"
    parts = (
        part.text or part.refusal for item in response.output if item.type == "message" for part in item.content or ()
    )
    return Completion(
        text="".join(parts),
        model=response.model or model,
        tokens_in=token_count(usage.input_tokens),
        tokens_out=token_count(usage.output_tokens),
        finish=response.status if response.status in RUNNING else finish,
        tool_calls=tuple(_call(item) for item in response.output if item.call_id),
        answer_id=response.id,
    )


def _call(item: _Item) -> ToolCall:
    """Return a call with arguments that are JSON: a custom tool has a text, a search an object, a shell an action."""
    call_id, name = item.call_id or "", item.name or ""
    if item.input is not None:
        return ToolCall(call_id, name, _encode({"input": item.input}).decode())
    arguments = bytes(item.action if item.type == "local_shell_call" else item.arguments)
    text = decoded(_text, arguments) if arguments.startswith(b'"') else arguments.decode()
    return ToolCall(call_id, name or item.type.removesuffix("_call"), text)
