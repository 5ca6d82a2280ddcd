"""The loop over the seam of models, with tools that do anything; the model is scripted, since only its calls matter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from llmos_lite.core.chat.tools import Round, Step, ToolBounds, ToolDone, ToolResult, converse
from llmos_lite.engines.llm import ChatRequest, Completion, Delta, Piece, Tool, ToolCall, gathered
from llmos_lite.errors import NotFound, UpstreamFailed


def tool(name: str) -> Tool:
    return Tool(name, f"Does {name}.", {"type": "object", "properties": {}})


@dataclass
class Script:
    """A model that asks for the calls of its script, one round after the other, and then says `done`."""

    rounds: list[list[ToolCall]]
    texts: list[str] = field(default_factory=list)
    silent: bool = False
    stubborn: bool = False
    requests: list[ChatRequest] = field(default_factory=list)
    name: str = "script"
    tools: bool = True

    async def complete(self, request: ChatRequest) -> Completion:
        return await gathered(self.stream(request))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        place = len(self.requests)
        self.requests.append(request)
        may_call = self.stubborn or request.tool_choice != "none"
        calls = self.rounds[place] if place < len(self.rounds) and may_call else []
        text = self.texts[place] if place < len(self.texts) else "" if calls else "done"
        if text and not self.silent:
            yield Delta(text)
        for call in calls:
            yield call
        yield Completion(text=text, model=self.name, tokens_in=5, tokens_out=1, tool_calls=tuple(calls))

    async def close(self) -> None:
        """Do nothing."""


class Box:
    """Tools that do what their names say."""

    def __init__(self) -> None:
        self.running, self.most = 0, 0
        self.started, self.free = asyncio.Event(), asyncio.Event()

    @property
    def tools(self) -> Sequence[Tool]:
        return [tool(name) for name in ("echo", "raise", "break", "wait")]

    def knows(self, name: str) -> bool:
        return name in {"echo", "raise", "break", "wait"}

    async def run(self, call: ToolCall) -> ToolResult:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await self._run(call)
        finally:
            self.running -= 1

    async def _run(self, call: ToolCall) -> ToolResult:
        if call.name == "raise":
            raise NotFound("thing.unknown", "There is no such thing.")
        if call.name == "break":
            raise ValueError("a secret of ours")
        if call.name == "wait":
            self.started.set()
            await self.free.wait()
        await asyncio.sleep(0)
        return ToolResult(call.arguments)


ASK = ChatRequest(messages=[{"role": "user", "content": "go"}], system="be good", max_tokens=9)


async def steps_of(
    model: Script, box: Box | None = None, request: ChatRequest = ASK, bounds: ToolBounds | None = None
) -> list[Step]:
    async with asyncio.timeout(5), aclosing(converse(model, request, box or Box(), bounds or ToolBounds())) as steps:
        return [step async for step in steps]


def results(steps: list[Step]) -> list[tuple[str, bool]]:
    return [(step.result.content, step.result.is_error) for step in steps if isinstance(step, ToolDone)]


async def test_without_calls_it_is_one_request() -> None:
    model = Script([])
    *_, last = steps = await steps_of(model)
    assert [type(step) for step in steps] == [Delta, Round]
    assert isinstance(last, Round)
    assert (last.completion.text, last.following) == ("done", None)
    assert [sent.name for sent in model.requests[0].tools] == ["echo", "raise", "break", "wait"]


async def test_results_go_back_in_the_order_of_the_calls() -> None:
    calls = [ToolCall("1", "echo", '{"a":1}'), ToolCall("2", "echo", "{}")]
    model, box = Script([calls], texts=["Well."]), Box()
    steps = await steps_of(model, box)
    assert results(steps) == [('{"a":1}', False), ("{}", False)]
    assert box.most == 2, "they run at once"
    second = model.requests[1]
    assert (second.system, second.max_tokens, second.tool_choice) == ("be good", 9, "auto")
    assert second.messages[1:] == (
        {"role": "assistant", "content": "Well.", "tool_calls": calls},
        {"role": "tool", "content": '{"a":1}', "tool_call_id": "1", "is_error": False},
        {"role": "tool", "content": "{}", "tool_call_id": "2", "is_error": False},
    )
    assert "".join(step.text for step in steps if isinstance(step, Delta)) == "Well.\n\ndone"
    rounds = [step for step in steps if isinstance(step, Round)]
    assert [one.following for one in rounds] == [second, None]


async def test_what_goes_wrong_is_a_result_and_gives_nothing_away() -> None:
    calls = [ToolCall(str(place), name) for place, name in enumerate(("raise", "break", "rm -rf /", "echo"))]
    model = Script([calls])
    said = results(await steps_of(model))
    assert [is_error for _, is_error in said] == [True, True, True, False]
    assert "no such thing" in said[0][0]
    assert "secret" not in said[1][0]
    assert "'rm -rf /'" in said[2][0]
    assistant = model.requests[1].messages[1]
    assert assistant["tool_calls"][2].name == "rm_-rf__"


async def test_only_so_many_calls_are_answered_at_once() -> None:
    calls = [ToolCall(str(place), "echo") for place in range(40)]
    model, box = Script([calls]), Box()
    said = results(await steps_of(model, box, bounds=ToolBounds(calls=16)))
    assert len(said) == 40
    assert [is_error for _, is_error in said] == [False] * 16 + [True] * 24
    assert box.most == 16


async def test_a_tool_that_takes_too_long_is_stopped() -> None:
    model, box = Script([[ToolCall("1", "wait")]] * 5), Box()
    [(said, is_error)] = results(await steps_of(model, box, bounds=ToolBounds(seconds=0.05)))
    assert is_error
    assert "Answer with what you have" in said
    assert [request.tool_choice for request in model.requests] == ["auto", "none"]
    assert box.running == 0


async def test_whoever_goes_away_stops_the_tools() -> None:
    model, box = Script([[ToolCall("1", "wait"), ToolCall("2", "wait")]]), Box()
    task = asyncio.ensure_future(steps_of(model, box))
    await box.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert box.running == 0
    assert len(model.requests) == 1


async def test_tools_of_the_caller_are_handed_back() -> None:
    request = ChatRequest(messages=ASK.messages, tools=[tool("weather")])
    calls = [ToolCall("1", "echo", "ours"), ToolCall("2", "weather", "theirs")]
    model = Script([calls])
    *_, done, last = await steps_of(model, request=request)
    assert isinstance(done, ToolDone)
    assert done.call.name == "echo"
    assert isinstance(last, Round)
    assert (last.following, last.completion.tool_calls) == (None, (calls[1],))
    assert [sent.name for sent in model.requests[0].tools][:2] == ["weather", "echo"]
    assert len(model.requests) == 1


async def test_a_model_that_says_all_of_it_at_the_end_is_heard() -> None:
    model = Script([[ToolCall("1", "echo")]], texts=["Well."], silent=True)
    steps = await steps_of(model)
    assert "".join(step.text for step in steps if isinstance(step, Delta)) == "Well.\n\ndone"


async def test_calling_to_the_end_is_no_answer_unless_something_was_said() -> None:
    endless = [[ToolCall("1", "echo")]] * 9
    with pytest.raises(UpstreamFailed) as caught:
        await steps_of(Script(endless, stubborn=True), bounds=ToolBounds(rounds=2))
    assert caught.value.code == "model.no_answer"
    model = Script(endless, texts=["Some."], stubborn=True)
    *_, last = await steps_of(model, bounds=ToolBounds(rounds=2))
    assert isinstance(last, Round)
    assert (last.following, last.completion.tool_calls) == (None, ())
    assert len(model.requests) == 3


async def test_after_the_last_round_nothing_may_be_called() -> None:
    model = Script([[ToolCall("1", "echo")]] * 3)
    steps = await steps_of(model, bounds=ToolBounds(rounds=1))
    assert [request.tool_choice for request in model.requests] == ["auto", "none"]
    assert results(steps) == [("{}", False)]
