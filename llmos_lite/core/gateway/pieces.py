"""What comes into the gateway and what goes out of it, byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

from llmos_lite.core.gateway.steering import Steering

Straight: TypeAlias = Callable[[bytes], bool]
"""Writes bytes of an answer that has begun to the client at once; False, with nothing written, when that must wait."""


def never(data: bytes) -> bool:
    """Write nothing: whatever lies between the gateway and the client wants to see each piece."""
    del data
    return False


class Request(NamedTuple):
    """What a client sent.

    Args:
        body: its bytes.
        steering: returns what its headers say.
        query: after the path; empty for none.
        id: of the request, for errors.
        straight: the short way for the pieces of a stream.
    """

    body: bytes
    steering: Callable[[], Steering]
    query: str = ""
    id: str = ""
    straight: Straight = never


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


class Out(Protocol):
    """Takes an answer to the client: whole, or its head and then its bytes."""

    @property
    def begun(self) -> bool:
        """Tell whether it has got any of it."""

    async def __call__(self, piece: Piece) -> None:
        """Hand a piece on; it may wait for a client that reads slowly."""
