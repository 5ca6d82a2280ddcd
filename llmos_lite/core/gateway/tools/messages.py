"""Our tools in Anthropic's messages."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from llmos_lite.core.chat.skill_tools import STEADY
from llmos_lite.core.chat.tools import ToolResult
from llmos_lite.core.gateway.asked import Asked, Raw, encode, joined
from llmos_lite.core.gateway.tools.chat import names_of, with_tools
from llmos_lite.core.gateway.tools.dialect import NO_WISHES, Ours, Wishes
from llmos_lite.core.gateway.tools.events import Event, events_of, list_of, object_of, rewritten, summed
from llmos_lite.core.gateway.tools.messages_answer import content_of
from llmos_lite.engines.llm import Completion, ToolCall
from llmos_lite.engines.llm_http import decoded

_FORMS = ("output_format", "output_config")
_WISHES = frozenset({"tools", "tool_choice", "thread", *_FORMS})
_OURS = b",".join(
    encode({"name": tool.name, "description": tool.description, "input_schema": tool.parameters}) for tool in STEADY
)
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})
_look = re.compile(rb'"(?:content_block_start|message_(?:start|delta|stop))"').search


class _Choice(msgspec.Struct):
    type: str = "auto"


class _Role(msgspec.Struct):
    role: str = ""


class _Block(msgspec.Struct):
    type: str = ""
    name: str = ""
    text: str = ""


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    stop_reason: str | None = None


class _Message(msgspec.Struct):
    usage: Raw = Raw(b"null")


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: Raw = Raw(b"null")


_choice = msgspec.json.Decoder(_Choice | None)
_role = msgspec.json.Decoder(_Role)
_block = msgspec.json.Decoder(_Block)
_event = msgspec.json.Decoder(_Event)
_any = msgspec.json.Decoder()


class MessagesTools:
    """Tools in messages; see `ToolDialect`."""

    tells_tools = False

    def wishes(self, asked: Asked) -> Wishes:
        """Return what a request says about tools."""
        fields = asked.fields
        if _WISHES.isdisjoint(fields):
            return NO_WISHES
        try:
            choice = _choice.decode(fields.get("tool_choice", Raw(b"null")))
        except (msgspec.DecodeError, UnicodeDecodeError):
            choice = _Choice("unknown")
        form = any(b'"format"' in bytes(fields.get(name, Raw(b""))) for name in _FORMS)
        closed = form or _FORMS[0] in fields or asked.kept
        return Wishes(names_of(fields), choice is None or choice.type == "auto", closed)

    def offered(self, asked: Asked) -> Asked:
        """Return a request with our tools behind the client's own."""
        return with_tools(asked, _OURS)

    def silenced(self, asked: Asked) -> Asked:
        """Return a request in which nothing may be called."""
        return replace(asked, fields=asked.fields | {"tool_choice": Raw(b'{"type":"none"}')})

    def results(self, calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> list[Raw]:
        """Return the results of calls as one message."""
        content = [
            {"type": "tool_result", "tool_use_id": call.id, "content": result.content}
            | ({"is_error": True} if result.is_error else {})
            for call, result in zip(calls, results, strict=True)
        ]
        return [Raw(encode({"role": "user", "content": content}))]

    def extended(self, asked: Asked, items: Sequence[Raw]) -> Asked:
        """Return a request with further messages at its end."""
        every = [*asked.items, *items]
        return replace(asked, fields=asked.fields | {"messages": joined(every)}, items=every)

    def place(self, asked: Asked, seen: int) -> int:
        """Return where a text stands: in the next message of the person, since this API lets nobody else speak."""
        for at in range(seen, len(asked.items)):
            if _is_user(asked.items[at]):
                return at
        return max(0, len(asked.items) - 1)

    def screen(self, ours: Ours) -> MessagesScreen:
        """Return a screen for one request."""
        return MessagesScreen(ours)


def _is_user(item: Raw) -> bool:
    try:
        return _role.decode(item).role == "user"
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


class MessagesScreen:
    """What a client sees of messages; see `Screen`.

    A block that shows nothing yet, a thought or a text without words, waits for one that does.
    """

    answer_id = ""
    number = 0

    def __init__(self, ours: Ours) -> None:
        self._ours = ours
        self._first, self._shown, self._usage = True, 0, None
        self._content: list[Raw] = []
        self._body = b""
        self._begin()

    def _begin(self) -> None:
        self._at: dict[int, int] = {}
        self._hidden: set[int] = set()
        self._called = False
        self._quiet: set[int] = set()
        self._waiting: list[bytes] = []
        self._said: list[bytes] = []
        self._held: list[tuple[Event, _Event]] = []
        self._now: object = None
        self._passing, self._moved = False, False

    _usage: object
    _now: object

    # -- streams ----------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> bytes:
        """Take whole events of a stream."""
        self._said.append(data)
        if self._passing and _look(data) is None:
            return data
        shown = b"".join(map(self._one, events_of(data)))
        self._passing = not (self._moved or self._hidden or self._quiet or self._held)
        return shown

    def passes(self, data: bytes) -> bool:
        """Tell whether events like these need not be fed: they are, since the next request says them again."""
        del data
        return False

    def _one(self, event: Event) -> bytes:
        if not event.data:
            return event.raw
        one = decoded(_event, event.data)
        if one.type.startswith("content_block_"):
            return self._block(event, one)
        if one.type == "message_start":
            if one.message is not None and bytes(one.message.usage) not in {b"", b"null"}:
                self._now = _any.decode(one.message.usage)
            return event.raw if self._first else b""
        if one.type in {"message_delta", "message_stop"}:
            if bytes(one.usage) not in {b"", b"null"}:
                self._now = _latest(self._now, _any.decode(one.usage))
            self._held.append((event, one))
            return b""
        return event.raw

    def _block(self, event: Event, one: _Event) -> bytes:
        block = one.content_block
        if block is not None:
            if block.type == "tool_use" and self._ours(block.name):
                self._hidden.add(one.index)
                return b""
            self._at[one.index] = self._shown
            self._shown += 1
            self._called = self._called or block.type == "tool_use"
            if block.type in _THOUGHTS or (block.type == "text" and not block.text):
                self._quiet.add(one.index)
        elif one.index in self._hidden:
            return b""
        at = self._at.get(one.index, one.index)
        self._moved = self._moved or at != one.index
        raw = rewritten(event, {"index": at}) if at != one.index else event.raw
        if one.index in self._quiet and not (
            one.delta is not None and one.delta.type == "text_delta" and one.delta.text
        ):
            self._waiting.append(raw)
            return b""
        return self._flushed() + raw

    def _flushed(self) -> bytes:
        waiting = b"".join(self._waiting)
        self._waiting.clear()
        self._quiet.clear()
        return waiting

    # -- answers at once --------------------------------------------------------------------------------------------

    def take(self, body: bytes) -> None:
        """Take an answer that came at once."""
        self._body = body
        usage = object_of(body).get("usage")
        self._now = None if usage is None else _any.decode(usage)

    def _visible(self) -> tuple[list[Raw], int]:
        """Return the blocks that a client sees of a whole answer, and how many there are in all."""
        blocks = list_of(object_of(self._body).get("content"))
        return [block for block in blocks if not self._is_ours(block)], len(blocks)

    def _is_ours(self, raw: Raw) -> bool:
        block = decoded(_block, bytes(raw))
        return block.type == "tool_use" and self._ours(block.name)

    def _whole(self) -> bytes:
        visible, all_of_them = self._visible()
        if self._first and len(visible) == all_of_them:
            return self._body
        changes: dict[str, object] = {"content": joined([*self._content, *visible])}
        if len(visible) < all_of_them and not any(decoded(_block, bytes(raw)).type == "tool_use" for raw in visible):
            changes["stop_reason"] = "end_turn"
        if self._now is not None or self._usage is not None:
            changes["usage"] = summed(self._usage, self._now)
        return encode(object_of(self._body) | changes)

    # -- from one answer to the next --------------------------------------------------------------------------------

    def items(self, done: Completion) -> list[Raw]:
        """Return the answer as a message, block by block."""
        del done
        blocks = list_of(object_of(self._body).get("content")) if self._body else content_of(self._said)
        kept = [raw for raw in blocks if not _is_blank(decoded(_block, bytes(raw)))]
        return [Raw(encode({"role": "assistant", "content": kept}))]

    def next(self, done: Completion) -> bytes:
        """Go on to the next answer; blocks that still wait are dropped."""
        del done
        if self._body:
            visible = self._visible()[0]
            while visible and _is_quiet(decoded(_block, bytes(visible[-1]))):
                visible.pop()
            self._content += visible
        self._shown -= len(self._quiet)
        self._usage = summed(self._usage, self._now)
        self._first, self._body = False, b""
        self._begin()
        return b""

    def end(self) -> bytes:
        """Return what was held back."""
        if self._body:
            return self._whole()
        return self._flushed() + b"".join(self._last(event, one) for event, one in self._held)

    def _last(self, event: Event, one: _Event) -> bytes:
        changes: dict[str, object] = {}
        if one.type == "message_delta" and self._hidden and not self._called:
            changes["delta"] = object_of(object_of(event.data).get("delta", Raw(b"{}"))) | {"stop_reason": "end_turn"}
        if one.type == "message_delta" and self._usage is not None:
            changes["usage"] = summed(self._usage, self._now)
        if one.delta is not None and one.delta.stop_reason != "tool_use":
            changes.pop("delta", None)
        return rewritten(event, changes) if changes else event.raw


def _is_blank(block: _Block) -> bool:
    return block.type == "text" and not block.text.strip()


def _is_quiet(block: _Block) -> bool:
    return block.type in _THOUGHTS or _is_blank(block)


def _latest(before: object, now: object) -> object:
    """Return counts with what is known now: the end of a stream repeats some and leaves out others."""
    return before | now if isinstance(before, dict) and isinstance(now, dict) else now
