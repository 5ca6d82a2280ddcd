"""Makes limits on one database, as one process after the other would."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llmos_lite.core.accounts.permissions import EVERYTHING, Actor, Role
from llmos_lite.core.limits import Defaults, Limits
from llmos_lite.core.limits.ledger import Ledger
from llmos_lite.core.limits.prices import Price, Prices
from llmos_lite.core.limits.rates import LocalRates
from llmos_lite.engines.database import Database
from llmos_lite.records.usage import UsageRows

ADMIN = Actor("admin", role=Role.SYSTEM_ADMIN, scopes=EVERYTHING)
ALICE = Actor("alice", teams={"sre": Role.TEAM_ADMIN}, key_id="0a1b2c3d")
BOB = Actor("bob", teams={"sre": Role.USER})
NOVEMBER = 1_795_000_000.0
"""2026-11-18, in seconds since the epoch."""
DECEMBER = 1_796_083_200.0
PRICES = Prices({"big-*": Price(2.5, 10.0), "small": Price(0.1, 0.4)})


@dataclass
class Clock:
    """Stands still until somebody turns it."""

    now: float = NOVEMBER

    def __call__(self) -> float:
        return self.now


@dataclass
class Counter:
    """Where limits are kept."""

    rows: UsageRows
    folder: Path
    database: Database

    def limits(self, clock: Clock | None = None, prices: Prices = PRICES, **defaults: int) -> Limits:
        clock = clock or Clock()
        ledger = Ledger(self.rows, self.folder, clock)
        given = Defaults(**defaults)
        return Limits(self.rows, ledger, given, prices=prices, rates=LocalRates(clock), clock=clock)
