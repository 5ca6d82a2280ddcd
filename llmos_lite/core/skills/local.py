"""Skills in folders of this machine, for the checks that need no server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.install import LEFT_OUT, Package, files_at, packages_of, unpacked
from llmos_lite.core.skills.scan import Category, Finding, Severity
from llmos_lite.engines.git_objects import File
from llmos_lite.errors import NotFound
from llmos_lite.volumes.skill_paths import FILE

MOST_LINKS = 20
_ARCHIVES = (".zip", ".skill", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
_MAINS = frozenset({FILE, FILE.lower()})


@dataclass(frozen=True, slots=True)
class LocalSkill:
    """A skill as it lies there, or files that belong to none.

    Args:
        skill: parsed; without an id for files that belong to no skill.
        files: by their paths in `folder`.
        folder: where they are, seen from where the command runs, ending with `/`; empty for there.
        main: path of its Markdown among the files.
    """

    skill: Skill
    files: Mapping[str, bytes]
    folder: str = ""
    main: str = FILE


@dataclass(frozen=True, slots=True)
class Found:
    """What lies at one path.

    Args:
        skills: folders with a `SKILL.md`, and what was named itself.
        loose: the other files.
        path: as it was named.
    """

    skills: Sequence[LocalSkill]
    loose: LocalSkill
    path: Path


def local_skills(paths: Sequence[Path], here: Path) -> list[LocalSkill]:
    """Return the skills at or below some paths; links are not followed.

    Args:
        paths: folders, archives, a `SKILL.md`, which stands for its folder, or another Markdown file.
        here: where the command runs.

    Raises:
        NotFound: `path.missing`, `path.no_skill`.
        Invalid: `install.not_an_archive`.
        TooLarge: `install.too_many_files` or `install.too_large`.
    """
    found = [look_at(path, here) for path in paths]
    if empty := next((one for one in found if not one.skills), None):
        hint = f"Name a folder with a {FILE}, or a Markdown file."
        raise NotFound("path.no_skill", f"There is no skill in {empty.path}.", hint=hint)
    return [skill for one in found for skill in one.skills]


def look_at(path: Path, here: Path) -> Found:
    """Return what lies at a path; raises as `local_skills`, except `path.no_skill`."""
    whole = path.resolve()
    if path.is_file() and path.name.lower().endswith(_ARCHIVES):
        with path.open("rb") as stream:
            return _apart(path, unpacked(stream), whole, here)
    if path.is_file() and path.name in _MAINS:
        folder = look_at(whole.parent, here)
        return replace(folder, skills=[one for one in folder.skills if one.folder == _seen(whole.parent, here)])
    if path.is_file():
        return _one_file(path, _seen(whole.parent, here))
    return _apart(path, files_at(path), whole.parent, here)


def _one_file(path: Path, folder: str) -> Found:
    files = {path.name: path.read_bytes()}
    if path.suffix.lower() != ".md":
        return Found([], LocalSkill(Skill(skill_id=""), files, folder), path)
    skill = Skill.parse(path.stem, files[path.name], path=path.name)
    return Found([LocalSkill(skill, files, folder, path.name)], LocalSkill(Skill(skill_id=""), {}), path)


def _apart(path: Path, files: Mapping[str, bytes | File], base: Path, here: Path) -> Found:
    """Return the skills among files whose paths begin at `base`, and the files in none of them."""
    packages = [one for one in packages_of(files) if one.is_folder]
    roots = {PurePosixPath(one.path).parent for one in packages}
    loose = {name: _bytes(one) for name, one in files.items() if not roots & set(PurePosixPath(name).parents)}
    top = base / path.resolve().name
    inside = {name.removeprefix(f"{top.name}/"): data for name, data in loose.items()}
    if base == path.resolve():  # an archive, whose paths begin in it
        top, inside = base, loose
    return Found(
        [_skill(one, base, here) for one in packages], LocalSkill(Skill(skill_id=""), inside, _seen(top, here)), path
    )


def _skill(package: Package, base: Path, here: Path) -> LocalSkill:
    files = {name: _bytes(one) for name, one in package.files.items()} | {FILE: package.content}
    skill = Skill.parse(package.name, package.content, path=FILE)
    return LocalSkill(skill, files, _seen(base / PurePosixPath(package.path).parent, here))


def _bytes(one: bytes | File) -> bytes:
    return one.data if isinstance(one, File) else one


def _seen(path: Path, here: Path) -> str:
    """Return a folder as it is seen from where the command runs, ending with `/`; a whole path for one outside."""
    here = here.resolve()
    if path == here:
        return ""
    return f"{path.relative_to(here).as_posix() if path.is_relative_to(here) else path.as_posix()}/"


def links(paths: Sequence[Path]) -> list[Finding]:
    """Return a finding for every symbolic link: what it leads to is no part of the skill, and may be anything."""
    found = [
        Finding(
            "file.link",
            Severity.HIGH,
            "It is a symbolic link, which may lead out of the folder.",
            file=where,
            category=Category.BINARY,
        )
        for path in paths
        for where in _links(path)
    ]
    return found[:MOST_LINKS]


def _links(path: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(path, followlinks=False):
        folders[:] = sorted(set(folders) - LEFT_OUT)
        for name in sorted([*folders, *names]):
            one = Path(folder, name)
            if one.is_symlink():
                yield str(one.relative_to(path))
