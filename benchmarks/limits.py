"""What limits and the audit log cost: CPU for each chat, beside a SHA-256 and a lookup, the floor of any key check."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks import Row
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.audit import Audit
from llmos_lite.core.audit.checkpoints import Checkpoints
from llmos_lite.core.limits import Defaults, Limits
from llmos_lite.core.limits.ledger import Ledger
from llmos_lite.core.limits.prices import Price, Prices
from llmos_lite.engines.database import Database
from llmos_lite.engines.signing import Signer
from llmos_lite.records.audit import AuditRows
from llmos_lite.records.schema import prepare
from llmos_lite.records.usage import UsageRows
from llmos_lite.volumes.manager import VolumeManager

TIMES, ROUNDS = 20_000, 3
RECORDS = 300
EVERYTHING = Defaults(requests=10**9, streams=1000, user_tokens=10**15, user_micros=10**15, team_tokens=10**15)
ALICE = Actor("alice", key_id="0a1b2c3d", credential="key:0a1b2c3d", client="192.0.2.1")


def run() -> list[Row]:
    """Measure in a database of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> list[Row]:
    database = Database(f"sqlite+aiosqlite:///{folder / 'rows.db'}")
    await prepare(database)
    volumes = VolumeManager(folder, signer := Signer.open(folder / "keys"))
    try:
        audit = Audit(AuditRows(database), Checkpoints(volumes, signer))
        return [*await _limits(UsageRows(database), folder), await _audit(audit)]
    finally:
        await database.close()
        volumes.close()


async def _limits(rows: UsageRows, folder: Path) -> list[Row]:
    floor, found = await _cost(_lookup()), []
    for name, defaults in (("no", Defaults()), ("every", EVERYTHING)):
        limits = Limits(rows, Ledger(rows, folder), defaults, prices=Prices({"big-*": Price(2.5, 10.0)}))
        cost = await _cost(_chat(limits))
        await limits.stop()
        what = f"limits of a chat, {name} limit set / SHA-256 and lookup"
        found.append(Row(what, cost, floor, unit="us", target="value <= 15"))
    return found


async def _audit(audit: Audit) -> Row:
    begun = time.perf_counter()
    await asyncio.gather(*(audit.record(ALICE, "skill.update", "user:alice/x") for _ in range(RECORDS)))
    together = (time.perf_counter() - begun) / RECORDS * 1000
    begun = time.perf_counter()
    for _ in range(RECORDS // 10):
        await audit.record(ALICE, "skill.update", "user:alice/x")
    alone = (time.perf_counter() - begun) / (RECORDS // 10) * 1000
    await audit.stop()
    return Row("durable audit row, many at once / one by one", together, alone, unit="ms", target="value <= 2")


def _lookup() -> Callable[[], Awaitable[None]]:
    key = f"llmos_0a1b2c3d_{secrets.token_hex(32)}"
    known = {hashlib.sha256(key.encode()).digest(): ALICE}

    async def look() -> None:
        if known.get(hashlib.sha256(key.encode()).digest()) is None:
            raise AssertionError("it is known")

    return look


def _chat(limits: Limits) -> Callable[[], Awaitable[None]]:
    async def chat() -> None:
        async with limits.request(ALICE):
            reservation = await limits.reserve(ALICE, "sre", 400, model="big-one")
            reservation.settle(300, 200, "big-one")

    return chat


async def _cost(act: Callable[[], Awaitable[None]]) -> float:
    """Return the CPU of one act in microseconds, the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.process_time()
        for _ in range(TIMES):
            await act()
        best = min(best, (time.process_time() - begun) / TIMES * 1e6)
    return best
