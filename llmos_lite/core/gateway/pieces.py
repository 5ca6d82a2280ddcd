"""What comes into the gateway and what goes out of it, byte by byte."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias


class Request(NamedTuple):
    """What a client sent.

    Args:
        body: its bytes.
        headers: their names in lower case.
        query: after the path; empty for none.
        id: of the request, for errors.
    """

    body: bytes
    headers: Iterable[tuple[bytes, bytes]]
    query: str = ""
    id: str = ""


class Head(NamedTuple):
    """The beginning of an answer."""

    status: int
    headers: list[tuple[bytes, bytes]]


class Whole(NamedTuple):
    """An answer that comes at once; its length is not yet among the headers."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


Piece: TypeAlias = Head | Whole | bytes
