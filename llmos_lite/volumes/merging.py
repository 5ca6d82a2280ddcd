"""A simple merge: three-way for each file, so that what comes out are files that somebody proposed, as they were.

The Markdown of a skill is one file, wherever it stands (`skills/<id>/SKILL.md`, or the flat `skills/<id>.md`).
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from llmos_lite.engines.git import MAIN, Author, Change, Commit, Entry, VolumeInterface
from llmos_lite.errors import Conflict, NotFound
from llmos_lite.volumes.skill_paths import FILE, FOLDER

Pair: TypeAlias = tuple[Entry | None, Entry | None]
Side: TypeAlias = tuple[Entry | None, ...]
"""What stands at each of the paths that a file may have."""

_FLAT = ".md"


@dataclass(frozen=True, slots=True)
class Collision:
    """A file that both sides changed, each in its own way.

    Args:
        paths: where it may stand; the first is where it goes when it is written anew.
        base: the file where the two parted, at each path.
        ours: here.
        theirs: there.
    """

    paths: tuple[str, ...]
    base: Side
    ours: Side
    theirs: Side

    @property
    def path(self) -> str:
        """Return the path that the file is known by: that of a folder before a flat one."""
        sides = (self.ours, self.theirs, self.base)
        return next((path for path, *found in zip(self.paths, *sides, strict=True) if any(found)), self.paths[0])


@dataclass(frozen=True, slots=True)
class Plan:
    """A merge that is to be made.

    Args:
        base: the commit where the two sides parted.
        changed: what the other side changed since: by path, the file before and after.
        changes: what would change here.
        collisions: what somebody has to decide first.
    """

    base: str | None
    changed: Mapping[str, Pair]
    changes: Mapping[str, Change]
    collisions: tuple[Collision, ...]


def plan_merge(store: VolumeInterface, ours: str, theirs: str) -> Plan:
    """Return how to bring what one commit has into another."""
    return _Planning(store, store.merge_base(ours, theirs), ours, theirs).plan()


def merge_branch(store: VolumeInterface, branch: str, message: str, author: Author) -> Commit:
    """Merge a branch into `main`; the caller holds the lock.

    Raises:
        NotFound: `branch.unknown`.
        Conflict: `proposal.conflict`, with `paths`.
    """
    head, tip = store.head(), store.head(branch)
    if head is None or tip is None:
        raise NotFound("branch.unknown", f"There is no branch {branch[:80]!r} to merge.")
    plan = plan_merge(store, head, tip)
    if plan.base == tip:
        return store.log(limit=1)[0]
    if plan.collisions:
        raise conflict([one.path for one in plan.collisions])
    return store.commit(plan.changes, message, author, branch=MAIN, expect=head, merges=(tip,))


def conflict(paths: list[str]) -> Conflict:
    """Return the error of a merge that somebody has to decide about."""
    return Conflict(
        "proposal.conflict",
        f"Both sides changed {', '.join(paths[:5])}.",
        hint="Resolve it, or bring the proposal up to date with main; then merge it again.",
        paths=paths,
    )


def changed(store: VolumeInterface, one: str | None, other: str, prefix: str = "") -> Iterator[tuple[str, Pair]]:
    """Yield every file that differs between two commits (None: none yet); only folders that differ are looked into."""
    before = {entry.path: entry for entry in store.tree(prefix, at=one)} if one else {}
    after = {entry.path: entry for entry in store.tree(prefix, at=other)}
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        if (old and old.is_tree) or (new and new.is_tree):
            yield from changed(store, one, other, path)
        if (old and not old.is_tree) or (new and not new.is_tree):
            yield path, (_file(old), _file(new))


def _file(entry: Entry | None) -> Entry | None:
    return entry if entry is not None and not entry.is_tree else None


def _forms(path: str) -> tuple[str, ...]:
    """Return the paths that a file may have: two for the Markdown of a skill."""
    top, _, rest = path.partition("/")
    name, slash, last = rest.partition("/")
    if top == FOLDER and slash and last == FILE:
        return path, f"{top}/{name}{_FLAT}"
    if top == FOLDER and not slash and name.endswith(_FLAT):
        return f"{path.removesuffix(_FLAT)}/{FILE}", path
    return (path,)


def _above(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


class _Planning:
    """A plan that is being made: `changes` are those that are decided, `collisions` those that are not."""

    def __init__(self, store: VolumeInterface, base: str | None, ours: str, theirs: str) -> None:
        self._store, self._base, self._ours, self._theirs = store, base, ours, theirs
        self.changes: dict[str, Change] = {}
        self.collisions: list[Collision] = []

    def plan(self) -> Plan:
        """Compare the three sides of every file that the other side changed."""
        differing = dict(changed(self._store, self._base, self._theirs))
        for paths in sorted({_forms(path) for path in differing}):
            self._compare(self._sides(paths))
        self._look_for_files_in_the_way()
        self._look_for_folders_without_a_skill()
        return Plan(self._base, differing, self.changes, tuple(sorted(self.collisions, key=lambda one: one.path)))

    def _compare(self, one: Collision) -> None:
        if one.ours == one.base:
            pairs = zip(one.paths, one.ours, one.theirs, strict=True)
            self.changes |= {path: there for path, here, there in pairs if here != there}
        elif one.ours != one.theirs:
            self.collisions.append(one)

    def _sides(self, paths: tuple[str, ...]) -> Collision:
        sides = [
            tuple(_file(self._store.entry(path, at=at)) if at else None for path in paths)
            for at in (self._base, self._ours, self._theirs)
        ]
        return Collision(paths, *sides)

    def _look_for_files_in_the_way(self) -> None:
        """Find files that would need a folder where a file is, or stand where a folder is."""
        added = [path for path, change in self.changes.items() if change is not None]
        for path in [path for path in added if self._is_blocked(path)]:
            del self.changes[path]
            self.collisions.append(self._sides((path,)))

    def _is_blocked(self, path: str) -> bool:
        below = (name for name, _ in changed(self._store, None, self._ours, path))
        return any(self._stays(name) for name in (*_above(path), *below))

    def _stays(self, path: str) -> bool:
        """Tell whether a file is at a path, and stays there."""
        entry = _file(self._store.entry(path, at=self._ours))
        return entry is not None and self.changes.get(path, entry) is not None

    def _look_for_folders_without_a_skill(self) -> None:
        """Find skills of which only other files would be left: one side removed the `SKILL.md`, the other went on."""
        nested: dict[str, dict[str, Change]] = defaultdict(dict)
        for path, change in self.changes.items():
            if path.startswith(f"{FOLDER}/") and path.count("/") > 1:
                nested["/".join(path.split("/")[:2])][path] = change
        for folder, mine in sorted(nested.items()):
            main = f"{folder}/{FILE}"
            if mine.get(main) is not None:
                continue
            one, left = self._sides(_forms(main)), self._left(folder, mine)
            known = any(main in collision.paths for collision in self.collisions)
            if not known and left and main not in left and any(itertools.chain(one.ours, one.theirs)):
                for path in one.paths:
                    self.changes.pop(path, None)
                self.collisions.append(one)

    def _left(self, folder: str, mine: Mapping[str, Change]) -> set[str]:
        """Return the files that a folder would have after these changes of it."""
        there = {path for path, _ in changed(self._store, None, self._ours, folder)}
        gone = {path for path, change in mine.items() if change is None}
        return (there | mine.keys()) - gone
