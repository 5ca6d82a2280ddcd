"""OpenAI's and Anthropic's own libraries against a real server process, whose model is the tests' upstream.

One server speaks OpenAI's dialects with its model, one Anthropic's: each library is served as it is, and translated.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.gating import PHOTOS
from tests.upstream import WORD, Upstream, running

if TYPE_CHECKING:
    from tests.story.conftest import Serve, Server

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
CHAT_TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
RESPONSE_TOOL: Any = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
MESSAGE_TOOL: Any = {"name": "weather", "input_schema": SCHEMA}
ASKED: Any = [{"role": "user", "content": PHOTOS}]
CALLS = [("weather", '{"city": "Rome"}'), ("weather", '{"city": "Oslo"}')]
SAID = WORD * 3


@dataclass
class Point:
    """A server with one person at it, the libraries that speak to it, and the model behind it."""

    server: Server
    upstream: Upstream
    openai: AsyncOpenAI
    anthropic: AsyncAnthropic
    provider: str

    @property
    def server_speaks_responses(self) -> bool:
        return self.provider == "openai"

    @property
    def has_skill(self) -> bool:
        return "<skill_content" in json.dumps(self.upstream.chats[-1].body)

    def trace(self, number: int = 0) -> Any:  # noqa: ANN401 - JSON
        rows = self.server.ask("alice", "GET", "/traces?limit=10")["items"]
        return self.server.ask("alice", "GET", f"/traces/{rows[number]['trace_id']}")


@pytest.fixture(params=["openai", "anthropic"])
async def point(request: pytest.FixtureRequest, serve: Serve) -> AsyncIterator[Point]:
    async with running() as upstream:
        settings = {"LLMOS_LLM_PROVIDER": request.param, "LLMOS_LLM_URL": upstream.url, "LLMOS_LLM_KEY": "theirs"}
        server = serve(**settings, LLMOS_SKILL_EXAMPLES="off", LLMOS_LLM_RETRIES="0")
        options: Any = {"api_key": server.key, "max_retries": 0, "default_headers": {"X-LLMOS-User": "alice"}}
        async with (
            AsyncOpenAI(base_url=f"{server.url}/v1", **options) as theirs,
            AsyncAnthropic(base_url=server.url, **options) as others,
        ):
            yield Point(server, upstream, theirs, others, request.param)


async def test_openais_chat(point: Point) -> None:
    chat = point.openai.chat.completions
    answer = await chat.create(model="plain", messages=ASKED)
    assert answer.choices[0].message.content == SAID
    assert (answer.usage and answer.usage.completion_tokens, point.has_skill) == (3, True)
    stream = await chat.create(model="plain", messages=ASKED, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == SAID
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 3
    assert (point.trace()["goal"], point.trace()["ended"]) == (PHOTOS, "complete")
    raw = await chat.with_raw_response.create(model="plain", messages=ASKED)
    assert raw.headers["x-llmos-skills-used"] == "python-scripts"


async def test_openais_tools_at_once_and_in_a_stream(point: Point) -> None:
    point.upstream.script = [CALLS, [], CALLS]
    chat = point.openai.chat.completions
    asked: Any = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Weather?"}]
    message = (await chat.create(model="ask", messages=asked, tools=[CHAT_TOOL])).choices[0].message
    calls: Any = message.tool_calls
    assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Rome", "Oslo"]
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls]
    said: Any = [*asked, message.model_dump(exclude_none=True), *results]
    assert (await chat.create(model="ask", messages=said, tools=[CHAT_TOOL])).choices[0].message.content == SAID
    trace = point.trace()
    assert [(one["role"], one["content"]) for one in trace["messages"]] == [
        ("tool", "sunny"), ("tool", "sunny"), ("assistant", SAID)
    ]  # fmt: skip
    assert trace["conversation_id"] == point.trace(1)["conversation_id"]
    async with chat.stream(model="ask-o3", messages=asked, tools=[CHAT_TOOL]) as stream:
        streamed: Any = (await stream.get_final_completion()).choices[0].message.tool_calls
    assert [json.loads(call.function.arguments)["city"] for call in streamed] == ["Rome", "Oslo"]


async def test_openais_responses(point: Point) -> None:
    answers = point.openai.responses
    answer = await answers.create(model="plain", input=PHOTOS, instructions="Be brief.", store=False)
    assert (answer.output_text, point.has_skill) == (SAID, True)
    async with answers.stream(model="plain", input=PHOTOS) as stream:
        assert (await stream.get_final_response()).output_text == SAID
    point.upstream.script = [CALLS]
    called = await answers.create(model="ask", input="Weather?", tools=[RESPONSE_TOOL], store=False)
    calls: Any = [item for item in called.output if item.type == "function_call"]
    assert [json.loads(call.arguments)["city"] for call in calls] == ["Rome", "Oslo"]
    said: Any = [{"role": "user", "content": "Weather?"}]
    said += [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"}]
    said += [item.model_dump(exclude_none=True) for item in calls]
    said += [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls]
    include: Any = ["reasoning.encrypted_content"]
    end = await answers.create(model="plain", input=said, tools=[RESPONSE_TOOL], store=False, include=include)
    assert end.output_text == SAID
    assert [one["role"] for one in point.trace()["messages"]][-1] == "assistant"


async def test_openais_responses_in_the_background(point: Point) -> None:
    """The loop of OpenAI's documentation; a server of another dialect has answered before it begins."""
    answers, has_it = point.openai.responses, point.server_speaks_responses
    answer = await answers.create(model="behind", input=PHOTOS, background=True)
    assert answer.status == ("queued" if has_it else "completed")
    while answer.status in {"queued", "in_progress"}:
        answer = await answers.retrieve(answer.id)
    assert (answer.status, answer.output_text, point.trace()["ended"]) == ("completed", SAID, "complete")
    if not has_it:
        with pytest.raises(openai.NotFoundError, match="background: true"):
            await answers.retrieve(answer.id)
        return
    assert [item.type async for item in answers.input_items.list(answer.id)] == ["message"]
    second = await answers.create(model="behind", input=PHOTOS, background=True)
    assert (await answers.cancel(second.id)).status == "cancelled"
    assert (point.trace()["ended"], point.trace(1)["ended"]) == ("aborted", "complete")
    await answers.delete(answer.id)
    with pytest.raises(openai.NotFoundError):
        await answers.retrieve(answer.id)
    with pytest.raises(openai.NotFoundError):
        await point.openai.with_options(default_headers={"X-LLMOS-User": "bob"}).responses.retrieve(second.id)


async def test_openais_stream_of_a_response_in_the_background_goes_on_where_it_broke_off(point: Point) -> None:
    if not point.server_speaks_responses:
        pytest.skip("nothing is made in the background there")
    answers, seen = point.openai.responses, list[Any]()
    async for event in await answers.create(model="behind-cut-c8", input=PHOTOS, background=True, stream=True):
        seen.append(event)
    assert (seen[0].type, seen[-1].type, seen[-1].code) == ("response.created", "error", "model.cut")
    last = seen[-2].sequence_number
    rest = [one async for one in await answers.retrieve(seen[0].response.id, stream=True, starting_after=last)]
    assert [one.sequence_number for one in rest] == list(range(last + 1, last + 1 + len(rest)))
    assert (rest[-1].type, rest[-1].response.output_text) == ("response.completed", WORD * 8)  # type: ignore[union-attr]
    assert [one["content"] for one in point.trace()["messages"]] == [WORD * 8]
    assert [one["role"] for one in point.trace(1)["messages"]] == ["user"]


async def test_a_response_that_breaks_off_is_told_in_openais_events(point: Point) -> None:
    stream = await point.openai.responses.create(model="cut-c8", input=PHOTOS, stream=True)
    events: list[Any] = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[-2:]] == ["error", "response.failed"]
    assert events[-2].code == events[-1].response.error.code == "model.cut"
    assert events[-1].response.id == events[0].response.id
    async with point.openai.responses.stream(model="cut-c8", input=PHOTOS) as helped:
        assert [event.type async for event in helped][-1] == "response.failed"


async def test_anthropics_messages(point: Point) -> None:
    messages = point.anthropic.messages
    answer = await messages.create(model="plain", max_tokens=50, messages=ASKED, system="Be brief.")
    assert (answer.content[-1].type, answer.stop_reason, answer.usage.output_tokens) == ("text", "end_turn", 3)
    assert point.has_skill
    async with messages.stream(model="plain", max_tokens=50, messages=ASKED) as stream:
        assert "".join([text async for text in stream.text_stream]) == SAID
        assert (await stream.get_final_message()).usage.output_tokens == 3
    count = await messages.count_tokens(model="plain", messages=ASKED)
    assert count.input_tokens > 5


async def test_anthropics_tools_at_once_and_in_a_stream(point: Point) -> None:
    point.upstream.script = [CALLS, CALLS]
    messages = point.anthropic.messages
    asked: Any = [{"role": "user", "content": "Weather?"}]
    answer = await messages.create(model="ask", max_tokens=50, messages=asked, tools=[MESSAGE_TOOL])
    calls: Any = [block for block in answer.content if block.type == "tool_use"]
    assert [call.input["city"] for call in calls] == ["Rome", "Oslo"]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls]
    blocks = [block.model_dump(exclude_none=True) for block in answer.content]
    said: Any = [*asked, {"role": "assistant", "content": blocks}, {"role": "user", "content": results}]
    async with messages.stream(model="ask-o3", max_tokens=50, messages=asked, tools=[MESSAGE_TOOL]) as stream:
        streamed: Any = (await stream.get_final_message()).content
    assert [block.input["city"] for block in streamed if block.type == "tool_use"] == ["Rome", "Oslo"]
    await messages.create(model="plain", max_tokens=50, messages=said, tools=[MESSAGE_TOOL])
    trace = point.trace()
    assert [one["role"] for one in trace["messages"]] == ["tool", "tool", "assistant"]


async def test_models_are_listed_for_both(point: Point) -> None:
    point.upstream.models = ["plain"]
    assert [model.id async for model in point.openai.models.list()] == ["plain"]
    assert [model.id async for model in point.anthropic.models.list()] == ["plain"]


FAILURES: list[tuple[str, type[openai.OpenAIError], type[anthropic.AnthropicError], str]] = [
    ("e401", openai.AuthenticationError, anthropic.AuthenticationError, "model.rejected"),
    ("e404", openai.NotFoundError, anthropic.NotFoundError, "model.rejected"),
    ("e429", openai.RateLimitError, anthropic.RateLimitError, "model.rate_limited"),
    ("e500", openai.InternalServerError, anthropic.InternalServerError, "model.failed"),
    ("garbage", openai.InternalServerError, anthropic.InternalServerError, "model.garbage"),
]


async def test_failures_are_the_libraries_own_exceptions(point: Point) -> None:
    for model, theirs, others, code in FAILURES:
        with pytest.raises(theirs) as chat:
            await point.openai.chat.completions.create(model=model, messages=ASKED)
        with pytest.raises(theirs):
            await point.openai.responses.create(model=model, input=PHOTOS)
        with pytest.raises(others) as message:
            await point.anthropic.messages.create(model=model, max_tokens=50, messages=ASKED)
        assert point.trace()["error"] == code
        if model == "e429":
            assert chat.value.response.headers["retry-after"] == "7"  # type: ignore[attr-defined]
            assert message.value.response.headers["retry-after"] == "7"  # type: ignore[attr-defined]


async def test_half_a_stream_is_an_exception(point: Point) -> None:
    with pytest.raises(openai.APIError, match="broke the connection"):
        async for _ in await point.openai.chat.completions.create(model="cut-c8", messages=ASKED, stream=True):
            pass
    with pytest.raises(anthropic.APIStatusError, match="broke the connection"):
        async with point.anthropic.messages.stream(model="cut-c8", max_tokens=50, messages=ASKED) as stream:
            await stream.get_final_message()
    events = [event async for event in await point.openai.responses.create(model="cut-c8", input=PHOTOS, stream=True)]
    assert [event.type for event in events[-2:]] == ["error", "response.failed"]
    assert point.trace()["error"] == "model.cut"


async def test_a_stranger_is_told_so(point: Point) -> None:
    with pytest.raises(openai.AuthenticationError):
        await point.openai.with_options(api_key="sk-none").chat.completions.create(model="plain", messages=ASKED)
    with pytest.raises(anthropic.AuthenticationError):
        await point.anthropic.with_options(api_key="sk-none").messages.create(
            model="plain", max_tokens=5, messages=ASKED
        )


async def test_a_library_that_tries_again_leaves_a_trace_of_each_try(point: Point) -> None:
    point.upstream.retry_after = "0"
    with pytest.raises(openai.RateLimitError):
        await point.openai.with_options(max_retries=1).chat.completions.create(model="e429", messages=ASKED)
    first, second = point.trace(1), point.trace()
    assert first["error"] == second["error"] == "model.rate_limited"
    assert second["retry_of"] == first["trace_id"]
