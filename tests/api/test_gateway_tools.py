"""Models that load skills behind `/v1/…`: the client never sees it, and the skill stays in its conversation."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from asgi_client import Client

from llmos_lite.core.gateway.tools import rounds
from llmos_lite.core.traces.trace import Ended
from llmos_lite.engines.git import Author
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from tests.gating import WIRES, Gate, gate, leave_after, request, served, system_of
from tests.upstream import WORD, Seen, Upstream

ASK = "review the pull request for security problems, please"
CATALOG = {"X-LLMOS-Disclosure": "catalog"}
REVIEW = """---
name: pull-review
description: Review a pull request for security problems
---
# Review
1. Read the diff twice.
2. See references/limits.md.
"""
OURS = ["load_skill", "search_skills"]


def tool(name: str) -> dict[str, Any]:
    """A tool of a client's, as all three dialects read it."""
    schema = {"type": "object", "properties": {"path": {"type": "string"}}}
    function = {"name": name, "parameters": schema}
    return {"type": "function", "input_schema": schema, "function": function, **function}


READ_FILE = tool("read_file")


def load(name: str = "pull-review", **more: str) -> tuple[str, str]:
    return "load_skill", json.dumps({"name": name, **more})


@pytest.fixture
async def here(here: Gate) -> Gate:
    await with_skill(here)
    return here


async def with_skill(opened: Gate) -> None:
    files: dict[str, bytes | None] = {
        "skills/pull-review/SKILL.md": REVIEW.encode(),
        "skills/pull-review/references/limits.md": b"No function above ten lines.\n",
    }
    store = opened.services.volumes.open(PLATFORM, VolumeRef.user("alice"), write=True).store
    await asyncio.to_thread(store.commit, files, "Add a skill", Author("alice", "alice@localhost"))


def text_of(wire: str, answer: Any, *, stream: bool) -> str:  # noqa: ANN401
    """What a client shows."""
    if not stream:
        body = answer.json()
        if wire == "chat":
            return str(body["choices"][0]["message"]["content"] or "")
        parts = (
            body["content"]
            if wire == "messages"
            else [part for item in body["output"] for part in item.get("content", ())]
        )
        return "|".join(part["text"] for part in parts if part["type"] in {"text", "output_text"})
    found = []
    for event in events_of(answer):
        if wire == "chat":
            found += [choice["delta"].get("content") or "" for choice in event["choices"]]
        elif wire == "messages" and event["type"] == "content_block_delta":
            found.append(event["delta"].get("text", ""))
        elif event.get("type") == "response.output_text.delta":
            found.append(event["delta"])
    return "".join(found)


def events_of(answer: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    lines = [line[6:] for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def calls_of(wire: str, answer: Any, *, stream: bool) -> list[str]:  # noqa: ANN401
    """The names of the tools that a client is asked for."""
    if stream:
        if wire == "chat":
            parts = [
                part
                for event in events_of(answer)
                for choice in event["choices"]
                for part in choice["delta"].get("tool_calls", ())
            ]
            return [part["function"]["name"] for part in parts if part["function"].get("name")]
        key = "content_block" if wire == "messages" else "item"
        ends = {"content_block_start", "response.output_item.done"}
        return [event[key]["name"] for event in events_of(answer) if event["type"] in ends and "name" in event[key]]
    body = answer.json()
    if wire == "chat":
        return [call["function"]["name"] for call in body["choices"][0]["message"].get("tool_calls", ())]
    return [one["name"] for one in body["content" if wire == "messages" else "output"] if "name" in one]


def usage_of(wire: str, answer: Any, *, stream: bool) -> tuple[int, int]:  # noqa: ANN401
    if not stream:
        usage = answer.json()["usage"]
    elif wire == "chat":
        usage = next(event["usage"] for event in events_of(answer) if event.get("usage"))
    else:
        events = events_of(answer)
        usage = (
            next(event for event in events if event["type"] == "message_delta")["usage"]
            if wire == "messages"
            else events[-1]["response"]["usage"]
        )
    asked = usage.get("prompt_tokens") or usage["input_tokens"] + usage.get("cache_read_input_tokens", 0) + usage.get(
        "cache_creation_input_tokens", 0
    )
    return asked, usage.get("completion_tokens") or usage["output_tokens"]


def names(seen: Seen) -> list[str]:
    return list(seen.tools)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", WIRES)
async def test_a_model_loads_a_skill_and_the_client_sees_only_the_answer(
    here: Gate, wire: str, *, stream: bool
) -> None:
    here.upstream.script = [[("search_skills", '{"query":"pull request"}'), load()]]
    answer = await here.ask(wire, ASK, model="ask", stream=stream, headers=CATALOG, tools=[READ_FILE])
    assert answer.status == 200, answer.body
    first, second = here.upstream.chats
    assert names(first) == names(second) == ["read_file", *OURS]
    assert "Review a pull request" in system_of(first)
    assert "Read the diff twice" not in system_of(first)
    assert system_of(second) == system_of(first)
    found, read = second.results
    assert "<name>\npull-review\n</name>" in found
    assert read.startswith('<skill_content name="pull-review"')
    assert "Read the diff twice" in read

    assert b"load_skill" not in answer.body
    assert b"search_skills" not in answer.body
    assert text_of(wire, answer, stream=stream).strip("|") == WORD * 3
    assert calls_of(wire, answer, stream=stream) == []
    assert usage_of(wire, answer, stream=stream) == (20, 6)

    trace = await here.trace()
    assert (trace.goal, trace.answer, trace.ended) == (ASK, WORD * 3, Ended.COMPLETE)
    assert (trace.tokens_in, trace.tokens_out) == (20, 6)
    assert [(call.name, call.is_error) for call in trace.tool_calls] == [
        ("search_skills", False),
        ("load_skill", False),
    ]
    assert trace.tool_calls[1].result.startswith("user:alice/pull-review ")
    assert [use.skill_id for use in trace.skills_used] == ["pull-review"]
    assert trace.skills_used[0].version
    assert "pull-review" in [one.skill_id for one in trace.exposures]
    assert "user:alice/pull-review" in trace.offered
    if not stream:
        assert answer.headers["x-llmos-skills-used"] == "pull-review"


async def test_tokens_of_all_requests_are_estimated_where_the_provider_counts_none(here: Gate) -> None:
    here.upstream.script = [[load()]]
    await here.ask("chat", ASK, model="ask-nousage", stream=True)
    sizes = [int(seen.headers["content-length"]) for seen in here.upstream.chats]
    trace = await here.trace()
    assert len(sizes) == 2
    assert 0.85 < trace.tokens_in / (sum(sizes) / 4) <= 1
    assert trace.tokens_out > len(WORD * 3) // 4
    assert trace.tokens_estimated


async def test_an_error_goes_on_with_the_numbers_that_the_client_sees(here: Gate) -> None:
    answer = await here.ask("responses", ASK, model="cut-c8", stream=True)
    assert names(here.seen)[-2:] == OURS
    events = [json.loads(line[6:]) for line in answer.body.split(b"\n") if line.startswith(b"data: {")]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert len({event["response"]["id"] for event in events if "response" in event}) == 1


@pytest.mark.parametrize("wire", WIRES)
async def test_what_was_loaded_stays_in_its_place(here: Gate, wire: str) -> None:
    here.upstream.script = [[load()]]
    await here.ask(wire, ASK, model="ask", headers=CATALOG)
    first = here.upstream.chats[0].body
    await here.ask(wire, ASK, WORD * 3, "go on", model="ask", headers=CATALOG)
    second = here.seen.body
    await here.ask(wire, ASK, WORD * 3, "go on", WORD * 3, "and on", model="ask", headers=CATALOG)
    third = here.seen.body
    key = "input" if wire == "responses" else "messages"
    assert (second["tools"], third["tools"]) == (first["tools"], first["tools"])
    assert second[key][: len(first[key])] == first[key]
    assert third[key][: len(second[key])] == second[key]
    assert json.dumps(third).count("Read the diff twice") == 1
    one, two, three = await here.traces()
    assert one.conversation == two.conversation == three.conversation
    assert [use.skill_id for use in three.skills_used] == ["pull-review"]
    assert two.offered == ()
    assert "Read the diff" not in str([trace.messages for trace in (one, two, three)])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", WIRES)
async def test_the_clients_calls_pass_at_once_and_ours_are_answered_beside_them(
    here: Gate, wire: str, *, stream: bool
) -> None:
    here.upstream.script = [[load(), ("read_file", '{"path":"a.py"}')]]
    answer = await here.ask(wire, ASK, model="ask", stream=stream, headers=CATALOG, tools=[READ_FILE])
    assert len(here.upstream.chats) == 1
    assert calls_of(wire, answer, stream=stream) == ["read_file"]
    assert b"load_skill" not in answer.body
    said, result = _history(wire)
    await here.ask(wire, {"role": "user", "content": ASK}, said, result, model="ask", tools=[READ_FILE])
    assert json.dumps(here.seen.body).count("Read the diff twice") == 1
    one, two = await here.traces()
    assert [call.name for call in one.tool_calls] == ["load_skill", "read_file"]
    assert [use.skill_id for use in two.skills_used] == ["pull-review"]
    assert (two.parent, two.goal) == (one.id, ASK)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("call", [load("zebra-parade"), ("search_skills", '{"query":"zebra"}')])
async def test_what_is_owed_goes_to_nobody_who_left_the_team(
    fresh_copy: Path, upstream: Upstream, call: tuple[str, str], *, restarted: bool
) -> None:
    upstream.script = [[call, ("read_file", '{"path":"a.py"}')]]
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(gate(fresh_copy, upstream))
        await with_zebras(here)
        answer = await here.ask("responses", ASK, model="ask", headers=CATALOG, tools=[READ_FILE])
        assert calls_of("responses", answer, stream=False) == ["read_file"]
        await admin_of(here).request("DELETE", "/teams/sre/members/alice")
        if restarted:
            await stack.aclose()
            here = await stack.enter_async_context(gate(fresh_copy, upstream))
        more = {"previous_response_id": answer.json()["id"], "tools": [READ_FILE]}
        assert (await here.ask("responses", _history("responses")[1], model="ask", **more)).status == 200
    assert [item["call_id"] for item in here.seen.body["input"]][-1] == "call_1"
    assert "not there for you" in here.seen.body["input"][0]["output"]
    assert "zebra" not in json.dumps(here.seen.body).lower()


def admin_of(here: Gate) -> Client:
    return Client(here.client.app, {"Authorization": f"Bearer {here.key}"})


async def with_zebras(here: Gate) -> None:
    """Put the person into a team with a skill."""
    admin = admin_of(here)
    await admin.post("/teams", {"team_id": "sre"})
    await admin.post("/users", {"user_id": "alice"})
    await admin.post("/teams/sre/members", {"user_id": "alice"})
    skill = {"skill_id": "zebra-parade", "description": "Use to plan a zebra parade.", "content": "Zebras first."}
    await admin.post("/skills", skill | {"volume": "team:sre"})


def _history(wire: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A call of the client's tool, and what it gave."""
    if wire == "chat":
        call = {"id": "call_1", "type": "function", "function": {"name": "read_file", "arguments": "{}"}}
        return {"role": "assistant", "content": None, "tool_calls": [call]}, {
            "role": "tool",
            "tool_call_id": "call_1",
            "content": "x",
        }
    if wire == "messages":
        use = {"type": "tool_use", "id": "toolu_2", "name": "read_file", "input": {}}
        done = {"type": "tool_result", "tool_use_id": "toolu_2", "content": "x"}
        return {"role": "assistant", "content": [use]}, {"role": "user", "content": [done]}
    return {"type": "function_call", "call_id": "call_1", "name": "read_file", "arguments": "{}"}, {
        "type": "function_call_output",
        "call_id": "call_1",
        "output": "x",
    }


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", ["chat", "messages"])
async def test_what_a_model_says_before_it_loads_comes_first(here: Gate, wire: str, *, stream: bool) -> None:
    here.upstream.script = [[load()]]
    answer = await here.ask(wire, ASK, model="ask-say", stream=stream, headers=CATALOG)
    said = text_of(wire, answer, stream=stream)
    assert said.replace("|", "\n\n").strip("\n") in {"One moment. \n\n" + WORD * 3, "One moment. " + WORD * 3}
    assert (await here.trace()).answer == "One moment. \n\n" + WORD * 3
    if stream and wire == "messages":
        starts = [event["index"] for event in events_of(answer) if event["type"] == "content_block_start"]
        assert starts == list(range(len(starts)))
        assert [event["type"] for event in events_of(answer)].count("message_start") == 1


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [tool("load_skill")]},
        {"tools": [tool("mcp__llmos__search_skills")]},
        {"tools": [READ_FILE], "tool_choice": "required"},
        {"tools": [READ_FILE], "tool_choice": "none"},
        {"tools": [READ_FILE], "tool_choice": {"type": "function", "function": {"name": "read_file"}}},
        {"n": 2},
        {"response_format": {"type": "json_object"}},
    ],
)
async def test_ours_step_back(here: Gate, more: dict[str, Any]) -> None:
    await here.ask("chat", ASK, headers=CATALOG, **more)
    assert not set(OURS) & set(names(here.seen)) - {one["name"] for one in more.get("tools", ())}
    assert "available_skills" not in system_of(here.seen)
    assert "Read the diff twice" in system_of(here.seen)
    assert {key: here.seen.body[key] for key in more} == more


async def test_a_clients_own_way_to_skills_comes_first_unless_a_catalog_is_wanted(here: Gate) -> None:
    await here.ask("chat", ASK, headers={"X-LLMOS-Disclosure": "auto"}, tools=[tool("skill")])
    assert names(here.seen) == ["skill"]
    await here.ask("chat", ASK, headers={"X-LLMOS-Disclosure": "auto"})
    assert names(here.seen) == OURS  # its text speaks of files
    await here.ask("chat", f"{ASK}!", headers=CATALOG, tools=[tool("skill")])
    assert names(here.seen) == ["skill", *OURS]


@pytest.mark.parametrize("wire", WIRES)
async def test_a_model_that_takes_no_tools_gets_texts_and_is_not_asked_again(here: Gate, wire: str) -> None:
    answer = await here.ask(wire, ASK, model="ask-notools", headers=CATALOG)
    assert answer.status == 200, answer.body
    first, second = here.upstream.chats
    assert names(first) == OURS
    assert names(second) == []
    assert "Read the diff twice" in system_of(second)
    assert "available_skills" not in system_of(second)
    await here.ask(wire, f"{ASK}!", model="ask-notools", headers=CATALOG)
    assert len(here.upstream.chats) == 3


async def test_a_model_that_takes_tools_or_a_word_for_thinking_keeps_the_tools(here: Gate) -> None:
    """OpenAI, of gpt-5.4 in chat completions."""
    answer = await here.ask("messages", ASK, model="ask-apart", headers=CATALOG, output_config={"effort": "high"})
    assert (answer.status, answer.headers["x-llmos-left-out"]) == (200, "effort")
    first, second = here.upstream.chats
    assert (names(first), first.effort, names(second), second.effort) == (OURS, "high", OURS, "")


async def test_names_that_somebody_made_up_for_models_without_tools_fill_no_memory(
    here: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "MOST_REFUSED", 2)
    for name in ("a", "b", "c", "d" * 1000):
        await here.ask("chat", f"{ASK} {name[:1]}", model=f"ask-notools-{name}", headers=CATALOG)
    assert list(here.services.gateway._tools._refused) == ["ask-notools-b", "ask-notools-c"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", WIRES)
async def test_a_model_that_only_loads_comes_to_an_end(
    fresh_copy: Path, upstream: Upstream, wire: str, *, stream: bool
) -> None:
    upstream.script = [[load()]]
    provider = "anthropic" if wire == "messages" else "openai"
    async with gate(fresh_copy, upstream, llm_provider=provider, tool_rounds=2) as here:
        await with_skill(here)
        answer = await here.ask(wire, ASK, model="loop", stream=stream, headers=CATALOG)
        assert text_of(wire, answer, stream=stream).strip("|") == WORD * 3
        assert len(upstream.chats) == 3
        assert not upstream.chats[-1].may_call
        again = await here.ask(wire, f"{ASK}!", model="loop-stubborn", stream=stream, headers=CATALOG)
        trace = await here.trace()
    assert b"model.no_answer" in again.body
    assert b"load_skill" not in again.body
    assert (trace.ended, trace.error) == (Ended.ERROR, "model.no_answer")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", WIRES)
async def test_the_same_behind_a_server_of_another_dialect(
    fresh_copy: Path, upstream: Upstream, wire: str, *, stream: bool
) -> None:
    upstream.script = [[load()]]
    async with gate(fresh_copy, upstream, llm_provider="openai" if wire == "messages" else "anthropic") as here:
        await with_skill(here)
        answer = await here.ask(wire, ASK, model="ask", stream=stream, headers=CATALOG, tools=[READ_FILE])
        assert answer.status == 200, answer.body
        assert len(upstream.chats) == 2
        assert names(upstream.chats[0]) == ["read_file", *OURS]
        [read] = upstream.chats[1].results
        assert "Read the diff twice" in read
        assert text_of(wire, answer, stream=stream) == WORD * 3
        assert b"load_skill" not in answer.body
        assert usage_of(wire, answer, stream=stream) == (20, 6)


async def test_the_offline_model_gets_texts(fresh_copy: Path, upstream: Upstream) -> None:
    async with gate(fresh_copy, upstream, llm_provider="offline", llm_url="") as here:
        await with_skill(here)
        answer = await here.ask("chat", ASK, headers=CATALOG)
        assert "Read the diff twice" in answer.json()["choices"][0]["message"]["content"]
        assert [use.skill_id for use in (await here.trace()).skills_used][:1] == ["pull-review"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_on_the_way_is_the_clients_error(here: Gate, *, stream: bool) -> None:
    here.upstream.script = [[load()]]
    made, real = [], here.upstream._calls

    def failing(seen: Seen, plan: Any) -> list[tuple[str, str]]:  # noqa: ANN401
        made.append(seen)
        plan.status = 500 if len(made) == 2 else 200
        return real(seen, plan)

    here.upstream._calls = failing  # type: ignore[method-assign]
    answer = await here.ask("chat", ASK, model="ask", stream=stream, headers=CATALOG | {"X-LLMOS-Retry": "off"})
    assert b"error" in answer.body
    assert b"load_skill" not in answer.body
    trace = await here.trace()
    assert trace.ended in {Ended.ERROR, Ended.COMPLETE}


async def test_what_a_model_may_not_read_it_does_not_get(here: Gate) -> None:
    here.upstream.script = [
        [load("../../etc"), load(path="../../../etc/passwd"), ("load_skill", "{"), load("a" * 9000)]
    ]
    answer = await here.ask("chat", ASK, model="ask-o65536", stream=True, headers=CATALOG)
    assert text_of("chat", answer, stream=True) == WORD * 3
    assert all("<skill" not in result for result in here.seen.results)
    assert [call.is_error for call in (await here.trace()).tool_calls] == [True] * 4
    assert "root:" not in json.dumps(here.seen.body)


async def test_a_client_that_goes_away_while_a_skill_is_loaded_ends_the_request(here: Gate) -> None:
    here.upstream.script = [[load()]]
    async with served(here) as port:
        body = {"model": "ask-say-c1000-i20", "stream": True, **request("chat", ASK)}
        await leave_after(port, "chat", here, body, WORD.encode(), "x-llmos-disclosure: catalog\r\n")
        await here.upstream.until(aborted=1)
    await here.services.gateway.close()
    trace = await here.trace()
    assert trace.ended is Ended.ABORTED
    assert trace.answer.startswith("One moment. ")
    assert [call.name for call in trace.tool_calls] == ["load_skill"]


async def test_a_wish_that_is_none_is_refused(here: Gate) -> None:
    answer = await here.ask("chat", ASK, headers={"X-LLMOS-Disclosure": "everything"})
    assert answer.status == 400
    assert answer.json()["error"]["code"] == "request.invalid"


async def test_tools_come_into_no_conversation_on_its_way(here: Gate) -> None:
    await here.ask(
        "chat", "Write a Python script that renames my photos by date", headers={"X-LLMOS-Disclosure": "bodies"}
    )
    await here.ask("chat", "Write a Python script that renames my photos by date", WORD * 3, ASK, headers=CATALOG)
    assert names(here.seen) == []
    assert "available_skills" not in json.dumps(here.seen.body)


async def test_thoughts_and_signatures_go_back_to_the_model_as_they_came(fresh_copy: Path, upstream: Upstream) -> None:
    upstream.script = [[load()]]
    async with gate(fresh_copy, upstream, llm_provider="anthropic") as here:
        await with_skill(here)
        answer = await here.ask("messages", ASK, model="ask", headers=CATALOG)
        said = here.seen.body["messages"][-2]
    assert [block["type"] for block in said["content"]] == ["thinking", "tool_use"]
    assert [block["type"] for block in answer.json()["content"]] == ["thinking", "text"]
