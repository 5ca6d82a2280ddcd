"""What a proposal is in Git: a branch `pr/<user>/<name>`, and its changes since it left main."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from llmos_lite.engines.git import Commit, Entry, VolumeInterface
from llmos_lite.errors import Conflict
from llmos_lite.volumes.skill_paths import folder_path, skill_of

PREFIX = "pr/"
LONGEST_DIFF = 200_000
"""Characters of a diff that are shown."""

Pair: TypeAlias = tuple[Entry | None, Entry | None]


@dataclass(frozen=True, slots=True)
class Branch:
    """A proposal's branch as it stands.

    Args:
        head: its newest commit.
        changes: by path, the file before (where it left main) and after.
        conflicts: skills (and files) that main has changed since, in another way.
    """

    head: Commit
    changes: Mapping[str, Pair]
    conflicts: tuple[str, ...]


def read(store: VolumeInterface, name: str) -> Branch:
    """Return what a branch proposes.

    Raises:
        Conflict: `proposal.gone`, when somebody deleted the branch.
    """
    if name not in store.branches():
        raise Conflict("proposal.gone", f"The branch {name} is no longer there.", hint="Close the proposal.")
    head, main = store.log(limit=1, branch=name)[0], store.head()
    base = store.merge_base(main, head.oid) if main else None
    changes = dict(_changed(store, "", base, head.oid))
    units = sorted({_unit(path) for path in changes})
    return Branch(head, changes, tuple(unit for unit in units if _collides(store, unit, base, head.oid)))


def diff(store: VolumeInterface, branch: Branch) -> str:
    """Return what a branch proposes as a unified diff."""
    parts, size = [], 0
    for path in sorted(branch.changes):
        parts.append(_file_diff(store, path, *branch.changes[path]))
        size += len(parts[-1])
        if size > LONGEST_DIFF:
            return "".join(parts)[:LONGEST_DIFF] + "\n… the rest is left out\n"
    return "".join(parts)


def _changed(store: VolumeInterface, prefix: str, one: str | None, other: str) -> Iterator[tuple[str, Pair]]:
    """Yield every file that differs between two commits; only folders that differ are looked into."""
    before = {entry.path: entry for entry in store.tree(prefix, at=one)} if one else {}
    after = {entry.path: entry for entry in store.tree(prefix, at=other)}
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if _oid(old) == _oid(new):
            continue
        if (old and old.is_tree) or (new and new.is_tree):
            yield from _changed(store, path, one, other)
        if (old and not old.is_tree) or (new and not new.is_tree):
            yield path, (old if old and not old.is_tree else None, new if new and not new.is_tree else None)


def _unit(path: str) -> str:
    """Return what is merged as one: a skill in both of its forms, or a file."""
    skill_id = skill_of(path)
    return folder_path(skill_id) if skill_id else path


def _collides(store: VolumeInterface, unit: str, base: str | None, head: str) -> bool:
    """Tell whether main has changed something since `base`, in another way than `head`."""
    now, before, after = (
        [_oid(store.entry(path, at=at)) for path in (unit, f"{unit}.md")] if at else ["", ""]
        for at in (store.head(), base, head)
    )
    return now not in (before, after)


def _oid(entry: Entry | None) -> str:
    return entry.oid if entry else ""


def _file_diff(store: VolumeInterface, path: str, before: Entry | None, after: Entry | None) -> str:
    old, new = (store.blob(entry.oid) if entry else b"" for entry in (before, after))
    if b"\0" in old + new:
        return f"Binary files a/{path} and b/{path} differ\n"
    names = (f"a/{path}" if before else "/dev/null", f"b/{path}" if after else "/dev/null")
    lines = [text.decode("utf-8", "replace").splitlines(keepends=True) for text in (old, new)]
    found = difflib.unified_diff(lines[0], lines[1], names[0], names[1])
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in found)
