"""The history of a skill beyond its name: when its folder was moved, the history of the old name goes on.

As `git log --follow`, for whole folders: the commit that made a skill is looked at for one that went away in it and
is the same, or whose SKILL.md has half of its lines. The seed's flat file and the folder of one id are one skill.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from llmos_lite.engines.git import Commit, VolumeInterface
from llmos_lite.engines.git_diff import lines_of
from llmos_lite.errors import NotFound
from llmos_lite.volumes.access import ID, ID_LENGTH
from llmos_lite.volumes.skill_paths import (
    FILE,
    FOLDER,
    RENAMED_FROM,
    RENAMED_TO,
    SkillEntry,
    file_path,
    flat_path,
    folder_path,
    skill_entries,
)

Kind = Literal["created", "updated", "renamed", "deleted"]

SIMILAR = 0.5
"""Share of the lines that a renamed skill keeps, by their bytes; Git's own bound."""
MOST_COMPARED = 64
"""Skills that went away in a commit and are compared with one that came."""
LARGEST = 256 << 10
"""Bytes of a SKILL.md that are compared."""


MOST_RENAMES = 16
"""Ids that are tried for one skill."""
MOST_AT_ONCE = 4096
"""Commits that are asked for at once in the end."""


class Place(NamedTuple):
    """Where one is in a history: the skill's id there, the commit to go on from, and the last one that was seen."""

    skill_id: str
    start: str
    before: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit did to a skill.

    Args:
        commit: which.
        skill_id: its id then.
        version: Git id of its entry after the commit; empty when it was deleted.
        path: of its Markdown file; empty when it was deleted.
        kind: what was done.
        renamed_from: its id before, when it was renamed.
        after: where the history goes on.
    """

    commit: Commit
    skill_id: str
    version: str
    path: str
    kind: Kind
    renamed_from: str
    after: Place


def history(store: VolumeInterface, place: Place, step: int = 32, *, name: str = "") -> Iterator[Change]:
    """Yield what was done to a skill, newest first.

    Args:
        store: of the volume.
        place: where to begin.
        step: commits that are asked for at once in the beginning.
        name: only changes of this file of its folder.

    Raises:
        NotFound: `commit.unknown`, for a place that is in no history.
    """
    while True:
        commits = store.log(
            limit=step + 1, before=place.before or None, path=_paths(place.skill_id, name), branch=place.start
        )
        for commit, older in zip(commits[:step], [*commits[1:], None], strict=False):
            change = _change(store, place, commit, older)
            place = change.after
            yield change
            if change.kind == "renamed":
                break
        else:
            if len(commits) <= step:
                return
        step = min(2 * step, MOST_AT_ONCE)  # each question walks from the beginning


def _paths(skill_id: str, name: str) -> tuple[str, ...]:
    if not name:
        return folder_path(skill_id), flat_path(skill_id)
    return (file_path(skill_id, name), flat_path(skill_id)) if name == FILE else (file_path(skill_id, name),)


def _change(store: VolumeInterface, place: Place, commit: Commit, older: Commit | None) -> Change:
    entry = skill_at(store, place.skill_id, commit.oid)
    there = skill_at(store, place.skill_id, older.oid) if older else None
    after, kind, source = place._replace(before=commit.oid), "updated", ""
    if entry is None:
        kind = "deleted"
    elif there is None and not _stood(store, place.skill_id, commit):
        source = _source(store, entry, commit)
        kind = "renamed" if source else "created"
    if source:
        after = Place(source, commit.parents[0])
    version, path = (entry.version, entry.path) if entry else ("", "")
    return Change(commit, place.skill_id, version, path, kind, source, after)  # type: ignore[arg-type]  # one of Kind


def _stood(store: VolumeInterface, skill_id: str, commit: Commit) -> bool:
    """Tell whether a skill was there before a commit."""
    return any(skill_at(store, skill_id, parent) for parent in commit.parents)


def skill_at(store: VolumeInterface, skill_id: str, at: str) -> SkillEntry | None:
    """Return a skill as it stood in a commit: the folder before the flat file."""
    for path in (folder_path(skill_id), flat_path(skill_id)):
        entry = store.entry(path, at=at)
        if entry is not None and entry.is_tree == (path == folder_path(skill_id)):
            return skill_entries([entry])[0]
    return None


def _source(store: VolumeInterface, made: SkillEntry, commit: Commit) -> str:
    """Return the id of the skill that became this one in a commit, empty for none."""
    if not commit.parents:
        return ""
    parent = commit.parents[0]
    now = {entry.skill_id for entry in skill_entries(store.tree(FOLDER, at=commit.oid))}
    gone = [entry for entry in skill_entries(store.tree(FOLDER, at=parent)) if entry.skill_id not in now]
    told = commit.trailers.get(RENAMED_FROM)
    same = next((entry for entry in gone if entry.version == made.version or entry.skill_id == told), None)
    if same is not None or not gone:
        return same.skill_id if same else ""
    text = _markdown(store, made, commit.oid)
    scores = [(similarity(_markdown(store, entry, parent), text), entry.skill_id) for entry in gone[:MOST_COMPARED]]
    score, source = max(scores, key=lambda one: one[0])
    return source if score >= SIMILAR else ""


def _markdown(store: VolumeInterface, entry: SkillEntry, at: str) -> bytes:
    try:
        return store.read(entry.path, at=at)[:LARGEST]
    except NotFound:
        return b""


def renamed_to(store: VolumeInterface, skill_id: str) -> str:
    """Return the id that a skill has now which was renamed; the same where it was not, or is gone."""
    named, head = skill_id, store.head()
    for _ in range(MOST_RENAMES if head else 0):
        if len(named) > ID_LENGTH or not ID.fullmatch(named):  # anybody may push a trailer
            break
        if skill_at(store, named, head or ""):
            return named
        last = next(iter(store.log(limit=1, path=_paths(named, ""))), None)
        if last is None or last.trailers.get(RENAMED_FROM) != named:
            break
        named = last.trailers.get(RENAMED_TO, "")
    return skill_id


def similarity(old: bytes, new: bytes) -> float:
    """Return the share of bytes that stand in lines which both have: 1 for the same lines in any order."""
    both = Counter(lines_of(old)) & Counter(lines_of(new))
    kept = sum((len(line) + 1) * count for line, count in both.items())
    return min(1.0, kept / max(len(old), len(new), 1))
