"""Skills in files, folders and archives of this machine, looked at before anything is sent."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from llmos_lite.cli.client import Json
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.install import Package, gather, unpack
from llmos_lite.core.skills.packing import pack
from llmos_lite.engines.git_objects import File


def found_at(paths: Sequence[Path], archives: tuple[str, ...]) -> list[Package]:
    """Return the skills at or below some paths.

    Args:
        paths: files, folders, archives.
        archives: how the names of archives end.

    Raises:
        NotFound: `path.missing`.
        Invalid, TooLarge: as `install.gather` and `install.unpack`.
    """
    found = list[Package]()
    for path in paths:
        if path.name.lower().endswith(archives) and path.is_file():
            with path.open("rb") as stream:
                found += unpack(stream)
        else:
            found += gather([path])
    return found


def chosen(found: Sequence[Package], wanted: Collection[str]) -> tuple[list[Package], list[Json]]:
    """Return the skills of some names, all when none is given; and those that are missing, as the server tells it."""
    names = {package.path: {package.name, _read(package).name} for package in found}
    there = set().union(*names.values()) if names else set()
    missing: list[Json] = [
        {"skill_id": name, "status": "refused", "detail": "There is no skill of that name there.", "version": ""}
        for name in dict.fromkeys(wanted)
        if name not in there
    ]
    return [one for one in found if not wanted or names[one.path] & set(wanted)], missing


def described(package: Package) -> Json:
    """Return what a skill says of itself, or why it cannot be had."""
    said = package.problem or _read(package).description
    return {"skill_id": package.name, "status": "refused" if package.problem else "available", "detail": said}


def packed(packages: Sequence[Package]) -> bytes:
    """Return skills as one archive, each in the folder that it lies in."""
    files = dict[str, File]()
    for one in packages:
        root = PurePosixPath(one.path).parent
        if not one.is_folder:
            files[one.path] = File(one.content)
            continue
        root = root if root.name else PurePosixPath(one.name)
        files |= {str(root / name): file for name, file in one.all_files().items()}
    return pack(files)


def _read(package: Package) -> Skill:
    return Skill.parse("", package.content)
