"""An event as a line of JSON, in the journal and in segments: what can be derived is left out.

A conversation is kept turn by turn, so whatever a turn says twice is said hundreds of times: who, where and when stand
with the event and not again in its trace, a goal that is the person's message is not repeated, and neither are
exposures that say no more than which skills were used. `decode_event` puts all of it back.
"""

from __future__ import annotations

import json

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict

from llmos_lite.core.traces.trace import GOAL_LENGTH, Event, Exposure, SkillUse, Trace, encode


class _LineTrace(Trace, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A trace without what is said elsewhere; `exposed` stands for the exposures of the skills used."""

    id: str = ""
    actor: str = ""
    volume: str = ""
    time: int = 0
    goal: str | UnsetType = UNSET  # type: ignore[assignment]  # it is a line's trace only here
    exposed: bool = False


class _Line(Event, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    trace: _LineTrace | None = None


_decode = msgspec.json.Decoder(_Line).decode


def encode_event(event: Event) -> tuple[Event, bytes]:
    """Return an event and its line; half characters, which JSON cannot hold, become question marks."""
    try:
        return event, encode_line(event)
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(event), ensure_ascii=False).encode(errors="replace")
        whole = decode_event(text)
        return whole, encode_line(whole)


def encode_line(event: Event) -> bytes:
    """Return the line of an event.

    Raises:
        UnicodeEncodeError: it holds half characters.
    """
    trace = event.trace
    if trace is None:
        return encode(event)
    fields = asdict(trace)
    if trace.id == event.trace_id:
        fields["id"] = ""
    if trace.actor == event.by:
        fields["actor"] = ""
    if trace.volume == event.volume:
        fields["volume"] = ""
    if trace.time == event.at:
        fields["time"] = 0
    if trace.messages and trace.goal == _asked(trace):
        fields["goal"] = UNSET
    if trace.exposures and trace.exposures == _of_used(trace.skills_used):
        fields |= {"exposures": (), "exposed": True}
    line = asdict(event)
    line["trace"] = _LineTrace(**fields)
    return encode(_Line(**line))


def decode_event(line: bytes | memoryview) -> Event:
    """Return the event of a line.

    Raises:
        msgspec.DecodeError: it is none.
    """
    found = _decode(line)
    fields = asdict(found)
    if found.trace is not None:
        fields["trace"] = _whole(found, found.trace)
    return Event(**fields)


def _whole(event: Event, line: _LineTrace) -> Trace:
    fields = asdict(line)
    del fields["exposed"]
    fields["id"] = line.id or event.trace_id
    fields["actor"] = line.actor or event.by
    fields["volume"] = line.volume or event.volume
    fields["time"] = line.time or event.at
    if line.goal is UNSET:
        fields["goal"] = _asked(line)
    if line.exposed:
        fields["exposures"] = _of_used(line.skills_used)
    return Trace(**fields)


def _asked(trace: Trace) -> str:
    """Return the goal that a chat gives its trace: the beginning of what the person said."""
    return trace.messages[0].content.strip()[:GOAL_LENGTH] if trace.messages else ""


def _of_used(used: tuple[SkillUse, ...]) -> tuple[Exposure, ...]:
    return tuple([Exposure(skill.volume, skill.skill_id, skill.version, score=skill.score) for skill in used])
