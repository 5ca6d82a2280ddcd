"""What the official libraries take for an answer is read here, too, and can be said in every other dialect.

Answers are made of the libraries' own types, with everything that may be missing or null sometimes missing or null.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

from llmos_lite.core.gateway.responses_reader import ResponsesReader, whole_response
from llmos_lite.core.gateway.translation.translator import AnswerTranslation
from llmos_lite.engines.llm import Completion
from llmos_lite.engines.llm_anthropic import MessageStream, whole_message
from llmos_lite.engines.llm_openai import ChatStream, whole_chat
from llmos_lite.engines.upstream import Wire
from tests.official import made

TRIES = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def answer_of(kind: object, luck: Random) -> dict[str, Any]:
    answer = made(kind, luck)
    assert isinstance(answer, dict)
    return answer


WHOLE: dict[str, tuple[Any, Wire, Callable[[bytes, str], Completion]]] = {
    "chat": (ChatCompletion, Wire.CHAT, whole_chat),
    "responses": (Response, Wire.RESPONSES, whole_response),
    "messages": (Message, Wire.MESSAGES, whole_message),
    "beta messages": (BetaMessage, Wire.MESSAGES, whole_message),
}
EVENTS: dict[str, tuple[Any, Wire, Callable[[str], Any]]] = {
    "chat": (ChatCompletionChunk, Wire.CHAT, ChatStream),
    "responses": (ResponseStreamEvent, Wire.RESPONSES, ResponsesReader),
    "messages": (RawMessageStreamEvent, Wire.MESSAGES, MessageStream),
    "beta messages": (BetaRawMessageStreamEvent, Wire.MESSAGES, MessageStream),
}


@pytest.mark.parametrize("name", WHOLE)
@given(luck=st.randoms())
@TRIES
def test_what_the_libraries_take_is_read(name: str, luck: Random) -> None:
    kind, wire, read = WHOLE[name]
    answer = answer_of(kind, luck)
    assume(answer.get("status") != "failed" and answer.get("choices", True))
    body = json.dumps(answer | {"id": "x"}).encode()
    assert isinstance(read(body, "m"), Completion)
    for other in set(Wire) - {wire}:
        told = json.loads(AnswerTranslation(wire, other).whole(body))["id"]
        assert told.startswith("msg_") if other is Wire.MESSAGES else told == "x"


@pytest.mark.parametrize("name", EVENTS)
@given(luck=st.randoms())
@TRIES
def test_what_the_libraries_take_in_a_stream_is_read(name: str, luck: Random) -> None:
    kind, wire, reader = EVENTS[name]
    event = answer_of(kind, luck)
    assume(event.get("type") not in {"error", "response.failed"})
    body = b"data: %b\n\n" % json.dumps(event).encode()
    assert isinstance(reader("m").feed(body), str)
    for other in set(Wire) - {wire}:
        assert isinstance(AnswerTranslation(wire, other).feed(body), bytes)


def chat(**message: object) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "length"}
    return json.dumps({"id": "c", "model": "m", "choices": [choice]}).encode()


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": None, "refusal": "No."}, "No."),
        ({"content": None, "audio": {"id": "a", "data": "", "transcript": "Hi."}}, ""),
        ({"content": None, "reasoning_content": "All tokens went into this."}, ""),
        ({"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "Hi."}]}, "Hi."),
    ],
    ids=["refusal", "sound", "thoughts", "pieces"],
)
def test_a_chat_may_answer_without_a_text(message: dict[str, object], text: str) -> None:
    assert whole_chat(chat(**message), "m").text == text
    translated = json.loads(AnswerTranslation(Wire.CHAT, Wire.MESSAGES).whole(chat(**message)))
    assert [block["text"] for block in translated["content"]] == ([text] if text else [])
    stream = ChatStream("m")
    stream.feed(b"data: %b\n\n" % chat(**message).replace(b'"message"', b'"delta"'))
    assert stream.completion().text == text


def test_an_answer_begins_when_it_has_a_name() -> None:
    """Azure sends a chunk about the prompt before it, whose id and model are empty."""
    translation = AnswerTranslation(Wire.CHAT, Wire.MESSAGES)
    about = b'data: {"id":"","object":"","model":"","choices":[],"prompt_filter_results":[{"prompt_index":0}]}\n\n'
    assert translation.feed(about) == b""
    said = translation.feed(b"data: %b\n\n" % chat(content="Hi.").replace(b'"message"', b'"delta"'))
    start = json.loads(said.split(b"\n")[1].removeprefix(b"data: "))
    assert (start["message"]["id"][:4], start["message"]["model"]) == ("msg_", "m")


def test_a_call_of_a_client_that_still_sends_functions_is_in_the_trace() -> None:
    body = chat(content=None, function_call={"name": "look", "arguments": "{}"})
    assert [call.name for call in whole_chat(body, "m").tool_calls] == ["look"]


REFUSED = [{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}]


def test_responses_may_refuse() -> None:
    body = json.dumps({"id": "r", "status": "completed", "output": REFUSED}).encode()
    assert whole_response(body, "m").text == "No."
    stream = ResponsesReader("m")
    data = b'data: {"type":"response.refusal.delta","delta":"No."}\n\n'
    assert (stream.feed(data), stream.completion().text) == ("No.", "No.")
    assert b"No." in AnswerTranslation(Wire.RESPONSES, Wire.CHAT).feed(data)


def test_a_response_that_is_still_to_come_passes() -> None:
    assert whole_response(b'{"id":"r","status":"queued","output":[],"usage":null}', "m").text == ""
