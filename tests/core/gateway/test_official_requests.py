"""What the official libraries let a program send is translated, or refused with a reason; what is lost has a name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmos_lite.core.gateway.translation import messages
from llmos_lite.core.gateway.translation.neutral import Ask, Raw, Text, ToolSpec, Turn
from llmos_lite.core.gateway.translation.tools import allowed
from llmos_lite.core.gateway.translation.translator import translate_request
from llmos_lite.engines.upstream import Wire
from llmos_lite.errors import Invalid

HI = [{"role": "user", "content": "hi"}]
NO_ARGUMENTS = {"type": "object", "properties": {}}
SAID: dict[Wire, dict[str, Any]] = {
    Wire.CHAT: {"messages": HI},
    Wire.MESSAGES: {"messages": HI, "max_tokens": 9},
    Wire.RESPONSES: {"input": HI},
}
pairs = pytest.mark.parametrize(
    ("client", "server"), [(one, two) for one in Wire for two in Wire if one is not two], ids=str
)


def sent(client: Wire, server: Wire, limit: str = "max_tokens", **fields: object) -> tuple[dict[str, Any], list[str]]:
    """The request that the server gets, and what was left out of it."""
    body = {"model": "m", **SAID[client], **fields}
    made = translate_request(json.dumps(body).encode(), client, server, limit)
    return json.loads(made.body), list(made.left_out)


def offer(client: Wire, name: str, **about: object) -> dict[str, object]:
    """A tool as the dialect offers it, with nothing but its name, and what else is said of it."""
    if client is Wire.CHAT:
        return {"type": "function", "function": {"name": name, "description": None, "parameters": None, **about}}
    if client is Wire.RESPONSES:
        return {"type": "function", "name": name, "description": None, "parameters": None, "strict": None, **about}
    return {"type": None, "name": name, "description": None, "input_schema": {}, **about}


def offered(server: Wire, body: dict[str, Any]) -> dict[str, Any]:
    """The tools that a server gets, by name, with the schemas of their arguments."""
    found = [tool.get("function", tool) for tool in body["tools"]]
    return {tool["name"]: tool["input_schema" if server is Wire.MESSAGES else "parameters"] for tool in found}


@pairs
def test_a_tool_about_which_nothing_is_said_takes_no_arguments(client: Wire, server: Wire) -> None:
    body, _ = sent(client, server, tools=[offer(client, "a")])
    assert offered(server, body) == {"a": NO_ARGUMENTS}


def only(client: Wire, mode: str, *names: str) -> dict[str, object]:
    if client is Wire.CHAT:
        named = [{"type": "function", "function": {"name": name}} for name in names]
        return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": named}}
    named = [{"type": "function", "name": name} for name in names]
    return {"type": "allowed_tools", "mode": mode, "tools": named}


WORD = {"auto": {"type": "auto"}, "required": {"type": "any"}, "none": {"type": "none"}}


@pytest.mark.parametrize("client", [Wire.CHAT, Wire.RESPONSES])
@pytest.mark.parametrize("server", list(Wire))
def test_a_model_may_call_only_the_allowed_tools(client: Wire, server: Wire) -> None:
    if client is server:
        return
    tools = [offer(client, name) for name in "abc"]
    for mode in ("auto", "required"):
        body, _ = sent(client, server, tools=tools, tool_choice=only(client, mode, "a", "c"))
        assert list(offered(server, body)) == ["a", "c"]
        assert body["tool_choice"] == (WORD[mode] if server is Wire.MESSAGES else mode)
    body, _ = sent(client, server, tools=tools, tool_choice=only(client, "auto", "of another"))
    assert body["tool_choice"] == (WORD["none"] if server is Wire.MESSAGES else "none")
    with pytest.raises(Invalid, match="demands the tool 'of another'"):
        sent(client, server, tools=tools, tool_choice=only(client, "required", "of another"))


def test_many_allowed_tools_are_looked_up_and_not_searched_for() -> None:
    compared = 0

    class Name(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return super().__eq__(other)

    tools = [ToolSpec(Name(f"a{number}"), "", Raw()) for number in range(1000)]
    assert allowed("auto", [f"b{number}" for number in range(1000)], tools) == ("none", tools)
    assert compared < 10_000


FORM = {"name": "n", "description": "what it is", "strict": True, "schema": NO_ARGUMENTS}


def test_the_form_of_an_answer_is_the_same_in_both_dialects_of_openai() -> None:
    chat = {"type": "json_schema", "json_schema": FORM}
    assert sent(Wire.CHAT, Wire.RESPONSES, response_format=chat)[0]["text"] == {
        "format": {"type": "json_schema"} | FORM
    }
    responses = {"format": {"type": "json_schema", **FORM}}
    assert sent(Wire.RESPONSES, Wire.CHAT, text=responses)[0]["response_format"] == chat


@pytest.mark.parametrize(
    ("client", "fields", "off"),
    [
        (
            Wire.CHAT,
            {"logprobs": True, "top_logprobs": 2, "logit_bias": {"1": 2}, "seed": 7, "frequency_penalty": 0.5}
            | {"presence_penalty": 1, "web_search_options": {}},
            {"logprobs": False, "top_logprobs": None, "logit_bias": {}, "frequency_penalty": 0.0},
        ),
        (Wire.MESSAGES, {"top_k": 5}, {"top_k": None}),
        (Wire.RESPONSES, {"top_logprobs": 2, "background": True}, {"top_logprobs": 0, "background": False}),
    ],
)  # fmt: skip
def test_settings_that_are_lost_are_named(client: Wire, fields: dict[str, object], off: dict[str, object]) -> None:
    for server in set(Wire) - {client}:
        assert sent(client, server, **fields)[1] == list(fields)
        assert sent(client, server, **off)[1] == []


@pytest.mark.parametrize("called", ["functions.look:0", "call_1", "", "é"])
def test_anthropic_gets_ids_that_it_takes_and_results_find_their_call(called: str) -> None:
    call = {"id": called, "type": "function", "function": {"name": "look", "arguments": "{}"}}
    talk = [*HI, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": called, "content": "x"}]
    _, asked, given = sent(Wire.CHAT, Wire.MESSAGES, messages=talk)[0]["messages"]
    found = asked["content"][0]["id"]
    assert found == given["content"][0]["tool_use_id"]
    assert found.isascii()
    assert found.replace("-", "").replace("_", "").isalnum()
    assert (found == called) is (called == "call_1")


def test_an_item_that_only_has_an_id_is_a_reference() -> None:
    for item in ({"id": "msg_1"}, {"id": "msg_1", "type": None}):
        with pytest.raises(Invalid, match="keeps no items"):
            sent(Wire.RESPONSES, Wire.CHAT, input=[*HI, item])
    said, _ = sent(Wire.RESPONSES, Wire.CHAT, input=[{"id": None, "type": None, "role": "user", "content": "hi"}])
    assert said["messages"] == HI


def test_the_most_tokens_have_the_name_that_the_server_takes() -> None:
    body, _ = sent(Wire.MESSAGES, Wire.CHAT, "max_completion_tokens")
    assert (body["max_completion_tokens"], "max_tokens" in body) == (9, False)
    assert sent(Wire.MESSAGES, Wire.RESPONSES, max_tokens=99)[0]["max_output_tokens"] == 99


@pytest.mark.parametrize(("heat", "told"), [(b"1.7", 1.0), (b"2", 1.0), (b"1", 1), (b"0.3", 0.3), (b'"x"', "x")])
def test_anthropic_is_asked_for_no_more_heat_than_it_has(heat: bytes, told: object) -> None:
    asked = Ask(model="m", turns=[Turn("user", [Text("hi")])], numbers={"temperature": Raw(heat)})
    assert json.loads(messages.write_request(asked))["temperature"] == told


NEW = ["claude-opus-4-7", "eu.anthropic.claude-opus-4-8-20260101-v1:0", "claude-sonnet-5@20260901", "claude-fable-5-2"]
OLD = [
    "claude-3-7-sonnet-20250219",
    "claude-opus-4-20250514",
    "claude-sonnet-4-6",
    "claude-haiku-4-5@20251001",
    "kimi-k2",
]


@pytest.mark.parametrize("model", [*NEW, *OLD])
def test_a_model_is_told_how_hard_to_think_as_it_takes_it(model: str) -> None:
    turns = [Turn("user", [Text("hi")])]
    said = json.loads(messages.write_request(Ask(model=model, turns=turns, effort="minimal", most_tokens=32_000)))
    if model in NEW:
        assert (said["thinking"], said["output_config"]) == ({"type": "adaptive"}, {"effort": "low"})
    else:
        assert (said["thinking"], "output_config" in said) == ({"type": "enabled", "budget_tokens": 1024}, False)


def test_a_model_that_must_call_does_not_think_first() -> None:
    asked = Ask(
        model=NEW[0],
        turns=[Turn("user", [Text("hi")])],
        effort="high",
        choice="f",
        tools=[ToolSpec("f", "", Raw(b"{}"))],
    )
    said = json.loads(messages.write_request(asked))
    assert ("thinking" in said, said["output_config"]) == (False, {"effort": "high"})
