"""What was said, told in log events beside the spans: so the conventions did before 1.37, and programs still do.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-events/

Spans and events come in exports of their own, in either order. What was said waits for its span; when the span came
first, it has been stored without words, and they become a trace that follows it, without tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from llmos_lite.core.telemetry.content import decoded
from llmos_lite.core.telemetry.memory import Draft, Words
from llmos_lite.core.telemetry.otlp import LogRecord, Span
from llmos_lite.core.telemetry.protobuf import Json
from llmos_lite.core.telemetry.repeated import USAGE, is_worded

INPUT, OUTPUT, SYSTEM = "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions"
CHOICE, DETAILS = "gen_ai.choice", "gen_ai.client.inference.operation.details"
ROLES: Mapping[str, str] = {f"gen_ai.{role}.message": role for role in ("system", "user", "assistant", "tool")}
OVERHEAD = 1000
"""Bytes that a record takes beside its text."""
_OF_GENAI = ("operation.name", "request.model", "response.model", "response.id")
KEPT = frozenset({"llm.request.type", *(f"gen_ai.{name}" for name in _OF_GENAI)})
LONGEST = 200
"""Characters of each that are kept, as in traces."""


def is_said(record: LogRecord) -> bool:
    """Tell whether a record says what was said in a request that has a span."""
    named = record.name in ROLES or record.name in {CHOICE, DETAILS}
    return named and bool(record.trace_id and record.span_id)


def late_words(records: Iterable[LogRecord], draft: Draft) -> list[Span]:
    """Keep what was said for spans that are still to come, and return those that came before, with their words."""
    found: dict[tuple[str, str], list[LogRecord]] = {}
    for record in sorted(filter(is_said, records), key=lambda record: record.at):
        found.setdefault((record.trace_id, record.span_id), []).append(record)
    told = []
    for (trace_id, span_id), said in found.items():
        words = _more(draft.words(trace_id, span_id) or Words(), said)
        span = draft.wordless(trace_id, span_id)
        if span is None:
            draft.hold(trace_id, span_id, words)
        else:
            told.append(_again(span, words))
    return told


def with_words(span: Span, draft: Draft) -> Span:
    """Return a request's span with what was said of it before; one without waits for it."""
    if is_worded(span):
        return span
    words = draft.words(span.trace_id, span.span_id)
    if words is None:
        draft.wait(_bare(span))
        return span
    draft.hold(span.trace_id, span.span_id, None)
    return span._replace(attributes=span.attributes | dict(words.attributes))


def _bare(span: Span) -> Span:
    kept: Json = {
        key: value[:LONGEST] for key, value in span.attributes.items() if key in KEPT and isinstance(value, str)
    }
    return span._replace(name="", attributes=kept)


def _again(span: Span, words: Words) -> Span:
    name = hashlib.sha256(f"{span.span_id}\0{words.attributes}".encode("utf-8", "replace")).hexdigest()[:16]
    attributes = {key: value for key, value in span.attributes.items() if not key.startswith(USAGE)}
    return span._replace(span_id=name, attributes=attributes | dict(words.attributes))


def _more(words: Words, records: Iterable[LogRecord]) -> Words:
    """Return words with those of more records, but for records that an exporter sends again."""
    attributes, size = {key: list(said) for key, said in words.attributes.items()}, words.size
    new = [record for record in records if _key(record) not in words.records]
    for record in new:
        size += record.size + OVERHEAD
        for key, said in _told(record):
            attributes.setdefault(key, []).extend(said)
    return Words(attributes, size, words.records | set(map(_key, new)))


def _key(record: LogRecord) -> int:
    return hash((record.name, record.at, str(record.body), str(record.attributes)))


def _told(record: LogRecord) -> Iterator[tuple[str, list[object]]]:
    if record.name == DETAILS:
        for key in (INPUT, OUTPUT, SYSTEM):
            said = decoded(record.attributes.get(key))
            yield key, said if isinstance(said, list) else []
        return
    body = record.body if isinstance(record.body, dict) else {}
    message = body.get("message") if record.name == CHOICE else body
    if isinstance(message, dict):
        role = ROLES.get(record.name, "assistant")
        yield (OUTPUT if record.name == CHOICE else INPUT), [{"role": role, "parts": list(_parts(message, role))}]


def _parts(message: Json, role: str) -> Iterator[Json]:
    content = message.get("content")
    if role == "tool":
        yield {"type": "tool_call_response", "id": message.get("id"), "response": content}
        return
    if isinstance(content, str) and content:
        yield {"type": "text", "content": content}
    elif isinstance(content, list):
        yield from (part for part in content if isinstance(part, dict))
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(call, dict) and isinstance(function, dict):
            name, arguments = function.get("name"), function.get("arguments")
            yield {"type": "tool_call", "id": call.get("id"), "name": name, "arguments": arguments}
