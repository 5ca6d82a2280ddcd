"""An instance with people of every kind, each with a key, in this process: what the tests of authorization look at."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from asgi_client import Answer, Client

from llmos_lite.api.app import App, create_app
from llmos_lite.bootstrap import Services, open_services
from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.permissions import SERVICE, Role, Scope
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import SYSTEM

T = TypeVar("T")
MEMBERS = {"sre": {"alice": Role.USER, "chief": Role.TEAM_ADMIN, "mate": Role.USER}, "hr": {"bob": Role.TEAM_ADMIN}}
SKILL = {"description": "How to do it.", "content": "# It\n\n1. Do it.\n"}


@dataclass
class World:
    """The instance, and a key for each of `alice` (a member of sre), `mate` (another), `chief` (its admin), `bob` (the
    admin of hr), `root` (a system admin), `cron` (the service account of sre), `system-cron`.
    """

    services: Services
    app: App
    keys: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def accounts(self) -> Accounts:
        return self.services.accounts

    def client(self, who: str) -> Client:
        return Client(self.app, {"Authorization": f"Bearer {self.keys[who]}"} if who else {})

    async def key(self, user_id: str, scopes: frozenset[Scope], teams: list[str] | None = None) -> str:
        """Make a key for somebody, as that person would (a system admin does it for a service account)."""
        account = await self.accounts.account(user_id)
        root = await self.accounts.actor("root")
        actor = root if account.kind == "service" else await self.accounts.actor(user_id)
        made, _ = await self.accounts.create_key(
            actor, "test", sorted(scopes), teams=teams, user_id=user_id if account.kind == "service" else ""
        )
        return made

    async def ask(self, who: str, method: str, url: str, body: object = None) -> Answer:
        return await self.client(who).request(method, url, json_body=body)


class Host:
    """Runs a `World` from tests that are not asynchronous, so that one serves a whole file."""

    def __init__(self, data: Path) -> None:
        self._runner, self._stack = asyncio.Runner(), AsyncExitStack()
        self.world = self.run(self._open(data))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def close(self) -> None:
        self.run(self._stack.aclose())
        self._runner.close()

    async def _open(self, data: Path) -> World:
        settings = Settings(data=data, llm_provider="offline", limit_strangers=0)
        services = await self._stack.enter_async_context(open_services(settings, serve=False))
        world = World(services, create_app(services))
        await world.app.routes()
        await _people(world)
        await _things(world)
        return world


async def _people(world: World) -> None:
    accounts = world.accounts
    world.keys["admin"] = (world.services.settings.data / "admin.key").read_text().strip()
    admin = await accounts.authenticate(world.keys["admin"])
    await accounts.create_user(admin, "root", role=Role.SYSTEM_ADMIN)
    for team, members in MEMBERS.items():
        await accounts.create_team(admin, team)
        for user, role in members.items():
            await accounts.ensure(user)
            await accounts.set_member(admin, team, user, role)
    for user in ("alice", "mate", "chief", "bob", "root"):
        world.keys[user] = await world.key(user, (await accounts.actor(user)).scopes)
    world.keys["cron"] = await world.key("sre-cron", SERVICE)
    world.keys["system-cron"] = await world.key((await accounts.service(SYSTEM)).user_id, SERVICE)


async def _things(world: World) -> None:
    """Skills in every volume, and a trace and a key of alice and of bob."""
    for who, volume, skill in (
        ("alice", "user:alice", "mine"), ("bob", "user:bob", "bobs"), ("root", "team:sre", "ours"),
        ("root", "team:hr", "theirs"), ("root", "system", "everybodys"),
    ):  # fmt: skip
        made = await world.ask(who, "POST", "/skills", SKILL | {"skill_id": skill, "volume": volume})
        assert made.status == 201, made.body
    for who in ("alice", "bob"):
        chat = await world.ask(who, "POST", "/chat", {"message": f"How does {who} do it?"})
        world.ids[f"trace-{who}"] = chat.json()["trace_id"]
        made = await world.ask(who, "POST", "/keys", {"name": "x", "scopes": ["chat"]})
        world.ids[f"key-{who}"] = made.json()["key_id"]
    await world.services.traces.fold()


async def expire(world: World, key: str) -> str:
    """Let a key have expired, and return it."""
    from sqlalchemy import update  # noqa: PLC0415 - only here

    from llmos_lite.records.tables import ApiKeyRow  # noqa: PLC0415 - as above

    async with world.services.database.session() as session:
        await session.execute(update(ApiKeyRow).where(ApiKeyRow.key_id == key.split("_")[1]).values(expires=1))
    assert world.accounts.keys is not None
    world.accounts.keys.forget()
    return key
