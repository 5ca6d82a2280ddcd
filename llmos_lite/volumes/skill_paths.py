"""Where a skill stands in a volume: `skills/<id>/SKILL.md`, or the seed's flat `skills/<id>.md`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import NamedTuple

from llmos_lite.engines.git import Entry
from llmos_lite.engines.git_level import Level
from llmos_lite.engines.git_objects import FOLDER_MODE
from llmos_lite.volumes.access import ID, ID_LENGTH, check_id

FOLDER = "skills"
FILE = "SKILL.md"
LOCK = "skills-lock.json"
"""File of a volume that says where its imported skills come from."""
RENAMED_FROM, RENAMED_TO = "Renamed-From", "Renamed-To"
"""Trailers of the commit that gives a skill another id."""
TEMPLATES = "templates"
"""Folder of a volume's templates, beside its skills."""
_FLAT = ".md"
_LEAD = len(FOLDER) + 1
_FILE_END = f"/{FILE}"
_IDS = re.compile(rf"(?:{ID.pattern}\n)*")


class SkillEntry(NamedTuple):
    """A skill as it stands in a volume.

    Args:
        skill_id: its id.
        version: Git id of its entry: the tree of the folder, or the blob of the flat file.
        path: of its Markdown file.
        is_folder: whether it has the standard's form; False for the seed's flat file.
    """

    skill_id: str
    version: str
    path: str
    is_folder: bool


_make: Callable[[tuple[str, str, str, bool]], SkillEntry] = partial(tuple.__new__, SkillEntry)
"""Makes an entry at a third of the cost; it counts when 10,000 are listed."""


def folder_path(skill_id: str) -> str:
    """Return the folder of a skill; the id is checked."""
    return f"{FOLDER}/{check_id(skill_id, 'skill')}"


def flat_path(skill_id: str) -> str:
    """Return the flat file of a skill; the id is checked."""
    return f"{folder_path(skill_id)}{_FLAT}"


def shown(path: str) -> str:
    """Return a path as text that any encoder takes; names in Git are bytes, and need not be UTF-8."""
    return path if path.isascii() else path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def file_path(skill_id: str, name: str = FILE) -> str:
    """Return the path of a file in a skill's folder; `name` may lead into folders."""
    return f"{folder_path(skill_id)}/{name}"


def skill_of(path: str) -> str:
    """Return the skill that a path belongs to, empty for none."""
    top, _, rest = path.partition("/")
    name, slash, _ = rest.partition("/")
    if top != FOLDER or not name:
        return ""
    return name if slash else name.removesuffix(_FLAT)


def skill_entries(entries: Collection[Entry]) -> list[SkillEntry]:
    """Return the skills among the entries of `skills/`, by id; a folder stands before a flat file of the same id.

    A name that is no id (`README.md`, `Notes`) is no skill. A folder without a `SKILL.md` is listed: whoever reads it
    learns what is missing.
    """
    level = entries if isinstance(entries, Level) else _level(entries)
    folders, files = level.folders(), level.files()
    found = _made(level.lead, folders.names, folders.oids, _FILE_END)
    if files:
        known = set(folders.names)
        flat = files.where([name.endswith(_FLAT) and name[: -len(_FLAT)] not in known for name in files.names])
        found += _made(level.lead, [name[: -len(_FLAT)] for name in flat.names], flat.oids, _FLAT)
    found.sort()
    return found


def _level(entries: Collection[Entry]) -> Level:
    """Return entries of `skills/` by columns."""
    modes = [FOLDER_MODE.decode() if entry.is_tree else "" for entry in entries]
    return Level(f"{FOLDER}/", [entry.path[_LEAD:] for entry in entries], [entry.oid for entry in entries], modes)


def _made(lead: str, names: list[str], oids: list[str], end: str) -> list[SkillEntry]:
    """Return the skills of one form. Column by column: 10,000 cost half of one by one."""
    if not names:
        return []
    paths = (lead + f"{end}\0{lead}".join(names) + end).split("\0")
    found = map(_make, zip(names, oids, paths, itertools.repeat(end == _FILE_END), strict=False))
    if _are_ids(names):
        return list(found)
    return [skill for skill in found if len(skill.skill_id) <= ID_LENGTH and ID.fullmatch(skill.skill_id)]


def _are_ids(names: list[str]) -> bool:
    """Tell whether all names are ids; one match of all together costs a fifth of one for each."""
    text = "\n".join(names) + "\n"
    fits = max(map(len, names), default=0) <= ID_LENGTH and text.count("\n") == len(names)
    return fits and _IDS.fullmatch(text) is not None


def misnamed(entries: Collection[Entry]) -> list[str]:
    """Return what stands in `skills/` as if it were a skill, under a name that is no id."""
    skills = skill_entries(entries)
    known = {entry.path.removesuffix(_FILE_END) for entry in skills}
    known |= {f"{FOLDER}/{entry.skill_id}{_FLAT}" for entry in skills}
    return [path for path, _, is_tree, _ in entries if (is_tree or path.endswith(_FLAT)) and path not in known]


def describe_edits(changes: Mapping[str, bytes | None], existed: Collection[str]) -> str:
    """Return the message of a hand edit, in the seed's form where it is about one skill."""
    skills = sorted({skill_of(path) or path for path in changes})
    if len(skills) != 1 or not skill_of(next(iter(changes))):
        return f"Adopt hand edits: {', '.join(skills[:5])}{', ...' if len(skills) > 5 else ''}"  # noqa: PLR2004
    mains = {path for path in changes if path.endswith((f"/{FILE}", _FLAT)) and path.count("/") <= 2}  # noqa: PLR2004
    if mains and all(changes[path] is None for path in mains):
        return f"Delete skill: {skills[0]}"
    return f"{'Create' if mains and not mains & set(existed) else 'Update'} skill: {skills[0]}"
