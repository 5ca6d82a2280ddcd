"""One message on its way to its answer: what was said so far, what it cost, and the trace of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.chat.calls import HandedCall, offered, told_apart
from llmos_lite.core.chat.chosen import Choice
from llmos_lite.core.chat.conversation import Conversation
from llmos_lite.core.chat.messages import ChatDelta, ChatFailed, ChatInput, ChatResult, ChatTool, Usage
from llmos_lite.core.chat.tools import LONGEST_ARGUMENTS, Round, Step, ToolDone, ToolResult
from llmos_lite.core.limits import Reservation
from llmos_lite.core.telemetry.model_span import ModelSpan
from llmos_lite.core.toolservers.box import ServerTools, ToolProblem
from llmos_lite.core.traces.trace import GOAL_LENGTH, Ended, Message, Share, ToolCall, Trace
from llmos_lite.engines.llm import ChatMessage, ChatRequest, Completion, Delta, Piece, Tool
from llmos_lite.errors import LlmosError, UpstreamFailed
from llmos_lite.observability import Served

KEPT = 2000
"""Characters of the arguments and of the result of a call that are shown and kept."""
DIALECT = "llmos"
"""What `POST /chat` is called where the dialects of clients are."""
Said: TypeAlias = Piece | Step
"""What comes of a model alone, or of one with tools."""


@dataclass(slots=True)
class Turn:
    """One message on its way to its answer.

    Args:
        actor: who says it.
        given: the message.
        conversation: what was before it.
        choice: the skills.
        trace_id: of its trace, when there will be one.
        share: what the team gets of it.
        recorded: whether it is kept.
        started: when (milliseconds).
        clock: the same on the performance counter.

    Attributes:
        texts: the answer as far as it came.
        calls: of tools, answered.
        completion: the last answer of the model; None while it is on its way.
        reservation: what is set aside for the request that is on its way.
        answers: what the caller's message says of the calls before it.
        outside: tools of servers.
        ran: what those calls gave that a person allowed, now or before, by their ids.
        tokens_in: of all requests, as the provider counts them.
        tokens_out: of their answers, likewise.
        guessed: the same by length, of those that nobody counted.
    """

    actor: Actor
    given: ChatInput
    conversation: Conversation
    choice: Choice
    trace_id: str
    share: Share
    recorded: bool
    started: int
    clock: float
    texts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    completion: Completion | None = None
    reservation: Reservation | None = None
    answers: Sequence[ChatMessage] = ()
    outside: ServerTools | None = None
    ran: dict[str, ToolResult] = field(default_factory=dict)
    tool_problems: Sequence[ToolProblem] = ()
    straight: Callable[[str], bool] | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    guessed: tuple[int, int] = (0, 0)
    _rounds: int = 0
    _begun: int = 0
    _following: ChatRequest | None = None

    @property
    def text(self) -> str:
        """Return the answer as far as it came."""
        return self.completion.text if self.completion and self._rounds == 1 else "".join(self.texts)

    @property
    def request(self) -> ChatRequest:
        """Return the request that is sent now."""
        if self._following is not None:
            return self._following
        said = [*self.conversation.messages, *self.answers]
        if self.given.message:
            said.append({"role": "user", "content": self.given.message})
        tools = [*offered(self.given.tools), *(self.outside.asking if self.outside else ())]
        return ChatRequest(
            messages=said,
            system=self.choice.system,
            tools=tools,
            tool_choice=self.given.tool_choice if tools else "auto",
            max_tokens=self.reservation.answer if self.reservation and self.reservation.bounded else None,
            straight=self.took,
        )

    def took(self, text: str) -> bool:
        """Let a piece of the answer go to the client at once, when it can."""
        if self.straight is None or not self.straight(text):
            return False
        self.texts.append(text)
        return True

    def take(self, said: Said) -> ChatDelta | ChatTool | None:
        """Keep what came; return what the client gets of it."""
        if isinstance(said, Delta):
            self.texts.append(said.text)
            return ChatDelta(said.text)
        if isinstance(said, ToolDone):
            return self._called(said)
        if isinstance(said, Round):
            self._answered(said.completion, said.following)
        elif isinstance(said, Completion):
            self._answered(said, None)
        return None

    def _answered(self, completion: Completion, following: ChatRequest | None) -> None:
        self._rounds += 1
        self.tokens_in += completion.tokens_in
        self.tokens_out += completion.tokens_out
        self.completion = completion
        if following is not None:
            self.settle(Ended.COMPLETE)
            self.completion, self._following, self._begun = None, following, len(self.texts)

    def _called(self, done: ToolDone) -> ChatTool:
        call, result = done.call, done.result
        kept = ToolCall(
            name=call.name[:64],
            arguments=_short(call.arguments),
            result=_short(result.note or result.content),
            is_error=result.is_error,
            id=call.id[:64],
        )
        self.calls.append(kept)
        return ChatTool(
            id=kept.id, name=kept.name, arguments=kept.arguments, result=kept.result, is_error=kept.is_error
        )

    @property
    def handed(self) -> tuple[HandedCall, ...]:
        """Return the calls that are for the caller."""
        if self.completion is None:
            return ()
        calls = self.completion.tool_calls
        ids = told_apart([call.id for call in calls])
        return tuple(
            HandedCall(name, call.name[:64], _whole(call.arguments), self.waits(call.name))
            for name, call in zip(ids, calls, strict=True)
        )

    def waits(self, name: str) -> bool:
        """Tell whether a call of this name waits for the person's leave."""
        return self.outside is not None and self.outside.waits(name)

    @property
    def goal(self) -> str:
        """Return what the person wants: what the message says, or what the one before said that it answers."""
        return self.given.message.strip() or self.conversation.goal

    @property
    def goes_on(self) -> bool:
        """Tell whether a request of a further round is about to be sent."""
        return self._following is not None and self.completion is None and self._begun == len(self.texts)

    @property
    def has_begun(self) -> bool:
        """Tell whether the model said or called anything yet."""
        return bool(self.texts) or self._rounds > 0

    def check_whole(self) -> None:
        """Raise unless the answer came to its end.

        Raises:
            UpstreamFailed: `model.cut`.
        """
        if self.completion is None:
            raise UpstreamFailed("model.cut", "The model's answer ends in the middle.", hint="Try again.")

    @property
    def shown_conversation(self) -> str | None:
        """Return the conversation, unless nothing will be known of it."""
        return self.conversation.id if self.recorded or self.conversation.parent else None

    @property
    def shown_trace(self) -> str | None:
        """Return the trace's id, unless there will be none."""
        return self.trace_id if self.recorded else None

    def settle(self, ended: Ended) -> None:
        """Count what the request used: as the provider says, else by its length; a model that failed cost nothing."""
        if self.reservation is None:
            return
        done = self.completion
        used = done.tokens_in if done else 0, done.tokens_out if done else 0
        if not any(used) and ((size := self._size()) or ended is Ended.ABORTED):
            used = most_tokens(self.request) // 2, size // 4
            self.guessed = self.guessed[0] + used[0], self.guessed[1] + used[1]
        self.reservation.settle(*used, model=done.model if done else "")
        self.reservation = None

    def _size(self) -> int:
        """Return the bytes of what the last request gave, as far as it came."""
        done = self.completion
        said = "".join(self.texts[self._begun :]) or (done.text if done else "")
        calls = done.tool_calls if done else ()
        return len(said.encode()) + sum(len(call.name) + len(call.arguments) for call in calls)

    def served(self, model: str, ended: Ended, error: str, seconds: float) -> Served:
        """Return the figures of it; `model` is the name of the one that was asked."""
        return Served(
            DIALECT,
            model,
            ended,
            seconds,
            tokens_in=self.tokens_in + self.guessed[0],
            tokens_out=self.tokens_out + self.guessed[1],
            skills=len(self.choice.used),
            error=error,
            recorded=self.recorded,
        )

    def span(self, model: str, ended: Ended, error: str, seconds: float) -> ModelSpan:
        """Return the span of it; `model` is the name of the one that was asked."""
        done = self.completion
        return ModelSpan(
            self.trace_id,
            self.given.traceparent,
            self.started,
            seconds,
            "",
            "",
            model,
            done.model if done else "",
            self.tokens_in + self.guessed[0],
            self.tokens_out + self.guessed[1],
            done.finish if done else "",
            self.conversation.id,
            self.choice.used,
            DIALECT,
            ended.value,
            error,
            estimated=any(self.guessed),
        )

    def trace(self, model: str, ended: Ended, error: str) -> Trace:
        """Return the record of it; `model` is the name of the one that was asked."""
        handed = (ToolCall(one.name, one.arguments, id=one.id, handed=True) for one in self.handed)
        messages = [
            Message("tool", said["content"], tool_call_id=said.get("tool_call_id", "")) for said in self.answers
        ]
        if self.given.message:
            messages.append(Message("user", self.given.message))
        if text := self.text:
            messages.append(Message("assistant", text))
        return Trace(
            id=self.trace_id,
            actor=self.actor.user_id,
            volume=str(self.actor.volume),
            conversation=self.conversation.id,
            parent=self.conversation.parent,
            time=self.started,
            goal=self.goal[:GOAL_LENGTH],
            messages=tuple(messages),
            tool_calls=(*self.calls, *handed),
            model=self.completion.model if self.completion else model,
            tokens_in=self.tokens_in + self.guessed[0],
            tokens_out=self.tokens_out + self.guessed[1],
            tokens_estimated=any(self.guessed),
            latency_ms=round((time.perf_counter() - self.clock) * 1000),
            ended=ended,
            error=error,
            skills_used=self.choice.used,
            exposures=self.choice.exposures,
            offered=self.choice.offered,
            commits=dict(self.choice.commits),
            team=self.given.team_id or "",
            share=self.share,
        )

    def result(self) -> ChatResult:
        """Return the whole answer."""
        return ChatResult(
            response=self.text,
            skills_used=self.choice.used,
            trace_id=self.shown_trace,
            conversation_id=self.shown_conversation,
            usage=Usage(self.tokens_in, self.tokens_out),
            model=self.completion.model if self.completion else "",
            recorded=self.recorded,
            tool_calls=self.handed,
            skills_held=self.choice.held,
            tool_problems=tuple(self.tool_problems),
        )

    def failed(self, error: LlmosError) -> ChatFailed:
        """Return the failure, which names the trace."""
        error.detail |= {"trace_id": self.shown_trace, "conversation_id": self.shown_conversation}
        return ChatFailed(error=error, conversation_id=self.shown_conversation, trace_id=self.shown_trace)


def most_tokens(request: ChatRequest) -> int:
    """Return more tokens than a request has: English has one for four bytes, and hardly any text one for two."""
    texts = [request.system, *(message["content"] for message in request.messages)]
    if request.tools:
        texts += _texts_of_tools(request.tools)
        texts += [call.arguments for message in request.messages for call in message.get("tool_calls", ())]
    return sum((len(text) if text.isascii() else len(text.encode())) // 2 + 8 for text in texts)


def _texts_of_tools(tools: Sequence[Tool]) -> list[str]:
    return [f"{tool.name}{tool.description}{tool.parameters}" for tool in tools]


def _whole(arguments: str) -> str:
    """Return arguments as they are handed over and sent again; nobody pays for huge ones."""
    return arguments if len(arguments) <= LONGEST_ARGUMENTS else "{}"


def _short(text: str) -> str:
    return text if len(text) <= KEPT else text[: KEPT - 1] + "\u2026"
