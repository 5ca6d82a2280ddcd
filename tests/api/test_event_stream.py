from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.api.errors import Message
from llmos_lite.api.sse import HEARTBEAT, EventStream, sse_event
from llmos_lite.engines.sse import SseReader


@given(st.text())
def test_no_text_breaks_out_of_its_event(text: str) -> None:
    raw = sse_event("delta", text.encode(errors="replace"))
    assert raw.startswith(b"event: delta\ndata: ")
    assert len(SseReader(longest=1 << 30).feed(raw)) == 1


class Client:
    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.changed = asyncio.Condition()

    async def send(self, message: Message) -> None:
        async with self.changed:
            self.messages.append(message)
            self.changed.notify_all()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)


async def test_events_are_sent_as_they_come() -> None:
    client = Client()
    stream = EventStream(client.send)
    assert not stream.started
    await stream.start([(b"x-llmos-trace", b"T")])
    await stream.event("delta", b'{"text":"a"}')
    await stream.end()
    head, first, last = client.messages
    assert (head["status"], first["more_body"], last.get("more_body", False)) == (200, True, False)
    assert dict(head["headers"])[b"content-type"].startswith(b"text/event-stream")
    assert dict(head["headers"])[b"x-llmos-trace"] == b"T"
    assert client.body == b'event: delta\ndata: {"text":"a"}\n\n'


async def test_silence_is_filled_with_comments() -> None:
    client = Client()
    stream = EventStream(client.send, seconds=0.01)
    await stream.start([])
    async with asyncio.timeout(5), client.changed:
        await client.changed.wait_for(lambda: client.body.count(HEARTBEAT) >= 2)
    await stream.end()
    assert SseReader().feed(client.body) == []


async def test_a_busy_stream_has_no_comments() -> None:
    client = Client()
    stream = EventStream(client.send, seconds=3600.0)
    await stream.start([])
    stream.close()
    stream._check()  # as the timer would, early
    await stream.event("delta", b"{}")
    stream.close()
    assert HEARTBEAT not in client.body


async def test_comments_do_not_pile_up_before_a_client_that_does_not_read() -> None:
    waiting = asyncio.Event()
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if message.get("body") == HEARTBEAT:
            await waiting.wait()

    stream = EventStream(send, seconds=0.0)
    await stream.start([])
    for _ in range(10):
        await asyncio.sleep(0)
    assert [message.get("body") for message in sent].count(HEARTBEAT) == 1
    waiting.set()
    await stream.end()
