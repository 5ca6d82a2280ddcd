"""Requests that ask for another protocol (h2c, WebSocket) and bring a body: the wish is ignored, the body is read.

The parser of HTTP takes all that follows such a head for the other protocol. RFC 9110, 7.8, lets a server ignore the
wish; the request is then like any other. It is the last one of its connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace

import httptools

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_HEAD = b"POST / HTTP/1.1\r\nconnection: close\r\n"


def framing_of(method: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the headers that say where the body of a request ends, as they are written; empty when it has none.

    Args:
        method: of the request; what follows CONNECT is no body, whatever its head says (RFC 9110, 9.3.6).
        headers: of the request, with names in lower case.
    """
    if method == "CONNECT":
        return b""
    return b"".join([b"%b: %b\r\n" % (name, value) for name, value in headers if name in _FRAMING])


def body_parser(framing: bytes, take: Callable[[bytes], None], end: Callable[[], None]) -> httptools.HttpRequestParser:
    """Return a parser for the body behind a head that was read; what comes behind the body is an error.

    Args:
        framing: see `framing_of`.
        take: gets the pieces of the body.
        end: hears that it is whole.

    Raises:
        HttpParserError: the headers do not say where it ends.
    """
    parser = httptools.HttpRequestParser(SimpleNamespace(on_body=take, on_message_complete=end))
    parser.feed_data(_HEAD + framing + b"\r\n")
    return parser
