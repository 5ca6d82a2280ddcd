"""Import skills from elsewhere, with a lock file in the volume, and follow what becomes of them there.

An update is a three-way look: what came in (the lock's tree), what stands here, what is there now. A skill that was
edited here is told, and never overwritten unless somebody says so.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from llmos_lite.core.accounts.permissions import Actor, may_administer
from llmos_lite.core.remotes.dialing import Dialer
from llmos_lite.core.skills.exporting import files_of
from llmos_lite.core.skills.fetching import Fetched, Fetcher, Haul
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.install import Installed, id_of
from llmos_lite.core.skills.lockfile import Locked, dump_lock, read_lock
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.sources import Source, parse_source
from llmos_lite.core.skills.turns import Turns
from llmos_lite.core.skills.versions import current_version
from llmos_lite.engines.git_diff import is_binary, unified
from llmos_lite.engines.git_objects import Change, File, tree_id
from llmos_lite.engines.git_peer import Credential
from llmos_lite.engines.git_refs import OID, check_branch
from llmos_lite.errors import Invalid, LlmosError, NotFound
from llmos_lite.records.remotes import RemoteRows
from llmos_lite.volumes.access import VolumeRef, check_id
from llmos_lite.volumes.git_volume import GitVolume, author_of
from llmos_lite.volumes.skill_paths import LOCK

AT_ONCE = 2
"""Imports that run at the same time, one of each person; each may hold a repository of 256 MiB."""
PATIENCE = 600.0
"""Seconds for an update: for all the sources that it asks."""
LARGEST_COMPARED, MOST_DIFF = 512 << 10, 1 << 20
"""Bytes of a file whose lines are compared, and characters of all diffs."""

State = Literal["current", "available", "updated", "edited", "pinned", "gone", "removed", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Followed:
    """An imported skill, and what became of it.

    Args:
        skill_id: its id here.
        state: `current`: nothing new there; `available`, `updated`: something is, and was not or was taken; `edited`:
            something is, and it was edited here; `pinned`: it was not looked at; `gone`: it is not there any more;
            `removed`: it is not here any more; `refused`, `failed`: see `detail`.
        source: where it comes from, for people.
        ref: branch, tag or commit.
        detail: why, where there is something to say.
        diff: from here to there, unified.
        version: Git id of what stands here.
    """

    skill_id: str
    state: State
    source: str = ""
    ref: str = ""
    detail: str = ""
    diff: str = ""
    version: str = ""


class SkillImports:
    """Brings skills in, for whoever may write the volume.

    Args:
        skills: writes them.
        fetcher: asks sources.
        dialer: opens the credentials of remotes.
        remotes: an admin of a volume may use the credential of its remote for the same host.
    """

    def __init__(self, skills: SkillService, fetcher: Fetcher, dialer: Dialer, remotes: RemoteRows) -> None:
        self._skills, self._fetcher, self._dialer, self._remotes = skills, fetcher, dialer, remotes
        self._turns = Turns(AT_ONCE)

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
            only_look: write nothing; `status` is `created` for what could come in.

        Raises:
            Invalid, TooLarge, NotFound, UpstreamFailed: as `Fetcher.fetch`.
            Forbidden, NotFound: as `SkillService.create`.
        """
        ref = volume or actor.volume
        await self._skills.writer(actor, ref)
        haul = await self._fetched(actor, ref, source, wanted)
        chosen, missing = _chosen(haul, wanted)
        if only_look:
            return [Installed(one.package.name, "created", one.locked.path) for one in chosen] + missing
        packages = [one.package for one in chosen]
        done = await self._skills.install(
            actor, packages, volume=ref, replace=replace_there, beside=lambda at, done: _noted(at, done, chosen)
        )
        return done + missing

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
        """
        return await self._follow(actor, volume or actor.volume, wanted, force=force, only_look=only_look)

    async def _follow(
        self,
        actor: Actor,
        ref: VolumeRef,
        wanted: Collection[str],
        *,
        force: bool = False,
        only_look: bool = False,
        pinned_too: bool = False,
    ) -> list[Followed]:
        principal = await self._skills.writer(actor, ref)
        handle = await asyncio.to_thread(self._skills.volumes.open, principal, ref)
        locked = await asyncio.to_thread(read_lock, handle)
        if unknown := sorted(set(wanted) - locked.keys()):
            raise _not_imported(unknown[0], ref)
        asked = {key: one for key, one in locked.items() if not wanted or key in wanted}
        pinned = [key for key, one in asked.items() if one.pinned and not pinned_too]
        found = [Followed(key, "pinned", asked[key].source, asked[key].ref) for key in pinned]
        ends = time.monotonic() + PATIENCE
        for place, ids in _by_place({key: one for key, one in asked.items() if key not in pinned}).items():
            group = {key: asked[key] for key in ids}
            found += await self._followed(actor, handle, place, group, ends, force=force, only_look=only_look)
        return sorted(found, key=lambda one: one.skill_id)

    async def pin(self, actor: Actor, skill_id: str, *, volume: VolumeRef | None = None, at: str = "") -> Followed:
        """Keep an imported skill as it is, or at a branch, tag or commit, whatever an update finds.

        Raises:
            NotFound: `skill.not_imported`.
            Invalid: `source.no_ref`, `branch.invalid`.
            Forbidden: `volume.readonly`.
        """
        ref = volume or actor.volume
        said = await self._set(actor, skill_id, ref, lambda one: _pinned(one, at))
        if not at:
            return Followed(skill_id, "pinned", said.source, said.ref)
        [found] = await self._follow(actor, ref, [skill_id], pinned_too=True)
        return found

    async def unpin(self, actor: Actor, skill_id: str, *, volume: VolumeRef | None = None) -> Followed:
        """Let an imported skill follow its source again; a commit that it was pinned at gives way to what is newest.

        Raises:
            NotFound, Forbidden: as `pin`.
        """
        ref = volume or actor.volume
        said = await self._set(actor, skill_id, ref, _unpinned)
        return Followed(skill_id, "current", said.source, said.ref)

    # Below

    async def _fetched(
        self, actor: Actor, ref: VolumeRef, source: Source, wanted: Collection[str], ends: float = math.inf
    ) -> Haul:
        credential = await self._credential(actor, ref, source)
        async with self._turns.of(actor.user_id):
            return await asyncio.to_thread(self._fetcher.fetch, source, wanted, credential, ends=ends)

    async def _credential(self, actor: Actor, ref: VolumeRef, source: Source) -> Credential | None:
        """Return the credential that the volume has for a host, for an admin of the volume."""
        if source.kind != "git" or not may_administer(actor, ref):
            return None
        url = self._dialer.url(source.url)
        for row in await self._remotes.all():
            ours = row.volume == str(ref) and not row.removed and row.credential
            if ours and self._dialer.url(row.url).origin == url.origin:
                return await asyncio.to_thread(self._dialer.credential, row, url)
        return None

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
        names = {_name_of(key, one) for key, one in group.items()}
        try:
            if place is None:
                raise Invalid("source.invalid", "The lock file names a kind of source that is unknown here.")
            haul = await self._fetched(actor, handle.ref, place, names if place.kind == "site" else (), ends)
        except LlmosError as error:
            gone = error.code in {"source.no_skills", "source.missing"}
            state: State = "gone" if gone else "failed"
            return [Followed(key, state, one.source, one.ref, error.message) for key, one in group.items()]
        looked = await asyncio.to_thread(
            lambda: [_look(handle, key, one, haul, force=force) for key, one in group.items()]
        )
        if only_look or not any(one.theirs and one.state.state == "available" for one in looked):
            return [one.state for one in looked]
        return await self._taken(actor, handle.ref, looked)

    async def _taken(self, actor: Actor, ref: VolumeRef, looked: Sequence[_Look]) -> list[Followed]:
        new = {one.state.skill_id: one for one in looked if one.theirs and one.state.state == "available"}
        chosen = [
            replace(one.theirs, package=replace(one.theirs.package, name=key)) for key, one in new.items() if one.theirs
        ]
        done = await self._skills.install(
            actor,
            [one.package for one in chosen],
            volume=ref,
            expect={key: one.state.version for key, one in new.items()},
            beside=lambda at, done: _noted(at, done, chosen, keep=True),
        )
        came = {one.skill_id: one for one in done}
        return [_after(one.state, came.get(one.state.skill_id)) for one in looked]

    async def _set(self, actor: Actor, skill_id: str, ref: VolumeRef, change: Callable[[Locked], Locked]) -> Locked:
        principal = await self._skills.writer(actor, ref)

        def write() -> Locked:
            volume = self._skills.volumes.open(principal, ref, write=True)
            with volume.store.lock():
                entries = read_lock(volume)
                if check_id(skill_id, "skill") not in entries:
                    raise _not_imported(skill_id, ref)
                entries[skill_id] = change(entries[skill_id])
                message = f"{'Pin' if entries[skill_id].pinned else 'Unpin'} skill: {skill_id}"
                volume.store.commit({LOCK: dump_lock(entries)}, message, author_of(actor.user_id))
                return entries[skill_id]

        return await asyncio.to_thread(write)


@dataclass(frozen=True, slots=True)
class _Look:
    """What an update found out about a skill, and what it would take."""

    state: Followed
    theirs: Fetched | None = None


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


def _noted(
    volume: GitVolume, done: Sequence[Installed], chosen: Sequence[Fetched], *, keep: bool = False
) -> dict[str, Change]:
    """Return the lock file with what came in; skills that are gone from the volume go from it, too.

    Args:
        volume: whose.
        done: what came of each of `chosen`, in order.
        chosen: what was to come in.
        keep: whether pins and the keys of others stay.
    """
    before = read_lock(volume)
    after = {key: one for key, one in before.items() if volume.skill_entry(key) is not None}
    for one, fetched in zip(done, chosen, strict=True):
        if one.status != "refused":
            old = before.get(one.skill_id) if keep else None
            kept = {"pinned": old.pinned, "more": old.more} if old else {}
            after[one.skill_id] = replace(fetched.locked, tree_id=one.version, **kept)  # type: ignore[arg-type]  # as they are
    return {LOCK: dump_lock(after)} if after != before else {}


def _by_place(locked: Mapping[str, Locked]) -> dict[Source | None, list[str]]:
    found: dict[Source | None, list[str]] = {}
    for key, one in locked.items():
        found.setdefault(one.place, []).append(key)
    return found


def _name_of(skill_id: str, one: Locked) -> str:
    """Return the name of the skill where it comes from: of its folder there."""
    parts = one.path.split("/")
    return parts[-2] if len(parts) > 1 else skill_id


def _look(handle: GitVolume, skill_id: str, locked: Locked, haul: Haul, *, force: bool) -> _Look:
    """Compare what came in, what stands here and what is there."""
    there = Followed(skill_id, "current", locked.source, locked.ref)
    here = current_version(handle, skill_id)
    if not here.version:
        return _Look(replace(there, state="removed", detail="It is not here any more."))
    there = replace(there, version=here.version)
    theirs = next((one for one in haul.skills if one.locked.path == locked.path), None)
    if theirs is None:
        why = haul.problems.get(_name_of(skill_id, locked), "It is not there any more.")
        return _Look(replace(there, state="gone", detail=why))
    if theirs.package.problem:
        return _Look(replace(there, state="refused", detail=theirs.package.problem))
    files = theirs.package.all_files()
    coming = tree_id(files)
    if coming in {locked.tree_id, here.version} or theirs.locked.computed_hash == locked.computed_hash:
        edited = here.version not in {locked.tree_id, coming}
        return _Look(replace(there, detail="It was edited here." if edited else ""))
    there = replace(there, diff=_diff(skill_id, files_of(here), files))
    if here.version != locked.tree_id and not force:
        said = "It was edited here, and is left alone: compare, then use --force, or keep yours with a pin."
        return _Look(replace(there, state="edited", detail=said))
    return _Look(replace(there, state="available"), theirs)


def _after(state: Followed, came: Installed | None) -> Followed:
    if came is None:
        return state
    if came.status == "refused":
        return replace(state, state="refused", detail=came.detail)
    return replace(state, state="updated", detail=came.detail, version=came.version)


def _diff(skill_id: str, old: Mapping[str, File], new: Mapping[str, File]) -> str:
    return "".join(_patches(f"skills/{skill_id}/", old, new))


def _patches(lead: str, old: Mapping[str, File], new: Mapping[str, File]) -> Iterator[str]:
    left = MOST_DIFF
    for path in sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name)):
        sides = [file.data if file else None for file in (old.get(path), new.get(path))]
        known = [data for data in sides if data is not None]
        if any(is_binary(data) or len(data) > LARGEST_COMPARED for data in known):
            yield f"# {lead}{path} differs; it is no text, or too long to show.\n"
            continue
        text = unified(sides[0], sides[1], lead + path, lead + path).text or f"# {lead}{path}: may it be run?\n"
        left -= len(text)
        yield text if left > 0 else f"# {lead}{path} differs.\n"


def _pinned(one: Locked, at: str) -> Locked:
    if not at:
        return replace(one, pinned=True)
    if one.kind not in {"github", "git"}:
        raise Invalid("source.no_ref", f"{one.source} has no versions to pin at.", hint="Pin it as it is.")
    return replace(one, pinned=True, ref=at if OID.fullmatch(at) else check_branch(at))


def _unpinned(one: Locked) -> Locked:
    return replace(one, pinned=False, ref="" if OID.fullmatch(one.ref) else one.ref)


def _not_imported(skill_id: str, ref: VolumeRef) -> NotFound:
    return NotFound(
        "skill.not_imported",
        f"The lock file of {ref} does not say where {skill_id[:80]!r} comes from.",
        hint="Import it again with `llmos skills add SOURCE --force`.",
    )
