"""Another id for a skill: its folder moves as it is, and its lock file follows.

What is known by the folder's Git id is of the old one: sign-offs and evidence. It is scanned again, as after an edit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.skills.exporting import files_of
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.guard import folder_of, refuses
from llmos_lite.core.skills.lockfile import Lock
from llmos_lite.core.skills.naming import content_under
from llmos_lite.core.skills.scan import Scanner, scan
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.versions import Version, current_version
from llmos_lite.core.skills.views import SkillView, skill_view
from llmos_lite.engines.git_objects import Change, File, tree_id
from llmos_lite.errors import NotFound
from llmos_lite.volumes.access import PLATFORM, VolumeRef, check_id
from llmos_lite.volumes.following import renamed_to
from llmos_lite.volumes.git_volume import GitVolume, author_of
from llmos_lite.volumes.manager import VolumeManager
from llmos_lite.volumes.skill_paths import FILE, LOCK


class Whereabouts:
    """Knows under which id a skill stands now that may have been renamed.

    Args:
        volumes: whose history tells.
    """

    def __init__(self, volumes: VolumeManager) -> None:
        self._volumes = volumes

    def __call__(self, volume: str, skill_id: str) -> str:
        """Return its id; the same for one that was not renamed, and for one that is gone."""
        ref = VolumeRef.parse(volume)
        if not self._volumes.exists(ref):
            return skill_id
        return renamed_to(self._volumes.open(PLATFORM, ref).store, skill_id)


class SkillRenames:
    """Renames skills, for whoever may change them.

    Args:
        skills: knows who may write where.
        scanners: look at every skill that is written, by name.
    """

    def __init__(self, skills: SkillService, scanners: Mapping[str, Scanner] | None = None) -> None:
        self._skills, self._scanners = skills, dict(scanners or {})

    async def rename(
        self,
        actor: Actor,
        skill_id: str,
        new_id: str,
        *,
        volume: VolumeRef | None = None,
        expect: str | None = None,
    ) -> SkillView:
        """Give a skill another id, in one commit; of its text only the `name` changes.

        Args:
            actor: the person.
            skill_id: its id.
            new_id: its id from now on.
            volume: where it is; the one that the actor sees when None.
            expect: the version that the actor saw; None renames whatever is there.

        Raises:
            Conflict: `skill.exists`, when something has the new id in whatever case; `skill.changed`; `lock.broken`.
            NotFound: `skill.unknown`, `volume.unknown`; `skill.no_file`.
            Invalid: `skill.invalid_id`; `skill.unsafe`; `skill.unreadable`, when its name cannot be written.
            Forbidden: `volume.readonly`, `scope.missing`.
        """
        check_id(new_id, "skill")
        ref = volume or await self._skills.seen(actor, skill_id)
        principal = await self._skills.writer(actor, ref)
        handle = await asyncio.to_thread(self._skills.volumes.open, principal, ref, write=True)
        made = await asyncio.to_thread(self._rename, actor, handle, skill_id, new_id, expect)
        self._skills.manager.renamed()
        return await self._skills.marked(actor, made)

    def _rename(self, actor: Actor, volume: GitVolume, skill_id: str, new_id: str, expect: str | None) -> SkillView:
        with volume.store.lock():
            volume.commit_changes()
            before = current_version(volume, skill_id)
            if not before.version:
                raise NotFound("skill.unknown", f"There is no skill {skill_id} in the volume {volume.ref}.")
            content = _content(before, new_id)
            files = folder_of(before) | {FILE: content}
            findings = scan(self._scanners, Skill.parse(new_id, content), files, refuse=refuses(volume.ref))
            volume.rename_skill(
                skill_id,
                new_id,
                content,
                author_of(actor.user_id),
                expect=before.version if expect is None else expect,
                beside=_lock(volume, before, new_id, content),
            )
        return skill_view(volume, new_id, findings=findings)


def _content(before: Version, new_id: str) -> bytes:
    kept = before.files.get(FILE)
    if kept is None:
        raise NotFound("skill.no_file", f"The folder of {before.skill_id} has no SKILL.md.")
    content = before.store.blob(kept.oid)
    return content_under(Skill.parse(before.skill_id, content), content, new_id)


def _lock(volume: GitVolume, before: Version, new_id: str, content: bytes) -> dict[str, Change]:
    """Return the change of the volume's lock file; nothing when it says nothing of the skill."""
    files = files_of(before)
    after = tree_id(files | {FILE: File(content, files[FILE].executable)})
    text = Lock.read(volume).renamed(before.skill_id, new_id, before.version, after)
    return {LOCK: text} if text is not None else {}
