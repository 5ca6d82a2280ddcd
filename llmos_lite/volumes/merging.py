"""A simple merge: three-way for each skill, so that two proposals about different skills never collide."""

from __future__ import annotations

from typing import TypeAlias

from llmos_lite.engines.git import MAIN, Author, Change, Commit, Entry, VolumeInterface
from llmos_lite.errors import Conflict, NotFound
from llmos_lite.volumes.skill_paths import FOLDER, skill_of

Units: TypeAlias = dict[str, tuple[Entry, ...]]
"""What is merged as one: a skill in both of its forms, one entry of `memory/`, one file at the top."""

_FOLDERS = (FOLDER, "memory")


def merge_branch(store: VolumeInterface, branch: str, message: str, author: Author) -> Commit:
    """Merge a branch into `main`; the caller holds the lock.

    Raises:
        NotFound: `branch.unknown`.
        Conflict: `proposal.conflict`, with `paths`.
    """
    head, tip = store.head(), store.head(branch)
    if head is None or tip is None:
        raise NotFound("branch.unknown", f"There is no branch {branch[:80]!r} to merge.")
    base = store.merge_base(head, tip)
    if base == tip:
        return store.log(limit=1)[0]
    ours, theirs = _units(store, head), _units(store, tip)
    common = _units(store, base) if base else {}
    changed = [unit for unit in sorted(theirs.keys() | common.keys()) if theirs.get(unit) != common.get(unit)]
    conflicts = [unit for unit in changed if ours.get(unit) not in (common.get(unit), theirs.get(unit))]
    if conflicts:
        raise Conflict(
            "proposal.conflict",
            f"Both sides changed {', '.join(conflicts[:5])}.",
            hint="Bring the proposal up to date with main, then merge it again.",
            paths=conflicts,
        )
    changes: dict[str, Change] = {}
    for unit in changed:
        changes |= dict.fromkeys(entry.path for entry in ours.get(unit, ()))
        changes |= {entry.path: entry for entry in theirs.get(unit, ())}
    return store.commit(changes, message, author, branch=MAIN, expect=head, merges=(tip,))


def _units(store: VolumeInterface, at: str) -> Units:
    found: Units = {}
    for top in store.tree(at=at):
        for entry in store.tree(top.path, at=at) if top.is_tree and top.path in _FOLDERS else [top]:
            skill = skill_of(entry.path)
            unit = f"{FOLDER}/{skill}" if skill else entry.path
            found[unit] = (*found.get(unit, ()), entry)
    return found
