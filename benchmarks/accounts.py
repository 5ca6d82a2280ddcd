"""What a request pays for knowing who asks: from the headers to an actor who may chat, in CPU time.

The whole budget of a chat for its key, its permissions and its limits is 60 us; the reference is the SHA-256 and the
comparison in constant time that nobody can do without.
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from hmac import compare_digest
from pathlib import Path

from benchmarks import Row
from llmos_lite.api.auth import Needs, actor_of
from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.keys import ApiKeys
from llmos_lite.core.accounts.permissions import Scope, Verb, allowed, permit
from llmos_lite.engines.database import Database
from llmos_lite.records.accounts import AccountStore
from llmos_lite.records.keys import KeyStore
from llmos_lite.records.schema import prepare
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import VolumeRef

ADMIN_KEY = "llmos_0123abcd_" + "5f" * 32
ROUNDS, CALLS = 9, 2000
NEEDS = Needs(scope=Scope.CHAT, delegates=True)
TEAM = VolumeRef.team("sre")
BROWSER = [
    (b"host", b"llmos.example"),
    (b"user-agent", b"OpenAI/Python 1.99.0"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"content-type", b"application/json"),
    (b"content-length", b"212"),
    (b"x-stainless-lang", b"python"),
    (b"connection", b"keep-alive"),
]
FRONT_END = [
    (b"x-openwebui-user-id", b"5f2c1d9a-0b7e-4c33-9d8e-1a2b3c4d5e6f"),
    (b"x-openwebui-user-email", b"ann@example.org"),
    (b"x-openwebui-user-name", b"Ann%20Example"),
    (b"x-openwebui-user-role", b"admin"),
]


def run() -> Iterator[Row]:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(_measured(Path(folder)))
    floor = figures.pop("floor")
    for name, value in figures.items():
        yield Row(name, value * 1e6, floor * 1e6, unit="us CPU", target="value <= 40")


async def _measured(folder: Path) -> dict[str, float]:
    database = Database(f"sqlite+aiosqlite:///{folder}/rows.db")
    await prepare(database)
    accounts = Accounts(AccountStore(database), Settings(data=folder), ADMIN_KEY, keys=ApiKeys(KeyStore(database)))
    root = await accounts.authenticate(ADMIN_KEY)
    await accounts.create_team(root, "sre")
    await accounts.ensure("alice")
    await accounts.set_member(root, "sre", "alice")
    alice = await accounts.actor("alice")
    key, _ = await accounts.create_key(alice, "bench", ["chat", "skills:read"])
    front, _ = await accounts.create_key(root, "front end", ["act-as"], teams=["sre"])
    found = {
        "floor": await _cpu(_floor(key)),
        "an API key, and may it chat in a team": await _cpu(_request(accounts, key, [])),
        "the admin key naming a user": await _cpu(_request(accounts, ADMIN_KEY, [(b"x-llmos-user", b"alice")])),
        "a front end's key and its four headers": await _cpu(_request(accounts, front, FRONT_END)),
    }
    await accounts.close()
    await database.close()
    return found


def _floor(key: str) -> Callable[[], Awaitable[None]]:
    digest = hashlib.sha256(key.encode()).digest()

    async def check() -> None:
        compare_digest(hashlib.sha256(key.encode()).digest(), digest)

    return check


def _request(accounts: Accounts, key: str, more: list[tuple[bytes, bytes]]) -> Callable[[], Awaitable[None]]:
    headers = [*BROWSER, (b"authorization", f"Bearer {key}".encode()), *more]

    async def ask() -> None:
        scope = {"headers": headers, "method": "POST", "client": ("10.0.0.1", 1), "state": {}}
        actor = NEEDS.check(await actor_of(accounts, scope))
        permit(actor, Verb.CHAT, actor.volume)
        allowed(actor, Verb.CHAT, TEAM)

    return ask


async def _cpu(work: Callable[[], Awaitable[None]]) -> float:
    """Return the CPU seconds of one call: the median of some rounds, after one that warms up."""
    times = []
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        for _ in range(CALLS):
            await work()
        times.append((time.process_time() - start) / CALLS)
    return statistics.median(times[1:])
