"""Reads an answer while it passes: in batches, so that a stream of many small events costs little."""

from __future__ import annotations

from llmos_lite.core.gateway.dialect import Dialect
from llmos_lite.engines.http_client import Reply
from llmos_lite.engines.llm import Completion
from llmos_lite.errors import UpstreamFailed

BATCH = 32 << 10
"""Bytes of a stream that wait to be read."""
LARGEST_ANSWER = 32 << 20
"""Bytes of an answer, after which it is cut; a model that writes a book with its reasoning fits in."""


def too_large() -> UpstreamFailed:
    """Return the error for an answer without an end."""
    return UpstreamFailed("model.garbage", f"The model's answer is larger than {LARGEST_ANSWER >> 20} MiB.")


async def read_reply(reply: Reply, most: int) -> bytes:
    """Return the body of an answer.

    Raises:
        UpstreamFailed: `model.garbage`, past `most` bytes.
    """
    body = await reply.read(most)
    if len(body) > most:
        raise too_large()
    return body


def cut_short() -> UpstreamFailed:
    """Return the error for a stream that ends without its end."""
    return UpstreamFailed("model.cut", "The model's answer ends in the middle.", hint="Try again.")


class Reading:
    """One stream that is read beside its way to the client.

    Args:
        dialect: what the server speaks.
        model: what was asked for.

    Attributes:
        failed: what the server said in its stream about its own failure; None while all is well.
        waiting: events that were not read yet.
        total: bytes of all events.
        full: bytes of all events at which those that wait are read.
    """

    def __init__(self, dialect: Dialect, model: str) -> None:
        self._reader = dialect.reader(model)
        self._signs = self._reader.signs
        self.waiting: list[bytes] = []
        self.total, self.full = 0, min(BATCH, LARGEST_ANSWER)
        self._over = False
        self.failed: UpstreamFailed | None = None

    @property
    def ended(self) -> bool:
        """Tell whether the model said that this is all, as far as was read."""
        return self._reader.ended

    @property
    def answer_id(self) -> str:
        """Return how the provider names this answer; empty where that leads nowhere."""
        return self._reader.answer_id

    @property
    def begun_id(self) -> str:
        """Return how the provider names this answer as soon as any of it came, at the price of reading it now."""
        if self.waiting:
            self._read()
        return self._reader.answer_id

    @property
    def number(self) -> int:
        """Return the number of the next event; 0 where events have none."""
        if self.waiting:
            self._read()
        return self._reader.number

    def take(self, data: bytes) -> bool:
        """Take whole events; tell whether they end the answer.

        Raises:
            UpstreamFailed: `model.garbage`, past `LARGEST_ANSWER`.
        """
        self.total += len(data)
        self.waiting.append(data)
        if self.total < self.full and not self.is_sign(data):
            return self._over
        if self.total > LARGEST_ANSWER:
            raise too_large()
        self._read()
        self._over = self._reader.ended or self.failed is not None
        return self._over

    def is_sign(self, data: bytes) -> bool:
        """Tell whether events may end the answer."""
        for sign in self._signs:  # noqa: SIM110 - half the time of `any`
            if data.find(sign) >= 0:  # `in` tries to make an integer of it first, at three times the cost
                return True
        return False

    def failure(self) -> UpstreamFailed | None:
        """Return how it failed, to be raised; None while all is well."""
        return None if self.failed is None else self.failed.fresh()

    def close(self, last: bytes = b"") -> None:
        """Take the end of the stream, with an event that nothing ends but this."""
        if last:
            self.waiting.append(last)
        if self.waiting:
            self._read()
        if self.failed is None and not self._reader.ended:
            self._attempt(b"", last=True)

    def completion(self) -> Completion | None:
        """Return what was read so far; None when it is no answer."""
        if self.waiting:
            self._read()
        try:
            return self._reader.completion()
        except UpstreamFailed:
            return None

    def _read(self) -> None:
        if self.failed is None:
            self._attempt(b"".join(self.waiting))
        self.waiting.clear()
        self.full = min(self.total + BATCH, LARGEST_ANSWER)

    def _attempt(self, data: bytes, *, last: bool = False) -> None:
        try:
            if last:
                self._reader.close()
            else:
                self._reader.feed(data)
        except UpstreamFailed as error:
            self.failed = error.fresh()  # this one leads back here, and so would hold all of the answer
