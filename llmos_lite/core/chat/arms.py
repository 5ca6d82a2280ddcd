"""Which arm each skill fell into while one message is answered: asked once for each, and kept for the trace."""

from __future__ import annotations

from collections.abc import Sequence

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.chat.assignment import TREATED, Arm, Assignment
from llmos_lite.core.skills.card import Place, card_of
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.ranking import ScoredSkill
from llmos_lite.core.traces.trace import Exposure


class Arms:
    """The arms of one message.

    A skill that is listed or found, and that chance could have hidden, is exposed in whichever arm it fell into: only
    so can those who saw it be compared with those who did not. One that nobody's chance hides is exposed when it is
    read.

    Args:
        assignment: decides; None treats everybody.
        actor: who chats.
        talk_id: the conversation.
        found: skills that may come into question, so that all are asked for at once.
    """

    def __init__(
        self, assignment: Assignment | None, actor: Actor, talk_id: str, found: Sequence[ScoredSkill] = ()
    ) -> None:
        self._assignment, self._actor, self._talk = assignment, actor, talk_id
        self._asked: dict[Place, tuple[ScoredSkill, Arm]] = {}
        self._exposed: dict[Place, tuple[ScoredSkill, Arm]] = {}
        self._certain: list[Sequence[ScoredSkill]] = [found]
        """Skills that nobody's chance hides, as they were found."""
        if found and assignment is not None:
            self._ask(assignment, found)

    @property
    def exposures(self) -> tuple[Exposure, ...]:
        """Return what was exposed, in order."""
        return tuple(
            [
                Exposure(
                    one.skill.volume,
                    one.skill.skill_id,
                    one.skill.version,
                    "treatment" if arm.treated else "control",
                    arm.propensity,
                    round(one.score, 3),
                )
                for one, arm in self._exposed.values()
            ]
        )

    def seen(self, found: Sequence[ScoredSkill], *, whole: bool = False) -> list[ScoredSkill]:
        """Return those that this conversation may see.

        Args:
            found: skills.
            whole: whether they are considered for their whole text: then they are exposed, whatever chance could do.
        """
        if self._assignment is None:
            return self._all(found, whole=whole)
        seen: list[ScoredSkill] = []
        for one in found:
            place = (one.skill.card or card_of(one.skill)).place
            if place not in self._asked:
                new = [other for other in found if card_of(other.skill).place not in self._asked]
                self._ask(self._assignment, new)
            known = self._asked[place]
            arm = known[1]
            if whole or arm.propensity < 1 or not arm.treated:
                self._exposed[place] = known
            if arm.treated:
                seen.append(one)
        return seen

    def expose(self, skill: Skill) -> float:
        """Expose a skill that was read; return how well it fits."""
        for found in self._certain if self._assignment is None else ():
            self._note(found, [TREATED] * len(found))
        place = card_of(skill).place
        known = self._exposed[place] = self._asked[place]
        return round(known[0].score, 3)

    def _all(self, found: Sequence[ScoredSkill], *, whole: bool) -> list[ScoredSkill]:
        """Let all be seen."""
        self._certain.append(found)
        if whole:
            for one in found:
                self._exposed.setdefault((one.skill.card or card_of(one.skill)).place, (one, TREATED))
        return list(found)

    def _ask(self, assignment: Assignment, new: Sequence[ScoredSkill]) -> None:
        """Find out the arms of skills."""
        self._note(new, assignment.arms(self._actor, self._talk, new))

    def _note(self, found: Sequence[ScoredSkill], arms: Sequence[Arm]) -> None:
        for one, arm in zip(found, arms, strict=True):
            self._asked.setdefault((one.skill.card or card_of(one.skill)).place, (one, arm))
