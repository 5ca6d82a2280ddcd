"""`/v1/chat/completions`, as OpenAI and most others speak it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from llmos_lite.core.chat.prompt import Prompt
from llmos_lite.core.gateway.asked import (
    Asked,
    Placed,
    Raw,
    Said,
    encode,
    fields_of,
    is_true,
    items_of,
    number_of,
    quoted,
    settled,
    text_of,
    text_part,
    written,
)
from llmos_lite.core.gateway.dialect import MOST_KEPT
from llmos_lite.core.gateway.problems import openai_event, openai_problem, openai_refusal
from llmos_lite.core.gateway.repeated import Repeated
from llmos_lite.core.gateway.scaffolding import words_of
from llmos_lite.engines.llm_openai import ChatStream, whole_chat
from llmos_lite.engines.upstream import Wire
from llmos_lite.errors import Invalid

SYSTEM_ROLES = frozenset({"system", "developer"})
_LIMITS = {"max_completion_tokens", "max_tokens"}


class _Role(msgspec.Struct):
    role: str = ""


class Part(msgspec.Struct):
    """A part of a message; anything but text is known by its type alone."""

    type: str = ""
    text: str | None = None


Content: TypeAlias = str | list[str | Part] | None


class _Message(msgspec.Struct):
    role: str = ""
    content: Content = None
    tool_call_id: str | None = None


_role = msgspec.json.Decoder(_Role)
_message = msgspec.json.Decoder(_Message)
_content: msgspec.json.Decoder[Content] = msgspec.json.Decoder(Content)
_object = msgspec.json.Decoder(dict[str, Raw])
_ODD = Said("system", "")


class ChatDialect:
    """OpenAI's chat completions."""

    wire = Wire.CHAT
    limit = "max_tokens"
    refusal = staticmethod(openai_refusal)
    problem = staticmethod(openai_problem)
    problem_event = staticmethod(openai_event)
    stable = staticmethod(settled)
    whole = staticmethod(whole_chat)

    def __init__(self) -> None:
        self._leading = Leading(self.said)

    def read(self, body: bytes) -> Asked:
        """Read a request; see `Dialect`."""
        fields = fields_of(body)
        messages = items_of(fields.get("messages", Raw(b"null")))
        if not messages:
            raise Invalid("request.invalid", "The `messages` of the request are empty.", hint="Send at least one.")
        leading, own = self._leading.of(messages)
        lead = len(own)
        return Asked(
            fields=fields,
            model=text_of(fields.get("model")),
            stream="stream" in fields and is_true(fields["stream"]),
            system="\n\n".join(own),
            items=messages[lead:],
            leading=leading,
            most_tokens=_most_tokens(fields) if _LIMITS & fields.keys() else 0,
            session=text_of(fields["prompt_cache_key"]) if "prompt_cache_key" in fields else "",
        )

    def said(self, items: Sequence[Raw]) -> list[Said]:
        """Return what messages say; see `Dialect`."""
        found = []
        for item in items:
            try:
                message = _message.decode(item)
            except (msgspec.DecodeError, UnicodeDecodeError):
                found.append(_ODD)
            else:
                found.append(_said(message))
        return found

    def with_skills(self, asked: Asked, fields: Mapping[str, Raw], head: Prompt, later: Sequence[Placed]) -> bytes:
        """Return the body with skills at the end of its system prompt, and what came later before its message."""
        messages: list[bytes | Raw] = [*asked.leading, *asked.items]
        for place in sorted(later, reverse=True):
            at = after_results(asked.items, place.at, self.said)
            messages.insert(asked.lead + at, _system(place.text))
        if head.pieces:
            if asked.leading:
                last = len(asked.leading) - 1
                messages[last] = appended(messages[last], head)
            else:
                messages.insert(0, _system(head))
        return written({**fields, "messages": messages})

    def reader(self, model: str) -> ChatReader:
        """Return a reader for a stream."""
        return ChatReader(model)


class ChatReader(ChatStream):
    """Reads a stream; the provider keeps no conversation."""

    most_text = MOST_KEPT
    answer_id = ""
    number = 0
    signs = (b"[DONE]", b'"error"')


def _most_tokens(fields: Mapping[str, Raw]) -> int:
    return number_of(fields.get("max_completion_tokens")) or number_of(fields.get("max_tokens"))


class Leading:
    """Reads the system messages that conversations begin with.

    Args:
        said: reads items of the dialect.
    """

    def __init__(self, said: Callable[[Sequence[Raw]], list[Said]]) -> None:
        self._said = said
        self._known = Repeated[bytes, tuple[bytes, str]]()

    def of(self, items: Sequence[Raw]) -> tuple[list[bytes], list[str]]:
        """Return them up to the first item that is none, and what each says; one that came before as that very object.

        Whoever looks one up again then compares no long text.
        """
        messages: list[bytes] = []
        texts: list[str] = []
        for item in items:
            written = bytes(item)
            known = self._known.get(written)
            if known is None:
                if not _is_system(written):
                    break
                known = self._known.put(written, (written, self._said([item])[0].text))
            messages.append(known[0])
            texts.append(known[1])
        return messages, texts


def _is_system(message: bytes) -> bool:
    try:
        return _role.decode(message).role in SYSTEM_ROLES
    except msgspec.DecodeError:
        return False


def after_results(items: Sequence[Raw], at: int, said: Callable[[Sequence[Raw]], list[Said]]) -> int:
    """Return the first place from `at` on where no result of a tool is parted from its call."""
    while at < len(items) and said([items[at]])[0].role == "tool":
        at += 1
    return at


def _system(text: str | Prompt) -> bytes:
    return b'{"role":"system","content":%b}' % quoted(text)


def appended(message: bytes | Raw, text: Prompt) -> bytes:
    """Return a system message with a text after its own."""
    before, write, after = _opened.of(bytes(message), _open)
    return b"".join((before, write(text), after))


_Write: TypeAlias = Callable[[Prompt], bytes]
_opened = Repeated[bytes, tuple[bytes, _Write, bytes]]()


def _open(message: bytes) -> tuple[bytes, _Write, bytes]:
    """Return a system message up to the end of its content, what writes a text there, and the rest of it."""
    fields = _object.decode(message)
    content = bytes(fields.get("content", b"null"))
    begun, ended = b"", b""
    write: _Write = quoted
    if content.startswith(b'"') and len(content) > 2:  # noqa: PLR2004 - longer than the empty string
        begun, write = content[:-1], _further_words
    elif content.startswith(b"[") and content[1:-1].strip():
        begun, write, ended = content[:-1] + b",", text_part, b"]"
    names = list(fields | {"content": b""})
    place = names.index("content")
    before = encode({name: fields[name] for name in names[:place]})[:-1]
    after = encode({name: fields[name] for name in names[place + 1 :]})[1:]
    return (
        b'%b%b"content":%b' % (before, b"," if place else b"", begun),
        write,
        b"%b%b%b" % (ended, b"," if len(after) > 1 else b"", after),
    )


def _further_words(text: Prompt) -> bytes:
    return rb"\n\n%b" % quoted(text)[1:]


def _said(message: _Message) -> Said:
    content = message.content
    text = content if isinstance(content, str) else _text(content)
    if message.role == "user":
        return Said("user", words_of(text))
    if message.role == "tool":
        return Said("tool", text, message.tool_call_id or "")
    return Said("assistant" if message.role == "assistant" else "system", text)


def content_text(raw: Raw) -> str:
    """Return the text of a message's content; a part that is none shows as its type, as `[image_url]`."""
    return _text(_content.decode(raw))


def _text(content: Content) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(filter(None, map(_part, content)))


def _part(part: str | Part) -> str:
    if isinstance(part, str):
        return part
    return part.text if part.text is not None else f"[{part.type}]"
