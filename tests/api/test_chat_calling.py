"""Callers with tools of their own, at `POST /chat`: calls are handed back, and results come with the next message."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmos_lite.core.chat.disclosure import Disclosure
from llmos_lite.core.chat.service import ChatService
from llmos_lite.engines.llm import OfflineModel
from tests.api.test_chat_tools import KINDS, Kind, both, client, load, model
from tests.chatting import Room, room
from tests.upstream import WORD, Upstream, running

ASK = "is the deployment healthy?"
TOOLS = [
    {
        "name": "look",
        "description": "Looks",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
    },
    {"name": "wait"},
]
CALL = ("look", '{"at":"prod"}')


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with running() as server:
        yield server


@pytest.fixture
async def opened(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Room]:
    async with room(tmp_path, upstream.url) as found:
        text = "---\nname: deployment\ndescription: Use it for the deployment\n---\n# Deployment\nLook at prod.\n"
        found.write_skill("user:alice", "deployment", text)
        yield found


async def post(opened: Room, service: ChatService, body: dict[str, Any]) -> dict[str, Any]:
    reply = await client(opened, service).post(body)
    assert reply.status == 200, reply.body
    found = reply.json()
    assert isinstance(found, dict)
    return found


@both
@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_is_handed_back_and_its_result_goes_on(
    kind: Kind, opened: Room, upstream: Upstream, *, stream: bool
) -> None:
    upstream.script = [[CALL]]
    service = opened.service(model(kind, opened, "ask-say"))
    reply = await client(opened, service).post({"message": ASK, "tools": TOOLS, "stream": stream})
    body = reply.events()[-1][1] if stream else reply.json()
    assert list(upstream.chats[0].tools) == ["look", "wait"]
    [call] = body["tool_calls"]
    assert (call["name"], json.loads(call["arguments"])) == ("look", {"at": "prod"})
    assert body["response"].startswith("One moment.")

    results = [{"id": call["id"], "content": "all green", "is_error": False}]
    again = {"conversation_id": body["conversation_id"], "tools": TOOLS, "tool_results": results}
    answer = await post(opened, service, again)
    assert (answer["response"], answer["tool_calls"]) == (WORD * 3, [])
    assert upstream.chats[1].results == ["all green"]
    assert "Look at prod." in upstream.chats[1].system

    actor = await opened.actor("alice")
    one, two = [await opened.trace(actor, found["trace_id"]) for found in (body, answer)]
    assert [(made.name, made.handed, made.id) for made in one.tool_calls] == [("look", True, call["id"])]
    assert (two.parent, two.goal) == (one.id, ASK)
    assert [(said.role, said.content) for said in two.messages] == [("tool", "all green"), ("assistant", WORD * 3)]

    await post(opened, service, {"message": "thanks", "conversation_id": body["conversation_id"], "tools": TOOLS})
    assert upstream.chats[2].results == ["all green"]


@both
async def test_who_says_something_else_leaves_no_call_open(kind: Kind, opened: Room, upstream: Upstream) -> None:
    upstream.script = [[CALL, ("wait", "{}")]]
    service = opened.service(model(kind, opened))
    body = await post(opened, service, {"message": ASK, "tools": TOOLS})
    one, two = [call["id"] for call in body["tool_calls"]]
    said = {"message": "never mind", "tool_results": [{"id": two, "content": "waited"}]}
    await post(opened, service, said | {"conversation_id": body["conversation_id"]})
    assert one != two
    assert sorted(upstream.chats[1].results) == ["This call was not run.", "waited"]


async def test_ours_are_answered_beside_theirs(opened: Room, upstream: Upstream) -> None:
    upstream.script = [[load("deployment")], [load("deployment"), CALL]]
    service = opened.service("ask", disclosure=Disclosure.CATALOG)
    body = await post(opened, service, {"message": ASK, "tools": TOOLS})
    assert list(upstream.chats[0].tools) == ["look", "wait", "load_skill"]
    assert [call["name"] for call in body["tool_calls"]] == ["look"]
    assert [use["skill_id"] for use in body["skills_used"]] == ["deployment"]
    trace = await opened.trace(await opened.actor("alice"), body["trace_id"])
    assert [(call.name, call.handed) for call in trace.tool_calls] == [
        ("load_skill", False), ("load_skill", False), ("look", True)
    ]  # fmt: skip


async def test_ours_step_back_before_a_tool_of_the_same_name(opened: Room, upstream: Upstream) -> None:
    upstream.script = [[load("x")]]
    service = opened.service("ask", disclosure=Disclosure.CATALOG)
    body = await post(opened, service, {"message": ASK, "tools": [{"name": "load_skill"}]})
    assert list(upstream.chats[0].tools) == ["load_skill"]
    assert [call["name"] for call in body["tool_calls"]] == ["load_skill"]
    assert "Look at prod." in upstream.chats[0].system


@pytest.mark.parametrize("choice", ["none", "required", "look"])
async def test_what_the_model_may_call_is_the_callers_choice(opened: Room, upstream: Upstream, choice: str) -> None:
    service = opened.service("ask", disclosure=Disclosure.BODIES)
    await post(opened, service, {"message": ASK, "tools": TOOLS, "tool_choice": choice})
    named = {"type": "function", "function": {"name": "look"}}
    assert upstream.chats[0].body["tool_choice"] == (named if choice == "look" else choice)


async def test_tools_may_have_openais_form(opened: Room, upstream: Upstream) -> None:
    service = opened.service("plain", disclosure=Disclosure.BODIES)
    await post(opened, service, {"message": ASK, "tools": TOOLS, "tool_choice": "look"})
    theirs = [{"type": "function", "function": tool | {"strict": True}} for tool in TOOLS]
    named = {"type": "function", "function": {"name": "look"}}
    await post(opened, service, {"message": ASK, "tools": theirs, "tool_choice": named})
    one, two = (seen.body for seen in upstream.chats)
    assert (two["tools"], two["tool_choice"]) == (one["tools"], one["tool_choice"])


@both
async def test_tools_may_have_anthropics_form(kind: Kind, opened: Room, upstream: Upstream) -> None:
    service = opened.service(model(kind, opened, "plain"), disclosure=Disclosure.BODIES)
    looks: dict[str, Any] = dict(TOOLS[0])
    theirs = {"name": looks["name"], "description": looks["description"], "input_schema": looks["parameters"]}
    more = {"type": "custom", "cache_control": {"type": "ephemeral"}}
    for tools in ([looks], [theirs], [theirs | more], [theirs | {"type": None}]):
        await post(opened, service, {"message": ASK, "tools": tools})
    one, *others = (seen.body["tools"] for seen in upstream.chats)
    assert others == [one, one, one]
    assert dict(upstream.chats[1].tools) == {"look": looks["parameters"]}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [({"type": "auto"}, "auto"), ({"type": "any"}, "required"), ({"type": "none"}, "none"),
     ({"type": "tool", "name": "look", "disable_parallel_tool_use": True}, "look")],
)  # fmt: skip
async def test_a_choice_may_have_anthropics_form(
    opened: Room, upstream: Upstream, theirs: dict[str, Any], ours: str
) -> None:
    service = opened.service("ask", disclosure=Disclosure.BODIES)
    for choice in (ours, theirs):
        await post(opened, service, {"message": ASK, "tools": TOOLS, "tool_choice": choice})
    one, two = (seen.body for seen in upstream.chats)
    assert (two["tools"], two.get("tool_choice")) == (one["tools"], one.get("tool_choice"))


@pytest.mark.parametrize(
    "tool",
    [{"type": "web_search"}, {"type": "web_search_20250305", "name": "web_search"}, {"type": "function"},
     {"description": "Looks"}],
)  # fmt: skip
async def test_who_sends_something_else_as_a_tool_is_told_what_to_send(opened: Room, tool: dict[str, Any]) -> None:
    reply = await client(opened, opened.service("ask")).post({"message": ASK, "tools": [tool]})
    assert (reply.status, reply.json()["code"]) == (400, "chat.tools")
    assert '"function"' in reply.json()["hint"]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"tools": [{"name": "a b"}]}, "chat.tools"),
        ({"tools": [{"function": {"name": "a b"}}]}, "chat.tools"),
        ({"tools": [{"type": "function", "function": {"description": "x"}}]}, "request.invalid"),
        ({"tools": [{"name": "a"}, {"name": "a"}]}, "chat.tools"),
        ({"tools": [{"name": "a" * 65}]}, "chat.tools"),
        ({"tools": [{"name": f"t{number}"} for number in range(129)]}, "request.invalid"),
        ({"tools": [{"name": "a", "parameters": {"x": "y" * (65 << 10)}}]}, "chat.tools"),
        ({"tools": [{"name": "a", "parameters": []}]}, "request.invalid"),
        ({"tools": [{"name": "a", "input_schema": {"x": "y" * (65 << 10)}}]}, "chat.tools"),
        ({"tools": [{"name": "a", "input_schema": "object"}]}, "request.invalid"),
        ({"tools": [{"name": "a", "input_schema": {}, "parameters": {}}]}, "chat.tools"),
        ({"tools": [{"name": "a b", "input_schema": {}}]}, "chat.tools"),
        ({"tool_choice": "nothing such"}, "chat.tools"),
        ({"tool_choice": {"type": "tool", "name": "nothing such"}}, "chat.tools"),
        ({"tool_choice": {"type": "nothing such"}}, "chat.tools"),
        ({"tool_results": [{"id": "call_0", "content": "made up"}]}, "chat.tool_results"),
    ],
)
async def test_what_makes_no_sense_is_refused(opened: Room, more: dict[str, Any], code: str) -> None:
    reply = await client(opened, opened.service("ask")).post({"message": ASK} | more)
    assert (reply.status, reply.json()["code"]) == (400, code)


async def test_results_answer_the_last_calls_each_once_and_are_bounded(opened: Room, upstream: Upstream) -> None:
    upstream.script = [[CALL]]
    service = opened.service("ask")
    body = await post(opened, service, {"message": ASK, "tools": TOOLS})
    [call] = body["tool_calls"]
    result = {"id": call["id"], "content": "x"}
    for results in ([result, result], [result, {"id": "other"}], [result | {"content": "x" * 100_001}]):
        again = {"conversation_id": body["conversation_id"], "tool_results": results}
        reply = await client(opened, service).post(again)
        assert (reply.status, reply.json()["code"]) == (400, "chat.tool_results")
    assert len(upstream.chats) == 1


async def test_a_model_without_tools_says_so(opened: Room) -> None:
    reply = await client(opened, opened.service(OfflineModel())).post({"message": ASK, "tools": TOOLS})
    assert (reply.status, reply.json()["code"]) == (400, "chat.no_tools")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_refuses_tools_is_not_asked_without_those_of_the_caller(
    kind: Kind, opened: Room, upstream: Upstream
) -> None:
    reply = await client(opened, opened.service(model(kind, opened, "ask-notools"))).post(
        {"message": ASK, "tools": TOOLS}
    )
    assert reply.json()["code"] == "model.no_tools"
    assert len(upstream.chats) == 1
