"""A project's folder of skills, kept in step with the server: what it wrote is followed, what a person wrote is not.

A file of state in the folder says which version of which skill was written, with a digest of its files. A skill is
swapped in whole by renames, and the state names its digest before: a pull that is cut off is finished by the next one.
What is taken away is compared with what was planned, right before and once more before it is removed: an edit that is
made meanwhile is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from llmos_lite.cli.archives import Offered, read_folder, remove, write_file, write_folder
from llmos_lite.engines.git_objects import File
from llmos_lite.errors import Conflict, Invalid
from llmos_lite.volumes.access import check_id

STATE, SCRATCH, KEPT = ".llmos-skills.json", ".llmos-tmp", ".llmos-kept"
FORMAT = 1

Status = Literal["added", "updated", "removed", "unchanged", "edited", "foreign", "broken", "gone"]
Fetch: TypeAlias = Callable[[Offered], Mapping[str, File]]
LEFT = frozenset({"edited", "foreign", "broken", "gone"})
"""What a pull leaves alone, and warns of."""
MEANWHILE = "It was changed here while the pull ran."
_DIGITS = 64
"""Of a digest."""


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes, or became, of one skill.

    Args:
        skill_id: its id.
        status: `edited`, `foreign`: it is left alone; `broken`: so it is, since the server's cannot be read; `gone`: so
            it is, since most would be removed.
        detail: why, where there is something to say.
        skill: what the server has.
        digest: of the files that stood there when this was planned; empty when nothing did.
    """

    skill_id: str
    status: Status
    detail: str = ""
    skill: Offered | None = None
    digest: str = ""


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
            wanted: what should be there; what is broken there stays as it is here.
            force: overwrite and remove what was edited here, if it was written by a pull.
        """
        there = {skill.skill_id: skill for skill in wanted}
        steps = [self._wanted(skill, force=force) for skill in there.values() if not skill.problem]
        broken = [
            Step(key, "broken", f"It cannot be read on the server, and stays as it is: {there[key].problem}")
            for key in self._known.keys() & there.keys()
            if there[key].problem
        ]
        gone = [self._gone(skill_id, force=force) for skill_id in self._known.keys() - there.keys()]
        return sorted([*steps, *broken, *gone], key=lambda step: step.skill_id)

    def wary(self, steps: Sequence[Step]) -> list[Step]:
        """Return steps that remove nothing, when more than half of what a pull wrote would go: for a wrong account."""
        removed = sum(step.status == "removed" for step in steps)
        if 2 * removed <= len(self._known):
            return list(steps)
        said = f"It is gone on the server, as {removed} of {len(self._known)} are; --force removes them."
        return [replace(step, status="gone", detail=said) if step.status == "removed" else step for step in steps]

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
            return Step(skill.skill_id, "edited", f"It was edited here{moved}.", skill, digest)
        same = digest == known.digest and (known.volume, known.version) == (skill.volume, skill.version)
        return Step(skill.skill_id, "unchanged" if same else "updated", skill=skill, digest=digest)

    def _gone(self, skill_id: str, *, force: bool) -> Step:
        known, path = self._known[skill_id], self.root / skill_id
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            return Step(skill_id, "foreign", "It is gone on the server; what is there was not written by a pull.")
        digest = digest_of(read_folder(path)) if path.exists() else ""
        if digest not in {"", known.digest, known.coming} and not force:
            return Step(skill_id, "edited", "It is gone on the server, and was edited here.", digest=digest)
        return Step(skill_id, "removed", digest=digest)

    def _apply(self, step: Step, fetch: Fetch) -> Step:
        path = self.root / step.skill_id
        if step.status == "removed":
            if not self._away(path, step.digest):
                return replace(step, status="edited", detail=MEANWHILE)
            self._known.pop(step.skill_id)
            self._save()
        elif step.skill is not None and step.status in {"added", "updated", "foreign"}:
            return self._write(step, step.skill, fetch(step.skill))
        return step

    def _write(self, step: Step, skill: Offered, files: Mapping[str, File]) -> Step:
        path, digest = self.root / skill.skill_id, digest_of(files)
        if step.status == "foreign":
            if path.is_symlink() or not path.is_dir() or digest_of(read_folder(path)) != digest:
                return step
            step = Step(skill.skill_id, "unchanged", "It was there already.", skill)  # an earlier pull, cut off
        elif not self._swap(path, step.digest, skill, files):
            return replace(step, status="edited", detail=MEANWHILE)
        self._known[skill.skill_id] = _Known(skill.volume, skill.version, digest)
        self._save()
        return step

    def _swap(self, path: Path, planned: str, skill: Offered, files: Mapping[str, File]) -> bool:
        """Put a skill in its place, unless that is not as it was when this was planned."""
        draft = self.root / SCRATCH / f"{skill.skill_id}.{os.urandom(4).hex()}"
        write_folder(draft, files)
        digest = digest_of(files)
        before = self._known.get(skill.skill_id)
        self._known[skill.skill_id] = replace(before or _Known(skill.volume, "", digest), coming=digest)
        self._save()
        if self._away(path, planned) and not os.path.lexists(path):
            draft.rename(path)
            return True
        if before is None:
            self._known.pop(skill.skill_id)
        else:
            self._known[skill.skill_id] = before
        self._save()
        return False

    def _away(self, path: Path, planned: str) -> bool:
        """Take a folder out of the way by a rename, so that no half of it is ever seen; tell whether it is away.

        Its name says then what should be in it.
        """
        if not os.path.lexists(path):
            return True
        if path.is_symlink() or not path.is_dir() or digest_of(read_folder(path)) != planned:
            return False
        old = self.root / SCRATCH / f"{path.name}.{os.urandom(4).hex()}.{planned}"
        old.parent.mkdir(exist_ok=True)
        path.rename(old)
        return True

    def _sweep(self) -> None:
        """Remove what is not needed any more; what was edited while it was taken away goes to a folder for it."""
        scratch = self.root / SCRATCH
        if scratch.is_dir() and not scratch.is_symlink():
            for path in sorted(scratch.iterdir()):
                planned = path.suffix.removeprefix(".")
                if len(planned) == _DIGITS and digest_of(read_folder(path)) != planned:
                    kept = self.root / KEPT / path.stem
                    kept.parent.mkdir(exist_ok=True)
                    path.rename(kept)
        remove(scratch)

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
