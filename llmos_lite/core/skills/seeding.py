"""A new system volume begins with the starter skills and the templates."""

from __future__ import annotations

from llmos_lite.core.skills.starter import starter_skills
from llmos_lite.core.skills.templates import shipped_templates
from llmos_lite.engines.git_objects import Commit
from llmos_lite.engines.volume_interface import PLATFORM as AUTHOR
from llmos_lite.volumes.access import PLATFORM, SYSTEM
from llmos_lite.volumes.manager import VolumeManager
from llmos_lite.volumes.skill_paths import TEMPLATES, file_path

SUBJECT = "Add the starter skills"
TEMPLATES_SUBJECT = "Add the templates"


def ensure_starter(volumes: VolumeManager) -> Commit | None:
    """Put the starter skills into a system volume that nobody has written yet, as one commit by the platform.

    Returns:
        The commit; None for a volume with a history of its own, so that a skill that was deleted stays deleted. One
        that never had templates gets these.
    """
    volume = volumes.open(PLATFORM, SYSTEM, write=True)
    with volume.store.lock():
        if volume.store.count() > 1 or volume.list_skills():
            had = volume.store.entry(TEMPLATES) is not None or volume.store.log(limit=1, path=TEMPLATES)
            return None if had else volume.store.commit(shipped_templates(), TEMPLATES_SUBJECT, AUTHOR)
        files = {file_path(skill_id): text.encode() for skill_id, text in starter_skills().items()}
        return volume.store.commit(files | shipped_templates(), SUBJECT, AUTHOR)
