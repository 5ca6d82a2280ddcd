"""Calls of tools in both dialects: written as each provider wants them, and read however they come."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.engines import llm_http
from llmos_lite.engines.llm import (
    ChatMessage,
    ChatRequest,
    Completion,
    Delta,
    LanguageModel,
    OfflineModel,
    Piece,
    Tool,
    ToolCall,
    has_tool_messages,
    knows_tools,
)
from llmos_lite.engines.llm_anthropic import AnthropicModel
from llmos_lite.engines.llm_auto import AutoModel
from llmos_lite.engines.llm_calls import MOST_CALLS, Calls, arguments_object
from llmos_lite.engines.llm_openai import OpenAIModel
from llmos_lite.errors import UpstreamFailed
from tests.upstream import Upstream, running

Model = type[OpenAIModel] | type[AnthropicModel]
both = pytest.mark.parametrize("kind", [OpenAIModel, AnthropicModel])
WEATHER = Tool("weather", "Tells the weather.", {"type": "object", "properties": {"place": {"type": "string"}}})
CALLS = [("weather", '{"place": "Å\\"r\\\\hus \\u00e9"}'), ("weather", "{}")]
USER: ChatMessage = {"role": "user", "content": "What is the weather?"}


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with running() as server:
        server.script = [CALLS]
        yield server


def ask(model: str, *messages: ChatMessage, choice: str = "auto") -> ChatRequest:
    return ChatRequest(messages=messages or [USER], model=model, tools=[WEATHER], tool_choice=choice)


async def pieces_of(model: LanguageModel, request: ChatRequest) -> list[Piece]:
    async with aclosing(model.stream(request)) as pieces:
        return [piece async for piece in pieces]


def done(pieces: list[Piece]) -> Completion:
    assert isinstance(pieces[-1], Completion)
    return pieces[-1]


@both
@pytest.mark.parametrize("name", ["ask", "ask-o1", "ask-o1000", "ask-crlf-o3", "ask-plainjson", "ask-say-o2"])
async def test_calls_are_whole_however_their_arguments_were_cut(kind: Model, name: str, upstream: Upstream) -> None:
    pieces = await pieces_of(kind(upstream.url), ask(name))
    calls = [piece for piece in pieces if isinstance(piece, ToolCall)]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        (name, json.loads(arguments)) for name, arguments in CALLS
    ]
    assert len({call.id for call in calls}) == 2
    whole = done(pieces)
    assert whole.tool_calls == tuple(calls)
    assert whole.stop_reason == "tools"
    texts = "".join(piece.text for piece in pieces if isinstance(piece, Delta))
    assert whole.text == texts == ("One moment. " if "say" in name else "")


@pytest.mark.parametrize("name", ["ask-noindex-o2", "ask-zeroindex-o2", "ask-noid-o2"])
async def test_servers_that_tell_calls_apart_in_other_ways_are_understood(name: str, upstream: Upstream) -> None:
    calls = done(await pieces_of(OpenAIModel(upstream.url), ask(name))).tool_calls
    assert [json.loads(call.arguments) for call in calls] == [json.loads(arguments) for _, arguments in CALLS]
    assert all(call.id for call in calls)
    assert len({call.id for call in calls}) == 2


@both
async def test_a_model_that_needs_no_tool_just_answers(kind: Model, upstream: Upstream) -> None:
    whole = done(await pieces_of(kind(upstream.url), ask("plain")))
    assert (whole.tool_calls, whole.stop_reason) == ((), "end")


async def test_openai_gets_calls_and_results_in_its_words(upstream: Upstream) -> None:
    calls = (ToolCall("c1", "weather", '{"place":"x"}'), ToolCall("c2", "weather", "no json"))
    await OpenAIModel(upstream.url).complete(
        ask(
            "plain",
            USER,
            {"role": "assistant", "content": "", "tool_calls": calls},
            {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
            {"role": "tool", "content": "what?", "tool_call_id": "c2", "is_error": True},
        )
    )
    body = upstream.chats[0].body
    parameters = WEATHER.parameters
    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "weather", "description": "Tells the weather.", "parameters": parameters},
        }
    ]
    assert body["tool_choice"] == "auto"
    assert body["messages"] == [
        USER,
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"place":"x"}'}},
                {"id": "c2", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
        {"role": "tool", "content": "what?", "tool_call_id": "c2"},
    ]


async def test_anthropic_gets_calls_and_results_in_its_words(upstream: Upstream) -> None:
    calls = (ToolCall("c1", "weather", '{"place":"x"}'), ToolCall("c2", "weather", "[1]"))
    await AnthropicModel(upstream.url).complete(
        ask(
            "plain",
            USER,
            {"role": "assistant", "content": "Let me see.", "tool_calls": calls},
            {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
            {"role": "tool", "content": "what?", "tool_call_id": "c2", "is_error": True},
            {"role": "assistant", "content": " ", "tool_calls": calls[:1]},
            {"role": "tool", "content": "rain", "tool_call_id": "c1"},
        )
    )
    body = upstream.chats[0].body
    assert body["tools"] == [
        {"name": "weather", "description": "Tells the weather.", "input_schema": WEATHER.parameters}
    ]
    assert body["tool_choice"] == {"type": "auto"}
    user, asked, results, again, last = body["messages"]
    assert user == USER
    assert asked["content"] == [
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "c1", "name": "weather", "input": {"place": "x"}},
        {"type": "tool_use", "id": "c2", "name": "weather", "input": {}},
    ]
    assert results == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "c1", "content": "sunny"},
            {"type": "tool_result", "tool_use_id": "c2", "content": "what?", "is_error": True},
        ],
    }
    assert [block["type"] for block in again["content"]] == ["tool_use"]
    assert last["content"] == [{"type": "tool_result", "tool_use_id": "c1", "content": "rain"}]


@pytest.mark.parametrize(
    ("choice", "openai", "anthropic"),
    [
        ("none", "none", {"type": "none"}),
        ("required", "required", {"type": "any"}),
        ("weather", {"type": "function", "function": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
    ],
)
async def test_each_dialect_has_its_word_for_a_choice(
    choice: str, openai: object, anthropic: object, upstream: Upstream
) -> None:
    await OpenAIModel(upstream.url).complete(ask("plain", choice=choice))
    await AnthropicModel(upstream.url).complete(ask("plain", choice=choice))
    assert [seen.body["tool_choice"] for seen in upstream.chats] == [openai, anthropic]


@both
async def test_a_model_that_takes_no_tools_says_so_by_a_code_of_its_own(kind: Model, upstream: Upstream) -> None:
    with pytest.raises(UpstreamFailed) as caught:
        await kind(upstream.url).complete(ask("notools"))
    assert caught.value.code == "model.no_tools"
    await kind(upstream.url).complete(ChatRequest(messages=[USER], model="notools"))


@pytest.mark.parametrize(
    ("said", "is_about"),
    [
        (": llama2 does not support tools", True),
        (': "auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set', True),
        (": tools param requires --jinja flag", True),
        (": no endpoints found that support tool use", True),
        (": messages with role 'tool' must be a response to a preceding message with 'tool_calls'", False),
        (": the server broke", False),
    ],
)
def test_refusals_of_tools_are_known_by_their_words(said: str, is_about: bool) -> None:  # noqa: FBT001 - a case
    assert llm_http._about_tools(said) is is_about


@both
async def test_other_refusals_stay_what_they_are(kind: Model, upstream: Upstream) -> None:
    with pytest.raises(UpstreamFailed) as caught:
        await kind(upstream.url).complete(ask("e400"))
    assert caught.value.code == "model.rejected"


@both
async def test_more_calls_than_anybody_makes_are_garbage(kind: Model, upstream: Upstream) -> None:
    upstream.script = [[("weather", "{}")] * (MOST_CALLS + 1)]
    with pytest.raises(UpstreamFailed) as caught:
        await kind(upstream.url).complete(ask("ask"))
    assert caught.value.code == "model.garbage"


def test_only_models_that_say_so_are_given_tools() -> None:
    assert knows_tools(OpenAIModel("http://host"))
    assert knows_tools(AnthropicModel("http://host"))
    assert not knows_tools(OfflineModel())
    assert not knows_tools(AutoModel())


def test_tool_messages_are_told_from_others() -> None:
    assert not has_tool_messages([USER])
    assert has_tool_messages([USER, {"role": "tool", "content": "x", "tool_call_id": "c"}])
    assert has_tool_messages([{"role": "assistant", "content": "", "tool_calls": []}])


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("stop", "end"), ("end_turn", "end"), ("length", "length"), ("max_tokens", "length"), ("refusal", "filtered")],
)
def test_a_stop_reason_is_the_same_word_for_all(finish: str, reason: str) -> None:
    assert Completion(text="", model="m", finish=finish).stop_reason == reason


@pytest.mark.parametrize("said", ["", "no", "[]", "null", "7", '"x"', "{", '{"a": \ud800}', "[" * 100_000])
def test_what_is_no_object_is_not_sent_back(said: str) -> None:
    assert arguments_object(said) == "{}"


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=5), st.text(max_size=30)), min_size=1, max_size=4),
    st.integers(1, 8),
    st.booleans(),
)
def test_any_cut_gives_the_same_calls(said: list[tuple[str, str]], size: int, repeat: bool) -> None:  # noqa: FBT001 - drawn
    calls = Calls()
    for place, (name, arguments) in enumerate(said):
        calls.add(place, f"c{place}", name, "")
        for start in range(0, len(arguments), size):
            piece = arguments[start : start + size]
            calls.add(place, f"c{place}" if repeat else "", name if repeat else "", piece)
    assert [(call.id, call.name, call.arguments) for call in calls.whole()] == [
        (f"c{place}", name, arguments or "{}") for place, (name, arguments) in enumerate(said)
    ]


def test_arguments_without_an_end_are_cut_for_all_calls_together() -> None:
    calls = Calls(most=10)
    for call_id in "ab":
        for _ in range(3):
            calls.add(None, call_id, "tool", "1234")
    assert [call.arguments for call in calls.whole()] == ["1234123412", "{}"]
