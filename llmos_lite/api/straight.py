"""The short way for the pieces of a stream: from a callback of the event loop into the client's connection.

ASGI takes a piece through a coroutine of each layer and wakes a task for it, which costs several times what it takes to
write a few bytes. Head and end go the long way. A layer that somebody put in between sees every piece as before.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from llmos_lite.api.errors import Receive, Send
from llmos_lite.api.joined import Joined
from llmos_lite.core.gateway.pieces import Straight, never


def straight_to(send: Send) -> Straight:
    """Return the short way beside `send`, when our own edge and uvicorn are all that lies behind it."""
    cycle = _cycle_of(send)
    if cycle is None:
        return never
    flow, write = cycle.flow, cycle.transport.write

    def straight(data: bytes) -> bool:
        if flow.write_paused or cycle.disconnected or cycle.response_complete or not cycle.chunked_encoding:
            return False
        write(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    return straight


def line_of(receive: Receive) -> Joined | None:
    """Return the connection behind `receive` while it stands, under the same condition, and where it is one of ours."""
    cycle = _cycle_of(receive)
    line: object = cycle.transport if cycle is not None and not cycle.disconnected else None
    return line if isinstance(line, Joined) else None


def _cycle_of(layer: Send | Receive) -> RequestResponseCycle | None:
    """Return what of uvicorn answers a request, when nothing but our edge lies between it and a layer."""
    edge = getattr(layer, "__self__", None)
    cycle = getattr(getattr(edge, "beneath", None), "__self__", None)
    return cycle if isinstance(cycle, RequestResponseCycle) else None
