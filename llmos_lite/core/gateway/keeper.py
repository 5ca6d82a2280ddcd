"""What is left of requests that were answered: durable traces, and conversations that are known again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from msgspec.structs import replace

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.gateway.figures import served_of, span_of
from llmos_lite.core.gateway.threads import Found, Threads, still_open
from llmos_lite.core.gateway.turn import Turn, trace_of
from llmos_lite.core.telemetry.model_span import Spans
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.trace import Ended
from llmos_lite.errors import LlmosError
from llmos_lite.observability import Metrics

log = logging.getLogger("llmos.gateway")


class Keeper:
    """Keeps requests.

    Args:
        traces: where traces go.
        metrics: what is counted.
        spans: hears of each request that leaves a trace; None for nobody.
    """

    def __init__(self, traces: TraceLog, metrics: Metrics, spans: Spans | None = None) -> None:
        self._traces, self._metrics, self._spans = traces, metrics, spans
        self._threads = Threads()
        self._keeping: set[asyncio.Task[None]] = set()

    def find(self, actor: Actor, links: Sequence[bytes], who: bytes, after: str) -> Found:
        """Return what is known of a conversation, and may still be.

        Args:
            actor: who goes on.
            links: one hash for each beginning of it.
            who: whose it is.
            after: id of the answer that it goes on from, where the provider keeps it; empty for none.
        """
        return still_open(self._threads.find(links, _answer_key(who, after)), actor, self._traces.erased)

    async def close(self) -> None:
        """Wait for the traces that are on their way into the journal."""
        await asyncio.gather(*self._keeping, return_exceptions=True)

    async def keep(self, turn: Turn, ended: Ended, error: str = "") -> None:
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
        self._metrics.chat(ended, seconds, skills=len(turn.skills), recorded=turn.recorded)
        self._metrics.served(served_of(turn, ended, error, seconds))
        if self._spans is not None and turn.recorded:
            self._spans.add(span_of(turn, ended, error, seconds))

    async def aborted(self, turn: Turn) -> None:
        """Keep what came before the client went away; one that has all it wants is not disappointed."""
        ended = Ended.COMPLETE if turn.has_its_calls() else Ended.ABORTED
        try:
            await self.keep(turn, ended)
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
            who, known = f"{turn.actor.user_id}\0{turn.steering.team}".encode(), turn.reading.answer_id
            shown = (turn.rounds.screen.answer_id if turn.rounds else "") or known
            self._threads.keep(_answer_key(who, shown), thread if shown == known else replace(thread, after=known))


def _answer_key(who: bytes, answer_id: str) -> bytes:
    return b"answer\0" + who + b"\0" + answer_id.encode() if answer_id else b""
