"""`/v1/…` behind the whole app, with a real model server: what goes in, what comes out, and what the trace says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any

import pytest
from asgi_client import Client
from openai.types.responses import ResponseCreatedEvent, ResponseErrorEvent, ResponseFailedEvent

from llmos_lite.core.telemetry.model_span import ModelSpan
from llmos_lite.core.traces.trace import Ended, now_ms
from llmos_lite.engines.upstream import Wire
from llmos_lite.errors import StorageFailed
from tests.answering import answering, reply
from tests.gating import PATHS, PHOTOS, REVIEW, WIRES, Gate, gate, leave_after, request, served, system_of, words_of
from tests.upstream import WORD, Upstream


@pytest.mark.parametrize("wire", WIRES)
async def test_the_skill_that_fits_is_in_the_system_prompt_and_nowhere_else(here: Gate, wire: str) -> None:
    answer = await here.ask(wire, PHOTOS)
    assert answer.status == 200, answer.body
    assert "<skill_content" in system_of(here.seen)
    assert "python-scripts" in system_of(here.seen)
    assert json.loads(words_of(here.seen))[0]["content"] == PHOTOS
    assert answer.headers["x-llmos-skills-used"] == "python-scripts"


@pytest.mark.parametrize("wire", WIRES)
async def test_without_a_skill_the_request_passes_byte_for_byte(here: Gate, wire: str) -> None:
    body = {"model": "plain", **request(wire, "hi"), "unknown_key": {"b": [1.50, None], "a": "é"}}
    raw = json.dumps(body, indent=3).encode()
    answer = await here.client.request("POST", PATHS[wire], content=raw, headers={"content-type": "application/json"})
    assert answer.status == 200
    assert here.seen.headers["content-length"] == str(len(raw))
    assert here.seen.body == body


@pytest.mark.parametrize("wire", WIRES)
async def test_with_a_skill_everything_else_stays(here: Gate, wire: str) -> None:
    more = {"temperature": 0.70, "metadata": {"user_id": "u"}, "tools": [{"type": "function", "name": "f"}], "x": None}
    await here.ask(wire, PHOTOS, **more)
    assert {key: here.seen.body[key] for key in more} == more


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", WIRES)
async def test_the_answer_passes_and_leaves_a_trace(here: Gate, wire: str, *, stream: bool) -> None:
    answer = await here.ask(wire, PHOTOS, stream=stream)
    trace = await here.trace()
    assert answer.headers["x-llmos-trace"] == trace.id
    assert trace.answer == WORD * 3
    assert (trace.goal, trace.ended, trace.source) == (PHOTOS, Ended.COMPLETE, f"gateway:{wire}")
    assert (trace.tokens_in, trace.tokens_out) == (10, 3)
    assert [use.skill_id for use in trace.skills_used] == ["python-scripts"]
    assert trace.skills_used[0].version
    assert "skill_content" not in str(trace.messages)


@pytest.mark.parametrize("wire", ["chat", "responses"])
async def test_tokens_that_a_provider_does_not_count_are_estimated_and_said_to_be(here: Gate, wire: str) -> None:
    await here.ask(wire, PHOTOS, stream=True)
    counted = await here.trace()
    await here.ask(wire, PHOTOS, model="nousage", stream=True)
    trace = await here.trace()
    size = int(here.seen.headers["content-length"])
    assert size / 4 - 50 < trace.tokens_in <= size / 4
    assert (trace.tokens_out, trace.tokens_estimated) == (len(WORD * 3) // 4, True)
    assert (counted.tokens_in, counted.tokens_estimated) == (10, False)
    text = here.services.metrics.render_metrics().decode()
    assert f'llmos_model_tokens_total{{direction="in",model="nousage"}} {trace.tokens_in}.0' in text


async def test_half_an_answer_of_anthropics_has_the_tokens_that_came(fresh_copy: Path, upstream: Upstream) -> None:
    """Its API counts what was asked at the beginning of a stream, and the answer at its end."""
    async with gate(fresh_copy, upstream, llm_provider="anthropic") as here:
        await here.ask("messages", PHOTOS, model="cut-c40", stream=True)
        trace = await here.trace()
    said = trace.messages[-1].content
    assert (trace.tokens_in, trace.tokens_out, trace.tokens_estimated) == (10, len(said) // 4, True)
    assert trace.tokens_out > 10


async def test_a_client_that_did_not_ask_for_counts_gets_none_of_ours(here: Gate) -> None:
    answer = await here.ask("chat", PHOTOS, model="nousage", stream=True)
    assert "stream_options" not in here.seen.body
    assert b'"usage": null' in answer.body
    assert b"estimated" not in answer.body


@pytest.mark.parametrize("wire", WIRES)
async def test_our_key_stays_here_and_the_servers_key_goes_there(here: Gate, wire: str) -> None:
    await here.ask(wire, PHOTOS, headers={"anthropic-beta": "x-1", "X-Stainless-Lang": "python", "Cookie": "a=b"})
    sent = here.seen.headers
    assert here.key not in str(sent)
    assert "upstream-key" in (sent.get("authorization", "") + sent.get("x-api-key", ""))
    assert (sent["anthropic-beta"], sent["x-stainless-lang"]) == ("x-1", "python")
    assert not {"cookie", "x-llmos-user", "accept-encoding"} & sent.keys()


@pytest.mark.parametrize("wire", WIRES)
async def test_a_clients_own_credential_passes_when_ours_comes_in_another_header(here: Gate, wire: str) -> None:
    headers = {"X-LLMOS-Key": here.key, "Authorization": "Bearer subscription", "x-api-key": "theirs"}
    answer = await here.ask(wire, PHOTOS, headers=headers)
    assert answer.status == 200, answer.body
    assert here.seen.headers["authorization"] == "Bearer subscription"
    assert here.seen.headers["x-api-key"] == "theirs"
    assert "upstream-key" not in str(here.seen.headers)
    assert here.key not in str(here.seen.headers)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_conversation_keeps_its_skills_and_stores_only_what_is_new(here: Gate, wire: str) -> None:
    await here.ask(wire, PHOTOS)
    first = system_of(here.seen)
    await here.ask(wire, PHOTOS, WORD * 3, "thanks, and with the hour, too")
    assert system_of(here.seen) == first
    one, two = await here.traces()
    assert (two.parent, two.conversation) == (one.id, one.conversation)
    assert [message.content for message in two.messages] == ["thanks, and with the hour, too", WORD * 3]


async def test_a_text_and_the_list_that_goes_on_from_it_are_one_conversation(here: Gate) -> None:
    """OpenAI's library writes lists so, without spaces."""
    answered = [{"role": "user", "content": PHOTOS}, {"role": "assistant", "content": WORD * 3}]
    for asked in (PHOTOS, [*answered, {"role": "user", "content": "thanks"}]):
        raw = json.dumps({"model": "plain", "input": asked}, separators=(",", ":")).encode()
        answer = await here.client.request("POST", PATHS["responses"], content=raw)
        here.ids.append(answer.headers["x-llmos-trace"])
    one, two = await here.traces()
    assert (two.parent, two.conversation) == (one.id, one.conversation)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_skill_that_is_called_for_later_comes_before_the_new_words_and_stays_there(
    here: Gate, wire: str
) -> None:
    await here.ask(wire, PHOTOS)
    first = system_of(here.seen)
    await here.ask(wire, PHOTOS, WORD * 3, REVIEW)
    second = json.dumps(here.seen.body)
    await here.ask(wire, PHOTOS, WORD * 3, REVIEW, WORD * 3, "ok")
    third = json.dumps(here.seen.body)
    assert "code-review" in second
    assert "code-review" not in first
    key = "input" if wire == "responses" else "messages"
    before = json.loads(second)[key]
    assert json.loads(third)[key][: len(before)] == before
    assert system_of(here.seen).startswith(first[:200])


@pytest.mark.parametrize("wire", WIRES)
async def test_skills_can_be_refused_or_named(here: Gate, wire: str) -> None:
    off = await here.ask(wire, PHOTOS, headers={"X-LLMOS-Skills": "off"})
    assert "skill_content" not in json.dumps(here.seen.body)
    assert "x-llmos-skills-used" not in off.headers
    named = await here.ask(wire, "Anything else", headers={"X-LLMOS-Skills": "charts, debugging"})
    assert named.headers["x-llmos-skills-used"] == "charts,debugging"
    unknown = await here.ask(wire, "Anything else, again", headers={"X-LLMOS-Skills": "nothing-such"})
    assert unknown.status == 404
    assert unknown.json()["error"]["code"] == "skill.unknown"


@pytest.mark.parametrize("wire", WIRES)
async def test_nothing_is_recorded_when_it_is_refused(here: Gate, wire: str) -> None:
    answer = await here.ask(wire, PHOTOS, headers={"X-LLMOS-Record": "off"})
    assert answer.status == 200
    assert "x-llmos-trace" not in answer.headers
    assert await here.traces() == []


@pytest.mark.parametrize("wire", WIRES)
async def test_what_a_client_asks_for_itself_gets_no_skill_and_is_no_goal(here: Gate, wire: str) -> None:
    title = "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n" + PHOTOS
    await here.ask(wire, title)
    assert "skill_content" not in json.dumps(here.seen.body)
    trace = await here.trace()
    assert (trace.goal, trace.source) == ("", f"gateway:{wire}:side")


@pytest.mark.parametrize("disclosure", ["bodies", "catalog"])
@pytest.mark.parametrize("wire", WIRES)
async def test_what_a_client_asks_of_a_conversation_keeps_its_beginning(here: Gate, wire: str, disclosure: str) -> None:
    """A summary of all of it, or what the person might say next: the provider has the conversation in its cache."""
    steer = {"X-LLMOS-Disclosure": disclosure}
    await here.ask(wire, PHOTOS, headers=steer)
    before = here.seen.body
    used = (await here.trace()).skills_used
    ask = "Summarize the conversation above in at most 50 words. Only reply with the summary."
    answer = await here.ask(wire, PHOTOS, "lorem lorem lorem ", ask)
    key = "input" if wire == "responses" else "messages"
    assert here.seen.body[key][: len(before[key])] == before[key]
    rest = [{name: value for name, value in one.items() if name != key} for one in (before, here.seen.body)]
    assert rest[0] == rest[1]
    trace = await here.trace()
    assert (trace.source, trace.goal, trace.skills_used) == (f"gateway:{wire}:side", "", used)
    assert answer.headers.get("x-llmos-skills-used", "") == ",".join(use.skill_id for use in used)
    await here.ask(wire, PHOTOS, "lorem lorem lorem ", ask, headers={"X-LLMOS-Skills": "off"})
    assert "skill" not in json.dumps(here.seen.body)


@pytest.mark.parametrize("disclosure", ["bodies", "catalog"])
async def test_what_a_client_asks_of_a_conversation_in_a_prompt_of_its_own_gets_no_skill(
    here: Gate, disclosure: str
) -> None:
    """No cache has a beginning that is another, so that skills there would only be paid for."""
    prompt = {"role": "system", "content": "Generate a concise title (3-7 words) for this conversation."}
    said = [{"role": "user", "content": PHOTOS}, {"role": "assistant", "content": "lorem lorem lorem "}]
    await here.ask("chat", PHOTOS, headers={"X-LLMOS-Disclosure": disclosure})
    answer = await here.ask("chat", prompt, *said)
    assert here.seen.body == {"model": "plain", "messages": [prompt, *said]}
    trace = await here.trace()
    assert (trace.source, trace.goal, trace.skills_used) == ("gateway:chat:side", "", ())
    assert "x-llmos-skills-used" not in answer.headers


@pytest.mark.parametrize("disclosure", ["bodies", "catalog"])
@pytest.mark.parametrize("wire", WIRES)
async def test_what_a_client_asks_without_the_tools_of_its_conversation_gets_no_skill(
    here: Gate, wire: str, disclosure: str
) -> None:
    """They stand before everything else, so that no cache has a beginning without them."""
    steer, tools = {"X-LLMOS-Disclosure": disclosure}, [client_tool(wire)]
    said = [PHOTOS, "lorem lorem lorem "]
    ask = "Summarize the conversation above in at most 50 words. Only reply with the summary."
    await here.ask(wire, PHOTOS, headers=steer, tools=tools)
    for none in ({}, {"tools": []}):
        answer = await here.ask(wire, *said, ask, **none)
        assert "skill" not in json.dumps(here.seen.body)
        assert "x-llmos-skills-used" not in answer.headers
        assert (await here.trace()).source == f"gateway:{wire}:side"
    await here.ask(wire, *said, ask, tools=tools)
    assert "skill" in json.dumps(here.seen.body)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_person_who_turns_tools_off_keeps_the_skills(here: Gate, wire: str) -> None:
    tools = [client_tool(wire)]
    said = [PHOTOS, "lorem lorem lorem ", "And by year?"]
    await here.ask(wire, PHOTOS, tools=tools)
    first = json.dumps(here.seen.body).count("skill_content")
    assert first
    await here.ask(wire, *said)
    assert json.dumps(here.seen.body).count("skill_content") == first
    await here.ask(wire, *said, "lorem lorem lorem ", "And by month?", tools=tools)
    assert json.dumps(here.seen.body).count("skill_content") == first


def client_tool(wire: str) -> dict[str, object]:
    """Return a tool of the client's own as a dialect writes it."""
    schema = {"type": "object"}
    function = {"name": "read_file", "parameters": schema}
    return {
        "chat": {"type": "function", "function": function},
        "responses": {"type": "function"} | function,
        "messages": {"name": "read_file", "input_schema": schema},
    }[wire]


async def test_a_summary_by_a_model_that_takes_no_tools_gets_no_skill(here: Gate) -> None:
    await here.ask("chat", PHOTOS, headers={"X-LLMOS-Disclosure": "catalog"})
    ask = "Summarize the conversation above in at most 50 words. Only reply with the summary."
    answer = await here.ask(
        "chat", PHOTOS, "lorem lorem lorem ", ask, model="notools", headers={"X-LLMOS-Skills": "charts"}
    )
    assert (answer.status, "skill" in json.dumps(here.seen.body)) == (200, False)
    trace = await here.trace()
    assert (trace.source, trace.goal, trace.skills_used) == ("gateway:chat:side", "", ())


@pytest.mark.parametrize("wire", WIRES)
async def test_calls_of_tools_and_their_results_are_one_conversation(here: Gate, wire: str) -> None:
    here.upstream.script = [[("read_file", '{"path":"a.py"}')]]
    schema = {"type": "object"}
    function = {"name": "read_file", "parameters": schema}
    tool = {"type": "function", "input_schema": schema, "function": function, **function}
    await here.ask(wire, PHOTOS, model="ask", stream=True, tools=[tool])
    call, result = CALLS[wire]
    await here.ask(wire, {"role": "user", "content": PHOTOS}, *call, *result)
    one, two = await here.traces()
    assert [(used.name, json.loads(used.arguments)) for used in one.tool_calls] == [("read_file", {"path": "a.py"})]
    assert (two.parent, two.conversation, two.goal) == (one.id, one.conversation, PHOTOS)
    assert [(said.role, said.content) for said in two.messages] == [("tool", "x = 1"), ("assistant", WORD * 3)]


CALLS: Mapping[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "chat": (
        [{"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_0", "type": "function", "function": {"name": "read_file", "arguments": "{}"}}]}],
        [{"role": "tool", "tool_call_id": "call_0", "content": "x = 1"}],
    ),
    "responses": (
        [{"type": "function_call", "call_id": "call_0", "name": "read_file", "arguments": "{}"}],
        [{"type": "function_call_output", "call_id": "call_0", "output": "x = 1"}],
    ),
    "messages": (
        [{"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_0", "name": "read_file", "input": {}}]}],
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_0", "content": "x = 1"}]}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("wire", WIRES)
async def test_the_clients_system_prompt_is_kept_once(here: Gate, wire: str) -> None:
    own = {"chat": {}, "responses": {"instructions": "Be brief."}, "messages": {"system": "Be brief."}}[wire]
    lead = [{"role": "system", "content": "Be brief."}] if wire == "chat" else []
    said = [*lead, {"role": "user", "content": PHOTOS}]
    await here.ask(wire, *said, **own)
    await here.ask(wire, *said, {"role": "assistant", "content": WORD * 3}, {"role": "user", "content": "more"}, **own)
    one, two = await here.traces()
    assert [message.content for message in one.messages] == ["Be brief.", PHOTOS, WORD * 3]
    assert [message.content for message in two.messages] == ["more", WORD * 3]
    assert one.system == two.system != ""


def with_prompt(wire: str, prompt: str) -> tuple[list[dict[str, str]], dict[str, str]]:
    """The leading messages, and the fields, that give a request a system prompt."""
    lead = [{"role": "system", "content": prompt}] if wire == "chat" else []
    return lead, {"chat": {}, "responses": {"instructions": prompt}, "messages": {"system": prompt}}[wire]


@pytest.mark.parametrize("wire", WIRES)
async def test_a_long_system_prompt_is_kept_once_for_all_conversations(here: Gate, wire: str) -> None:
    prompt = "Never guess. " * 100
    lead, own = with_prompt(wire, prompt)
    for words in ("one", "two", "two and a half"):
        await here.ask(wire, *lead, {"role": "user", "content": words}, **own)
    one, *others = await here.traces()
    assert (one.messages[0].role, one.messages[0].content, one.system_in) == ("system", prompt, "")
    for trace in others:
        assert [message.role for message in trace.messages] == ["user", "assistant"]
        assert (trace.system_in, trace.system) == (one.id, one.system)
    found = await here.client.get(f"/traces/{others[0].id}")
    assert found.json()["system_in"] == one.id
    here.services.traces.erased.add([one.id])
    await here.ask(wire, *lead, {"role": "user", "content": "three"}, **own)
    assert (await here.services.traces.get(here.actor, here.ids[-1])).trace.messages[0].content == prompt


async def test_a_prompt_is_kept_anew_when_the_time_of_the_trace_that_holds_it_is_over(here: Gate) -> None:
    lead, own = with_prompt("chat", "Never guess. " * 100)
    await here.ask("chat", *lead, {"role": "user", "content": "one"}, **own)
    [one] = await here.traces()
    await here.services.traces.fold()
    await here.services.eraser.retain(here.actor.volume, now_ms() + 60_000)
    await here.ask("chat", *lead, {"role": "user", "content": "two"}, **own)
    two = (await here.services.traces.get(here.actor, here.ids[-1])).trace
    assert (two.messages[0].role, two.system_in) == ("system", "")
    assert two.id != one.id


@pytest.mark.parametrize("wire", WIRES)
async def test_a_retry_is_told_apart_and_a_like_beginning_is_not_one(here: Gate, wire: str) -> None:
    await here.ask(wire, PHOTOS, model="e500")
    await here.ask(wire, PHOTOS)
    await here.ask(wire, PHOTOS)
    failed, retried, anew = await here.traces()
    assert failed.ended is Ended.ERROR
    assert (retried.retry_of, retried.conversation) == (failed.id, failed.conversation)
    assert (anew.retry_of, anew.parent) == ("", "")
    assert anew.conversation != retried.conversation


async def test_a_turn_whose_trace_is_not_stored_is_no_parent(here: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> Awaitable[object]:
        raise StorageFailed("storage.full", "The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(here.services.traces, "record", full)
        await here.ask("chat", PHOTOS)
    await here.ask("chat", PHOTOS, WORD * 3, "thanks")
    (trace,) = await here.traces()
    assert (trace.parent, trace.goal) == ("", "thanks")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_whose_trace_is_not_stored_is_counted_once(
    here: Gate, monkeypatch: pytest.MonkeyPatch, *, stream: bool
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise StorageFailed("storage.full", "The disk is full.")

    await here.ask("chat", PHOTOS)
    with monkeypatch.context() as patch:
        patch.setattr(here.services.traces, "record", full)
        answer = await here.ask("chat", PHOTOS, stream=stream)
    assert b"storage.full" in answer.body
    text = here.services.metrics.render_metrics().decode()
    assert 'llmos_model_requests_total{dialect="chat",model="plain",outcome="storage.full"} 1.0' in text
    assert "llmos_chats_unstored_total 1.0" in text
    assert 'llmos_chats_total{ended="error"} 1.0' in text
    assert 'llmos_chats_total{ended="complete"} 1.0' in text


@pytest.mark.parametrize("wire", WIRES)
async def test_a_conversation_is_called_what_the_client_calls_it(here: Gate, wire: str) -> None:
    await here.ask(wire, PHOTOS, headers={"X-Claude-Code-Session-Id": "5f0c-session"})
    assert (await here.trace()).conversation == "5f0c-session"


@pytest.mark.parametrize("wire", ["chat", "responses"])
async def test_a_long_name_of_a_conversation_becomes_one_that_can_be_asked_for(here: Gate, wire: str) -> None:
    await here.ask(wire, PHOTOS, prompt_cache_key="k" * 500)
    assert len((await here.trace()).conversation) == 64


@pytest.mark.parametrize("wire", WIRES)
async def test_an_erased_conversation_begins_anew(here: Gate, wire: str) -> None:
    await here.ask(wire, PHOTOS)
    erased = (await here.client.request("DELETE", f"/traces/{here.ids[0]}?reason=Mine")).status
    assert erased == 200
    await here.ask(wire, PHOTOS, WORD * 3, "and so on")
    (trace,) = await here.traces()
    assert (trace.parent, trace.goal) == ("", "and so on")


@pytest.mark.parametrize("wire", WIRES)
async def test_skills_of_a_team_that_was_left_leave_the_conversation(here: Gate, wire: str) -> None:
    admin = Client(here.client.app, {"Authorization": f"Bearer {here.key}"})
    await admin.post("/teams", {"team_id": "sre"})
    await admin.post("/users", {"user_id": "alice"})
    await admin.post("/teams/sre/members", {"user_id": "alice"})
    skill = {"skill_id": "zebra-parade", "description": "Use to plan a zebra parade.", "content": "Zebras first."}
    await admin.post("/skills", skill | {"volume": "team:sre"})
    first = await here.ask(wire, "Plan a zebra parade for us")
    assert first.headers["x-llmos-skills-used"] == "zebra-parade"
    await admin.request("DELETE", "/teams/sre/members/alice")
    second = await here.ask(wire, "Plan a zebra parade for us", WORD * 3, "ok")
    assert "x-llmos-skills-used" not in second.headers
    assert "Zebras first" not in json.dumps(here.seen.body)


@pytest.mark.parametrize("settings", [{"llm_provider": "offline", "llm_url": ""}, {"llm_provider": "anthropic"}])
async def test_embeddings_that_no_provider_offers_are_refused_in_openais_form(
    fresh_copy: Path, upstream: Upstream, settings: dict[str, str]
) -> None:
    async with gate(fresh_copy, upstream, **settings) as here:
        answer = await here.client.post("/v1/embeddings", {"model": "any", "input": "x"})
        error = answer.json()["error"]
        assert (answer.status, error["type"], error["code"]) == (400, "invalid_request_error", "model.no_embeddings")
        assert "LLMOS_LLM_URL" in error["message"]
        assert upstream.chats == []


# Failures


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "status", "code"), [
    ("e429", 429, "model.rate_limited"), ("e500", 500, "model.failed"), ("e401", 401, "model.rejected"),
    ("garbage", 502, "model.garbage"), ("e999", 502, "model.failed"),
])  # fmt: skip
@pytest.mark.parametrize("wire", WIRES)
async def test_a_failing_server_is_told_in_the_clients_words(
    here: Gate, wire: str, model: str, status: int, code: str, *, stream: bool
) -> None:
    answer = await here.ask(wire, PHOTOS, model=model, stream=stream)
    assert answer.status == status
    assert answer.json()["error"]["message"]
    assert answer.headers["x-llmos-trace"]
    assert answer.headers["content-type"].startswith("application/json")
    trace = await here.trace()
    assert (trace.ended, trace.error) == (Ended.ERROR, code)
    if status == 429:
        assert answer.headers["retry-after"] == "7"


@pytest.mark.parametrize("said", [b"null", b"5", b"[]", b"{}"])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_without_a_name_is_one(here: Gate, said: bytes, *, stream: bool) -> None:
    body = b'{"id":%b,"type":"message","content":[],"stop_reason":"end_turn"}' % said
    if stream:
        body = b'data: {"type":"message_start","message":%b}\n\ndata: {"type":"message_stop"}\n\n' % body
    async with answering(reply(body, kind="text/event-stream" if stream else "application/json")) as server:
        admin = Client(here.client.app, {"Authorization": f"Bearer {here.key}"})
        await admin.request(
            "PUT", "/providers/odd", json_body={"kind": "anthropic", "url": server.url, "models": ["odd"]}
        )
        answer = await here.ask("messages", "hi", model="odd", stream=stream)
    assert (answer.status, answer.body) == (200, body)
    assert (await here.trace()).ended is Ended.COMPLETE


@pytest.mark.parametrize(("theirs", "passes"), [("abc", True), ("", False), ("a" * 201, False)])
async def test_an_id_of_a_server_is_one_line(here: Gate, theirs: str, *, passes: bool) -> None:
    body = b'{"choices":[{"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
    async with answering(reply(body, x_request_id=theirs)) as server:
        admin = Client(here.client.app, {"Authorization": f"Bearer {here.key}"})
        await admin.request("PUT", "/providers/odd", json_body={"kind": "openai", "url": server.url, "models": ["odd"]})
        answer = await here.ask("chat", "hi", model="odd")
    found = [value for name, value in answer.raw if name == "x-request-id"]
    assert (len(found), found == [theirs], len(found[0])) == (1, passes, 3 if passes else 16)


async def test_a_status_that_http_does_not_know_is_none_of_ours(here: Gate) -> None:
    assert (await here.client.post("/v1/embeddings", {"model": "plain-e999", "input": "x"})).status == 502


@pytest.mark.parametrize("wire", WIRES)
async def test_half_a_stream_ends_with_an_error_and_the_trace_says_so(here: Gate, wire: str) -> None:
    answer = await here.ask(wire, PHOTOS, model="cut-c8", stream=True)
    assert b"model.cut" in answer.pieces[-2] or b"model.cut" in answer.body
    trace = await here.trace()
    assert (trace.ended, trace.error) == (Ended.ERROR, "model.cut")
    assert trace.answer.startswith(WORD)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_servers_own_error_in_a_stream_passes_and_is_kept(here: Gate, wire: str) -> None:
    answer = await here.ask(wire, PHOTOS, model="midfail", stream=True)
    assert answer.status == 200
    assert b"model.cut" not in answer.body
    assert (await here.trace()).error == "model.failed"


@pytest.mark.parametrize("tools", ["off", "auto"])
@pytest.mark.parametrize("wire", WIRES)
async def test_nobody_waits_for_the_end_of_a_body_whose_answer_is_whole(here: Gate, wire: str, tools: str) -> None:
    async with asyncio.timeout(here.services.settings.llm_timeout / 2):
        answer = await here.ask(wire, PHOTOS, model="plain-noend", stream=True, headers={"X-LLMOS-Skills": tools})
    assert b"error" not in answer.body.replace(b'"error": null', b"")
    assert (await here.trace()).ended is Ended.COMPLETE


@pytest.mark.parametrize("wire", WIRES)
async def test_an_answer_without_an_end_is_cut(here: Gate, wire: str) -> None:
    answer = await here.ask(wire, PHOTOS, model="huge")
    assert answer.status == 502
    assert answer.json()["error"]["code"] == "model.garbage"


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"null", b'{"model": 1}', b'{"messages": 5}', b'{"messages":[]}', b"\xff", b"[" * 100_000]
)
@pytest.mark.parametrize("wire", WIRES)
async def test_garbage_is_refused_in_the_clients_words(here: Gate, wire: str, raw: bytes) -> None:
    answer = await here.client.request("POST", PATHS[wire], content=raw)
    assert answer.status in {400, 404}
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("wire", WIRES)
async def test_a_stranger_is_refused_in_the_clients_words(here: Gate, wire: str) -> None:
    answer = await Client(here.client.app).post(PATHS[wire], request(wire, "hi"))
    assert answer.status == 401
    kind = {"messages": "error"}.get(wire)
    assert answer.json().get("type") == kind
    assert answer.json()["error"]["type"] == "authentication_error"


CROSSED = [("messages", "openai"), ("chat", "anthropic"), ("responses", "anthropic")]


@pytest.mark.parametrize(("wire", "provider"), [*CROSSED, *zip(WIRES, ("openai", "anthropic", "openai"), strict=True)])
async def test_a_server_without_empty_lines_is_heard_event_by_event(
    fresh_copy: Path, upstream: Upstream, wire: str, provider: str
) -> None:
    async with gate(fresh_copy, upstream, llm_provider=provider) as here:
        answer = await here.ask(wire, PHOTOS, model="tight-c8-i5", stream=True)
        trace = await here.trace()
        reading = here.services.gateway.dialects[Wire(wire)].reader("")
    reading.feed(answer.body)
    assert reading.completion().text == trace.answer == WORD * 8
    assert (reading.ended, trace.ended) == (True, Ended.COMPLETE)
    assert len(answer.pieces) > 4


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("wire", "provider"), CROSSED)
async def test_a_client_is_served_by_a_server_that_speaks_another_dialect(
    fresh_copy: Path, upstream: Upstream, wire: str, provider: str, *, stream: bool
) -> None:
    async with gate(fresh_copy, upstream, llm_provider=provider) as here:
        answer = await here.ask(wire, PHOTOS, stream=stream)
        trace = await here.trace()
    assert answer.status == 200, answer.body
    assert "<skill_content" in system_of(here.seen)
    assert here.seen.path.endswith("/messages" if provider == "anthropic" else "/chat/completions")
    reader = here.services.gateway.dialects[Wire(wire)]
    if stream:
        reading = reader.reader("")
        reading.feed(answer.body)
        assert reading.ended
    done = reading.completion() if stream else reader.whole(answer.body, "")
    assert done.text == trace.answer == WORD * 3
    assert (trace.tokens_in, trace.tokens_out, trace.ended) == (10, 3, Ended.COMPLETE)


@pytest.mark.parametrize("crossed", CROSSED)
@pytest.mark.parametrize(("status", "code"), [(429, "model.rate_limited"), (500, "model.failed")])
async def test_a_refusal_is_translated_too(
    fresh_copy: Path, upstream: Upstream, crossed: tuple[str, str], status: int, code: str
) -> None:
    wire, provider = crossed
    async with gate(fresh_copy, upstream, llm_provider=provider) as here:
        answer = await here.ask(wire, PHOTOS, model=f"e{status}")
        trace = await here.trace()
    assert answer.status == status
    assert answer.json()["error"]["code"] == code == trace.error
    assert answer.json().get("type") == ("error" if wire == "messages" else None)
    assert "and your key was" in answer.json()["error"]["message"]


@pytest.mark.parametrize("wire", WIRES)
async def test_of_half_an_event_a_client_gets_nothing_and_the_error_behind_it_is_whole(here: Gate, wire: str) -> None:
    answer = await here.ask(wire, PHOTOS, model="torn-c8", stream=True)
    *events, end = answer.body.split(b"\n\n")
    assert not end
    assert all(json.loads(event.partition(b"data: ")[2]) for event in events if event != b": working")
    first = next(event for event in events if b"broke the connection" in event)
    assert first.startswith(b"data: {" if wire == "chat" else b"event: error\ndata: {")


@pytest.mark.parametrize(("wire", "provider"), CROSSED)
async def test_a_cut_stream_is_an_error_in_the_clients_dialect(
    fresh_copy: Path, upstream: Upstream, wire: str, provider: str
) -> None:
    async with gate(fresh_copy, upstream, llm_provider=provider) as here:
        answer = await here.ask(wire, PHOTOS, model="cut-c8", stream=True)
        trace = await here.trace()
    assert b"model.cut" in answer.body
    assert trace.error == "model.cut"


@pytest.mark.parametrize("skills", ["off", "python-scripts"])
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_an_error_of_ours_goes_on_with_the_numbers_and_the_id_of_its_response(
    fresh_copy: Path, upstream: Upstream, provider: str, skills: str
) -> None:
    async with gate(fresh_copy, upstream, llm_provider=provider) as here:
        headers = {"X-LLMOS-Skills": skills, "X-LLMOS-Disclosure": "catalog"}
        answer = await here.ask("responses", PHOTOS, model="cut-c8", stream=True, headers=headers)
    events = events_of(answer.body)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    *_, error, failed = events
    said = ResponseErrorEvent.model_validate(error)
    assert (said.code, "broke the connection" in said.message) == ("model.cut", True)
    response = failed["response"]
    assert {event["response"]["id"] for event in events if "response" in event} == {response["id"]}
    assert (response["status"], response["model"], response["error"]["code"]) == ("failed", "cut-c8", "model.cut")
    ResponseFailedEvent.model_validate(failed | {"response": response | {"error": None}})  # the code is ours


async def test_an_error_before_anything_was_said_is_a_whole_stream(here: Gate) -> None:
    body = b"event: response.created\ndata: garb"
    async with answering(reply(body, content_type="text/event-stream")) as server:
        admin = Client(here.client.app, {"Authorization": f"Bearer {here.key}"})
        await admin.request("PUT", "/providers/odd", json_body={"kind": "openai", "url": server.url, "models": ["odd"]})
        answer = await here.ask("responses", "hi", model="odd", stream=True)
    events = events_of(answer.body)
    assert [event["type"] for event in events] == ["response.created", "error", "response.failed"]
    assert [event["sequence_number"] for event in events] == [0, 1, 2]
    ResponseCreatedEvent.model_validate(events[0])
    assert events[0]["response"]["id"] == events[2]["response"]["id"] != "resp_0"


def events_of(stream: bytes) -> list[Any]:
    """What stands in the events of a stream."""
    return [json.loads(line[6:]) for line in stream.split(b"\n") if line.startswith(b"data: {")]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", WIRES)
async def test_without_a_model_server_the_offline_model_answers(
    fresh_copy: Path, upstream: Upstream, wire: str, *, stream: bool
) -> None:
    async with gate(fresh_copy, upstream, llm_provider="offline", llm_url="") as here:
        answer = await here.ask(wire, PHOTOS, stream=stream)
        trace = await here.trace()
    assert answer.status == 200, answer.body
    assert b"python-scripts" in answer.body
    assert "It is no language model" in trace.answer
    assert trace.ended is Ended.COMPLETE


# A client that goes away


@pytest.mark.parametrize("wire", WIRES)
async def test_a_client_that_goes_away_ends_the_request_and_the_trace_says_aborted(here: Gate, wire: str) -> None:
    async with served(here) as port:
        body = {"model": "c1000-i20", "stream": True, **request(wire, PHOTOS)}
        await leave_after(port, wire, here, body, WORD.encode())
        await here.upstream.until(aborted=1)
    await here.services.gateway.close()
    trace = await here.trace()
    assert trace.ended is Ended.ABORTED
    assert trace.answer.startswith(WORD)


async def test_a_client_that_has_its_call_and_goes_away_has_not_failed(fresh_copy: Path, upstream: Upstream) -> None:
    """Codex closes the stream as soon as it knows what to call."""
    upstream.script = [[("shell", '{"command":["ls"]}')]]
    async with gate(fresh_copy, upstream) as here, served(here) as port:
        body = {
            "model": "ask-nodone-i300",
            "stream": True,
            "tools": [{"name": "shell", "parameters": {"type": "object"}}],
        }
        await leave_after(port, "responses", here, body | request("responses", PHOTOS), b'"arguments": "{')
        await here.upstream.until(aborted=1)
        await here.services.gateway.close()
        trace = await here.trace()
    assert trace.ended is Ended.COMPLETE
    assert [call.name for call in trace.tool_calls] == ["shell"]


async def test_requests_stand_in_the_metrics(here: Gate) -> None:
    await here.ask("chat", PHOTOS)
    await here.ask("chat", "Generate a short title for this chat, at most 5 words, nothing else.")
    await here.ask("chat", PHOTOS, model="nobody-has-this-e500")
    text = here.services.metrics.render_metrics().decode()
    assert 'llmos_model_requests_total{dialect="chat",model="plain",outcome="complete"} 2.0' in text
    assert 'llmos_model_side_calls_total{dialect="chat"} 1.0' in text
    assert 'llmos_model_first_byte_seconds_count{dialect="chat"}' in text
    assert 'llmos_model_skills_sum{dialect="chat"}' in text


async def test_a_client_that_goes_away_while_its_trace_is_written_stands_in_the_metrics(
    here: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces, system = here.services.traces, {"role": "system", "content": "Be brief. " * 200}

    def gone(*args: object, **named: object) -> Awaitable[object]:
        waiting = record(*args, **named)
        task.cancel()
        return waiting

    record = traces.record
    monkeypatch.setattr(traces, "record", gone)
    task = asyncio.ensure_future(here.ask("chat", system, PHOTOS))
    with pytest.raises(asyncio.CancelledError):
        await task
    await here.services.gateway.close()
    text = here.services.metrics.render_metrics().decode()
    assert 'llmos_model_requests_total{dialect="chat",model="plain",outcome="complete"} 1.0' in text
    assert len(here.services.gateway._keeper._prompts._kept) == 1


async def test_a_mistake_of_ours_is_kept_as_an_error(here: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("broken")

    monkeypatch.setattr(here.services.gateway._answers, "answered", broken)
    answer, trace = await here.ask("chat", PHOTOS), await here.trace()
    assert (answer.status, trace.ended, trace.error) == (500, Ended.ERROR, "internal")


@pytest.mark.parametrize("wire", WIRES)
async def test_what_is_nested_too_deeply_for_a_later_look_is_refused(here: Gate, wire: str) -> None:
    """The body as a whole can just be read, and an item in it no more, since more calls stand around that."""
    body = json.dumps({"model": "plain", **request(wire, "WORDS")})
    codes = set()
    for depth in range(700, 1000):
        content = body.replace('"WORDS"', "[" * depth + "]" * depth)
        answer = await here.client.request("POST", PATHS[wire], content=content.encode())
        codes.add((answer.status, b"nested too deeply" in answer.body))
    assert codes == {(200, False), (400, True)}


@pytest.mark.parametrize("wire", WIRES)
async def test_what_is_nested_too_deeply_as_a_whole_is_told_so(here: Gate, wire: str) -> None:
    content = json.dumps({"model": "plain", **request(wire, "WORDS")}).replace('"WORDS"', "[" * 9000 + "]" * 9000)
    answer = await here.client.request("POST", PATHS[wire], content=content.encode())
    assert (answer.status, b"nested too deeply" in answer.body) == (400, True)


class Kept(list[ModelSpan]):
    """Takes spans and keeps them."""

    def add(self, span: ModelSpan) -> None:
        self.append(span)


PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_each_recorded_request_gives_a_span(here: Gate) -> None:
    gateway = here.services.gateway
    gateway._keeper._spans = here.services.chat._spans = spans = Kept()
    gateway._goes_on = True
    await here.ask("chat", PHOTOS, headers={"traceparent": PARENT})
    assert here.seen.headers["traceparent"].startswith(PARENT[:35])
    assert here.seen.headers["traceparent"] != PARENT
    await here.ask("chat", PHOTOS, headers={"X-LLMOS-Record": "off"})
    answer = await here.client.post("/chat", {"message": PHOTOS}, headers={"traceparent": PARENT})
    assert answer.status == 200
    first, second = spans
    assert (first.trace_id, first.traceparent, first.dialect, first.provider) == (here.ids[0], PARENT, "chat", "openai")
    assert (second.trace_id, second.traceparent, second.dialect) == (answer.json()["trace_id"], PARENT, "llmos")
    assert [use.skill_id for use in first.skills] == [use.skill_id for use in (await here.traces())[0].skills_used]
    assert first.tokens_in > 0


async def test_without_anybody_who_hears_a_trace_passes_on_as_it_is(here: Gate) -> None:
    await here.ask("chat", PHOTOS, headers={"traceparent": PARENT})
    assert here.seen.headers["traceparent"] == PARENT
