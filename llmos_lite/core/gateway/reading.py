"""Reads an answer while it passes: in batches, so that a stream of many small events costs little."""

from __future__ import annotations

from llmos_lite.core.gateway.dialect import Dialect
from llmos_lite.engines.llm import Completion
from llmos_lite.errors import UpstreamFailed

BATCH = 32 << 10
"""Bytes of a stream that wait to be read."""
LARGEST_ANSWER = 32 << 20
"""Bytes of an answer, after which it is cut; a model that writes a book with its reasoning fits in."""
_SIGNS = (b"[DONE]", b"message_stop", b"response.completed", b"response.incomplete", b'"error"', b"response.failed")
_LONGEST_SIGN = max(map(len, _SIGNS))


def too_large() -> UpstreamFailed:
    """Return the error for an answer without an end."""
    return UpstreamFailed("model.garbage", f"The model's answer is larger than {LARGEST_ANSWER >> 20} MiB.")


class Reading:
    """One stream that is read beside its way to the client.

    Args:
        dialect: what the server speaks.
        model: what was asked for.

    Attributes:
        failed: what the server said in its stream about its own failure; None while all is well.
    """

    def __init__(self, dialect: Dialect, model: str) -> None:
        self._reader = dialect.reader(model)
        self._waiting: list[bytes] = []
        self._size = self._total = 0
        self._last = b""
        self.failed: UpstreamFailed | None = None

    @property
    def ended(self) -> bool:
        """Tell whether the model said that this is all, as far as was read."""
        return self._reader.ended

    @property
    def answer_id(self) -> str:
        """Return how the provider names this answer; empty where that leads nowhere."""
        return self._reader.answer_id

    def take(self, data: bytes) -> bool:
        """Take bytes; tell whether they end the answer.

        Raises:
            UpstreamFailed: `model.garbage`, past `LARGEST_ANSWER`.
        """
        self._total += len(data)
        if self._total > LARGEST_ANSWER:
            raise too_large()
        self._waiting.append(data)
        self._size += len(data)
        window = self._last + data
        self._last = window[-_LONGEST_SIGN:]
        if self._size >= BATCH or any(sign in window for sign in _SIGNS):
            self._read()
        return self._reader.ended or self.failed is not None

    def close(self) -> None:
        """Take the end of the stream."""
        self._read()
        if self.failed is None and not self._reader.ended:
            self._attempt(b"", last=True)

    def completion(self) -> Completion | None:
        """Return what was read so far; None when it is no answer."""
        self._read()
        try:
            return self._reader.completion()
        except UpstreamFailed:
            return None

    def _read(self) -> None:
        if self._waiting and self.failed is None:
            self._attempt(b"".join(self._waiting))
        self._waiting.clear()
        self._size = 0

    def _attempt(self, data: bytes, *, last: bool = False) -> None:
        try:
            if last:
                self._reader.close()
            else:
                self._reader.feed(data)
        except UpstreamFailed as error:
            self.failed = error
