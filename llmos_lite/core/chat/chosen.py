"""What goes into the context of one message, and what is remembered of the choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import msgspec

from llmos_lite.core.chat.prompt import NOTHING, Prompt
from llmos_lite.core.chat.skill_tools import SkillTools
from llmos_lite.core.skills.ranking import ScoredSkill
from llmos_lite.core.traces.trace import Exposure, SkillUse


class HeldSkill(msgspec.Struct, frozen=True, gc=False):
    """A skill that would be in the context, if no scanner held it back; `held_for` has the codes of what was found."""

    skill_id: str
    name: str
    volume: str
    version: str
    held_for: tuple[str, ...]


class Choice(msgspec.Struct, frozen=True, dict=True):
    """What goes into the context.

    Args:
        prompt: the system prompt; empty without skills.
        context: the skills in it, best first.
        considered: every skill that was considered, in whichever arm.
        commits: the commit at which each volume was read.
        opens: makes the tools by which the model reads more; None when it gets none.
        offered: the skills that a catalog lists for the first time in this conversation.
        held: those that a scanner keeps out of it.
    """

    prompt: Prompt = NOTHING
    context: tuple[SkillUse, ...] = ()
    considered: tuple[Exposure, ...] = ()
    commits: Mapping[str, str] = msgspec.field(default_factory=dict)
    opens: Callable[[], SkillTools] | None = None
    offered: tuple[str, ...] = ()
    held: tuple[HeldSkill, ...] = ()

    @cached_property
    def box(self) -> SkillTools | None:
        """Return the tools by which the model reads more; None when it gets none."""
        return self.opens() if self.opens is not None else None

    @property
    def system(self) -> str:
        """Return the system prompt as a model sees it."""
        return self.prompt.text

    @property
    def used(self) -> tuple[SkillUse, ...]:
        """Return the skills in the context, and behind them those that the model has read so far."""
        if self.box is None or not self.box.used:
            return self.context
        there = {(use.volume, use.skill_id) for use in self.context}
        return (*self.context, *(use for use in self.box.used if (use.volume, use.skill_id) not in there))

    @property
    def exposures(self) -> tuple[Exposure, ...]:
        """Return what was considered, found or read so far."""
        return self.considered if self.box is None else self.box.exposures


def uses_of(skills: Sequence[ScoredSkill]) -> tuple[SkillUse, ...]:
    """Return what a trace keeps of skills in a context."""
    uses: list[SkillUse] = []
    for one in skills:
        skill = one.skill
        uses.append(SkillUse(skill.skill_id, skill.name, skill.volume, skill.version, round(one.score, 3)))
    return tuple(uses)


def treated(skills: Sequence[ScoredSkill]) -> tuple[tuple[SkillUse, ...], tuple[Exposure, ...]]:
    """Return what a trace keeps of skills in a context that no chance could have kept out of it."""
    uses: list[SkillUse] = []
    exposures: list[Exposure] = []
    for one in skills:
        skill, score = one.skill, round(one.score, 3)
        uses.append(SkillUse(skill.skill_id, skill.name, skill.volume, skill.version, score))
        exposures.append(Exposure(skill.volume, skill.skill_id, skill.version, "treatment", 1.0, score))
    return tuple(uses), tuple(exposures)
