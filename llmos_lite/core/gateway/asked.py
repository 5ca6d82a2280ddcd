"""A client's request as far as the gateway looks into it; everything else passes on byte for byte."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from llmos_lite.core.chat.prompt import Prompt
from llmos_lite.core.gateway.bounds import check_body, check_items
from llmos_lite.core.skills.lru import Sized
from llmos_lite.errors import Invalid, too_deep

Raw: TypeAlias = msgspec.Raw
Role: TypeAlias = Literal["user", "assistant", "tool", "system"]

_fields = msgspec.json.Decoder(dict[str, Raw])
_items = msgspec.json.Decoder(list[Raw])
_text = msgspec.json.Decoder(str)
encode = msgspec.json.Encoder().encode

MOST_QUOTED = 4 << 20
"""Bytes of texts of ours that are kept as JSON; some 1,000 skills of usual length."""
MARK = b'"cache_control"'
_MARKS = re.compile(rb',\s*"cache_control"\s*:\s*(?:\{[^{}]*\}|null)|"cache_control"\s*:\s*(?:\{[^{}]*\}|null)\s*,?\s*')
"""Inside a text the quotes are escaped, so that only a key reads like this."""
_PLAIN = re.compile(rb'\s*\{\s*"role"\s*:\s*"\w{1,20}"\s*,\s*"content"\s*:\s*"')
_BLOCK = re.compile(rb'("content"\s*:\s*)\[\s*\{\s*(?:"type"\s*:\s*"text"\s*,\s*)?"text"\s*:\s*(?=")')
_BLOCK_END = re.compile(
    rb'"\s*(?:,\s*"type"\s*:\s*"text"\s*)?\}\s*\](?=\s*(?:\}|,\s*"role"\s*:\s*"\w{1,20}"\s*\})\s*\Z)'
)
"""Around the text of a message that is one block; bytes, since a long conversation must not be decoded again."""
_NEAR = 200


class Said(msgspec.Struct, frozen=True):
    """What one item of a conversation says, in no dialect.

    Args:
        role: who says it; `tool` gives the result of a call.
        text: the words; of a person without what the client itself put around them.
        call_id: of the call that a result belongs to.
    """

    role: Role
    text: str
    call_id: str = ""


class Placed(NamedTuple):
    """Skills that came into a conversation on its way: `text` stands right before the item `at`."""

    at: int
    text: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    Args:
        fields: the top of the body, each value as the client wrote it.
        model: what is asked for.
        stream: whether the answer shall come in events.
        system: the client's own system prompt; empty for none.
        items: the conversation after the leading system messages, each as the client wrote it.
        leading: the system messages that stand before them in the same list.
        most_tokens: most tokens of the answer; 0 when the client does not say.
        after: id of the answer that the request goes on from, where the provider keeps the conversation; or `kept_in`.
        kept_in: id of the object in which the provider keeps the conversation; empty for none.
        kept: whether the provider may keep the conversation, so that its answer's id leads on.
        session: what the client itself calls the conversation; empty when the body does not say.
        background: whether the answer may be made behind the request, for the client to ask for it later.
    """

    fields: dict[str, Raw]
    model: str
    stream: bool = False
    system: str = ""
    items: Sequence[Raw] = ()
    leading: Sequence[bytes] = ()
    most_tokens: int = 0
    after: str = ""
    kept_in: str = ""
    kept: bool = False
    session: str = ""
    background: bool = False

    @property
    def lead(self) -> int:
        """Return how many system messages stand before the conversation in the same list."""
        return len(self.leading)


def not_json(why: Exception) -> Invalid:
    """Return the error for a body that is none, or that has too many levels."""
    if isinstance(why, RecursionError):
        return too_deep()
    where = f": {why}" if isinstance(why, msgspec.DecodeError) else ""
    said = f"The body of the request is not a JSON object{where}."
    return Invalid("request.not_json", said, hint="Send a JSON object.")


def fields_of(body: bytes) -> dict[str, Raw]:
    """Return the top of a body.

    Raises:
        Invalid: `request.not_json`, `request.too_deep`.
        TooLarge: `request.too_many_parts`.
    """
    check_body(body)
    try:
        return _fields.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(error) from None


def items_of(raw: Raw | bytes, name: str = "messages") -> list[Raw]:
    """Return the items of a list.

    Args:
        raw: the list.
        name: of the field that holds it.

    Raises:
        Invalid: `request.invalid`.
        TooLarge: `request.too_many_parts`.
    """
    try:
        items = _items.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = f"The request has no list of `{name}`."
        raise Invalid("request.invalid", said, hint=f"Send the conversation as `{name}`, a list.") from None
    check_items(len(items), name)
    return items


def text_of(raw: Raw | bytes | None) -> str:
    """Return a text of the body; empty for anything else."""
    if raw is None:
        return ""
    try:
        return _text.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def quoted(text: str | Prompt) -> bytes:
    """Return a text of ours as JSON; skills are said anew with each request of their conversation."""
    pieces = (text,) if isinstance(text, str) else text.pieces
    known = _quoted.newer
    return b"".join((b'"', *[known.get(piece) or _quote(piece) for piece in pieces], b'"'))


_quoted: Sized[str, bytes] = Sized(MOST_QUOTED)
"""Pieces as they stand inside of quotes."""


def _quote(piece: str) -> bytes:
    inside = _quoted.get(piece)
    if inside is None:
        inside = encode(piece)[1:-1]
        _quoted.put(piece, inside)
    return inside


def text_part(text: str | Prompt) -> bytes:
    """Return a text of ours as a part of a message; Anthropic calls it a block."""
    return b'{"type":"text","text":%b}' % quoted(text)


def is_true(raw: Raw | None) -> bool:
    """Tell whether a value is `true`."""
    return raw is not None and bytes(raw) == b"true"


def number_of(raw: Raw | None) -> int:
    """Return a whole number of the body; 0 for anything else."""
    digits = b"" if raw is None else bytes(raw)
    return int(digits) if digits.isdigit() and len(digits) < 10 else 0  # noqa: PLR2004 - no answer has 10**9 tokens


def joined(items: Sequence[bytes | Raw]) -> Raw:
    """Return a list of items that are JSON already."""
    return Raw(b"".join(_listed(items)))


def written(fields: Mapping[str, Raw | list[bytes | Raw]]) -> bytes:
    """Return an object, of values and lists of values that are JSON already; a long conversation is copied once."""
    parts: list[bytes | Raw] = []
    for name, value in fields.items():
        parts += (b",", encode(name), b":")
        if isinstance(value, list):
            parts += _listed(value)
        else:
            parts.append(value)
    parts[:1] = [b"{"]
    return b"".join((*parts, b"}"))


def _listed(items: Sequence[bytes | Raw]) -> list[bytes | Raw]:
    """Return the parts of a list: what is joined byte for byte is copied once."""
    if not items:
        return [b"[]"]
    parts: list[bytes | Raw] = [b","] * (2 * len(items) + 1)
    parts[1::2] = items
    parts[0], parts[-1] = b"[", b"]"
    return parts


def settled(item: Raw) -> bytes:
    """Return a message without what clients change in it when the conversation goes on.

    A cache mark moves to the newest message, and a text that was a block for the mark's sake becomes a plain text
    (Claude Code).
    """
    data = bytes(item)
    if _PLAIN.match(data) and MARK not in data[-_NEAR:]:
        return data
    if MARK in data:
        data = _MARKS.sub(b"", data)
    head = _BLOCK.search(data, 0, _NEAR)
    tail = _BLOCK_END.search(data, max(0, len(data) - _NEAR - 1)) if head is not None else None
    if head is None or tail is None or data.count(b'"type"') != 1:
        return data
    return data[: head.end(1)] + data[head.end() : tail.start() + 1] + data[tail.end() :]
