"""Our tools in OpenAI's responses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from llmos_lite.core.chat.skill_tools import STEADY
from llmos_lite.core.chat.tools import ToolResult
from llmos_lite.core.gateway.asked import Asked, Raw, encode, is_true, joined, text_of
from llmos_lite.core.gateway.responses_dialect import input_of
from llmos_lite.core.gateway.tools.chat import has_form, is_free, names_of, with_tools
from llmos_lite.core.gateway.tools.dialect import NO_WISHES, Ours, Wishes
from llmos_lite.core.gateway.tools.events import Event, events_of, list_of, object_of, rewritten, summed
from llmos_lite.engines.llm import Completion, ToolCall
from llmos_lite.engines.llm_http import decoded

_BEGINS = frozenset({"response.created", "response.in_progress", "response.queued"})
_WISHES = frozenset({"tools", "tool_choice", "text", "conversation", "background"})
_OURS = b",".join(
    encode(
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
            "strict": False,
        }
    )
    for tool in STEADY
)
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_look = re.compile(rb'"(?:item|response|error)"').search


class _Item(msgspec.Struct):
    type: str = ""
    name: str = ""


class _Event(msgspec.Struct):
    type: str = ""
    output_index: int | None = None
    sequence_number: int | None = None
    item: Raw = Raw(b"null")
    response: Raw = Raw(b"null")


class _Text(msgspec.Struct):
    format: Raw = Raw(b"null")


_item = msgspec.json.Decoder(_Item)
_event = msgspec.json.Decoder(_Event)
_text = msgspec.json.Decoder(_Text | None)
_any = msgspec.json.Decoder()


class ResponsesTools:
    """Tools in responses; see `ToolDialect`."""

    tells_tools = True

    def wishes(self, asked: Asked) -> Wishes:
        """Return what a request says about tools."""
        fields = asked.fields
        if _WISHES.isdisjoint(fields):
            return NO_WISHES
        elsewhere = bytes(fields.get("conversation", Raw(b"null"))) != b"null" or is_true(fields.get("background"))
        return Wishes(names_of(fields), is_free(fields), elsewhere or _has_form(fields))

    def offered(self, asked: Asked) -> Asked:
        """Return a request with our tools behind the client's own."""
        return with_tools(asked, _OURS)

    def silenced(self, asked: Asked) -> Asked:
        """Return a request in which nothing may be called."""
        return replace(asked, fields=asked.fields | {"tool_choice": Raw(b'"none"')})

    def results(self, calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> list[Raw]:
        """Return the results of calls as items."""
        return [
            Raw(encode({"type": "function_call_output", "call_id": call.id, "output": result.content}))
            for call, result in zip(calls, results, strict=True)
        ]

    def extended(self, asked: Asked, items: Sequence[Raw]) -> Asked:
        """Return a request with further items at its end; they may be said again as far as the provider keeps none."""
        if bytes(asked.fields.get("store", Raw(b"true"))) == b"false":
            items = [item for one in items if (item := _by_value(one))]
        every = joined([*input_of(asked.fields), *items])
        return replace(asked, fields=asked.fields | {"input": every}, items=[*asked.items, *items])

    def place(self, asked: Asked, seen: int) -> int:
        """Return where a text stands: before the answer."""
        return min(seen, len(asked.items))

    def screen(self, ours: Ours) -> ResponsesScreen:
        """Return a screen for one request."""
        return ResponsesScreen(ours)


def _has_form(fields: Mapping[str, Raw]) -> bool:
    try:
        text = _text.decode(fields.get("text", Raw(b"null")))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return True
    return text is not None and has_form(text.format)


def _by_value(item: Raw) -> Raw | None:
    """Return an item without an id that the provider does not keep; None for a thought of which nothing is left."""
    fields = object_of(item)
    if text_of(fields.get("type")) == "reasoning" and bytes(fields.get("encrypted_content", Raw(b"null"))) == b"null":
        return None
    return Raw(encode({key: value for key, value in fields.items() if key not in {"id", "status"}}))


class ResponsesScreen:
    """What a client sees of responses; see `Screen`.

    The beginning waits, too, until there is something to see: then the answer has the name under which the provider
    keeps it, with what was read before it.
    """

    def __init__(self, ours: Ours) -> None:
        self._ours = ours
        self.answer_id, self.number, self._shown = "", 0, 0
        self._first, self._passed, self._changed = True, False, False
        self._usage: object = None
        self._output: list[Raw] = []
        self._body = b""
        self._begin()

    def _begin(self) -> None:
        self._at: dict[int, int] = {}
        self._hidden: set[int] = set()
        self._quiet: set[int] = set()
        self._waiting: list[tuple[Event, _Event]] = []
        self._held: list[tuple[Event, _Event]] = []
        self._done: list[Raw] = []
        self._name = ""
        self._passing, self._moved = False, False

    # -- streams ----------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> bytes:
        """Take whole events of a stream."""
        if self._passing and data.find(b"[DONE]") < 0 and _look(data) is None:
            self.number += data.count(b'"sequence_number"')
            return data
        shown = b"".join(map(self._one, events_of(data)))
        self._passing = self._passed and not (self._moved or self._hidden or self._quiet or self._held)
        return shown

    def passes(self, data: bytes) -> bool:
        """Tell whether events like these need not be fed: they are, since they are counted."""
        del data
        return False

    def _one(self, event: Event) -> bytes:
        if not event.data:
            return event.raw
        if event.data == b"[DONE]":
            self._held.append((event, _Event()))
            return b""
        one = decoded(_event, event.data)
        if one.type in _BEGINS:
            self._name = text_of(object_of(one.response).get("id")) or self._name
            if not self._passed:
                self._waiting.append((event, one))
            return b""
        if one.type in _ENDS:
            self._held.append((event, one))
            return b""
        if one.output_index is None:
            return self._flushed() + self._emitted(event, one) if one.type == "error" else self._emitted(event, one)
        return self._of_item(event, one, one.output_index)

    def _of_item(self, event: Event, one: _Event, index: int) -> bytes:
        item = decoded(_item, bytes(one.item)) if bytes(one.item) not in {b"", b"null"} else None
        if item is not None and one.type == "response.output_item.done":
            self._done.append(Raw(bytes(one.item)))
        if item is not None and self._is_ours(item):
            self._hidden.add(index)
            return b""
        if index in self._hidden and item is None:
            return b""
        if index not in self._at:
            self._at[index] = self._shown
            self._shown += 1
            if item is not None and item.type == "reasoning":
                self._quiet.add(index)
        if index in self._quiet:
            self._waiting.append((event, one))
            return b""
        return self._flushed() + self._emitted(event, one)

    def _is_ours(self, item: _Item) -> bool:
        return item.type == "function_call" and self._ours(item.name)

    def _flushed(self) -> bytes:
        waiting, self._waiting = self._waiting, []
        self._quiet.clear()
        if not self._passed:
            self._passed, self.answer_id = True, self._name
        return b"".join(self._emitted(event, one) for event, one in waiting)

    def _emitted(self, event: Event, one: _Event) -> bytes:
        """Return an event with the numbers that the client has come to."""
        changes: dict[str, object] = {}
        if one.sequence_number is not None:
            if one.sequence_number != self.number:
                changes["sequence_number"] = self.number
            self.number += 1
        if one.output_index is not None and (at := self._at.get(one.output_index, 0)) != one.output_index:
            changes["output_index"] = at
        self._moved = self._moved or bool(changes)
        if bytes(one.response) not in {b"", b"null"}:
            changes |= self._response(Raw(bytes(one.response)), last=one.type in _ENDS)
        return rewritten(event, changes) if changes else event.raw

    def _response(self, raw: Raw, *, last: bool) -> dict[str, object]:
        """Return the response of an event as the client sees it; nothing when that is how it came."""
        fields = object_of(raw)
        changes = self._seen(fields) if last else {}
        if self._passed and self.answer_id and text_of(fields.get("id")) not in {"", self.answer_id}:
            changes["id"] = self.answer_id
        if (tools := self._tools(fields)) is not None:
            changes["tools"] = tools
        return {"response": fields | changes} if changes else {}

    def _seen(self, fields: Mapping[str, Raw]) -> dict[str, object]:
        """Return output and usage of all answers."""
        changes: dict[str, object] = {}
        output = list_of(fields.get("output"))
        visible = self._visible(output)
        if len(visible) < len(output) or (self._output and (output or not self._done)):
            changes["output"] = joined([*self._output, *visible])
        usage = fields.get("usage")
        if self._usage is not None:
            changes["usage"] = summed(self._usage, None if usage is None else _any.decode(usage))
        return changes

    def _visible(self, output: Sequence[Raw]) -> list[Raw]:
        return [raw for raw in output if not self._is_ours(decoded(_item, bytes(raw)))]

    def _tools(self, fields: Mapping[str, Raw]) -> Raw | None:
        """Return the tools that a response says it had, without ours; None when ours are not among them."""
        tools = list_of(fields.get("tools"))
        left = [tool for tool in tools if not self._ours(decoded(_item, bytes(tool)).name)]
        return joined(left) if len(left) < len(tools) else None

    # -- answers at once --------------------------------------------------------------------------------------------

    def take(self, body: bytes) -> None:
        """Take an answer that came at once; it may say which tools it had, in any case."""
        self._body = body

    def _whole(self) -> bytes:
        fields = object_of(self._body)
        changes = self._seen(fields)
        if (tools := self._tools(fields)) is not None:
            changes["tools"] = tools
        return encode(fields | changes) if changes else self._body

    # -- from one answer to the next --------------------------------------------------------------------------------

    def _answered(self) -> list[Raw]:
        """Return the items of the answer: of the response that ended it, or of their own events."""
        bodies = [self._body] if self._body else [bytes(one.response) for _, one in self._held]
        for body in bodies:
            if output := list_of(object_of(body).get("output")):
                return output
        return self._done

    def items(self, done: Completion) -> list[Raw]:
        """Return the items of the answer as they are."""
        del done
        return self._answered()

    def next(self, done: Completion) -> bytes:
        """Go on to the next answer; thoughts that led to a call of ours are dropped."""
        del done
        visible = self._visible(self._answered())
        while visible and decoded(_item, bytes(visible[-1])).type == "reasoning":
            visible.pop()
        self._output += visible
        self._shown -= len(self._quiet)
        bodies = [self._body] if self._body else [bytes(one.response) for _, one in self._held]
        for body in bodies:
            if (usage := object_of(body).get("usage")) is not None:
                self._usage = summed(self._usage, _any.decode(usage))
        self._first, self._body = False, b""
        self._begin()
        return b""

    def end(self) -> bytes:
        """Return what was held back."""
        if self._body:
            return self._whole()
        return self._flushed() + b"".join(self._emitted(event, one) for event, one in self._held)
