"""`POST /chat` behind the edge, in process; and once behind a real server, for clients that go away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from llmos_lite.api.chat import OPENAPI, ChatEndpoint
from llmos_lite.api.errors import Message, Receive, Scope
from llmos_lite.api.middleware import Edge
from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.chat.service import ChatService
from llmos_lite.core.traces.trace import Ended
from llmos_lite.engines.llm import LanguageModel
from llmos_lite.engines.sse import SseReader
from tests.chatting import Room, room
from tests.upstream import WORD, Upstream, running

LIMIT = 10_000


@dataclass
class Parts:
    accounts: Accounts
    chat: ChatService


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - whatever was said
        return json.loads(self.body)

    def events(self) -> list[tuple[str, Any]]:
        names = [line[7:].decode() for line in self.body.splitlines() if line.startswith(b"event: ")]
        return list(zip(names, map(json.loads, SseReader().feed(self.body)), strict=True))


class Client:
    """One person at the endpoint."""

    def __init__(self, opened: Room, model: str | LanguageModel = "plain", **options: float) -> None:
        self.room = opened
        endpoint = ChatEndpoint(Parts(opened.accounts, opened.service(model, **options)))
        self.app = Edge(endpoint, max_body=LIMIT, max_import=LIMIT)

    async def post(self, body: object, headers: Mapping[str, str] | None = None) -> Reply:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.app(self.scope(headers), _receive(raw), send)
        head = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], head, b"".join(message.get("body", b"") for message in sent))

    def scope(self, headers: Mapping[str, str] | None = None) -> Scope:
        given = {"authorization": f"Bearer {self.room.key}", "x-llmos-user": "alice"} | dict(headers or {})
        raw = [(name.lower().encode(), value.encode()) for name, value in given.items() if value]
        return {"type": "http", "method": "POST", "path": "/chat", "headers": raw, "state": {}}


def _receive(*pieces: bytes) -> Receive:
    """Hand the body over in pieces, then wait for ever, as a client does that reads the answer."""
    left = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    left[-1]["more_body"] = False

    async def receive() -> Message:
        if left:
            return left.pop(0)
        return await asyncio.get_running_loop().create_future()

    return receive


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with running() as server:
        yield server


@pytest.fixture
async def opened(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Room]:
    async with room(tmp_path, upstream.url) as found:
        yield found


async def test_an_answer_has_the_fields_that_programs_rely_on(opened: Room) -> None:
    reply = await Client(opened).post({"message": "hello"})
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    body = reply.json()
    assert set(body) == {
        "response",
        "skills_used",
        "trace_id",
        "conversation_id",
        "usage",
        "model",
        "recorded",
        "tool_calls",
        "skills_held",
        "tool_problems",
    }
    assert body["response"] == WORD * 3
    assert body["usage"] == {"input_tokens": 10, "output_tokens": 3}
    assert reply.headers["x-llmos-trace"] == body["trace_id"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"message": "hello", "stream": True}, {}),
        ({"message": "hello"}, {"accept": "text/event-stream"}),
        ({"message": "hello", "stream": True}, {"accept": "application/json"}),
    ],
)
async def test_events_come_when_asked_for(opened: Room, body: object, headers: Mapping[str, str]) -> None:
    reply = await Client(opened).post(body, headers)
    assert reply.headers["content-type"].startswith("text/event-stream")
    (first, start), *deltas, (last, done) = reply.events()
    assert (first, last) == ("start", "done")
    assert "".join(data["text"] for name, data in deltas if name == "delta") == WORD * 3
    assert {name for name, _ in deltas} == {"delta"}
    assert start["trace_id"] == done["trace_id"] == reply.headers["x-llmos-trace"]
    assert done["response"] == WORD * 3


async def test_stream_false_wins_over_the_header(opened: Room) -> None:
    reply = await Client(opened).post({"message": "hello", "stream": False}, {"accept": "text/event-stream"})
    assert reply.headers["content-type"] == "application/json"


async def test_line_breaks_survive_the_events(opened: Room) -> None:
    message = "a\r\nb\rc\nd  e: \U0001f600"
    reply = await Client(opened, "echo").post({"message": message, "stream": True})
    answer = json.loads("".join(data["text"] for name, data in reply.events() if name == "delta"))
    assert answer["messages"][-1]["content"] == message


async def test_a_body_may_come_in_pieces(opened: Room) -> None:
    client, sent = Client(opened), list[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    await client.app(client.scope(), _receive(b'{"mess', b'age": "hi', b'"}', b""), send)
    assert sent[0]["status"] == 200


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (b"", "request.not_json", "not JSON"),
        (b"{", "request.not_json", "not JSON"),
        (b'{"message": "\xff"}', "request.not_json", "not JSON"),
        (b'{"message": "\\ud800"}', "request.not_json", "not JSON"),
        (b"[]", "request.invalid", "object"),
        (b"{}", "chat.empty", "empty"),
        (b'{"message": 7}', "request.invalid", "$.message"),
        (b'{"message": null}', "request.invalid", "$.message"),
        (b'{"message": "hi", "user_id": "bob"}', "request.invalid", "user_id"),
        (b'{"message": "hi", "max_skills": 21}', "request.invalid", "$.max_skills"),
        (b'{"message": "hi", "max_skills": "3"}', "request.invalid", "$.max_skills"),
        (b'{"message": "hi", "stream": "yes"}', "request.invalid", "$.stream"),
        (b'{"message": "hi", "disclosure": "all"}', "request.invalid", "$.disclosure"),
        (b'{"message": " "}', "chat.empty", "empty"),
    ],
)
async def test_bad_input_is_a_clear_problem(opened: Room, body: bytes, code: str, said: str) -> None:
    reply = await Client(opened).post(body)
    assert (reply.status, reply.headers["content-type"]) == (400, "application/problem+json")
    assert reply.json()["code"] == code
    assert said in reply.json()["detail"]


async def test_a_body_over_the_limit_is_refused_before_it_is_read(opened: Room) -> None:
    client = Client(opened)
    assert (await client.post({"message": "x"}, {"content-length": "50000000"})).status == 413
    assert (await client.post({"message": "x" * LIMIT})).status == 413


async def test_a_credential_is_needed(opened: Room) -> None:
    reply = await Client(opened).post({"message": "hi"}, {"authorization": ""})
    assert (reply.status, reply.json()["code"]) == (401, "credential.missing")
    assert (await Client(opened).post({"message": "hi"}, {"authorization": "Bearer wrong"})).status == 401


async def test_unknown_teams_and_conversations_are_404(opened: Room) -> None:
    for body in ({"message": "hi", "team_id": "sre"}, {"message": "hi", "conversation_id": "x"}):
        reply = await Client(opened).post(body)
        assert reply.status == 404
        assert reply.json()["code"] in {"team.unknown", "conversation.unknown"}


async def test_what_is_refused_before_the_stream_is_a_problem_too(opened: Room) -> None:
    reply = await Client(opened).post({"message": "hi", "conversation_id": "x", "stream": True})
    assert (reply.status, reply.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("word", ["off", "OFF", "false", "0"])
async def test_recording_can_be_refused(opened: Room, word: str) -> None:
    reply = await Client(opened).post({"message": "a secret"}, {"x-llmos-record": word})
    assert (reply.json()["trace_id"], reply.json()["recorded"]) == (None, False)
    assert "x-llmos-trace" not in reply.headers
    assert await opened.all_traces(await opened.actor("alice")) == []


async def test_recording_on_is_the_default(opened: Room) -> None:
    assert (await Client(opened).post({"message": "hi"}, {"x-llmos-record": "on"})).json()["recorded"] is True


async def test_a_word_that_means_nothing_is_not_guessed_at(opened: Room) -> None:
    reply = await Client(opened).post({"message": "a secret"}, {"x-llmos-record": "of"})
    assert (reply.status, reply.json()["code"]) == (400, "request.invalid")


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [("e500", 502, "model.failed"), ("e429", 502, "model.rate_limited"), ("silence", 504, "model.timeout")],
)
async def test_a_model_that_fails_is_a_problem_with_its_trace(opened: Room, model: str, status: int, code: str) -> None:
    reply = await Client(opened, model, timeout=0.05).post({"message": "hi"})
    assert (reply.status, reply.json()["code"]) == (status, code)
    assert reply.headers["x-llmos-trace"] == reply.json()["trace_id"]
    trace = await opened.trace(await opened.actor("alice"), reply.json()["trace_id"])
    assert (trace.ended, trace.error) == (Ended.ERROR, code)


async def test_a_model_that_fails_in_a_stream_is_its_last_event(opened: Room) -> None:
    reply = await Client(opened, "c20-cut").post({"message": "hi", "stream": True})
    assert reply.status == 200
    *_, (name, error) = reply.events()
    assert (name, error["code"], error["status"]) == ("error", "model.cut", 502)
    assert error["trace_id"] == reply.headers["x-llmos-trace"]


async def test_a_full_disk_is_told_instead_of_done(opened: Room) -> None:
    opened.break_journal()
    assert (await Client(opened).post({"message": "hi"})).status == 507
    *_, (name, error) = (await Client(opened).post({"message": "hi", "stream": True})).events()
    assert (name, error["code"]) == ("error", "storage.full")


async def test_our_own_mistake_in_a_stream_is_told_without_its_details(
    opened: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def record(trace: object) -> None:
        raise KeyError("a secret detail", trace)

    client = Client(opened)
    monkeypatch.setattr(opened.traces, "record", record)
    *_, (name, error) = (await client.post({"message": "hi", "stream": True})).events()
    assert (name, error["code"]) == ("error", "internal")
    assert "secret" not in str(error)


# -- clients that go away ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_goes_away_ends_the_request_upstream(
    opened: Room,
    upstream: Upstream,
    stream: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    client, gone = Client(opened, "c500-i20"), asyncio.Event()
    body = json.dumps({"message": "hi", "stream": stream}).encode()
    first = _receive(body)
    read = False

    async def receive() -> Message:
        nonlocal read
        if not read:
            read = True
            return await first()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if b"delta" in message.get("body", b""):
            gone.set()

    async def leave() -> None:
        await upstream.until(chats=1)
        gone.set()

    async with asyncio.timeout(30):
        leaving = None if stream else asyncio.ensure_future(leave())
        await client.app(client.scope(), receive, send)
    await upstream.until(aborted=1)
    if leaving:
        await leaving
    [trace] = await opened.all_traces(await opened.actor("alice"))
    assert trace.ended is Ended.ABORTED
    assert trace.answer.startswith(WORD) or not stream


async def test_a_server_that_stops_keeps_what_came(opened: Room, upstream: Upstream) -> None:
    client = Client(opened, "c500-i20")
    task = asyncio.ensure_future(client.post({"message": "hi"}))
    await upstream.until(chats=1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [trace] = await opened.all_traces(await opened.actor("alice"))
    assert trace.ended is Ended.ABORTED


@asynccontextmanager
async def served(app: object) -> AsyncIterator[int]:
    """Serve an app with uvicorn on a free port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))  # type: ignore[arg-type]  # any ASGI app
    config = server.config
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.force_exit = True
        await server.shutdown()


def _request(opened: Room, body: object) -> bytes:
    data = json.dumps(body).encode()
    head = [
        "POST /chat HTTP/1.1",
        "host: x",
        f"content-length: {len(data)}",
        f"authorization: Bearer {opened.key}",
        "x-llmos-user: alice",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + data


async def test_a_dropped_connection_is_noticed_by_the_real_server(opened: Room, upstream: Upstream) -> None:
    async with served(Client(opened, "c500-i20").app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_request(opened, {"message": "hi", "stream": True}))
        async with asyncio.timeout(30):
            await reader.readuntil(b"event: delta")
        writer.close()
        await upstream.until(aborted=1)
        trace = await _aborted(opened)
        assert trace.answer.startswith(WORD)


async def _aborted(opened: Room) -> Any:  # noqa: ANN401 - a trace
    async with asyncio.timeout(30):
        while True:
            traces = await opened.all_traces(await opened.actor("alice"))
            if traces:
                assert traces[0].ended is Ended.ABORTED
                return traces[0]
            await asyncio.sleep(0.005)


async def test_the_first_event_comes_before_the_model_is_done(opened: Room) -> None:
    async with served(Client(opened, "c1000-i50").app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_request(opened, {"message": "hi", "stream": True}))
        async with asyncio.timeout(30):  # the model takes 50 s to its end
            await reader.readuntil(b"event: delta")
        writer.close()


def test_the_route_is_described_with_its_errors() -> None:
    operation = OPENAPI["paths"]["/chat"]["post"]
    assert {"200", "400", "401", "403", "404", "409", "413", "502", "504", "507"} <= set(operation["responses"])
    assert operation["requestBody"]["content"]["application/json"]["example"]["message"]
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    fields = OPENAPI["components"]["schemas"]["ChatRequest"]["properties"]
    of_tools = {"tools", "tool_choice", "tool_results"}
    assert set(fields) == {"message", "conversation_id", "team_id", "stream", "max_skills", "disclosure"} | of_tools


async def test_the_described_answer_is_the_real_one(opened: Room) -> None:
    example = OPENAPI["paths"]["/chat"]["post"]["responses"]["200"]["content"]["application/json"]["example"]
    body = (await Client(opened).post({"message": "hello"})).json()
    assert set(body) == set(example) == set(OPENAPI["components"]["schemas"]["ChatAnswer"]["required"])
