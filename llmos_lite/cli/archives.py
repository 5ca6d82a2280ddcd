"""Skills on their way from the server into folders and archives of this machine."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmos_lite.cli.client import Client, Json, Params, url
from llmos_lite.cli.unwritten import unwritten
from llmos_lite.engines.git_objects import File, check_path
from llmos_lite.errors import Invalid, TooLarge, UpstreamFailed
from llmos_lite.volumes.access import check_id

CACHES = frozenset({"__pycache__", "node_modules", ".venv", ".DS_Store"})
"""What a run of a skill's scripts, or a file manager, leaves in its folder."""
LARGEST = 64 << 20
"""Bytes of an archive of one skill; a skill has 16 MiB."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A skill that the server has for this person.

    Args:
        skill_id: its id.
        volume: where it lives.
        version: the Git id of its entry.
        problem: why it cannot be read.
        held: codes of what a scanner holds it back for.
    """

    skill_id: str
    volume: str
    version: str
    problem: str = ""
    held: tuple[str, ...] = ()


def offered(api: Client, *, team: str = "", volume: str = "") -> Iterator[Offered]:
    """Yield the skills that the person sees, or those of a volume; broken ones with their problem.

    Raises:
        UpstreamFailed: `server.garbled`, for an id that is none.
    """
    for item in api.items("/skills", {"team_id": team, "volume": volume}):
        if item.get("shadowed_by") and not volume:
            continue
        yield _offered(item)


def one_offered(api: Client, skill_id: str, *, team: str = "", volume: str = "") -> Offered:
    """Return one skill; see `offered`."""
    return _offered(api.get(url("skills", skill_id), {"team_id": team, "volume": volume}))


def _offered(item: Json) -> Offered:
    said, codes = str(item.get("error") or ""), item.get("held_for")
    held = tuple(str(code) for code in codes) if isinstance(codes, list) else ()
    try:
        return Offered(check_id(str(item["skill_id"]), "skill"), str(item["volume"]), str(item["version"]), said, held)
    except (KeyError, Invalid):
        raise UpstreamFailed("server.garbled", "What answered is no llmos server.") from None


def parted(skills: Iterable[Offered], *, held: bool) -> tuple[list[Offered], list[Offered]]:
    """Return the skills that are taken, and those that are left out since a scanner holds them back.

    Args:
        skills: as they are offered.
        held: take those, too, but none whose id another has that may be used.
    """
    found = list(skills)
    taken = {skill.skill_id: skill for skill in found if not skill.held}
    for skill in found:
        if held and skill.held:
            taken.setdefault(skill.skill_id, skill)
    return list(taken.values()), [skill for skill in found if skill.held and taken.get(skill.skill_id) != skill]


def fetch(api: Client, skill: Offered, *, held: bool = False) -> dict[str, File]:
    """Return the files of a version of a skill, by paths that stay in its folder.

    Args:
        api: asks the server.
        skill: the skill.
        held: also when a scanner holds it back.

    Raises:
        Forbidden: `skill.held`.
        UpstreamFailed: `server.garbled`.
        TooLarge: `skill.too_large`.
    """
    from llmos_lite.core.skills.install import unpacked  # noqa: PLC0415 - loads what only this needs

    params: Params = {"volume": skill.volume, "version": skill.version} | ({"held": "true"} if held else {})
    reply = api.send("GET", url("skills", skill.skill_id, "archive"), params, accept="application/gzip")
    data = bytearray()
    for chunk in reply.chunks():
        data += chunk
        if len(data) > LARGEST:
            raise TooLarge("skill.too_large", f"The archive of {skill.skill_id} is larger than {LARGEST >> 20} MiB.")
    return _checked(skill.skill_id, unpacked(io.BytesIO(bytes(data)), LARGEST))


def _checked(skill_id: str, files: Mapping[str, bytes | File]) -> dict[str, File]:
    found = {name: file if isinstance(file, File) else File(file) for name, file in files.items()}
    folded = {name.casefold() for name in found}
    if "SKILL.md" not in found or len(folded) < len(found):
        raise UpstreamFailed("server.garbled", f"What the server sent as {skill_id} is no skill.")
    for name in found:
        check_path(name)
    return found


def write_folder(folder: Path, files: Mapping[str, File]) -> None:
    """Write files into a folder that is not there yet."""
    folder.mkdir(parents=True)
    for name, file in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
        path.chmod(0o755 if file.executable else 0o644)


def read_folder(folder: Path) -> dict[str, File]:
    """Return the files of a folder without caches; a link in it is a file whose content says where it leads."""
    found = dict[str, File]()
    for where, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(set(folders) - CACHES)
        links = [name for name in folders if Path(where, name).is_symlink()]
        for name in (*sorted(set(names) - CACHES), *links):
            path = Path(where, name)
            if path.is_symlink():
                found[path.relative_to(folder).as_posix()] = File(b"link to " + os.fsencode(path.readlink()))
            elif path.is_file():
                runs = bool(path.stat().st_mode & 0o100)
                found[path.relative_to(folder).as_posix()] = File(path.read_bytes(), runs)
    return found


def write_file(path: Path, data: bytes) -> None:
    """Write a file at once: whoever reads it sees the old one or the new one."""
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.unlink(missing_ok=True)
        with draft.open("xb") as file:  # never through a link that somebody put there
            file.write(data)
        draft.replace(path)
    except OSError as error:
        raise unwritten(path, error) from error


def remove(path: Path) -> None:
    """Remove a folder or a link, and nothing that a link leads to."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
