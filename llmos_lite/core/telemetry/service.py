"""Telemetry in: what other programs export becomes traces of the person whose key they have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from llmos_lite.core.accounts.permissions import Actor, Scope, Verb, permit, require
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.telemetry.events import EventReader, kind_of
from llmos_lite.core.telemetry.memory import Draft, Memory
from llmos_lite.core.telemetry.otlp import Received, read_request, unpacked
from llmos_lite.core.telemetry.spans import SpanReader, is_known
from llmos_lite.core.traces.importers.base import Target
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.trace import SkillUse, Trace
from llmos_lite.observability import Metrics
from llmos_lite.volumes import access


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
        metrics: what is counted.
    """

    def __init__(self, traces: TraceLog, manager: SkillsManager, metrics: Metrics | None = None) -> None:
        self._traces, self._manager, self._metrics = traces, manager, metrics or Metrics()
        self._memory, self._turn = Memory(), asyncio.Lock()

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
        received = await asyncio.to_thread(_read, export)
        known = sum(map(is_known, received.spans)) + sum(bool(kind_of(record)) for record in received.logs)
        passed_over = len(received.spans) + len(received.logs) - known
        stored = 0
        if known:
            async with self._turn:  # what one request tells of a conversation, the next one goes on from
                draft = Draft(self._memory, str(actor.volume))
                traces = await asyncio.to_thread(self._made, actor, received, draft)
                stored = (await self._traces.keep(traces)).stored
                self._memory.keep(draft)
        self._metrics.telemetry_in(traces=stored, passed_over=passed_over, rejected=received.rejected)
        return Taken(stored, passed_over, received.rejected)

    def _made(self, actor: Actor, received: Received, draft: Draft) -> Sequence[Trace]:
        target, find = Target(actor.user_id, str(actor.volume)), self._finder(actor)
        return [
            *SpanReader(target, draft, find).traces(received.spans),
            *EventReader(target, draft, find).traces(received.logs),
        ]

    def _finder(self, actor: Actor) -> Callable[[str], SkillUse | None]:
        """Return what finds a skill that the actor sees; libraries are read for the first one that is asked for."""

        def find(skill_id: str) -> SkillUse | None:
            for library in self._manager.libraries(actor):
                if library.offers(skill_id):
                    skill = library.skills[skill_id]
                    return SkillUse(skill_id, skill.name, skill.volume, skill.version, 1.0)
            return None

        return find


def _read(export: Export) -> Received:
    return read_request(unpacked(export.body, export.encoding), export.message, as_json=export.as_json)
