"""A request of OTLP/HTTP: spans or log records with their attributes as plain values, whatever form they came in."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from llmos_lite.core.telemetry.protobuf import Json, read_message
from llmos_lite.core.traces.importers.base import parse_json
from llmos_lite.errors import Invalid, TooLarge

UNPACKED = 64 << 20
"""Bytes that a compressed body may have in the end."""
DEEPEST = 32
MOST_ITEMS = 20_000
"""Spans or log records of one export; what comes beyond is rejected. Exporters send 512, collectors some thousands."""
MOST_VALUES = 10_000
"""Values that one attribute may hold in lists and maps."""
NS_PER_MS = 1_000_000
_TIMES = range(946_684_800_000, 4_102_444_800_000)
"""Milliseconds that can be meant: of the years 2000 to 2099."""
_WBITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""What the exporters of the SDKs compress with, and how zlib calls that."""
_TRACE, _SPAN = 32, 16
_DIGITS = re.compile(r"-?[0-9]{1,20}")
_SCALARS: Mapping[str, tuple[type, ...]] = {
    "stringValue": (str,),
    "boolValue": (bool,),
    "intValue": (int, str),
    "doubleValue": (int, float),
}


class Span(NamedTuple):
    """A span. Times are milliseconds since the epoch; ids hexadecimal; `error` is empty when it did not fail.

    `place` is the start in nanoseconds, by which spans of one millisecond stand in their order.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    start: int
    end: int
    attributes: Json
    error: str = ""
    place: int = 0


class LogRecord(NamedTuple):
    """A log record of an event; `at` is in milliseconds since the epoch, `size` about its bytes.

    The ids are those of the span that it belongs to, empty without one.
    """

    name: str
    at: int
    attributes: Json
    body: object = None
    trace_id: str = ""
    span_id: str = ""
    size: int = 0


class Received(NamedTuple):
    """What a request holds, and how much of it cannot be meant."""

    spans: list[Span]
    logs: list[LogRecord]
    rejected: int = 0


def unpacked(body: bytes, encoding: str) -> bytes:
    """Return a body without its compression.

    Raises:
        Invalid: `otlp.encoding` or `otlp.broken`.
        TooLarge: `otlp.too_large`.
    """
    if encoding in {"", "identity"}:
        return body
    if encoding not in _WBITS:
        raise Invalid("otlp.encoding", f"The compression {encoding[:20]!r} is not known here.", hint="Use gzip.")
    worker = zlib.decompressobj(wbits=_WBITS[encoding])
    try:
        found = worker.decompress(body, UNPACKED)
    except zlib.error:
        raise Invalid("otlp.broken", f"The body is not {encoding}.") from None
    if worker.unconsumed_tail:
        raise TooLarge("otlp.too_large", f"The body has more than {UNPACKED >> 20} MiB.", hint="Send smaller batches.")
    if not worker.eof:
        raise Invalid("otlp.broken", "The compressed body breaks off.")
    if worker.unused_data:
        raise Invalid("otlp.broken", "The compressed body goes on after its end.")
    return found


def read_request(body: bytes, message: str, *, as_json: bool) -> Received:
    """Return what an export request holds; what has the wrong type counts as rejected.

    Args:
        body: without compression.
        message: `Traces` or `Logs`.
        as_json: whether it is JSON, else protobuf.

    Raises:
        Invalid: `otlp.broken`.
    """
    try:
        found = parse_json(body) if as_json else read_message(body, message)
    except (ValueError, RecursionError) as error:
        said = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:100]
        raise Invalid("otlp.broken", f"The body cannot be read: {said}.") from None
    if not isinstance(found, dict):
        raise Invalid("otlp.broken", "The body is not an export request.")
    outer, inner, items = _KEYS[message]
    received = Received([], [])
    rejected = 0
    for number, item in enumerate(_items(found, outer, inner, items)):
        made: Span | LogRecord | None = None
        if number < MOST_ITEMS:
            made = _span(item) if message == "Traces" else _log(item)
        if isinstance(made, Span):
            received.spans.append(made)
        elif isinstance(made, LogRecord):
            received.logs.append(made)
        else:
            rejected += 1
    return received._replace(rejected=rejected)


_KEYS = {"Traces": ("resourceSpans", "scopeSpans", "spans"), "Logs": ("resourceLogs", "scopeLogs", "logRecords")}


def _items(found: Json, outer: str, inner: str, items: str) -> Iterator[object]:
    for resource in _list(found.get(outer)):
        for scope in _list(resource.get(inner) if isinstance(resource, dict) else None):
            yield from _list(scope.get(items) if isinstance(scope, dict) else None)


def _span(item: object) -> Span | None:
    if not isinstance(item, dict):
        return None
    trace_id, span_id = _id(item.get("traceId"), _TRACE), _id(item.get("spanId"), _SPAN)
    start, end = _time(item.get("startTimeUnixNano")), _time(item.get("endTimeUnixNano"))
    if not (trace_id and span_id and start):
        return None
    attributes = attributes_of(item.get("attributes"))
    for event in _list(item.get("events")):
        if isinstance(event, dict):  # content may stand in an event of the span instead
            said = attributes_of(event.get("attributes"))
            attributes = {key: value for key, value in said.items() if key.startswith("gen_ai.")} | attributes
    name = item.get("name")
    return Span(
        trace_id,
        span_id,
        _id(item.get("parentSpanId"), _SPAN),
        name if isinstance(name, str) else "",
        start,
        max(start, end),
        attributes,
        _error(item.get("status"), attributes),
        _number(item.get("startTimeUnixNano")) or 0,
    )


def _error(status: object, attributes: Json) -> str:
    said = status if isinstance(status, dict) else {}
    if said.get("code") not in {2, "2", "STATUS_CODE_ERROR"}:
        return ""
    kind, message = attributes.get("error.type"), said.get("message")
    return next((text for text in (message, kind) if isinstance(text, str) and text), "error")[:1000]


def _log(item: object) -> LogRecord | None:
    if not isinstance(item, dict):
        return None
    attributes = attributes_of(item.get("attributes"))
    at = _time(item.get("timeUnixNano")) or _time(item.get("observedTimeUnixNano"))
    body = value_of(item.get("body"))
    named = (item.get("eventName"), attributes.get("event.name"), body)
    name = next((text for text in named if isinstance(text, str) and text), "")
    trace_id, span_id = _id(item.get("traceId"), _TRACE), _id(item.get("spanId"), _SPAN)
    size = len(str(body)) + len(str(attributes)) if trace_id and span_id else 0
    return LogRecord(name, at, attributes, body, trace_id, span_id, size) if at else None


def attributes_of(found: object) -> Json:
    """Return attributes as plain values; what is none is left out."""
    result: Json = {}
    for item in _list(found):
        if isinstance(item, dict) and isinstance(key := item.get("key"), str):
            result[key] = value_of(item.get("value"))
    return result


def value_of(value: object) -> object:
    """Return a value of OTLP as a plain one: text, number, truth, list or object; None for anything else."""
    return _value(value, DEEPEST, [MOST_VALUES])


def _value(value: object, depth: int, left: list[int]) -> object:
    left[0] -= 1
    if not isinstance(value, dict) or not depth or left[0] < 0:
        return None
    for kind, found in value.items():
        if kind in _SCALARS:
            return _number(found) if kind == "intValue" else found if isinstance(found, _SCALARS[kind]) else None
        if kind in {"arrayValue", "kvlistValue"} and isinstance(found, dict):
            return _values(kind, _list(found.get("values")), depth - 1, left)
    return None


def _values(kind: str, items: list[object], depth: int, left: list[int]) -> object:
    if kind == "arrayValue":
        return [_value(one, depth, left) for one in items]
    pairs = [one for one in items if isinstance(one, dict)]
    return {str(one.get("key")): _value(one.get("value"), depth, left) for one in pairs}


def _number(found: object) -> int | None:
    """Return a whole number; JSON writes those of 64 bits as text."""
    if isinstance(found, str):
        return int(found) if _DIGITS.fullmatch(found) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _time(found: object) -> int:
    at = (_number(found) or 0) // NS_PER_MS
    return at if at in _TIMES else 0


def _id(found: object, digits: int) -> str:
    text = found.lower() if isinstance(found, str) else ""
    good = len(text) == digits and all(char in "0123456789abcdef" for char in text) and text.strip("0")
    return text if good else ""


def _list(found: object) -> list[object]:
    return found if isinstance(found, list) else []
