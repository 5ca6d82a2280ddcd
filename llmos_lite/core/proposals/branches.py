"""What a proposal is in Git: a branch `pr/<user>/<name>`, and its changes since it left main."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llmos_lite.engines.git import Commit, Entry, LocalGitStore, VolumeInterface
from llmos_lite.engines.git_diff import unified
from llmos_lite.engines.git_scrub import became as scrubbed
from llmos_lite.errors import Conflict, NotFound
from llmos_lite.volumes.merging import Collision, Pair, changed, plan_merge
from llmos_lite.volumes.skill_paths import shown

PREFIX = "pr/"
LONGEST_DIFF = 200_000
"""Characters of a diff that are shown."""
LARGEST = 512 << 10
"""Bytes of a file whose lines are compared."""
LONGEST_TEXT = 50_000
"""Characters of each side of a conflict that are shown."""
MOST_CONFLICTS = 50
"""Conflicts that are shown with their text."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A proposal's branch as it stands.

    Args:
        head: its newest commit.
        main: the commit of main that it is compared with.
        base: where the two parted.
        changes: by path, the file before (where it left main) and after.
        collisions: files that main has changed since, in another way.
        pending: whether a merge would change a file of main.
    """

    head: Commit
    main: str
    base: str | None
    changes: Mapping[str, Pair]
    collisions: tuple[Collision, ...]
    pending: bool

    @property
    def digest(self) -> str:
        """Return what names exactly the blobs that are proposed, before and after; approvals are bound to it."""
        return digest_of(self.changes)

    @property
    def contained(self) -> bool:
        """Tell whether main has every commit of it already."""
        return self.base == self.head.oid

    @property
    def conflicts(self) -> tuple[str, ...]:
        """Return the paths of the files that somebody has to decide about."""
        return tuple(one.path for one in self.collisions)

    @property
    def seen(self) -> str:
        """Return what names exactly the conflicts, all three sides of each; empty for none."""
        if not self.collisions:
            return ""
        return _hash((path, *sides) for one in self.collisions for path, *sides in _rows(one))


@dataclass(frozen=True, slots=True)
class ConflictText:
    """A file that both sides changed; each text is None where there is no file, or nothing that is text.

    `cut` says that some of it is left out.
    """

    path: str
    base: str | None
    ours: str | None
    theirs: str | None
    binary: bool = False
    cut: bool = False


def read(store: VolumeInterface, name: str) -> Branch:
    """Return what a branch proposes.

    Raises:
        Conflict: `proposal.gone`, when somebody deleted the branch.
    """
    tip, main = store.head(name), store.head()
    if tip is None or main is None:
        raise Conflict("proposal.gone", f"The branch {name} is no longer there.", hint="Close the proposal.")
    plan = plan_merge(store, main, tip)
    head, pending = store.log(limit=1, branch=tip)[0], bool(plan.changes)
    return Branch(head, main, plan.base, plan.changed, plan.collisions, pending)


def digest_of(changes: Mapping[str, Pair]) -> str:
    """Return the digest of changes: of the sorted paths, each with the blob (and mode) before and after."""
    return _hash((path, *pair) for path, pair in sorted(changes.items()))


def diff(store: VolumeInterface, changes: Mapping[str, Pair]) -> str:
    """Return changes as a unified diff."""
    parts, size = [], 0
    for path in sorted(changes):
        parts.append(_file_diff(store, path, *changes[path]))
        size += len(parts[-1])
        if size > LONGEST_DIFF:
            return "".join(parts)[:LONGEST_DIFF] + "\n… the rest is left out\n"
    return "".join(parts)


def brought(store: VolumeInterface, commit: str) -> Mapping[str, Pair]:
    """Return what a commit of main changed there; nothing of one that is there no more."""
    now = renamed(store, commit)
    try:
        parents = store.log(limit=1, branch=now)[0].parents
    except NotFound:
        return {}
    return dict(changed(store, parents[0] if parents else None, now))


def renamed(store: VolumeInterface, commit: str) -> str:
    """Return what every scrub since made of a commit, whose id the events keep."""
    became = scrubbed(store.gitdir) if isinstance(store, LocalGitStore) else {}
    while commit in became:
        commit = became[commit]
    return commit


def conflict_texts(store: VolumeInterface, branch: Branch) -> list[ConflictText]:
    """Return every conflict, the first ones with the text of their three sides."""
    shown = [_texts(store, one) for one in branch.collisions[:MOST_CONFLICTS]]
    return shown + [ConflictText(path, None, None, None, cut=True) for path in branch.conflicts[MOST_CONFLICTS:]]


def lines_of(store: VolumeInterface, pair: Pair) -> int:
    """Return the number of lines of the longer side of a change."""
    return max(store.blob(entry.oid).count(b"\n") + 1 for entry in pair if entry is not None)


def _texts(store: VolumeInterface, one: Collision) -> ConflictText:
    sides = (one.base, one.ours, one.theirs)
    found = [next((store.blob(entry.oid) for entry in side if entry is not None), None) for side in sides]
    binary = any(b"\0" in data for data in found if data is not None)
    texts = [None if data is None or b"\0" in data else data.decode("utf-8", "replace") for data in found]
    cut = any(len(text) > LONGEST_TEXT for text in texts if text is not None)
    base, ours, theirs = (None if text is None else text[:LONGEST_TEXT] for text in texts)
    return ConflictText(one.path, base, ours, theirs, binary=binary, cut=cut)


def _rows(one: Collision) -> Iterable[tuple[str, Entry | None, Entry | None, Entry | None]]:
    return zip(one.paths, one.base, one.ours, one.theirs, strict=True)


def _hash(rows: Iterable[Iterable[str | Entry | None]]) -> str:
    lines = ("\0".join(item if isinstance(item, str) else _version(item) for item in row) for row in rows)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _version(entry: Entry | None) -> str:
    return f"{entry.oid}{'*' if entry.executable else ''}" if entry else "-"


def _file_diff(store: VolumeInterface, path: str, before: Entry | None, after: Entry | None) -> str:
    old, new = (store.blob(entry.oid) if entry else b"" for entry in (before, after))
    path = shown(path)
    mode = _mode_diff(path, before, after)
    if b"\0" in old + new:
        return f"{mode}Binary files a/{path} and b/{path} differ\n"
    names = f"--- {f'a/{path}' if before else '/dev/null'}\n+++ {f'b/{path}' if after else '/dev/null'}\n"
    if max(len(old), len(new)) > LARGEST:
        return f"{mode}{names}The file is too large to compare: {len(old):,} bytes before, {len(new):,} after.\n"
    _, found, lines = unified(old, new, path, path).text.partition("\n@@ ")
    return f"{mode}{names}{'@@ ' if found else ''}{lines}"


def _mode_diff(path: str, before: Entry | None, after: Entry | None) -> str:
    """Return what git says of a file that may be run now, or may not any more."""
    old, new = before is not None and before.executable, after is not None and after.executable
    if after is None or old == new:
        return ""
    head = f"diff --git a/{path} b/{path}\n"
    return f"{head}old mode {_mode(old)}\nnew mode {_mode(new)}\n" if before else f"{head}new file mode {_mode(new)}\n"


def _mode(executable: bool) -> str:  # noqa: FBT001 - a mode has two values here
    return "100755" if executable else "100644"
