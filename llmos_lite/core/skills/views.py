"""Skills as somebody sees them: one with its files and history, and one in a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmos_lite.core.skills.explain import Explanation
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.scan import Finding
from llmos_lite.core.skills.versions import current_version, find_version
from llmos_lite.engines.git_objects import Commit
from llmos_lite.errors import NotFound
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.skill_paths import FILE, shown


@dataclass(frozen=True, slots=True)
class SkillView:
    """A skill with what belongs to it.

    Args:
        skill: parsed.
        content: its SKILL.md, as it stands.
        files: paths of the further files of its folder.
        history: its commits, newest first.
        findings: what scanners said of it when it was written.
    """

    skill: Skill
    content: str
    files: tuple[str, ...] = ()
    history: tuple[Commit, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class ListedSkill:
    """A skill in a list; `score` and `explanation` only in the answer to a query."""

    skill: Skill
    score: float | None = None
    fits: bool = True
    explanation: Explanation | None = None


def skill_view(
    volume: GitVolume,
    skill_id: str,
    *,
    version: str | None = None,
    history: int = 20,
    findings: Sequence[Finding] = (),
) -> SkillView:
    """Return a skill as it stands, or a version of it.

    Raises:
        NotFound: `skill.unknown`, `skill.no_file`, `skill.unknown_version`.
    """
    found = current_version(volume, skill_id) if version is None else find_version(volume, skill_id, version)
    if not found.version:
        raise NotFound("skill.unknown", f"There is no skill {skill_id} in the volume {volume.ref}.")
    kept = found.files.get(FILE)
    if kept is None:
        raise NotFound("skill.no_file", f"The folder of {skill_id} has no SKILL.md.")
    content = volume.store.blob(kept.oid).decode("utf-8", "replace")
    skill = Skill.parse(skill_id, content, volume=str(volume.ref), version=found.version, path=found.path)
    return SkillView(
        skill=skill,
        content=content,
        files=tuple(shown(path) for path in found.files if path != FILE),
        history=tuple(volume.get_git_log(history, skill_id=skill_id)) if history else (),
        findings=tuple(findings),
    )
