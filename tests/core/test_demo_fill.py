"""The example team is put into a fresh folder once, wholly, and shows itself as what it is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from llmos_lite.api.app import create_app
from llmos_lite.bootstrap import Services, open_services
from llmos_lite.core.accounts.accounts import ADMIN
from llmos_lite.core.accounts.permissions import EVERYTHING, Actor, Role
from llmos_lite.core.demo import fill
from llmos_lite.engines.folder import DEMO
from llmos_lite.errors import Conflict
from llmos_lite.settings import Settings

ADMINISTRATOR = Actor(ADMIN, Role.SYSTEM_ADMIN, scopes=EVERYTHING)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Services]:
    async with open_services(settings, serve=False) as services:
        await services.start()
        try:
            yield services
        finally:
            await services.stop()


async def get(services: Services, path: str) -> bytes:
    """Ask the app in this process, as the admin."""
    body = bytearray()
    key = (services.settings.data / "admin.key").read_text().strip()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:  # noqa: ANN401 - as ASGI has it
        body.extend(message.get("body", b""))

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"authorization", f"Bearer {key}".encode())],
        "client": ("127.0.0.1", 0),
        "server": ("localhost", 0),
    }
    app: Callable[..., Awaitable[None]] = create_app(services)
    await app(scope, receive, send)
    return bytes(body)


async def test_a_fresh_folder_is_filled_once_and_labelled(settings: Settings) -> None:
    async with opened(settings) as services:
        assert await fill(services)
        people = (await services.accounts.users(ADMINISTRATOR)).items
        assert {person.name.partition(":")[0] for person in people if person.user_id != ADMIN} == {"Example"}
        chloe = await services.accounts.actor("demo-chloe")
        traces = await services.traces.page(chloe, limit=1)
        assert traces.total > 30
        patterns = await services.evolution.patterns(chloe)
        assert any(pattern.skill_id for pattern in patterns.items)
        proposals = await services.proposals.page(ADMINISTRATOR, state="open")
        assert [view.proposal.skill_id for view in proposals.items] == ["support-reply"]
        assert json.loads(await get(services, "/ready"))["demo"] is True
        assert b"Example data." in await get(services, "/")

        stats = (await services.views.stats(ADMINISTRATOR)).items
        assert not await fill(services)
        assert (await services.views.stats(ADMINISTRATOR)).items == stats


async def test_a_filling_that_broke_off_goes_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(settings) as services:
        with monkeypatch.context() as patch:
            patch.setattr("llmos_lite.core.demo.tell", _fail)
            with pytest.raises(RuntimeError):
                await fill(services)
        mark = json.loads((settings.data / DEMO).read_text())
        monkeypatch.setattr("llmos_lite.core.demo.EVOLVED", ())
        assert await fill(services)
        assert json.loads((settings.data / DEMO).read_text()) == mark | {"done": True}


async def test_a_folder_with_people_in_it_is_left_alone(settings: Settings) -> None:
    async with opened(settings) as services:
        await services.accounts.create_user(ADMINISTRATOR, "alice")
        with pytest.raises(Conflict) as caught:
            await fill(services)
        assert caught.value.code == "demo.not_fresh"
        assert not (settings.data / DEMO).exists()
        assert json.loads(await get(services, "/ready"))["demo"] is False
        assert b"Example data." not in await get(services, "/")


def _fail(*_: object) -> None:
    raise RuntimeError("the machine stopped")
