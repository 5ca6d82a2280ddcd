"""Telling a server that does not have an address from one that does not have what a request asks for: both say 404."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from llmos_lite.engines.http_client import Reply

ABSENT = frozenset({404, 405, 501})
"""Statuses of an address that a server does not have."""
_ASKED_FOR, _UNKNOWN = 404, "unknown_url"
"""The one status that may mean either, and OpenAI's code for an address; Azure's is the status as a text."""
LARGEST = 1 << 20
"""Bytes of a refusal that are read and handed on."""


class _Error(msgspec.Struct):
    type: object = None
    code: object = None
    param: object = None


class _Refusal(msgspec.Struct):
    error: _Error


_decode = msgspec.json.Decoder(_Refusal).decode


def lacks_address(status: int, body: bytes) -> bool:
    """Tell whether a refusal is about the address, and not about a model, a file or a conversation that is named.

    Who speaks these APIs says what of a request is wrong: as `invalid_request_error`, or by a code or a parameter.
    """
    if status != _ASKED_FOR:
        return status in ABSENT
    try:
        error = _decode(body).error
    except msgspec.DecodeError:
        return True
    if error.code in {_UNKNOWN, str(_ASKED_FOR)}:
        return True
    return error.type != "invalid_request_error" and not isinstance(error.code, str) and not error.param


class ReadReply(Reply):
    """An answer whose body was read before it is handed on.

    Args:
        reply: the answer, still to be ended.
        body: of it.
    """

    __slots__ = ("_body", "_reply", "status")

    def __init__(self, reply: Reply, body: bytes) -> None:
        self._reply, self._body, self.status = reply, body, reply.status

    def header(self, name: str) -> str:
        """Return a header; see `Reply`."""
        return self._reply.header(name)

    def headers(self) -> Iterable[tuple[bytes, bytes]]:
        """Return every header; see `Reply`."""
        return self._reply.headers()

    async def chunk(self) -> bytes:
        """Return the body, then nothing; see `Reply`."""
        body, self._body = self._body, b""
        return body

    async def end(self) -> None:
        """End the request; see `Reply`."""
        await self._reply.end()
