"""Calls that a person allows, each run once, whatever becomes of the message that allowed it.

Before a call is run, that is noted durably; what it gave is noted before the model hears of it. So the leave that is
given again, after the model failed or the server died, finds what the call gave, on every node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llmos_lite.core.chat.tools import ToolBounds, Toolbox, ToolResult, answered
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.engines.llm import ToolCall
from llmos_lite.records.allowed_calls import AllowedCall, AllowedCallRows

PATIENCE = 5.0
"""Seconds that a call has to end when the server stops."""
NOBODY_KNOWS = (
    "This call was begun before, and was cut off: it may have done its work or not. It is not run again; find out what "
    "it did, and call the tool anew if it has to be."
)
NOT_KEPT = "This call was run before; what it gave was not kept."


class AllowedCalls:
    """Runs calls that a person allowed.

    Args:
        rows: what was begun.
        traces: takes out of a result what must not be kept.
    """

    def __init__(self, rows: AllowedCallRows, traces: TraceLog) -> None:
        self._rows, self._traces = rows, traces
        self._running: dict[str, asyncio.Task[object]] = {}

    async def before(self, trace_id: str) -> dict[str, ToolResult]:
        """Return what the calls that a trace handed out gave, of those that were run; it waits for what still runs."""
        if task := self._running.get(trace_id):
            await asyncio.shield(asyncio.wait([task]))
        return {call_id: _result(row) for call_id, row in (await self._rows.of(trace_id)).items()}

    async def run(
        self, trace_id: str, box: Toolbox, calls: Sequence[ToolCall], bounds: ToolBounds, *, kept: bool
    ) -> dict[str, ToolResult]:
        """Run calls that were never begun, and return what they gave; a client that goes away does not stop them.

        Args:
            trace_id: of the trace that handed them out.
            box: runs them.
            calls: those that are allowed.
            bounds: how far this goes.
            kept: whether what they give may be kept.
        """
        task = asyncio.ensure_future(self._run(trace_id, box, calls, bounds, kept=kept))
        self._running[trace_id] = task
        task.add_done_callback(lambda _: self._running.pop(trace_id, None))
        return await asyncio.shield(task)

    async def _run(
        self, trace_id: str, box: Toolbox, calls: Sequence[ToolCall], bounds: ToolBounds, *, kept: bool
    ) -> dict[str, ToolResult]:
        new = await self._rows.begin(trace_id, [call.id for call in calls], now_ms())
        mine = [call for call in calls if call.id in new]
        deadline = asyncio.get_running_loop().time() + bounds.seconds
        results = await answered(box, mine, bounds, deadline)
        texts = await self._traces.redacted([result.content for result in results]) if kept else [""] * len(mine)
        given = zip(mine, texts, results, strict=True)
        await self._rows.end(trace_id, {call.id: (text, result.is_error) for call, text, result in given})
        elsewhere = await self._rows.of(trace_id) if len(mine) < len(calls) else {}
        own = {call.id: result for call, result in zip(mine, results, strict=True)}
        return own | {call.id: _result(elsewhere[call.id]) for call in calls if call.id not in own}

    async def settled(self, trace_id: str) -> None:
        """Forget the calls of a trace, when another one says what they gave."""
        await self._rows.remove(trace_id)

    async def close(self) -> None:
        """Wait a moment for what runs, and give it up."""
        if tasks := list(self._running.values()):
            _, late = await asyncio.wait(tasks, timeout=PATIENCE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


def _result(row: AllowedCall) -> ToolResult:
    if not row.ended:
        return ToolResult(NOBODY_KNOWS, is_error=True)
    return ToolResult(row.result or NOT_KEPT, is_error=row.is_error)
