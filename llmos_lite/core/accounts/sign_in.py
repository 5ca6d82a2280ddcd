"""Sign-in by link: a token that works once and shortly, exchanged for a session that a cookie carries.

Both live in memory: after a restart there is a new link, and nobody is signed in.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable

from llmos_lite.errors import Unauthenticated

LINK_SECONDS = 15 * 60
SESSION_SECONDS = 12 * 60 * 60


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


class SignIn:
    """Links and sessions.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._links: dict[bytes, tuple[str, float]] = {}
        self._sessions: dict[bytes, tuple[str, float]] = {}

    def link(self, user_id: str) -> str:
        """Return a token that signs `user_id` in once, within 15 minutes."""
        return self._issue(self._links, user_id, LINK_SECONDS)

    def exchange(self, token: str) -> str:
        """Spend a link's token; return the token of a session of 12 hours.

        Raises:
            Unauthenticated: `sign_in.spent`, when the link is unknown, used or too old.
        """
        user_id = self._find(self._links, token)
        if user_id is None:
            raise Unauthenticated(
                "sign_in.spent",
                "This sign-in link was used already, or is too old.",
                hint="Restart llmos serve for a new link, or sign in with the admin key.",
            )
        del self._links[_digest(token)]
        return self._issue(self._sessions, user_id, SESSION_SECONDS)

    def session(self, user_id: str) -> str:
        """Return the token of a new session, for somebody who showed a credential."""
        return self._issue(self._sessions, user_id, SESSION_SECONDS)

    def user(self, session: str) -> str | None:
        """Return who a session belongs to, or None."""
        return self._find(self._sessions, session)

    def end(self, session: str) -> None:
        """Sign out."""
        self._sessions.pop(_digest(session), None)

    def end_all(self, user_id: str) -> None:
        """End every session and link of a person."""
        for kept in (self._links, self._sessions):
            for digest in [digest for digest, (owner, _) in kept.items() if owner == user_id]:
                del kept[digest]

    def _issue(self, kept: dict[bytes, tuple[str, float]], user_id: str, seconds: float) -> str:
        now = self._clock()
        for old in [key for key, (_, until) in kept.items() if until <= now]:
            del kept[old]
        token = secrets.token_urlsafe(32)
        kept[_digest(token)] = (user_id, now + seconds)
        return token

    def _find(self, kept: dict[bytes, tuple[str, float]], token: str) -> str | None:
        user_id, until = kept.get(_digest(token), ("", 0.0))
        return user_id if user_id and until > self._clock() else None
