"""What lets a person in besides a key: links, passwords, and the sessions that they begin.

Links live in memory: after a restart there is a new one. Sessions and passwords live in rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from llmos_lite.core.accounts.keys import digest_of
from llmos_lite.core.accounts.passwords import Passwords
from llmos_lite.core.accounts.sessions import Sessions
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.errors import Unauthenticated
from llmos_lite.records.sign_in import Session, SignInStore

LINK_SECONDS = 15 * 60
MOST_LINKS = 10_000


class Links:
    """Tokens that sign somebody in once, and shortly.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[bytes, tuple[str, float]] = {}

    def make(self, user_id: str, token: str) -> str:
        """Let a token sign `user_id` in once, within 15 minutes; return it."""
        now = self._clock()
        for old in [digest for digest, (_, until) in self._kept.items() if until <= now]:
            del self._kept[old]
        while len(self._kept) >= MOST_LINKS:
            del self._kept[next(iter(self._kept))]
        self._kept[digest_of(token)] = (user_id, now + LINK_SECONDS)
        return token

    def spend(self, token: str) -> str:
        """Return whom a token signs in; it does so this once.

        Raises:
            Unauthenticated: `sign_in.spent`, when the link is unknown, used or too old.
        """
        user_id, until = self._kept.pop(digest_of(token), ("", 0.0))
        if until <= self._clock():
            raise Unauthenticated(
                "sign_in.spent",
                "This sign-in link was used already, or is too old.",
                hint="Ask a system admin for another, restart llmos serve for its own, or sign in otherwise.",
            )
        return user_id

    def end_all(self, user_id: str) -> None:
        """Let go of every link of a person."""
        for digest in [digest for digest, (owner, _) in self._kept.items() if owner == user_id]:
            del self._kept[digest]


class SignIn:
    """The credentials of people that are no keys.

    Args:
        store: rows of passwords.
        sessions: what a sign-in begins.
        links: tokens of links.
    """

    def __init__(self, store: SignInStore, sessions: Sessions, links: Links | None = None) -> None:
        self._store = store
        self.sessions, self.links, self._passwords = sessions, links or Links(), Passwords()

    async def session(self, secret: str) -> Session | None:
        """Return the session that a browser's cookie carries, or None."""
        return await self.sessions.of_cookie(secret)

    async def has_password(self, user_id: str) -> bool:
        """Tell whether somebody has a password."""
        return await self._store.password(user_id) is not None

    async def is_password(self, user_id: str | None, password: str) -> bool:
        """Tell whether a password is somebody's; for nobody (None) it takes as long, and is False."""
        known = await self._store.password(user_id) if user_id is not None else None
        good, fresh = await self._passwords.verify(password, known)
        if good and fresh and user_id is not None:
            await self._store.set_password(user_id, fresh, now_ms())
        return good

    async def set_password(self, user_id: str, password: str) -> None:
        """Store somebody's new password, which `check_strength` has looked at."""
        await self._store.set_password(user_id, await self._passwords.hash(password), now_ms())

    async def remove_password(self, user_id: str) -> None:
        """Forget somebody's password."""
        await self._store.remove_password(user_id)

    async def end_all(self, user_id: str) -> None:
        """End every session and link of a person."""
        self.links.end_all(user_id)
        await self.sessions.end_all(user_id)
