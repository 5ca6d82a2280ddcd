"""Chat: skills go into the context, the model answers, and the trace is durable before the answer is given."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field

from llmos_lite.core.accounts.accounts import Accounts, unknown_team
from llmos_lite.core.accounts.permissions import Actor, Verb, allowed, permit
from llmos_lite.core.chat.assignment import Assignment, TreatAll
from llmos_lite.core.chat.choice import Choice, Chooser
from llmos_lite.core.chat.conversation import Conversation
from llmos_lite.core.chat.messages import (
    MOST_SKILLS,
    ChatDelta,
    ChatEvent,
    ChatFailed,
    ChatInput,
    ChatResult,
    ChatStarted,
    Usage,
)
from llmos_lite.core.limits import Limits, Reservation
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.trace import GOAL_LENGTH, Ended, Message, Share, Trace, make_ulid, now_ms
from llmos_lite.engines.llm import ChatRequest, Completion, Delta, LanguageModel, Piece
from llmos_lite.errors import Conflict, Invalid, LlmosError, UpstreamFailed
from llmos_lite.observability import Metrics
from llmos_lite.volumes.access import VolumeKind, VolumeRef

log = logging.getLogger("llmos.chat")


@dataclass(slots=True)
class _Turn:
    """One message on its way to its answer."""

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
    completion: Completion | None = None
    reservation: Reservation | None = None

    @property
    def text(self) -> str:
        """Return the answer as far as it came."""
        return self.completion.text if self.completion else "".join(self.texts)

    def take(self, piece: Piece) -> ChatDelta | None:
        """Keep a piece of the answer; return what the client gets of it."""
        if isinstance(piece, Delta):
            self.texts.append(piece.text)
            return ChatDelta(piece.text)
        if isinstance(piece, Completion):
            self.completion = piece
        return None

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


class ChatService:
    """Chats with skills in the context.

    Args:
        skills: where skills come from.
        traces: where traces go.
        accounts: the settings of people.
        model: what answers.
        metrics: what is counted.
        max_skills: most skills in a context that does not say otherwise.
        skill_tokens: most tokens of skills in one context.
        assignment: who gets a skill and who is control; by default everybody gets it.
        limits: how much may be used; None for no limit.
    """

    def __init__(
        self,
        skills: SkillsManager,
        traces: TraceLog,
        accounts: Accounts,
        model: LanguageModel,
        *,
        metrics: Metrics | None = None,
        max_skills: int = 3,
        skill_tokens: int = 4000,
        assignment: Assignment | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._traces, self._accounts, self._model = traces, accounts, model
        self._metrics, self._limits = metrics or Metrics(), limits
        self._max_skills = max_skills
        self._chooser = Chooser(skills, assignment or TreatAll(), budget_tokens=skill_tokens)
        self._busy: set[tuple[str, str]] = set()
        self._keeping: set[asyncio.Task[None]] = set()

    async def chat(self, actor: Actor, given: ChatInput) -> ChatResult:
        """Return the answer to a message, once its trace is durable.

        Raises:
            Invalid: `chat.empty` or `chat.max_skills`.
            NotFound: `team.unknown` or `conversation.unknown`.
            Conflict: `conversation.busy`, while another message of the conversation is answered.
            UpstreamFailed: the model failed; `detail["trace_id"]` is the trace that says so.
        """
        async with aclosing(self.stream(actor, given)) as events:
            async for event in events:
                if isinstance(event, ChatFailed):
                    raise event.error
                if isinstance(event, ChatResult):
                    return event
        raise AssertionError("a stream ends with a result or an error")

    async def stream(self, actor: Actor, given: ChatInput) -> AsyncGenerator[ChatEvent, None]:
        """Yield the start, the answer piece by piece, and the result once its trace is durable (or the failure).

        Closing the iterator, or cancelling the task that waits for it, ends the request to the model; the trace then
        says `aborted` and keeps the text that came.

        Raises:
            LlmosError: before the first event, as `chat`.
        """
        permit(actor, Verb.CHAT, actor.volume)
        _check(actor, given)
        conversation_id = make_ulid(now_ms()) if given.conversation_id is None else given.conversation_id
        counted = self._limits.request(actor) if self._limits else nullcontext()
        async with counted, self._held(actor, conversation_id):
            turn = await self._begun(actor, given, await self._conversation(actor, conversation_id, given))
            try:
                yield ChatStarted(
                    conversation_id=turn.shown_conversation, trace_id=turn.shown_trace, skills_used=turn.choice.used
                )
                with self._translated():
                    async with aclosing(self._model.stream(_request(turn))) as pieces:
                        async for piece in pieces:
                            if delta := turn.take(piece):
                                yield delta
                turn.check_whole()
            except LlmosError as error:
                await self._keep(turn, Ended.ERROR, error.code)
                yield _failed(turn, error)
                return
            except BaseException:  # the client went away, or the server stops
                await self._keep_aborted(turn)
                raise
            await self._keep(turn, Ended.COMPLETE)
            yield _result(turn)

    async def close(self) -> None:
        """Wait for the traces that are on their way into the journal."""
        await asyncio.gather(*self._keeping, return_exceptions=True)

    # -- before the model -------------------------------------------------------------------------------------------

    async def _conversation(self, actor: Actor, key: str, given: ChatInput) -> Conversation:
        if given.conversation_id is None:
            return Conversation(key)
        return Conversation.of(key, await self._traces.conversation(actor, key))

    @asynccontextmanager
    async def _held(self, actor: Actor, conversation_id: str) -> AsyncIterator[None]:
        """Let one message at a time into a conversation, since each answer is part of the next question."""
        key = (actor.user_id, conversation_id)
        if key in self._busy:
            raise Conflict(
                "conversation.busy",
                "Another message of this conversation is still being answered.",
                hint="Wait for its answer, or begin another conversation.",
            )
        self._busy.add(key)
        try:
            yield
        finally:
            self._busy.discard(key)

    async def _begun(self, actor: Actor, given: ChatInput, talk: Conversation) -> _Turn:
        started, clock = now_ms(), time.perf_counter()
        account = await self._accounts.account(actor.user_id)
        limit = self._max_skills if given.max_skills is None else given.max_skills
        choice = await self._chooser.choose(actor, given.message, given.team_id, limit, talk)
        turn = _Turn(
            actor=actor,
            given=given,
            conversation=talk,
            choice=choice,
            trace_id=make_ulid(started),
            share=Share(account.share) if given.team_id else Share.NONE,
            recorded=given.record and account.record,
            started=started,
            clock=clock,
        )
        if self._limits:
            tokens = _most_tokens(turn)
            turn.reservation = await self._limits.reserve(actor, given.team_id, tokens, model=self._model.name)
        return turn

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what a plugged-in model may raise into a failure of the model."""
        try:
            yield
        except LlmosError:
            raise
        except Exception as error:
            log.exception("the model %s broke", self._model.name)
            raise UpstreamFailed("model.failed", f"The model's adapter broke: {type(error).__name__}.") from error

    # -- after the model --------------------------------------------------------------------------------------------

    async def _keep(self, turn: _Turn, ended: Ended, error: str = "") -> None:
        """Make the trace durable; a client that goes away meanwhile does not stop it."""
        _settle(turn, ended)
        if turn.recorded:
            trace = _trace(turn, self._model.name, ended, error)
            task = asyncio.ensure_future(self._traces.record(trace))
            self._keeping.add(task)
            task.add_done_callback(self._keeping.discard)
            await asyncio.shield(task)
        self._metrics.chat(
            ended, time.perf_counter() - turn.clock, skills=len(turn.choice.used), recorded=turn.recorded
        )

    async def _keep_aborted(self, turn: _Turn) -> None:
        """Keep what came before the client went away; nobody is left to be told when that fails."""
        try:
            await self._keep(turn, Ended.ABORTED)
        except LlmosError as error:
            log.warning("an aborted chat of %s was not kept: %s", turn.actor.user_id, error.message)


def _check(actor: Actor, given: ChatInput) -> None:
    if not given.message.strip():
        raise Invalid("chat.empty", "The message is empty.", hint="Say something.")
    if given.max_skills is not None and not 0 <= given.max_skills <= MOST_SKILLS:
        raise Invalid("chat.max_skills", f"max_skills is a number from 0 to {MOST_SKILLS}.")
    team = given.team_id
    if team is not None and not (team in actor.teams and allowed(actor, Verb.CHAT, VolumeRef(VolumeKind.TEAM, team))):
        raise unknown_team(team)


def _request(turn: _Turn) -> ChatRequest:
    return ChatRequest(
        messages=[*turn.conversation.messages, {"role": "user", "content": turn.given.message}],
        system=turn.choice.system,
        max_tokens=turn.reservation.answer if turn.reservation and turn.reservation.bounded else None,
    )


def _most_tokens(turn: _Turn) -> int:
    """Return more tokens than a question has: English has one for four bytes, and hardly any text one for two."""
    texts = [turn.choice.system, turn.given.message, *(message["content"] for message in turn.conversation.messages)]
    return sum((len(text) if text.isascii() else len(text.encode())) // 2 + 8 for text in texts)


def _settle(turn: _Turn, ended: Ended) -> None:
    """Count what was used: as the provider says, else by the length of the texts; a model that failed cost nothing."""
    if turn.reservation is None:
        return
    done = turn.completion
    used = done.tokens_in if done else 0, done.tokens_out if done else 0
    if not any(used) and (turn.text or ended is Ended.ABORTED):
        used = _most_tokens(turn) // 2, len(turn.text.encode()) // 4
    turn.reservation.settle(*used, model=done.model if done else "")


def _trace(turn: _Turn, model: str, ended: Ended, error: str) -> Trace:
    messages = [Message("user", turn.given.message)]
    if turn.text:
        messages.append(Message("assistant", turn.text))
    done = turn.completion
    return Trace(
        id=turn.trace_id,
        actor=turn.actor.user_id,
        volume=str(turn.actor.volume),
        conversation=turn.conversation.id,
        parent=turn.conversation.parent,
        time=turn.started,
        goal=turn.given.message.strip()[:GOAL_LENGTH],
        messages=tuple(messages),
        model=done.model if done else model,
        tokens_in=done.tokens_in if done else 0,
        tokens_out=done.tokens_out if done else 0,
        latency_ms=round((time.perf_counter() - turn.clock) * 1000),
        ended=ended,
        error=error,
        skills_used=turn.choice.used,
        exposures=turn.choice.exposures,
        commits=dict(turn.choice.commits),
        team=turn.given.team_id or "",
        share=turn.share,
    )


def _result(turn: _Turn) -> ChatResult:
    done = turn.completion or Completion(text=turn.text, model="")
    return ChatResult(
        response=done.text,
        skills_used=turn.choice.used,
        trace_id=turn.shown_trace,
        conversation_id=turn.shown_conversation,
        usage=Usage(done.tokens_in, done.tokens_out),
        model=done.model,
        recorded=turn.recorded,
    )


def _failed(turn: _Turn, error: LlmosError) -> ChatFailed:
    error.detail |= {"trace_id": turn.shown_trace, "conversation_id": turn.shown_conversation}
    return ChatFailed(error=error, conversation_id=turn.shown_conversation, trace_id=turn.shown_trace)
