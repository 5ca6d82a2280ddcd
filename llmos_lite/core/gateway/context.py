"""Skills in a conversation that a client keeps: what once came in stays where it is, so that prompt caches live.

The first request of a conversation chooses by its words; these skills stand after the client's own system prompt for
as long as the conversation goes on, and so does a catalog with its tools. What later words call for is added right
before them, and nothing is moved. A conversation that began without tools gets none later: providers cache them first.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.chat.choice import Chooser
from llmos_lite.core.chat.chosen import Choice
from llmos_lite.core.chat.conversation import Conversation
from llmos_lite.core.chat.disclosure import Disclosure
from llmos_lite.core.chat.prompt import NOTHING
from llmos_lite.core.chat.skill_tools import SkillTools
from llmos_lite.core.gateway.asked import Placed
from llmos_lite.core.gateway.steering import Steering
from llmos_lite.core.gateway.threads import Thread

MOST_SKILLS = 8
"""Skills in one conversation; more would crowd out what it is about."""
MOST_LISTED = 48
"""Entries in one conversation, where nothing that was listed is taken back; what else there is, a search finds."""


class Contexts:
    """Puts skills into conversations.

    Args:
        chooser: chooses them.
        max_skills: most that one request brings in.
        disclosure: what a conversation gets of skills that does not say otherwise.
    """

    def __init__(self, chooser: Chooser, *, max_skills: int, disclosure: Disclosure = Disclosure.AUTO) -> None:
        self._chooser, self._max_skills, self._disclosure = chooser, max_skills, disclosure

    async def extended(
        self,
        actor: Actor,
        thread: Thread,
        words: str,
        steering: Steering,
        place: int,
        *,
        may_call: Callable[[Disclosure], bool] = lambda _: False,
    ) -> Thread:
        """Return a conversation with the skills that its newest words call for.

        Args:
            actor: who asks.
            thread: the conversation as the request finds it.
            words: of the person; without any nothing is chosen.
            steering: what the headers say.
            place: of the item with these words.
            may_call: tells whether tools of ours can come into it; asked only when there is something to list.

        Raises:
            NotFound: `skill.unknown`, for a skill that the headers name and the actor does not see.
        """
        if steering.skills == ():
            return without_skills(thread)
        if not (words or steering.skills):
            return thread
        limit = min(self._max_skills, MOST_SKILLS - len(thread.skills))
        if limit <= 0 and steering.skills is None:
            return thread
        wanted = steering.disclosure or self._disclosure
        if thread.parent and not thread.tools:
            wanted = Disclosure.BODIES
        if len(thread.offered) >= MOST_LISTED:
            if wanted is Disclosure.CATALOG:
                return thread
            wanted = Disclosure.BODIES
        choice = await self._choice(actor, thread, words, steering, limit, wanted=wanted)
        if choice.opens is not None and not thread.tools and not may_call(wanted):
            choice = await self._choice(actor, thread, words, steering, limit, wanted=Disclosure.BODIES)
        found = choice.context or choice.considered or choice.prompt.pieces or choice.held
        return _with(thread, choice, place) if found else thread

    async def box(self, actor: Actor, thread: Thread, steering: Steering) -> SkillTools:
        """Return the tools that read skills for a conversation."""
        return await self._chooser.box(
            actor, steering.team or None, Conversation(thread.conversation, skills=thread.skills)
        )

    async def _choice(
        self, actor: Actor, thread: Thread, words: str, steering: Steering, limit: int, *, wanted: Disclosure
    ) -> Choice:
        known = {(one.volume, one.skill_id) for one in thread.exposures} if thread.exposures else ()
        team = steering.team or None
        if steering.skills:
            talk = Conversation(thread.conversation)
            return await self._chooser.named(actor, steering.skills, team, talk, without=known)
        talk = Conversation(thread.conversation, offered=thread.offered)
        return await self._chooser.choose(
            actor, words, team, limit, talk, without=known, disclosure=wanted, only_new=thread.tools
        )


def without_skills(thread: Thread) -> Thread:
    """Return a conversation with nothing of ours in it."""
    return replace(thread, head=NOTHING, later=(), skills=(), exposures=(), tools=False)


def _with(thread: Thread, choice: Choice, place: int) -> Thread:
    """Put what was chosen into a conversation: at its head when it is new, else right before the item at `place`."""
    head, later = thread.head, thread.later
    if choice.prompt.pieces and not thread.parent:
        head = choice.prompt
    elif choice.prompt.pieces:
        later = (*later, Placed(place, choice.system))
    return replace(
        thread,
        head=head,
        later=later,
        skills=thread.skills + choice.context,
        exposures=thread.exposures + choice.considered,
        commits={**thread.commits, **choice.commits} if thread.commits else choice.commits,
        offered=thread.offered + choice.offered,
        held=choice.held,
        tools=thread.tools or choice.opens is not None,
    )
