"""What a team sees of a chat in its context: nothing, a digest, or all of it."""

from __future__ import annotations

import msgspec

from llmos_lite.core.traces.cutting import time_of
from llmos_lite.core.traces.trace import Share, ToolCall, Trace, make_ulid
from llmos_lite.volumes.access import VolumeRef


def digest_id(trace_id: str, team: str) -> str:
    """Return the id that a trace has in a team: the same time, and nobody can tell the one from the other."""
    return make_ulid(time_of(trace_id), f"digest:{team}:{trace_id}")


def digest_of(trace: Trace, team: str = "") -> Trace | None:
    """Return what a team gets of a trace, as a trace of the team; None when nothing is shared.

    A digest holds goal, names of tools, outcome and skills; `share: full` keeps messages and calls, too. The person
    stays named, since evidence counts distinct people.
    """
    team = team or trace.team
    if not team or trace.share is Share.NONE:
        return None
    shared = msgspec.structs.replace(
        trace,
        id=digest_id(trace.id, team),
        volume=str(VolumeRef.team(team)),
        conversation=make_ulid(0, f"digest:{team}:{trace.actor}:{trace.conversation}"),
        parent=digest_id(trace.parent, team) if trace.parent else "",
        team=team,
        system_in="",
        forked_from="",
    )
    return shared if trace.share is Share.FULL else _without_content(shared)


def _without_content(trace: Trace) -> Trace:
    return msgspec.structs.replace(
        trace,
        messages=(),
        tool_calls=tuple(ToolCall(name=call.name) for call in trace.tool_calls),
        tokens_in=0,
        tokens_out=0,
        tokens_estimated=False,
        latency_ms=0,
        error="",
        offered=(),
        commits={},
        source="digest",
    )
