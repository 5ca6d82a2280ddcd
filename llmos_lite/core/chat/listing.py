"""A context with a catalog: what is listed, what stands there whole, and the tools that read the rest.

The catalog comes before the texts and only grows while a conversation goes on, so that the caches of providers hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import attrgetter

import msgspec

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.chat.arms import Arms
from llmos_lite.core.chat.assignment import Assignment
from llmos_lite.core.chat.chosen import Choice, treated, uses_of
from llmos_lite.core.chat.conversation import Conversation
from llmos_lite.core.chat.disclosure import FILES, INTRODUCTION, MOST_ENTRIES, SHARE, cards_of, entries, within
from llmos_lite.core.chat.injection import inject, split
from llmos_lite.core.chat.prompt import Prompt
from llmos_lite.core.chat.shelf import Shelf
from llmos_lite.core.chat.skill_tools import SkillTools
from llmos_lite.core.skills.card import Card, card_of
from llmos_lite.core.skills.ranking import ScoredSkill
from llmos_lite.core.traces.trace import Exposure, SkillUse


class Made(msgspec.Struct, frozen=True):
    """The context of a new conversation as it was made, without what belongs to one message.

    Args:
        found: what it was made of, best first; the first of it are those that were considered.
        prompt: the system prompt.
        context: the skills in it.
        considered: those that were considered.
        offered: those that its catalog lists.
        tools: what its tools need: the skills that it holds, and those that it lists; None where it has none.
    """

    found: Sequence[ScoredSkill]
    prompt: Prompt
    context: tuple[SkillUse, ...]
    considered: tuple[Exposure, ...]
    offered: tuple[str, ...] = ()
    tools: tuple[Sequence[ScoredSkill], Sequence[ScoredSkill]] | None = None


class Listing:
    """Makes contexts with a catalog; see `Chooser` for the arguments."""

    def __init__(self, assignment: Assignment | None, *, budget_tokens: int, tool_tokens: int) -> None:
        self._assignment, self._budget, self._tool_tokens = assignment, budget_tokens, tool_tokens
        self._beside = int(budget_tokens * SHARE)
        """Tokens that a catalog may take beside texts."""

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
        every = [*known, *fresh]
        shown = arms.seen(every[: within(cards_of(every), self._beside if fitting else self._budget)])
        injection = inject(whole, self._budget)
        uses = uses_of(injection.skills)
        if not shown and not injection.has_files:
            exposures = arms.exposures  # more than fit where chance hides all that could be read
            return Choice(injection.prompt, uses, exposures, shelf.commits) if len(exposures) > len(fitting) else None
        opens = partial(self.box, shelf, actor, arms, injection.skills, shown)
        keys = tuple(map(_key_of, cards_of(_new(shown, known) if known else shown)))
        return Choice(_prompt(cards_of(shown), injection.prompt), uses, arms.exposures, shelf.commits, opens, keys)

    def fresh(self, found: Sequence[ScoredSkill], limit: int, *, is_auto: bool) -> Made:
        """Return the context of a new conversation in which nothing is left to chance.

        Args:
            found: what fits, best first.
            limit: of how many the texts would go in; the others are listed.
            is_auto: whether anything may be listed.
        """
        fitting, others = found[:limit], found[limit:] if is_auto else []
        uses, considered = treated(fitting)
        alone = beside = inject(fitting, self._budget)
        if is_auto and not alone.whole:
            whole, long = split(fitting, self._budget)
            beside, others = inject(whole, self._budget), [*long, *others]
        listed = others[:MOST_ENTRIES]
        cards = cards_of(listed)
        count = within(cards, self._beside if fitting else self._budget)
        if count or (is_auto and beside.has_files):
            held, cards, tools = beside.skills, cards[:count], (beside.skills, listed[:count])
            prompt, keys = _prompt(cards, beside.prompt), tuple(map(_key_of, cards))
        else:
            held, prompt, keys, tools = alone.skills, alone.prompt, (), None
        return Made(found, prompt, uses if len(held) == len(fitting) else uses_of(held), considered, keys, tools)

    def fresh_box(self, shelf: Shelf, actor: Actor, talk_id: str, made: Made) -> SkillTools:
        """Return the tools of such a context; see `fresh`."""
        arms = Arms(None, actor, talk_id, made.found)
        arms.seen(made.found[: len(made.considered)], whole=True)
        held, listed = made.tools or ((), ())
        return self.box(shelf, actor, arms, held, listed)

    def box(
        self, shelf: Shelf, actor: Actor, arms: Arms, held: Sequence[ScoredSkill], listed: Sequence[ScoredSkill]
    ) -> SkillTools:
        """Return the tools that read the rest; see `SkillTools`."""
        return SkillTools(shelf, actor, arms, held=held, listed=listed, tokens=self._tool_tokens)


_key_of = attrgetter("key")


_LISTED = f"{INTRODUCTION} {FILES}\n\n"


def _prompt(listed: Sequence[Card], others: Prompt) -> Prompt:
    """Return a system prompt of a catalog and the texts of other skills."""
    head = (_LISTED, *entries(listed)) if listed else (FILES,)
    return Prompt((*head, "\n\n", *others.pieces) if others.pieces else head)


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
