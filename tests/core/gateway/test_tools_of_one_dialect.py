"""Tools that only OpenAI's dialects know, before a server of functions: custom ones, shells, groups, searches."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.gateway.chat_dialect import ChatDialect
from llmos_lite.core.gateway.responses_dialect import ResponsesDialect
from llmos_lite.core.gateway.translation.chat_answers import ChatOut
from llmos_lite.core.gateway.translation.messages_answers import MessagesOut
from llmos_lite.core.gateway.translation.neutral import Argued, Began, Called, Gathered, Said, Stopped, Words
from llmos_lite.core.gateway.translation.responses_answers import ResponsesOut
from llmos_lite.core.gateway.translation.tools import LONGEST_NAME, flat
from llmos_lite.core.gateway.translation.translator import AnswerTranslation, Translated, translate_request
from llmos_lite.engines.upstream import Wire
from llmos_lite.errors import Invalid

GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch"'}
PATCH = '*** Begin Patch\n+say "hi" \\ é \U0001f600\t\n*** End Patch\n'
CUSTOM = {"type": "custom", "name": "apply_patch", "description": "Edit files.", "format": GRAMMAR}
GROUP = {
    "type": "namespace",
    "name": "agents",
    "description": "Agents.",
    "tools": [{"type": "function", "name": "wait", "parameters": {"type": "object"}}],
}
SEARCH = {"type": "tool_search", "execution": "client", "description": "Find tools.", "parameters": {"type": "object"}}
SHELL = {"type": "local_shell"}
TOOLS = [CUSTOM, GROUP, SEARCH, SHELL, {"type": "web_search"}, {"type": "tool_search", "execution": "server"}]
HISTORY = [
    {"type": "message", "role": "user", "content": "go"},
    {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": PATCH},
    {"type": "custom_tool_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "done"}]},
    {"type": "function_call", "call_id": "c2", "namespace": "agents", "name": "wait", "arguments": '{"s":1}'},
    {"type": "function_call_output", "call_id": "c2", "output": "waited"},
    {"type": "local_shell_call", "id": "c3", "action": {"type": "exec", "command": ["ls"], "env": {}}},
    {"type": "local_shell_call_output", "id": "c3", "output": "a.txt"},
    {"type": "tool_search_call", "call_id": "c4", "execution": "client", "arguments": {"query": "mail"}},
    {
        "type": "tool_search_output",
        "call_id": "c4",
        "tools": [{"type": "function", "name": "send_mail", "description": "Send."}],
    },
]
SERVERS = [Wire.CHAT, Wire.MESSAGES]
OUTS = {Wire.CHAT: ChatOut, Wire.MESSAGES: MessagesOut, Wire.RESPONSES: ResponsesOut}


def translated(server: Wire, client: Wire = Wire.RESPONSES, **body: object) -> Translated:
    given = {"model": "m", "input": HISTORY, "tools": TOOLS} if client is Wire.RESPONSES else {"model": "m"}
    return translate_request(json.dumps(given | body).encode(), client, server)


def functions(server: Wire, request: Translated) -> dict[str, Any]:
    """The functions of a request by name: description and schema."""
    found = [tool.get("function", tool) for tool in json.loads(request.body)["tools"]]
    return {
        tool["name"]: (tool["description"], tool["input_schema" if server is Wire.MESSAGES else "parameters"])
        for tool in found
    }


@pytest.mark.parametrize("server", SERVERS)
def test_every_tool_that_a_client_runs_itself_is_a_function(server: Wire) -> None:
    request = translated(server)
    found = functions(server, request)
    assert list(found) == ["apply_patch", "agents__wait", "tool_search", "local_shell", "send_mail"]
    description, schema = found["apply_patch"]
    assert "Edit files." in description
    assert GRAMMAR["definition"] in description
    assert schema["required"] == ["input"]
    assert request.left_out == ["web_search", "tool_search"]


def test_calls_of_such_tools_and_their_results_are_those_of_functions() -> None:
    messages = json.loads(translated(Wire.CHAT).body)["messages"]
    calls = [call["function"] for message in messages for call in message.get("tool_calls", ())]
    assert [(call["name"], json.loads(call["arguments"])) for call in calls] == [
        ("apply_patch", {"input": PATCH}),
        ("agents__wait", {"s": 1}),
        ("local_shell", {"command": ["ls"], "env": {}}),
        ("tool_search", {"query": "mail"}),
    ]
    results = [(one["tool_call_id"], one["content"]) for one in messages if one["role"] == "tool"]
    assert results == [("c1", "done"), ("c2", "waited"), ("c3", "a.txt"), ("c4", "Found: send_mail.")]


def test_tools_that_stand_in_the_conversation_are_offered() -> None:
    """Codex, for its newest models."""
    brought = {"type": "additional_tools", "role": "developer", "tools": [GROUP | {"name": "functions"}, GROUP]}
    request = translated(Wire.CHAT, input=[brought, HISTORY[0]], tools=None)
    assert list(functions(Wire.CHAT, request)) == ["wait", "agents__wait"]


def called(name: str, arguments: str, *, size: int = 3) -> list[Said]:
    pieces = [Argued(0, arguments[at : at + size]) for at in range(0, len(arguments), size)]
    return [Began("i", "m"), Words("I call."), Called(0, "call_9", name), *pieces, Stopped("tools")]


def streamed(
    server: Wire, said: list[Said], request: Translated, client: Wire = Wire.RESPONSES
) -> list[dict[str, Any]]:
    """The events that a client gets."""
    out, translation = OUTS[server](), AnswerTranslation(server, client, request.tools)
    data = translation.feed(b"".join(map(out.event, said)) + out.end()) + translation.end()
    lines = [line[6:] for line in data.splitlines() if line.startswith(b"data: {")]
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("server", SERVERS)
@given(text=st.text() | st.just(PATCH), size=st.integers(1, 40), ascii_only=st.booleans())
def test_a_free_text_comes_back_as_it_was_however_it_is_cut(
    server: Wire, text: str, size: int, *, ascii_only: bool
) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=ascii_only)
    events = streamed(server, called("apply_patch", arguments, size=size), translated(server))
    deltas = [event["delta"] for event in events if event["type"] == "response.custom_tool_call_input.delta"]
    done = next(event for event in events if event["type"] == "response.custom_tool_call_input.done")
    assert "".join(deltas) == done["input"] == text
    message, item = events[-1]["response"]["output"]
    assert message["type"] == "message"
    assert (item["type"], item["call_id"], item["name"], item["input"]) == (
        "custom_tool_call", "call_9", "apply_patch", text,
    )  # fmt: skip
    assert [event["item"]["id"] for event in events if "item" in event][-1] == done["item_id"] == item["id"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"patch": "p"}', "p"),
        ('"p"', "p"),
        ("*** raw", "*** raw"),
        ("", ""),
        ('{"a": 1, "input": "p"}', "p"),
        ('{"input": 5}', '{"input": 5}'),
        ('{"input": "a\\ud800"}', "a\ufffd"),
        ('{"input": "cut', "cut"),
        ('{"input": "two\nlines"}', "two\nlines"),
    ],
)
def test_a_model_that_writes_something_else_is_understood_as_well_as_it_goes(arguments: str, text: str) -> None:
    events = streamed(Wire.CHAT, called("apply_patch", arguments), translated(Wire.CHAT))
    assert events[-1]["response"]["output"][1]["input"] == text


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    ("name", "arguments", "item"),
    [
        ("agents__wait", '{"s":2}', {"type": "function_call", "namespace": "agents", "name": "wait"}),
        (
            "tool_search",
            '{"query":"x"}',
            {"type": "tool_search_call", "execution": "client", "arguments": {"query": "x"}},
        ),
        ("send_mail", '{"to":"a"}', {"type": "function_call", "name": "send_mail", "arguments": '{"to":"a"}'}),
        (
            "local_shell",
            '{"command":["ls","-l"],"timeout_ms":5}',
            {
                "type": "local_shell_call",
                "id": "call_9",
                "action": {"type": "exec", "command": ["ls", "-l"], "env": {}, "timeout_ms": 5},
            },
        ),
        ("local_shell", "no JSON", {"action": {"type": "exec", "command": [], "env": {}}}),
    ],
)
def test_a_call_is_one_of_the_tool_that_the_client_has(
    server: Wire, name: str, arguments: str, item: dict[str, Any]
) -> None:
    request = translated(server)
    found = streamed(server, called(name, arguments), request)[-1]["response"]["output"][1]
    gathered = Gathered()
    for said in called(name, arguments):
        gathered.take(said)
    whole = AnswerTranslation(server, Wire.RESPONSES, request.tools).whole(OUTS[server]().whole(gathered))
    for one in (found, json.loads(whole)["output"][1]):
        if server is Wire.CHAT or arguments.startswith("{"):
            assert one | item == one
        assert (one["call_id"], one["status"]) == ("call_9", "completed")


def test_what_is_left_out_is_named_in_a_header_that_no_client_can_break() -> None:
    odd = [{"type": "a\r\nset-cookie: x"}, *({"type": f"t{at}"} for at in range(100))]
    found = translated(Wire.CHAT, tools=odd).left_out
    assert (found[0], len(found)) == ("a__set-cookie__x", 16)


CHAT_TOOL = {
    "type": "custom",
    "custom": {
        "name": "run",
        "description": "Run.",
        "format": {"type": "grammar", "grammar": {"syntax": "regex", "definition": "a+"}},
    },
}
CHAT = {
    "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "run", "input": "aa"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "ran"},
    ],
    "tools": [CHAT_TOOL],
    "tool_choice": {"type": "custom", "custom": {"name": "run"}},
}


def test_a_custom_tool_of_chat_completions_is_one_of_responses() -> None:
    body = json.loads(translated(Wire.RESPONSES, Wire.CHAT, **CHAT).body)
    form = {"type": "grammar", "syntax": "regex", "definition": "a+"}
    assert body["tools"] == [{"type": "custom", "name": "run", "description": "Run.", "format": form}]
    assert body["tool_choice"] == {"type": "custom", "name": "run"}
    assert [item["type"] for item in body["input"]] == ["message", "custom_tool_call", "custom_tool_call_output"]
    assert body["input"][1]["input"] == "aa"


@pytest.mark.parametrize("server", [Wire.RESPONSES, Wire.MESSAGES])
def test_a_custom_call_reaches_a_client_of_chat_completions(server: Wire) -> None:
    request = translated(server, Wire.CHAT, **CHAT)
    said = called("run", "aaa") if server is Wire.RESPONSES else called("run", '{"input":"aaa"}')
    if server is Wire.RESPONSES:
        said[2] = Called(0, "call_9", "run", "custom")
    events = streamed(server, said, request, Wire.CHAT)
    parts = [part for event in events for choice in event["choices"] for part in choice["delta"].get("tool_calls", ())]
    assert (parts[0]["id"], parts[0]["type"], parts[0]["custom"]["name"]) == ("call_9", "custom", "run")
    assert "".join(part["custom"]["input"] for part in parts) == "aaa"
    gathered = Gathered()
    for one in said:
        gathered.take(one)
    whole = json.loads(AnswerTranslation(server, Wire.CHAT, request.tools).whole(OUTS[server]().whole(gathered)))
    assert whole["choices"][0]["message"]["tool_calls"] == [
        {"id": "call_9", "type": "custom", "custom": {"name": "run", "input": "aaa"}}
    ]


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ({"type": "custom", "name": "apply_patch"}, "apply_patch"),
        ({"type": "function", "namespace": "agents", "name": "wait"}, "agents__wait"),
        ({"type": "local_shell"}, "local_shell"),
    ],
)
def test_such_a_tool_can_be_demanded(choice: dict[str, str], name: str) -> None:
    assert json.loads(translated(Wire.CHAT, tool_choice=choice).body)["tool_choice"]["function"]["name"] == name


def test_what_only_openai_runs_cannot_be_demanded() -> None:
    with pytest.raises(Invalid, match="web_search"):
        translated(Wire.CHAT, tool_choice={"type": "web_search"})
    allowed = {"type": "allowed_tools", "mode": "required", "tools": []}
    assert json.loads(translated(Wire.CHAT, tool_choice=allowed).body)["tool_choice"] == "required"


@given(group=st.text(min_size=1), name=st.text(min_size=1, max_size=100))
def test_the_name_of_a_tool_in_a_group_is_one_that_servers_take(group: str, name: str) -> None:
    found = flat(group, name)
    assert found == name if group == "functions" else len(found) <= LONGEST_NAME
    assert flat("mcp__mail__", "send") == "mcp__mail__send"


def test_an_answer_of_openai_with_such_calls_is_read_for_the_trace() -> None:
    output = [
        {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": PATCH},
        {"type": "tool_search_call", "call_id": "c2", "arguments": {"query": "x"}},
        {"type": "local_shell_call", "call_id": "c3", "action": {"command": ["ls"]}},
    ]
    body = json.dumps({"id": "r", "status": "completed", "model": "m", "output": output}).encode()
    calls = ResponsesDialect().whole(body, "m").tool_calls
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("apply_patch", {"input": PATCH}),
        ("tool_search", {"query": "x"}),
        ("local_shell", {"command": ["ls"]}),
    ]


def test_a_custom_call_of_chat_completions_is_read_for_the_trace() -> None:
    call = {"id": "c1", "type": "custom", "custom": {"name": "run", "input": PATCH}}
    body = json.dumps({"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}).encode()
    reader = ChatDialect().reader("m")
    for event in map(ChatOut().event, [Called(0, "c1", "run", "custom"), Argued(0, PATCH[:9]), Argued(0, PATCH[9:])]):
        reader.feed(event)
    for done in (ChatDialect().whole(body, "m"), reader.completion()):
        [found] = done.tool_calls
        assert (found.id, found.name, json.loads(found.arguments)) == ("c1", "run", {"input": PATCH})
