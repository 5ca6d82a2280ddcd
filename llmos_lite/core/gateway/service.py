"""The gateway: a client's request gets the skills that fit, goes to its model, and leaves an honest trace.

The answer passes byte for byte. What ends it waits until its trace is durable.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from msgspec import structs

from llmos_lite.core.accounts.accounts import Accounts, unknown_team
from llmos_lite.core.accounts.permissions import Actor, Verb, allowed, permit
from llmos_lite.core.chat.prompt import NOTHING
from llmos_lite.core.chat.tools import ToolBounds
from llmos_lite.core.gateway.answers import OK, Answers, passed_headers, passed_status
from llmos_lite.core.gateway.asked import Asked, Placed, Raw, Said, encode, fields_of, joined, text_of, written
from llmos_lite.core.gateway.background import Background
from llmos_lite.core.gateway.behind import Behind
from llmos_lite.core.gateway.chains import Chains
from llmos_lite.core.gateway.chat_dialect import ChatDialect
from llmos_lite.core.gateway.context import Contexts, without_skills
from llmos_lite.core.gateway.dialect import Dialect
from llmos_lite.core.gateway.figures import go_on_in_its_trace
from llmos_lite.core.gateway.keeper import Keeper
from llmos_lite.core.gateway.local import no_embeddings
from llmos_lite.core.gateway.messages_dialect import MessagesDialect
from llmos_lite.core.gateway.pieces import Out, Request, Whole
from llmos_lite.core.gateway.reading import LARGEST_ANSWER, read_reply
from llmos_lite.core.gateway.responses_dialect import ResponsesDialect, input_of
from llmos_lite.core.gateway.steering import Steering
from llmos_lite.core.gateway.thread_log import ThreadLog
from llmos_lite.core.gateway.threads import Found, Thread
from llmos_lite.core.gateway.tools.rounds import NoTools, OwnTools, Rounds
from llmos_lite.core.gateway.translation.translator import Translated, translate_request
from llmos_lite.core.gateway.translation.waived import FILES, GiveWayError, Waived
from llmos_lite.core.gateway.turn import Turn, asks_for_itself, fresh, has_no_tools, system_hash, words_in
from llmos_lite.core.limits import Limits
from llmos_lite.core.skills.abstain import is_output
from llmos_lite.core.skills.format import estimate_tokens
from llmos_lite.core.telemetry.model_span import Spans
from llmos_lite.core.traces.importers.base import conversation_id
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.trace import GOAL_LENGTH, Ended, Share, make_ulid, now_ms
from llmos_lite.engines.upstream import Passing, Wire, limit_at, takes_tools
from llmos_lite.engines.upstreams import Route, Sent, Upstreams
from llmos_lite.errors import LlmosError
from llmos_lite.observability import Metrics
from llmos_lite.records.background import BackgroundRows
from llmos_lite.volumes.access import VolumeKind, VolumeRef

BOUNDS = ToolBounds()
_DIALECTS = ("anthropic-", "openai-", "x-stainless-")


class Gateway:
    """Passes requests of clients on.

    Args:
        contexts: put skills into conversations.
        traces: where traces go.
        accounts: the settings of people.
        upstreams: the model servers.
        limits: how much may be used; None for no limit.
        background: rows of answers that are made behind their requests.
        bounds: how far a model may go with tools of ours.
        metrics: what is counted.
        spans: hears of each request that leaves a trace; None for nobody.
        thread_log: keeps conversations over a restart; None for memory alone.

    Attributes:
        behind: passes on what is asked about answers that are made in the background.
    """

    def __init__(
        self,
        contexts: Contexts,
        traces: TraceLog,
        accounts: Accounts,
        upstreams: Upstreams,
        *,
        limits: Limits,
        background: BackgroundRows,
        bounds: ToolBounds = BOUNDS,
        metrics: Metrics | None = None,
        spans: Spans | None = None,
        thread_log: ThreadLog | None = None,
    ) -> None:
        self._goes_on = spans is not None
        self._contexts, self._accounts, self._upstreams = contexts, accounts, upstreams
        self._limits, self._tools, self._waived = limits, OwnTools(bounds), Waived()
        dialects: list[Dialect] = [ChatDialect(), ResponsesDialect(), MessagesDialect()]
        self.dialects: Mapping[Wire, Dialect] = {dialect.wire: dialect for dialect in dialects}
        counted = metrics or Metrics()
        self._keeper = Keeper(traces, counted, spans, thread_log)
        self._chains = Chains()
        self._background = Background(background, traces, accounts, limits, counted)
        self.behind = Behind(self._background, upstreams, limits)
        self._answers = Answers(self.dialects, self._keeper, contexts, self._background)

    async def pass_on(self, actor: Actor, wire: Wire, request: Request, out: Out) -> None:
        """Hand the answer out, whole or its head and then its bytes; the last of them when the trace is durable.

        Cancelling the task that waits for it ends the request to the model.

        Raises:
            LlmosError: before the head, for whatever keeps the request from being answered.
        """
        if not actor.chats:
            permit(actor, Verb.CHAT, actor.volume)
        steering, asked = request.steering(), self.dialects[wire].read(request.body)
        if steering.team:
            _check_team(actor, steering.team)
        async with self._limits.request(actor):
            turn = await self._begun(actor, self.dialects[wire], steering, asked)
            turn.request_id, turn.straight = request.id, request.straight
            if self._goes_on:
                go_on_in_its_trace(turn)
            await self._reserve(turn, len(request.body) + len(turn.thread.head))
            try:
                made = partial(_passing, turn, request, self._waived)
                while True:
                    try:
                        sent = await self._upstreams.send(asked.model, wire, made)
                        try:
                            turn.note_answer()
                            self._learn(turn, sent)
                            await self._answers.answered(turn, sent, out)
                        finally:
                            await sent.reply.end()
                    except (NoTools, GiveWayError) as refused:
                        await self._give_way(turn, refused)
                        continue
                    if turn.kept or turn.rounds is None or not turn.rounds.follows:
                        break
                    await self._go_on(turn, turn.rounds)
            except LlmosError as error:
                await self._keeper.keep(turn, Ended.ERROR, error.code)
                if not out.begun:
                    error.detail["trace_id"] = turn.trace_id if turn.recorded else None
                    raise
                await out(turn.dialect.problem_event(error, request.id, turn.told))
            except BaseException as error:  # a mistake of ours; or the client went away, or the server stops
                await self._keeper.broken_off(turn, error)
                raise

    async def plain(self, actor: Actor, path: str, request: Request, out: Out) -> None:
        """Pass a request on that no skill is for and that leaves no trace, such as for embeddings; see `pass_on`.

        Args:
            actor: who asks.
            path: below the base URL of a server that speaks chat completions.
            request: what was sent.
            out: takes the answer.

        Raises:
            Invalid: `model.no_embeddings`, when whoever has the model does not speak OpenAI's API.
        """
        permit(actor, Verb.CHAT, actor.volume)
        steering, fields = request.steering(), fields_of(request.body)
        model = text_of(fields.get("model"))

        def made(route: Route) -> Passing:
            if route.wire is Wire.MESSAGES:
                raise no_embeddings(f"the provider {route.upstream.name}")
            body = request.body if route.model == model else encode(fields | {"model": Raw(encode(route.model))})
            return Passing(path=path, body=body, headers=steering.passed, own_key=steering.own_key)

        async with self._limits.request(actor):
            tokens = len(request.body) // 3
            reservation = await self._limits.reserve(actor, steering.team or None, tokens, tokens_out=1, model=model)
            spent = 0
            try:
                async with (await self._upstreams.send(model, Wire.CHAT, made)).reply as reply:
                    body = await read_reply(reply, LARGEST_ANSWER)
                    spent = len(request.body) // 4 if reply.status == OK else 0
                    await out(Whole(passed_status(reply), passed_headers(reply), body))
            finally:
                reservation.settle(spent, 0)

    async def count_tokens(self, actor: Actor, request: Request) -> bytes:
        """Return about how many tokens a request of the Messages API has: no server is asked, nothing is kept.

        Raises:
            Invalid: `request.not_json`, `request.invalid`.
        """
        permit(actor, Verb.CHAT, actor.volume)
        await self._limits.hit(actor)
        asked = self.dialects[Wire.MESSAGES].read(request.body)
        texts = [asked.system, *(said.text for said in self.dialects[Wire.MESSAGES].said(asked.items))]
        tools = bytes(asked.fields.get("tools", Raw(b""))).decode("utf-8", "replace")
        count = sum(map(estimate_tokens, texts)) + estimate_tokens(tools) + 4 * len(asked.items)
        return encode({"input_tokens": count})

    async def forget(self, trace_ids: Collection[str]) -> None:
        """Forget traces that go.

        Raises:
            StorageFailed: they are still on the disk.
        """
        self._chains.forget()
        await self._keeper.forget(trace_ids)
        await self._background.forget(trace_ids)

    async def close(self) -> None:
        """Wait for the traces that are on their way into the journal."""
        await self._keeper.close()

    # -- before the model -------------------------------------------------------------------------------------------

    async def _begun(self, actor: Actor, dialect: Dialect, steering: Steering, asked: Asked) -> Turn:
        started, clock = now_ms(), time.perf_counter()
        account = await self._accounts.account(actor.user_id)
        who = f"{actor.user_id}\0{steering.team}".encode()
        start = b"%b\0%b" % (who, asked.after.encode()) if asked.after else who
        chain = self._chains.of(asked.items, start, dialect.stable)
        found = self._keeper.find(actor, chain, who, asked.after)
        said = dialect.said(asked.items[found.seen :])
        if found.thread is None and not self._keeper.knows_all and (asked.after or _goes_on(said)):
            await self._keeper.recall()
            found = self._keeper.find(actor, chain, who, asked.after)
            said = dialect.said(asked.items[found.seen :])
        named = _named(steering, asked)
        if not asked.after and found.may_be_another(named):
            every = dialect.said(asked.items)
            if found.begins or not _goes_on(every):
                found, said = Found(), every
        new = fresh(found, said) if found.thread is not None else said
        words = words_in(new)
        side = asks_for_itself(asked, new)
        if side and found.thread is not None and is_output(words):
            side, words = False, ""
        thread = self._thread(found, dialect.wire, named, asked, words)
        if thread.goal_of and not thread.goal:
            thread = structs.replace(thread, goal=await self._keeper.goal(thread.goal_of))
        if side or (dialect.wire is Wire.MESSAGES and not asked.items):
            if steering.skills == () or (side and not _has_its_beginning(asked, found)):
                thread = without_skills(thread)
        else:
            may_call = partial(self._tools.may_begin, dialect.wire, asked)
            at_end = bool(said) and said[-1].role != "system"
            place = len(asked.items) - 1 if at_end else _place(asked, dialect)
            thread = await self._contexts.extended(actor, thread, words, steering, place, may_call=may_call)
            if asked.after and found.thread is None and thread.head.pieces and dialect.wire is Wire.MESSAGES:
                thread = structs.replace(thread, head=NOTHING, later=(Placed(place, thread.head.text), *thread.later))
        rounds = None
        if thread.tools:
            begins = found.thread is None or not found.thread.tools
            rounds = self._tools.rounds(dialect.wire, _owing(asked, found), begins=begins)
        return Turn(
            actor=actor,
            dialect=dialect,
            steering=steering,
            asked=asked,
            links=chain,
            found=found,
            new=new,
            side=side,
            trace_id=make_ulid(started),
            thread=thread,
            share=Share(account.share) if steering.team else Share.NONE,
            recorded=steering.record and account.record,
            started=started,
            clock=clock,
            rounds=rounds,
        )

    async def _reserve(self, turn: Turn, size: int) -> None:
        """Set aside what the next request to the model may need."""
        turn.question = size
        turn.reservation = await self._limits.reserve(
            turn.actor,
            turn.steering.team or None,
            size // 3,
            tokens_out=turn.asked.most_tokens,
            model=turn.asked.model,
        )

    async def _go_on(self, turn: Turn, rounds: Rounds) -> None:
        """Prepare the further request of an answer that called tools of ours."""
        turn.settle(Ended.COMPLETE)
        turn.completion = turn.reading = turn.reservation = None
        await self._reserve(turn, sum(map(len, map(bytes, rounds.asked.fields.values()))) + len(turn.thread.head))

    async def _without_tools(self, turn: Turn) -> None:
        """Choose skills anew for a model that takes no tools."""
        asked, turn.rounds = turn.asked, None
        self._tools.note_refusal(asked.model)
        if turn.side:  # a model that is another has nothing of the conversation in its cache
            turn.thread = without_skills(turn.thread)
            return
        thread = self._thread(turn.found, turn.dialect.wire, _named(turn.steering, asked), asked, turn.words)
        thread = structs.replace(thread, tools=False)
        turn.thread = await self._contexts.extended(
            turn.actor, thread, turn.words, turn.steering, _place(asked, turn.dialect)
        )

    async def _give_way(self, turn: Turn, refused: NoTools | GiveWayError) -> None:
        """Let a model have the request without what it refused: our tools, a word for how hard to think, files."""
        if isinstance(refused, NoTools):
            await self._without_tools(turn)
            return
        turn.refused_by, turn.retries = turn.route, turn.retries + 1
        if refused.word == FILES and turn.translated is not None:
            turn.hidden = turn.translated.files
        else:
            turn.without |= {refused.word}

    def _learn(self, turn: Turn, sent: Sent) -> None:
        """Know what a model refused, once it takes the same request without: else that was not why."""
        if (refused_by := turn.refused_by) is None or sent.reply.status != OK:
            return
        turn.refused_by = None
        if turn.route == refused_by:
            server, model = refused_by.upstream.name, refused_by.model
            self._waived.note(server, model, turn.without)
            self._waived.note_files(server, model, turn.thread.conversation, turn.hidden)

    def _thread(self, found: Found, wire: Wire, named: str, asked: Asked, words: str) -> Thread:
        """Return the conversation as the request finds it; `named` as the client calls it, if it does."""
        before, goal = found.thread, words[:GOAL_LENGTH]
        if before is None:
            return Thread(
                conversation=named or make_ulid(now_ms()),
                goal=goal,
                system=system_hash(asked.system),
                armed=not has_no_tools(asked),
            )
        read: list[Placed] = []
        if not (found.again or asked.after):
            read = [Placed(self._tools.place(wire, asked, found.seen), text) for text in before.read]
        return Thread(
            conversation=named or before.conversation,
            parent=before.parent if found.again else before.trace_id,
            goal=goal or before.goal,
            goal_of="" if words else before.goal_of or before.trace_id,
            head=before.head,
            later=() if asked.after else (*before.later, *read),
            skills=before.skills,
            exposures=before.exposures,
            commits=before.commits,
            system=system_hash(asked.system),
            tools=before.tools,
            armed=not has_no_tools(asked),
            offered=before.offered,
            searched=before.searched,
            read=before.read if found.again else (),
        )


def _check_team(actor: Actor, team: str) -> None:
    if not (team in actor.teams and allowed(actor, Verb.CHAT, VolumeRef(VolumeKind.TEAM, team))):
        raise unknown_team(team)


def _named(steering: Steering, asked: Asked) -> str:
    """Return what the client calls the conversation; empty when it does not say."""
    return steering.conversation or (conversation_id(asked.session) if asked.session else "")


def _place(asked: Asked, dialect: Dialect) -> int:
    """Return which item the newest words of the person are in, or the last one when only tools answer.

    Claude Code puts messages of the system after them.
    """
    for at in range(len(asked.items) - 1, -1, -1):
        said = dialect.said([asked.items[at]])
        if any(one.role != "system" for one in said):
            return at
    return max(len(asked.items) - 1, 0)


def _goes_on(every: Sequence[Said]) -> bool:
    """Tell whether somebody has answered in a conversation before."""
    for said in every:  # noqa: SIM110 - half the time of `any`, on the path of every request
        if said.role == "assistant":
            return True
    return False


def _has_its_beginning(asked: Asked, found: Found) -> bool:
    """Tell whether a request begins as its conversation did; under another system prompt no cache has any of it.

    Tools stand before the prompt, so neither has one that lacks those of its conversation.
    """
    before = found.thread
    if before is None or asked.after:
        return before is not None
    return before.system == system_hash(asked.system) and not (before.armed and has_no_tools(asked))


def _owing(asked: Asked, found: Found) -> Asked:
    """Return a request that goes on from an answer as the provider knows it, with the results that it waits for."""
    before = found.thread
    if before is None or not asked.after or not (before.after or before.owed):
        return asked
    fields = asked.fields | ({"previous_response_id": Raw(encode(before.after))} if before.after else {})
    if before.owed:
        fields["input"] = joined([*before.owed, *input_of(asked.fields)])
    return structs.replace(asked, fields=fields)


def _passing(turn: Turn, request: Request, waived: Waived, route: Route) -> Passing:
    """Return the request with its skills; without any it is what the client sent, byte for byte."""
    thread, asked_in = turn.thread, turn.dialect.wire
    if turn.rounds is not None and not takes_tools(route.upstream):
        raise NoTools
    turn.route, turn.tries = route, turn.tries + 1
    asked = turn.rounds.asked if turn.rounds is not None else turn.asked
    if turn.rounds is None and asked.after:
        asked = _owing(asked, turn.found)
    fields = asked.fields
    if route.model != asked.model:
        fields = fields | {"model": Raw(encode(route.model))}
    if turn.reservation is not None and turn.reservation.bounded and not asked.most_tokens:
        limit = limit_at(route.upstream) if asked_in is route.wire is Wire.CHAT else turn.dialect.limit
        fields = fields | {limit: Raw(encode(turn.reservation.answer))}
    if thread.head.pieces or thread.later:
        body = turn.dialect.with_skills(asked, fields, thread.head, thread.later)
    else:
        body = request.body if fields is turn.asked.fields else written(fields)
    path, headers, turn.translated = route.wire.path, turn.steering.passed, None
    if route.wire is not asked_in:
        turn.translated = _translated(turn, body, waived, route)
        body = turn.translated.body
        headers = {name: value for name, value in headers.items() if not name.startswith(_DIALECTS)}
    elif request.query:
        path += f"?{request.query}"
    return Passing(path=path, body=body, headers=headers, own_key=turn.steering.own_key)


def _translated(turn: Turn, body: bytes, waived: Waived, route: Route) -> Translated:
    """Return a request as another dialect has it, without what the model is known to refuse."""
    server, model = route.upstream.name, route.model
    without = turn.without | waived.words(server, model)
    hidden = turn.hidden or waived.files(server, model, turn.thread.conversation)
    return translate_request(body, turn.dialect.wire, route.wire, limit_at(route.upstream), without, hidden=hidden)
