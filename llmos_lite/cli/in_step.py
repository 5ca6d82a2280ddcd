"""A project's folder of skills, kept in step with the server: what it wrote is followed, what a person wrote is not.

A file of state in the folder says which version of which skill was written, with a digest of its files. A skill is
swapped in whole by renames, and the state names its digest before: a pull that is cut off is finished by the next one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from llmos_lite.cli.archives import Offered, read_folder, remove, write_file, write_folder
from llmos_lite.engines.git_objects import File
from llmos_lite.errors import Conflict, Invalid
from llmos_lite.volumes.access import check_id

STATE, SCRATCH = ".llmos-skills.json", ".llmos-tmp"
FORMAT = 1

Status = Literal["added", "updated", "removed", "unchanged", "edited", "foreign"]
Fetch: TypeAlias = Callable[[Offered], Mapping[str, File]]
LEFT = frozenset({"edited", "foreign"})
"""What a pull leaves alone, and warns of."""


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes, or became, of one skill."""

    skill_id: str
    status: Status
    detail: str = ""
    skill: Offered | None = None


@dataclass(slots=True)
class _Known:
    """A skill that was written: of which volume, which version, and the digests that its files may have."""

    volume: str
    version: str
    digest: str
    coming: str = ""


class Folder:
    """A folder of skills.

    Args:
        root: where; made with the first write.

    Raises:
        Conflict: `pull.state`, for a state that cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known = dict(_load(root / STATE))

    def plan(self, wanted: Iterable[Offered], *, force: bool = False) -> list[Step]:
        """Return what a pull would do, by skill.

        Args:
            wanted: what should be there.
            force: overwrite and remove what was edited here, if it was written by a pull.
        """
        there = {skill.skill_id: skill for skill in wanted}
        steps = [self._wanted(skill, force=force) for skill in there.values()]
        gone = [self._gone(skill_id, force=force) for skill_id in self._known.keys() - there.keys()]
        return sorted([*steps, *gone], key=lambda step: step.skill_id)

    def apply(self, steps: Iterable[Step], fetch: Fetch) -> Iterator[Step]:
        """Do it, one skill after the other, and yield what was done."""
        self._sweep()
        for step in steps:
            yield self._apply(step, fetch)
        self._sweep()

    def _wanted(self, skill: Offered, *, force: bool) -> Step:
        known, path = self._known.get(skill.skill_id), self.root / skill.skill_id
        if not path.is_symlink() and not path.exists():
            return Step(skill.skill_id, "added", skill=skill)
        if known is None or path.is_symlink() or not path.is_dir():
            return Step(skill.skill_id, "foreign", "It is there and was not written by a pull.", skill)
        digest = digest_of(read_folder(path))
        if digest not in {known.digest, known.coming} and not force:
            moved = "" if known.version == skill.version else ", and the server has another version"
            return Step(skill.skill_id, "edited", f"It was edited here{moved}.", skill)
        same = digest == known.digest and (known.volume, known.version) == (skill.volume, skill.version)
        return Step(skill.skill_id, "unchanged" if same else "updated", skill=skill)

    def _gone(self, skill_id: str, *, force: bool) -> Step:
        known, path = self._known[skill_id], self.root / skill_id
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            return Step(skill_id, "foreign", "It is gone on the server; what is there was not written by a pull.")
        if path.exists() and digest_of(read_folder(path)) not in {known.digest, known.coming} and not force:
            return Step(skill_id, "edited", "It is gone on the server, and was edited here.")
        return Step(skill_id, "removed")

    def _apply(self, step: Step, fetch: Fetch) -> Step:
        path = self.root / step.skill_id
        if step.status == "removed":
            self._away(path)
            self._known.pop(step.skill_id)
            self._save()
        elif step.skill is not None and step.status not in {"edited", "unchanged"}:
            return self._write(step, step.skill, fetch(step.skill))
        return step

    def _write(self, step: Step, skill: Offered, files: Mapping[str, File]) -> Step:
        path, digest = self.root / skill.skill_id, digest_of(files)
        if step.status == "foreign":
            if path.is_symlink() or not path.is_dir() or digest_of(read_folder(path)) != digest:
                return step
            step = Step(skill.skill_id, "unchanged", "It was there already.", skill)  # an earlier pull, cut off
        else:
            self._swap(path, skill, files, digest)
        self._known[skill.skill_id] = _Known(skill.volume, skill.version, digest)
        self._save()
        return step

    def _swap(self, path: Path, skill: Offered, files: Mapping[str, File], digest: str) -> None:
        draft = self.root / SCRATCH / f"{skill.skill_id}.{os.urandom(4).hex()}"
        write_folder(draft, files)
        known = self._known.setdefault(skill.skill_id, _Known(skill.volume, "", digest))
        known.coming = digest
        self._save()
        self._away(path)
        draft.rename(path)

    def _away(self, path: Path) -> None:
        """Take a folder out of the way by a rename, so that no half of it is ever seen."""
        if path.is_dir() and not path.is_symlink():
            old = self.root / SCRATCH / f"{path.name}.{os.urandom(4).hex()}"
            old.parent.mkdir(exist_ok=True)
            path.rename(old)

    def _sweep(self) -> None:
        remove(self.root / SCRATCH)

    def _save(self) -> None:
        skills = {
            key: {name: value for name in _Known.__slots__ if (value := getattr(self._known[key], name))}
            for key in sorted(self._known)
        }
        self.root.mkdir(parents=True, exist_ok=True)
        write_file(self.root / STATE, json.dumps({"version": FORMAT, "skills": skills}, indent=2).encode() + b"\n")


def digest_of(files: Mapping[str, File]) -> str:
    """Return one digest of files: their paths, whether they may be run, and their contents."""
    found = hashlib.sha256()
    for name in sorted(files):
        file = files[name]
        found.update(f"{name}\0{int(file.executable)}{len(file.data)}\0".encode("utf-8", "surrogateescape") + file.data)
    return found.hexdigest()


def _load(path: Path) -> Iterator[tuple[str, _Known]]:
    try:
        found = json.loads(path.read_bytes())
        for skill_id, said in {FORMAT: found["skills"]}[found["version"]].items():
            words = [str(said.get(name, "")) for name in _Known.__slots__]
            yield check_id(skill_id, "skill"), _Known(*words)
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, Invalid) as error:
        raise Conflict(
            "pull.state",
            f"{path} cannot be read: a pull does not know what it wrote.",
            hint="Remove it; what is there already is compared with the server then.",
        ) from error
