"""Which skills go into the context of one message."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from functools import partial

from msgspec.structs import replace

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.chat.arms import Arms
from llmos_lite.core.chat.assignment import Assignment
from llmos_lite.core.chat.chosen import Choice, HeldSkill, uses_of
from llmos_lite.core.chat.conversation import Conversation
from llmos_lite.core.chat.disclosure import LARGE, MORE, MOST_ENTRIES, Disclosure
from llmos_lite.core.chat.injection import Injection, inject
from llmos_lite.core.chat.listing import Listing, Made
from llmos_lite.core.chat.shelf import Shelf
from llmos_lite.core.chat.skill_tools import TOOL_TOKENS, SkillTools
from llmos_lite.core.skills.card import Place, card_of
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.lru import Lru
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.ranking import ScoredSkill
from llmos_lite.core.traces.trace import SkillUse
from llmos_lite.errors import NotFound

MOST_MADE = 64
"""Contexts that are remembered: a retry, and another try at an answer, ask in the same words."""


class Chooser:
    """Chooses skills for messages.

    Args:
        skills: where they come from.
        budget_tokens: most tokens of skills in one context.
        tool_tokens: most tokens that the model reads by tools for one message.
        assignment: who is treated and who is control; None treats everybody.
    """

    def __init__(
        self,
        skills: SkillsManager,
        *,
        budget_tokens: int,
        tool_tokens: int = TOOL_TOKENS,
        assignment: Assignment | None = None,
    ) -> None:
        self._skills, self._assignment, self._budget = skills, assignment, budget_tokens
        self._made: Lru[tuple[int, ...], Made] = Lru(MOST_MADE)
        self._listing = Listing(assignment, budget_tokens=budget_tokens, tool_tokens=tool_tokens)

    async def choose(
        self,
        actor: Actor,
        query: str,
        team_id: str | None,
        limit: int,
        talk: Conversation,
        *,
        without: Collection[Place] = (),
        disclosure: Disclosure = Disclosure.BODIES,
        only_new: bool = False,
    ) -> Choice:
        """Return what goes into the context; volumes that are not in memory yet are read beside the event loop.

        Args:
            actor: who asks.
            query: what the skills are chosen by.
            team_id: in which team's context; None for all of the person's.
            limit: most skills whose texts go in; 0 chooses none at all.
            talk: the conversation so far.
            without: volume and id of skills that were considered before.
            disclosure: texts alone for a model without tools.
            only_new: whether the context of what was listed before is still there.
        """
        if not limit:
            return Choice()
        skills = self._skills
        libraries = skills.in_memory(actor, team_id) or await self._libraries(actor, team_id)
        asked = await skills.asked(actor, team_id)
        meaning = await skills.meaning(libraries, query) if skills.knows_meaning else None
        shelf = Shelf(skills, libraries, asked, meaning, query)
        choice = self._from(shelf, query, actor, limit, talk, without=without, disclosure=disclosure, only_new=only_new)
        held = tuple(map(_held, shelf.withheld(limit))) if shelf.withholds else ()
        return replace(choice, held=held) if held else choice

    def _from(
        self,
        shelf: Shelf,
        query: str,
        actor: Actor,
        limit: int,
        talk: Conversation,
        *,
        without: Collection[Place],
        disclosure: Disclosure,
        only_new: bool,
    ) -> Choice:
        if disclosure is Disclosure.CATALOG:
            near = shelf.best(query, limit + MORE) if only_new else _near(shelf, query, limit, talk)
            listed = self._listing.of(actor, shelf, (), _without(near, without), talk, only_new=only_new)
            return listed or Choice(commits=shelf.commits)
        is_auto = disclosure is Disclosure.AUTO
        found = shelf.best(query, limit + MORE if is_auto and shelf.count > LARGE else limit)
        if self._assignment is None and not (talk.skills or talk.offered or without or only_new):
            return self._again(shelf, actor, limit, talk, found, is_auto=is_auto)
        fitting, others = found[:limit], found[limit:] if is_auto else []
        if talk.skills:
            fitting += _carried(talk.skills, fitting, shelf)[: limit - len(fitting)]
        if without:
            fitting = _without(fitting, without)
        if talk.skills and is_auto:
            others = [*_carried(talk.skills, fitting, shelf), *others]
        if without:
            others = _without(others, without)
        return self._of(shelf, actor, talk, fitting, others, is_auto=is_auto, only_new=only_new)

    def _again(
        self, shelf: Shelf, actor: Actor, limit: int, talk: Conversation, found: Sequence[ScoredSkill], *, is_auto: bool
    ) -> Choice:
        """Return the context of a new conversation in which nothing is left to chance: the same skills, the same one.

        The same words find the same objects as long as no library changes; see `Ranking`.
        """
        key = (limit, is_auto, *map(id, found))  # as long as what was made of them is kept, nothing else has these ids
        made = self._made.get(key)
        if made is None:
            made = self._listing.fresh(found, limit, is_auto=is_auto)
            self._made.put(key, made)
        opens = partial(self._listing.fresh_box, shelf, actor, talk.id, made) if made.tools else None
        return Choice(made.prompt, made.context, made.considered, shelf.commits, opens, made.offered)

    def _of(
        self,
        shelf: Shelf,
        actor: Actor,
        talk: Conversation,
        fitting: Sequence[ScoredSkill],
        others: Sequence[ScoredSkill],
        *,
        is_auto: bool,
        only_new: bool = False,
    ) -> Choice:
        """Return the context of skills whose texts would go in, and of others for a catalog, each best first."""
        if others or (is_auto and talk.offered and not only_new):
            listed = self._listing.of(actor, shelf, fitting, others, talk, only_new=only_new)
            return listed or self._chosen(actor, shelf, fitting, talk)[0]
        choice, injection = self._chosen(actor, shelf, fitting, talk)
        if not is_auto or (injection.whole and not injection.has_files):  # nothing is left to be read
            return choice
        return self._listing.of(actor, shelf, fitting, (), talk, only_new=only_new) or choice

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
        shelf = Shelf(self._skills, await self._libraries(actor, team_id))
        asked = [ScoredSkill(_known(shelf, skill_id), 0.0) for skill_id in skill_ids]
        choice = self._chosen(actor, shelf, _without(asked, without), talk)[0]
        held = tuple(_held(skill) for skill_id in skill_ids if (skill := shelf.held(skill_id)))
        return replace(choice, held=held) if held else choice

    async def box(self, actor: Actor, team_id: str | None, talk: Conversation) -> SkillTools:
        """Return the tools that read skills, for a conversation that holds the texts of `talk.skills` already."""
        shelf = Shelf(self._skills, await self._libraries(actor, team_id), await self._skills.asked(actor, team_id))
        there = {(use.volume, use.skill_id, use.version) for use in talk.skills}
        carried = _carried(talk.skills, (), shelf)
        held = [one for one in carried if (*card_of(one.skill).place, one.skill.version) in there]
        arms = Arms(self._assignment, actor, talk.id)
        return self._listing.box(shelf, actor, arms, held, ())

    async def _libraries(self, actor: Actor, team_id: str | None) -> Sequence[Library]:
        libraries = self._skills.in_memory(actor, team_id)
        return await asyncio.to_thread(self._skills.libraries, actor, team_id) if libraries is None else libraries

    def _chosen(
        self, actor: Actor, shelf: Shelf, fitting: Sequence[ScoredSkill], talk: Conversation
    ) -> tuple[Choice, Injection]:
        """Return a context of texts alone."""
        arms = Arms(self._assignment, actor, talk.id)
        injection = inject(arms.seen(fitting, whole=True), self._budget)
        return Choice(injection.prompt, uses_of(injection.skills), arms.exposures, shelf.commits), injection


def _near(shelf: Shelf, query: str, limit: int, talk: Conversation) -> list[ScoredSkill]:
    """Return what a catalog alone lists: a small library as a whole, of a large one what matches at all."""
    if shelf.count <= MOST_ENTRIES:
        return shelf.all()
    return [*shelf.best(query, limit + MORE, only_fitting=False), *_carried(talk.skills, (), shelf)]


def _without(found: list[ScoredSkill], places: Collection[Place]) -> list[ScoredSkill]:
    return [one for one in found if (one.skill.card or card_of(one.skill)).place not in places]


def _carried(before: Sequence[SkillUse], fitting: Sequence[ScoredSkill], shelf: Shelf) -> list[ScoredSkill]:
    """Return the skills of the last answer that are still there: "and now in French" names none, and means them."""
    chosen = {card_of(scored.skill).place for scored in fitting}
    kept = [(use, shelf.at(use.volume, use.skill_id)) for use in before if (use.volume, use.skill_id) not in chosen]
    return [ScoredSkill(skill, use.score) for use, skill in kept if skill is not None]


def _known(shelf: Shelf, skill_id: str) -> Skill:
    skill = shelf.find(skill_id)
    if skill is None and (held := shelf.held(skill_id)):
        raise NotFound(
            "skill.held",
            f"A scanner holds {skill_id} of {held.volume} back ({', '.join(held.held)}), and nobody has signed it off.",
            hint=f"`llmos skills scan --volume {held.volume}` says why.",
        )
    if skill is None:
        raise NotFound(
            "skill.unknown", f"There is no skill {skill_id!r} that you may see.", hint="`llmos skills list` shows all."
        )
    return skill


def _held(skill: Skill) -> HeldSkill:
    return HeldSkill(skill.skill_id, skill.name, skill.volume, skill.version, skill.held)
