"""Who listens is told when the skills that they see have changed.

Nobody is asked anything while nobody listens: each listener looks at the heads of the volumes that concern it, which
costs microseconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import PromptsListChanged, ResourcesListChanged, ResourceUpdated
from mcp_types import INTERNAL_ERROR, NotificationParams, SubscriptionsListenRequestParams, SubscriptionsListenResult

from llmos_lite.api.mcp import Caller
from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.uris import SkillUri
from llmos_lite.errors import LlmosError

if TYPE_CHECKING:
    from llmos_lite.bootstrap import Services

log = logging.getLogger("llmos.mcp")

EVERY = 1.0
"""Seconds between two looks."""
MOST_LISTENERS = 500
MOST_SESSIONS = 2000
SESSION = "mcp-session-id"

Seen: TypeAlias = Mapping[str, Library]
"""Libraries by volume."""


class Changes:
    """Looks for those who listen.

    Args:
        services: of the instance.
        every: seconds between two looks.
    """

    def __init__(self, services: Services, every: float = EVERY) -> None:
        self._manager, self._every = services.skills.manager, every
        self._sessions: OrderedDict[str, ServerSession] = OrderedDict()
        self._listening: set[ListenHandler] = set()
        self._watching: set[asyncio.Task[None]] = set()

    # -- revision 2026-07-28: a request whose answer is a stream of changes -------------------------------------------

    async def listen(
        self, caller: Caller, context: ServerRequestContext[Any, Any], params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Answer `subscriptions/listen`."""
        if len(self._watching) >= MOST_LISTENERS:
            raise MCPError(INTERNAL_ERROR, "Too many listen already.")
        bus = InMemorySubscriptionBus()
        handler = ListenHandler(bus)
        wanted = frozenset((params.notifications.resource_subscriptions or [])[:1000])
        self._listening.add(handler)
        try:
            async with self._watched(self._publish(caller, bus, wanted), handler.close):
                return await handler(context, params)
        finally:
            self._listening.discard(handler)

    async def _publish(self, caller: Caller, bus: InMemorySubscriptionBus, wanted: frozenset[str]) -> None:
        async for before, after in self._moves(caller):
            await bus.publish(ResourcesListChanged())
            await bus.publish(PromptsListChanged())
            for uri in wanted:
                if _version(before, uri) != _version(after, uri):
                    await bus.publish(ResourceUpdated(uri))

    # -- revisions before: a session with a stream of its own ----------------------------------------------------------

    async def initialized(self, context: ServerRequestContext[Any, Any], params: NotificationParams) -> None:
        """Remember how a session is spoken to."""
        del params  # it has none
        session_id = context.request.headers.get(SESSION, "") if context.request is not None else ""
        if session_id:
            self._sessions[session_id] = context.session
            while len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)

    def forget(self, session_id: str) -> None:
        """Let go of a session that has ended."""
        self._sessions.pop(session_id, None)

    @asynccontextmanager
    async def told(self, caller: Caller, session_id: str) -> AsyncIterator[None]:
        """Tell a session of changes while its stream is open."""
        if not session_id or len(self._watching) >= MOST_LISTENERS:
            yield
            return
        async with self._watched(self._notify(caller, session_id)):
            yield

    async def _notify(self, caller: Caller, session_id: str) -> None:
        async for _ in self._moves(caller):
            session = self._sessions.get(session_id)  # a stream may be open before `initialized` has come
            if session is not None:
                await session.send_resource_list_changed()
                await session.send_prompt_list_changed()

    # -- both ----------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End every stream."""
        for handler in list(self._listening):
            handler.close()
        for task in list(self._watching):
            task.cancel()

    @asynccontextmanager
    async def _watched(
        self, work: Coroutine[Any, Any, None], end: Callable[[], None] | None = None
    ) -> AsyncIterator[None]:
        task = asyncio.create_task(work)
        if end is not None:
            task.add_done_callback(lambda _: end())
        self._watching.add(task)
        try:
            yield
        finally:
            self._watching.discard(task)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _moves(self, caller: Caller) -> AsyncIterator[tuple[Seen, Seen]]:
        """Yield what the caller sees before and after each change, for as long as the credential holds."""
        seen = await self._look(caller)
        while True:
            await asyncio.sleep(self._every)
            now = await self._look(caller)
            if _commits(now) != _commits(seen):
                try:
                    caller = await caller.again()
                except LlmosError:
                    return
                before, seen = seen, await self._look(caller)
                if _commits(before) != _commits(seen):
                    yield before, seen

    async def _look(self, caller: Caller) -> Seen:
        try:
            found = self._manager.in_memory(caller.actor, caller.team_id)
            if found is None:
                found = await asyncio.to_thread(self._manager.libraries, caller.actor, caller.team_id)
        except LlmosError as error:
            log.warning("the skills of %s could not be looked at: %s", caller.actor.user_id, error.message)
            return {}
        return {str(library.ref): library for library in found}


def _commits(seen: Seen) -> list[str]:
    return [library.commit for library in seen.values()]


def _version(seen: Seen, uri: str) -> str:
    """Return the version of the skill that an address lies in, empty for none."""
    try:
        parsed = SkillUri.parse(uri)
    except LlmosError:
        return ""
    library = seen.get(str(parsed.ref))
    skill = library.skills.get(parsed.skill_id) if library else None
    return skill.version if skill else ""
