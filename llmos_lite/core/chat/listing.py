"""A context with a catalog: what is listed, what stands there whole, and the tools that read the rest.

The catalog comes before the texts and only grows while a conversation goes on, so that the caches of providers hold.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.chat.arms import Arms
from llmos_lite.core.chat.assignment import Assignment
from llmos_lite.core.chat.chosen import Choice, uses_of
from llmos_lite.core.chat.conversation import Conversation
from llmos_lite.core.chat.disclosure import FILES, INTRODUCTION, MOST_ENTRIES, SHARE, catalog, within
from llmos_lite.core.chat.injection import inject, split
from llmos_lite.core.chat.shelf import Shelf
from llmos_lite.core.chat.skill_tools import SkillTools
from llmos_lite.core.skills.card import card_of
from llmos_lite.core.skills.ranking import ScoredSkill


class Listing:
    """Makes contexts with a catalog; see `Chooser` for the arguments."""

    def __init__(self, assignment: Assignment | None, *, budget_tokens: int, tool_tokens: int) -> None:
        self._assignment, self._budget, self._tool_tokens = assignment, budget_tokens, tool_tokens

    def of(
        self,
        actor: Actor,
        shelf: Shelf,
        fitting: Sequence[ScoredSkill],
        others: Sequence[ScoredSkill],
        talk: Conversation,
        *,
        only_new: bool = False,
    ) -> Choice | None:
        """Return the context, or None when there is nothing that a tool could read.

        Args:
            actor: who asks.
            shelf: what the person sees.
            fitting: skills whose text would go into the context, best first.
            others: skills for a catalog, best first.
            talk: the conversation so far.
            only_new: whether what was listed before stands in the context already.
        """
        arms = Arms(self._assignment, actor, talk.id, () if talk.offered else [*fitting, *others])
        whole, long = split(arms.seen(fitting, whole=True), self._budget)
        known, fresh = _entries(talk, shelf, whole, [*long, *others], only_new=only_new)
        room = int(self._budget * SHARE) if fitting else self._budget
        shown = arms.seen(within([*known, *fresh], room))
        injection = inject(whole, self._budget)
        uses = uses_of(injection.skills)
        if not shown and not injection.has_files:
            exposures = arms.exposures  # more than fit where chance hides all that could be read
            return Choice(injection.text, uses, exposures, shelf.commits) if len(exposures) > len(fitting) else None
        box = self.box(shelf, actor, arms, injection.skills, shown)
        offered = _new(shown, known) if known else shown
        keys = tuple([(one.skill.card or card_of(one.skill)).key for one in offered])
        head = f"{INTRODUCTION} {FILES}\n\n{catalog(shown)}" if shown else FILES
        system = f"{head}\n\n{injection.text}" if injection.text else head
        return Choice(system, uses, arms.exposures, shelf.commits, box, keys)

    def box(
        self, shelf: Shelf, actor: Actor, arms: Arms, held: Sequence[ScoredSkill], listed: Sequence[ScoredSkill]
    ) -> SkillTools:
        """Return the tools that read the rest; see `SkillTools`."""
        return SkillTools(shelf, actor, arms, held=held, listed=listed, tokens=self._tool_tokens)


def _entries(
    talk: Conversation,
    shelf: Shelf,
    whole: Sequence[ScoredSkill],
    candidates: Sequence[ScoredSkill],
    *,
    only_new: bool,
) -> tuple[Sequence[ScoredSkill], list[ScoredSkill]]:
    """Return a conversation's list and its new entries; one that would be too long begins anew.

    Args:
        talk: the conversation; its list counts with what is gone, as in `with_new`.
        shelf: what can still be used.
        whole: what need not be listed.
        candidates: what would be new, best first.
        only_new: whether its list stands in the context already.
    """
    known = _still_there(talk.offered, shelf) if talk.offered else []
    fresh = _new(candidates, [*known, *whole])
    if only_new:
        return (), fresh
    if len(talk.offered) + len(fresh) > MOST_ENTRIES:
        return (), _new(candidates, whole)
    return known, fresh


def _still_there(offered: Sequence[str], shelf: Shelf) -> list[ScoredSkill]:
    """Return the skills of a conversation's list that can still be used, in its order."""
    named = [key.rpartition("/") for key in offered]
    found = [shelf.at(volume, skill_id) for volume, _, skill_id in named]
    return [ScoredSkill(skill, 0.0) for skill in found if skill is not None]


def _new(candidates: Sequence[ScoredSkill], there: Sequence[ScoredSkill]) -> list[ScoredSkill]:
    """Return the candidates, each once, that are not there already; as many as a list may have."""
    seen: set[tuple[str, str]] = set()
    for one in there:
        seen.add((one.skill.card or card_of(one.skill)).place)
    fresh: list[ScoredSkill] = []
    for one in candidates:
        place = (one.skill.card or card_of(one.skill)).place
        if place not in seen:
            seen.add(place)
            fresh.append(one)
    return fresh[:MOST_ENTRIES]
