"""The short way for the pieces of a stream: from a callback of the event loop into the client's connection.

ASGI takes a piece through a coroutine of each layer and wakes a task for it, which costs several times what it takes to
write a few bytes. Head and end go the long way. A layer that somebody put in between sees every piece as before.
"""

from __future__ import annotations

from types import MethodType

from llmos_lite.api.errors import Receive, Send
from llmos_lite.api.middleware import Request
from llmos_lite.core.gateway.pieces import Straight, never


def edge_of(layer: Send | Receive) -> Request | None:
    """Return our own edge, when nothing lies between it and a layer."""
    edge = layer.__self__ if type(layer) is MethodType else None
    return edge if type(edge) is Request else None


def straight_to(edge: Request | None) -> Straight:
    """Return the short way through our edge, when our own server is all that lies behind it."""
    return never if edge is None or edge.exchange is None else edge.exchange.straight
