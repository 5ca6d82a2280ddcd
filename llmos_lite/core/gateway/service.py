"""The gateway: a client's request gets the skills that fit, goes to its model, and leaves an honest trace.

The answer passes byte for byte. What ends it waits until its trace is durable.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from functools import partial
from typing import NamedTuple, TypeAlias

from llmos_lite.core.accounts.accounts import Accounts, unknown_team
from llmos_lite.core.accounts.permissions import Actor, Verb, allowed, permit
from llmos_lite.core.gateway.asked import Asked, Raw, encode, fields_of, links, text_of
from llmos_lite.core.gateway.chat_dialect import ChatDialect
from llmos_lite.core.gateway.context import Contexts
from llmos_lite.core.gateway.dialect import Dialect
from llmos_lite.core.gateway.messages_dialect import MessagesDialect
from llmos_lite.core.gateway.problems import refusal_in
from llmos_lite.core.gateway.reading import LARGEST_ANSWER, Reading, too_large
from llmos_lite.core.gateway.responses_dialect import ResponsesDialect
from llmos_lite.core.gateway.steering import Steering, steering_of
from llmos_lite.core.gateway.threads import Found, Thread, Threads
from llmos_lite.core.gateway.translation.translator import AnswerTranslation, translate_request
from llmos_lite.core.gateway.turn import Turn, asks_for_itself, fresh, system_hash, trace_of, words_in
from llmos_lite.core.limits import Limits
from llmos_lite.core.skills.format import estimate_tokens
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.trace import Ended, Share, make_ulid, now_ms
from llmos_lite.engines.http_client import Reply
from llmos_lite.engines.upstream import Passing, Wire
from llmos_lite.engines.upstreams import Route, Sent, Upstreams
from llmos_lite.errors import LlmosError, UpstreamFailed
from llmos_lite.observability import Metrics
from llmos_lite.volumes.access import VolumeKind, VolumeRef

log = logging.getLogger("llmos.gateway")

OK = 200
REFUSAL = 1 << 20
"""Bytes of a refusal that are handed on."""
_ANSWERED = ("content-type", "x-request-id", "request-id", "retry-after", "x-should-retry", "openai-", "anthropic-")
_LIMITS = "x-ratelimit-"
_DIALECTS = ("anthropic-", "openai-", "x-stainless-")
_REFUSALS = {401: "model.rejected", 403: "model.rejected", 404: "model.rejected", 429: "model.rate_limited"}


class Request(NamedTuple):
    """What a client sent.

    Args:
        body: its bytes.
        headers: their names in lower case.
        query: after the path; empty for none.
        id: of the request, for errors.
    """

    body: bytes
    headers: Iterable[tuple[bytes, bytes]]
    query: str = ""
    id: str = ""


class Head(NamedTuple):
    """The beginning of an answer."""

    status: int
    headers: list[tuple[bytes, bytes]]


Piece: TypeAlias = Head | bytes


class Gateway:
    """Passes requests of clients on.

    Args:
        contexts: put skills into conversations.
        traces: where traces go.
        accounts: the settings of people.
        upstreams: the model servers.
        limits: how much may be used; None for no limit.
        metrics: what is counted.
    """

    def __init__(
        self,
        contexts: Contexts,
        traces: TraceLog,
        accounts: Accounts,
        upstreams: Upstreams,
        *,
        limits: Limits,
        metrics: Metrics | None = None,
    ) -> None:
        self._contexts, self._traces, self._accounts, self._upstreams = contexts, traces, accounts, upstreams
        self._limits, self._metrics = limits, metrics or Metrics()
        self._threads = Threads()
        self._keeping: set[asyncio.Task[None]] = set()
        dialects: list[Dialect] = [ChatDialect(), ResponsesDialect(), MessagesDialect()]
        self.dialects: Mapping[Wire, Dialect] = {dialect.wire: dialect for dialect in dialects}

    async def pass_on(self, actor: Actor, wire: Wire, request: Request) -> AsyncGenerator[Piece, None]:
        """Yield the head of the answer and then its bytes; the last of them when the trace is durable.

        Closing the iterator, or cancelling the task that waits for it, ends the request to the model.

        Raises:
            LlmosError: before the head, for whatever keeps the request from being answered.
        """
        permit(actor, Verb.CHAT, actor.volume)
        steering, asked = steering_of(request.headers), self.dialects[wire].read(request.body)
        _check_team(actor, steering.team)
        async with self._limits.request(actor):
            turn = await self._begun(actor, self.dialects[wire], steering, asked)
            turn.request_id = request.id
            turn.question = len(request.body) + len(turn.thread.head)
            tokens = turn.question // 3
            turn.reservation = await self._limits.reserve(
                actor, steering.team or None, tokens, tokens_out=asked.most_tokens, model=asked.model
            )
            started = False
            try:
                made = partial(_passing, turn, request)
                async with self._upstreams.send(asked.model, wire, made) as sent:
                    async for piece in self._answered(turn, sent):
                        started = True
                        yield piece
            except LlmosError as error:
                await self._keep(turn, Ended.ERROR, error.code)
                if not started:
                    error.detail["trace_id"] = turn.trace_id if turn.recorded else None
                    raise
                yield turn.dialect.problem_event(error, request.id)
            except BaseException:  # the client went away, or the server stops
                await self._keep_aborted(turn)
                raise

    async def plain(self, actor: Actor, path: str, request: Request) -> AsyncGenerator[Piece, None]:
        """Pass a request on that no skill is for and that leaves no trace, such as for embeddings; see `pass_on`.

        Args:
            actor: who asks.
            path: below the base URL of a server that speaks chat completions.
            request: what was sent.
        """
        permit(actor, Verb.CHAT, actor.volume)
        steering, fields = steering_of(request.headers), fields_of(request.body)
        model = text_of(fields.get("model"))

        def made(route: Route) -> Passing:
            body = request.body if route.model == model else encode(fields | {"model": Raw(encode(route.model))})
            return Passing(path=path, body=body, headers=steering.passed, own_key=steering.own_key)

        async with self._limits.request(actor):
            tokens = len(request.body) // 3
            reservation = await self._limits.reserve(actor, steering.team or None, tokens, tokens_out=1, model=model)
            spent = 0
            try:
                async with self._upstreams.send(model, Wire.CHAT, made) as sent:
                    body = await _read(sent.reply, LARGEST_ANSWER)
                    spent = len(request.body) // 4 if sent.reply.status == OK else 0
                    yield Head(sent.reply.status, [*passed_headers(sent.reply), _length(body)])
                    yield body
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

    async def close(self) -> None:
        """Wait for the traces that are on their way into the journal."""
        await asyncio.gather(*self._keeping, return_exceptions=True)

    # -- before the model -------------------------------------------------------------------------------------------

    async def _begun(self, actor: Actor, dialect: Dialect, steering: Steering, asked: Asked) -> Turn:
        started, clock = now_ms(), time.perf_counter()
        account = await self._accounts.account(actor.user_id)
        who = f"{actor.user_id}\0{steering.team}".encode()
        chain = links(map(dialect.stable, asked.items), who)
        found = self._threads.find(chain, _answer_key(who, asked.after))
        new = fresh(found, dialect.said(asked.items[found.seen :]))
        if _is_another(found, steering.conversation or asked.session) and not _goes_on(asked, dialect):
            found, new = Found(), dialect.said(asked.items)
        words = words_in(new)
        side = asks_for_itself(asked, new)
        thread = self._thread(found, steering, asked, words, started)
        if not side:
            thread = await self._contexts.extended(actor, thread, words, steering, _place(asked, dialect))
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
        )

    def _thread(self, found: Found, steering: Steering, asked: Asked, words: str, started: int) -> Thread:
        """Return the conversation as the request finds it."""
        before = found.thread
        named = steering.conversation or asked.session
        if before is None:
            return Thread(conversation=named or make_ulid(started), goal=words, system=system_hash(asked.system))
        return Thread(
            conversation=named or before.conversation,
            parent=before.parent if found.again else before.trace_id,
            goal=words or before.goal,
            head=before.head,
            later=before.later,
            skills=before.skills,
            exposures=before.exposures,
            commits=before.commits,
            system=system_hash(asked.system),
        )

    # -- the answer -------------------------------------------------------------------------------------------------

    def _answered(self, turn: Turn, sent: Sent) -> AsyncGenerator[Piece, None]:
        reply = sent.reply
        if reply.status != OK:
            return self._refused(turn, sent)
        if reply.header("content-type").startswith("text/event-stream"):
            return self._streamed(turn, sent)
        return self._whole(turn, sent)

    async def _refused(self, turn: Turn, sent: Sent) -> AsyncGenerator[Piece, None]:
        """Hand a refusal on in the server's own words; what is no JSON becomes an error of ours."""
        reply = sent.reply
        said = await _read(reply, REFUSAL)
        code = _REFUSALS.get(reply.status, "model.rejected" if reply.status < 500 else "model.failed")  # noqa: PLR2004
        if not said.lstrip().startswith(b"{"):
            raise UpstreamFailed(code, f"The model's server answered {reply.status} and no JSON.", hint="Try again.")
        if sent.route.wire is not turn.dialect.wire:
            said = turn.dialect.refusal(reply.status, refusal_in(said), code, turn.request_id)
        await self._keep(turn, Ended.ERROR, code)
        yield Head(reply.status, [*_headers(turn, reply), _length(said)])
        yield said

    async def _whole(self, turn: Turn, sent: Sent) -> AsyncGenerator[Piece, None]:
        body = await _read(sent.reply, LARGEST_ANSWER)
        turn.completion = self.dialects[sent.route.wire].whole(body, sent.route.model)
        if sent.route.wire is not turn.dialect.wire:
            body = AnswerTranslation(sent.route.wire, turn.dialect.wire).whole(body)
        await self._keep(turn, Ended.COMPLETE)
        yield Head(OK, [*_headers(turn, sent.reply), _length(body)])
        yield body

    async def _streamed(self, turn: Turn, sent: Sent) -> AsyncGenerator[Piece, None]:
        turn.reading = reading = Reading(self.dialects[sent.route.wire], sent.route.model)
        same = sent.route.wire is turn.dialect.wire
        translation = None if same else AnswerTranslation(sent.route.wire, turn.dialect.wire)
        yield Head(OK, _headers(turn, sent.reply))
        while data := await sent.reply.chunk():
            ended = reading.take(data)
            if translation is not None:
                data = translation.feed(data)
            if ended and not turn.kept:
                await self._keep(turn, Ended.ERROR if reading.failed else Ended.COMPLETE, _code(reading.failed))
            if translation is not None and turn.kept:
                data += translation.end()
            if data:
                yield data
        reading.close()
        if turn.kept:
            return
        if not reading.ended:
            raise reading.failed or UpstreamFailed(
                "model.cut", "The model's answer ends in the middle.", hint="Try again."
            )
        await self._keep(turn, Ended.COMPLETE)
        if translation is not None:
            yield translation.end()

    # -- after the model --------------------------------------------------------------------------------------------

    async def _keep(self, turn: Turn, ended: Ended, error: str = "") -> None:
        """Make the trace durable, once; a client that goes away meanwhile does not stop it."""
        if turn.kept:
            return
        turn.kept = True
        turn.settle(ended)
        self._remember(turn, ended)
        if turn.recorded:
            task = asyncio.ensure_future(self._traces.record(trace_of(turn, ended, error)))
            self._keeping.add(task)
            task.add_done_callback(self._keeping.discard)
            await asyncio.shield(task)
        seconds = time.perf_counter() - turn.clock
        self._metrics.chat(ended, seconds, skills=len(turn.thread.skills), recorded=turn.recorded)

    async def _keep_aborted(self, turn: Turn) -> None:
        """Keep what came before the client went away; one that has all it wants is not disappointed."""
        ended = Ended.COMPLETE if turn.has_its_calls() else Ended.ABORTED
        try:
            await self._keep(turn, ended)
        except LlmosError as error:
            log.warning("an aborted answer to %s was not kept: %s", turn.actor.user_id, error.message)

    def _remember(self, turn: Turn, ended: Ended) -> None:
        """Know this conversation again when its next turn comes."""
        if turn.side or not turn.recorded:
            return
        thread = turn.remembered(ended)
        if turn.links:
            self._threads.keep(turn.links[-1], thread)
        if turn.reading is not None and turn.reading.answer_id:
            who = f"{turn.actor.user_id}\0{turn.steering.team}".encode()
            self._threads.keep(_answer_key(who, turn.reading.answer_id), thread)


def _check_team(actor: Actor, team: str) -> None:
    if team and not (team in actor.teams and allowed(actor, Verb.CHAT, VolumeRef(VolumeKind.TEAM, team))):
        raise unknown_team(team)


def _answer_key(who: bytes, answer_id: str) -> bytes:
    return b"answer\0" + who + b"\0" + answer_id.encode() if answer_id else b""


def _is_another(found: Found, named: str) -> bool:
    """Tell whether a request repeats the words of another conversation: that was answered, or has another name."""
    before = found.thread
    return before is not None and found.again and (before.answered or bool(named and named != before.conversation))


def _place(asked: Asked, dialect: Dialect) -> int:
    """Return which item the newest words of the person are in, or the last one when only tools answer.

    Claude Code puts messages of the system after them.
    """
    for at in range(len(asked.items) - 1, -1, -1):
        said = dialect.said([asked.items[at]])
        if any(one.role != "system" for one in said):
            return at
    return max(len(asked.items) - 1, 0)


def _goes_on(asked: Asked, dialect: Dialect) -> bool:
    """Tell whether somebody has answered in this conversation before."""
    return any(said.role == "assistant" for said in dialect.said(asked.items))


def _passing(turn: Turn, request: Request, route: Route) -> Passing:
    """Return the request with its skills; without any it is what the client sent, byte for byte."""
    asked, thread, asked_in = turn.asked, turn.thread, turn.dialect.wire
    fields = asked.fields
    if route.model != asked.model:
        fields = fields | {"model": Raw(encode(route.model))}
    if turn.reservation is not None and turn.reservation.bounded and not asked.most_tokens:
        fields = fields | {turn.dialect.limit: Raw(encode(turn.reservation.answer))}
    body = request.body if fields is asked.fields else encode(fields)
    if not turn.side and (thread.head or thread.later):
        body = turn.dialect.with_skills(asked, fields, thread.head, thread.later)
    path, headers = route.wire.path, turn.steering.passed
    if route.wire is not asked_in:
        body = translate_request(body, asked_in, route.wire)
        headers = {name: value for name, value in headers.items() if not name.startswith(_DIALECTS)}
    elif request.query:
        path += f"?{request.query}"
    return Passing(path=path, body=body, headers=headers, own_key=turn.steering.own_key)


def _headers(turn: Turn, reply: Reply) -> list[tuple[bytes, bytes]]:
    kept = passed_headers(reply)
    if turn.recorded:
        kept.append((b"x-llmos-trace", turn.trace_id.encode()))
    if turn.thread.skills and not turn.side:
        kept.append((b"x-llmos-skills-used", ",".join(use.skill_id for use in turn.thread.skills).encode()))
    return kept


def passed_headers(reply: Reply) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer that are for the client."""
    return [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in reply.headers()
        if name.startswith(_ANSWERED) or name.startswith(_LIMITS)
    ]


def _length(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % len(body)


async def _read(reply: Reply, most: int) -> bytes:
    parts, size = [], 0
    while data := await reply.chunk():
        size += len(data)
        if size > most:
            raise too_large()
        parts.append(data)
    return b"".join(parts)


def _code(error: LlmosError | None) -> str:
    return error.code if error else ""
