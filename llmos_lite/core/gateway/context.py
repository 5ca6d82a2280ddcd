"""Skills in a conversation that a client keeps: what once came in stays where it is, so that prompt caches live.

The first request of a conversation chooses by its words; these skills stand after the client's own system prompt for
as long as the conversation goes on. What later words call for is added right before them, and nothing is moved.
"""

from __future__ import annotations

from msgspec.structs import replace

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.chat.choice import Choice, Chooser
from llmos_lite.core.chat.conversation import Conversation
from llmos_lite.core.gateway.asked import Placed
from llmos_lite.core.gateway.steering import Steering
from llmos_lite.core.gateway.threads import Thread

MOST_SKILLS = 8
"""Skills in one conversation; more would crowd out what it is about."""


class Contexts:
    """Puts skills into conversations.

    Args:
        chooser: chooses them.
        max_skills: most that one request brings in.
    """

    def __init__(self, chooser: Chooser, *, max_skills: int) -> None:
        self._chooser, self._max_skills = chooser, max_skills

    async def extended(self, actor: Actor, thread: Thread, words: str, steering: Steering, place: int) -> Thread:
        """Return a conversation with the skills that its newest words call for.

        Args:
            actor: who asks.
            thread: the conversation as the request finds it.
            words: of the person; without any nothing is chosen.
            steering: what the headers say.
            place: of the item with these words.

        Raises:
            NotFound: `skill.unknown`, for a skill that the headers name and the actor does not see.
        """
        if steering.skills == ():
            return replace(thread, head="", later=(), skills=(), exposures=())
        if not (words or steering.skills):
            return thread
        limit = min(self._max_skills, MOST_SKILLS - len(thread.skills))
        if limit <= 0 and steering.skills is None:
            return thread
        choice = await self._choice(actor, thread, words, steering, limit)
        return _with(thread, choice, place) if choice.used or choice.exposures else thread

    async def _choice(self, actor: Actor, thread: Thread, words: str, steering: Steering, limit: int) -> Choice:
        talk = Conversation(thread.conversation)
        known = frozenset((one.volume, one.skill_id) for one in thread.exposures)
        team = steering.team or None
        if steering.skills:
            return await self._chooser.named(actor, steering.skills, team, talk, without=known)
        return await self._chooser.choose(actor, words, team, limit, talk, without=known)


def _with(thread: Thread, choice: Choice, place: int) -> Thread:
    """Put what was chosen into a conversation: at its head when it is new, else right before the item at `place`."""
    changed = replace(
        thread,
        skills=(*thread.skills, *choice.used),
        exposures=(*thread.exposures, *choice.exposures),
        commits={**thread.commits, **choice.commits},
    )
    if not choice.system:
        return changed
    if not thread.parent:
        return replace(changed, head=choice.system)
    return replace(changed, later=(*thread.later, Placed(place, choice.system)))
