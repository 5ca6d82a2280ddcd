"""What people learn of volumes as such: figures, history, and the policy for promotions."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from llmos_lite.core.accounts.accounts import require_member
from llmos_lite.core.accounts.permissions import Actor, Verb, allowed, permit
from llmos_lite.core.page import Page
from llmos_lite.engines.git import Commit
from llmos_lite.errors import Forbidden, LlmosError
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.catalog_traces import TraceFilter
from llmos_lite.records.cursor import decode_cursor, encode_cursor
from llmos_lite.volumes.access import PLATFORM, SYSTEM, VolumeRef, check_id
from llmos_lite.volumes.git_volume import RETENTION, Json, author_of, retention_of
from llmos_lite.volumes.manager import VolumeManager
from llmos_lite.volumes.skill_paths import flat_path, folder_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What a volume holds; `size` is in bytes, `problem` says why it cannot be read."""

    volume: str
    skills: int = 0
    traces: int = 0
    commits: int = 0
    size: int = 0
    head: str = ""
    review: str = "none"
    retention_days: int | None = None
    problem: str | None = None


class Volumes:
    """Figures and history of volumes, for whom they concern."""

    def __init__(self, volumes: VolumeManager, catalog: Catalog) -> None:
        self._volumes, self._catalog = volumes, catalog

    async def stats(
        self, actor: Actor, *, volume: VolumeRef | None = None, limit: int = 50, cursor: str = ""
    ) -> Page[Stats]:
        """Return figures of one volume, or of all that the actor may read (a system admin: all that there are).

        Raises:
            NotFound: `volume.unknown`, `team.unknown`.
            Invalid: `cursor.invalid`.
        """
        refs = [self.readable(actor, volume)] if volume else await asyncio.to_thread(self._refs, actor)
        after = str(decode_cursor(cursor, str)[0]) if cursor else ""
        rest = [ref for ref in refs if str(ref) > after]
        items = [await self._stats(ref) for ref in rest[:limit]]
        return Page(items, encode_cursor(items[-1].volume) if len(rest) > limit else None, len(refs))

    async def history(
        self, actor: Actor, *, volume: VolumeRef | None = None, skill_id: str = "", limit: int = 50, cursor: str = ""
    ) -> Page[Commit]:
        """Return the commits of a volume, newest first; of one skill when `skill_id` is given.

        Raises:
            NotFound: `volume.unknown`, `team.unknown`, or `commit.unknown` for a cursor that is not in this history.
            Invalid: `skill.invalid_id`, `cursor.invalid`.
        """
        ref = self.readable(actor, volume or actor.volume)
        skill = check_id(skill_id, "skill") if skill_id else None
        before = str(decode_cursor(cursor, str)[0]) if cursor else None
        return await asyncio.to_thread(self._history, ref, skill, limit, before)

    async def set_policy(
        self, actor: Actor, ref: VolumeRef, *, review: str | None = None, retention_days: int | None = None
    ) -> Stats:
        """Set whether promotions to a volume need a review, and how long its traces are kept, as an admin of it.

        Args:
            actor: an admin of the volume.
            ref: the volume.
            review: `none` or `required`; None leaves it.
            retention_days: days, 0 for ever; None leaves it.

        Raises:
            Forbidden: `role.missing`.
        """
        self.readable(actor, ref)
        if not allowed(actor, Verb.ADMINISTER, ref):
            raise Forbidden("role.missing", f"Only an admin of {ref} may set its policy.")
        await asyncio.to_thread(self._set_policy, actor, ref, review, retention_days)
        return await self._stats(ref)

    def readable(self, actor: Actor, ref: VolumeRef) -> VolumeRef:
        """Return `ref` when the actor may look at it: by the volumes' table, or as a system admin.

        Raises:
            NotFound: `volume.unknown`, `team.unknown`.
        """
        principal = actor.principal_for(ref)
        if not (actor.is_admin and self._volumes.exists(ref)):
            require_member(actor, ref)
            principal = actor.principal
        self._volumes.open(principal, ref)
        permit(actor, Verb.READ_SKILLS, ref)
        return ref

    def _refs(self, actor: Actor) -> list[VolumeRef]:
        mine = {actor.volume, SYSTEM, *(VolumeRef.team(team) for team in actor.teams)}
        there = self._volumes.refs()
        everything = allowed(actor, Verb.OVERSEE)
        return sorted(ref for ref in there if everything or ref in mine)

    async def _stats(self, ref: VolumeRef) -> Stats:
        found = TraceFilter(volumes=(str(ref),))
        traces = (await self._catalog.traces.page(found, limit=1)).total
        return await asyncio.to_thread(self._git_stats, ref, traces)

    def _git_stats(self, ref: VolumeRef, traces: int) -> Stats:
        try:
            volume = self._volumes.open(PLATFORM, ref)
            return Stats(
                volume=str(ref),
                skills=len(volume.list_skills()),
                traces=traces,
                commits=volume.store.count(),
                size=volume.store.size() + volume.traces.size(),
                head=volume.store.head() or "",
                review="required" if volume.review_required else "none",
                retention_days=retention_of(volume),
            )
        except LlmosError as error:
            return Stats(volume=str(ref), traces=traces, problem=error.message)

    def _history(self, ref: VolumeRef, skill_id: str | None, limit: int, before: str | None) -> Page[Commit]:
        volume = self._volumes.open(PLATFORM, ref)
        found = volume.get_git_log(limit + 1, before=before, skill_id=skill_id)
        total = volume.store.count((folder_path(skill_id), flat_path(skill_id)) if skill_id else None)
        items = found[:limit]
        return Page(items, encode_cursor(items[-1].oid) if len(found) > limit else None, total)

    def _set_policy(self, actor: Actor, ref: VolumeRef, review: str | None, retention_days: int | None) -> None:
        volume = self._volumes.open(actor.principal_for(ref), ref, write=True)
        policy = volume.metadata().get("policy")
        known = policy if isinstance(policy, dict) else {}
        changes: dict[str, Json] = {} if review is None else {"policy": known | {"review": review}}
        if retention_days is not None:
            changes[RETENTION] = retention_days
        if changes:
            volume.set_metadata(changes, author_of(actor.user_id))
