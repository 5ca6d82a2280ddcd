"""Skills on their way out: the files of a version, as they stand in Git."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from llmos_lite.core.accounts.permissions import Actor, Scope, require
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.packing import pack, pack_zip
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.versions import Version, current_version, find_version
from llmos_lite.engines.git_objects import File
from llmos_lite.errors import Forbidden, Invalid, NotFound
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.skill_paths import FILE, flat_path

Form = Literal["tar.gz", "zip"]


@dataclass(frozen=True, slots=True)
class SkillArchive:
    """A version of a skill, packed.

    Args:
        skill_id: its id.
        volume: where it lives.
        version: the Git id of its entry.
        form: of the archive.
        data: the archive; the skill's files stand at its root.
        held: codes of what a scanner holds it back for; empty for one that may be used.
    """

    skill_id: str
    volume: str
    version: str
    form: Form
    data: bytes
    held: tuple[str, ...] = ()


class SkillExports:
    """Hands out skills whole.

    Args:
        skills: knows who sees what.
    """

    def __init__(self, skills: SkillService) -> None:
        self._skills = skills

    async def archive(
        self,
        actor: Actor,
        skill_id: str,
        *,
        volume: VolumeRef | None = None,
        team_id: str | None = None,
        version: str | None = None,
        form: Form = "tar.gz",
        held: bool = False,
    ) -> SkillArchive:
        """Return a skill as an archive: the same bytes for the same version.

        Args:
            actor: the person.
            skill_id: the skill.
            volume: where it is; the one that the actor sees when None.
            team_id: the chosen team, when `volume` is None.
            version: an earlier version.
            form: of the archive.
            held: also one that a scanner holds back.

        Raises:
            NotFound: `skill.unknown`, `skill.no_file`, `volume.unknown`, `skill.unknown_version`.
            Forbidden: `scope.missing`, `skill.held`.
        """
        require(actor, Scope.SKILLS_READ)
        ref = volume or await self._skills.seen(actor, skill_id, team_id)
        handle = await asyncio.to_thread(self._skills.reading, actor, ref)
        found = await asyncio.to_thread(_archive, handle, skill_id, version, form)
        skill = Skill(skill_id=found.skill_id, volume=found.volume, version=found.version)
        codes = await asyncio.to_thread(self._skills.manager.held_for, actor, skill, team_id)
        if codes and not held:
            raise _held(found, codes)
        return replace(found, held=codes)


def _held(found: SkillArchive, codes: tuple[str, ...]) -> Forbidden:
    return Forbidden(
        "skill.held",
        f"A scanner holds {found.skill_id} back ({', '.join(codes)}), and nobody has signed it off.",
        hint=f"`llmos skills scan --volume {found.volume}` says why; --held, or ?held=true, takes it.",
        codes=list(codes),
    )


def _archive(volume: GitVolume, skill_id: str, version: str | None, form: Form) -> SkillArchive:
    found = current_version(volume, skill_id) if version is None else find_version(volume, skill_id, version)
    if not found.version:
        raise NotFound("skill.unknown", f"There is no skill {skill_id} in the volume {volume.ref}.")
    files = files_of(found)
    if FILE not in files:
        raise NotFound("skill.no_file", f"The folder of {skill_id} has no SKILL.md.")
    data = pack_zip(files) if form == "zip" else pack(files)
    return SkillArchive(found.skill_id, str(volume.ref), found.version, form, data)


def files_of(version: Version) -> dict[str, File]:
    """Return the files of a version by their paths in the folder, byte for byte.

    The seed's flat file has no folder: it is written in the standard's form, as when it is installed.
    """
    files = {path: File(version.store.blob(kept.oid), kept.executable) for path, kept in version.files.items()}
    if version.path == flat_path(version.skill_id):
        with suppress(Invalid):
            return {FILE: File(Skill.parse(version.skill_id, files[FILE].data).render().encode())}
    return files
