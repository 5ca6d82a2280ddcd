"""A conversation through the gateway is erased: nothing of it is left, whatever client and provider call it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from planted import fsck, traces_of

from tests.gating import PHOTOS, WIRES, Gate, gate
from tests.upstream import Upstream

MARKER = "crooked umbrellas outwit seventeen polite lighthouse keepers"
NAMED = "session-4711-crooked-umbrella"
CALL = "call_9f31ab77crooked"
PROMPT = f"You are an agent. {MARKER}. " + "Be kind. " * 200
"""Long enough to be held once for all conversations."""
SCHEMA = {"type": "object", "properties": {}}
TOOLS = {
    "chat": {"type": "function", "function": {"name": "read_file", "parameters": SCHEMA}},
    "responses": {"type": "function", "name": "read_file", "parameters": SCHEMA},
    "messages": {"name": "read_file", "input_schema": SCHEMA},
}


def called(wire: str) -> list[dict[str, Any]]:
    """A call of the client's tool with an id of its own, and what it gave."""
    arguments = {"path": MARKER}
    if wire == "chat":
        function = {"name": "read_file", "arguments": json.dumps(arguments)}
        calls = [{"id": CALL, "type": "function", "function": function}]
        return [
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": CALL, "content": MARKER},
        ]
    if wire == "responses":
        return [
            {"type": "function_call", "call_id": CALL, "name": "read_file", "arguments": json.dumps(arguments)},
            {"type": "function_call_output", "call_id": CALL, "output": MARKER},
        ]
    use = {"type": "tool_use", "id": CALL, "name": "read_file", "input": arguments}
    result = {"type": "tool_result", "tool_use_id": CALL, "content": MARKER}
    return [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]


def prompted(wire: str) -> dict[str, Any]:
    return {} if wire == "chat" else {"system" if wire == "messages" else "instructions": PROMPT}


async def erase(here: Gate, trace_ids: list[str]) -> None:
    for trace_id in trace_ids:
        done = await here.client.request("DELETE", f"/traces/{trace_id}?reason=Mine")
        assert (done.status, done.json()["unfinished"]) == (200, {})


def kept_turns(data: Path) -> str:
    """What is kept of conversations for a restart."""
    return "".join(path.read_bytes().decode(errors="replace") for path in data.rglob("*.threads"))


def nothing_left(here: Gate, *texts: str) -> None:
    data = here.services.settings.data
    here.services.volumes.close()
    assert {text: traces_of(data, text) for text in texts} == {text: [] for text in texts}
    for gitdir in data.glob("volumes/**/traces.git"):
        assert fsck(gitdir) == ""


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("wire", WIRES)
async def test_nothing_is_left_of_a_conversation_with_names_of_its_own(
    fresh_copy: Path, upstream: Upstream, wire: str, *, restarted: bool
) -> None:
    """Its first turn is in Git, its last in the journal; calls, a name by the client, and a long prompt are in it."""
    more: dict[str, Any] = {"tools": [TOOLS[wire]], "headers": {"X-LLMOS-Conversation": NAMED}} | prompted(wire)
    lead: list[dict[str, Any]] = [{"role": "system", "content": PROMPT}] if wire == "chat" else []
    first = [*lead, {"role": "user", "content": f"{PHOTOS}: {MARKER}"}]
    options = {"llm_provider": "anthropic" if wire == "messages" else "openai"}
    async with gate(fresh_copy, upstream, **options) as here:
        await here.ask(wire, "something else")
        await here.ask(wire, *first, **more)
        await here.services.traces.fold(here.actor.volume)
        await here.ask(wire, *first, *called(wire), **more)
        other, *ids = here.ids
        one, two = (await here.traces())[1:]
        assert (one.conversation, two.parent) == (NAMED, one.id)
        for text in (MARKER, NAMED, CALL):
            assert traces_of(fresh_copy, text)
        if not restarted:
            await erase(here, ids)
    async with gate(fresh_copy, upstream, **options) as here:
        here.ids += [other, *ids]
        if restarted:
            await erase(here, ids)
        nothing_left(here, MARKER, NAMED, CALL)
        assert [trace.id for trace in await here.traces()] == [other]
        await here.ask(wire, *first, *called(wire), **more | {"headers": {}})
        assert (await here.trace()).parent == ""


@pytest.mark.parametrize("restarted", [False, True])
async def test_nothing_is_left_of_what_the_provider_keeps_by_an_id(
    fresh_copy: Path, upstream: Upstream, *, restarted: bool
) -> None:
    """What the model read of our tools is owed to the provider, and kept for the next turn."""
    upstream.script = [[("search_skills", json.dumps({"query": MARKER})), ("read_file", "{}")]]
    more: dict[str, Any] = {"tools": [TOOLS["responses"]], "headers": {"X-LLMOS-Disclosure": "catalog"}}
    async with gate(fresh_copy, upstream) as here:
        answer = await here.ask("responses", f"{PHOTOS}: {MARKER}", model="ask", **more)
        result = {"type": "function_call_output", "call_id": "call_2", "output": MARKER}
        after = answer.json()["id"]
        await here.ask("responses", result, model="ask", previous_response_id=after, **more)
        ids = here.ids
        one, two = await here.traces()
        assert (two.parent, "search_skills" in {call.name for call in one.tool_calls}) == (one.id, True)
        assert all(trace_id in kept_turns(fresh_copy) for trace_id in ids)
        if not restarted:
            await erase(here, ids)
    async with gate(fresh_copy, upstream) as here:
        if restarted:
            await erase(here, ids)
        nothing_left(here, MARKER)
        assert not any(trace_id in kept_turns(fresh_copy) for trace_id in ids)
        here.ids.clear()
        await here.ask("responses", "thanks", previous_response_id=after)
        assert (await here.trace()).parent == ""
