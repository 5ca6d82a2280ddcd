"""How many things a request may be made of: each takes microseconds on the event loop, where everybody waits.

A request of 28 MB that was nothing but tiny messages kept all others waiting for a minute, and took 4 GB.
"""

from __future__ import annotations

from llmos_lite.errors import TooLarge

MOST_ITEMS = 20_000
"""Items of a conversation; of one with a million tokens each has 50."""
MOST_OBJECTS, MOST_VALUES = 50_000, 500_000
"""Objects in a body, and values in lists and objects: an embedding takes lists of 300,000 tokens."""
_SMALL = 512 << 10
"""Bytes of a body that cannot hold more of them than is bearable."""
_HINT = "Leave old turns out, or send several requests."


def check_body(body: bytes) -> None:
    """Check how many objects and values a body holds.

    Raises:
        TooLarge: `request.too_many_parts`.
    """
    if len(body) <= _SMALL or not _holds_too_much(body):
        return
    # what stands in strings does not count: code and prose are full of braces and commas
    body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    if body.count(b'"') // 2 > MOST_VALUES or _holds_too_much(b"".join(body.split(b'"')[::2])):
        said = f"The request holds more than {MOST_OBJECTS:,} objects, or more than {MOST_VALUES:,} values."
        raise TooLarge("request.too_many_parts", said, hint=_HINT)


def check_items(count: int, name: str) -> None:
    """Check how many items the list `name` has.

    Raises:
        TooLarge: `request.too_many_parts`.
    """
    if count > MOST_ITEMS:
        raise TooLarge("request.too_many_parts", f"`{name}` has more than {MOST_ITEMS:,} items.", hint=_HINT)


def _holds_too_much(text: bytes) -> bool:
    return text.count(b"{") > MOST_OBJECTS or text.count(b",") > MOST_VALUES
