"""Erasure: every copy of a trace that this instance holds goes, and a tombstone stays.

What is to go is noted durably first (`erasures`), and every step may be done again; so what a crash cut short is
finished at the next start. The copies are hidden at once. Then, volume by volume, while chats go on into the journal:
everything is folded, the months that hold a line are rewritten, rows follow, the tombstone is committed, and what
nothing leads to any more is removed from the repository. Archives, patterns, runs and skills come after, and at last
the rows' file is written anew, since a database leaves deleted text between its rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from llmos_lite.core.accounts.permissions import Actor, Scope, Verb, allowed, require, require_admin
from llmos_lite.core.traces.archive import Archives
from llmos_lite.core.traces.cutting import TOMBSTONE, Cut, Doomed, cut, of_traces, older_than, placed, time_of
from llmos_lite.core.traces.digest import digest_id
from llmos_lite.core.traces.erasure_report import ErasureReport, VolumeErasure
from llmos_lite.core.traces.erasures import Erasure, Erasures
from llmos_lite.core.traces.fold import trace_author
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.quotes import Marks
from llmos_lite.core.traces.segments import commit_segments, segments_of
from llmos_lite.core.traces.skill_quotes import QuotingSkill, SkillQuotes
from llmos_lite.core.traces.state import TraceState
from llmos_lite.core.traces.trace import SCHEMA, Event, make_ulid, now_ms
from llmos_lite.core.traces.unquoting import json_without, lines_without, pattern_without
from llmos_lite.engines.git_history import History
from llmos_lite.errors import Forbidden, LlmosError
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.catalog_erasure import Copy
from llmos_lite.records.catalog_runs import RunRecord
from llmos_lite.volumes.access import PLATFORM, SYSTEM, VolumeKind, VolumeRef, check_id
from llmos_lite.volumes.access import require as require_access
from llmos_lite.volumes.manager import VolumeManager

log = logging.getLogger("llmos.erase")

REASON_LENGTH = 500
CHUNK = 200
"""Traces whose text is held at a time."""
LOOK = 1.0
"""Seconds between two looks whether long work has ended."""
LONG_WORK = frozenset({"evolve", "import"})
"""Kinds of runs that hold text of traces while they go on."""


class Mirror(Protocol):
    """Somewhere else that traces were sent to."""

    async def begin(self, volume: VolumeRef) -> None:
        """Note, durably, that months of a volume are about to be rewritten."""

    async def erase(self, volume: VolumeRef, branches: Sequence[str]) -> list[str]:
        """Bring a volume's months there to what they are here; return the names of places that were not reached."""


@dataclass(slots=True)
class _Work:
    """An erasure on its way."""

    erasure: Erasure
    marks: Marks
    volumes: list[VolumeErasure] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    unfinished: dict[str, str] = field(default_factory=dict)

    def doomed(self, volume: str) -> Doomed:
        """Return which lines of a volume go."""
        if self.erasure.before:
            return older_than(self.erasure.before)
        return of_traces(self.erasure.copies[volume])

    def since(self, volume: str) -> int:
        """Return the time before which no line of a volume goes."""
        return min(map(time_of, self.erasure.copies[volume]), default=0)


class Eraser:
    """Erases traces; in the process that holds the journal.

    Args:
        data: the data folder.
        volumes: where copies lie.
        catalog: rows about them.
        traces: the log of traces.
        archives: where old months lie.
        mirrors: whom to tell.
        mended: is called when skills lost what they quoted.
        forget: hears of the ids of all traces that go.
    """

    def __init__(
        self,
        data: Path,
        volumes: VolumeManager,
        catalog: Catalog,
        traces: TraceLog,
        archives: Archives,
        *,
        mirrors: Sequence[Mirror] = (),
        mended: Callable[[], Awaitable[object]] | None = None,
        forget: Callable[[Collection[str]], Awaitable[object]] | None = None,
    ) -> None:
        self._mended, self._forget = mended, forget
        self._data, self._volumes, self._catalog, self._traces = data, volumes, catalog, traces
        self._archives, self._mirrors = archives, mirrors
        self._noted = Erasures(data / "erasures")
        self._left = frozenset((data / "tmp").glob("*"))  # what comes later belongs to somebody who works with it
        self._quotes = SkillQuotes(volumes, catalog.erasure.says)
        self._turn = asyncio.Lock()
        self._running: set[asyncio.Task[ErasureReport]] = set()
        self._later: set[asyncio.Task[None]] = set()

    # What people ask for

    async def erase(
        self, actor: Actor, trace_id: str, *, volume: VolumeRef | None = None, reason: str = ""
    ) -> ErasureReport:
        """Erase a trace with everything about it; for its owner the copies that teams have, too.

        Args:
            actor: the person whose trace it is, or an admin of the volume that it lies in.
            trace_id: its id.
            volume: where it lies; needed by a system admin alone.
            reason: why, for the tombstone.

        Raises:
            NotFound: `trace.unknown`, for one that is not there or not theirs, alike.
            Forbidden: `trace.not_yours`, for a team mate's trace; `scope.missing`.
        """
        require(actor, Scope.CHAT)
        await self._traces.settle()
        owner, where = await self._traces.owner(actor, trace_id, volume=volume)
        if owner != actor.user_id:
            if not allowed(actor, Verb.ERASE, where):
                raise Forbidden("trace.not_yours", "Only the person who asked, or an admin of it, may erase it.")
            require_access(actor.principal_for(where), where, write=True)
        copies = await self._copies(owner, where, trace_id, own=owner == actor.user_id)
        return await self._begin(actor.user_id, copies, reason)

    async def forget(self, actor: Actor, user_id: str, *, reason: str = "") -> ErasureReport:
        """Erase every trace of a person, in whatever volume; account and skills stay.

        Args:
            actor: that person, or a system admin.
            user_id: who is forgotten.
            reason: why, for the tombstones.

        Raises:
            Forbidden: `role.missing`, `scope.missing`.
        """
        require(actor, Scope.CHAT)
        if check_id(user_id, "user") != actor.user_id:
            require_admin(actor)
        await self._traces.settle()
        own = VolumeRef.user(user_id)
        unread = [Copy(str(own), trace_id) for trace_id in self._traces.unreadable(own)]  # most of them have no row
        copies = dict.fromkeys([*await self._catalog.erasure.of_actor(user_id), *unread])
        return await self._begin(actor.user_id, copies, reason)

    async def retain(self, ref: VolumeRef, before: int) -> ErasureReport | None:
        """Erase what is older than a time (milliseconds) from a volume, without tombstones; None when nothing is."""
        await self._traces.settle()
        if not await self._catalog.erasure.is_any_before(str(ref), before):
            return None
        at = now_ms()
        copies = {str(ref): tuple(await self._catalog.erasure.before(str(ref), before))}
        marks = Marks()
        for row in (await self._catalog.traces.many(copies[str(ref)])).values():
            marks.add(row.goal)
        erasure = Erasure(
            erasure_id=make_ulid(at), by="retention", at=at, copies=copies, before=before, marks=marks.pack()
        )
        return await self._run(erasure)

    async def _copies(self, owner: str, where: VolumeRef, trace_id: str, *, own: bool) -> list[Copy]:
        """Return a trace and, for its owner, its other copies: their ids are made from the first one's."""
        home = VolumeRef.user(owner)
        if not own and where != home:  # the admin of a team erases what the team has
            return [Copy(str(where), trace_id)]
        origin = trace_id if where == home else await self._origin(home, where, trace_id)
        if origin is None:
            return [Copy(str(where), trace_id)]
        known = map(VolumeRef.parse, await self._catalog.traces.volumes())  # one may not have been folded yet
        teams = [ref for ref in known if ref.kind is VolumeKind.TEAM]
        shared = {digest_id(origin, ref.id): ref for ref in teams}
        there = await self._catalog.traces.many(list(shared))
        return [Copy(str(home), origin), *(Copy(str(shared[one]), one) for one in there)]

    async def _origin(self, home: VolumeRef, where: VolumeRef, trace_id: str) -> str | None:
        """Return the person's own trace that a team's copy was made of."""
        there = await self._catalog.erasure.at(str(home), time_of(trace_id))
        return next((one for one in there if digest_id(one, where.id) == trace_id), None)

    async def _begin(self, by: str, copies: Iterable[Copy], reason: str) -> ErasureReport:
        grouped: dict[str, list[str]] = {}
        for volume, trace_id in copies:
            grouped.setdefault(volume, []).append(trace_id)
        at = now_ms()
        erasure = Erasure(
            erasure_id=make_ulid(at),
            by=by,
            at=at,
            reason=" ".join(reason.split())[:REASON_LENGTH],
            copies={volume: tuple(ids) for volume, ids in grouped.items()},
        )
        if not grouped:
            return ErasureReport(erasure_id=erasure.erasure_id, traces=0)
        return await self._run(msgspec.structs.replace(erasure, marks=await self._marked(erasure.trace_ids)))

    async def _marked(self, trace_ids: Sequence[str]) -> bytes:
        marks = Marks(traces=len(trace_ids))
        async for states in self._states(trace_ids):
            await asyncio.to_thread(marks.add_traces, states)
        for row in (await self._catalog.traces.many(trace_ids)).values():  # of those in an archive, at least the goal
            marks.add(row.goal)
        return marks.pack()

    async def _states(self, trace_ids: Sequence[str]) -> AsyncIterator[list[TraceState]]:
        for start in range(0, len(trace_ids), CHUNK):
            yield await self._traces.states(trace_ids[start : start + CHUNK])

    # After a crash

    def hide(self) -> None:
        """Hide what was about to be erased when the process before this one ended; before anybody reads."""
        for erasure in self._noted.all():
            if not erasure.before:
                self._traces.forget(erasure.trace_ids)

    async def resume(self) -> list[ErasureReport]:
        """Finish what the process before this one began, and remove what it left in `<data>/tmp`."""
        await self._sweep()
        reports = []
        for erasure in await asyncio.to_thread(self._noted.all):
            try:
                reports.append(await self._run(erasure))
            except LlmosError as error:
                log.warning("the erasure %s is not finished: %s", erasure.erasure_id, error.message)
        return reports

    async def stop(self) -> None:
        """Wait for what is on its way, and give up what waits for others: the next start finishes it."""
        await asyncio.gather(*self._running, return_exceptions=True)
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)

    async def _sweep(self) -> None:
        """Remove what the process before this one left in the middle of its work, but files of imports that go on."""
        waiting = {
            str(json.loads(run.request).get("path", "")) for run in await self._catalog.runs.unfinished() if run.request
        }
        await asyncio.to_thread(_remove_all, self._left, waiting)

    # The work itself

    async def _run(self, erasure: Erasure) -> ErasureReport:
        await asyncio.to_thread(self._noted.put, erasure)
        task = asyncio.create_task(self._finish(erasure), name=f"erase-{erasure.erasure_id}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)  # whoever asked may go away; what was noted goes on

    async def _finish(self, erasure: Erasure) -> ErasureReport:
        work = _Work(erasure, Marks.unpack(erasure.marks))
        async with self._turn:
            if not erasure.before:
                self._traces.forget(erasure.trace_ids)
                await self._catalog.erasure.remove(erasure.trace_ids)
            if self._forget is not None:
                await self._forget(erasure.trace_ids)
            for volume in erasure.copies:
                await self._volume(work, VolumeRef.parse(volume))
            skills = await self._rows(work)
            if skills and self._mended is not None:
                await self._mended()
            await self._catalog.database.compact()
        busy = [run.run_id for run in await self._catalog.runs.unfinished() if run.kind in LONG_WORK]
        if not work.unfinished and not busy:
            await asyncio.to_thread(self._noted.remove, erasure.erasure_id)
        elif not work.unfinished:
            self._again(erasure, busy)
        return ErasureReport(
            erasure_id=erasure.erasure_id,
            traces=len(erasure.trace_ids),
            volumes=work.volumes,
            skills=skills,
            unreached=work.unreached,
            unfinished=work.unfinished,
        )

    async def _volume(self, work: _Work, ref: VolumeRef) -> None:
        for mirror in self._mirrors:
            await mirror.begin(ref)
        try:
            async with self._traces.quiet(ref):
                done = await self._erase_in(work, ref)
        except LlmosError as error:
            log.warning("%s: %s", ref, error.message)
            work.unfinished[str(ref)] = error.message
            return
        work.volumes.append(done)
        for mirror in self._mirrors:
            try:
                work.unreached += await mirror.erase(ref, done.branches)
            except LlmosError as error:
                work.unreached.append(error.message)

    async def _erase_in(self, work: _Work, ref: VolumeRef) -> VolumeErasure:
        """Erase in one volume, to which nobody adds meanwhile."""
        volume, erasure = str(ref), work.erasure
        doomed, since = work.doomed(volume), work.since(volume)
        with contextlib.closing(await asyncio.to_thread(self._volumes.traces_history, ref)) as history:
            cuts = await asyncio.to_thread(cut, history, doomed, since=0 if erasure.before else since)
            for one in cuts:
                await self._place(history, one)
            await self._remove_rows(erasure, volume)
            if not erasure.before:
                await self._bury(erasure, ref)
            archives = await self._archives.cut(ref, doomed, since=0 if erasure.before else since)
            objects = await asyncio.to_thread(history.prune)
        await asyncio.to_thread(self._volumes.forget_traces, ref)
        return VolumeErasure(
            volume=volume,
            traces=len(erasure.copies[volume]),
            branches=[one.branch for one in cuts],
            archives=archives,
            objects=objects,
        )

    async def _place(self, history: History, done: Cut) -> None:
        segments = placed(history, done)
        while (events := await asyncio.to_thread(next, segments, None)) is not None:
            await self._traces.place(events)

    async def _remove_rows(self, erasure: Erasure, volume: str) -> None:
        if erasure.before:
            await self._catalog.erasure.remove_before(volume, erasure.before)
            self._traces.reload()
        else:
            await self._catalog.erasure.remove(erasure.copies[volume])

    async def _bury(self, erasure: Erasure, ref: VolumeRef) -> None:
        """Leave the tombstones; their ids are made of the erasure's, so that they stand once however often it runs."""
        volume = str(ref)
        stones = [
            Event(
                v=SCHEMA,
                kind=TOMBSTONE,
                id=make_ulid(erasure.at, f"{erasure.erasure_id} {volume} {trace_id}"),
                trace_id=trace_id,
                at=erasure.at,
                volume=volume,
                by=erasure.by,
                reason=erasure.reason,
            )
            for trace_id in erasure.copies[volume]
        ]
        store = self._volumes.open(PLATFORM, ref, write=True).traces
        segments = await asyncio.to_thread(segments_of, stones)
        await self._traces.place(
            await asyncio.to_thread(commit_segments, store, segments, trace_author(ref), at=erasure.at)
        )

    # Rows and skills that speak of it

    async def _rows(self, work: _Work) -> list[QuotingSkill]:
        erasure = work.erasure
        refs = [VolumeRef.parse(volume) for volume in erasure.copies]
        everybody = await asyncio.to_thread(self._volumes.refs)
        shared = [ref for ref in everybody if ref.kind is VolumeKind.TEAM or ref == SYSTEM]
        where = list(dict.fromkeys([*refs, *shared]))
        for ref in where:
            await self._patterns(str(ref), work.marks)
        await self._runs(work.marks)
        oldest = min(map(time_of, erasure.trace_ids), default=erasure.at)
        return await self._quotes.mend(where, work.marks, since=oldest, reason=erasure.reason)

    async def _patterns(self, volume: str, marks: Marks) -> None:
        """Take what is quoted out of the patterns of a volume, and count what is left of them."""
        rows = self._catalog.patterns
        members = await rows.members_of(volume)
        for pattern in await rows.of(volume):
            left = members.get(pattern.pattern_id, [])
            mended = pattern_without(pattern, len(left), marks)
            if mended is None:
                await rows.remove(pattern.pattern_id)
            elif mended != pattern:
                await rows.put(mended, left)

    async def _runs(self, marks: Marks) -> None:
        """Take what is quoted out of what runs say."""
        async for run in self._catalog.erasure.runs():
            if run.finished:
                await asyncio.to_thread(_remove_spool, self._data / "tmp", run)
            changed = {"result": json_without(run.result, marks), "error": lines_without(run.error, marks)}
            if changed != {"result": run.result, "error": run.error}:
                await self._catalog.runs.update(run.run_id, **changed)

    # Work of others that goes on meanwhile

    def _again(self, erasure: Erasure, busy: Sequence[str]) -> None:
        """Look through rows and skills once more when long work has ended that read the traces before they went."""
        task = asyncio.create_task(self._when_ended(erasure, busy), name=f"erase-{erasure.erasure_id}")
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _when_ended(self, erasure: Erasure, busy: Sequence[str]) -> None:
        while {run.run_id for run in await self._catalog.runs.unfinished()} & set(busy):  # noqa: ASYNC110 - a worker's end shows in rows alone
            await asyncio.sleep(LOOK)
        async with self._turn:
            await self._rows(_Work(erasure, Marks.unpack(erasure.marks)))
            await self._catalog.database.compact()
        await asyncio.to_thread(self._noted.remove, erasure.erasure_id)


def _remove_spool(folder: Path, run: RunRecord) -> None:
    """Remove the file that an import was made from, when it failed and left it."""
    path = Path(str(json.loads(run.request).get("path", "")))
    if path.parent == folder:
        path.unlink(missing_ok=True)


def _remove_all(paths: Iterable[Path], kept: set[str]) -> None:
    for path in paths:
        if str(path) in kept or not path.name.startswith(("upload-", "backup-", "archive-", "tmp")):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
