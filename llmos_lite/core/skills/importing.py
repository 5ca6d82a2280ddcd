"""Import skills from elsewhere, with a lock file in the volume, and follow what becomes of them there.

An update is a three-way look: what came in (the lock's tree), what stands here, what is there now. A skill that was
edited here is told, and never overwritten unless somebody says so.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from llmos_lite.core.accounts.permissions import Actor, may_administer
from llmos_lite.core.remotes.dialing import Dialer
from llmos_lite.core.skills.credentials import masked
from llmos_lite.core.skills.fetching import Fetched, Fetcher, Haul
from llmos_lite.core.skills.following import Followed, Look, State, after, followed, look, name_of
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.install import Installed, Package, id_of
from llmos_lite.core.skills.lockfile import Locked
from llmos_lite.core.skills.locking import LockFiles
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.sources import Source, parse_source
from llmos_lite.core.skills.turns import Turns
from llmos_lite.engines.git_objects import Change
from llmos_lite.engines.git_peer import Credential
from llmos_lite.engines.git_refs import OID, check_branch
from llmos_lite.errors import Invalid, LlmosError, NotFound
from llmos_lite.records.remotes import RemoteRows
from llmos_lite.volumes.access import VolumeRef, check_id
from llmos_lite.volumes.git_volume import GitVolume, author_of

AT_ONCE = 2
"""Imports that run at the same time, one of each person; each may hold a repository of 256 MiB."""
PATIENCE = 600.0
"""Seconds for an update: for all the sources that it asks."""


class SkillImports:
    """Brings skills in, for whoever may write the volume.

    Args:
        skills: writes them.
        fetcher: asks sources.
        dialer: opens the credentials of remotes.
        remotes: their credentials open the same repository for an admin of the volume.
    """

    def __init__(self, skills: SkillService, fetcher: Fetcher, dialer: Dialer, remotes: RemoteRows) -> None:
        self._skills, self._fetcher, self._dialer, self._remotes = skills, fetcher, dialer, remotes
        self._turns, self._locks = Turns(AT_ONCE), LockFiles(dialer.seals)

    async def take(
        self,
        actor: Actor,
        source: Source,
        *,
        volume: VolumeRef | None = None,
        wanted: Collection[str] = (),
        replace_there: bool = False,
        only_look: bool = False,
    ) -> list[Installed]:
        """Bring skills in as one commit, with the lock file.

        Args:
            actor: the person.
            source: where from.
            volume: where to; the actor's own when None.
            wanted: names of skills or plugins; all when empty.
            replace_there: whether a skill that is there and differs is replaced, or refused.
            only_look: write nothing; `status` is `available` for what could come in, with its description.

        Raises:
            Invalid, TooLarge, NotFound, UpstreamFailed: as `Fetcher.fetch`.
            Forbidden, NotFound: as `SkillService.create`.
            Conflict: `lock.broken`.
        """
        ref = volume or actor.volume
        await self._locked(actor, ref)  # one that is broken is told before anything is fetched
        haul = await self._fetched(actor, ref, source, wanted)
        chosen, missing = _chosen(haul, wanted)
        if only_look:
            return [Installed(one.package.name, "available", _about(one.package)) for one in chosen] + missing
        said = dict[str, tuple[bool, str]]()

        def beside(at: GitVolume, done: Sequence[Installed]) -> Mapping[str, Change]:
            noted = self._locks.taken(at, done, chosen, force=replace_there)
            said.update(noted.said)
            return noted.changes

        packages = [one.package for one in chosen]
        done = await self._skills.install(actor, packages, volume=ref, replace=replace_there, beside=beside)
        return [_told(one, *said.get(one.skill_id, (False, ""))) for one in done] + missing

    async def follow(
        self,
        actor: Actor,
        *,
        volume: VolumeRef | None = None,
        wanted: Collection[str] = (),
        force: bool = False,
        only_look: bool = False,
    ) -> list[Followed]:
        """Look at where imported skills come from, and take what is new there as one commit.

        Args:
            actor: the person.
            volume: whose skills; the actor's own when None.
            wanted: ids of skills; all when empty.
            force: overwrite what was edited here.
            only_look: write nothing.

        Raises:
            NotFound: `skill.not_imported`, `volume.unknown`.
            Forbidden: `scope.missing`, `volume.readonly`.
            Conflict: `lock.broken`.
        """
        ref, ends = volume or actor.volume, time.monotonic() + PATIENCE
        handle, locked = await self._locked(actor, ref)
        if unknown := sorted(set(wanted) - locked.keys()):
            raise _not_imported(unknown[0], ref)
        asked = {key: one for key, one in locked.items() if not wanted or key in wanted}
        found = [followed(key, one, "pinned") for key, one in asked.items() if one.pinned]
        for place, group in _by_place({key: one for key, one in asked.items() if not one.pinned}).items():
            found += await self._followed(actor, handle, place, group, ends, force=force, only_look=only_look)
        return sorted(found, key=lambda one: one.skill_id)

    async def pin(self, actor: Actor, skill_id: str, *, volume: VolumeRef | None = None, at: str = "") -> Followed:
        """Keep an imported skill as it is, or at a branch, tag or commit, whatever an update finds.

        Nothing is written when it is not there, or was edited here.

        Raises:
            NotFound: `skill.not_imported`, `source.missing`.
            Invalid: `source.no_ref`, `branch.invalid`, `source.invalid`.
            UpstreamFailed: as `Fetcher.fetch`.
            Forbidden: `volume.readonly`.
            Conflict: `lock.broken`.
        """
        ref = volume or actor.volume
        handle, locked = await self._locked(actor, ref)
        if skill_id not in locked:
            raise _not_imported(skill_id, ref)
        one = _pinned(locked[skill_id], at)
        if not at:
            return followed(skill_id, await self._set(actor, skill_id, ref, lambda now: _pinned(now, "")), "pinned")
        [found] = await self._looked(actor, handle, one.place, {skill_id: one}, math.inf, force=False)
        if found.state.state in {"gone", "refused"}:
            raise NotFound("source.missing", f"{skill_id} is not there at {at}: {found.state.detail}")
        if found.state.state == "available":
            [taken] = await self._taken(actor, ref, [found], {skill_id: one})
            return taken
        if found.state.state == "current":
            await self._set(actor, skill_id, ref, lambda now: _pinned(now, at))
            return replace(found.state, state="pinned")
        return found.state

    async def unpin(self, actor: Actor, skill_id: str, *, volume: VolumeRef | None = None) -> Followed:
        """Let an imported skill follow its source again, as before it was pinned.

        Raises:
            NotFound, Forbidden, Conflict: as `pin`.
        """
        said = await self._set(actor, skill_id, volume or actor.volume, _unpinned)
        return followed(skill_id, said, "current")

    # Below

    async def _fetched(
        self, actor: Actor, ref: VolumeRef, source: Source, wanted: Collection[str], ends: float = math.inf
    ) -> Haul:
        credential = await self._credential(actor, ref, source)
        async with self._turns.of(actor.user_id):
            return await asyncio.to_thread(self._fetcher.fetch, source, wanted, credential, ends=ends)

    async def _credential(self, actor: Actor, ref: VolumeRef, source: Source) -> Credential | None:
        """Return the credential of a remote of the volume: for its own repository, or for whoever gave it.

        Others may write the volume, and are not to read with it what the volume's remote does not have.
        """
        if source.kind != "git" or not may_administer(actor, ref):
            return None
        url = self._dialer.url(source.url)
        ours = [row for row in await self._remotes.all() if row.volume == str(ref) and not row.removed]
        for row in sorted((row for row in ours if row.credential), key=lambda row: row.url != source.url):
            with suppress(Invalid):  # that remote is out of reach by now
                theirs = self._dialer.url(row.url)
                if theirs.repository == url.repository or (
                    theirs.origin == url.origin and row.created_by == actor.user_id
                ):
                    return await asyncio.to_thread(self._dialer.credential, row, url)
        return None

    async def _locked(self, actor: Actor, ref: VolumeRef) -> tuple[GitVolume, dict[str, Locked]]:
        principal = await self._skills.writer(actor, ref)
        handle = await asyncio.to_thread(self._skills.volumes.open, principal, ref)
        return handle, await asyncio.to_thread(self._locks.read, handle)

    async def _looked(
        self,
        actor: Actor,
        handle: GitVolume,
        place: Source | None,
        group: Mapping[str, Locked],
        ends: float,
        *,
        force: bool,
    ) -> list[Look]:
        """Ask a source, and compare its skills with those that came from there."""
        if place is None:
            raise _nowhere(next(iter(group.values())))
        names = {name_of(key, one) for key, one in group.items()}
        haul = await self._fetched(actor, handle.ref, place, names if place.kind == "site" else (), ends)
        return await asyncio.to_thread(
            lambda: [look(handle, key, one, haul, force=force) for key, one in group.items()]
        )

    async def _followed(
        self,
        actor: Actor,
        handle: GitVolume,
        place: Source | None,
        group: Mapping[str, Locked],
        ends: float,
        *,
        force: bool,
        only_look: bool,
    ) -> list[Followed]:
        try:
            looked = await self._looked(actor, handle, place, group, ends, force=force)
        except LlmosError as error:
            state: State = "gone" if error.code in {"source.no_skills", "source.missing"} else "failed"
            return [followed(key, one, state, f"{error.message} {error.hint}".strip()) for key, one in group.items()]
        except ValueError:  # somebody pushed an address that cannot be one
            return [followed(key, one, "failed", "Its entry cannot be read.") for key, one in group.items()]
        if only_look:
            return [one.state for one in looked]
        return await self._taken(actor, handle.ref, looked, group)

    async def _taken(
        self, actor: Actor, ref: VolumeRef, looked: Sequence[Look], pins: Mapping[str, Locked]
    ) -> list[Followed]:
        new = {one.state.skill_id: one for one in looked if one.theirs and one.state.state == "available"}
        chosen = [
            replace(one.theirs, package=replace(one.theirs.package, name=key)) for key, one in new.items() if one.theirs
        ]
        if not chosen:
            return [one.state for one in looked]
        done = await self._skills.install(
            actor,
            [one.package for one in chosen],
            volume=ref,
            expect={key: one.state.version for key, one in new.items()},
            beside=lambda at, done: self._locks.updated(at, done, chosen, pins),
        )
        came = {one.skill_id: one for one in done}
        return [after(one.state, came.get(one.state.skill_id)) for one in looked]

    async def _set(self, actor: Actor, skill_id: str, ref: VolumeRef, change: Callable[[Locked], Locked]) -> Locked:
        principal = await self._skills.writer(actor, ref)

        def write() -> Locked:
            volume = self._skills.volumes.open(principal, ref, write=True)
            with volume.store.lock():
                entries = self._locks.read(volume)
                if check_id(skill_id, "skill") not in entries:
                    raise _not_imported(skill_id, ref)
                new = change(entries[skill_id])
                message = f"{'Pin' if new.pinned else 'Unpin'} skill: {skill_id}"
                if new != entries[skill_id]:
                    changes = self._locks.changed(volume, {skill_id: new})
                    volume.store.commit(changes, message, author_of(actor.user_id))
                return new

        return await asyncio.to_thread(write)


def read_source(text: str, *, ref: str = "", folder: str = "") -> Source:
    """Read where skills come from, as somebody writes it; see `sources`.

    Raises:
        Invalid: `source.invalid`, `branch.invalid`.
    """
    source = parse_source(text, ref=ref, folder=folder)
    if source.ref and not OID.fullmatch(source.ref):
        check_branch(source.ref)
    return source


def _chosen(haul: Haul, wanted: Collection[str]) -> tuple[list[Fetched], list[Installed]]:
    """Return the skills that somebody wants, and why others cannot be had."""
    if not wanted:
        return haul.skills, [Installed(name, "refused", why) for name, why in haul.problems.items()]
    chosen, missing = list[Fetched](), list[Installed]()
    for name in dict.fromkeys(wanted):
        found = [one for one in haul.skills if name in _names(one)]
        chosen += [one for one in found if one not in chosen]
        if not found:
            missing.append(Installed(name, "refused", haul.problems.get(name, "There is no skill of that name there.")))
    return chosen, missing


def _names(one: Fetched) -> set[str]:
    names = {one.package.name, one.plugin, Skill.parse("", one.package.content).name}
    try:
        return names | {id_of(one.package.name)}
    except Invalid:
        return names


def _by_place(locked: Mapping[str, Locked]) -> dict[Source | None, dict[str, Locked]]:
    found: dict[Source | None, dict[str, Locked]] = {}
    for key, one in locked.items():
        found.setdefault(one.place, {})[key] = one
    return found


def _about(package: Package) -> str:
    """Return what a skill says of itself, or why it cannot be had."""
    return package.problem or Skill.parse("", package.content).description or package.path


def _told(one: Installed, refused: bool, said: str) -> Installed:  # noqa: FBT001 - as it was noted
    detail = f"{one.detail} {said}".strip()
    return replace(one, status="refused", detail=detail) if refused else replace(one, detail=detail)


def _pinned(one: Locked, at: str) -> Locked:
    tracked = one.ref if one.tracked is None or not one.pinned else one.tracked
    if not at:
        return replace(one, pinned=True, tracked=tracked)
    if one.kind not in {"github", "git"}:
        raise Invalid("source.no_ref", f"{masked(one.source)} has no versions to pin at.", hint="Pin it as it is.")
    return replace(one, pinned=True, ref=at if OID.fullmatch(at) else check_branch(at), tracked=tracked)


def _unpinned(one: Locked) -> Locked:
    before = "" if OID.fullmatch(one.ref) else one.ref
    return replace(one, pinned=False, ref=before if one.tracked is None else one.tracked, tracked=None)


def _nowhere(one: Locked) -> Invalid:
    if one.sealed:
        return Invalid(
            "source.invalid",
            "Its address holds a credential that cannot be opened in this volume of this server.",
            hint="Import it again with its address and --force.",
        )
    return Invalid("source.invalid", "The lock file names no source that is known here.")


def _not_imported(skill_id: str, ref: VolumeRef) -> NotFound:
    return NotFound(
        "skill.not_imported",
        f"The lock file of {ref} does not say where {skill_id[:80]!r} comes from.",
        hint="Import it again with `llmos skills add SOURCE --force`.",
    )
