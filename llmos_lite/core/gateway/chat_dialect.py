"""`/v1/chat/completions`, as OpenAI and most others speak it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from llmos_lite.core.gateway.asked import (
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
)
from llmos_lite.core.gateway.dialect import MOST_KEPT
from llmos_lite.core.gateway.problems import openai_event, openai_problem, openai_refusal
from llmos_lite.core.gateway.scaffolding import words_of
from llmos_lite.engines.llm import Completion
from llmos_lite.engines.llm_openai import ChatStream, whole_chat
from llmos_lite.engines.upstream import Wire
from llmos_lite.errors import Invalid

SYSTEM_ROLES = frozenset({"system", "developer"})


class _Role(msgspec.Struct):
    role: str = ""


class _Message(msgspec.Struct):
    role: str = ""
    content: Raw = Raw(b"null")
    tool_call_id: str | None = None


class Part(msgspec.Struct):
    """A part of a message; anything but text is known by its type alone."""

    type: str = ""
    text: str | None = None


_role = msgspec.json.Decoder(_Role)
_message = msgspec.json.Decoder(_Message)
_content = msgspec.json.Decoder(str | list[str | Part] | None)
_object = msgspec.json.Decoder(dict[str, Raw])


class ChatDialect:
    """OpenAI's chat completions."""

    wire = Wire.CHAT
    limit = "max_tokens"
    refusal = staticmethod(openai_refusal)
    problem = staticmethod(openai_problem)
    problem_event = staticmethod(openai_event)

    def read(self, body: bytes) -> Asked:
        """Read a request; see `Dialect`."""
        fields = fields_of(body)
        messages = items_of(fields.get("messages", Raw(b"null")))
        if not messages:
            raise Invalid("request.invalid", "The request has no messages.", hint="Send at least one.")
        own = _own(messages)
        most = number_of(fields.get("max_completion_tokens")) or number_of(fields.get("max_tokens"))
        return Asked(
            fields=fields,
            model=text_of(fields.get("model")),
            stream=is_true(fields.get("stream")),
            system="\n\n".join(own),
            items=messages[len(own) :],
            leading=messages[: len(own)],
            most_tokens=most,
            session=text_of(fields.get("prompt_cache_key")),
        )

    def stable(self, item: Raw) -> bytes:
        """Return a message without cache marks, which some servers take here too; see `settled`."""
        return settled(item)

    def said(self, items: Sequence[Raw]) -> list[Said]:
        """Return what messages say; see `Dialect`."""
        return [_said(item) for item in items]

    def with_skills(self, asked: Asked, fields: Mapping[str, Raw], head: str, later: Sequence[Placed]) -> bytes:
        """Return the body with skills at the end of its system prompt, and what came later before its message."""
        messages: list[bytes | Raw] = [*asked.leading, *asked.items]
        for place in sorted(later, reverse=True):
            at = after_results(asked.items, place.at, self.said)
            messages.insert(asked.lead + at, encode({"role": "system", "content": place.text}))
        if head:
            if asked.lead:
                messages[asked.lead - 1] = appended(messages[asked.lead - 1], head)
            else:
                messages.insert(0, encode({"role": "system", "content": head}))
        return encode({**fields, "messages": joined(messages)})

    def reader(self, model: str) -> ChatReader:
        """Return a reader for a stream."""
        return ChatReader(model)

    def whole(self, body: bytes, model: str) -> Completion:
        """Read an answer that came at once."""
        return whole_chat(body, model)


class ChatReader(ChatStream):
    """Reads a stream; the provider keeps no conversation."""

    most_text = MOST_KEPT
    answer_id = ""
    signs = (b"[DONE]", b'"error"')


def _own(messages: Sequence[Raw]) -> list[str]:
    """Return what the system messages say that a conversation begins with."""
    found: list[str] = []
    for item in messages:
        try:
            message = _message.decode(item)
        except (msgspec.DecodeError, UnicodeDecodeError):  # some part of it is odd, and its role need not be
            return [said.text for said in map(_said, messages[: leading(messages)])]
        if message.role not in SYSTEM_ROLES:
            break
        found.append(_said_by(message).text)
    return found


def leading(items: Sequence[Raw]) -> int:
    """Return how many system messages a conversation begins with."""
    for place, item in enumerate(items):
        try:
            if _role.decode(item).role not in SYSTEM_ROLES:
                return place
        except msgspec.DecodeError:
            return place
    return len(items)


def after_results(items: Sequence[Raw], at: int, said: Callable[[Sequence[Raw]], list[Said]]) -> int:
    """Return the first place from `at` on where no result of a tool is parted from its call."""
    while at < len(items) and said([items[at]])[0].role == "tool":
        at += 1
    return at


def appended(message: bytes | Raw, text: str) -> bytes:
    """Return a system message with a text after its own."""
    fields = _object.decode(message)
    content = bytes(fields.get("content", Raw(b"null")))
    if content.startswith(b'"') and len(content) > 2:  # noqa: PLR2004 - longer than the empty string
        content = content[:-1] + encode("\n\n" + text)[1:]
    elif content.startswith(b"[") and content[1:-1].strip():
        content = content[:-1] + b"," + encode({"type": "text", "text": text}) + b"]"
    else:
        content = encode(text)
    return encode(fields | {"content": Raw(content)})


def _said(item: Raw) -> Said:
    try:
        return _said_by(_message.decode(item))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Said("system", "")


def _said_by(message: _Message) -> Said:
    try:
        text = content_text(message.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Said("system", "")
    if message.role == "tool":
        return Said("tool", text, message.tool_call_id or "")
    if message.role == "user":
        return Said("user", words_of(text))
    return Said("assistant" if message.role == "assistant" else "system", text)


def content_text(raw: Raw) -> str:
    """Return the text of a message's content; a part that is none shows as its type, as `[image_url]`."""
    content = _content.decode(raw)
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(filter(None, map(_part, content)))


def _part(part: str | Part) -> str:
    if isinstance(part, str):
        return part
    return part.text if part.text is not None else f"[{part.type}]"
