"""Which skills go into the context of one message, and what is remembered of the choice."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.chat.assignment import Arm, Assignment
from llmos_lite.core.chat.conversation import Conversation
from llmos_lite.core.chat.injection import inject
from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.manager import ScoredSkill, SkillContext, SkillsManager, usable
from llmos_lite.core.traces.trace import Exposure, SkillUse


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

    async def choose(self, actor: Actor, query: str, team_id: str | None, limit: int, talk: Conversation) -> Choice:
        """Return what goes into the context; volumes that are not in memory yet are read beside the event loop."""
        if not limit:
            return Choice()
        libraries = self._skills.in_memory(actor, team_id)
        if libraries is None:
            libraries = await asyncio.to_thread(self._skills.libraries, actor, team_id)
        context = self._skills.context(libraries, query, limit, asked=await self._skills.asked(actor, team_id))
        return self._choose(actor, libraries, context, limit, talk)

    def _choose(
        self, actor: Actor, libraries: Sequence[Library], context: SkillContext, limit: int, talk: Conversation
    ) -> Choice:
        fitting = list(context.used)
        if len(fitting) < limit and talk.skills:
            fitting += _carried(talk.skills, fitting, libraries)
            del fitting[limit:]
        arms = self._assignment.arms(actor, talk.id, fitting)
        treated = [scored for scored, arm in zip(fitting, arms, strict=True) if arm.treated]
        injection = inject(treated, self._budget)
        return Choice(
            system=injection.text,
            used=tuple(_use(scored) for scored in injection.skills),
            exposures=tuple(_exposure(scored, arm) for scored, arm in zip(fitting, arms, strict=True)),
            commits=context.commits,
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
