"""Skills as a registry has them: a slug, and numbered versions, for clients that know no Git.

A slug is the id of a skill as its reader sees it (own over team over system), or `team--id` for a team's. Version
`1.0.N` is the Nth that the history of `main` has of a skill, beyond its renames: a number is not given twice, unless
history is rewritten.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.skills.catalogs import Catalogs, Kept
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.parcels import Parcel
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.versions import newest, read_version
from llmos_lite.errors import NotFound
from llmos_lite.volumes.access import SYSTEM, VolumeRef, check_id
from llmos_lite.volumes.following import history
from llmos_lite.volumes.git_volume import GitVolume

T = TypeVar("T")
LATEST = "latest"
MOST_RESOLVED = 50
"""Versions that are compared with what somebody has on the disk."""
_CACHED = 4096
_NUMBER = re.compile(r"1\.0\.([1-9][0-9]{0,8})")
_ORDER = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz"
"""How CLDR's root collation orders ASCII; a client sorts paths by it."""


@dataclass(frozen=True, slots=True)
class Release:
    """A version of a skill: its number, its Git id, its id then, when it was made (ms since the epoch), and why."""

    number: int
    version: str
    skill_id: str
    time: int
    subject: str

    @property
    def name(self) -> str:
        """Return the version as clients write it."""
        return f"1.0.{self.number}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A skill of a registry with its releases, newest first."""

    slug: str
    skill: Skill
    releases: tuple[Release, ...]

    @property
    def owner(self) -> str:
        """Return the handle of the volume: `system`, or the id of the team or person."""
        return owner_of(self.skill)

    @property
    def latest(self) -> Release:
        """Return the newest release."""
        return self.releases[0]

    def release(self, name: str = "") -> Release:
        """Return a release by its name; the newest for none.

        Raises:
            NotFound: `skill.unknown_version`.
        """
        if name in {"", LATEST}:
            return self.latest
        found = _NUMBER.fullmatch(name)
        place = self.latest.number - int(found[1]) if found else -1
        if not 0 <= place < len(self.releases):
            raise NotFound("skill.unknown_version", f"{self.slug} has no version {name[:40]!r}.")
        return self.releases[place]


class Registry:
    """What a registry's protocol asks for.

    Args:
        skills: finds and opens.
        catalogs: knows what is offered.
    """

    def __init__(self, skills: SkillService, catalogs: Catalogs) -> None:
        self._skills, self._catalogs = skills, catalogs
        self._releases: Kept[tuple[VolumeRef, str, str], tuple[Release, ...]] = Kept(_CACHED)

    async def page(
        self, actor: Actor, *, prefix: str = "", limit: int = 25, cursor: str = ""
    ) -> tuple[list[Entry], str | None]:
        """Return skills that the actor may have, by slug, and where the next page begins.

        Raises:
            Forbidden: `scope.missing`.
        """
        seen = await self._skills.load_skills_for_user(actor)
        wanted = [one for one in await self._offered(actor, seen) if one.skill_id.startswith(prefix)]
        left = [one for one in wanted if one.skill_id > cursor]
        more = left[limit - 1].skill_id if len(left) > limit else None
        return await self._entries(actor, left[:limit]), more

    async def search(
        self, actor: Actor, query: str, *, limit: int = 25, exact: bool = False
    ) -> list[tuple[Entry, float]]:
        """Return what fits a query with its score, best first; or the skill of exactly that slug."""
        if exact:
            return [(one, 1.0) for one in (await self.page(actor, prefix=query, limit=1))[0] if one.slug == query]
        page = await self._skills.page(actor, query=query, limit=limit)
        scores = {one.skill.skill_id: one.score or 0.0 for one in page.items if one.skill.usable}
        found = await self._offered(actor, [one.skill for one in page.items])
        return [(entry, scores[entry.slug]) for entry in await self._entries(actor, found)]

    async def find(self, actor: Actor, slug: str, owner: str = "") -> Entry:
        """Return a skill by its slug, of a volume when its owner is named.

        Raises:
            NotFound: `skill.unknown`, also for one that is kept back.
            Invalid: `skill.invalid_id`.
        """
        ref, skill_id = _placed(actor, slug, owner)
        parcel = await self._catalogs.parcel(actor, skill_id, ref)
        (entry,) = await self._entries(actor, [parcel.skill])
        return Entry(slug, entry.skill, entry.releases)

    async def parcel(self, actor: Actor, entry: Entry, release: Release) -> Parcel:
        """Return a release as it is sent.

        Raises:
            NotFound: `skill.unknown_version`, also for one that is kept back.
        """
        return await self._read(actor, entry.skill, lambda volume: self._parcel(volume, entry, release))

    async def resolve(self, actor: Actor, entry: Entry, fingerprint: str) -> Release | None:
        """Return the release that somebody has, by the fingerprint of its files; None for none of the last ones."""
        return await self._read(actor, entry.skill, lambda volume: self._resolved(volume, entry, fingerprint))

    async def _offered(self, actor: Actor, skills: Sequence[Skill]) -> list[Skill]:
        offers = {(one.volume, one.skill_id) for one in (await self._catalogs.of(actor)).offers}
        return [one for one in skills if one.usable and (one.volume, one.skill_id) in offers]

    async def _entries(self, actor: Actor, skills: Sequence[Skill]) -> list[Entry]:
        return await asyncio.to_thread(lambda: [self._entry(actor, skill) for skill in skills])

    def _entry(self, actor: Actor, skill: Skill) -> Entry:
        volume = self._skills.reading(actor, VolumeRef.parse(skill.volume))
        key = (volume.ref, skill.skill_id, skill.version)
        found = self._releases.get(key)
        if found is None:
            found = releases_of(volume, skill.skill_id)
            self._releases.put(key, found)
        return Entry(skill.skill_id, skill, found)

    async def _read(self, actor: Actor, skill: Skill, work: Callable[[GitVolume], T]) -> T:
        ref = VolumeRef.parse(skill.volume)
        return await asyncio.to_thread(lambda: work(self._skills.reading(actor, ref)))

    def _parcel(self, volume: GitVolume, entry: Entry, release: Release) -> Parcel:
        parcel = self._catalogs.cleared(volume, read_version(volume, release.skill_id, release.version))
        if parcel is None:
            raise NotFound("skill.unknown_version", f"{entry.slug} {release.name} is not given away.")
        return parcel

    def _resolved(self, volume: GitVolume, entry: Entry, fingerprint: str) -> Release | None:
        for release in entry.releases[:MOST_RESOLVED]:
            parcel = self._catalogs.cleared(volume, read_version(volume, release.skill_id, release.version))
            if parcel is not None and fingerprint_of(parcel) == fingerprint:
                return release
        return None


def releases_of(volume: GitVolume, skill_id: str) -> tuple[Release, ...]:
    """Return the releases of a skill that stands in `main`, newest first."""
    changes = [one for one in history(volume.store, newest(volume, skill_id)) if one.version]
    return tuple(
        Release(len(changes) - place, one.version, one.skill_id, one.commit.time, one.commit.subject)
        for place, one in enumerate(changes)
    )


def owner_of(skill: Skill) -> str:
    """Return the handle of a skill's volume."""
    return skill.volume.rpartition(":")[2]


def fingerprint_of(parcel: Parcel) -> str:
    """Return what a client computes of a folder: SHA-256 over path and SHA-256 of each file that is not hidden."""
    shown = [path for path in parcel.files if not any(part.startswith(".") for part in path.split("/"))]
    lines = [f"{path}:{hashlib.sha256(parcel.read(path)).hexdigest()}" for path in sorted(shown, key=collated)]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def collated(path: str) -> tuple[list[int], list[bool]]:
    """Return a key by which paths sort as in a client's `localeCompare`: by letters, then small before large."""
    order = [_ORDER.find(char) if char in _ORDER else 1000 + ord(char) for char in path.lower()]
    return order, [char.isupper() for char in path]


def _placed(actor: Actor, slug: str, owner: str) -> tuple[VolumeRef | None, str]:
    """Return the volume that a slug or an owner names, None for what the actor sees; and the id of the skill."""
    team, dashes, rest = slug.partition("--")
    if dashes:
        return VolumeRef.team(team), check_id(rest, "skill")
    skill_id = check_id(slug, "skill")
    if not owner:
        return None, skill_id
    if owner == str(SYSTEM):
        return SYSTEM, skill_id
    own = owner == actor.user_id and owner not in actor.teams
    return (VolumeRef.user(owner) if own else VolumeRef.team(owner)), skill_id
