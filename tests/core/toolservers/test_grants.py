"""Tokens of tool servers: two nodes at one refresh token, one that dies at it, and who signs in or out meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from llmos_lite.core.toolservers.config import ToolServer
from llmos_lite.core.toolservers.grants import LEASE_MS, REFUSED, Grants, SignedIn
from llmos_lite.engines.database import Database
from llmos_lite.engines.oauth import Refusal
from llmos_lite.engines.sealing import Seals
from llmos_lite.errors import UpstreamFailed
from llmos_lite.records import schema
from llmos_lite.records.toolgrants import ToolGrant, ToolGrantRows
from tests.tool_oauth import Guarded, browse, guarded, query_of, said

BACK = "http://127.0.0.1:8420/tool-servers/wiki/callback"


class Rows(ToolGrantRows):
    """Rows that tell when a lease was not to be had."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.waits = asyncio.Event()

    async def take(self, grant: ToolGrant, holder: str, *, now: int, until: int) -> bool:
        taken = await super().take(grant, holder, now=now, until=until)
        if not taken:
            self.waits.set()
        return taken


@dataclass
class Node:
    """One of several that share the rows and the keys, with a clock of its own."""

    rows: Rows
    grants: Grants
    host: Guarded
    server: ToolServer
    now: int

    @classmethod
    def on(cls, database: Database, keys: Path, host: Guarded) -> Node:
        node = cls.__new__(cls)
        node.rows, node.host, node.now = Rows(database), host, 1_000_000_000_000
        node.grants = Grants(node.rows, Seals(keys), private=True, clock=lambda: node.now)
        node.server = ToolServer(name="wiki", url=host.url)
        return node

    async def signed_in(self) -> SignedIn:
        """Go the way of a browser."""
        speaker = self.grants.speaker
        found = await speaker.find(self.server)
        client = await speaker.register(found, BACK)
        back = query_of(await browse(found.address(client, BACK, state="s", verifier="v" * 43)))
        tokens = await speaker.exchange(found, client, code=back["code"], verifier="v" * 43, redirect_uri=BACK)
        signed = SignedIn(server=found, client=client, tokens=tokens)
        await self.grants.keep(self.server, signed, "admin")
        return signed


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[list[Node]]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'rows.db'}")
    await schema.prepare(database)
    async with guarded() as host:
        yield [Node.on(database, tmp_path, host) for _ in range(2)]
    await database.close()


def renewals(node: Node) -> int:
    return [form["grant_type"] for form in node.host.authority.forms].count("refresh_token")


async def test_while_one_node_renews_the_other_waits_for_its_token(nodes: list[Node]) -> None:
    one, other = nodes
    old = (await one.signed_in()).tokens.access
    one.host.authority.held = asyncio.Event()
    first = asyncio.ensure_future(one.grants.renewed(one.server, old))
    await asyncio.wait_for(one.host.authority.asked.wait(), 20)
    second = asyncio.ensure_future(other.grants.renewed(other.server, old))
    await asyncio.wait_for(other.rows.waits.wait(), 20)
    one.host.authority.held.set()
    assert await first == await second != old
    assert (renewals(one), one.host.authority.reused) == (1, [])


async def test_what_a_dead_node_held_is_taken_over(nodes: list[Node]) -> None:
    one, other = nodes
    old = (await one.signed_in()).tokens.access
    row = await one.rows.get("wiki", "")
    assert row is not None
    assert await one.rows.take(row, "dead", now=one.now, until=one.now + LEASE_MS)
    waiting = asyncio.ensure_future(other.grants.renewed(other.server, old))
    await asyncio.wait_for(other.rows.waits.wait(), 20)
    assert renewals(one) == 0
    other.now += LEASE_MS + 1
    assert await asyncio.wait_for(waiting, 20) != old
    assert not await one.rows.renew(row, "dead", "late", at=one.now)


@pytest.mark.parametrize("again", [True, False])
async def test_who_signs_in_or_out_meanwhile_has_the_last_word(nodes: list[Node], *, again: bool) -> None:
    one, other = nodes
    old = (await one.signed_in()).tokens.access
    one.host.authority.held = asyncio.Event()
    renewing = asyncio.ensure_future(one.grants.renewed(one.server, old))
    await asyncio.wait_for(one.host.authority.asked.wait(), 20)
    fresh = (await other.signed_in()).tokens.access if again else ""
    if not again:
        await other.rows.delete("wiki")
    one.host.authority.held.set()
    assert await renewing == fresh
    assert await other.grants.token(other.server) == fresh
    assert again or one.host.authority.access == {}


async def test_a_token_that_is_refused_ends_only_the_sign_in_that_it_is_of(nodes: list[Node]) -> None:
    one, other = nodes
    old = (await one.signed_in()).tokens.access
    new = await other.grants.renewed(other.server, old)
    refusal = Refusal(status=401, bearer=True)
    assert await one.grants.refused(one.server, refusal, old) is not None
    assert await one.grants.token(one.server) == new
    await one.grants.refused(one.server, refusal, new)
    with pytest.raises(UpstreamFailed) as caught:
        await other.grants.token(other.server)
    assert (caught.value.code, REFUSED in caught.value.message) == ("tool_server.sign_in", True)
    await other.signed_in()
    assert await one.grants.token(one.server)


async def test_a_server_that_moves_has_no_token(nodes: list[Node]) -> None:
    one, _ = nodes
    await one.signed_in()
    moved = msgspec.structs.replace(one.server, url="https://elsewhere.example/mcp")
    assert await one.grants.token(moved) == ""
    assert await one.grants.renewed(moved, "x") == ""


async def test_without_a_refresh_token_the_end_is_the_end(nodes: list[Node]) -> None:
    one, _ = nodes
    signed = await one.signed_in()
    bare = msgspec.structs.replace(signed.tokens, refresh="", expires=one.now + 60_000)
    await one.grants.keep(one.server, msgspec.structs.replace(signed, tokens=bare), "admin")
    assert await one.grants.token(one.server) == bare.access
    one.now += 60_000
    with pytest.raises(UpstreamFailed) as caught:
        await one.grants.token(one.server)
    assert caught.value.code == "tool_server.sign_in"
    assert renewals(one) == 0


async def test_a_provider_that_does_not_rotate_keeps_its_refresh_token(nodes: list[Node]) -> None:
    one, _ = nodes
    signed = await one.signed_in()
    one.host.authority.instead["/token"] = said({"access_token": "next", "token_type": "bearer", "expires_in": "60"})
    assert await one.grants.renewed(one.server, signed.tokens.access) == "next"
    del one.host.authority.instead["/token"]
    one.now += 60_000
    assert await one.grants.token(one.server) in one.host.authority.access


@pytest.mark.parametrize(
    "answer",
    [
        said(b"not json"),
        said({"access_token": "a b"}),
        said({"access_token": "x" * 20_000}),
        said({"access_token": "x\r\ny: z"}),
        said({"access_token": "x", "token_type": "mac"}),
        said({"access_token": "x" * (1 << 20)}),
        said({}, 302, {"location": "https://evil.example/"}),
        said({}, 500),
        said({}, 401),
        said(b"<h1>Blocked</h1>", 400),
        said({"error": "temporarily_unavailable"}, 400),
        said({"error": "invalid_grant"}, 429),
    ],
)
async def test_what_is_no_token_is_not_taken_and_ends_nothing(nodes: list[Node], answer: object) -> None:
    one, _ = nodes
    old = (await one.signed_in()).tokens.access
    one.host.authority.instead["/token"] = answer  # type: ignore[assignment]  # one of the answers above
    with pytest.raises(UpstreamFailed) as caught:
        await one.grants.renewed(one.server, old)
    assert caught.value.code == "tool_server.oauth"
    del one.host.authority.instead["/token"]
    assert await one.grants.renewed(one.server, old) in one.host.authority.access


async def test_a_no_with_the_status_of_a_yes_is_a_no(nodes: list[Node]) -> None:
    one, _ = nodes
    old = (await one.signed_in()).tokens.access
    one.host.authority.instead["/token"] = said({"error": "bad_refresh_token"})
    with pytest.raises(UpstreamFailed) as caught:
        await one.grants.renewed(one.server, old)
    assert (caught.value.code, "bad_refresh_token" in caught.value.message) == ("tool_server.sign_in", True)
