"""Linting for whoever reads or writes: a draft, a skill among its neighbours, a whole volume."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from llmos_lite.core.accounts.permissions import Actor, Scope, require
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.lint.budget import Budget, budgets, over_budget
from llmos_lite.core.skills.lint.codes import finding
from llmos_lite.core.skills.lint.rules import lint
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.scan import Finding
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.views import skill_view
from llmos_lite.volumes.access import ID, ID_LENGTH, VolumeRef, check_id

CLEARLY = 1.05
"""How much better another skill has to match before it is said to win."""
NEIGHBOURS = 5


@dataclass(frozen=True, slots=True)
class Linted:
    """A skill, and what there is to say about it."""

    skill_id: str
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class LintedVolume:
    """A whole volume: its skills, what each client makes of the list, and what does not fit."""

    skills: Sequence[Linted]
    budgets: Sequence[Budget]
    findings: Sequence[Finding]


class Linter:
    """Looks at how skills are written.

    Args:
        skills: knows who may look where.
        manager: finds neighbours.
    """

    def __init__(self, skills: SkillService, manager: SkillsManager) -> None:
        self._skills, self._manager = skills, manager

    async def draft(
        self, actor: Actor, skill_id: str, content: str, files: Collection[str] = (), *, team_id: str | None = None
    ) -> list[Finding]:
        """Return what there is to say about a text that is not saved yet, among the skills that the actor sees.

        Raises:
            Invalid: `skill.invalid_id`.
            NotFound: `volume.unknown`, for a team that the actor is not in.
            Forbidden: `scope.missing`.
        """
        require(actor, Scope.SKILLS_READ)
        check_id(skill_id, "skill")

        def work() -> list[Finding]:
            skill = Skill.parse(skill_id, content)
            found = lint(skill_id, content.encode("utf-8", "surrogatepass"), files)
            return [*found, *overlaps(self._manager, self._manager.libraries(actor, team_id), skill)]

        return await asyncio.to_thread(work)

    async def skill(self, actor: Actor, skill_id: str, *, volume: VolumeRef | None = None) -> Linted:
        """Return what there is to say about a skill, among those that the actor sees.

        Raises:
            NotFound: `skill.unknown`, `volume.unknown`.
            Forbidden: `scope.missing`.
        """
        require(actor, Scope.SKILLS_READ)
        ref = volume or await self._skills.seen(actor, skill_id)
        handle = await asyncio.to_thread(self._skills.reading, actor, ref)

        def work() -> Linted:
            view = skill_view(handle, skill_id, history=0)
            libraries = [self._manager.library_of(handle)] if volume else self._manager.libraries(actor)
            found = lint(skill_id, view.content.encode(), view.files)
            return Linted(skill_id, [*found, *overlaps(self._manager, libraries, view.skill)])

        return await asyncio.to_thread(work)

    async def volume(self, actor: Actor, ref: VolumeRef) -> LintedVolume:
        """Return what there is to say about a volume as a whole.

        Raises:
            NotFound: `volume.unknown`.
            Forbidden: `scope.missing`.
        """
        require(actor, Scope.SKILLS_READ)
        handle = await asyncio.to_thread(self._skills.reading, actor, ref)

        def work() -> LintedVolume:
            library = self._manager.library_of(handle)
            linted = []
            for skill_id, skill in library.skills.items():
                if not ID.fullmatch(skill_id) or len(skill_id) > ID_LENGTH:
                    linted.append(Linted(skill_id, [finding("standard.name", str(skill.error), file="")]))
                    continue
                if not handle.skill_entry(skill_id):
                    continue
                view = skill_view(handle, skill_id, history=0)
                found = lint(skill_id, view.content.encode(), view.files)
                linted.append(Linted(skill_id, [*found, *overlaps(self._manager, [library], skill)]))
            room = budgets(library.skills.values())
            return LintedVolume(linted, room, over_budget(room))

        return await asyncio.to_thread(work)


def overlaps(manager: SkillsManager, libraries: Sequence[Library], skill: Skill) -> Iterator[Finding]:
    """Yield what neighbours take from a skill: they win for its own description, or say nearly the same."""
    if skill.error is not None or not skill.description:
        return
    near = manager.ranking.ranked(libraries, skill.description, NEIGHBOURS, only_fitting=False, shadowed=True)
    others = [one for one in near if one.skill.skill_id != skill.skill_id]
    if len(others) == len(near):  # a draft: compared with those alone
        compared = [skill, *(one.skill for one in others)]
        near = manager.filter_skills_by_query(compared, skill.description, NEIGHBOURS, only_fitting=False)
        others = [one for one in near if one.skill.skill_id != skill.skill_id]
    own = next((one.score for one in near if one.skill.skill_id == skill.skill_id), 0.0)
    if others and own and others[0].score > CLEARLY * own:
        other = others[0].skill
        said = f"{other.skill_id} ({other.volume}) is found before it by its own description: say what is special here."
        yield finding("overlap.wins", said, 3)
    for one in others:
        if manager.repeats(skill, one.skill):
            said = f"{one.skill.skill_id} ({one.skill.volume}) says nearly the same: merge the two, or delete one."
            yield finding("overlap.same", said)
            return
