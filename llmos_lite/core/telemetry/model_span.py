"""A request to a model as a span of the GenAI conventions: its facts, cheap to keep, and its JSON, made later.

https://github.com/open-telemetry/semantic-conventions-genai; no words of anybody are in it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec

import llmos_lite
from llmos_lite.core.traces.trace import CROCKFORD, SkillUse

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.{0,200})?")
_SAMPLED = 1
_CLIENT, _ERROR = 3, 2
_NS_PER_MS = 1_000_000
_VALUES = {value: number for number, value in enumerate(CROCKFORD)}


class ModelSpan(NamedTuple):
    """The facts of one request to a model.

    Args:
        trace_id: of our own trace (a ULID); the span's ids come from it.
        traceparent: header of the client's request, by W3C Trace Context; empty for none.
        started: milliseconds since the epoch.
        seconds: until its durable end.
        provider: `openai`, `anthropic`; empty when it is not known.
        server: what the model's server is called here; empty likewise.
        asked: the model that was asked for.
        model: the one that answered; empty when none did.
        tokens_in: as the provider counts them, or by length.
        tokens_out: likewise.
        finish: the provider's word for why it stopped; empty when it did not say.
        conversation: id of the conversation.
        skills: those in the context.
        dialect: that the client speaks.
        ended: `complete`, `aborted` or `error`.
        error: code of what went wrong; empty for nothing.
        side: whether the client asked for itself.
        estimated: whether the tokens are by length, since the provider gave no counts.
    """

    trace_id: str
    traceparent: str
    started: int
    seconds: float
    provider: str
    server: str
    asked: str
    model: str
    tokens_in: int
    tokens_out: int
    finish: str
    conversation: str
    skills: Sequence[SkillUse]
    dialect: str
    ended: str
    error: str = ""
    side: bool = False
    estimated: bool = False


class Spans(Protocol):
    """Takes spans; see `SpanExporter`."""

    def add(self, span: ModelSpan) -> None:
        """Keep a span to send it later; never waits and never fails."""


class Context(NamedTuple):
    """Where a span stands: hexadecimal ids of its trace, itself and its parent (or ""), and whether it is kept."""

    trace: str
    span: str
    parent: str
    sampled: bool = True


def context_of(trace_id: str, traceparent: str) -> Context:
    """Return where the span of a request stands: below the client's, or at the top of a trace of its own."""
    own = hashlib.blake2b(trace_id.encode(), digest_size=8).hexdigest()
    found = _PARENT.fullmatch(traceparent) if traceparent else None
    if found is None:
        number = 0
        for char in trace_id:
            number = number << 5 | _VALUES.get(char, 0)
        return Context(f"{number & (1 << 128) - 1:032x}", own, "")
    return Context(found[1], own, found[2], bool(int(found[3], 16) & _SAMPLED))


def continued(trace_id: str, traceparent: str) -> str:
    """Return the header for the model's server, so that its spans stand below ours; a broken one is none of ours."""
    place = context_of(trace_id, traceparent)
    return f"00-{place.trace}-{place.span}-{int(place.sampled):02x}" if place.parent else traceparent


def encoded(spans: Iterable[ModelSpan], service: str) -> bytes:
    """Return an export request as JSON; spans of traces that the client does not keep are left out.

    It is put together from pieces: to build the objects and to encode them takes three times as long.
    """
    found = b",".join(made for span in spans if (made := _span(span)))
    name, version = _encode(service), _encode(llmos_lite.__version__)
    return _REQUEST % (name, version, version, found)


def source_uri(skill: SkillUse) -> str:
    """Return the exact version of a skill as `gen_ai.skill.source.uri` says it."""
    return f"llmos:{skill.volume}/{skill.skill_id}@{skill.version}"


def _attribute(name: str, kind: str) -> bytes:
    return b'{"key":"%s","value":{"%s":%%s}}' % (name.encode(), kind.encode())


_encode = msgspec.json.Encoder().encode
_REQUEST = (
    b'{"resourceSpans":[{"resource":{"attributes":['
    + b",".join(_attribute(name, "stringValue") for name in ("service.name", "service.version"))
    + b']},"scopeSpans":[{"scope":{"name":"llmos-lite","version":%s},"spans":[%s]}]}]}'
)
_SPAN = (
    b'{"traceId":"%s","spanId":"%s","name":%s,"kind":%d,"startTimeUnixNano":"%d","endTimeUnixNano":"%d",'
    b'"attributes":[%s],"status":%s%s}'
)
_TEXTS = tuple(
    (field, _attribute(name, "stringValue"))
    for field, name in {
        "provider": "gen_ai.provider.name",
        "asked": "gen_ai.request.model",
        "model": "gen_ai.response.model",
        "conversation": "gen_ai.conversation.id",
        "error": "error.type",
        "trace_id": "llmos.trace.id",
        "dialect": "llmos.dialect",
        "server": "llmos.server",
        "ended": "llmos.ended",
    }.items()
)
_NUMBERS = tuple(
    (field, _attribute(f"gen_ai.usage.{name}", "intValue"))
    for field, name in {"tokens_in": "input_tokens", "tokens_out": "output_tokens"}.items()
)
_OPERATION = _attribute("gen_ai.operation.name", "stringValue") % b'"chat"'
_SIDE, _ESTIMATED = (_attribute(f"llmos.{name}", "boolValue") % b"true" for name in ("side_call", "usage.estimated"))
_FINISH, _SKILL, _SOURCE = (
    _attribute(f"gen_ai.{name}", "arrayValue") % b'{"values":[%s]}'
    for name in ("response.finish_reasons", "skill.name", "skill.source.uri")
)
_ITEM = b'{"stringValue":%s}'


def _span(span: ModelSpan) -> bytes:
    """Return a span; nothing when its trace is not kept."""
    place = context_of(span.trace_id, span.traceparent)
    if not place.sampled:
        return b""
    start = span.started * _NS_PER_MS
    return _SPAN % (
        place.trace.encode(),
        place.span.encode(),
        _encode(f"chat {span.model or span.asked}".strip()),
        _CLIENT,
        start,
        start + round(span.seconds * 1e9),
        b",".join(_attributes(span)),
        b'{"code":%d,"message":%s}' % (_ERROR, _encode(span.error)) if span.error else b"{}",
        b',"parentSpanId":"%s"' % place.parent.encode() if place.parent else b"",
    )


def _attributes(span: ModelSpan) -> list[bytes]:
    found = [_OPERATION]
    found += [made % _encode(value) for field, made in _TEXTS if (value := getattr(span, field))]
    found += [made % (b'"%d"' % value) for field, made in _NUMBERS if (value := getattr(span, field))]
    if span.finish:
        found.append(_FINISH % (_ITEM % _encode(span.finish)))
    if span.skills:
        found.append(_SKILL % b",".join(_ITEM % _encode(skill.skill_id) for skill in span.skills))
        found.append(_SOURCE % b",".join(_ITEM % _encode(source_uri(skill)) for skill in span.skills))
    if span.estimated:
        found.append(_ESTIMATED)
    return [*found, _SIDE] if span.side else found
