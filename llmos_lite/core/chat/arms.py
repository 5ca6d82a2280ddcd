"""Which arm each skill fell into while one message is answered: asked once for each, and kept for the trace."""

from __future__ import annotations

from collections.abc import Sequence

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.chat.assignment import Arm, Assignment
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.manager import ScoredSkill
from llmos_lite.core.traces.trace import Exposure


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
        self._arms: dict[tuple[str, str], Arm] = {}
        self._scores: dict[tuple[str, str], float] = {}
        self._exposed: dict[tuple[str, str], Exposure] = {}

    @property
    def exposures(self) -> tuple[Exposure, ...]:
        """Return what was exposed, in order."""
        return tuple(self._exposed.values())

    def take(self, found: Sequence[ScoredSkill]) -> list[ScoredSkill]:
        """Expose skills that are considered for their whole text; return those that this conversation may see."""
        arms = self._of(found)
        for scored, arm in zip(found, arms, strict=True):
            self._expose(scored.skill, arm)
        return [scored for scored, arm in zip(found, arms, strict=True) if arm.treated]

    def shown(self, found: Sequence[ScoredSkill]) -> list[ScoredSkill]:
        """Return those that this conversation may see."""
        arms = self._of(found)
        for scored, arm in zip(found, arms, strict=True):
            if arm.propensity < 1 or not arm.treated:
                self._expose(scored.skill, arm)
        return [scored for scored, arm in zip(found, arms, strict=True) if arm.treated]

    def expose(self, skill: Skill) -> float:
        """Expose a skill that was read; return how well it fits."""
        self._expose(skill, self._arms[_key(skill)])
        return self._scores[_key(skill)]

    def _of(self, found: Sequence[ScoredSkill]) -> list[Arm]:
        new = [scored for scored in found if _key(scored.skill) not in self._arms]
        arms = self._assignment.arms(self._actor, self._talk, new) if new else ()
        for scored, arm in zip(new, arms, strict=True):
            self._arms[_key(scored.skill)] = arm
            self._scores[_key(scored.skill)] = round(scored.score, 3)
        return [self._arms[_key(scored.skill)] for scored in found]

    def _expose(self, skill: Skill, arm: Arm) -> None:
        key = _key(skill)
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


def _key(skill: Skill) -> tuple[str, str]:
    return skill.volume, skill.skill_id
