"""Answers that come packed with gzip or deflate: HTTP lets a server pack them also where nobody asked for it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from llmos_lite.engines.http_client import MOST_BUFFERED, Meaning, Reply

_EITHER = 47
"""Has zlib find out which of both it is."""


class Unpacked(Reply):
    """An answer, unpacked as it comes, never more at once than `MOST_BUFFERED`.

    Args:
        reply: as it is packed.
        meaning: of an error, which is what a body is that ends too early or is not packed.
    """

    __slots__ = ("_began", "_meaning", "_packed", "_reply", "_rest", "status")

    def __init__(self, reply: Reply, meaning: Meaning) -> None:
        self._reply, self._meaning, self.status = reply, meaning, reply.status
        self._packed, self._rest, self._began = zlib.decompressobj(_EITHER), b"", False

    def header(self, name: str) -> str:
        """Return a header; see `Reply`."""
        return self._reply.header(name)

    def headers(self) -> Iterable[tuple[bytes, bytes]]:
        """Return every header; see `Reply`."""
        return self._reply.headers()

    async def chunk(self) -> bytes:
        """Return the next bytes of the body, unpacked; see `Reply`."""
        while data := self._rest or await self._reply.chunk():
            if shown := self._shown(data):
                return shown
        if not (last := self._packed.flush()) and self._began and not self._packed.eof:
            raise self._meaning(ConnectionResetError("cut"))
        return last

    def _shown(self, data: bytes) -> bytes:
        self._began = True
        if self._packed.eof:  # what is packed may follow what is packed
            self._packed = zlib.decompressobj(_EITHER)
        try:
            shown = self._packed.decompress(data, MOST_BUFFERED)
        except zlib.error:
            raise self._meaning(ConnectionResetError("not packed")) from None
        self._rest = self._packed.unconsumed_tail or self._packed.unused_data
        return shown

    async def end(self) -> None:
        """End the request; see `Reply`."""
        await self._reply.end()
