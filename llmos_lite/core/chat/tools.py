"""A model that calls tools: asked, answered and asked again, until it says something, within bounds.

`converse` knows nothing of chats, skills or people: it is a function over the seam of models, so that any face that has
a request and a box of tools can use it. What the box does not know is handed back to whoever offered it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from msgspec import structs

from llmos_lite.engines.llm import ChatMessage, ChatRequest, Completion, Delta, LanguageModel, Tool, ToolCall
from llmos_lite.errors import LlmosError, UpstreamFailed

log = logging.getLogger("llmos.chat")

LONGEST_ARGUMENTS = 16 << 10
"""Characters; what a tool of ours is asked fits in a fraction of it."""
_NO_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_PAUSE = "\n\n"
"""Between what a model says before it calls a tool and what it says after."""
_NO_MORE = "This tool is not available any more for this message. Answer with what you have."


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back.

    Args:
        content: for the model; somebody else's words in it cannot look like ours.
        is_error: whether the tool could not do it.
        note: what a trace keeps of it, when that is less than `content`.
    """

    content: str
    is_error: bool = False
    note: str = ""


class Toolbox(Protocol):
    """The tools that we answer ourselves."""

    @property
    def tools(self) -> Sequence[Tool]:
        """The tools as they may be called now; asked before each round."""

    def knows(self, name: str) -> bool:
        """Tell whether a tool of this name is one of these."""

    async def run(self, call: ToolCall) -> ToolResult:
        """Answer a call; what goes wrong is a result that says so.

        Raises:
            LlmosError: it becomes such a result, too.
        """


class Boxes:
    """Several toolboxes as one; the first that knows a tool runs it."""

    def __init__(self, boxes: Sequence[Toolbox]) -> None:
        self._boxes = boxes

    @property
    def tools(self) -> Sequence[Tool]:
        """The tools of all."""
        return [tool for box in self._boxes for tool in box.tools]

    def knows(self, name: str) -> bool:
        """Tell whether any has a tool of this name."""
        return any(box.knows(name) for box in self._boxes)

    async def run(self, call: ToolCall) -> ToolResult:
        """Answer a call."""
        return await next(box for box in self._boxes if box.knows(call.name)).run(call)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolBounds:
    """How far a model may go for one message.

    Args:
        rounds: requests to the model that may call tools; one more, which may not, asks for the answer.
        calls: calls that are answered in one round; the others get an error.
        seconds: after which no further round may call tools, and a tool that runs is stopped.
    """

    rounds: int = 8
    calls: int = 16
    seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class ToolDone:
    """A call that was answered."""

    call: ToolCall
    result: ToolResult


@dataclass(frozen=True, slots=True)
class Round:
    """A request to the model that was answered.

    Args:
        completion: the answer.
        following: the request that comes next; None when this was the last. Its calls are then those that the box does
            not know, for whoever offered them.
    """

    completion: Completion
    following: ChatRequest | None = None


Step: TypeAlias = Delta | ToolDone | Round


async def converse(
    model: LanguageModel, request: ChatRequest, box: Toolbox, bounds: ToolBounds
) -> AsyncGenerator[Step, None]:
    """Yield what the model says, what its tools did, and each round when it is over; the last has no `following`.

    Closing the iterator, or cancelling the task that waits for it, ends the request upstream and the tools.

    Args:
        model: one that knows tools.
        request: `tools` are those of the caller, which are not answered here.
        box: the tools that are.
        bounds: how far this goes.

    Raises:
        UpstreamFailed: as the model; `model.no_answer`, when it only calls tools to the end.
    """
    talk = _Talk(request, box, bounds)
    while True:
        done: Completion | None = None
        async with aclosing(_asked(model, talk.asked, pause=talk.spoke)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Delta):
                    yield piece
                else:
                    done = piece
        done = talk.heard(done)
        if talk.is_over(done):
            yield Round(structs.replace(done, tool_calls=()))
            return
        own = [call for call in done.tool_calls if not talk.is_foreign(call)]
        results = await answered(box, own, bounds, talk.deadline)
        for call, result in zip(own, results, strict=True):
            yield ToolDone(call, result)
        if len(own) < len(done.tool_calls):
            yield Round(structs.replace(done, tool_calls=tuple(filter(talk.is_foreign, done.tool_calls))))
            return
        yield Round(done, talk.next(done, results))


class _Talk:
    """Where a conversation with tools stands.

    Attributes:
        asked: the request that is sent next.
        deadline: on the clock of the event loop.
        spoke: whether the model said something already.
    """

    def __init__(self, request: ChatRequest, box: Toolbox, bounds: ToolBounds) -> None:
        self._request, self._box, self._bounds = request, box, bounds
        self._said, self._rounds = list(request.messages), 0
        self.deadline = asyncio.get_running_loop().time() + bounds.seconds
        self.spoke = False
        self.asked = replace(request, tools=[*request.tools, *box.tools])

    def heard(self, done: Completion | None) -> Completion:
        """Take note of an answer.

        Raises:
            UpstreamFailed: `model.cut`, when there is none.
        """
        if done is None:
            raise UpstreamFailed("model.cut", "The model's answer ends in the middle.", hint="Try again.")
        self.spoke = self.spoke or bool(done.text)
        return done

    def is_over(self, done: Completion) -> bool:
        """Tell whether this is the answer: it calls nothing, or nothing that it may call.

        Raises:
            UpstreamFailed: `model.no_answer`.
        """
        if done.tool_calls and self.asked.tool_choice == "none" and not self.spoke:
            raise UpstreamFailed(
                "model.no_answer", "The model called tools to the end and said nothing.", hint="Ask in other words."
            )
        return not done.tool_calls or self.asked.tool_choice == "none"

    def is_foreign(self, call: ToolCall) -> bool:
        """Tell whether a call is for whoever made the request."""
        return not self._box.knows(call.name) and any(tool.name == call.name for tool in self._request.tools)

    def next(self, done: Completion, results: Sequence[ToolResult]) -> ChatRequest:
        """Return the request that tells the results; the last one asks for an answer."""
        self._rounds += 1
        self._said += _messages(done, results)
        late = asyncio.get_running_loop().time() >= self.deadline
        self.asked = replace(
            self._request,
            messages=tuple(self._said),
            tools=[*self._request.tools, *self._box.tools],
            tool_choice="none" if late or self._rounds >= self._bounds.rounds else "auto",
        )
        return self.asked


async def _asked(
    model: LanguageModel, request: ChatRequest, *, pause: bool
) -> AsyncGenerator[Delta | Completion, None]:
    """Yield the answer to one request, with a pause before its text when something was said before."""
    silent, straight = True, request.straight

    def later(text: str) -> bool:
        """Let only the first text come as a piece."""
        return not silent and straight is not None and straight(text)

    async with aclosing(model.stream(replace(request, straight=later))) as pieces:
        async for piece in pieces:
            if isinstance(piece, ToolCall):
                continue
            if silent and piece.text:
                silent = False
                if pause:
                    yield Delta(_PAUSE)
                if isinstance(piece, Completion):  # a plug-in may say all of it at the end
                    yield Delta(piece.text)
            yield piece


async def answered(
    box: Toolbox, calls: Sequence[ToolCall], bounds: ToolBounds, deadline: float
) -> Sequence[ToolResult]:
    """Return the results of calls, which run at once, in their order.

    Args:
        box: runs them.
        calls: what the model asks for; past `bounds.calls` they get an error.
        bounds: how far this goes.
        deadline: on the clock of the event loop, when what still runs is stopped.
    """
    tasks = [asyncio.ensure_future(_run(box, call, deadline)) for call in calls[: bounds.calls]]
    try:
        done = await asyncio.gather(*tasks)
    finally:  # when the client goes away, or one of them breaks
        for task in tasks:
            task.cancel()
    many = ToolResult(f"Only {bounds.calls} calls are answered at once. Call it again.", is_error=True)
    return [*done, *[many] * (len(calls) - len(done))]


async def _run(box: Toolbox, call: ToolCall, deadline: float) -> ToolResult:
    if not box.knows(call.name):
        return ToolResult(f"There is no tool {call.name[:64]!r}.", is_error=True)
    if len(call.arguments) > LONGEST_ARGUMENTS:
        return ToolResult(f"The arguments are longer than {LONGEST_ARGUMENTS:,} characters.", is_error=True)
    try:
        async with asyncio.timeout_at(deadline):
            return await box.run(call)
    except LlmosError as error:
        return ToolResult(error.message, is_error=True)
    except TimeoutError:
        return ToolResult(_NO_MORE, is_error=True)
    except Exception:
        log.exception("the tool %s broke", call.name)
        return ToolResult("The tool broke.", is_error=True)


def _messages(done: Completion, results: Sequence[ToolResult]) -> list[ChatMessage]:
    """Return what the next request says of a round."""
    answers: list[ChatMessage] = [
        {"role": "tool", "content": result.content, "tool_call_id": call.id, "is_error": result.is_error}
        for call, result in zip(done.tool_calls, results, strict=True)
    ]
    return [
        {"role": "assistant", "content": done.text, "tool_calls": list(map(_said_again, done.tool_calls))},
        *answers,
    ]


def _said_again(call: ToolCall) -> ToolCall:
    """Return a call as it can be sent back: providers refuse what is no name, and nobody pays for huge arguments."""
    name = _NO_NAME.sub("_", call.name)[:64] or "unknown"
    return ToolCall(call.id, name, call.arguments if len(call.arguments) <= LONGEST_ARGUMENTS else "{}")
