"""A conversation goes on after a restart: the same beginning goes to the model, and its trace has its parent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gating import PHOTOS, REVIEW, WIRES, Gate, gate, system_of
from tests.upstream import WORD, Upstream

ANSWER = WORD * 3


def provider(wire: str) -> str:
    return "anthropic" if wire == "messages" else "openai"


def items(here: Gate) -> list[Any]:
    body = here.seen.body
    found = body.get("messages", body.get("input"))
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("disclosure", ["bodies", "catalog"])
@pytest.mark.parametrize("wire", WIRES)
async def test_it_goes_on_where_it_was(fresh_copy: Path, upstream: Upstream, wire: str, disclosure: str) -> None:
    options = {"llm_provider": provider(wire), "disclosure": disclosure}
    async with gate(fresh_copy, upstream, **options) as here:
        await here.ask(wire, PHOTOS)
        await here.ask(wire, PHOTOS, ANSWER, REVIEW)
        before, system, tools = items(here), system_of(here.seen), here.seen.body.get("tools")
    async with gate(fresh_copy, upstream, **options) as here:
        await here.ask(wire, PHOTOS, ANSWER, REVIEW, ANSWER, "thanks")
        one, two, three = sorted(await here.traces(), key=lambda trace: trace.id)
    assert json.dumps(items(here)[: len(before)]) == json.dumps(before)
    assert (system_of(here.seen), here.seen.body.get("tools")) == (system, tools)
    assert (three.parent, three.conversation) == (two.id, one.conversation)
    assert [message.content for message in three.messages] == ["thanks", ANSWER]
    assert three.skills_used == two.skills_used


NAMED = {"conversation": "conv_1"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("begins", "goes_on"), [({}, {"previous_response_id": "resp_1"}), (NAMED, NAMED)])
async def test_a_conversation_that_the_provider_keeps_goes_on(
    fresh_copy: Path, upstream: Upstream, begins: dict[str, str], goes_on: dict[str, str], *, stream: bool
) -> None:
    async with gate(fresh_copy, upstream) as here:
        await here.ask("responses", PHOTOS, stream=stream, **begins)
        [one] = await here.traces()
    async with gate(fresh_copy, upstream) as here:
        await here.ask("responses", "thanks", **goes_on)
        trace = next(trace for trace in await here.traces() if trace.id != one.id)
    assert (trace.parent, trace.conversation) == (one.id, one.conversation)


async def test_results_of_tools_belong_to_what_the_person_wanted(fresh_copy: Path, upstream: Upstream) -> None:
    upstream.script = [[("look", "{}")]]
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    async with gate(fresh_copy, upstream) as here:
        await here.ask("chat", PHOTOS, model="ask", tools=tools)
    function = {"name": "look", "arguments": "{}"}
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_0", "type": "function", "function": function}],
    }
    async with gate(fresh_copy, upstream) as here:
        result = {"role": "tool", "tool_call_id": "call_0", "content": "a.jpg"}
        await here.ask("chat", {"role": "user", "content": PHOTOS}, call, result, model="ask", tools=tools)
        one, two = sorted(await here.traces(), key=lambda trace: trace.id)
    assert (two.parent, two.goal) == (one.id, PHOTOS)


async def test_nobody_goes_on_with_the_conversation_of_another(fresh_copy: Path, upstream: Upstream) -> None:
    async with gate(fresh_copy, upstream) as here:
        await here.ask("chat", PHOTOS)
    async with gate(fresh_copy, upstream) as here:
        await here.ask("chat", PHOTOS, ANSWER, "thanks", headers={"X-LLMOS-User": "bob"})
        bob = await here.services.accounts.authenticate(here.key, "bob")
        [row] = (await here.services.traces.page(bob)).items
        assert (await here.services.traces.get(bob, row.trace_id)).trace.parent == ""


async def test_who_is_forgotten_begins_anew(fresh_copy: Path, upstream: Upstream) -> None:
    async with gate(fresh_copy, upstream) as here:
        await here.ask("chat", PHOTOS)
        assert list((fresh_copy / "threads").iterdir())
        assert (await here.client.request("DELETE", "/users/alice/traces")).status == 200
        assert list((fresh_copy / "threads").iterdir()) == []
    async with gate(fresh_copy, upstream) as here:
        await here.ask("chat", PHOTOS, ANSWER, "thanks")
        assert (await here.trace()).parent == ""


async def test_who_wants_no_record_leaves_none_here(fresh_copy: Path, upstream: Upstream) -> None:
    async with gate(fresh_copy, upstream) as here:
        await here.ask("chat", PHOTOS, headers={"X-LLMOS-Record": "off"})
    assert not (fresh_copy / "threads").exists()
