"""What a trace is: the record of one model request, and the events that its segments hold.

One trace is one model request; traces of one conversation are chained by `parent`, and a trace stores only
the messages that are new since its parent.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from enum import StrEnum
from typing import Literal, TypeAlias

import msgspec

# `gc=False` in this package: plain data holds no cycle, and thousands of traces are kept that the collector would
# walk through again and again.

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [one + other for one in CROCKFORD for other in CROCKFORD]
_DIGITS = CROCKFORD.encode() * 8
"""A digit for each byte, and each digit for as many bytes as any other."""
_RANDOM = 16
"""Digits of an id that are no time."""
_DRAWN = 64
"""Ids that chance is drawn for at a time: a call of the system lends the interpreter's lock out."""
_drawn: list[str] = []
os.register_at_fork(after_in_child=_drawn.clear)  # or two processes would go on with the same
GOAL_LENGTH = 2000
"""Characters of the message that a chat's trace calls its goal."""
SCHEMA = 1


def now_ms() -> int:
    """Return the time in milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


def make_ulid(at: int, source: str = "") -> str:
    """Return a ULID: 48 bits of time, 80 bits that are random, or a hash of `source`.

    Args:
        at: milliseconds since the epoch.
        source: key of an imported record; the same key and time give the same id.
    """
    try:
        rest = _hashed(source) if source else _drawn.pop()
    except IndexError:
        rest = _draw()
    first, second, third = _PAIRS[at >> 40 & 255], _PAIRS[at >> 30 & 1023], _PAIRS[at >> 20 & 1023]
    return f"{first}{second}{third}{_PAIRS[at >> 10 & 1023]}{_PAIRS[at & 1023]}{rest}"


def _hashed(source: str) -> str:
    value = int.from_bytes(hashlib.sha256(source.encode()).digest()[:10], "big")
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(70, -1, -10)])


def _draw() -> str:
    """Draw chance for ids to come, and return that of one."""
    digits = secrets.token_bytes(_RANDOM * _DRAWN).translate(_DIGITS).decode()
    drawn = [digits[at : at + _RANDOM] for at in range(0, len(digits), _RANDOM)]
    _drawn.extend(drawn[1:])
    return drawn[0]


class Ended(StrEnum):
    """How the model request came to its end."""

    COMPLETE = "complete"
    ABORTED = "aborted"
    ERROR = "error"


class Outcome(StrEnum):
    """What came of it, as far as anybody knows."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"


class Share(StrEnum):
    """What a team sees of a chat in its context."""

    NONE = "none"
    DIGEST = "digest"
    FULL = "full"


Rating: TypeAlias = Literal["up", "down"]


class Message(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One message of a conversation; `content` is text, tool calls ride beside it."""

    role: str
    content: str = ""
    name: str = ""
    tool_call_id: str = ""


class ToolCall(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One call of a tool and what it gave back; one that was `handed` to the caller is answered in the next trace."""

    name: str
    arguments: str = ""
    result: str = ""
    is_error: bool = False
    id: str = ""
    handed: bool = False


class SkillUse(msgspec.Struct, frozen=True, gc=False):
    """A skill that was put into the context."""

    skill_id: str
    name: str
    volume: str
    version: str
    score: float


class Exposure(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A skill that was considered for the context, whichever arm it fell into.

    `propensity` is the probability of the arm that was taken; 1.0 when nothing was randomised. `held` says that a
    scanner holds it back here: a client elsewhere had it from a clone, say, and it is none of the skills used.
    """

    volume: str
    skill_id: str
    version: str
    arm: Literal["treatment", "control"] = "treatment"
    propensity: float = 1.0
    score: float = 0.0
    held: bool = False


class Feedback(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a person said of an answer; `kept` is the text that was finally kept."""

    rating: Rating | None = None
    note: str = ""
    kept: str = ""
    redacted: dict[str, int] = {}


class Trace(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The record of one model request.

    Times are milliseconds since the epoch (UTC), `latency_ms` milliseconds, tokens counts, which are `tokens_estimated`
    by the length of the texts where the provider gave none. `outcome_sources` names who said what came of it
    (`feedback`, `verifier`, ...). `commits` maps a volume to the commit it was read at. `offered` are the skills
    (volume, slash, id) that were listed by name for the first time in this conversation. `source` is `chat`,
    `gateway:<dialect>` (with `:side`, or `:background`), `import:<format>` or `digest`. `redacted` counts, by kind, the
    values that were taken out. `system` is a hash of the client's own system prompt, which the first trace of a
    conversation that has it holds as a message; or else `system_in` holds it, a trace of another conversation in the
    same volume. `retry_of` is the trace whose request was exactly this one. `forked_from` is the conversation that this
    one was forked from, in its first trace.
    """

    id: str
    actor: str
    volume: str
    conversation: str
    parent: str = ""
    time: int
    goal: str
    messages: tuple[Message, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_estimated: bool = False
    latency_ms: int = 0
    ended: Ended = Ended.COMPLETE
    error: str = ""
    outcome: Outcome = Outcome.UNKNOWN
    outcome_sources: tuple[str, ...] = ()
    skills_used: tuple[SkillUse, ...] = ()
    exposures: tuple[Exposure, ...] = ()
    offered: tuple[str, ...] = ()
    commits: dict[str, str] = {}
    source: str = "chat"
    team: str = ""
    share: Share = Share.NONE
    redacted: dict[str, int] = {}
    system: str = ""
    system_in: str = ""
    retry_of: str = ""
    forked_from: str = ""

    @property
    def answer(self) -> str:
        """Return the model's text: the last message of the assistant, or nothing."""
        return next((message.content for message in reversed(self.messages) if message.role == "assistant"), "")


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One line of a segment; the lines of one `trace_id`, in order of `at`, fold to what is known of it."""

    v: int
    kind: Literal["trace", "feedback", "outcome", "tombstone"]
    id: str
    trace_id: str
    at: int
    volume: str
    by: str = ""
    trace: Trace | None = None
    feedback: Feedback | None = None
    outcome: Outcome | None = None
    source: str = ""
    reason: str = ""
    """Why a trace was erased, in a tombstone; `by` says who did it, `at` when."""


encode = msgspec.json.Encoder().encode


def trace_event(trace: Trace) -> Event:
    """Wrap a trace as the event that records it."""
    return Event(
        v=SCHEMA,
        kind="trace",
        id=trace.id,
        trace_id=trace.id,
        at=trace.time,
        volume=trace.volume,
        by=trace.actor,
        trace=trace,
    )
