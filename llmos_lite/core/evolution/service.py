"""What people ask of evolution: run it, look at the runs, look at the patterns."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Protocol

from llmos_lite.core.accounts.permissions import Actor, Scope, Verb, allowed, permit, require
from llmos_lite.core.page import Page
from llmos_lite.core.runs import Run, Runs
from llmos_lite.errors import Invalid, NotFound
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.catalog_patterns import PatternRecord
from llmos_lite.volumes.access import SYSTEM, Access, VolumeRef, access
from llmos_lite.volumes.access import require as require_volume

EVOLVE = "evolve"
SCOPES = ("user", "team", "system")


class Submit(Protocol):
    """Hands a run to whoever does the work."""

    async def submit(self, kind: str, run_id: str) -> None:
        """Return when the run will be done, whatever happens to this process."""


@dataclass(frozen=True, slots=True)
class PatternView:
    """A goal that repeats; `trace_ids` (opening traces) only when one pattern is asked for."""

    pattern_id: str
    volume: str
    goal: str
    count: int
    users: int
    success_rate: float
    examples: list[str]
    skill_id: str
    reason: str
    first: int
    last: int
    trace_ids: list[str] = field(default_factory=list)


class Evolution:
    """Runs of evolution and the patterns that they found.

    Args:
        catalog: rows of patterns.
        runs: the log of runs.
        jobs: does the runs.
    """

    def __init__(self, catalog: Catalog, runs: Runs, jobs: Submit) -> None:
        self._catalog, self._runs, self._jobs = catalog, runs, jobs

    async def start(self, actor: Actor, scope: str = "user", team_id: str | None = None) -> str:
        """Start a run and return its id; its `Run` tells how far it is.

        Args:
            actor: a person for the scope `user`, a member for `team`, a system admin for `system`.
            scope: `user`, `team` or `system`.
            team_id: the team, for the scope `team`.

        Raises:
            Invalid: `evolution.scope`.
            Forbidden: `scope.missing`, `role.missing`.
            NotFound: `volume.unknown`.
        """
        require(actor, Scope.EVOLVE)
        request = {"scope": scope, "id": _subject(actor, scope, team_id)}
        run_id = await self._runs.create(EVOLVE, actor, request)
        await self._jobs.submit(EVOLVE, run_id)
        return run_id

    async def run(
        self,
        actor: Actor,
        scope: str = "user",
        team_id: str | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - see `Runs.wait`
    ) -> Run:
        """Start a run and wait for its end, at most `timeout` seconds; raises as `start`."""
        return await self._runs.wait(await self.start(actor, scope, team_id), timeout)

    async def patterns(
        self, actor: Actor, *, volume: VolumeRef | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[PatternView]:
        """List the patterns of a volume, the most frequent first; without one, those of the actor and their teams.

        Raises:
            NotFound: `volume.unknown`.
            Invalid: `cursor.invalid`.
        """
        require(actor, Scope.TRACES_READ)
        if volume is not None:
            require_volume(actor.principal_for(volume), volume, write=False)
            permit(actor, Verb.INSPECT_TRACES, volume)
        own = [actor.volume, *(VolumeRef.team(team) for team in sorted(actor.teams))]
        names = [str(ref) for ref in ([volume] if volume is not None else own)]
        rows = await self._catalog.patterns.page(names, limit=limit, cursor=cursor)
        return Page([_view(row) for row in rows.items], rows.next_cursor, rows.total)

    async def pattern(self, actor: Actor, pattern_id: str) -> PatternView:
        """Return one pattern with all its opening traces.

        Raises:
            NotFound: `pattern.unknown`.
        """
        require(actor, Scope.TRACES_READ)
        row = await self._catalog.patterns.get(pattern_id)
        if row is None or not _may_read(actor, VolumeRef.parse(row.volume)):
            raise NotFound(
                "pattern.unknown", "There is no such pattern that you may see.", hint="`llmos patterns` lists them."
            )
        return _view(row, await self._catalog.patterns.members(pattern_id))


def _subject(actor: Actor, scope: str, team_id: str | None) -> str:
    """Return whose evolution is asked for, once it is clear that the actor may ask."""
    if scope == "user":
        return _granted(actor, VolumeRef.user(actor.user_id)).id
    if scope == "team" and team_id:
        return _granted(actor, VolumeRef.team(team_id)).id
    if scope == "system":
        return _granted(actor, SYSTEM).kind.value
    if scope == "team":
        raise Invalid("evolution.scope", "The scope team needs a team.", hint="Name it: --team ID, or `team_id`.")
    raise Invalid("evolution.scope", f"{scope[:40]!r} is no scope.", hint=f"Use one of {', '.join(SCOPES)}.")


def _granted(actor: Actor, ref: VolumeRef) -> VolumeRef:
    require_volume(actor.principal_for(ref), ref, write=False)
    permit(actor, Verb.EVOLVE, ref)
    return ref


def _may_read(actor: Actor, ref: VolumeRef) -> bool:
    opens = access(actor.principal_for(ref), ref) is not Access.NONE
    return opens and allowed(actor, Verb.INSPECT_TRACES, ref)


def _view(row: PatternRecord, trace_ids: list[str] | None = None) -> PatternView:
    return PatternView(
        pattern_id=row.pattern_id,
        volume=row.volume,
        goal=row.goal,
        count=row.count,
        users=row.users,
        success_rate=row.success_rate,
        examples=json.loads(row.examples),
        skill_id=row.skill_id,
        reason=row.reason,
        first=row.first,
        last=row.last,
        trace_ids=trace_ids or [],
    )
