"""Catalogs: what a volume, or all that somebody reads, offers to other programs.

Left out is what cannot be used (broken, shadowed, no text of the standard) and what a scanner calls dangerous.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from llmos_lite.core.accounts.permissions import Actor, Scope, Verb, permit, require
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.parcels import Parcel, Seal, parcel_of
from llmos_lite.core.skills.scan import Scanner, Severity, findings
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.versions import Version, current_version, find_version
from llmos_lite.errors import NotFound
from llmos_lite.volumes.access import VolumeRef, check_id
from llmos_lite.volumes.git_volume import GitVolume

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
MOST_OFFERS = 50_000
MOST_CATALOGS = 256

PUBLIC = Actor("public", scopes=frozenset({Scope.SKILLS_READ}), credential="public", reads=frozenset())
"""Whoever has no credential, where the system's catalog is public: reads the system's skills, and nothing else."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A skill of a catalog.

    Args:
        skill_id: its id.
        description: what it does and when to use it.
        volume: where it lives.
        version: Git id of its entry.
        kind: `skill-md`, or `archive`.
        seal: size and digest of what is sent.
    """

    skill_id: str
    description: str
    volume: str
    version: str
    kind: str
    seal: Seal


@dataclass(frozen=True, slots=True)
class Catalog:
    """Offers by id, and the commit of each volume that they were read at."""

    offers: tuple[Offer, ...]
    commits: Mapping[str, str]


class Catalogs:
    """Makes catalogs, and remembers them until a volume changes.

    Args:
        skills: opens volumes for whoever may read them, and knows what shadows what.
        scanners: look at every skill before it is offered; high severity keeps it back.
    """

    def __init__(self, skills: SkillService, scanners: Mapping[str, Scanner] | None = None) -> None:
        self._skills, self._scanners = skills, dict(scanners or {})
        self._offers: _Kept[tuple[str, str, str], Offer | None] = _Kept(MOST_OFFERS)
        self._catalogs: _Kept[tuple[tuple[str, str], ...], Catalog] = _Kept(MOST_CATALOGS)

    async def of(self, actor: Actor, ref: VolumeRef | None = None) -> Catalog:
        """Return what a volume offers; all that the actor reads without one, user over team over system.

        Raises:
            NotFound: `volume.unknown`.
            Forbidden: `scope.missing`.
        """
        require(actor, Scope.SKILLS_READ)
        return await asyncio.to_thread(self._of, actor, ref)

    async def parcel(self, actor: Actor, skill_id: str, ref: VolumeRef | None = None, *, version: str = "") -> Parcel:
        """Return a skill that is offered, or an earlier version of it.

        Raises:
            NotFound: `skill.unknown`, `skill.unknown_version`, `volume.unknown`, also for what is kept back.
            Invalid: `skill.invalid_id`.
            Forbidden: `scope.missing`.
        """
        require(actor, Scope.SKILLS_READ)
        return await asyncio.to_thread(self._parcel, actor, check_id(skill_id, "skill"), ref, version)

    def offered(self, volume: GitVolume, skill: Skill) -> Offer | None:
        """Return a skill of a volume as it is offered; None for one that is kept back."""
        key = (str(volume.ref), skill.skill_id, skill.version)
        if key in self._offers:
            return self._offers.get(key)
        parcel = self.cleared(current_version(volume, skill.skill_id))
        made = _offer(parcel) if parcel is not None and parcel.skill.version == skill.version else None
        if parcel is None or made is not None:  # what changed meanwhile is looked at again
            self._offers.put(key, made)
        return made

    def cleared(self, found: Version) -> Parcel | None:
        """Return a version as it is sent; None for one that is kept back."""
        parcel = parcel_of(found)
        if parcel is None:
            return None
        high = any(one.severity is Severity.HIGH for one in findings(self._scanners, parcel.skill))
        return None if high else parcel

    def _of(self, actor: Actor, ref: VolumeRef | None) -> Catalog:
        manager = self._skills.manager
        libraries = [manager.library_of(self._open(actor, ref))] if ref else manager.libraries(actor)
        key = tuple((str(library.ref), library.commit) for library in libraries)
        found = self._catalogs.get(key)
        if found is None:
            skills = [skill for skill in manager.listed(libraries) if skill.usable]
            handles = {str(library.ref): library.ref for library in libraries}
            offers = [self.offered(self._open(actor, handles[skill.volume]), skill) for skill in skills]
            found = Catalog(tuple(offer for offer in offers if offer is not None), dict(key))
            self._catalogs.put(key, found)
        return found

    def _parcel(self, actor: Actor, skill_id: str, ref: VolumeRef | None, version: str) -> Parcel:
        volume = self._open(actor, ref or self._seen(actor, skill_id))
        found = find_version(volume, skill_id, version) if version else current_version(volume, skill_id)
        parcel = self.cleared(found) if found.skill_id == skill_id else None
        if parcel is None:
            raise NotFound("skill.unknown", f"There is no skill {skill_id!r} in this catalog.")
        return parcel

    def _seen(self, actor: Actor, skill_id: str) -> VolumeRef:
        for library in self._skills.manager.libraries(actor):
            if library.offers(skill_id):
                return library.ref
        raise NotFound("skill.unknown", f"There is no skill {skill_id!r} in this catalog.")

    def _open(self, actor: Actor, ref: VolumeRef) -> GitVolume:
        permit(actor, Verb.READ_SKILLS, ref)
        return self._skills.reading(actor, ref)


def _offer(parcel: Parcel) -> Offer:
    skill = parcel.skill
    described = " ".join(skill.description.split())
    return Offer(skill.skill_id, described, skill.volume, skill.version, parcel.kind, Seal.of(parcel))


class _Kept(Generic[K, V]):
    """The last things that were asked for."""

    def __init__(self, most: int) -> None:
        self._most, self._found = most, OrderedDict[K, V]()
        self._guard = threading.Lock()

    def __contains__(self, key: K) -> bool:
        return key in self._found

    def get(self, key: K) -> V | None:
        with self._guard:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def put(self, key: K, value: V) -> None:
        with self._guard:
            self._found[key] = value
            while len(self._found) > self._most:
                self._found.popitem(last=False)
