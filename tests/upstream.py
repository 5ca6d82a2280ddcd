"""A language model to test against: OpenAI's and Anthropic's dialects on raw asyncio, steered by the model's name.

Names are words joined by hyphens: `plain`; `cN` N chunks, `iN` N ms between them, `lN` N ms before the answer; `eN` the
status N; `garbage`, `silence`, `cut` (half a stream), `torn` (in an event), `huge`, `plainjson` (no stream although
asked), `echo` (the answer is the request's JSON), `nousage`, `nodone`, `noend` (of the body), `midfail` (an error
inside the stream), `crlf` (line ends), `tight` (no empty lines),
`empty` (no choices).

Tools: a model with the word `ask` asks for the next calls of `Upstream.script` whenever it is given tools that it may
call, and answers when the script is at its end; `loop` asks for the same call for ever. `oN` cuts arguments into pieces
of N characters, `say` makes it say something before, `noindex` and `zeroindex` leave out where a piece belongs,
`noid` the ids, `sameid` gives all calls one, `notools` refuses requests with tools, `stubborn` calls tools that it may
not call. `nofiles` refuses documents, `thoughtless` to be told how hard to think, `threewords` in other words than
`low`, `medium`, `high`, `apart` beside tools. `picky` quotes the words of a person in which `forbidden` stands, and
refuses them.

Responses: a model with the word `behind` makes those with `background: true` in the background: whoever asks for one
finds it `in_progress` so often as `Upstream.polls` says, and then done. With `streamfails` its streams end in an error.
With `atonce` it says that it does not.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count, zip_longest
from typing import Any, Self

WORD = "lorem "
_OPTION = re.compile(r"([cielo])(\d+)")
_ABOUT = re.compile(r"/responses/(\w+)((?:/cancel|/input_items)?)(?:\?(.*))?$")
_LINE = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)


@dataclass
class Seen:
    """One request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    @property
    def system(self) -> str:
        """The system prompt, in whichever dialect it came."""
        if "system" in self.body:
            return "".join(block["text"] for block in self.body["system"])
        first = self.body["messages"][0]
        return str(first["content"]) if first["role"] == "system" else ""

    @property
    def tools(self) -> dict[str, Any]:
        """The tools that came, by name: their parameters."""
        found = [tool.get("function", tool) for tool in self.body.get("tools", ())]
        return {tool["name"]: tool.get("parameters") or tool["input_schema"] for tool in found}

    @property
    def effort(self) -> str:
        """How hard the model shall think, in OpenAI's dialects."""
        return str(self.body.get("reasoning_effort", self.body.get("reasoning", {}).get("effort", "")))

    @property
    def may_call(self) -> bool:
        return self.body.get("tool_choice", "auto") not in ("none", {"type": "none"})

    @property
    def results(self) -> list[str]:
        """The answers to calls in the conversation, in order, in whichever dialect they came."""
        found: list[str] = []
        for message in self.body.get("messages", self.body.get("input", ())):
            if "role" not in message:
                found += [message["output"]] if message["type"].endswith("_output") else []
            elif message["role"] == "tool":
                found.append(message["content"])
            elif isinstance(message["content"], list):
                found += [block["content"] for block in message["content"] if block["type"] == "tool_result"]
        return found


NO_FILE = {"message": "No such File object", "type": "invalid_request_error", "param": None, "code": None}


@dataclass
class Plan:
    """What a model's name asks for."""

    words: frozenset[str]
    chunks: int = 3
    interval: float = 0.0
    latency: float = 0.0
    status: int = 200
    odd: int = 7
    calls: list[tuple[str, str]] = field(default_factory=list)
    name: str = "resp_1"

    @classmethod
    def of(cls, model: str) -> Self:
        words = model.split("-")
        numbers = {match[1]: int(match[2]) for word in words if (match := _OPTION.fullmatch(word))}
        return cls(
            words=frozenset(words),
            chunks=numbers.get("c", 3),
            interval=numbers.get("i", 0) / 1000,
            latency=numbers.get("l", 0) / 1000,
            status=numbers.get("e", 200),
            odd=numbers.get("o", 7),
        )


@dataclass
class Behind:
    """A response that is made in the background."""

    seen: Seen
    plan: Plan
    polls: int
    status: str = "queued"
    cuts: bool = False
    """Whether later streams are cut as the first one is."""

    def told(self) -> dict[str, object]:
        """The response as it stands after one more poll."""
        if self.status == "cancelled" or self.polls > 0:
            self.status = self.status if self.status == "cancelled" else "in_progress"
            self.polls -= 1
            return self.begun()
        self.status = "failed" if "midfail" in self.plan.words else "completed"
        return self.whole() | {"status": self.status}

    def whole(self) -> dict[str, object]:
        return _response(self.seen, self.plan, "".join(_texts(self.seen, self.plan)))

    def begun(self) -> dict[str, object]:
        return self.whole() | {"status": self.status, "output": [], "usage": None}


@dataclass
class Upstream:
    """A running model server; `changed` is notified of every request and every client that goes away."""

    models: list[str] = field(default_factory=lambda: ["plain"])
    requests: list[Seen] = field(default_factory=list)
    aborted: int = 0
    connections: int = 0
    port: int = 0
    retry_after: str = "7"
    silent: bool = False
    failing: bool = False
    mute: bool = False
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    script: list[list[tuple[str, str]]] = field(default_factory=list)
    """What a model that asks for tools asks for, round by round: names and arguments."""
    asked: int = 0
    polls: int = 1
    behind: dict[str, Behind] = field(default_factory=dict)
    """The responses that are made in the background, by their ids."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def chats(self) -> list[Seen]:
        """The requests for an answer, without those for the list of models."""
        return [seen for seen in self.requests if seen.method == "POST"]

    async def until(self, *, requests: int = 0, chats: int = 0, aborted: int = 0) -> None:
        """Wait for so many requests, requests for an answer, and clients gone; at most half a minute."""

        def reached() -> bool:
            return len(self.requests) >= requests and len(self.chats) >= chats and self.aborted >= aborted

        async with asyncio.timeout(30), self.changed:
            await self.changed.wait_for(reached)

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task
        self.tasks.add(task)
        try:
            while seen := await _read(reader):
                self.requests.append(seen)
                await self._notify()
                await self._answer(seen, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer while watching for the client's end of the connection."""
        gone = asyncio.ensure_future(reader.read(1))
        work = asyncio.ensure_future(self._work(seen, writer))
        await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            self.aborted += 1
            await self._notify()
            raise ConnectionError
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        work.result()

    async def _work(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        if self.silent:
            await asyncio.sleep(3600)
        if seen.path.endswith("/models"):
            await _send(writer, 200, json.dumps({"object": "list", "data": [{"id": name} for name in self.models]}))
            return
        if found := _ABOUT.search(seen.path):
            await self._about(seen, writer, *found.groups(""))
        else:
            await self._planned(seen, writer)

    async def _planned(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        plan = Plan.of(seen.model)
        plan.chunks = 0 if self.mute else plan.chunks
        plan.calls = self._calls(seen, plan)
        await asyncio.sleep(3600 if "silence" in plan.words else plan.latency)
        if self.failing:
            await _send(writer, 500, json.dumps({"error": {"message": "broken"}}))
        elif plan.status != 200:
            plain = {"message": f"no, and your key was {_key(seen)}"}
            said = json.dumps({"error": NO_FILE if "nofile" in plan.words else plain})
            extra = f"retry-after: {self.retry_after}\r\n" if self.retry_after else ""
            await _send(writer, plan.status, said, extra=extra)
        elif "onlychat" in plan.words and not seen.path.endswith("/chat/completions"):
            await _send(writer, 404, json.dumps({"detail": "Not Found"}))
        elif refusal := _refusal(seen, plan):
            await _send(writer, 400, json.dumps({"error": {"message": refusal}}))
        elif "garbage" in plan.words:
            await _send(writer, 200, "<html>not a model</html>", kind="text/html")
        elif "huge" in plan.words:
            await _huge(writer, declared="declared" in plan.words)
        else:
            await self._said(seen, plan, writer)

    async def _said(self, seen: Seen, plan: Plan, writer: asyncio.StreamWriter) -> None:
        behind = "behind" in plan.words and seen.body.get("background")
        if behind:
            plan.name = f"resp_{len(self.behind) + 1:03}"
            self.behind[plan.name] = Behind(seen, plan, self.polls)
        if seen.body.get("stream") and "plainjson" not in plan.words:
            await _stream(seen, plan, writer)
        else:
            await _send(writer, 200, json.dumps(self.behind[plan.name].begun() if behind else _whole(seen, plan)))

    async def _about(self, seen: Seen, writer: asyncio.StreamWriter, name: str, tail: str, query: str) -> None:
        """Answer what is asked about a response that is made in the background."""
        found = self.behind.get(name)
        if found is None:
            await _send(writer, 404, json.dumps({"error": NO_FILE | {"message": "No such response"}}))
        elif tail == "/input_items":
            asked = found.seen.body["input"]
            asked = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
            items = [{"id": "msg_1", "type": "message", **item} for item in asked]
            await _send(writer, 200, json.dumps({"object": "list", "data": items, "has_more": False}))
        elif seen.method == "DELETE":
            del self.behind[name]
            await _send(writer, 200, json.dumps({"id": name, "object": "response", "deleted": True}))
        elif "stream=true" in query.lower():
            after = re.search(r"starting_after=(\d+)", query)
            whole = found.plan if found.cuts else replace(found.plan, words=found.plan.words - {"cut"})
            await _stream(found.seen, whole, writer, int(after[1]) + 1 if after else 0)
        else:
            if tail == "/cancel":
                found.status = "cancelled"
            await _send(writer, 200, json.dumps(found.told()))

    def _calls(self, seen: Seen, plan: Plan) -> list[tuple[str, str]]:
        if not {"ask", "loop"} & plan.words or not seen.tools or not (seen.may_call or "stubborn" in plan.words):
            return []
        if "loop" in plan.words:
            return self.script[0]
        self.asked += 1
        return self.script[self.asked - 1] if self.asked <= len(self.script) else []


def _refusal(seen: Seen, plan: Plan) -> str:
    """What Ollama says of files, tools, thoughts, and words for these that a model does not take."""
    effort = seen.effort
    if "picky" in plan.words and "forbidden" in (said := json.dumps(_said_last(seen))):
        return f"These words are not allowed: {said}"
    if "apart" in plan.words and seen.tools and effort:
        return "Function tools with reasoning_effort are not supported, please use /v1/responses instead."
    if "nofiles" in plan.words and '"file_data"' in json.dumps(seen.body):
        return "invalid message format"
    if "notools" in plan.words and seen.tools:
        return "this model does not support tools"
    if effort and "thoughtless" in plan.words:
        return f'"{seen.model}" does not support thinking'
    known = effort in {"", "low", "medium", "high"} or "threewords" not in plan.words
    return "" if known else f'invalid reasoning value: \'{effort}\' (must be "high", "medium", "low")'


def _said_last(seen: Seen) -> object:
    content = seen.body.get("messages", seen.body.get("input"))[-1]["content"]
    return content if isinstance(content, str) else content[-1].get("text")


def _key(seen: Seen) -> str:
    return seen.headers.get("x-api-key") or seen.headers.get("authorization", "")


async def _read(reader: asyncio.StreamReader) -> Seen | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    line, *rest = head.decode().split("\r\n")
    method, path, _ = line.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (item.partition(":") for item in rest if item)}
    length = _LINE.search(head)
    body = await reader.readexactly(int(length[1])) if length else b""
    return Seen(method, path, headers, json.loads(body) if body else {})


async def _send(
    writer: asyncio.StreamWriter, status: int, body: str, *, kind: str = "application/json", extra: str = ""
) -> None:
    data = body.encode()
    writer.write(
        f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{extra}content-length: {len(data)}\r\n\r\n".encode() + data
    )
    await writer.drain()


async def _huge(writer: asyncio.StreamWriter, *, declared: bool) -> None:
    size = 100 << 20
    framing = f"content-length: {size}" if declared else "connection: close"
    writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{framing}\r\n\r\n".encode())
    for _ in range(size >> 16):
        writer.write(b" " * (1 << 16))
        await writer.drain()


async def _stream(seen: Seen, plan: Plan, writer: asyncio.StreamWriter, first: int = 0) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    end = "\r\n" if "crlf" in plan.words else "\n"
    speak = {"messages": _anthropic, "responses": _responses}.get(
        seen.path.partition("?")[0].rsplit("/", 1)[1], _openai
    )
    events = list(speak(seen, plan))[first:]
    if "tight" in plan.words:
        events = [event[:-1] for event in events]
    for number, event in enumerate(events):
        if {"cut", "torn"} & plan.words and number * 2 >= len(events):
            if "torn" in plan.words:
                _chunk(writer, event.encode()[:-9])
                await writer.drain()
            writer.close()
            return
        _chunk(writer, event.replace("\n", end).encode())
        await writer.drain()
        if plan.interval:
            await asyncio.sleep(plan.interval)
    if "noend" not in plan.words:
        writer.write(b"0\r\n\r\n")
    await writer.drain()


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))


def _texts(seen: Seen, plan: Plan) -> list[str]:
    if plan.calls:
        return ["One moment. "] if "say" in plan.words else []
    return [json.dumps(seen.body)] if "echo" in plan.words else [WORD] * plan.chunks


def _usage(plan: Plan) -> dict[str, int] | None:
    return None if "nousage" in plan.words else {"prompt_tokens": 10, "completion_tokens": plan.chunks}


def _whole(seen: Seen, plan: Plan) -> dict[str, object]:
    text = "".join(_texts(seen, plan))
    if seen.path.endswith("/responses"):
        return _response(seen, plan, text)
    if seen.path.endswith("/messages"):
        usage = {"input_tokens": 8, "cache_read_input_tokens": 2, "output_tokens": plan.chunks}
        content: list[object] = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": text}]
        content += [
            {"type": "tool_use", "id": f"toolu_{place}", "name": name, "input": json.loads(arguments)}
            for place, (name, arguments) in enumerate(plan.calls)
        ]
        stop = "tool_use" if plan.calls else "end_turn"
        return {
            "id": "msg_1",
            "type": "message",
            "model": seen.model,
            "content": content,
            "stop_reason": stop,
            "usage": usage,
        }
    message: dict[str, object] = {"role": "assistant", "content": text or None}
    if plan.calls:
        message["tool_calls"] = [
            {"id": f"call_{place}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for place, (name, arguments) in enumerate(plan.calls)
        ]
    choices = [{"message": message, "finish_reason": "tool_calls" if plan.calls else "stop"}]
    return {"model": seen.model, "choices": [] if "empty" in plan.words else choices, "usage": _usage(plan)}


def _response(seen: Seen, plan: Plan, text: str) -> dict[str, object]:
    part = {"type": "output_text", "text": text, "annotations": []}
    output: list[object] = [{"type": "reasoning", "id": "rs_0", "summary": []}]
    output += [
        {"type": "function_call", "call_id": f"call_{place}", "name": name, "arguments": arguments}
        for place, (name, arguments) in enumerate(plan.calls)
    ]
    output += [] if plan.calls else [{"type": "message", "role": "assistant", "content": [part]}]
    usage = None if "nousage" in plan.words else {"input_tokens": 10, "output_tokens": plan.chunks}
    body = {"id": plan.name, "object": "response", "status": "completed", "model": seen.model}
    return body | {"output": output, "usage": usage}


def _responses(seen: Seen, plan: Plan) -> Iterator[str]:
    numbers = count()

    def event(kind: str, **fields: object) -> str:
        body = {"type": kind, "sequence_number": next(numbers), **fields}
        return f"event: {kind}\ndata: {json.dumps(body)}\n\n"

    texts = _texts(seen, plan)
    whole = _response(seen, plan, "".join(texts))
    if "atonce" in plan.words:
        whole["background"] = False
    yield event("response.created", response=whole | {"status": "in_progress", "output": [], "usage": None})
    output: list[dict[str, object]] = whole["output"]  # type: ignore[assignment]
    for place, item in enumerate(output):
        begun = item | ({"content": []} if "content" in item else {"arguments": ""} if "arguments" in item else {})
        at = {"item_id": "item_1", "output_index": place}
        yield event("response.output_item.added", output_index=place, item=begun)
        if item["type"] == "message":
            part = {"type": "output_text", "text": "", "annotations": []}
            yield event("response.content_part.added", **at, content_index=0, part=part)
            for text in texts:
                yield event("response.output_text.delta", **at, content_index=0, delta=text)
        for piece in _pieces(str(item.get("arguments", "")), plan.odd):
            yield event("response.function_call_arguments.delta", **at, delta=piece)
        yield event("response.output_item.done", output_index=place, item=item)
    if "streamfails" in plan.words:
        yield event("error", code="server_error", message="the stream failed", param=None)
        return
    if "midfail" in plan.words:
        yield event("response.failed", response=whole | {"status": "failed"})
    if "nodone" not in plan.words:
        yield event("response.completed", response=whole)


def _openai(seen: Seen, plan: Plan) -> Iterator[str]:
    def event(**fields: object) -> str:
        return f"data: {json.dumps(base | fields)}\n\n"

    def choice(delta: dict[str, object], finish: str | None = None) -> str:
        return event(choices=[{"index": 0, "delta": delta, "finish_reason": finish}])

    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": seen.model}

    yield ": working\n\n"
    yield choice({"role": "assistant", "content": ""})
    for text in _texts(seen, plan):
        yield choice({"content": text})
    for part in _call_parts(plan):
        yield choice({"tool_calls": [part]})
    if "midfail" in plan.words:
        yield event(error={"message": "overloaded"})
    yield choice({}, "tool_calls" if plan.calls else "stop")
    yield event(choices=[], usage=_usage(plan))
    if "nodone" not in plan.words:
        yield "data: [DONE]\n\n"


def _pieces(text: str, size: int) -> list[str]:
    return [text[place : place + size] for place in range(0, len(text), size)]


def _call_parts(plan: Plan) -> Iterator[dict[str, object]]:
    """The calls in pieces, and with several calls the pieces of all of them mixed, where an index tells them apart."""
    parts: list[list[dict[str, object]]] = []
    for place, (name, arguments) in enumerate(plan.calls):
        at: dict[str, object] = {"index": 0 if "zeroindex" in plan.words else place}
        if "noindex" in plan.words:
            at = {}
        named = at if "noid" in plan.words else at | {"id": "call_0" if "sameid" in plan.words else f"call_{place}"}
        first = named | {"type": "function", "function": {"name": name, "arguments": ""}}
        parts.append([first, *(at | {"function": {"arguments": piece}} for piece in _pieces(arguments, plan.odd))])
    if {"noindex", "zeroindex"} & plan.words:
        yield from (part for call in parts for part in call)
        return
    for mixed in zip_longest(*parts):
        yield from (part for part in mixed if part)


def _anthropic(seen: Seen, plan: Plan) -> Iterator[str]:
    def event(kind: str, **fields: object) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"

    usage = {"input_tokens": 8, "cache_creation_input_tokens": 2, "output_tokens": 1}
    yield event("message_start", message={"id": "msg_1", "model": seen.model, "content": [], "usage": usage})
    yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield event("ping")
    for text in _texts(seen, plan):
        yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
    if "midfail" in plan.words:
        yield event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    yield event("content_block_stop", index=0)
    for place, (name, arguments) in enumerate(plan.calls, 1):
        block = {"type": "tool_use", "id": f"toolu_{place}", "name": name, "input": {}}
        yield event("content_block_start", index=place, content_block=block)
        for piece in ["", *_pieces(arguments, plan.odd)]:
            yield event("content_block_delta", index=place, delta={"type": "input_json_delta", "partial_json": piece})
        yield event("content_block_stop", index=place)
    stop = "tool_use" if plan.calls else "end_turn"
    yield event("message_delta", delta={"stop_reason": stop}, usage={"output_tokens": plan.chunks})
    yield event("message_stop")


@asynccontextmanager
async def running(models: list[str] | None = None, *, port: int = 0, silent: bool = False) -> AsyncIterator[Upstream]:
    """Serve on a port of this machine, by default a free one."""
    upstream = Upstream(models=["plain"] if models is None else models, silent=silent)
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", port)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        for task in upstream.tasks:
            task.cancel()
        await asyncio.gather(*upstream.tasks, return_exceptions=True)
