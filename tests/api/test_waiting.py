"""A client that goes away ends its request; one that is answered at once costs no task."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from llmos_lite.api import waiting
from llmos_lite.api.errors import Message
from llmos_lite.api.middleware import Request
from llmos_lite.api.waiting import UntilGone, read_body
from llmos_lite.errors import Invalid


class Client:
    """A client that has sent everything, and goes away when told to."""

    def __init__(self) -> None:
        self.looks, self.looked, self.gone = 0, asyncio.Event(), asyncio.Event()

    async def receive(self) -> Message:
        """Wait until the client goes."""
        self.looks += 1
        self.looked.set()
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def test_nobody_looks_after_a_quick_answer() -> None:
    client = Client()
    with UntilGone(client.receive):
        await asyncio.sleep(0)
    assert (client.looks, len(asyncio.all_tasks())) == (0, 1)


async def test_nobody_looks_behind_an_answer_that_another_task_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SOON", 0.01)
    client, exchange = Client(), SimpleNamespace(disconnected=False, task=None, on_end=None)
    edge = cast("Request", SimpleNamespace(exchange=exchange))
    with UntilGone(client.receive, edge):
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    assert (client.looks, len(asyncio.all_tasks())) == (0, 1)


async def test_a_client_that_goes_away_ends_a_long_answer_quietly() -> None:
    client, ended = Client(), False
    async with asyncio.timeout(waiting.SOON + 10):
        with UntilGone(client.receive):
            client.gone.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended = True
    assert ended
    assert client.looks == 1


async def test_a_client_that_stays_gets_its_long_answer() -> None:
    client = Client()
    with UntilGone(client.receive):
        await client.looked.wait()
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("pieces", [[], [b"half"]])
async def test_a_body_that_its_client_cuts_is_none(pieces: list[bytes]) -> None:
    said: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    coming = iter([*said, {"type": "http.disconnect"}])

    async def receive() -> Message:
        return next(coming)

    with pytest.raises(Invalid):
        await read_body(receive)
