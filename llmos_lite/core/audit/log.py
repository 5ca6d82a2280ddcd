"""Records who did what, durably and in one order; and shows it to whom it concerns."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec

from llmos_lite.core.accounts.permissions import Actor, Role, require_admin
from llmos_lite.core.audit.chain import GENESIS, Draft, seal
from llmos_lite.core.audit.checking import Report, check
from llmos_lite.core.audit.checkpoints import Checkpoint, Checkpoints
from llmos_lite.core.audit.floods import Floods
from llmos_lite.core.page import Page
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.engines.git_audit import Missing
from llmos_lite.errors import LlmosError
from llmos_lite.records.audit import AuditFilter, AuditRecord, AuditRows
from llmos_lite.volumes.access import VolumeRef

log = logging.getLogger("llmos.audit")

OK, REFUSED, FAILED = "ok", "refused", "failed"
TICK = 60.0
"""Seconds between looks at what is due."""
EVERY_ROWS = 1000
EVERY_MS = 3_600_000
"""A checkpoint comes after so many rows, or so many milliseconds after the one before, if there is a new row."""
PAGE = 500


class Caller(NamedTuple):
    """Where a request came from: address of the client, id of the request."""

    client: str = ""
    request_id: str = ""


class _Waiting(NamedTuple):
    draft: Draft
    done: asyncio.Future[None]


class Audit:
    """The audit log of an instance.

    Args:
        rows: where it is kept.
        checkpoints: where its head is signed from time to time.
    """

    def __init__(self, rows: AuditRows, checkpoints: Checkpoints) -> None:
        self._rows, self._checkpoints = rows, checkpoints
        self._floods = Floods()
        self._waiting: list[_Waiting] = []
        self._writing = asyncio.Lock()
        self._marking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._since = 0
        self._marked = 0

    # -- writing ----------------------------------------------------------------------------------------------------

    async def record(
        self,
        actor: Actor | None,
        action: str,
        target: str,
        *,
        result: str = OK,
        code: str = "",
        detail: Mapping[str, str] | None = None,
        about: str = "",
        caller: Caller | None = None,
    ) -> None:
        """Append a row, durably; refusals that repeat within a minute are counted instead.

        Args:
            actor: who acted; None for somebody unknown, or the platform itself.
            action: dotted name, as in `key.create`.
            target: what it was done to: a volume, or a volume, a slash and what is in it.
            result: `ok`, `refused` or `failed`.
            code: of the error, unless `ok`.
            detail: facts; never a secret.
            about: volume that it concerns, when the target does not begin with it.
            caller: where the request came from; the actor's client when None.

        Raises:
            StorageFailed: the row could not be written; what was done stands.
        """
        draft = _draft(actor, action, target, about, caller or Caller(actor.client if actor else ""))
        draft = replace(draft, result=result, code=code, detail=detail)
        drafts = self._floods.take(draft) if result == REFUSED else [draft]
        if drafts:
            await self._append(drafts)

    async def _append(self, drafts: Sequence[Draft]) -> None:
        """Write rows; those that come while others are being written share one transaction."""
        loop = asyncio.get_running_loop()
        waiting = [_Waiting(draft, loop.create_future()) for draft in drafts]
        self._waiting += waiting
        await asyncio.shield(asyncio.ensure_future(self._write()))
        for one in waiting:
            await one.done

    async def _write(self) -> None:
        async with self._writing:
            batch, self._waiting = self._waiting, []
            if not batch:
                return
            try:
                await self._rows.append(lambda seq, prev: _sealed(batch, seq, prev))
            except BaseException as error:
                for one in batch:
                    one.done.set_exception(error)
                    one.done.exception()
                if not isinstance(error, Exception):
                    raise
                return
            self._since += len(batch)
            for one in batch:
                one.done.set_result(None)

    # -- reading ----------------------------------------------------------------------------------------------------

    async def page(self, actor: Actor, wanted: AuditFilter, *, limit: int = 50, cursor: str = "") -> Page[AuditRecord]:
        """Return rows, newest first: all for a system admin, those about their team for its admins, else one's own.

        What others did is shown without their address and credential, but to a system admin.

        Raises:
            Invalid: `cursor.invalid`.
        """
        if not actor.is_admin:
            teams = [str(VolumeRef.team(team)) for team, role in actor.teams.items() if role is Role.TEAM_ADMIN]
            wanted = replace(wanted, seen_by=actor.user_id, seen_about=teams)
        found = await self._rows.page(wanted, limit=limit, cursor=cursor)
        return Page([_shown(actor, record) for record in found.items], found.next_cursor, found.total)

    async def export(self, actor: Actor, wanted: AuditFilter) -> AsyncIterator[bytes]:
        """Yield every row as a line of JSON, oldest first, for a system admin."""
        require_admin(actor)
        seq = 0
        while page := await self._rows.following(seq, wanted, limit=PAGE):
            seq = page[-1].seq
            yield b"".join(msgspec.json.encode(record) + b"\n" for record in page)

    async def verify(self, actor: Actor) -> Report:
        """Compute the chain anew and compare it with every checkpoint, for a system admin."""
        require_admin(actor)
        try:
            checkpoints = await asyncio.to_thread(self._checkpoints.all)
        except Missing as error:
            return Report(problem=f"A checkpoint cannot be read: {error}.")
        return await check(self._rows, checkpoints)

    # -- by itself --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Write counts of refusals, and checkpoints, when they are due."""
        self._task = self._task or asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Write what is due, and a checkpoint when there is a new row; doing so again does nothing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        try:
            await self.settle(everything=True)
        except LlmosError as error:
            log.warning("the audit log could not be brought to its end: %s", error.message)

    async def settle(self, *, everything: bool = False) -> None:
        """Write the counts that are due (or all), and a checkpoint when one is."""
        if counts := self._floods.due(everything=everything):
            await self._append(counts)
        if self._since >= EVERY_ROWS or (self._since and (everything or now_ms() - self._marked > EVERY_MS)):
            await self.checkpoint()

    async def checkpoint(self) -> None:
        """Sign the head of the chain and commit it, unless that was done."""
        async with self._marking:
            self._since, self._marked = 0, now_ms()
            head = await self._rows.head()
            if head is not None:
                point = Checkpoint(head.seq, head.hash, self._marked)
                await asyncio.to_thread(self._checkpoints.add, point)

    async def _run(self) -> None:
        self._since += 1  # what a process that was killed left behind is marked, too
        while True:
            with contextlib.suppress(LlmosError):  # as with a full disk: tried again with the next tick
                await self.settle()
            await asyncio.sleep(TICK)


def _sealed(batch: Sequence[_Waiting], seq: int, prev: str) -> list[AuditRecord]:
    made = list[AuditRecord]()
    for number, one in enumerate(batch, seq + 1):
        made.append(seal(one.draft, number, prev or GENESIS))
        prev = made[-1].hash
    return made


def _draft(actor: Actor | None, action: str, target: str, about: str, caller: Caller) -> Draft:
    volume = about or target.partition("/")[0]
    return Draft(
        time=now_ms(),
        action=action,
        target=target,
        about=volume if volume == "system" or volume.startswith(("user:", "team:")) else "",
        actor=actor.user_id if actor else "",
        owner=actor.owner if actor else "",
        credential=actor.credential if actor else "",
        client=caller.client,
        request_id=caller.request_id,
    )


def _shown(actor: Actor, record: AuditRecord) -> AuditRecord:
    if actor.is_admin or actor.user_id in {record.actor, record.owner}:
        return record
    return msgspec.structs.replace(record, owner="", credential="", client="", request_id="")
