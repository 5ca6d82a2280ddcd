"""`/v1/…` before servers that do not do what their API says: clients get what their library understands."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgi_client import Answer, Client

from llmos_lite.core.gateway.translation.translator import AnswerTranslation
from llmos_lite.core.traces.trace import Ended, Trace
from llmos_lite.engines.llm import Completion
from llmos_lite.engines.upstream import Wire
from tests.answering import Answering, answering, reply
from tests.gating import WIRES, Gate

PAIRS = [(client, server) for client in WIRES for server in WIRES]
PAGE = b"<html>Too many</html>"
EVENTS = "text/event-stream"
PLURALS = ("photos", "scans", "invoices")
CALL = {"id": "c1", "type": "function", "function": {"name": "now", "arguments": '{"a": "\u00fc"}'}}
ITEM = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "now", "arguments": '{"a": "\u00fc"}'}
MESSAGE = {"type": "message", "id": "m1", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
WHOLE: dict[str, dict[str, Any]] = {
    "chat": {
        "id": "a1",
        "model": "odd",
        "choices": [{"message": {"content": "Hi", "tool_calls": [CALL]}, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7},
    },
    "messages": {
        "id": "a1",
        "model": "odd",
        "content": [
            {"type": "text", "text": "Hi"},
            {"type": "tool_use", "id": "c1", "name": "now", "input": {"a": "\u00fc"}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 5, "output_tokens": 7},
    },
    "responses": {
        "id": "a1",
        "model": "odd",
        "status": "completed",
        "output": [MESSAGE, ITEM],
        "usage": {"input_tokens": 5, "output_tokens": 7},
    },
}


def streamed(dialect: str) -> bytes:
    """The same answer as events."""
    return AnswerTranslation(Wire(dialect), Wire(dialect)).streamed(json.dumps(WHOLE[dialect]).encode())


@asynccontextmanager
async def before(here: Gate, dialect: str, *answers: bytes) -> AsyncIterator[Answering]:
    """Put a server that gives these answers behind the model `odd`."""
    async with answering(*answers) as server:
        admin = Client(here.client.app, {"Authorization": f"Bearer {here.key}"})
        kind = "anthropic" if dialect == "messages" else "openai"
        body = {"kind": kind, "url": server.url, "models": ["odd"], "dialects": [dialect]}
        assert (await admin.request("PUT", "/providers/odd", json_body=body)).status < 300
        yield server


async def asked(here: Gate, wire: str, dialect: str, *answers: bytes, stream: bool = False) -> Answer:
    async with before(here, dialect, *answers):
        return await here.ask(wire, "hi", model="odd", stream=stream)


@pytest.mark.parametrize(("status", "kind"), [(429, "rate_limit_error"), (401, "authentication_error")])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("wire", "dialect"), PAIRS)
async def test_a_page_that_refuses_keeps_its_status_and_when_to_come_back(
    here: Gate,
    wire: str,
    dialect: str,
    status: int,
    kind: str,
    *,
    stream: bool,
) -> None:
    page = reply(PAGE, status, "text/html", retry_after="9")
    answer = await asked(here, wire, dialect, page, stream=stream)
    assert (answer.status, answer.headers["retry-after"]) == (status, "9")
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    assert (said.get("type"), said["error"]["type"]) == ("error" if wire == "messages" else None, kind)
    assert said["error"]["message"] == f"The model's server answered {status}."
    trace = await here.trace()
    assert (trace.ended, trace.error) == (Ended.ERROR, said["error"]["code"])


@pytest.mark.parametrize(("body", "message", "code"), [
    (b"upstream  connect error\n", "The model's server answered 503: upstream connect error", "model.failed"),
    (b'"busy"', "The model's server answered 503: busy", "model.failed"),
    (b'[{"error": {"code": 503, "message": "busy"}}]', "busy", "model.failed"),
    (b'{"detail": "busy"}', 'The model\'s server answered 503: "busy"', "model.failed"),
    (b'{"error": {"code": "too_long", "message": "no"}}', "no", "too_long"),
    (b'{"error": "no"}', "no", "model.failed"),
    (b'{"error": {"message": null}}', "The model's server answered 503.", "model.failed"),
    (b"[]", "The model's server answered 503.", "model.failed"),
    (b"", "The model's server answered 503.", "model.failed"),
    (b"\xff", "The model's server answered 503: \ufffd", "model.failed"),
])  # fmt: skip
async def test_what_a_server_says_of_its_refusal_reaches_a_client_of_another_dialect(
    here: Gate, body: bytes, message: str, code: str
) -> None:
    answer = await asked(here, "responses", "chat", reply(body, 503))
    error = answer.json()["error"]
    assert (answer.status, error["message"], error["code"]) == (503, message, code)


async def test_too_much_to_do_is_anthropics_word_for_a_client_of_it(here: Gate) -> None:
    answer = await asked(here, "messages", "chat", reply(b"busy", 529))
    assert (answer.status, answer.json()["error"]["type"]) == (529, "overloaded_error")


@pytest.mark.parametrize("status", [204, 302, 307])
async def test_a_status_that_is_neither_an_answer_nor_a_refusal_is_a_failure(here: Gate, status: int) -> None:
    answer = await asked(here, "chat", "chat", reply(b"", status, location="http://127.0.0.1:1/"))
    assert answer.status == 502
    assert f"answered {status}. See that the base URL" in json.dumps(answer.json())


def read(here: Gate, wire: str, answer: Answer, *, stream: bool) -> Completion:
    """Read an answer as the client's library does: it takes events for events alone."""
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == (EVENTS if stream else "application/json")
    dialect = here.services.gateway.dialects[Wire(wire)]
    if not stream:
        return dialect.whole(answer.body, "")
    reader = dialect.reader("")
    reader.feed(answer.body)
    assert reader.ended
    return reader.completion()


def check_whole(done: Completion, trace: Trace) -> None:
    assert (done.text, [(call.name, json.loads(call.arguments)) for call in done.tool_calls]) == (
        "Hi",
        [("now", {"a": "\u00fc"})],
    )
    assert (done.tokens_in, done.tokens_out) == (trace.tokens_in, trace.tokens_out) == (5, 7)
    assert (trace.ended, trace.answer, [call.name for call in trace.tool_calls]) == (Ended.COMPLETE, "Hi", ["now"])


@pytest.mark.parametrize(("wire", "dialect"), PAIRS)
async def test_a_server_that_does_not_stream_is_a_stream_to_a_client_that_wants_one(
    here: Gate, wire: str, dialect: str
) -> None:
    answer = await asked(here, wire, dialect, reply(json.dumps(WHOLE[dialect]).encode()), stream=True)
    check_whole(read(here, wire, answer, stream=True), await here.trace())


@pytest.mark.parametrize(("wire", "dialect"), PAIRS)
async def test_a_server_that_streams_unasked_answers_at_once_to_a_client_that_wants_that(
    here: Gate, wire: str, dialect: str
) -> None:
    answer = await asked(here, wire, dialect, reply(streamed(dialect), kind=EVENTS))
    check_whole(read(here, wire, answer, stream=False), await here.trace())


@pytest.mark.parametrize("wire", WIRES)
async def test_a_stream_of_another_type_is_one(here: Gate, wire: str) -> None:
    events = streamed(wire)
    answer = await asked(here, wire, wire, reply(events, kind="text/plain"), stream=True)
    assert answer.body == events
    check_whole(read(here, wire, answer, stream=True), await here.trace())


@pytest.mark.parametrize(("wire", "dialect"), PAIRS)
async def test_half_a_stream_is_no_answer_at_once(here: Gate, wire: str, dialect: str) -> None:
    half = streamed(dialect).split(b"\n\n")[0] + b"\n\n"
    answer = await asked(here, wire, dialect, reply(half, kind=EVENTS))
    assert (answer.status, answer.json()["error"]["code"]) == (502, "model.cut")
    trace = await here.trace()
    assert (trace.ended, trace.error, trace.answer) == (Ended.ERROR, "model.cut", "")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", WIRES)
async def test_a_page_is_no_answer(here: Gate, wire: str, *, stream: bool) -> None:
    answer = await asked(here, wire, wire, reply(PAGE, kind="text/html"), stream=stream)
    assert (answer.status, answer.json()["error"]["code"]) == (502, "model.garbage")


FAILURES: dict[str, list[dict[str, object]]] = {
    "chat": [{"error": {"message": "all is full", "code": 502}}, {"message": "all is full"}],
    "messages": [{"type": "error", "error": {"type": "overloaded_error", "message": "all is full"}}],
    "responses": [{"id": "r", "status": "failed", "output": [], "error": {"code": "x", "message": "all is full"}}],
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("dialect", "said"), [(wire, said) for wire in WIRES for said in FAILURES[wire]])
async def test_a_failure_within_an_answer_is_told_in_the_servers_words(
    here: Gate, wire: str, dialect: str, said: dict[str, object], *, stream: bool
) -> None:
    answer = await asked(here, wire, dialect, reply(json.dumps(said).encode()), stream=stream)
    error = answer.json()["error"]
    assert (answer.status, error["code"], error["message"]) == (502, "model.failed", "The model failed: all is full")
    assert (await here.trace()).error == "model.failed"


async def test_a_failure_is_told_without_our_key(here: Gate) -> None:
    body = {"error": {"message": "no quota for upstream-key"}}
    async with answering(reply(json.dumps(body).encode())) as server:
        admin = Client(here.client.app, {"Authorization": f"Bearer {here.key}"})
        provider = {"kind": "openai", "url": server.url, "models": ["odd"], "key": "upstream-key"}
        await admin.request("PUT", "/providers/odd", json_body=provider)
        answer = await here.ask("chat", "hi", model="odd")
    assert answer.json()["error"]["message"] == "The model failed: no quota for [key]"


FIRST_FAILS = {
    "chat": b'data: {"error": {"message": "all is full"}}\n\n',
    "messages": b'event: error\ndata: {"type": "error", "error": {"message": "all is full"}}\n\n',
}


@pytest.mark.parametrize("dialect", sorted(FIRST_FAILS))
async def test_a_response_that_fails_at_once_is_there_before_it_fails(here: Gate, dialect: str) -> None:
    """OpenAI's library takes no failure of a response that it has not heard of."""
    answer = await asked(here, "responses", dialect, reply(FIRST_FAILS[dialect], kind=EVENTS), stream=True)
    events = [json.loads(line[6:]) for line in answer.body.split(b"\n") if line.startswith(b"data: ")]
    assert [event["type"] for event in events] == ["response.created", "response.in_progress", "response.failed"]
    assert [event["sequence_number"] for event in events] == [0, 1, 2]
    assert events[-1]["response"]["error"]["message"] == "all is full"


NO_ARGUMENTS = {
    "messages": [
        {"type": "message_start", "message": {"id": "m", "model": "odd"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "c1", "name": "now"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": ""}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "c2", "name": "now"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        {"type": "message_stop"},
    ],
    "chat": [
        {"id": "m", "choices": [{"delta": {"tool_calls": [CALL | {"index": 0, "function": {"name": "now"}}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"id": "c2", "index": 1, "function": {"name": "now"}}]}}]},
        {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
    ],
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("wire", "dialect"), [("chat", "messages"), ("responses", "messages"), ("responses", "chat"), ("messages", "chat")]
)
async def test_a_call_without_arguments_has_empty_ones(here: Gate, wire: str, dialect: str, *, stream: bool) -> None:
    """Anthropic streams none where there are none; programs that speak to OpenAI read them as JSON."""
    events = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in NO_ARGUMENTS[dialect])
    answer = await asked(here, wire, dialect, reply(events, kind=EVENTS), stream=stream)
    calls = read(here, wire, answer, stream=stream).tool_calls
    assert [(call.id, call.name, call.arguments) for call in calls] == [("c1", "now", "{}"), ("c2", "now", "{}")]


def packed(body: bytes, kind: str, status: int = 200, how: str = "gzip") -> bytes:
    return reply(gzip.compress(body) if how == "gzip" else zlib.compress(body), status, kind, content_encoding=how)


@pytest.mark.parametrize("how", ["gzip", "deflate"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", WIRES)
async def test_an_answer_that_is_packed_unasked_is_unpacked(here: Gate, wire: str, how: str, *, stream: bool) -> None:
    body, kind = (streamed(wire), EVENTS) if stream else (json.dumps(WHOLE[wire]).encode(), "application/json")
    answer = await asked(here, wire, wire, packed(body, kind, how=how), stream=stream)
    assert answer.body == body
    assert "content-encoding" not in answer.headers
    check_whole(read(here, wire, answer, stream=stream), await here.trace())


async def test_a_stream_may_be_packed_in_several_parts(here: Gate) -> None:
    body = streamed("chat")
    parts = b"".join(gzip.compress(event + b"\n\n") for event in body.split(b"\n\n")[:-1])
    answer = await asked(here, "chat", "chat", reply(parts, kind=EVENTS, content_encoding="gzip"), stream=True)
    assert answer.body == body


async def test_a_refusal_that_is_packed_is_read(here: Gate) -> None:
    body = packed(b'{"error": {"message": "all is full"}}', "application/json", 429)
    answer = await asked(here, "messages", "chat", body)
    assert (answer.status, answer.json()["error"]["message"]) == (429, "all is full")


@pytest.mark.parametrize(("data", "code"), [
    (gzip.compress(json.dumps(WHOLE["chat"]).encode())[:-20], "model.cut"),
    (b"not packed", "model.cut"),
    (b"", "model.garbage"),
    (gzip.compress(b" " * (100 << 20)), "model.garbage"),
])  # fmt: skip
async def test_what_cannot_be_unpacked_is_a_failure(here: Gate, data: bytes, code: str) -> None:
    answer = await asked(here, "chat", "chat", reply(data, content_encoding="gzip"))
    assert (answer.status, answer.json()["error"]["code"]) == (502, code)
    assert (await here.trace()).error == code


async def test_what_nobody_answered_is_no_goal(here: Gate) -> None:
    """A provider that is down says nothing of how well the goals of that night are served."""
    asks = [f"{verb} a Python script that renames {what} by date" for verb in ("Write", "Make") for what in PLURALS]
    for goal in asks[:3]:
        assert (await here.ask("chat", goal)).status == 200
    for goal in asks[3:]:
        assert (await here.ask("chat", goal, model="e500")).status == 500
        assert b"model.cut" in (await here.ask("chat", f"Please: {goal}", model="cut-c8", stream=True)).body
    run = (await here.client.post("/evolve", {"scope": "user", "wait": True})).json()
    assert (run["traces_analyzed"], run["skills_created"]) == (9, 1), run
    patterns = (await here.client.request("GET", "/patterns")).json()["items"]
    assert [pattern["count"] for pattern in patterns] == [3]


@pytest.mark.parametrize(("kind", "piece", "begins"), [
    ("function_call", "function_call_arguments", '{"a": "xx'),
    ("custom_tool_call", "custom_tool_call_input", '{"input":"xx'),
])  # fmt: skip
async def test_half_a_call_of_a_response_is_in_the_trace_with_its_tokens(
    here: Gate, kind: str, piece: str, begins: str
) -> None:
    item = {"type": kind, "id": "f1", "call_id": "c1", "name": "now"}
    texts = ['{"a": "'] * (kind == "function_call") + ["x" * 40]
    events = [
        {"type": "response.output_item.added", "item": ITEM},
        {"type": "response.output_item.done", "item": ITEM},
        {"type": "response.output_item.added", "item": item},
        *({"type": f"response.{piece}.delta", "delta": text} for text in texts),
    ]
    half = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)
    assert b"model.cut" in (await asked(here, "responses", "responses", reply(half, kind=EVENTS), stream=True)).body
    trace = await here.trace()
    whole, cut = trace.tool_calls
    assert json.loads(whole.arguments) == {"a": "\u00fc"}
    assert (cut.id, cut.name, cut.arguments.startswith(begins)) == ("c1", "now", True)
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut.arguments)
    assert trace.tokens_out > 10
