"""OTLP's protobuf form, read into what its JSON form would have been.

The wire format is small and OTLP's messages are few, so no library is needed: `protobuf` and `opentelemetry-proto`
would be 2.5 MB more to install, and descriptors to build at the first request. Field numbers are those of
opentelemetry-proto 1.x (`trace.proto`, `logs.proto`, `common.proto`), which are stable.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

Json: TypeAlias = "dict[str, object]"

DEEPEST = 40
"""Messages inside messages; a value of an attribute takes two or three for each level."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


class _Field(NamedTuple):
    """A field: its name in JSON, how its bytes are read (a message by its name), whether it may come more than once."""

    name: str
    kind: str
    many: bool = False


_ATTRIBUTES = _Field("attributes", "KeyValue", many=True)
_MESSAGES: Mapping[str, Mapping[int, _Field]] = {
    "Traces": {1: _Field("resourceSpans", "ResourceSpans", many=True)},
    "Logs": {1: _Field("resourceLogs", "ResourceLogs", many=True)},
    "ResourceSpans": {1: _Field("resource", "Resource"), 2: _Field("scopeSpans", "ScopeSpans", many=True)},
    "ResourceLogs": {1: _Field("resource", "Resource"), 2: _Field("scopeLogs", "ScopeLogs", many=True)},
    "Resource": {1: _ATTRIBUTES},
    "ScopeSpans": {2: _Field("spans", "Span", many=True)},
    "ScopeLogs": {2: _Field("logRecords", "LogRecord", many=True)},
    "Span": {
        1: _Field("traceId", "hex"),
        2: _Field("spanId", "hex"),
        4: _Field("parentSpanId", "hex"),
        5: _Field("name", "text"),
        7: _Field("startTimeUnixNano", "fixed64"),
        8: _Field("endTimeUnixNano", "fixed64"),
        9: _ATTRIBUTES,
        11: _Field("events", "Event", many=True),
        15: _Field("status", "Status"),
    },
    "Event": {1: _Field("timeUnixNano", "fixed64"), 2: _Field("name", "text"), 3: _ATTRIBUTES},
    "Status": {2: _Field("message", "text"), 3: _Field("code", "int")},
    "LogRecord": {
        1: _Field("timeUnixNano", "fixed64"),
        5: _Field("body", "AnyValue"),
        6: _ATTRIBUTES,
        9: _Field("traceId", "hex"),
        10: _Field("spanId", "hex"),
        11: _Field("observedTimeUnixNano", "fixed64"),
        12: _Field("eventName", "text"),
    },
    "KeyValue": {1: _Field("key", "text"), 2: _Field("value", "AnyValue")},
    "AnyValue": {
        1: _Field("stringValue", "text"),
        2: _Field("boolValue", "bool"),
        3: _Field("intValue", "int"),
        4: _Field("doubleValue", "double"),
        5: _Field("arrayValue", "ArrayValue"),
        6: _Field("kvlistValue", "KeyValueList"),
    },
    "ArrayValue": {1: _Field("values", "AnyValue", many=True)},
    "KeyValueList": {1: _Field("values", "KeyValue", many=True)},
}
_WIRES = {"text": _BYTES, "hex": _BYTES, "fixed64": _FIXED64, "double": _FIXED64, "int": _VARINT, "bool": _VARINT}


def read_message(data: bytes, message: str) -> Json:
    """Return a message as JSON would have it; unknown fields, and those of another type than theirs, are passed over.

    Args:
        data: its bytes.
        message: `Traces` or `Logs`.

    Raises:
        ValueError: it breaks off, or is nested too deeply.
    """
    return _read(memoryview(data), _MESSAGES[message], DEEPEST)


def _read(data: memoryview, fields: Mapping[int, _Field], depth: int) -> Json:
    if not depth:
        raise ValueError("nested too deeply")
    found: Json = {}
    for number, wire, value in _parts(data):
        field = fields.get(number)
        if field is None or wire != _WIRES.get(field.kind, _BYTES):
            continue
        read = _SCALARS.get(field.kind)
        item = read(value) if read else _read(value, _MESSAGES[field.kind], depth - 1)
        if field.many:
            _list(found, field.name).append(item)
        else:
            found[field.name] = item
    return found


def _list(found: Json, name: str) -> list[object]:
    items = found.setdefault(name, [])
    assert isinstance(items, list)  # noqa: S101 - nothing else is put there
    return items


def _parts(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield number, wire type and bytes of each field."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == _BYTES:
            size, start = _varint(data, at)
        elif wire == _VARINT:
            start = at
            size = _varint(data, at)[1] - at
        elif wire in {_FIXED64, _FIXED32}:
            size, start = (8 if wire == _FIXED64 else 4), at
        else:
            raise ValueError("a field of an unknown type")
        at = start + size
        if at > end:
            raise ValueError("it breaks off")
        yield tag >> 3, wire, data[start:at]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return a number and where it ends."""
    value = shift = 0
    for byte in data[at : at + _LONGEST_VARINT]:
        value |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        if byte < 0x80:  # noqa: PLR2004 - the top bit says that the number goes on
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise ValueError("it breaks off")


def _int(data: memoryview) -> int:
    value, _ = _varint(data, 0)
    return value - (1 << 64) if value >> 63 else value


def _double(data: memoryview) -> float:
    return float(struct.unpack("<d", data)[0])


_SCALARS: Mapping[str, Callable[[memoryview], object]] = {
    "text": lambda data: bytes(data).decode("utf-8", "replace"),
    "hex": lambda data: bytes(data).hex(),
    "fixed64": lambda data: int.from_bytes(data, "little"),
    "double": _double,
    "int": _int,
    "bool": lambda data: bool(_int(data)),
}


def partial_success(rejected: int, message: str) -> bytes:
    """Return an `Export…ServiceResponse`: empty when everything was taken."""
    if not rejected:
        return b""
    inner = b"\x08" + _encoded(rejected) + _text(2, message)
    return b"\x0a" + _encoded(len(inner)) + inner


def status(code: int, message: str, details: Iterable[tuple[str, bytes]] = ()) -> bytes:
    """Return a `google.rpc.Status`; `details` are messages, each with the URL of its type."""
    more = (_message(3, _text(1, kind) + _message(2, detail)) for kind, detail in details)
    return b"\x08" + _encoded(code) + _text(2, message) + b"".join(more)


def error_info(reason: str, domain: str, metadata: Mapping[str, str]) -> bytes:
    """Return a `google.rpc.ErrorInfo`."""
    entries = (_message(3, _text(1, name) + _text(2, value)) for name, value in metadata.items())
    return _text(1, reason) + _text(2, domain) + b"".join(entries)


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode())


def _message(number: int, said: bytes) -> bytes:
    return bytes([number << 3 | _BYTES]) + _encoded(len(said)) + said


def _encoded(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits go into a byte
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
