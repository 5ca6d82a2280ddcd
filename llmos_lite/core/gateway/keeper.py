"""What is left of requests that were answered: durable traces, and conversations that are known again."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Collection, Sequence
from functools import partial

from msgspec.structs import replace

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.gateway.figures import served_of, span_of
from llmos_lite.core.gateway.prompts import Prompts
from llmos_lite.core.gateway.thread_log import Kept, ThreadLog
from llmos_lite.core.gateway.threads import Found, Threads, still_open
from llmos_lite.core.gateway.turn import Turn, trace_of
from llmos_lite.core.telemetry.model_span import Spans
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.trace import Ended, Share, Trace
from llmos_lite.engines.journal import Beside
from llmos_lite.errors import LlmosError
from llmos_lite.observability import Metrics

log = logging.getLogger("llmos.gateway")


class Keeper:
    """Keeps requests.

    Args:
        traces: where traces go.
        metrics: what is counted.
        spans: hears of each request that leaves a trace; None for nobody.
        thread_log: keeps conversations over a restart; None for memory alone.
    """

    def __init__(
        self, traces: TraceLog, metrics: Metrics, spans: Spans | None = None, thread_log: ThreadLog | None = None
    ) -> None:
        self._traces, self._metrics, self._spans = traces, metrics, spans
        self._threads, self._prompts, self._log = Threads(), Prompts(), thread_log
        self._loading: asyncio.Task[None] | None = None

    def find(self, actor: Actor, links: Sequence[bytes], who: bytes, after: str) -> Found:
        """Return what is known of a conversation, and may still be.

        Args:
            actor: who goes on.
            links: one hash for each beginning of it.
            who: whose it is.
            after: id of what it goes on from, where the provider keeps it; empty for none.
        """
        found = self._threads.find(links, _answer_key(who, after) if after else b"")
        return found if found.thread is None else still_open(found, actor, self._traces.erased.ids)

    @property
    def knows_all(self) -> bool:
        """Tell whether nothing is on the disk that is not remembered."""
        return self._log is None or (self._loading is not None and self._loading.done())

    async def recall(self) -> None:
        """Remember what the process before this one knew; once, and off the loop."""
        if self._log is not None:
            self._loading = self._loading or asyncio.ensure_future(self._load(self._log))
            await asyncio.shield(self._loading)

    async def _load(self, kept: ThreadLog) -> None:
        try:
            self._threads.restore(await kept.load())
        except OSError as error:
            log.warning("conversations of before begin anew: %s", error.strerror)

    async def forget(self, trace_ids: Collection[str]) -> None:
        """Forget traces that go, from the disk, too.

        Raises:
            StorageFailed: they are still there.
        """
        self._prompts.forget(frozenset(trace_ids))
        if self._log is not None:
            await self._log.forget(trace_ids)

    async def goal(self, trace_id: str) -> str:
        """Return the goal of a trace, for a conversation that was recalled: the log has none."""
        return await self._traces.goal(trace_id)

    async def close(self) -> None:
        """Wait for the traces that are on their way into the journal."""
        await self._traces.drain()
        if self._log is not None:
            self._log.close()

    async def keep(self, turn: Turn, ended: Ended, error: str = "") -> None:
        """Make the trace durable, once; a client that goes away meanwhile does not stop it.

        Raises:
            StorageFailed, Unavailable: it is not stored; the request is counted all the same.
        """
        if turn.kept:
            return
        turn.kept = True
        if turn.runs_on:  # whatever ends the request, the answer comes later
            ended, error = Ended.COMPLETE, ""
            turn.run_on()
        turn.settle(ended)
        if not turn.recorded:
            self._metrics.served(served_of(turn, ended, error))
            return
        known = _known_by(turn, ended)
        trace = trace_of(turn, ended, error, self._holder(turn) if turn.asked.system else "")
        beside = Beside(self._log.add, known) if known and self._log is not None else None
        try:
            await self._traces.record(trace, beside=beside, then=partial(self._kept, turn, ended, error, known))
        except LlmosError as failed:
            self._metrics.unstored(served_of(turn, Ended.ERROR, failed.code))
            raise

    def _kept(self, turn: Turn, ended: Ended, error: str, known: Sequence[Kept], trace: Trace) -> None:
        """Count a request whose trace is durable, and know its conversation again when the next turn comes."""
        for key, thread in known:
            self._threads.keep(key, thread)
        if turn.asked.system:
            self._prompts.keep(trace)
        served = served_of(turn, ended, error)
        self._metrics.served(served)
        if self._spans is not None:
            self._spans.add(span_of(turn, served))

    def _holder(self, turn: Turn) -> str:
        """Return the trace that holds the system prompt already; empty when this one has to, or need not say it."""
        if not turn.brings_prompt or turn.share is Share.FULL:  # nobody in the team could read it there
            return ""
        return self._prompts.holder(str(turn.actor.volume), turn.thread.system, turn.started, self._traces.erased)

    async def broken_off(self, turn: Turn, cause: BaseException) -> None:
        """Keep what came before a mistake of ours, or before the client went away.

        A client that goes away with all it wants is not disappointed.
        """
        if isinstance(cause, Exception):
            ended, code = Ended.ERROR, "internal"
        else:
            ended, code = Ended.COMPLETE if turn.has_its_calls() else Ended.ABORTED, ""
        try:
            await self.keep(turn, ended, code)
        except LlmosError as error:
            log.warning("what was left of an answer to %s was not kept: %s", turn.actor.user_id, error.message)


def _answer_key(who: bytes, answer_id: str) -> bytes:
    return hashlib.blake2b(b"answer\0" + who + b"\0" + answer_id.encode(), digest_size=16).digest()


def _known_by(turn: Turn, ended: Ended) -> list[Kept]:
    """Return by what the next turn will know the conversation of this one."""
    if turn.side:
        return []
    thread = turn.remembered(ended)
    known = [(turn.links[-1], thread)] if turn.links else []
    who = f"{turn.actor.user_id}\0{turn.steering.team}".encode()
    if turn.asked.kept_in and thread.answered:
        known.append((_answer_key(who, turn.asked.kept_in), thread))
    if name := turn.answer_id:
        shown = (turn.rounds.screen.answer_id if turn.rounds else "") or name
        known.append((_answer_key(who, shown), thread if shown == name else replace(thread, after=name)))
    return known
