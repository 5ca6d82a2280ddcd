"""The history of a skill: its versions, what differs between two, who wrote which line, and an old one back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeVar

from llmos_lite.core.accounts.permissions import Actor, Scope, require
from llmos_lite.core.skills.blame import Blame, blame
from llmos_lite.core.skills.compare import SkillDiff, compare
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.guard import folder_of, refuses
from llmos_lite.core.skills.naming import content_under
from llmos_lite.core.skills.scan import Scanner, scan
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.signoffs import signed_off
from llmos_lite.core.skills.versions import (
    OID,
    Version,
    current_version,
    find_change,
    find_version,
    newest,
    read_version,
    require_main,
    unknown,
)
from llmos_lite.core.skills.views import SkillView, skill_view
from llmos_lite.engines.git_diff import is_binary
from llmos_lite.engines.git_objects import File, check_path
from llmos_lite.errors import Conflict, Invalid, NotFound, TooLarge
from llmos_lite.records.cursor import decode_cursor, encode_cursor
from llmos_lite.volumes.access import VolumeRef, check_id
from llmos_lite.volumes.following import Change, Place, history, skill_at
from llmos_lite.volumes.git_volume import GitVolume, author_of
from llmos_lite.volumes.skill_paths import FILE

COUNTED = 10_000
"""Commits of a volume up to which the versions of a skill are counted: 30 ms."""
LARGEST_FILE = 4 << 20
"""Bytes of a file that is shown."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Some changes of a skill, newest first; `total` is None when only a walk through a long history would tell."""

    volume: str
    items: list[Change]
    next_cursor: str | None
    total: int | None


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of bringing a version back: the skill as it stands, and the commit that did it, empty for none."""

    status: Literal["restored", "unchanged"]
    view: SkillView
    commit: str


@dataclass(frozen=True, slots=True)
class SkillFile:
    """A file of a version of a skill."""

    volume: str
    skill_id: str
    version: str
    path: str
    data: bytes
    executable: bool

    @property
    def binary(self) -> bool:
        """Tell whether it is no text."""
        return is_binary(self.data)


class SkillHistory:
    """Versions of skills, for whoever acts.

    Args:
        skills: knows who may look where.
        scanners: look at a version before it comes back, by name.
    """

    def __init__(self, skills: SkillService, scanners: Mapping[str, Scanner] | None = None) -> None:
        self._skills, self._scanners = skills, dict(scanners or {})

    async def log(
        self, actor: Actor, skill_id: str, *, volume: VolumeRef | None = None, limit: int = 50, cursor: str = ""
    ) -> HistoryPage:
        """Return what was done to a skill, newest first, beyond its renames; also of one that was deleted.

        Raises:
            NotFound: `skill.unknown`, `volume.unknown`, or `commit.unknown` for a cursor that fits nowhere.
            Invalid: `skill.invalid_id`, `cursor.invalid`.
            Forbidden: `scope.missing`.
        """
        place = _placed(cursor) if cursor else None
        return await self._read(actor, skill_id, volume, lambda handle: _page(handle, skill_id, place, limit))

    async def diff(
        self,
        actor: Actor,
        skill_id: str,
        *,
        volume: VolumeRef | None = None,
        old: str = "",
        new: str = "",
        old_volume: VolumeRef | None = None,
    ) -> SkillDiff:
        """Return what differs between two versions of a skill.

        Args:
            actor: the person.
            skill_id: the skill.
            volume: where it is; the one that the actor sees when None.
            old: the version before; empty for the one before `new`, or, in another volume, for what stands there.
            new: the version after; empty for what stands there now, nothing when it was deleted.
            old_volume: where `old` is; the same when None.

        Raises:
            NotFound: `skill.unknown`, `volume.unknown`, `skill.unknown_version`.
            Forbidden: `scope.missing`.
        """
        other = await self._handle(actor, skill_id, old_volume) if old_volume else None
        return await self._read(actor, skill_id, volume, lambda handle: _diff(handle, other, skill_id, old, new))

    async def blame(
        self, actor: Actor, skill_id: str, *, volume: VolumeRef | None = None, version: str = "", path: str = FILE
    ) -> tuple[Version, Blame]:
        """Return who wrote each line of a file of a skill, beyond its renames.

        Raises:
            NotFound: `skill.unknown`, `volume.unknown`, `skill.unknown_version`, `file.unknown`.
            Invalid: `file.binary`, `file.invalid_path`.
            TooLarge: `file.too_large`.
        """
        check_path(path)
        return await self._read(actor, skill_id, volume, lambda handle: _blame(handle, skill_id, version, path))

    async def file(
        self, actor: Actor, skill_id: str, path: str, *, volume: VolumeRef | None = None, version: str = ""
    ) -> SkillFile:
        """Return a file of a skill, as it stands or of a version.

        Raises:
            NotFound: `skill.unknown`, `volume.unknown`, `skill.unknown_version`, `file.unknown`.
            Invalid: `file.invalid_path`.
            TooLarge: `file.too_large`.
        """
        check_path(path)
        return await self._read(actor, skill_id, volume, lambda handle: _file(handle, skill_id, version, path))

    async def restore(
        self, actor: Actor, skill_id: str, version: str, *, volume: VolumeRef | None = None, expect: str | None = None
    ) -> Restored:
        """Bring a version back as a new commit, also of a skill that was deleted.

        Args:
            actor: the person.
            skill_id: the skill.
            version: which.
            volume: where it is; the one that the actor sees when None.
            expect: the version that the actor saw, empty for none; None replaces whatever is there.

        Raises:
            NotFound: `skill.unknown`, `volume.unknown`, `skill.unknown_version`.
            Invalid: `skill.unsafe`, or `skill.unreadable` for a version that is no skill.
            Conflict: `skill.changed`.
            Forbidden: `volume.readonly`, `scope.missing`.
        """
        ref = await self._where(actor, skill_id, volume)
        principal = await self._skills.writer(actor, ref)
        handle = await asyncio.to_thread(self._skills.volumes.open, principal, ref, write=True)
        return await asyncio.to_thread(self._restore, actor, handle, skill_id, version, expect)

    def _restore(self, actor: Actor, volume: GitVolume, skill_id: str, version: str, expect: str | None) -> Restored:
        with volume.store.lock():
            volume.commit_changes()
            wanted = find_version(volume, skill_id, version)
            there = volume.skill_entry(skill_id)
            current = there.version if there else ""
            if expect is not None and expect != current:
                raise Conflict(
                    "skill.changed",
                    f"The skill {skill_id} has changed since you read it.",
                    hint="Read it again, then restore once more.",
                    version=current,
                )
            if wanted.version == current:
                return Restored("unchanged", skill_view(volume, skill_id), "")
            skill = _usable(wanted)
            signed = signed_off(volume, wanted.version) is not None
            refuse = refuses(volume.ref) and not signed
            findings = scan(self._scanners, skill, folder_of(wanted), refuse=refuse)
            subject = f"Restore skill: {skill_id} to {wanted.version[:10]}"
            trailers = {"Skill-Op": "restore", "Restored-Version": wanted.version}
            author = author_of(actor.user_id)
            if wanted.skill_id == skill_id:
                done = volume.restore_skill(skill_id, wanted.version, subject, author, trailers=trailers)
            else:
                content = content_under(skill, wanted.store.blob(wanted.files[FILE].oid), skill_id).decode()
                files = _others(wanted)
                done = volume.write_skill(
                    skill_id, content, subject, author, files=files, trailers=trailers, replace=True
                )
        return Restored("restored", skill_view(volume, skill_id, findings=findings), done.oid)

    async def _read(self, actor: Actor, skill_id: str, volume: VolumeRef | None, work: Callable[[GitVolume], T]) -> T:
        handle = await self._handle(actor, skill_id, volume)
        return await asyncio.to_thread(work, handle)

    async def _handle(self, actor: Actor, skill_id: str, volume: VolumeRef | None) -> GitVolume:
        require(actor, Scope.SKILLS_READ)
        ref = await self._where(actor, skill_id, volume)
        return await asyncio.to_thread(self._skills.reading, actor, ref)

    async def _where(self, actor: Actor, skill_id: str, volume: VolumeRef | None) -> VolumeRef:
        """Return the volume that is meant: of a skill that the actor does not see, it may be one that they deleted."""
        check_id(skill_id, "skill")
        if volume is not None:
            return volume
        try:
            return await self._skills.seen(actor, skill_id)
        except NotFound:
            return actor.volume


def _placed(cursor: str) -> Place:
    skill_id, start, before = (str(part) for part in decode_cursor(cursor, str, str, str))
    if not OID.fullmatch(start) or not (before == "" or OID.fullmatch(before)):
        raise Invalid("cursor.invalid", "The cursor is none of ours.", hint="Start again without a cursor.")
    return Place(check_id(skill_id, "skill"), start, before)


def _page(volume: GitVolume, skill_id: str, place: Place | None, limit: int) -> HistoryPage:
    first = place or newest(volume, skill_id)
    if place is not None:
        require_main(volume, place.start)
    found = list(islice(history(volume.store, first, limit + 1), limit + 1))
    if not found and place is None:
        raise unknown(volume, skill_id)
    items = found[:limit]
    more = encode_cursor(*items[-1].after) if len(found) > limit else None
    total = None
    if place is None and more is None:
        total = len(items)
    elif volume.store.count() <= COUNTED:
        total = sum(1 for _ in history(volume.store, newest(volume, skill_id), COUNTED))
    return HistoryPage(str(volume.ref), items, more, total)


def _diff(volume: GitVolume, other: GitVolume | None, skill_id: str, old: str, new: str) -> SkillDiff:
    after = find_version(volume, skill_id, new) if new else current_version(volume, skill_id)
    if old or other is not None:
        there = other or volume
        before = find_version(there, skill_id, old) if old else current_version(there, skill_id)
    else:
        before = _before(volume, skill_id, after)
    if not before.version and not after.version:
        raise unknown(volume, skill_id)
    return compare(before, after)


def _before(volume: GitVolume, skill_id: str, after: Version) -> Version:
    """Return the version before another: nothing before the first."""
    if volume.store.head() is None:
        raise unknown(volume, skill_id)
    changes = history(volume.store, newest(volume, skill_id))
    for change in changes:
        if change.version == after.version:
            older = next((one for one in changes if one.version != after.version), None)
            return read_version(volume, older.skill_id if older else skill_id, older.version if older else "")
    return read_version(volume, skill_id, "")


def _blame(volume: GitVolume, skill_id: str, version: str, path: str) -> tuple[Version, Blame]:
    place = newest(volume, skill_id)
    if version:
        entry = volume.skill_entry(skill_id)
        if entry is None or entry.version != version:
            change = find_change(volume, skill_id, version)
            if change is None or not change.version:
                raise NotFound("skill.unknown_version", f"{skill_id} has no version {version[:40]!r}.")
            place = Place(change.skill_id, change.commit.oid)
    entry = skill_at(volume.store, place.skill_id, place.start)
    if entry is None:
        raise unknown(volume, skill_id)
    return read_version(volume, place.skill_id, entry.version), blame(volume.store, place, path)


def _file(volume: GitVolume, skill_id: str, version: str, path: str) -> SkillFile:
    found = find_version(volume, skill_id, version) if version else current_version(volume, skill_id)
    if not found.version:
        raise unknown(volume, skill_id)
    kept = found.files.get(path)
    if kept is None:
        raise NotFound("file.unknown", f"The skill {skill_id} has no file {path[:200]!r} in this version.")
    data = volume.store.blob(kept.oid)
    if len(data) > LARGEST_FILE:
        raise TooLarge("file.too_large", f"{path[:200]!r} has more than {LARGEST_FILE >> 20} MiB.", hint="Clone it.")
    return SkillFile(str(volume.ref), found.skill_id, found.version, path, data, kept.executable)


def _others(version: Version) -> dict[str, File]:
    """Return the files of a version but its SKILL.md."""
    return {
        path: File(version.store.blob(kept.oid), kept.executable)
        for path, kept in version.files.items()
        if path != FILE
    }


def _usable(version: Version) -> Skill:
    """Return a version as a skill.

    Raises:
        Invalid: `skill.unreadable`.
    """
    kept = version.files.get(FILE)
    content = version.store.blob(kept.oid) if kept else b""
    skill = Skill.parse(version.skill_id, content, volume=version.volume, version=version.version)
    if kept is None or skill.error:
        reason = skill.error if kept else "Its folder holds no SKILL.md."
        raise Invalid("skill.unreadable", f"The version {version.version[:10]} is no skill that can be used: {reason}")
    return skill
