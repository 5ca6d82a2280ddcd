"""Catalogs: what a volume, or all that somebody reads, offers to other programs.

Left out is what cannot be used (broken, shadowed, no text of the standard) and what a scanner calls dangerous, unless
a reviewer stands for exactly that version.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from llmos_lite.core.accounts.permissions import Actor, Scope, Verb, permit, require
from llmos_lite.core.skills.catalog_index import CatalogIndex, Offer
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.guard import Guard
from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.named import Named
from llmos_lite.core.skills.parcels import Parcel, Seal, parcel_of
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.versions import Version, find_version, read_version
from llmos_lite.errors import NotFound
from llmos_lite.volumes.access import VolumeRef, check_id
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.skill_paths import SkillEntry

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_Key: TypeAlias = tuple[tuple[str, str, frozenset[str]], ...]
"""Of each library the volume, the commit, and what is held back."""
MOST_OFFERS = 50_000
MOST_CATALOGS = 256
MOST_INDEX_BYTES = 64 << 20
"""Bytes of indexes in memory; one of 10,000 skills takes 5 MB."""

PUBLIC = Actor("public", scopes=frozenset({Scope.SKILLS_READ}), credential="public", reads=frozenset())
"""Whoever has no credential, where the system's catalog is public: reads the system's skills, and nothing else."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """Offers by id, the commit of each volume that they were read at, and what is held back as dangerous."""

    offers: tuple[Offer, ...]
    commits: Mapping[str, str]
    held: tuple[Offer, ...] = ()


class Catalogs:
    """Makes catalogs, and remembers them until a volume changes.

    Args:
        skills: opens volumes for whoever may read them, and knows what shadows what.
        guard: says what is held back.
    """

    def __init__(self, skills: SkillService, guard: Guard) -> None:
        self._skills, self._guard = skills, guard
        self._named = Named(skills.volumes)
        self._told: Catalog | None = None
        """The last catalog that strangers were given."""
        self._offers: Kept[tuple[str, str, str], Offer | None] = Kept(MOST_OFFERS)
        self._catalogs: Kept[_Key, Catalog] = Kept(MOST_CATALOGS)
        self._indexes: Kept[_Key, CatalogIndex] = Kept(MOST_INDEX_BYTES, lambda index: index.weight)

    async def of(self, actor: Actor, ref: VolumeRef | None = None) -> Catalog:
        """Return what a volume offers; all that the actor reads without one, user over team over system.

        Raises:
            NotFound: `volume.unknown`.
            Forbidden: `scope.missing`.
        """
        require(actor, Scope.SKILLS_READ)
        return await asyncio.to_thread(self._of, actor, ref)

    async def index(self, actor: Actor, ref: VolumeRef | None = None, *, packed: bool = False) -> CatalogIndex:
        """Return the same as clients read it.

        Args:
            actor: who asks.
            ref: see `of`.
            packed: whether its `packed` is wanted, too, which is made elsewhere than where everybody is answered.

        Raises:
            NotFound, Forbidden: as `of`.
        """
        require(actor, Scope.SKILLS_READ)

        def made() -> CatalogIndex:
            index = self._index(actor, ref)
            _ = packed and index.packed
            return index

        return await asyncio.to_thread(made)

    async def parcel(self, actor: Actor, skill_id: str, ref: VolumeRef | None = None, *, version: str = "") -> Parcel:
        """Return a skill that is offered, or an earlier version of it.

        Raises:
            NotFound: `skill.unknown`, `skill.unknown_version`, `volume.unknown`, also for what is kept back.
            Invalid: `skill.invalid_id`.
            Forbidden: `scope.missing`.
        """
        require(actor, Scope.SKILLS_READ)
        return await asyncio.to_thread(self._parcel, actor, check_id(skill_id, "skill"), ref, version)

    @property
    def rules(self) -> str:
        """Return what names the rules that things are held back by."""
        return self._guard.rules

    def look_at(self, volume: GitVolume) -> None:
        """Find what is held back of a volume as it stands, quicker than by asking `holds` for each skill."""
        self._guard.look_at(volume.ref, volume.list_skills())

    def holds(self, volume: GitVolume, entry: SkillEntry) -> bool:
        """Tell whether a skill is held back as dangerous, whatever it is worth otherwise."""
        return self._guard.holds_entry(volume.ref, entry)

    def cleared(self, volume: GitVolume, found: Version) -> Parcel | None:
        """Return a version as it is sent; None for one that cannot be sent, or is dangerous and not signed off."""
        parcel = parcel_of(found)
        return parcel if parcel is not None and not self._guard.holds(volume, found) else None

    def _looked_at(self, volume: GitVolume, skill: Skill) -> Offer | None:
        """Return a skill of a volume as it would be offered, whatever scanners say; kept for its version."""
        key = (str(volume.ref), skill.skill_id, skill.version)
        if key not in self._offers:
            found = read_version(volume, skill.skill_id, skill.version)
            parcel = parcel_of(found)
            self._offers.put(key, None if parcel is None else _offer(parcel))
        return self._offers.get(key)

    def _made(self, actor: Actor, libraries: Sequence[Library]) -> Catalog:
        seen = [one for one in self._skills.manager.listed(libraries) if one.error is None and not one.shadowed_by]
        opened = {name: self._open(actor, VolumeRef.parse(name)) for name in {skill.volume for skill in seen}}
        found = [(skill, self._looked_at(opened[skill.volume], skill)) for skill in seen]
        offers = tuple(offer for skill, offer in found if offer is not None and not skill.held)
        held = tuple(offer for skill, offer in found if offer is not None and skill.held)
        return Catalog(offers, {str(one.ref): one.commit for one in libraries}, held)

    def _libraries(self, actor: Actor, ref: VolumeRef | None) -> Sequence[Library]:
        manager = self._skills.manager
        return [manager.library_of(self._open(actor, ref))] if ref else manager.libraries(actor)

    def _of(self, actor: Actor, ref: VolumeRef | None) -> Catalog:
        libraries = self._libraries(actor, ref)
        return self._catalog(actor, libraries, _key(libraries))

    def _index(self, actor: Actor, ref: VolumeRef | None) -> CatalogIndex:
        libraries = self._libraries(actor, ref)
        key = _key(libraries)
        catalog = self._catalog(actor, libraries, key)  # strangers are told, whoever asked before
        found = self._indexes.get(key)
        if found is None:
            found = CatalogIndex.of(catalog.offers)
            self._indexes.put(key, found)
        return found

    def _catalog(self, actor: Actor, libraries: Sequence[Library], key: _Key) -> Catalog:
        found = self._catalogs.get(key)
        if found is None:
            found = self._made(actor, libraries)
            self._catalogs.put(key, found)
        if actor == PUBLIC and found is not self._told:
            self._named.add((offer.skill_id, offer.version) for offer in found.offers)
            self._told = found
        return found

    def _parcel(self, actor: Actor, skill_id: str, ref: VolumeRef | None, version: str) -> Parcel:
        library = next((one for one in self._libraries(actor, ref) if one.offers(skill_id)), None)
        parcel = self._sent(actor, library, skill_id, version) if library is not None else None
        if parcel is None:
            raise NotFound("skill.unknown", f"There is no skill {skill_id!r} in this catalog.")
        return parcel

    def _sent(self, actor: Actor, library: Library, skill_id: str, version: str) -> Parcel | None:
        """Return a skill that stands, as it is or as it was; a stranger gets only what a public catalog has named."""
        volume, now = self._open(actor, library.ref), library.skills[skill_id].version
        if version in {"", now}:
            return parcel_of(read_version(volume, skill_id, now))
        if actor == PUBLIC:
            if not self._named.has(skill_id, version):
                return None
            with suppress(NotFound):  # a scrub may have taken it out of the history
                return self.cleared(volume, read_version(volume, skill_id, version))
            return None
        found = find_version(volume, skill_id, version)
        return self.cleared(volume, found) if found.skill_id == skill_id else None

    def _open(self, actor: Actor, ref: VolumeRef) -> GitVolume:
        permit(actor, Verb.READ_SKILLS, ref)
        return self._skills.reading(actor, ref)


def _key(libraries: Sequence[Library]) -> _Key:
    return tuple((str(one.ref), one.commit, frozenset(one.held)) for one in libraries)


def _offer(parcel: Parcel) -> Offer:
    skill = parcel.skill
    described = " ".join(skill.description.split())
    return Offer(skill.skill_id, described, skill.volume, skill.version, parcel.kind, Seal.of(parcel))


class Kept(Generic[K, V]):
    """The last things that were asked for.

    Args:
        most: that are kept.
        weigh: as how many something counts.
    """

    def __init__(self, most: int, weigh: Callable[[V], int] = lambda _: 1) -> None:
        self._most, self._weigh, self._found = most, weigh, OrderedDict[K, V]()
        self._weight = 0
        self._guard = threading.Lock()

    def __contains__(self, key: K) -> bool:
        return key in self._found

    def get(self, key: K) -> V | None:
        """Return what was put, or None."""
        with self._guard:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def put(self, key: K, value: V) -> None:
        """Keep something; what was asked for longest ago goes."""
        with self._guard:
            if key in self._found:
                self._weight -= self._weigh(self._found.pop(key))
            self._found[key] = value
            self._weight += self._weigh(value)
            while self._weight > self._most:
                self._weight -= self._weigh(self._found.popitem(last=False)[1])
