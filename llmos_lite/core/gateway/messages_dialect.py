"""`/v1/messages`, as Anthropic speaks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from llmos_lite.core.chat.prompt import Prompt
from llmos_lite.core.gateway.asked import (
    MARK,
    Asked,
    Placed,
    Raw,
    Said,
    encode,
    fields_of,
    is_true,
    items_of,
    joined,
    number_of,
    settled,
    text_of,
    text_part,
    written,
)
from llmos_lite.core.gateway.dialect import MOST_KEPT
from llmos_lite.core.gateway.problems import anthropic_event, anthropic_problem, anthropic_refusal
from llmos_lite.core.gateway.repeated import Repeated
from llmos_lite.core.gateway.scaffolding import without_header, words_in_blocks
from llmos_lite.engines.llm_anthropic import MessageStream, whole_message
from llmos_lite.engines.upstream import Wire
from llmos_lite.errors import Invalid

MOST_MARKS = 4
"""Cache breakpoints that the API takes in one request (Anthropic, prompt caching)."""


class _Block(msgspec.Struct):
    type: str = ""
    text: str | None = None
    tool_use_id: str = ""
    content: Raw = Raw(b"null")


class _Thread(msgspec.Struct):
    previous_message_id: str = ""


class _Message(msgspec.Struct):
    role: str = ""
    content: str | list[_Block] | None = None


class _User(msgspec.Struct):
    user_id: str | None = None


_thread = msgspec.json.Decoder(_Thread)
_message = msgspec.json.Decoder(_Message)
_blocks = msgspec.json.Decoder(str | list[_Block] | None)
_object = msgspec.json.Decoder(dict[str, Raw])


class MessagesDialect:
    """Anthropic's messages."""

    wire = Wire.MESSAGES
    limit = "max_tokens"
    refusal = staticmethod(anthropic_refusal)
    problem = staticmethod(anthropic_problem)
    problem_event = staticmethod(anthropic_event)
    stable = staticmethod(settled)
    whole = staticmethod(whole_message)

    def read(self, body: bytes) -> Asked:
        """Read a request; see `Dialect`."""
        fields = fields_of(body)
        items = items_of(fields.get("messages", Raw(b"null")))
        thread = fields.get("thread", Raw(b"null"))
        kept = bytes(thread) != b"null"
        after = _after(thread) if kept else ""
        if not (items or after):
            raise Invalid("request.invalid", "The `messages` of the request are empty.", hint="Send at least one.")
        return Asked(
            fields=fields,
            model=text_of(fields.get("model")),
            stream=is_true(fields.get("stream")),
            system=_systems.of(bytes(fields.get("system", b"null")), _system),
            items=items,
            most_tokens=number_of(fields.get("max_tokens")),
            after=after,
            kept=kept,
        )

    def said(self, items: Sequence[Raw]) -> list[Said]:
        """Return what messages say; one that brings results of tools and words says several things."""
        return [said for item in items for said in _said(item)]

    def with_skills(self, asked: Asked, fields: Mapping[str, Raw], head: Prompt, later: Sequence[Placed]) -> bytes:
        """Return the body with a last block in its system prompt, and what came later as a block before the words.

        A thread that goes on has its system prompt: it takes the same one again, or none.
        """
        changed: dict[str, Raw | list[bytes | Raw]] = {**fields}
        if head.pieces and not (asked.after and "system" not in fields):
            changed["system"] = _with_block(fields.get("system", Raw(b"null")), head, marked=_may_mark(asked))
        if later:
            messages: list[bytes | Raw] = list(asked.items)
            for place in later:
                messages[place.at] = _prefixed(messages[place.at], place.text)
            changed["messages"] = messages
        return written(changed)

    def reader(self, model: str) -> MessagesReader:
        """Return a reader for a stream."""
        return MessagesReader(model)


class MessagesReader(MessageStream):
    """Reads a stream."""

    most_text = MOST_KEPT
    number = 0
    signs = (b"message_stop", b'"error"')


def _after(thread: Raw) -> str:
    """Return the answer that a thread goes on from; empty for one that begins."""
    try:
        return _thread.decode(thread).previous_message_id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


_systems = Repeated[bytes, str]()


def _system(written: bytes) -> str:
    try:
        found = _blocks.decode(written)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    if isinstance(found, str):
        return without_header(found)
    texts = [(block.text or "", without_header(block.text or "")) for block in found or ()]
    return "\n\n".join([text for written, text in texts if text or not written])


def _may_mark(asked: Asked) -> bool:
    """Tell whether our block may be a cache breakpoint: the client uses them, and has one left.

    A thread's system prompt has to stay as it is, while the client's own marks come and go.
    """
    if asked.kept:
        return False
    marks = sum([bytes(raw).count(MARK) for raw in asked.fields.values()])
    return 0 < marks < MOST_MARKS


def _with_block(system: Raw, text: Prompt, *, marked: bool) -> Raw:
    block = text_part(text)
    if marked:
        block = block[:-1] + b',"cache_control":{"type":"ephemeral"}}'
    content = bytes(system)
    if content.startswith(b"[") and content[1:-1].strip():
        return Raw(b"%b,%b]" % (content[:-1], block))
    if content.startswith(b'"') and len(content) > 2:  # noqa: PLR2004 - longer than the empty string
        return joined([b'{"type":"text","text":%b}' % content, block])
    return joined([block])


def _prefixed(message: bytes | Raw, text: str) -> bytes:
    """Return a message with a block of ours before the person's words, and after the results of tools."""
    try:
        fields = _object.decode(message)
    except msgspec.DecodeError:  # the provider says what is wrong with it
        return bytes(message)
    content = bytes(fields.get("content", Raw(b"null")))
    if content.startswith(b'"'):
        blocks: list[bytes | Raw] = [b'{"type":"text","text":%b}' % content]
    else:
        blocks = list(items_of(content, "content")) if content.startswith(b"[") else []
    place = next((at for at, block in enumerate(blocks) if b'"tool_result"' not in bytes(block)), len(blocks))
    blocks.insert(place, text_part(text))
    return encode(fields | {"content": joined(blocks)})


def _said(item: Raw) -> list[Said]:
    try:
        message = _message.decode(item)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return [Said("system", "")]
    blocks = [_Block("text", message.content)] if isinstance(message.content, str) else message.content or []
    if message.role != "user":
        return [Said("assistant" if message.role == "assistant" else "system", _texts(blocks))]
    results = [Said("tool", _result(one), one.tool_use_id) for one in blocks if one.type == "tool_result"]
    words = words_in_blocks([_shown(one) for one in blocks if one.type != "tool_result"])
    return [*results, Said("user", words)] if words or not results else results


def _texts(blocks: Sequence[_Block]) -> str:
    return "\n".join(block.text for block in blocks if block.type == "text" and block.text)


def _shown(block: _Block) -> str:
    return block.text or "" if block.type == "text" else f"[{block.type}]"


def _result(block: _Block) -> str:
    try:
        content = _blocks.decode(block.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return content if isinstance(content, str) else "\n".join(map(_shown, content or ()))
