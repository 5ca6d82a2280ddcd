"""Which arm each skill fell into while one message is answered: asked once for each, and kept for the trace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.chat.assignment import Arm, Assignment
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.ranking import ScoredSkill
from llmos_lite.core.traces.trace import Exposure

Place: TypeAlias = tuple[str, str]
"""Volume and id of a skill."""


class Arms:
    """The arms of one message.

    A skill that is listed or found, and that chance could have hidden, is exposed in whichever arm it fell into: only
    so can those who saw it be compared with those who did not. One that nobody's chance hides is exposed when it is
    read.

    Args:
        assignment: decides.
        actor: who chats.
        talk_id: the conversation.
    """

    def __init__(self, assignment: Assignment, actor: Actor, talk_id: str) -> None:
        self._assignment, self._actor, self._talk = assignment, actor, talk_id
        self._arms: dict[Place, Arm] = {}
        self._scores: dict[Place, float] = {}
        self._exposed: dict[Place, Exposure] = {}

    @property
    def exposures(self) -> tuple[Exposure, ...]:
        """Return what was exposed, in order."""
        return tuple(self._exposed.values())

    def take(self, found: Sequence[ScoredSkill]) -> list[ScoredSkill]:
        """Expose skills that are considered for their whole text; return those that this conversation may see."""
        return self._seen(found, always=True)

    def shown(self, found: Sequence[ScoredSkill]) -> list[ScoredSkill]:
        """Return those that this conversation may see."""
        return self._seen(found, always=False)

    def expose(self, skill: Skill) -> float:
        """Expose a skill that was read; return how well it fits."""
        key = skill.volume, skill.skill_id
        self._expose(key, skill, self._arms[key])
        return self._scores[key]

    def _seen(self, found: Sequence[ScoredSkill], *, always: bool) -> list[ScoredSkill]:
        """Return those that may be seen; they are exposed always, or where chance could hide them."""
        keys = [(scored.skill.volume, scored.skill.skill_id) for scored in found]
        self._ask(found, keys)
        seen: list[ScoredSkill] = []
        for scored, key in zip(found, keys, strict=True):
            arm = self._arms[key]
            if always or arm.propensity < 1 or not arm.treated:
                self._expose(key, scored.skill, arm)
            if arm.treated:
                seen.append(scored)
        return seen

    def _ask(self, found: Sequence[ScoredSkill], keys: Sequence[Place]) -> None:
        """Find out the arms of skills that are new."""
        new = [(scored, key) for scored, key in zip(found, keys, strict=True) if key not in self._arms]
        if not new:
            return
        arms = self._assignment.arms(self._actor, self._talk, [scored for scored, _ in new])
        for (scored, key), arm in zip(new, arms, strict=True):
            self._arms[key] = arm
            self._scores[key] = round(scored.score, 3)

    def _expose(self, key: Place, skill: Skill, arm: Arm) -> None:
        if key not in self._exposed:
            self._exposed[key] = exposure(skill, arm, self._scores[key])


def exposure(skill: Skill, arm: Arm, score: float) -> Exposure:
    """Return what a trace keeps of a skill that was considered."""
    return Exposure(
        volume=skill.volume,
        skill_id=skill.skill_id,
        version=skill.version,
        arm="treatment" if arm.treated else "control",
        propensity=arm.propensity,
        score=round(score, 3),
    )
