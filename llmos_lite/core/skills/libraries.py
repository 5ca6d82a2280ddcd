"""The libraries that somebody sees, in memory as long as their volumes do not change.

What is cached belongs to a volume and a commit, so people share it; a warm call only asks each volume for its head.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from operator import is_
from typing import Protocol

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.lru import Lru
from llmos_lite.core.skills.sight import Sight
from llmos_lite.core.skills.text import Analyzer
from llmos_lite.core.skills.together import Together
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

CACHED_LIBRARIES = CACHED_SIGHTS = 1000
CACHED_TOGETHER = 256


class Watch(Protocol):
    """Knows what is unsafe; see `guard.Guard`."""

    def codes(self, skill: Skill) -> tuple[str, ...]:
        """Return the codes of what stands against a version; none for a clean one."""

    def all_codes(self, skills: Sequence[Skill]) -> list[tuple[str, ...]]:
        """Return the same for many skills, in their order."""

    def signed(self, volumes: Iterable[str]) -> frozenset[str]:
        """Return the versions that somebody stands for in one of these volumes."""

    def withholds(self, skill: Skill, among: Iterable[str] = ()) -> bool:
        """Tell whether a version is unsafe and nobody stands for it, in its volume or in one of these."""


class Libraries:
    """Loads libraries.

    Args:
        volumes: where the skills live.
        watch: says which skills are unsafe, and which of them somebody stands for; None lets all in.
    """

    def __init__(self, volumes: VolumeManager, watch: Watch | None = None) -> None:
        self._volumes, self._watch = volumes, watch
        self._analyzer = Analyzer()
        self._libraries: Lru[VolumeRef, Library] = Lru(CACHED_LIBRARIES)
        self._sieved: Lru[VolumeRef, tuple[Library, frozenset[str], Library]] = Lru(CACHED_LIBRARIES)
        self._together: Lru[str, Together] = Lru(CACHED_TOGETHER)
        self._sights: dict[tuple[str | None, ...], Sight] = {}
        self._guard = threading.Lock()
        self._loading: dict[VolumeRef, threading.Lock] = {}

    def libraries(self, actor: Actor, team_id: str | None = None) -> Together:
        """Return the libraries that the actor sees, the one that wins first."""
        sight = self.sight(actor, team_id)
        found: list[Library] = []
        for ref, head in zip(sight.refs, self._volumes.heads(actor.principal, sight.refs), strict=True):
            known = self._libraries.get(ref)
            found.append(known if known is not None and known.commit == head else self._load(actor, ref))
        return self._joined(sight, found)

    def in_memory(self, actor: Actor, team_id: str | None = None) -> Together | None:
        """Return the libraries that the actor sees, or None when one has to be opened or read."""
        sight = self.sight(actor, team_id)
        heads = self._volumes.heads_at_hand(actor.principal, sight.refs)
        if heads is None:
            return None
        last = self._together.get(sight.names)
        if last is not None and last.heads == heads and last.is_safe:
            return last
        found: list[Library] = []
        for ref, head in zip(sight.refs, heads, strict=True):
            known = self._libraries.get(ref)
            if known is None or known.commit != head:
                return None
            found.append(known)
        return self._joined(sight, found)

    def _joined(self, sight: Sight, libraries: list[Library]) -> Together:
        """Return libraries together, without what is held back; made once while nothing changes."""
        found, last = self._sifted(libraries), self._together.get(sight.names)
        if last is None or not all(map(is_, last, found)):
            last = Together(found)
            self._together.put(sight.names, last)
        return last

    def sight(self, actor: Actor, team_id: str | None = None) -> Sight:
        """Return what the actor sees; it is found out once for each actor, whose rights never change.

        Raises:
            NotFound: `volume.unknown`, for a team that the actor is not in.
        """
        key = actor.user_id, actor.credential, actor.client, team_id
        known = self._sights.get(key)
        if known is None or known.actor is not actor:
            if len(self._sights) >= CACHED_SIGHTS:
                self._sights.clear()
            known = self._sights[key] = Sight(actor, team_id)
        return known

    def _sifted(self, libraries: list[Library]) -> list[Library]:
        """Return libraries with what nobody stands for; a sign-off in one counts for the same folder in another."""
        if self._watch is None or not any(library.unsafe for library in libraries):
            return libraries
        signed = self._watch.signed([library.name for library in libraries if library.commit])
        return [self._sifted_by(signed, library) if library.unsafe else library for library in libraries]

    def _sifted_by(self, signed: frozenset[str], library: Library) -> Library:
        """Return a library without what nobody stands for; made once while nothing changes."""
        known = self._sieved.get(library.ref)
        if known is not None and known[0] is library and known[1] == signed:
            return known[2]
        sieved = library.sifted(signed)
        self._sieved.put(library.ref, (library, signed, sieved))
        return sieved

    def library_of(self, volume: GitVolume) -> Library:
        """Return the library of a volume that somebody has opened, as it is now; its own sign-offs count."""
        return self._sifted([self._read(volume)])[0]

    def _read(self, volume: GitVolume) -> Library:
        with self._guard:
            loading = self._loading.setdefault(volume.ref, threading.Lock())
        with loading:  # one thread reads it, the others wait
            commit = volume.store.head() or ""
            known = self._libraries.get(volume.ref) or Library.empty(volume.ref, self._analyzer)
            if known.commit != commit:
                before, known = known, known.at(volume.store, commit)
                known = known.judged(self._watch.all_codes, before) if self._watch else known
            self._libraries.put(volume.ref, known)
        return known

    def _load(self, actor: Actor, ref: VolumeRef) -> Library:
        if self._volumes.exists(ref):
            return self._read(self._volumes.open(actor.principal, ref))
        nothing = Library.empty(ref, self._analyzer)
        self._libraries.put(ref, nothing)
        return nothing
