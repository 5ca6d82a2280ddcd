"""A stream on its way from a model to a client: what comes goes out in the same moment, and nobody is woken for it."""

from __future__ import annotations

from collections.abc import Callable

from llmos_lite.core.gateway.pieces import Straight
from llmos_lite.core.gateway.reading import Reading
from llmos_lite.engines.http_client import Reply, pour


class Passage:
    """One stream.

    Args:
        reply: of the model's server.
        reading: reads every byte of it.
        shown: makes of each piece what the client gets; may raise what a dialect raises.
        straight: the short way to the client.

    Attributes:
        ended: whether what came last ends the answer.
    """

    def __init__(
        self, reply: Reply, reading: Reading, shown: Callable[[bytes], bytes] | None, straight: Straight
    ) -> None:
        self._reply, self._reading, self._shown, self._straight = reply, reading, shown, straight
        self._held = b""
        self.ended = False

    async def held(self) -> bytes | None:
        """Wait for the next piece that cannot go out by itself; None at the end of the stream.

        It waits for a client that reads slowly, or ends the answer, which the trace comes before.

        Raises:
            UpstreamFailed: `model.garbage`.
            OSError: see `pour`.
        """
        return self._held if await pour(self._reply, self._take) else None

    def _take(self, data: bytes) -> bool:
        self.ended = self._reading.take(data)
        shown = data if self._shown is None else self._shown(data)
        if not self.ended and (not shown or self._straight(shown)):
            return True
        self._held = shown
        return False
