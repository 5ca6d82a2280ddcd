"""Telemetry in: what other programs export becomes traces of the person whose key they have."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary

from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.permissions import Actor, Scope, Verb, permit, require
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.traces.importers.base import Target
from llmos_lite.core.traces.importers.skill_use import finder
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.trace import Trace
from llmos_lite.observability import Metrics
from llmos_lite.volumes import access

if TYPE_CHECKING:
    from llmos_lite.core.telemetry.memory import Draft, Memory
    from llmos_lite.core.telemetry.otlp import Received


class Export(NamedTuple):
    """An export request as it came.

    Args:
        body: its bytes.
        message: `Traces` or `Logs`.
        as_json: whether it is JSON, else protobuf.
        encoding: its compression; empty for none.
    """

    body: bytes
    message: str
    as_json: bool
    encoding: str = ""


class Taken(NamedTuple):
    """What became of an export: traces that are new, items that are passed over, and such that cannot be meant."""

    traces: int = 0
    passed_over: int = 0
    rejected: int = 0


class Telemetry:
    """Takes exports.

    Args:
        traces: where they go.
        manager: knows the skills that somebody sees.
        accounts: the settings of people; who lets nothing be recorded has nothing stored here, either.
        metrics: what is counted.
    """

    def __init__(
        self, traces: TraceLog, manager: SkillsManager, accounts: Accounts, metrics: Metrics | None = None
    ) -> None:
        self._traces, self._manager, self._accounts = traces, manager, accounts
        self._metrics = metrics or Metrics()
        self._memory: Memory | None = None
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def take(self, actor: Actor, export: Export) -> Taken:
        """Store what an export holds; the same one again adds nothing.

        Raises:
            Forbidden: `scope.missing`.
            Invalid: `otlp.broken`, `otlp.encoding`.
            TooLarge: `otlp.too_large`.
            StorageFailed, Unavailable: nothing of it is stored; it may be sent again.
        """
        require(actor, Scope.CHAT)
        access.require(actor.principal, actor.volume, write=True)
        permit(actor, Verb.WRITE_TRACES, actor.volume)
        received, known = await asyncio.to_thread(_read, export)
        if not (await self._accounts.account(actor.user_id)).record:
            known = 0
        passed_over = len(received.spans) + len(received.logs) - known
        stored = 0
        if known:
            turn = self._turns.setdefault(str(actor.volume), asyncio.Lock())
            async with turn:  # what one request tells of a conversation, the next one goes on from
                stored = await self._store(actor, received)
        self._metrics.telemetry_in(traces=stored, passed_over=passed_over, rejected=received.rejected)
        return Taken(stored, passed_over, received.rejected)

    async def _store(self, actor: Actor, received: Received) -> int:
        from llmos_lite.core.telemetry.memory import Draft, Memory  # noqa: PLC0415 - not before the first export

        self._memory = self._memory or Memory()
        draft = Draft(self._memory, str(actor.volume))
        traces = await asyncio.to_thread(self._made, actor, received, draft)
        stored = (await self._traces.keep(traces)).stored
        self._memory.keep(draft)
        return stored

    def _made(self, actor: Actor, received: Received, draft: Draft) -> Sequence[Trace]:
        from llmos_lite.core.telemetry import intake  # noqa: PLC0415 - as above

        target = Target(actor.user_id, str(actor.volume), finder(self._manager, actor))
        return intake.traces(received, target, draft)


def _read(export: Export) -> tuple[Received, int]:
    """Return what an export holds, and of how much of it something is made."""
    from llmos_lite.core.telemetry import intake  # noqa: PLC0415 - not before the first export

    received = intake.read(export.body, export.message, as_json=export.as_json, encoding=export.encoding)
    return received, intake.known(received)
