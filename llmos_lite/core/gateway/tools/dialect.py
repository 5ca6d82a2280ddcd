"""The seam between tools of ours and what a client speaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from llmos_lite.core.chat.tools import ToolResult
from llmos_lite.core.gateway.asked import Asked, Raw
from llmos_lite.engines.llm import Completion, ToolCall

Ours = Callable[[str], bool]
"""Tells whether a name is one of our tools."""


class Wishes(msgspec.Struct, frozen=True):
    """What a request says about tools.

    Args:
        names: of the client's own.
        free: whether the model may call what it likes, or nothing.
        closed: whether there can be no further request behind one answer: several answers are wanted at once, a form
            is prescribed, or the provider keeps the conversation in a place of its own.
    """

    names: Sequence[str] = ()
    free: bool = True
    closed: bool = False


NO_WISHES = Wishes()


class Screen(Protocol):
    """What a client sees of an answer that may take several requests; one for all of them.

    Calls of our tools are left out, and what stands between them and the words before them: thoughts that led to
    nothing else. Numbers and names that the client sees go on from one answer to the next. As long as nothing of ours
    is called, everything passes byte for byte.
    """

    @property
    def answer_id(self) -> str:
        """Return how the client knows the answer, when that is another name than the provider's; else empty."""

    @property
    def number(self) -> int:
        """Return the number of the next event; 0 where events have none."""

    def feed(self, data: bytes) -> bytes:
        """Take whole events of a stream, and return what the client gets of them now; its end is held back.

        Raises:
            UpstreamFailed: `model.garbage`.
        """

    def passes(self, data: bytes) -> bool:
        """Tell whether events that differ from these in their words alone need not be fed; asked after these were."""

    def take(self, body: bytes) -> None:
        """Take an answer that came at once.

        Raises:
            UpstreamFailed: `model.garbage`.
        """

    def items(self, done: Completion) -> list[Raw]:
        """Return the answer as the next request says it again, thoughts and signatures with it."""

    def next(self, done: Completion) -> bytes:
        """Go on to the next answer; return what the client gets before it."""

    def end(self) -> bytes:
        """Return what was held back: the end of a stream, or the whole answer."""


class ToolDialect(Protocol):
    """Tools in one dialect."""

    @property
    def tells_tools(self) -> bool:
        """Tell whether an answer says which tools the model had, ours among them."""

    def wishes(self, asked: Asked) -> Wishes:
        """Return what a request says about tools."""

    def offered(self, asked: Asked) -> Asked:
        """Return a request with our tools behind the client's own, so that these can come from a cache."""

    def silenced(self, asked: Asked) -> Asked:
        """Return a request in which nothing may be called."""

    def results(self, calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> list[Raw]:
        """Return the results of calls as items of a conversation."""

    def extended(self, asked: Asked, items: Sequence[Raw]) -> Asked:
        """Return a request with further items at the end of its conversation."""

    def place(self, asked: Asked, seen: int) -> int:
        """Return where a text stands that the model read before it said what comes after the first `seen` items."""

    def screen(self, ours: Ours) -> Screen:
        """Return a screen for one request."""
