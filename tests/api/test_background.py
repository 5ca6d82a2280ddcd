"""Responses that are made in the background: asked for later, by whoever made them, where they are made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asgi_client import Answer

from llmos_lite.core.providers.config import Provider
from llmos_lite.core.traces.trace import Ended, Trace
from llmos_lite.errors import StorageFailed
from llmos_lite.volumes.access import VolumeRef
from tests.gating import PHOTOS, Gate, gate, leave_after, request, served
from tests.upstream import WORD, Upstream

BASE = "/v1/responses"
SAID = WORD * 3


async def begin(here: Gate, model: str = "behind", **more: Any) -> Any:  # noqa: ANN401 - JSON
    """Ask for a response in the background, and return it as it begins."""
    answer = await here.ask("responses", PHOTOS, model=model, background=True, **more)
    assert answer.status == 200, answer.body
    return answer.json()


async def poll(here: Gate, response_id: str, times: int = 2, **more: Any) -> Any:  # noqa: ANN401
    for _ in range(times):
        answer = await here.client.get(f"{BASE}/{response_id}", **more)
        assert answer.status == 200, answer.body
    return answer.json()


@asynccontextmanager
async def begun_stream(port: int, here: Gate, body: dict[str, Any]) -> AsyncIterator[asyncio.StreamReader]:
    """Ask for a stream, read its first words, and hang up at the end of the block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    raw = json.dumps(body).encode()
    head = f"POST {BASE} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {here.key}\r\nx-llmos-user: alice\r\n"
    writer.write(f"{head}content-length: {len(raw)}\r\n\r\n".encode() + raw)
    await reader.readuntil(b"output_text.delta")
    try:
        yield reader
    finally:
        writer.close()


async def both(here: Gate) -> tuple[Trace, Trace]:
    """Return the trace of a request, and that of its answer."""
    page = await here.services.traces.page(here.actor)
    found = [(await here.services.traces.get(here.actor, row.trace_id)).trace for row in page.items]
    one, two = sorted(found, key=lambda trace: trace.time)
    return one, two


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json()["error"]["code"]


async def test_an_answer_is_asked_for_until_it_is_there_and_its_trace_has_it(here: Gate) -> None:
    begun = await begin(here)
    assert (begun["status"], begun["output"]) == ("queued", [])
    one = await here.trace()
    assert (one.source, one.ended, one.answer, one.tokens_in) == ("gateway:responses:background", "complete", "", 0)
    assert [use.skill_id for use in one.skills_used] == ["python-scripts"]

    answer = await here.client.get(f"{BASE}/{begun['id']}", headers={"OpenAI-Beta": "x"})
    assert (answer.json()["status"], answer.headers["x-llmos-trace"]) == ("in_progress", one.id)
    assert len((await here.services.traces.page(here.actor)).items) == 1
    there = here.upstream.requests[-1]
    assert (there.method, there.path, there.headers["openai-beta"]) == ("GET", f"{BASE}/{begun['id']}", "x")
    assert there.headers["authorization"] == "Bearer upstream-key"

    end = await poll(here, begun["id"], times=3)
    assert (end["status"], end["usage"]["output_tokens"]) == ("completed", 3)
    one, two = await both(here)
    assert (two.parent, two.conversation, two.goal) == (one.id, one.conversation, PHOTOS)
    assert (two.answer, two.ended, two.tokens_in, two.tokens_out) == (SAID, Ended.COMPLETE, 10, 3)
    assert two.skills_used == one.skills_used
    used, _ = await here.services.limits.usage(here.actor)
    assert (used.requests, used.tokens_in, used.tokens_out) == (1, 10, 3)
    text = here.services.metrics.render_metrics().decode()
    assert 'llmos_model_tokens_total{direction="out",model="behind"} 3.0' in text
    assert 'ended="error"} 0.0' in text


async def test_who_asks_many_times_at_once_is_recorded_and_counted_once(here: Gate) -> None:
    begun = await begin(here)
    here.upstream.behind[begun["id"]].polls = 0
    answers = await asyncio.gather(*(here.client.get(f"{BASE}/{begun['id']}") for _ in range(5)))
    assert {answer.json()["status"] for answer in answers} == {"completed"}
    _, two = await both(here)
    used, _ = await here.services.limits.usage(here.actor)
    assert (two.tokens_out, used.tokens_out) == (3, 3)


async def test_an_answer_whose_trace_cannot_be_stored_is_recorded_by_the_next_who_asks(
    here: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = await begin(here)
    here.upstream.behind[begun["id"]].polls = 0

    async def full(*_: object, **__: object) -> None:
        raise StorageFailed("storage.full", "The disk is full.")

    with monkeypatch.context() as patched:
        patched.setattr(here.services.traces, "record", full)
        assert code(await here.client.get(f"{BASE}/{begun['id']}")) == (507, "storage.full")
    await poll(here, begun["id"], 1)
    _, two = await both(here)
    assert two.answer == SAID


async def test_what_is_heard_of_streams_that_are_cut_counts_and_the_end_adds_the_rest(here: Gate) -> None:
    """A client that leaves every stream before its end uses no less of its budget."""

    async def used() -> tuple[int, int]:
        found, _ = await here.services.limits.usage(here.actor)
        assert found.requests == 1
        return found.tokens_in, found.tokens_out

    def tokens(answer: Answer) -> int:
        return len(WORD) * answer.body.count(b"event: response.output_text.delta") // 4

    first = await here.ask("responses", PHOTOS, model="behind-cut-c40", stream=True, background=True)
    question, words = await used()
    assert question > 10
    assert words == tokens(first) > 10
    here.upstream.behind["resp_001"].cuts = True
    again = await here.client.get(f"{BASE}/resp_001?stream=true")
    assert tokens(again) == words
    assert await used() == (question, words)  # the same words are not counted twice
    rest = await here.client.get(f"{BASE}/resp_001?stream=true&starting_after=36")
    assert tokens(rest)
    assert await used() == (question, words + tokens(rest))
    here.upstream.behind["resp_001"].polls = 0
    await poll(here, "resp_001")
    assert await used() == (question, 40)


@pytest.mark.parametrize("to_the_end", [True, False])
async def test_who_asks_while_its_stream_is_heard_leaves_it_to_the_stream(here: Gate, *, to_the_end: bool) -> None:
    body = {"model": "behind-c9-i40", "stream": True, "background": True, **request("responses", PHOTOS)}
    async with served(here) as port, begun_stream(port, here, body) as reader:
        here.upstream.behind["resp_001"].polls = 0
        assert (await poll(here, "resp_001", 1))["status"] == "completed"
        assert not (await here.services.traces.page(here.actor)).items
        if to_the_end:
            await reader.readuntil(b"event: response.completed")
    await here.services.gateway.close()
    await poll(here, "resp_001", 1)
    traces = await here.traces()
    assert [trace.answer for trace in traces if trace.answer] == [WORD * 9]
    assert len(traces) == (1 if to_the_end else 2)
    used, _ = await here.services.limits.usage(here.actor)
    assert (used.requests, used.tokens_out) == (1, 9)
    assert used.tokens_in == 10 if to_the_end else used.tokens_in > 10  # by length, as it was left


async def test_a_request_about_a_response_counts_as_one(fresh_copy: Path, upstream: Upstream) -> None:
    async with gate(fresh_copy, upstream, limit_requests=3) as here:
        begun = await begin(here)
        await poll(here, begun["id"], 2)
        assert code(await here.client.get(f"{BASE}/{begun['id']}")) == (429, "limit.requests")


async def test_the_conversation_goes_on_from_it(here: Gate) -> None:
    begun = await begin(here)
    await poll(here, begun["id"])
    await here.ask("responses", "thanks", previous_response_id=begun["id"])
    page = await here.services.traces.page(here.actor)
    found = [(await here.services.traces.get(here.actor, row.trace_id)).trace for row in page.items]
    first = next(trace for trace in found if trace.source.endswith(":background") and not trace.answer)
    last = next(trace for trace in found if trace.source == "gateway:responses")
    assert (last.parent, last.conversation) == (first.id, first.conversation)
    assert [message.content for message in last.messages] == ["thanks", SAID]


async def test_nobody_else_can_ask_for_it(here: Gate) -> None:
    begun = await begin(here)
    other, before = here.client.acting_as("bob"), len(here.upstream.requests)
    for method, tail in (("GET", ""), ("GET", "?stream=true"), ("GET", "/input_items"), ("POST", "/cancel")):
        assert code(await other.request(method, f"{BASE}/{begun['id']}{tail}")) == (404, "response.unknown")
    assert code(await other.request("DELETE", f"{BASE}/{begun['id']}")) == (404, "response.unknown")
    assert code(await here.client.get(f"{BASE}/resp_999")) == (404, "response.unknown")
    assert (await here.client.without_credential().get(f"{BASE}/{begun['id']}")).status == 401
    assert len(here.upstream.requests) == before


@pytest.mark.parametrize("path", ["/x%2fy", "/..", "/a/b", "/a/cancel", "/input_tokens/"])
async def test_what_is_no_route_about_a_response_is_told_in_openais_words(here: Gate, path: str) -> None:
    assert code(await here.client.get(BASE + path)) == (404, "route.unknown")
    assert not here.upstream.requests


async def test_it_is_cancelled_and_the_trace_says_so(here: Gate) -> None:
    begun = await begin(here)
    answer = await here.client.post(f"{BASE}/{begun['id']}/cancel")
    assert answer.json()["status"] == "cancelled"
    assert here.upstream.requests[-1].method == "POST"
    await poll(here, begun["id"])
    _, two = await both(here)
    assert (two.ended, two.error, two.answer) == (Ended.ABORTED, "", "")


async def test_one_that_fails_has_failed_in_its_own_trace(here: Gate) -> None:
    begun = await begin(here, "behind-midfail")
    assert (await poll(here, begun["id"]))["status"] == "failed"
    one, two = await both(here)
    assert (one.ended, two.ended, two.error) == (Ended.COMPLETE, Ended.ERROR, "model.failed")


async def test_what_it_was_asked_is_told_and_it_is_deleted(here: Gate) -> None:
    begun = await begin(here)
    items = (await here.client.get(f"{BASE}/{begun['id']}/input_items?limit=5&order=asc")).json()
    assert items["data"][0]["content"] == PHOTOS
    assert here.upstream.requests[-1].path.endswith("/input_items?limit=5&order=asc")
    assert (await here.client.request("DELETE", f"{BASE}/{begun['id']}")).json()["deleted"] is True
    assert code(await here.client.get(f"{BASE}/{begun['id']}")) == (404, "response.unknown")


async def test_what_its_server_refuses_passes(here: Gate) -> None:
    begun = await begin(here)
    here.upstream.behind.clear()
    answer = await here.client.get(f"{BASE}/{begun['id']}")
    assert (answer.status, answer.json()["error"]["message"]) == (404, "No such response")


async def test_a_stream_that_is_heard_to_its_end_leaves_one_trace(here: Gate) -> None:
    answer = await here.ask("responses", PHOTOS, model="behind", stream=True, background=True)
    assert b"response.completed" in answer.body
    trace = await here.trace()
    assert (trace.answer, trace.source, trace.tokens_out) == (SAID, "gateway:responses", 3)
    await poll(here, "resp_001")
    assert len((await here.services.traces.page(here.actor)).items) == 1


@pytest.mark.parametrize("again", ["", "?stream=true&starting_after=4"])
async def test_a_stream_that_is_cut_goes_on_where_it_was(here: Gate, again: str) -> None:
    answer = await here.ask("responses", PHOTOS, model="behind-cut-c8", stream=True, background=True)
    assert b"event: error" in answer.body
    assert b"response.failed" not in answer.body
    assert (await here.trace()).ended is Ended.COMPLETE
    here.upstream.polls = here.upstream.behind["resp_001"].polls = 0
    rest = await here.client.get(f"{BASE}/resp_001{again}")
    if again:
        numbers = [json.loads(line[6:])["sequence_number"] for line in rest.body.splitlines() if line[:5] == b"data:"]
        assert numbers[0] == 5
        assert b"response.completed" in rest.body
    one, two = await both(here)
    assert (one.source, one.answer) == ("gateway:responses:background", "")
    assert (two.answer, two.ended, two.tokens_out) == (WORD * 8, Ended.COMPLETE, 8)


async def test_a_client_that_goes_away_has_not_stopped_it(here: Gate) -> None:
    body = {"model": "behind-c9-i40", "stream": True, "background": True, **request("responses", PHOTOS)}
    async with served(here) as port:
        await leave_after(port, "responses", here, body, b"output_text.delta")
        await here.upstream.until(aborted=1)
    await here.services.gateway.close()
    here.upstream.behind["resp_001"].polls = 0
    await poll(here, "resp_001", 1)
    one, two = await both(here)
    assert (one.ended, one.answer) == (Ended.COMPLETE, "")
    assert (two.ended, two.answer) == (Ended.COMPLETE, WORD * 9)


async def test_what_is_not_recorded_can_be_asked_for_and_leaves_no_trace(here: Gate) -> None:
    begun = await begin(here, headers={"X-LLMOS-Record": "off"})
    assert (await poll(here, begun["id"]))["status"] == "completed"
    assert not (await here.services.traces.page(here.actor)).items
    used, _ = await here.services.limits.usage(here.actor)
    assert used.tokens_out == 3


@pytest.mark.parametrize("word", ["", "record", "header", "share", "team"])
async def test_what_the_person_says_by_then_holds_for_its_answer(here: Gate, word: str) -> None:
    accounts = here.services.accounts
    admin = await accounts.authenticate(here.key)
    await accounts.create_team(admin, "sre")
    await accounts.set_member(admin, "sre", "alice")
    await here.client.request("PATCH", "/me", json_body={"share": "full"})
    begun = await begin(here, headers={"X-LLMOS-Team": "sre"})
    if word == "team":
        await accounts.remove_member(admin, "sre", "alice")
    elif changes := {"record": {"record": False}, "share": {"share": "none"}}.get(word):
        await here.client.request("PATCH", "/me", json_body=changes)
    await poll(here, begun["id"], headers={"X-LLMOS-Record": "off"} if word == "header" else None)
    await here.services.traces.settle()
    page = await here.services.traces.page(admin, volume=VolumeRef.team("sre"))
    assert len(page.items) == (1 if word else 2)
    answers = [trace.answer for trace in await here.traces() if trace.answer]
    assert answers == ([] if word in {"record", "header"} else [SAID])
    used, _ = await here.services.limits.usage(here.actor)
    assert used.tokens_out == 3


async def test_a_clients_own_key_is_for_what_it_made_and_no_other_is(here: Gate) -> None:
    own = {"X-LLMOS-Key": here.key, "Authorization": "Bearer theirs"}
    ours, theirs = (await begin(here))["id"], (await begin(here, headers=own))["id"]
    await poll(here, theirs, headers=own)
    assert here.upstream.requests[-1].headers["authorization"] == "Bearer theirs"
    before = len(here.upstream.requests)
    for response_id, headers in ((ours, own), (theirs, None)):
        answer = await here.client.get(f"{BASE}/{response_id}", headers=headers)
        assert code(answer) == (404, "response.unknown")
    assert len(here.upstream.requests) == before


async def test_a_stream_that_fails_is_not_a_response_that_failed(here: Gate) -> None:
    answer = await here.ask("responses", PHOTOS, model="behind-streamfails", stream=True, background=True)
    again = await here.client.get(f"{BASE}/resp_001?stream=true")
    for one in (answer, again):
        assert one.body.count(b"event: error") == 1
        assert b"the stream failed" in one.body
    trace = await here.trace()
    assert (trace.source, trace.ended, trace.answer) == ("gateway:responses:background", "complete", "")
    here.upstream.behind["resp_001"].polls = 0
    await poll(here, "resp_001", 1)
    _, two = await both(here)
    assert (two.answer, two.ended) == (SAID, Ended.COMPLETE)


async def test_it_outlives_a_restart(fresh_copy: Path, upstream: Upstream) -> None:
    async with gate(fresh_copy, upstream) as here:
        begun = await begin(here)
    async with gate(fresh_copy, upstream) as here:
        assert (await poll(here, begun["id"]))["status"] == "completed"
        _, two = await both(here)
        assert two.answer == SAID


async def test_its_server_is_asked_and_no_other(here: Gate) -> None:
    admin = await here.services.accounts.authenticate(here.key)
    other = Provider(name="far", kind="openai", url=here.upstream.url, key="far-key", models=("behind",))
    await here.services.providers.put(admin, other)
    begun = await begin(here)
    await poll(here, begun["id"], 1)
    assert here.upstream.requests[-1].headers["authorization"] == "Bearer far-key"
    await here.services.providers.remove(admin, "far")
    answer = await here.client.get(f"{BASE}/{begun['id']}")
    assert code(answer) == (404, "response.unknown")
    assert "far" in answer.json()["error"]["message"]


async def test_what_is_erased_is_not_recorded_later(here: Gate) -> None:
    begun = await begin(here)
    trace = await here.trace()
    await here.services.gateway.forget([trace.id])
    assert code(await here.client.get(f"{BASE}/{begun['id']}")) == (404, "response.unknown")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_that_makes_none_answers_at_once(here: Gate, *, stream: bool) -> None:
    """It ignores the word; a client that polls until the status says so is done."""
    answer = await here.ask("responses", PHOTOS, background=True, stream=stream)
    assert b'"status": "completed"' in answer.body
    trace = await here.trace()
    assert (trace.answer, trace.source) == (SAID, "gateway:responses")


async def test_what_is_left_of_a_stream_that_is_not_made_in_the_background_is_recorded_at_once(here: Gate) -> None:
    answer = await here.ask("responses", PHOTOS, model="atonce-cut-c8", stream=True, background=True)
    assert b"response.failed" in answer.body
    trace = await here.trace()
    assert (trace.source, trace.ended, trace.error) == ("gateway:responses", "error", "model.cut")
    assert trace.answer.startswith(WORD)
    assert code(await here.client.get(f"{BASE}/resp_1")) == (404, "response.unknown")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_of_another_dialect_answers_at_once(
    fresh_copy: Path, upstream: Upstream, *, stream: bool
) -> None:
    async with gate(fresh_copy, upstream, llm_provider="anthropic") as here:
        answer = await here.ask("responses", PHOTOS, background=True, stream=stream)
        assert answer.headers["x-llmos-left-out"] == "background"
        assert b'"status":"completed"' in answer.body
        found = await here.client.get(f"{BASE}/resp_1")
        assert code(found) == (404, "response.unknown")
        assert "background" in found.json()["error"]["message"]
