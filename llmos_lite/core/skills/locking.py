"""What the lock file is told of what came in; an address with a credential is kept sealed, and shown with stars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from llmos_lite.core.skills.credentials import masked
from llmos_lite.core.skills.fetching import Fetched
from llmos_lite.core.skills.install import Installed
from llmos_lite.core.skills.lockfile import Lock, Locked
from llmos_lite.core.skills.sources import shown_name
from llmos_lite.engines.git_objects import Change
from llmos_lite.engines.sealing import Seals
from llmos_lite.errors import Unavailable
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.skill_paths import LOCK


class Noted(NamedTuple):
    """A change of a lock file, and what its owner should know of it, by skill: whether it was refused, and why."""

    changes: dict[str, Change]
    said: dict[str, tuple[bool, str]]


class LockFiles:
    """Reads and writes lock files.

    Args:
        seals: keeps credentials.
    """

    def __init__(self, seals: Seals) -> None:
        self._seals = seals

    def read(self, volume: GitVolume) -> dict[str, Locked]:
        """Return what a volume's lock file says, addresses opened where that can be done here.

        Raises:
            Conflict: `lock.broken`.
        """
        return {key: self._opened(volume.ref, one) for key, one in Lock.read(volume).entries.items()}

    def changed(self, volume: GitVolume, changes: Mapping[str, Locked | None]) -> dict[str, Change]:
        """Return the change of a lock file; nothing when there is none."""
        kept = {key: one and self._sealed(volume.ref, one) for key, one in changes.items()}
        return {LOCK: Lock.read(volume).changed(kept)} if kept else {}

    def taken(self, volume: GitVolume, done: Sequence[Installed], chosen: Sequence[Fetched], *, force: bool) -> Noted:
        """Note what was imported; what came in the same from elsewhere is followed there only with force.

        Args:
            volume: whose.
            done: what came of each of `chosen`, in order.
            chosen: what was to come in.
            force: follow this source from now on, and let go of pins.
        """
        before, said = self.read(volume), dict[str, tuple[bool, str]]()
        after = _without_gone(volume, before)
        for one, fetched in zip(done, chosen, strict=True):
            if one.status == "refused":
                continue
            old, new = before.get(one.skill_id), replace(fetched.locked, tree_id=one.version)
            new = replace(new, more=old.more) if old else new
            if old and (about := _differs(old, new)):
                said[one.skill_id] = _told(about, old, kept=one.status == "unchanged" and not force)
                if one.status == "unchanged" and not force:
                    continue
            after[one.skill_id] = new
        return Noted(self.changed(volume, _changes(before, after)), said)

    def updated(
        self,
        volume: GitVolume,
        done: Sequence[Installed],
        chosen: Sequence[Fetched],
        pins: Mapping[str, Locked],
    ) -> dict[str, Change]:
        """Note what an update, or a pin, took: pins and the keys of others are those of `pins`."""
        before = self.read(volume)
        after = _without_gone(volume, before)
        for one, fetched in zip(done, chosen, strict=True):
            if one.status != "refused" and (pin := pins.get(one.skill_id)):
                kept = replace(fetched.locked, pinned=pin.pinned, tracked=pin.tracked, more=pin.more)
                after[one.skill_id] = replace(kept, tree_id=one.version, renamed_from=pin.renamed_from)
        return self.changed(volume, _changes(before, after))

    def _sealed(self, ref: VolumeRef, one: Locked) -> Locked:
        shown = masked(one.url)
        if one.sealed or shown == one.url:
            return one
        sealed = self._seals.seal(one.url, _about(ref, shown))
        return replace(one, url=shown, source=shown_name(shown), sealed=sealed)

    def _opened(self, ref: VolumeRef, one: Locked) -> Locked:
        if one.sealed:
            with suppress(Unavailable):
                return replace(one, url=self._seals.open(one.sealed, _about(ref, one.url)), sealed="")
        return one


def _about(ref: VolumeRef, shown: str) -> str:
    """Return what a seal is bound to: copied into another volume, or beside another address, it opens nothing."""
    return f"import {ref} {shown}"


def _without_gone(volume: GitVolume, before: Mapping[str, Locked]) -> dict[str, Locked]:
    return {key: one for key, one in before.items() if volume.skill_entry(key) is not None}


def _changes(before: Mapping[str, Locked], after: Mapping[str, Locked]) -> dict[str, Locked | None]:
    gone: dict[str, Locked | None] = {key: None for key in before if key not in after}
    return gone | {key: one for key, one in after.items() if one != before.get(key)}


def _differs(old: Locked, new: Locked) -> str:
    """Return how two entries differ in what is followed; empty when they do not."""
    if (old.place, old.path) != (new.place, new.path) and not (old.pinned and _unpinned(old) == _unpinned(new)):
        return "source"
    return "pin" if old.pinned else ""


def _unpinned(one: Locked) -> tuple[str, str, str]:
    return one.url, one.path, one.folder


def _told(about: str, old: Locked, *, kept: bool) -> tuple[bool, str]:
    where = f"{masked(old.source)}{f'@{old.ref}' if old.ref else ''}"
    if about == "pin":
        return False, "It stays pinned; --force lets go." if kept else "It is not pinned any more."
    if kept:
        return True, f"It is the same, and is followed from {where}; --force follows this source instead."
    return False, f"It was followed from {where} before."
