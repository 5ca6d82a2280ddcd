"""OTLP as it comes in: protobuf and JSON say the same, and nothing that a stranger sends is more than an error."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos_lite.core.telemetry import otlp
from llmos_lite.core.telemetry.otlp import read_request, unpacked, value_of
from llmos_lite.core.telemetry.protobuf import partial_success, read_message
from llmos_lite.errors import Invalid, TooLarge

SAMPLES = Path(__file__).parent / "samples"
AGENT = (SAMPLES / "agent.pb").read_bytes()
EVENTS = (SAMPLES / "claude_code_events.pb").read_bytes()


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def nested(number: int, inner: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(inner)) + inner


def test_protobuf_and_json_say_the_same() -> None:
    spans = read_request(AGENT, "Traces", as_json=False)
    assert spans == read_request((SAMPLES / "agent.json").read_bytes(), "Traces", as_json=True)
    assert [span.name for span in spans.spans] == [
        "chat gpt-9",
        "execute_tool load_skill git-workflow",
        "GET /",
        "chat gpt-9",
        "invoke_agent coder",
    ]
    first = spans.spans[0]
    assert first.trace_id == "5b8efff798038103d269b633813fc60c"
    assert first.parent_id == spans.spans[-1].span_id == "abc0000000000001"
    assert (first.start, first.end) == (1790000001000, 1790000002000)
    assert first.attributes["gen_ai.usage.input_tokens"] == 900
    assert first.attributes["gen_ai.response.finish_reasons"] == ["tool_call"]
    assert (first.attributes["gen_ai.request.temperature"], first.attributes["gen_ai.request.stream"]) == (0.5, True)
    assert [span.error for span in spans.spans] == ["", "", "", "it took too long", ""]


def test_log_records_have_a_name_a_time_and_attributes() -> None:
    logs = read_request(EVENTS, "Logs", as_json=False).logs
    assert [log.name for log in logs][:3] == ["user_prompt", "api_request", "skill_activated"]
    assert logs[1].at == 1790000001000
    assert logs[1].attributes["cost_usd"] == 0.01


def test_negative_numbers_and_unknown_fields_are_read_as_protobuf_has_them() -> None:
    value = varint(3 << 3) + varint((-5) & (1 << 64) - 1)
    assert value_of(read_message(b"", "Traces") or {"intValue": "-5"}) == -5
    attribute = nested(1, b"x") + nested(2, value) + varint(77 << 3) + varint(9) + varint(78 << 3 | 5) + b"1234"
    record = b"\x59" + (10**18).to_bytes(8, "little") + nested(6, attribute)
    [log] = read_request(nested(1, nested(2, nested(2, record))), "Logs", as_json=False).logs
    assert log.attributes == {"x": -5}


@pytest.mark.parametrize(
    "body", [b"\x0a", b"\x0a\xff", b"\x0b", b"\xff" * 12, AGENT[:-3], b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"]
)
def test_protobuf_that_breaks_off_is_an_error(body: bytes) -> None:
    with pytest.raises(Invalid):
        read_request(body, "Traces", as_json=False)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200)
    | st.integers(0, len(AGENT)).flatmap(
        lambda at: st.binary(max_size=8).map(lambda cut: AGENT[:at] + cut + AGENT[at + len(cut) :])
    )
)
def test_no_bytes_are_more_than_an_error(body: bytes) -> None:
    for message in ("Traces", "Logs"):
        try:
            read_request(body, message, as_json=False)
        except Invalid:
            continue


def test_values_inside_values_end_somewhere() -> None:
    inner = nested(1, b"deep")
    for _ in range(2000):
        inner = nested(5, nested(1, inner))
    body = nested(1, nested(2, nested(2, nested(9, nested(1, b"x") + nested(2, inner)))))
    with pytest.raises(Invalid, match="too deeply"):
        read_request(body, "Traces", as_json=False)
    value = {"stringValue": "deep"}
    for _ in range(100):
        value = {"arrayValue": {"values": [value]}}
    record = {"timeUnixNano": "1790000000000000000", "body": value}
    body = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).encode()
    assert read_request(body, "Logs", as_json=True).logs[0].name == ""
    with pytest.raises(Invalid):
        read_request(b"[" * 100_000, "Logs", as_json=True)


def test_one_value_does_not_hold_everything() -> None:
    wide = {"arrayValue": {"values": [{"stringValue": "x"}] * (otlp.MOST_VALUES + 5)}}
    found = value_of(wide)
    assert isinstance(found, list)
    assert found.count(None) == 6


NAMES = (
    *("attributes", "key", "value", "traceId", "spanId", "startTimeUnixNano", "status", "code", "events", "name"),
    *("stringValue", "intValue", "arrayValue", "kvlistValue", "values", "doubleValue", "boolValue"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_wrong_types_are_counted_not_raised(item: object) -> None:
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [item]}]}, item]}
    found = read_request(json.dumps(body).encode(), "Traces", as_json=True)
    assert len(found.spans) + found.rejected == 1
    value_of(item)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("traceId", value) for value in ("0" * 32, "xyz", None)),
        *(("spanId", value) for value in (7, "")),
        *(("startTimeUnixNano", value) for value in ("soon", "-5", "9" * 20, "1000000000")),
    ],
)
def test_a_span_without_valid_ids_or_time_is_rejected(key: str, value: object) -> None:
    span = {"traceId": "a" * 32, "spanId": "b" * 16, "startTimeUnixNano": "1790000000000000000"}
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span, span | {key: value}]}]}]}
    found = read_request(json.dumps(body).encode(), "Traces", as_json=True)
    assert (len(found.spans), found.rejected) == (1, 1)


def test_an_export_has_so_many_spans_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "MOST_ITEMS", 2)
    found = read_request(AGENT, "Traces", as_json=False)
    assert (len(found.spans), found.rejected) == (2, 3)


def test_compressed_bodies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unpacked(gzip.compress(AGENT), "gzip") == AGENT
    assert unpacked(AGENT, "identity") == AGENT
    assert unpacked(zlib.compress(AGENT), "deflate") == AGENT
    monkeypatch.setattr(otlp, "UNPACKED", 1000)
    with pytest.raises(TooLarge):
        unpacked(gzip.compress(bytes(100_000)), "gzip")
    for body in (b"not gzip", gzip.compress(AGENT[:500])[:-9], gzip.compress(b"a") * 2, b""):
        with pytest.raises(Invalid):
            unpacked(body, "gzip")
    with pytest.raises(Invalid):
        unpacked(AGENT, "br")


def test_a_partial_success_is_protobuf() -> None:
    assert partial_success(0, "x") == b""
    assert partial_success(300, "no") == b"\x0a\x07\x08\xac\x02\x12\x02no"
