"""What was used this month, in memory, with what is reserved; beside it a file that survives a crash of the process.

A row in a database for each chat would cost more than the rest of the chat. So the totals are in memory, each change
is appended to a small file, and the rows are written every few seconds. The file is not synced: a power cut may lose
what came since the rows were last written, a crash of the process at most what the last turn of its event loop settled.
Lines hold totals: one read twice does no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from llmos_lite.errors import LlmosError, storage_error
from llmos_lite.records.usage import UsageRows, Used

log = logging.getLogger("llmos.limits")

SECONDS = 5.0
"""Time between two writings of the rows."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Used).decode


class Account:
    """One subject in this month: what it used, and what is reserved."""

    __slots__ = ("key", "micros", "tokens", "used")

    def __init__(self, used: Used) -> None:
        self.used, self.key = used, (used.subject, used.month)
        self.tokens = self.micros = 0


class Ledger:
    """The accounts of this month.

    Args:
        rows: where they are written.
        folder: where the file is; None keeps none, as in a worker process, which settles nothing.
        clock: seconds since the epoch.
    """

    def __init__(self, rows: UsageRows, folder: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._rows, self._clock = rows, clock
        self._files = [folder / f"usage-{number}.log" for number in (0, 1)] if folder else []
        self._file = -1
        self._at = 0
        self._accounts: dict[str, Account] = {}
        self._changed: dict[tuple[str, str], Used] = {}
        self._unsaved: dict[tuple[str, str], Used] = {}
        """What the file does not hold yet: what this turn of the event loop changed."""
        self._ends = 0.0
        self._flushing = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._ready = False
        self._task: asyncio.Task[None] | None = None
        self._month = ""

    @property
    def month(self) -> str:
        """Return this month, as in 2026-11, in UTC."""
        self._turn()
        return self._month

    @property
    def ends(self) -> float:
        """Return when this month ends, in seconds since the epoch."""
        self._turn()
        return self._ends

    async def accounts(self, subjects: Iterable[str]) -> list[Account]:
        """Return the accounts of subjects; from memory, but for the first time in a month."""
        if self._clock() >= self._ends:
            self._turn()
        accounts: list[Account] = []
        for subject in subjects:
            found = self._accounts.get(subject)
            accounts.append(found if found is not None else await self._load(subject))
        return accounts

    def settle(self, accounts: Iterable[Account]) -> None:
        """Note that the totals of accounts have changed; what one turn of the event loop changes is one write."""
        if not self._unsaved and self._file >= 0:
            asyncio.get_running_loop().call_soon(self._save)
        for account in accounts:
            self._changed[account.key] = self._unsaved[account.key] = account.used

    def _save(self) -> None:
        unsaved, self._unsaved = self._unsaved, {}
        if not unsaved or self._file < 0:
            return
        try:
            os.write(self._file, b"".join([_encode(used) + b"\n" for used in unsaved.values()]))
        except OSError as error:
            log.warning("the usage of a chat is only in memory for now: %s", error)

    async def flush(self) -> None:
        """Write the rows of what has changed.

        Raises:
            StorageFailed: the disk is full, read-only or broken; tried again with the next.
        """
        async with self._flushing:
            if not self._changed:
                return
            self._save()
            changed, self._changed = self._changed, {}
            try:
                done = self._switch()
                await self._rows.put(changed.values())
            except BaseException:
                self._changed = changed | self._changed
                raise
            if done is not None:
                done.unlink(missing_ok=True)

    async def open(self) -> None:
        """Take up what an earlier process left in its files; doing so again does nothing."""
        async with self._opening:
            if self._ready:
                return
            left = await asyncio.to_thread(_left, self._files)
            for used in left.values():
                row = await self._rows.get(used.subject, used.month)
                await self._rows.put([_larger(row, used)])
            for file in self._files:
                file.unlink(missing_ok=True)
            self._switch()
            self._ready = True

    def start(self) -> None:
        """Write rows every few seconds."""
        self._task = self._task or asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Write all rows; doing so again does nothing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        try:
            await self.flush()
        except LlmosError as error:
            log.warning("usage could not be written: %s", error.message)
        else:
            self._close()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(SECONDS)
            with contextlib.suppress(LlmosError):
                await self.flush()

    async def _load(self, subject: str) -> Account:
        if not self._ready:
            await self.open()
        month = self._month
        used = self._changed.get((subject, month)) or await self._rows.get(subject, month)
        if month != self._month:
            return (await self.accounts([subject]))[0]
        return self._accounts.setdefault(subject, Account(used))

    def _turn(self) -> None:
        """Begin a month, when one has begun."""
        now = self._clock()
        if now >= self._ends:
            self._month, self._ends = month_of(now)
            self._accounts = {}

    def _switch(self) -> Path | None:
        """Write to the other file from now on; return the one that was written to."""
        if not self._files:
            return None
        before = self._files[self._at] if self._file >= 0 else None
        self._close(keep=True)
        self._at = 1 - self._at
        try:
            self._file = os.open(self._files[self._at], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise storage_error(error, "note what was used") from error
        return before

    def _close(self, *, keep: bool = False) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            if not keep:
                self._files[self._at].unlink(missing_ok=True)
                self._ready = False


def month_of(seconds: float) -> tuple[str, float]:
    """Return the month of a time, as in 2026-11, and when it ends, both in UTC."""
    at = datetime.fromtimestamp(seconds, UTC)
    following = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
    return f"{at:%Y-%m}", following.timestamp()


def _left(files: Sequence[Path]) -> dict[tuple[str, str], Used]:
    found: dict[tuple[str, str], Used] = {}
    for file in files:
        for line in file.read_bytes().split(b"\n") if file.exists() else ():
            with contextlib.suppress(msgspec.DecodeError):  # a line that a power cut broke off
                used = _decode(line)
                key = used.subject, used.month
                found[key] = _larger(found[key], used) if key in found else used
    return found


def _larger(one: Used, other: Used) -> Used:
    """Return the later of two totals of one account: totals only grow."""
    return one if one.requests >= other.requests else other
