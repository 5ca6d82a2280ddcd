"""A context with a catalog: what is listed, what stands there whole, and the tools that read the rest.

The catalog comes before the texts and only grows while a conversation goes on, so that the caches of providers hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.chat.arms import Arms
from llmos_lite.core.chat.assignment import Assignment
from llmos_lite.core.chat.conversation import Conversation
from llmos_lite.core.chat.disclosure import (
    FILES,
    INTRODUCTION,
    MOST_ENTRIES,
    SHARE,
    catalog,
    has_files,
    key_of,
    within,
)
from llmos_lite.core.chat.injection import inject, split
from llmos_lite.core.chat.shelf import Shelf
from llmos_lite.core.chat.skill_tools import SkillTools
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.ranking import ScoredSkill


@dataclass(frozen=True, slots=True)
class Considered:
    """What there is to choose from.

    Args:
        shelf: what the person sees.
        fitting: skills whose text would go into the context, best first.
        others: skills for a catalog, best first.
    """

    shelf: Shelf
    fitting: Sequence[ScoredSkill]
    others: Sequence[ScoredSkill]


@dataclass(frozen=True, slots=True)
class Listed:
    """A context with what can be read beside it.

    Args:
        system: the system prompt.
        whole: the skills whose text is in it, best first.
        arms: what was considered, as far as it goes.
        box: reads the others, and files of all; None where chance hides all that could be read.
        offered: what is listed for the first time; see `Trace.offered`.
    """

    system: str
    whole: Sequence[ScoredSkill]
    arms: Arms
    box: SkillTools | None = None
    offered: tuple[str, ...] = ()


class Listing:
    """Makes contexts with a catalog; see `Chooser` for the arguments."""

    def __init__(self, assignment: Assignment, *, budget_tokens: int, tool_tokens: int) -> None:
        self._assignment, self._budget, self._tool_tokens = assignment, budget_tokens, tool_tokens

    def of(self, actor: Actor, considered: Considered, talk: Conversation, *, only_new: bool = False) -> Listed | None:
        """Return the context, or None when there is nothing that a tool could read.

        Args:
            actor: who asks.
            considered: what there is to choose from.
            talk: the conversation so far.
            only_new: whether what was listed before stands in the context already.
        """
        arms = Arms(self._assignment, actor, talk.id)
        treated = arms.take(considered.fitting)
        known = _still_there(talk.offered, considered.shelf)
        whole, long = split(treated, self._budget)
        if only_new:
            known, fresh = [], _new([*long, *considered.others], [*known, *whole])
        else:
            known, fresh = _grown(known, len(talk.offered), whole, [*long, *considered.others])
        room = int(self._budget * SHARE) if considered.fitting else self._budget
        wanted = [*known, *fresh]
        fits = within([scored.skill for scored in wanted], room)
        shown = [scored.skill for scored in arms.shown(wanted[: len(fits)])]
        injection = inject(whole, self._budget)
        held = [scored.skill for scored in injection.skills]
        if not shown and not any(map(has_files, held)):
            hidden = len(arms.exposures) > len(considered.fitting)
            return Listed(injection.text, injection.skills, arms) if hidden else None
        box = SkillTools(considered.shelf, actor, arms, held=held, listed=shown, tokens=self._tool_tokens)
        before = {key_of(scored.skill) for scored in known}
        offered = tuple([key for key in map(key_of, shown) if key not in before])
        return Listed(_prompt(shown, injection.text), injection.skills, arms, box, offered)


def _prompt(shown: Sequence[Skill], texts: str) -> str:
    head = f"{INTRODUCTION} {FILES}\n\n{catalog(shown)}" if shown else FILES
    return f"{head}\n\n{texts}" if texts else head


def _still_there(offered: Sequence[str], shelf: Shelf) -> list[ScoredSkill]:
    """Return the skills of a conversation's list that can still be used, in its order."""
    named = [key.rpartition("/") for key in offered]
    found = [shelf.at(volume, skill_id) for volume, _, skill_id in named]
    return [ScoredSkill(skill, 0.0) for skill in found if skill is not None]


def _grown(
    known: list[ScoredSkill], length: int, whole: Sequence[ScoredSkill], candidates: Sequence[ScoredSkill]
) -> tuple[list[ScoredSkill], list[ScoredSkill]]:
    """Return a conversation's list and its new entries; one that would be too long begins anew.

    Args:
        known: its list.
        length: of that list, with what is gone; `with_new` counts the same.
        whole: what need not be listed.
        candidates: what would be new, best first.
    """
    fresh = _new(candidates, [*known, *whole])
    if length + len(fresh) > MOST_ENTRIES:
        return [], _new(candidates, whole)
    return known, fresh


def _new(candidates: Sequence[ScoredSkill], there: Sequence[ScoredSkill]) -> list[ScoredSkill]:
    """Return the candidates, each once, that are not there already; as many as a list may have."""
    seen = {(scored.skill.volume, scored.skill.skill_id) for scored in there}
    fresh: dict[tuple[str, str], ScoredSkill] = {}
    for scored in candidates:
        key = scored.skill.volume, scored.skill.skill_id
        if key not in seen:
            fresh.setdefault(key, scored)
    return list(fresh.values())[:MOST_ENTRIES]
