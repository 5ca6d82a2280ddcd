"""Versions of a skill: what stood in a volume's `main` under its name, or under one that it had before.

A version is named by the Git id of the skill's entry, or by a commit; seven digits will do. What else a repository
holds, as the branch of a proposal or a file of another skill, looks as if it were missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from llmos_lite.engines.git import MAIN, VolumeInterface
from llmos_lite.errors import NotFound
from llmos_lite.volumes.following import Change, Place, history, skill_at
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.skill_paths import FILE, file_path, flat_path

OID = re.compile(r"[0-9a-f]{40}")
_SHORT = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of a version: the id of its content, and whether it may be run."""

    oid: str
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a skill: where it was found, its Git id, and its files by their paths in the folder.

    `version` is empty, and there are no files, where there is no such skill.
    """

    volume: str
    skill_id: str
    version: str
    files: Mapping[str, Kept]
    store: VolumeInterface

    @property
    def path(self) -> str:
        """Return where its Markdown stands in the volume."""
        flat = [kept.oid for kept in self.files.values()] == [self.version]
        return flat_path(self.skill_id) if flat else file_path(self.skill_id)


def unknown(volume: GitVolume, skill_id: str) -> NotFound:
    """Return the error for a skill that a volume never had."""
    return NotFound(
        "skill.unknown",
        f"There is no skill {skill_id} in the volume {volume.ref}, and never was.",
        hint="`llmos skills list` shows all that you see.",
    )


def newest(volume: GitVolume, skill_id: str) -> Place:
    """Return where the history of a skill begins.

    Raises:
        NotFound: `skill.unknown`, when the volume has no commit yet.
    """
    head = volume.store.head(MAIN)
    if head is None:
        raise unknown(volume, skill_id)
    return Place(skill_id, head)


def require_main(volume: GitVolume, commit: str) -> None:
    """Raise unless a commit is of `main`: what else the repository holds is not for every reader."""
    head = volume.store.head(MAIN)
    if head is None or (commit != head and volume.store.merge_base(commit, head) != commit):
        raise NotFound("commit.unknown", f"There is no commit {commit} in this history.")


def current_version(volume: GitVolume, skill_id: str) -> Version:
    """Return a skill as it stands; an empty version when it does not."""
    entry = volume.skill_entry(skill_id)
    return read_version(volume, skill_id, entry.version if entry else "")


def find_version(volume: GitVolume, skill_id: str, named: str) -> Version:
    """Return a version by its id or a commit of `main`.

    Raises:
        NotFound: `skill.unknown_version`.
    """
    entry = volume.skill_entry(skill_id)
    if entry is not None and named == entry.version:
        return read_version(volume, skill_id, named)
    change = find_change(volume, skill_id, named)
    if change is None and OID.fullmatch(named):
        at = _at_commit(volume, skill_id, named)
        if at:
            return read_version(volume, skill_id, at)
    if change is None or not change.version:
        raise NotFound(
            "skill.unknown_version",
            f"{skill_id} has no version {named[:40]!r} in the volume {volume.ref}.",
            hint=f"`llmos skills log {skill_id}` lists them.",
        )
    return read_version(volume, change.skill_id, change.version)


def find_change(volume: GitVolume, skill_id: str, named: str) -> Change | None:
    """Return the newest change that made a version, or whose commit is named."""
    if not _SHORT.fullmatch(named) or volume.store.head() is None:
        return None
    changes = history(volume.store, newest(volume, skill_id))
    return next((one for one in changes if one.version.startswith(named) or one.commit.oid.startswith(named)), None)


def _at_commit(volume: GitVolume, skill_id: str, commit: str) -> str:
    """Return the version that stood in a commit of `main`, empty for none."""
    try:
        volume.store.log(limit=1, branch=commit)
        require_main(volume, commit)
    except NotFound:
        return ""
    entry = skill_at(volume.store, skill_id, commit)
    return entry.version if entry else ""


def read_version(volume: GitVolume, skill_id: str, version: str) -> Version:
    """Return a version that is known to be one: a flat file, or a folder; no files for an empty id."""
    files: dict[str, Kept] = {}
    if version:
        try:
            volume.store.blob(version)
            files[FILE] = Kept(version)
        except NotFound:
            files = _files(volume, version)
    return Version(str(volume.ref), skill_id, version, files, volume.store)


def _files(volume: GitVolume, version: str, folder: str = "") -> dict[str, Kept]:
    found: dict[str, Kept] = {}
    for entry in volume.store.tree(folder, at=version):
        if entry.is_tree:
            found |= _files(volume, version, entry.path)
        else:
            found[entry.path] = Kept(entry.oid, entry.executable)
    return found
