"""What becomes of an imported skill: what came in, what stands here and what is there now, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from llmos_lite.core.skills.credentials import masked
from llmos_lite.core.skills.exporting import files_of
from llmos_lite.core.skills.fetching import Fetched, Haul
from llmos_lite.core.skills.install import Installed
from llmos_lite.core.skills.lockfile import Locked
from llmos_lite.core.skills.naming import named
from llmos_lite.core.skills.versions import current_version
from llmos_lite.engines.git_diff import is_binary, unified
from llmos_lite.engines.git_objects import File, tree_id
from llmos_lite.volumes.git_volume import GitVolume

LARGEST_COMPARED, MOST_DIFF = 512 << 10, 1 << 20
"""Bytes of a file whose lines are compared, and characters of all diffs."""

State = Literal["current", "available", "updated", "edited", "pinned", "gone", "removed", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Followed:
    """An imported skill, and what became of it.

    Args:
        skill_id: its id here.
        state: `current`: nothing new there; `available`, `updated`: something is, and was not or was taken; `edited`:
            something is, and it was edited here; `pinned`: it was not looked at; `gone`: it is not there any more;
            `removed`: it is not here any more; `refused`, `failed`: see `detail`.
        source: where it comes from, for people.
        ref: branch, tag or commit.
        detail: why, where there is something to say.
        diff: from here to there, unified.
        version: Git id of what stands here.
    """

    skill_id: str
    state: State
    source: str = ""
    ref: str = ""
    detail: str = ""
    diff: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What an update found out about a skill, and what it would take."""

    state: Followed
    theirs: Fetched | None = None


def followed(skill_id: str, one: Locked, state: State, detail: str = "") -> Followed:
    """Return what became of a skill of the lock file."""
    return Followed(skill_id, state, masked(one.source), one.ref, detail)


def name_of(skill_id: str, one: Locked) -> str:
    """Return the name of the skill where it comes from: of its folder there."""
    parts = one.path.split("/")
    return parts[-2] if len(parts) > 1 else one.renamed_from or skill_id


def look(handle: GitVolume, skill_id: str, locked: Locked, haul: Haul, *, force: bool) -> Look:
    """Compare what came in, what stands here and what is there."""
    there = followed(skill_id, locked, "current")
    here = current_version(handle, skill_id)
    if not here.version:
        return Look(replace(there, state="removed", detail="It is not here any more."))
    there = replace(there, version=here.version)
    theirs = next((one for one in haul.skills if one.locked.path == locked.path), None)
    if theirs is None:
        why = haul.problems.get(name_of(skill_id, locked), "It is not there any more.")
        return Look(replace(there, state="gone", detail=why))
    if theirs.package.problem:
        return Look(replace(there, state="refused", detail=theirs.package.problem))
    if locked.renamed_from:
        theirs = _renamed(theirs, skill_id)
    files = theirs.package.all_files()
    coming = tree_id(files)
    if coming in {locked.tree_id, here.version} or theirs.locked.computed_hash == locked.computed_hash:
        edited = here.version not in {locked.tree_id, coming}
        return Look(replace(there, detail="It was edited here." if edited else ""))
    there = replace(there, diff=_diff(skill_id, files_of(here), files))
    if here.version != locked.tree_id and not force:
        said = "It was edited here, and is left alone: compare, then use --force, or keep yours with a pin."
        return Look(replace(there, state="edited", detail=said))
    return Look(replace(there, state="available"), theirs)


def _renamed(theirs: Fetched, skill_id: str) -> Fetched:
    """Return a skill as it stands here under another id: what came in was renamed in the same way."""
    content = named(theirs.package.content, skill_id) or theirs.package.content
    return replace(theirs, package=replace(theirs.package, content=content))


def after(state: Followed, came: Installed | None) -> Followed:
    """Return what became of a skill once it was taken, or not."""
    if came is None:
        return state
    if came.status == "refused":
        return replace(state, state="refused", detail=came.detail)
    return replace(state, state="updated", detail=came.detail, version=came.version)


def _diff(skill_id: str, old: Mapping[str, File], new: Mapping[str, File]) -> str:
    return "".join(_patches(f"skills/{skill_id}/", old, new))


def _patches(lead: str, old: Mapping[str, File], new: Mapping[str, File]) -> Iterator[str]:
    left = MOST_DIFF
    for path in sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name)):
        sides = [file.data if file else None for file in (old.get(path), new.get(path))]
        known = [data for data in sides if data is not None]
        if any(is_binary(data) or len(data) > LARGEST_COMPARED for data in known):
            yield f"# {lead}{path} differs; it is no text, or too long to show.\n"
            continue
        text = unified(sides[0], sides[1], lead + path, lead + path).text or f"# {lead}{path}: may it be run?\n"
        left -= len(text)
        yield text if left > 0 else f"# {lead}{path} differs.\n"
