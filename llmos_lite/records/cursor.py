"""Opaque cursors: where the next page of a list begins."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from llmos_lite.errors import Invalid

T = TypeVar("T")
Key = str | int | float

LONGEST = 512
"""No cursor of ours is longer (characters)."""


@dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """One page of rows: the items, the cursor of the next page (None after the last), the number of all."""

    items: list[T]
    next_cursor: str | None
    total: int


def encode_cursor(*key: Key) -> str:
    """Return the cursor of the page that begins after the row with this sort key."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode()


def decode_cursor(cursor: str, *kinds: type[Key]) -> tuple[Key, ...]:
    """Return the sort key of a cursor.

    Args:
        cursor: what a page gave.
        kinds: the types of its parts.

    Raises:
        Invalid: `cursor.invalid`, for one that no page gave.
    """
    try:
        raw = base64.b64decode(cursor[:LONGEST] + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        key: tuple[Key, ...] = msgspec.json.decode(raw, type=tuple[kinds])  # type: ignore[valid-type]  # made at run time
    except (binascii.Error, msgspec.DecodeError, UnicodeEncodeError, ValueError):
        raise Invalid(
            "cursor.invalid",
            "This cursor was not made by a list of this server.",
            hint="Leave the cursor out to begin with the first page.",
        ) from None
    return key
