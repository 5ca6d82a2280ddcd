"""Which skills go into the context of one message, and what is remembered of the choice."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.chat.assignment import Arm, Assignment
from llmos_lite.core.chat.conversation import Conversation
from llmos_lite.core.chat.injection import inject
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.manager import ScoredSkill, SkillsManager, usable
from llmos_lite.core.traces.trace import Exposure, SkillUse
from llmos_lite.errors import NotFound

Place: TypeAlias = tuple[str, str]
"""Volume and id of a skill."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What goes into the context.

    Args:
        system: the system prompt; empty without skills.
        used: the skills in it, best first.
        exposures: every skill that was considered, in whichever arm.
        commits: the commit at which each volume was read.
    """

    system: str = ""
    used: tuple[SkillUse, ...] = ()
    exposures: tuple[Exposure, ...] = ()
    commits: Mapping[str, str] = field(default_factory=dict)


class Chooser:
    """Chooses skills for messages.

    Args:
        skills: where they come from.
        assignment: who is treated and who is control.
        budget_tokens: most tokens of skills in one context.
    """

    def __init__(self, skills: SkillsManager, assignment: Assignment, *, budget_tokens: int) -> None:
        self._skills, self._assignment, self._budget = skills, assignment, budget_tokens

    async def choose(
        self,
        actor: Actor,
        query: str,
        team_id: str | None,
        limit: int,
        talk: Conversation,
        *,
        without: Collection[Place] = (),
    ) -> Choice:
        """Return what goes into the context; volumes that are not in memory yet are read beside the event loop.

        Args:
            actor: who asks.
            query: what the skills are chosen by.
            team_id: in which team's context; None for all of the person's.
            limit: most skills.
            talk: the conversation so far.
            without: volume and id of skills that were considered before.
        """
        if not limit:
            return Choice()
        libraries = await self._libraries(actor, team_id)
        context = self._skills.context(libraries, query, limit, asked=await self._skills.asked(actor, team_id))
        fitting = list(context.used)
        if len(fitting) < limit and talk.skills:
            fitting += _carried(talk.skills, fitting, libraries)
            del fitting[limit:]
        return self._chosen(actor, fitting, context.commits, talk, without)

    async def named(
        self,
        actor: Actor,
        skill_ids: Sequence[str],
        team_id: str | None,
        talk: Conversation,
        *,
        without: Collection[Place] = (),
    ) -> Choice:
        """Return skills that somebody asks for by id.

        Raises:
            NotFound: `skill.unknown`.
        """
        libraries = await self._libraries(actor, team_id)
        asked = [ScoredSkill(_winner(libraries, skill_id), 0.0) for skill_id in skill_ids]
        commits = {str(library.ref): library.commit for library in libraries if library.commit}
        return self._chosen(actor, asked, commits, talk, without)

    async def _libraries(self, actor: Actor, team_id: str | None) -> Sequence[Library]:
        libraries = self._skills.in_memory(actor, team_id)
        return await asyncio.to_thread(self._skills.libraries, actor, team_id) if libraries is None else libraries

    def _chosen(
        self,
        actor: Actor,
        fitting: Sequence[ScoredSkill],
        commits: Mapping[str, str],
        talk: Conversation,
        without: Collection[Place],
    ) -> Choice:
        fitting = [one for one in fitting if (one.skill.volume, one.skill.skill_id) not in without]
        arms = self._assignment.arms(actor, talk.id, fitting)
        treated = [scored for scored, arm in zip(fitting, arms, strict=True) if arm.treated]
        injection = inject(treated, self._budget)
        return Choice(
            system=injection.text,
            used=tuple(_use(scored) for scored in injection.skills),
            exposures=tuple(_exposure(scored, arm) for scored, arm in zip(fitting, arms, strict=True)),
            commits=commits,
        )


def _carried(
    before: Sequence[SkillUse], fitting: Sequence[ScoredSkill], libraries: Sequence[Library]
) -> list[ScoredSkill]:
    """Return the skills of the last answer that are still there: "and now in French" names none, and means them."""
    chosen = {(scored.skill.volume, scored.skill.skill_id) for scored in fitting}
    kept = [
        (use, usable(libraries, use.volume, use.skill_id)) for use in before if (use.volume, use.skill_id) not in chosen
    ]
    return [ScoredSkill(skill, use.score) for use, skill in kept if skill is not None]


def _winner(libraries: Sequence[Library], skill_id: str) -> Skill:
    for library in libraries:
        if library.offers(skill_id):
            return library.skills[skill_id]
    raise NotFound(
        "skill.unknown", f"There is no skill {skill_id!r} that you may see.", hint="`llmos skills list` shows all."
    )


def _use(scored: ScoredSkill) -> SkillUse:
    skill = scored.skill
    return SkillUse(skill.skill_id, skill.name, skill.volume, skill.version, round(scored.score, 3))


def _exposure(scored: ScoredSkill, arm: Arm) -> Exposure:
    skill = scored.skill
    return Exposure(
        volume=skill.volume,
        skill_id=skill.skill_id,
        version=skill.version,
        arm="treatment" if arm.treated else "control",
        propensity=arm.propensity,
        score=round(scored.score, 3),
    )
