"""Chat: skills go into the context, the model answers, and the trace is durable before the answer is given."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, nullcontext

from llmos_lite.core.accounts.accounts import Accounts, unknown_team
from llmos_lite.core.accounts.permissions import Actor, Verb, allowed, permit
from llmos_lite.core.chat.allowed import AllowedCalls
from llmos_lite.core.chat.assignment import Assignment
from llmos_lite.core.chat.calls import DECLINED, check_results, check_tools, names_ours, said_of
from llmos_lite.core.chat.choice import Chooser
from llmos_lite.core.chat.conversation import Conversation, leads_on
from llmos_lite.core.chat.disclosure import Disclosure
from llmos_lite.core.chat.messages import (
    MOST_SKILLS,
    ChatEvent,
    ChatFailed,
    ChatInput,
    ChatResult,
    ChatStarted,
    ChatTool,
)
from llmos_lite.core.chat.skill_tools import TOOL_TOKENS
from llmos_lite.core.chat.tools import Boxes, ToolBounds, Toolbox, ToolDone, converse
from llmos_lite.core.chat.turn import Said, Turn, most_tokens
from llmos_lite.core.limits import Limits
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.telemetry.model_span import Spans
from llmos_lite.core.toolservers.box import ServerTools
from llmos_lite.core.toolservers.service import ToolServers
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.trace import Ended, Share, Trace, make_ulid, now_ms
from llmos_lite.engines.llm import LanguageModel, knows_tools, unheard
from llmos_lite.errors import Conflict, Invalid, LlmosError, UpstreamFailed
from llmos_lite.observability import Metrics, Seldom
from llmos_lite.volumes.access import VolumeKind, VolumeRef

log = logging.getLogger("llmos.chat")

BOUNDS = ToolBounds()
AGAIN_SECONDS = 3600.0
"""After which a model that refused tools is given some again."""


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
        disclosure: what a model gets of skills, of a chat that does not say otherwise.
        bounds: how far a model may go with tools.
        tool_tokens: most tokens that it reads by tools for one message.
        servers: whose tools a model may call; None for none.
        allowed: runs those of their calls that a person allows; None for none.
        spans: hears of each chat that leaves a trace; None for nobody.
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
        disclosure: Disclosure = Disclosure.AUTO,
        bounds: ToolBounds = BOUNDS,
        tool_tokens: int = TOOL_TOKENS,
        servers: ToolServers | None = None,
        allowed: AllowedCalls | None = None,
        spans: Spans | None = None,
    ) -> None:
        self._traces, self._accounts, self._model = traces, accounts, model
        self._metrics, self._limits, self._spans = metrics or Metrics(), limits, spans
        self._max_skills = max_skills
        self._chooser = Chooser(skills, budget_tokens=skill_tokens, tool_tokens=tool_tokens, assignment=assignment)
        self._disclosure, self._bounds, self._servers = disclosure, bounds, servers
        self._allowed_calls = allowed
        self._log = Seldom(log)
        self._toolless: dict[str, float] = {}
        self._busy: set[tuple[str, str]] = set()

    async def chat(self, actor: Actor, given: ChatInput) -> ChatResult:
        """Return the answer to a message, once its trace is durable.

        Raises:
            Invalid: `chat.empty`, `chat.max_skills`, `chat.tools`, `chat.tool_results`, `chat.no_tools`.
            NotFound: `team.unknown` or `conversation.unknown`.
            Conflict: `conversation.busy`, while another message of the conversation is answered.
            UpstreamFailed: the model failed; `detail["trace_id"]` is the trace that says so.
        """
        async with aclosing(self.stream(actor, given, unheard)) as events:
            async for event in events:
                if isinstance(event, ChatFailed):
                    raise event.error
                if isinstance(event, ChatResult):
                    return event
        raise AssertionError("a stream ends with a result or an error")

    async def stream(
        self, actor: Actor, given: ChatInput, straight: Callable[[str], bool] | None = None
    ) -> AsyncGenerator[ChatEvent, None]:
        """Yield the start, the answer piece by piece, and the result once its trace is durable (or the failure).

        Closing the iterator, or cancelling the task that waits for it, ends the request to the model; the trace then
        says `aborted` and keeps the text that came.

        Args:
            actor: who asks.
            given: what.
            straight: takes a piece of the answer at once, which is then no event; False when it must wait as one.

        Raises:
            LlmosError: before the first event, as `chat`.
        """
        permit(actor, Verb.CHAT, actor.volume)
        _check(actor, given)
        conversation_id = make_ulid(now_ms()) if given.conversation_id is None else given.conversation_id
        counted = self._limits.request(actor) if self._limits else nullcontext()
        async with counted, self._held(actor, conversation_id):
            turn = await self._begun(actor, given, await self._conversation(actor, conversation_id, given))
            turn.straight = straight
            try:
                yield ChatStarted(
                    conversation_id=turn.shown_conversation, trace_id=turn.shown_trace, skills_used=turn.choice.used
                )
                async for done in self._allowed(turn):
                    yield done
                with self._translated():
                    async with aclosing(self._said(turn)) as said:
                        async for piece in said:
                            if event := turn.take(piece):
                                yield event
                            elif turn.goes_on:
                                await self._reserve(turn)
                turn.check_whole()
            except LlmosError as error:
                if isinstance(error, UpstreamFailed) and error.place:
                    self._log.warn(error.place, "%s", error.told)
                await self._keep(turn, Ended.ERROR, error.code)
                yield turn.failed(error)
                return
            except BaseException:  # the client went away, or the server stops
                await self._keep_aborted(turn)
                raise
            await self._keep(turn, Ended.COMPLETE)
            yield turn.result()

    async def close(self) -> None:
        """Wait for the traces that are on their way into the journal, and a moment for calls that still run."""
        if self._allowed_calls is not None:
            await self._allowed_calls.close()
        await self._traces.drain()

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

    async def _begun(self, actor: Actor, given: ChatInput, talk: Conversation) -> Turn:
        started, clock = now_ms(), time.perf_counter()
        account = await self._accounts.account(actor.user_id)
        limit = self._max_skills if given.max_skills is None else given.max_skills
        check_results(talk.handed, given.tool_results)
        self._check_able(given, talk)
        choice = await self._chooser.choose(
            actor, given.message or talk.goal, given.team_id, limit, talk, disclosure=self._disclosed(given)
        )
        outside = await self._outside(actor, given)
        turn = Turn(
            actor=actor,
            given=given,
            conversation=talk,
            choice=choice,
            trace_id=make_ulid(started),
            share=Share(account.share) if given.team_id else Share.NONE,
            recorded=given.record and account.record,
            started=started,
            clock=clock,
            outside=outside if outside is not None and not outside.is_empty else None,
            tool_problems=outside.problems if outside is not None else (),
        )
        if talk.handed_by and self._allowed_calls is not None:
            turn.ran = await self._allowed_calls.before(talk.handed_by)
        turn.answers = said_of(talk.handed, _results(turn))
        await self._reserve(turn)
        return turn

    async def _outside(self, actor: Actor, given: ChatInput) -> ServerTools | None:
        """Return the tools of servers that a chat may call, and which of these have a problem."""
        if self._servers is None or not self._calls_tools():
            return None
        box = await self._servers.box(actor, given.team_id)
        if box is not None and any(box.knows(tool.name) or box.waits(tool.name) for tool in given.tools):
            raise Invalid("chat.tools", "One of the tools has the name of a server's.", hint="Call it something else.")
        return box

    async def _allowed(self, turn: Turn) -> AsyncGenerator[ChatTool, None]:
        """Run the calls before the message that it allows, each once for ever, and yield what they gave."""
        talk, box = turn.conversation, turn.outside
        allowed = {result.id for result in turn.given.tool_results if result.approved}
        calls = [
            call for call in talk.handed if call.id in allowed and turn.waits(call.name) and call.id not in turn.ran
        ]
        if calls and box is not None and self._allowed_calls is not None:
            turn.ran |= await self._allowed_calls.run(
                talk.handed_by, box.allowing(), calls, self._bounds, kept=turn.recorded
            )
            turn.answers = said_of(talk.handed, _results(turn))
            turn.settle(Ended.ERROR)
            await self._reserve(turn)
        for call in talk.handed:
            if call.id in turn.ran and isinstance(event := turn.take(ToolDone(call, turn.ran[call.id])), ChatTool):
                yield event

    def _check_able(self, given: ChatInput, talk: Conversation) -> None:
        """Raise when there are tools, or calls of some, and the model takes none.

        Raises:
            Invalid: `chat.no_tools`.
        """
        if (given.tools or talk.handed) and not knows_tools(self._model):
            raise Invalid(
                "chat.no_tools",
                f"The model {self._model.name} calls no tools.",
                hint="Leave `tools` out, or configure another model.",
            )

    def _disclosed(self, given: ChatInput) -> Disclosure:
        """Return what a model gets of the skills; one without tools cannot ask for more."""
        wanted = given.disclosure or self._disclosure
        if wanted is Disclosure.BODIES or self._bounds.rounds < 1 or names_ours(given.tools):
            return Disclosure.BODIES
        return wanted if self._calls_tools() else Disclosure.BODIES

    def _calls_tools(self) -> bool:
        """Tell whether the model can be given tools."""
        return knows_tools(self._model) and time.monotonic() >= self._toolless.get(self._model.name, 0.0)

    async def _reserve(self, turn: Turn) -> None:
        """Set aside what the next request to the model may need."""
        if self._limits:
            tokens, team = most_tokens(turn.request), turn.given.team_id
            turn.reservation = await self._limits.reserve(turn.actor, team, tokens, model=self._model.name)

    # -- the model --------------------------------------------------------------------------------------------------

    def _said(self, turn: Turn) -> AsyncGenerator[Said, None]:
        boxes: list[Toolbox] = [box for box in (turn.choice.box, turn.outside) if box is not None]
        if not boxes:
            return self._model.stream(turn.request)
        return self._with_tools(turn, boxes[0] if len(boxes) == 1 else Boxes(boxes))

    async def _with_tools(self, turn: Turn, box: Toolbox) -> AsyncGenerator[Said, None]:
        """Yield what a model with tools says; one that refuses them gets the skills as a model without tools does."""
        try:
            async with aclosing(converse(self._model, turn.request, box, self._bounds)) as steps:
                async for step in steps:
                    yield step
        except UpstreamFailed as error:
            if error.code != "model.no_tools" or turn.has_begun or turn.given.tools or turn.conversation.handed:
                raise
            await self._without_tools(turn)
        else:
            return
        async with aclosing(self._model.stream(turn.request)) as pieces:
            async for piece in pieces:
                yield piece

    async def _without_tools(self, turn: Turn) -> None:
        """Choose skills anew for a model that refused tools, and give it none for an hour: then it may be another."""
        log.warning("the model %s takes no tools; for an hour it gets the texts of skills", self._model.name)
        self._toolless[self._model.name] = time.monotonic() + AGAIN_SECONDS
        given, turn.outside = turn.given, None
        limit = self._max_skills if given.max_skills is None else given.max_skills
        turn.choice = await self._chooser.choose(turn.actor, turn.goal, given.team_id, limit, turn.conversation)

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

    async def _keep(self, turn: Turn, ended: Ended, error: str = "") -> None:
        """Make the trace durable; a client that goes away meanwhile does not stop it."""
        turn.settle(ended)
        if turn.recorded:
            trace = turn.trace(self._model.name, ended, error)
            await self._record(turn, trace)
            if turn.ran and leads_on(trace) and self._allowed_calls is not None:
                await self._allowed_calls.settled(turn.conversation.handed_by)
        seconds = time.perf_counter() - turn.clock
        self._metrics.served(turn.served(self._model.name, ended, error, seconds))
        if self._spans is not None and turn.recorded:
            self._spans.add(turn.span(self._model.name, ended, error, seconds))

    async def _record(self, turn: Turn, trace: Trace) -> None:
        try:
            await self._traces.record(trace)
        except LlmosError as failed:
            seconds = time.perf_counter() - turn.clock
            self._metrics.unstored(turn.served(self._model.name, Ended.ERROR, failed.code, seconds))
            raise

    async def _keep_aborted(self, turn: Turn) -> None:
        """Keep what came before the client went away; nobody is left to be told when that fails."""
        try:
            await self._keep(turn, Ended.ABORTED)
        except LlmosError as error:
            log.warning("an aborted chat of %s was not kept: %s", turn.actor.user_id, error.message)


def _results(turn: Turn) -> dict[str, tuple[str, bool]]:
    """Return what the message says of calls, and what those gave that were run: whatever it says of these."""
    found = {}
    names = {call.id: call.name for call in turn.conversation.handed}
    for result in turn.given.tool_results:
        if result.id in turn.ran:
            continue
        if not turn.waits(names[result.id]):
            found[result.id] = (result.content, result.is_error)
        elif not result.approved:
            found[result.id] = (DECLINED, True)
    return found | {call_id: (result.content, result.is_error) for call_id, result in turn.ran.items()}


def _check(actor: Actor, given: ChatInput) -> None:
    check_tools(given.tools, given.tool_choice)
    if not given.message.strip() and not given.tool_results:
        raise Invalid("chat.empty", "The message is empty.", hint="Say something.")
    if given.max_skills is not None and not 0 <= given.max_skills <= MOST_SKILLS:
        raise Invalid("chat.max_skills", f"max_skills is a number from 0 to {MOST_SKILLS}.")
    team = given.team_id
    if team is not None and not (team in actor.teams and allowed(actor, Verb.CHAT, VolumeRef(VolumeKind.TEAM, team))):
        raise unknown_team(team)
