"""Our tools in OpenAI's chat completions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from llmos_lite.core.chat.skill_tools import STEADY
from llmos_lite.core.chat.tools import ToolResult
from llmos_lite.core.gateway.asked import Asked, Raw, encode, items_of, joined, number_of
from llmos_lite.core.gateway.repeated import Repeated
from llmos_lite.core.gateway.tools.dialect import NO_WISHES, Ours, Wishes
from llmos_lite.core.gateway.tools.events import Event, event_of, events_of, list_of, object_of, rewritten, summed
from llmos_lite.engines.llm import Completion, ToolCall
from llmos_lite.engines.llm_calls import arguments_object
from llmos_lite.engines.llm_http import decoded

_has_some = re.compile(rb"\[\s*[^\s\]]").match
_look = re.compile(rb'"tool_calls"|"finish_reason"\s*:\s*"|"usage"\s*:\s*\{').search
_PAUSE = "\n\n"
_CALLED = frozenset({"tool_calls", "function_call"})
_WISHES = frozenset({"tools", "tool_choice", "response_format", "functions", "n"})
_OURS = b",".join(
    encode(
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
    )
    for tool in STEADY
)


class _Named(msgspec.Struct):
    name: str = ""


class _Tool(msgspec.Struct):
    function: _Named | None = None
    name: str = ""


class _Format(msgspec.Struct):
    type: str = ""


class _Part(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Named | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: list[Raw] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    id: str | None = None
    choices: list[_Choice] | None = None
    usage: Raw = Raw(b"null")


_tools = msgspec.json.Decoder(list[_Tool])
_names = Repeated[bytes, Sequence[str]]()
_format = msgspec.json.Decoder(_Format | None)
_part = msgspec.json.Decoder(_Part)
_chunk = msgspec.json.Decoder(_Chunk)
_choices = msgspec.json.Decoder(list[dict[str, Raw]] | None)
_any = msgspec.json.Decoder()


class ChatTools:
    """Tools in chat completions; see `ToolDialect`."""

    tells_tools = False

    def wishes(self, asked: Asked) -> Wishes:
        """Return what a request says about tools."""
        fields = asked.fields
        if _WISHES.isdisjoint(fields):
            return NO_WISHES
        several = number_of(fields.get("n")) > 1 or "functions" in fields
        return Wishes(names_of(fields), is_free(fields), several or has_form(fields.get("response_format")))

    def offered(self, asked: Asked) -> Asked:
        """Return a request with our tools behind the client's own."""
        return with_tools(asked, _OURS)

    def silenced(self, asked: Asked) -> Asked:
        """Return a request in which nothing may be called."""
        return replace(asked, fields=asked.fields | {"tool_choice": Raw(b'"none"')})

    def results(self, calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> list[Raw]:
        """Return the results of calls as messages."""
        return [
            Raw(encode({"role": "tool", "tool_call_id": call.id, "content": result.content}))
            for call, result in zip(calls, results, strict=True)
        ]

    def extended(self, asked: Asked, items: Sequence[Raw]) -> Asked:
        """Return a request with further messages at its end."""
        messages = joined([*items_of(asked.fields["messages"]), *items])
        return replace(asked, fields=asked.fields | {"messages": messages}, items=[*asked.items, *items])

    def place(self, asked: Asked, seen: int) -> int:
        """Return where a text stands: before the answer."""
        return min(seen, len(asked.items))

    def screen(self, ours: Ours) -> ChatScreen:
        """Return a screen for one request."""
        return ChatScreen(ours)


def names_of(fields: Mapping[str, Raw]) -> Sequence[str]:
    """Return the names of the tools of a request, as either API of OpenAI has them; a list that is none has none."""
    return _names.of(bytes(fields.get("tools", b"[]")), _names_in)


def _names_in(written: bytes) -> Sequence[str]:
    try:
        tools = _tools.decode(written)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()
    return tuple([tool.function.name if tool.function else tool.name for tool in tools])


def is_free(fields: Mapping[str, Raw]) -> bool:
    """Tell whether a request leaves it to the model what it calls."""
    return bytes(fields.get("tool_choice", Raw(b"null"))) in {b"null", b'"auto"'}


def has_form(raw: Raw | None) -> bool:
    """Tell whether an answer shall have a form: few servers take that beside tools."""
    try:
        form = None if raw is None else _format.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return True
    return form is not None and form.type != "text"


def with_tools(asked: Asked, tools: bytes) -> Asked:
    """Return a request with tools, JSON with commas between them, behind its own; what is no list of tools goes."""
    known = bytes(asked.fields.get("tools", b""))
    every = b"".join((memoryview(known)[:-1], b",", tools, b"]")) if _has_some(known) else b"[%b]" % tools
    return replace(asked, fields=asked.fields | {"tools": Raw(every)})


@dataclass(slots=True)
class _Call:
    """A call in a stream; `hidden` is None until its name is known, and `before` counts the hidden ones before it."""

    id: str
    before: int
    hidden: bool | None = None
    waiting: list[Raw] = field(default_factory=list)
    more: dict[str, Raw] = field(default_factory=dict)


class _Held(msgspec.Struct, frozen=True):
    """An event of the end of an answer, and what a client gets of it when another answer follows."""

    event: Event
    chunk: _Chunk
    shown: bytes = b""


class ChatScreen:
    """What a client sees of chat completions; see `Screen`."""

    answer_id = ""
    number = 0

    def __init__(self, ours: Ours) -> None:
        self._ours = ours
        self._first, self._id, self._pause = True, "", False
        self._usage: object = None
        self._texts: list[str] = []
        self._body = b""
        self._begin()

    def _begin(self) -> None:
        self._calls: list[_Call] = []
        self._at: dict[int | None, _Call] = {}
        self._held: list[_Held] = []
        self._now: object = None
        self._passing = False

    # -- streams ----------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> bytes:
        """Take whole events of a stream."""
        if self._passing and data.find(b"[DONE]") < 0 and _look(data) is None:
            return data
        shown = b"".join(map(self._shown, events_of(data)))
        self._passing = self._first and bool(self._id) and not self._held
        return shown

    def passes(self, data: bytes) -> bool:
        """Tell whether events like these need not be fed."""
        return self._passing and data.find(b"[DONE]") < 0 and _look(data) is None

    def _shown(self, event: Event) -> bytes:
        if not event.data:
            return event.raw
        if event.data == b"[DONE]":
            self._held.append(_Held(event, _Chunk()))
            return b""
        if self._first and self._id and not self._held and _look(event.data) is None:
            return event.raw
        return self._looked_at(event, decoded(_chunk, event.data))

    def _looked_at(self, event: Event, chunk: _Chunk) -> bytes:
        self._id = self._id or chunk.id or ""
        choice = chunk.choices[0] if chunk.choices else None
        if chunk.usage and bytes(chunk.usage) != b"null":
            self._now = _any.decode(chunk.usage)
        delta = (choice.delta if choice else None) or _Delta()
        parts, changed = self._parts(delta.tool_calls) if delta.tool_calls else ([], False)
        if self._pause and delta.content:
            delta.content, self._pause = _PAUSE + delta.content, False
        if self._held or (choice.finish_reason if choice else self._now is not None):
            left = self._written(event, delta, parts, changed=True) if delta.content or parts else b""
            whole = event_of(self._written(event, delta, parts, changed=changed, ends=True))
            self._held.append(_Held(whole, chunk, left))
            return b""
        if delta.tool_calls and not parts and not delta.content:
            return b""
        return self._written(event, delta, parts, changed=changed)

    def _written(self, event: Event, delta: _Delta, parts: list[Raw], *, changed: bool, ends: bool = False) -> bytes:
        """Return an event with those calls in it that are not ours."""
        if self._first and not changed:
            return event.raw
        fields = object_of(event.data)
        choices = _choices.decode(fields.get("choices", Raw(b"null"))) or []
        if choices:
            said = object_of(choices[0].get("delta", Raw(b"{}")))
            said.pop("tool_calls", None)
            if not self._first:
                said.pop("role", None)
            if parts:
                said["tool_calls"] = joined(parts)
            if delta.content:
                said["content"] = Raw(encode(delta.content))
            choices[0]["delta"] = Raw(encode(said))
            if not ends:
                choices[0]["finish_reason"] = Raw(b"null")
                if not said:
                    return b""
        changes: dict[str, object] = {"choices": choices} | ({"id": self._id} if self._id else {})
        return rewritten(event, changes)

    def _parts(self, parts: Sequence[Raw]) -> tuple[list[Raw], bool]:
        """Return the pieces of calls that a client sees, and whether that is not all of them as they came."""
        shown: list[Raw] = []
        for raw in parts:
            part = decoded(_part, bytes(raw))
            call = self._call(part)
            name = part.function.name if part.function else ""
            if call.hidden is None and name:
                call.hidden = self._ours(name)
                if call.hidden:
                    known = {"index", "id", "type", "function"}
                    call.more = {key: value for key, value in object_of(raw).items() if key not in known}
            call.waiting.append(raw)
            if call.hidden is False:
                shown += [_numbered(one, call.before) for one in call.waiting]
            if call.hidden is not None:
                call.waiting.clear()
        return shown, shown != list(parts)

    def _call(self, part: _Part) -> _Call:
        """Return the call that a piece belongs to; see `Calls` for what servers say."""
        call = self._at.get(part.index)
        if call is None or (part.id and call.id and part.id != call.id):
            call = _Call(part.id or "", sum(bool(one.hidden) for one in self._calls))
            self._calls.append(call)
        call.id = call.id or part.id or ""
        self._at[part.index] = self._at[None] = call
        return call

    # -- answers at once --------------------------------------------------------------------------------------------

    def take(self, body: bytes) -> None:
        """Take an answer that came at once."""
        self._body = body
        chunk = decoded(_chunk, body)
        if chunk.usage and bytes(chunk.usage) != b"null":
            self._now = _any.decode(chunk.usage)

    def _whole(self) -> bytes:
        fields = object_of(self._body)
        choices = _choices.decode(fields.get("choices", Raw(b"null"))) or []
        message = object_of(choices[0].get("message", Raw(b"{}"))) if choices else {}
        calls = list_of(message.get("tool_calls"))
        left = [call for call in calls if not self._is_ours(call)]
        if not choices or (self._first and len(left) == len(calls)):
            return self._body
        if len(left) < len(calls):
            message.pop("tool_calls", None)
            if left:
                message["tool_calls"] = joined(left)
            else:
                choices[0]["finish_reason"] = Raw(b'"stop"')
        said = _any.decode(message.get("content", Raw(b"null")))
        texts = [*self._texts, said] if isinstance(said, str) and said else self._texts
        if texts:
            message["content"] = Raw(encode(_PAUSE.join(texts)))
        choices[0]["message"] = Raw(encode(message))
        counted = {} if self._now is None else {"usage": Raw(encode(self._counted()))}
        return encode(fields | {"choices": Raw(encode(choices))} | counted)

    def _is_ours(self, call: Raw) -> bool:
        function = decoded(_part, bytes(call)).function
        return function is not None and self._ours(function.name)

    # -- from one answer to the next --------------------------------------------------------------------------------

    def items(self, done: Completion) -> list[Raw]:
        """Return the answer as a message, with what a server put beside the calls of ours."""
        more = {call.id: call.more for call in self._calls if call.hidden}
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": arguments_object(call.arguments)},
            }
            | more.get(call.id, {})
            for call in done.tool_calls
        ]
        return [Raw(encode({"role": "assistant", "content": done.text or None, "tool_calls": calls}))]

    def next(self, done: Completion) -> bytes:
        """Go on to the next answer."""
        shown = b"".join(held.shown for held in self._held)
        self._usage = self._counted()
        if done.text:
            self._texts.append(done.text)
            self._pause = True
        self._first = False
        self._begin()
        return shown

    def end(self) -> bytes:
        """Return what was held back."""
        if self._body:
            return self._whole()
        dropped = bool(self._calls) and all(call.hidden for call in self._calls)
        if not dropped and self._usage is None:
            return b"".join([held.event.raw for held in self._held])
        return b"".join([self._last(held, dropped=dropped) for held in self._held])

    def _last(self, held: _Held, *, dropped: bool) -> bytes:
        changes: dict[str, object] = {}
        if self._usage is not None and bytes(held.chunk.usage) not in {b"", b"null"}:
            changes["usage"] = self._counted()
        finish = held.chunk.choices[0].finish_reason if held.chunk.choices else None
        event = held.event
        if dropped and finish in _CALLED:
            choices = _choices.decode(object_of(event.data)["choices"]) or []
            choices[0]["finish_reason"] = Raw(b'"stop"')
            changes["choices"] = choices
        return rewritten(event, changes) if changes else event.raw

    def _counted(self) -> object:
        return summed(self._usage, self._now)


def _numbered(part: Raw, before: int) -> Raw:
    """Return a piece of a call with the number that it has without those before it that are hidden."""
    if not before:
        return part
    fields = object_of(part)
    index = number_of(fields.get("index"))
    return Raw(encode(fields | {"index": max(0, index - before)}))
