"""What differs between two versions of a skill, file by file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmos_lite.core.skills.versions import Version
from llmos_lite.engines.git_diff import Patch, is_binary, unified
from llmos_lite.volumes.skill_paths import FILE, shown

LARGEST = 512 << 10
"""Bytes of a file whose lines are compared."""
MOST_COMPARED = 4 << 20
"""Bytes, of all files together, whose lines are compared."""
MOST_TEXT = 1 << 20
"""Characters of all diffs of an answer."""
MOST_FILES = 1000

Status = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class FileDiff:
    """What became of a file.

    Args:
        path: in the skill's folder.
        status: what was done.
        binary: whether one side is no text.
        old_size: bytes before, None for a file that was not there.
        new_size: bytes after, None for one that is gone.
        executable: whether it may be run, before and after; None where it is not there.
        added: lines.
        removed: lines.
        diff: unified; empty when it was left out.
        truncated: whether it was left out since it is too large.
    """

    path: str
    status: Status
    binary: bool
    old_size: int | None
    new_size: int | None
    executable: tuple[bool | None, bool | None]
    added: int
    removed: int
    diff: str
    truncated: bool


@dataclass(frozen=True, slots=True)
class SkillDiff:
    """What differs between two versions; `truncated` when something was left out."""

    old: Version
    new: Version
    files: list[FileDiff]
    truncated: bool

    @property
    def text(self) -> str:
        """Return all diffs as one, as `git apply` takes it."""
        return "".join(file.diff for file in self.files)


def compare(old: Version, new: Version) -> SkillDiff:
    """Return what differs; file by file, SKILL.md first."""
    paths = sorted(old.files.keys() | new.files.keys(), key=lambda path: (path != FILE, path))
    changed = [path for path in paths if old.files.get(path) != new.files.get(path)]
    budget = _Budget()
    files = [_file(old, new, path, budget) for path in changed[:MOST_FILES]]
    return SkillDiff(old, new, files, len(changed) > MOST_FILES or any(file.truncated for file in files))


@dataclass(slots=True)
class _Budget:
    """What may still be compared (bytes), and said (characters)."""

    compared: int = MOST_COMPARED
    said: int = MOST_TEXT

    def takes(self, *contents: bytes | None) -> bool:
        sizes = [len(content) for content in contents if content is not None]
        if max(sizes) > LARGEST or sum(sizes) > self.compared:
            return False
        self.compared -= sum(sizes)
        return True

    def says(self, patch: Patch) -> bool:
        if len(patch.text) > self.said:
            return False
        self.said -= len(patch.text)
        return True


def _file(old: Version, new: Version, path: str, budget: _Budget) -> FileDiff:
    sides = old.files.get(path), new.files.get(path)
    before, after = (side.store.blob(kept.oid) if kept else None for side, kept in zip((old, new), sides, strict=True))
    binary = any(data is not None and is_binary(data) for data in (before, after))
    patch = None
    if not binary and budget.takes(before, after):
        lead = f"skills/{new.skill_id}/{shown(path)}"
        patch = unified(before, after, f"skills/{old.skill_id}/{shown(path)}", lead)
        patch = patch if budget.says(patch) else None
    return FileDiff(
        path=shown(path),
        status="added" if before is None else "removed" if after is None else "changed",
        binary=binary,
        old_size=None if before is None else len(before),
        new_size=None if after is None else len(after),
        executable=(sides[0].executable if sides[0] else None, sides[1].executable if sides[1] else None),
        added=patch.added if patch else 0,
        removed=patch.removed if patch else 0,
        diff=patch.text if patch else "",
        truncated=patch is None and not binary,
    )
