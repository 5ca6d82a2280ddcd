"""Several calls in one stream, one after the other: only chat completions may mix their pieces."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from llmos_lite.core.gateway.translation.neutral import Argued, Called, Failed, Said, Stopped


class CallsInTurn:
    """Lets one call pass at a time; the pieces of others wait until its arguments are whole, or the answer is over.

    A call is told by its number in order: Anthropic counts blocks of text, too, and OpenAI's libraries count calls.
    """

    def __init__(self) -> None:
        self._open: int | None = None
        self._arguments = ""
        self._waiting: dict[int, list[Called | Argued]] = {}
        self._numbers: dict[int, int] = {}

    def take(self, said: Said) -> Iterator[Said]:
        """Take a piece of an answer, and return what may pass now."""
        if isinstance(said, Called | Argued):
            if self._open not in {None, said.at}:
                self._waiting.setdefault(said.at, []).append(said)
                if _is_whole(self._arguments):
                    yield from self._next()
            else:
                yield self._passed(said)
            return
        if isinstance(said, Stopped | Failed):
            while self._waiting:
                yield from self._next()
        yield said

    def _next(self) -> Iterator[Said]:
        self._arguments = ""
        for piece in self._waiting.pop(next(iter(self._waiting))):
            yield self._passed(piece)

    def _passed(self, said: Called | Argued) -> Said:
        self._open = said.at
        if isinstance(said, Argued):
            self._arguments += said.text
        return said._replace(at=self._numbers.setdefault(said.at, len(self._numbers)))


def _is_whole(arguments: str) -> bool:
    try:
        msgspec.json.decode(arguments, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return False
    return True
