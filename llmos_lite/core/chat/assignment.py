"""Who gets a skill and who is its control: the seam between chat and the proof that a skill helps.

The unit is the conversation: one that got a skill keeps it, so an assignment is a function of the conversation's id and
the skill's version and needs no memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.skills.ranking import ScoredSkill


@dataclass(frozen=True, slots=True)
class Arm:
    """Where a skill fell in one conversation.

    Args:
        treated: whether it is put into the context.
        propensity: probability of the arm that was taken, 0 < p <= 1.
    """

    treated: bool = True
    propensity: float = 1.0


TREATED = Arm()


class Assignment(Protocol):
    """Decides which of the skills that fit are used."""

    def arms(self, actor: Actor, conversation_id: str, skills: Sequence[ScoredSkill]) -> Sequence[Arm]:
        """Return one arm for each of `skills`, in their order."""
