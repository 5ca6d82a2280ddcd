"""Answers that a model's server makes behind their requests: who may ask for one, where, and what came of it.

What is known of one is a row, so it outlives a restart. Its request leaves a trace without an answer; whoever sees the
answer first, by asking for it, leaves a trace that has it, below the other one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from weakref import WeakValueDictionary

from msgspec.structs import replace

from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.gateway.steering import Steering
from llmos_lite.core.gateway.turn import Turn
from llmos_lite.core.limits import Limits
from llmos_lite.core.traces.importers.base import clean
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.trace import Ended, Message, Share, ToolCall, Trace, make_ulid, now_ms
from llmos_lite.engines.llm import Completion
from llmos_lite.errors import NotFound
from llmos_lite.observability import Metrics
from llmos_lite.records.background import MOST, BackgroundResponse, BackgroundRows, key_of

_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
"""What stands in a path as it is."""
LONGEST_MODEL = 200
_SHARES = list(Share)
"""From nothing to all."""


class Background:
    """Knows the answers that are made behind their requests.

    Args:
        rows: what is known of them.
        traces: where traces go.
        accounts: the settings of people.
        limits: how much may be used.
        metrics: what is counted.
    """

    def __init__(
        self, rows: BackgroundRows, traces: TraceLog, accounts: Accounts, limits: Limits, metrics: Metrics
    ) -> None:
        self._rows, self._traces, self._accounts = rows, traces, accounts
        self._limits, self._metrics = limits, metrics
        self._ending = asyncio.Lock()
        self._turns: WeakValueDictionary[str, Turn] = WeakValueDictionary()
        """The requests that answers began with, as long as these last."""
        self._counted: dict[str, tuple[int, int]] = {}
        """Tokens of a question and an answer that were counted before its end was seen, by key; a restart forgets."""

    async def begun(self, turn: Turn, response_id: str, *, runs_on: bool) -> None:
        """Know an answer before its client does; an id that would lead to another address is not known.

        Args:
            turn: its request.
            response_id: how the provider names it.
            runs_on: whether it is not there yet.
        """
        if turn.route is None or not _ID.fullmatch(response_id):
            return
        row = BackgroundResponse(
            key=key_of(turn.actor.user_id, response_id, own_key=turn.steering.own_key),
            server=turn.route.upstream.name,
            model=turn.asked.model[:LONGEST_MODEL],
            team=turn.steering.team,
            trace_id=turn.trace_id if turn.recorded else "",
            began=now_ms(),
            ended=not runs_on,
        )
        self._turns[row.key] = turn
        await self._rows.add(row)
        turn.runs_on = runs_on

    async def find(self, actor: Actor, response_id: str, *, own_key: bool) -> BackgroundResponse:
        """Return what is known of an answer of the actor's own.

        Args:
            actor: who asks for it.
            response_id: how the provider names it.
            own_key: whether they ask with a key of their own: the instance's does not get what another one made, and
                theirs may be for another server than the one that the instance's led to.

        Raises:
            NotFound: `response.unknown`, for one that is not there or not theirs, alike.
        """
        row = await self._rows.get(key_of(actor.user_id, response_id, own_key=own_key))
        if row is None:
            raise NotFound(
                "response.unknown",
                f"You have no response {response_id[:64]!r} that was made in the background.",
                hint="Only responses that were asked for with `background: true`, of a server that speaks this API, "
                "can be asked for again, by whoever made them, for 30 days; with a key of your own (X-LLMOS-Key) when "
                "they were made with it, and without one when not.",
            )
        return row

    async def ended(
        self, actor: Actor, steering: Steering, row: BackgroundResponse, done: Completion, end: tuple[Ended, str]
    ) -> None:
        """Count an answer that is there, and record it, once.

        Args:
            actor: who sees it.
            steering: of the request for it.
            row: what is known of it.
            done: what came of it.
            end: how it ended, and with which code.

        Raises:
            StorageFailed, Unavailable: it is not recorded, and will be when it is asked for again.
        """
        if row.ended:
            return
        async with self._ending:
            now = await self._rows.get(row.key)
            if now is None or now.ended or self._is_heard(row):
                return
            account = await self._accounts.account(actor.user_id)
            first = await self._first(row) if steering.record and account.record else None
            if first is not None:
                share = min(first.share, Share(account.share), key=_SHARES.index)
                shown = replace(first, share=share if first.team in actor.teams else Share.NONE)
                await self._traces.record(_later(shown, row, done, *end))
            await self._rows.end(row.key)  # before it is counted, so that it is never counted twice
            await self._count(actor, row, (done.tokens_in, done.tokens_out), done.model)
            self._counted.pop(row.key, None)

    async def left(self, turn: Turn, response_id: str, heard: tuple[int, int]) -> None:
        """Count what was heard of an answer in a stream that did not come to its end: nobody may ask for it again.

        Args:
            turn: its request.
            response_id: how the provider names it.
            heard: about how many tokens of the question and of the answer.
        """
        row = await self._rows.get(key_of(turn.actor.user_id, response_id, own_key=turn.steering.own_key))
        if row is not None and not row.ended:
            await self._count(turn.actor, row, heard, row.model)

    async def left_again(self, actor: Actor, row: BackgroundResponse, heard: int, *, goes_on: bool) -> None:
        """Count what was heard in a later stream, likewise.

        Args:
            actor: who heard it.
            row: what was known of the answer.
            heard: about how many tokens of the answer.
            goes_on: whether the stream began where another one had ended.
        """
        async with self._ending:
            now = await self._rows.get(row.key)
            if now is not None and not now.ended and not self._is_heard(row):
                question, before = self._counted.get(row.key, (0, 0))
                await self._count(actor, row, (question, before + heard if goes_on else heard), row.model)

    async def _count(self, actor: Actor, row: BackgroundResponse, used: tuple[int, int], model: str) -> None:
        """Count what an answer has used until now, but for what was counted of it before."""
        before = self._counted.get(row.key, (0, 0))
        more = max(0, used[0] - before[0]), max(0, used[1] - before[1])
        if len(self._counted) >= MOST:
            self._counted.clear()
        self._counted[row.key] = before[0] + more[0], before[1] + more[1]
        await self._limits.count(actor, row.team or None, *more, asked=row.model, model=model)
        self._metrics.used_later(row.model, *more)

    def _is_heard(self, row: BackgroundResponse) -> bool:
        """Tell whether the request that an answer began with still hears it, and so records it."""
        turn = self._turns.get(row.key)
        return turn is not None and not turn.kept

    async def _first(self, row: BackgroundResponse) -> Trace | None:
        """Return the trace of the request; None when there is none, or none any more."""
        if not row.trace_id:
            return None
        await self._traces.drain()  # it may be on its way
        found = await self._traces.states([row.trace_id])
        return None if row.trace_id in self._traces.erased else next((state.trace for state in found), None)

    async def drop(self, row: BackgroundResponse) -> None:
        """Forget an answer that its client has had deleted."""
        await self._rows.remove(row.key)

    async def forget(self, trace_ids: Collection[str]) -> None:
        """Forget the answers of traces that go."""
        await self._rows.forget(list(trace_ids))


def _later(first: Trace, row: BackgroundResponse, done: Completion, ended: Ended, error: str) -> Trace:
    """Return the trace of an answer, below that of its request; the same answer has the same id each time."""
    at = max(row.began, first.time + 1)
    return replace(
        first,
        id=make_ulid(at, f"background {row.key}"),
        parent=first.id,
        time=at,
        messages=(Message("assistant", clean(done.text)),) if done.text else (),
        tool_calls=tuple(ToolCall(call.name, clean(call.arguments), id=call.id) for call in done.tool_calls),
        model=done.model or first.model,
        tokens_in=done.tokens_in,
        tokens_out=done.tokens_out,
        latency_ms=max(0, now_ms() - first.time),
        ended=ended,
        error=error,
        offered=(),
        redacted={},
        retry_of="",
    )
