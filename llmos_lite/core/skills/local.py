"""Skills in folders of this machine, for the checks that need no server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.install import LEFT_OUT, gather
from llmos_lite.core.skills.scan import Category, Finding, Severity
from llmos_lite.engines.git_objects import File
from llmos_lite.volumes.skill_paths import FILE

MOST_LINKS = 20


@dataclass(frozen=True, slots=True)
class LocalSkill:
    """A skill as it lies there.

    Args:
        skill: parsed.
        files: by their paths in its folder, `SKILL.md` among them.
    """

    skill: Skill
    files: Mapping[str, bytes]


def local_skills(paths: Sequence[Path]) -> list[LocalSkill]:
    """Return the skills at or below some paths; links are not followed.

    Raises:
        NotFound: `path.missing`.
        TooLarge: `install.too_many_files` or `install.too_large`.
    """
    found = []
    for package in gather(paths):
        files = {name: one.data if isinstance(one, File) else one for name, one in package.files.items()}
        files[FILE] = package.content
        found.append(LocalSkill(Skill.parse(package.name, package.content, path=FILE), files))
    return found


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
