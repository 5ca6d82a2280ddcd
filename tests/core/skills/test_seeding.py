"""A new system volume begins with the starter skills, once."""

from __future__ import annotations

from conftest import ALICE

from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.seeding import ensure_starter
from llmos_lite.core.skills.starter import starter_skills
from llmos_lite.volumes.access import PLATFORM, SYSTEM
from llmos_lite.volumes.manager import VolumeManager


def test_a_new_system_volume_gets_them_in_one_commit(volumes: VolumeManager, manager: SkillsManager) -> None:
    made = ensure_starter(volumes)
    assert made is not None
    assert made.subject == "Add the starter skills"
    volume = volumes.open(PLATFORM, SYSTEM)
    assert [entry.skill_id for entry in volume.list_skills()] == sorted(starter_skills())
    assert volume.store.count() == 2
    assert all(skill.error is None for skill in manager.load_skills_for_user(ALICE))
    assert (volumes.folder(SYSTEM) / "skills/code-review/SKILL.md").is_file()


def test_what_was_deleted_stays_deleted(volumes: VolumeManager) -> None:
    ensure_starter(volumes)
    volume = volumes.open(PLATFORM, SYSTEM, write=True)
    for entry in volume.list_skills():
        volume.delete_skill(entry.skill_id)
    assert ensure_starter(volumes) is None
    assert volume.list_skills() == []
