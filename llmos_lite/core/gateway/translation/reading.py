"""What the readers of all dialects share."""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

from llmos_lite.core.gateway.translation.neutral import Raw
from llmos_lite.errors import Invalid

T = TypeVar("T")


def decoded(decoder: msgspec.json.Decoder[T], body: bytes | Raw) -> T:
    """Decode a body.

    Raises:
        Invalid: `request.invalid`, for one that is not of the dialect's form.
    """
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("request.invalid", f"This cannot be translated for the model's server: {error}.") from None


def text_or_parts(decoder: msgspec.json.Decoder[str | list[T] | None], raw: Raw) -> str | list[T]:
    """Decode a content that is a text or a list of parts; nothing is no part.

    Raises:
        Invalid: `request.invalid`.
    """
    found = decoded(decoder, raw)
    return [] if found is None else found


def role_of(name: str) -> Literal["system", "user", "assistant"]:
    """Return who speaks in a message."""
    if name in {"system", "developer"}:
        return "system"
    return "assistant" if name == "assistant" else "user"


def present(**values: Raw) -> dict[str, Raw]:
    """Return the values that are there."""
    return {name: value for name, value in values.items() if bytes(value) not in {b"", b"null"}}
