"""Two processes that ask each other over a pipe: one line of JSON for each question and each answer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from llmos_lite.errors import LlmosError, Unavailable

Answer = Callable[[str, Sequence[str]], Awaitable[Sequence[str]]]
"""Answers a question (its name, its words); what it raises is what the other side's `ask` raises."""


GONE = "peer.gone"


class _Line(msgspec.Struct):
    """A question when `what` is set, else an answer to the question of that number; `code` is set when it failed."""

    number: int
    what: str = ""
    words: list[str] = []
    code: str = ""


class Peer:
    """One end of the pipes.

    Args:
        reader: what the other process writes.
        write: writes to it.
        answer: answers its questions, several at a time.
        gone: is called when the other process has ended, before anything else hears of it.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        write: Callable[[bytes], object],
        answer: Answer,
        gone: Callable[[], None] = lambda: None,
    ) -> None:
        self._reader, self._write, self._answer, self._ended = reader, write, answer, gone
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[list[str]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone = False

    async def ask(self, what: str, *words: str) -> list[str]:
        """Return the answer to a question.

        Raises:
            Unavailable: `peer.gone`, when the other process is, or what it said.
        """
        if self._gone:
            raise _gone()
        number = next(self._numbers)
        answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self._send(_Line(number, what, list(words)))
        try:
            return await answer
        finally:
            del self._asked[number]

    async def listen(self) -> None:
        """Answer and hear answers until the other process ends; what was still being answered is cancelled then."""
        while line := await self._reader.readline():
            self._hear(msgspec.json.decode(line, type=_Line))
        self._ended()
        self._gone = True
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(_gone())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hear(self, line: _Line) -> None:
        if line.what:
            task = asyncio.create_task(self._answered(line))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif (answer := self._asked.get(line.number)) is not None and not answer.done():
            if line.code:
                answer.set_exception(Unavailable(line.code, *line.words))
            else:
                answer.set_result(line.words)

    async def _answered(self, line: _Line) -> None:
        try:
            words = list(await self._answer(line.what, line.words))
        except LlmosError as error:
            self._send(_Line(line.number, code=error.code, words=[error.message]))
        except Exception as error:  # noqa: BLE001 - the other side says it
            self._send(_Line(line.number, code="internal", words=[f"{type(error).__name__}: {error}"]))
        else:
            self._send(_Line(line.number, words=words))

    def _send(self, line: _Line) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `listen` hears that it is gone
            self._write(msgspec.json.encode(line) + b"\n")


def _gone() -> Unavailable:
    return Unavailable(GONE, "The process beside this one has ended.")
