"""Sessions: of a browser, carried by a cookie, and of a client, continued by a refresh token.

A secret is `<session id>.<256 random bits>`; only its digest is kept. A refresh token works once and gives the next
one. When an earlier one comes again, somebody else has it: the whole session ends (RFC 9700, section 4.14.2).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hmac import compare_digest
from typing import NamedTuple

from llmos_lite.core.accounts.keys import digest_of
from llmos_lite.core.accounts.permissions import Scope
from llmos_lite.core.accounts.tokens import SECONDS, Tokens
from llmos_lite.core.traces.trace import make_ulid, now_ms
from llmos_lite.errors import NotFound, Unauthenticated
from llmos_lite.records.sign_in import Session, SignInStore

WEB_SECONDS = 12 * 60 * 60
"""How long a browser stays signed in."""
TOKEN_SECONDS = 30 * 24 * 60 * 60
"""How long a client stays signed in."""
FRESH_SECONDS = 15 * 60
"""How long a session is fresh: what began by a link may set a password until then."""
MOST_KNOWN = 10_000
_FORM = re.compile(r"([0-9A-HJKMNP-TV-Z]{26})\.[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Where:
    """Where a sign-in came from, for the list of one's sessions."""

    client: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a client gets: a token for ten minutes, and one that gets the next pair, once."""

    access_token: str
    refresh_token: str
    session_id: str
    expires_in: int = SECONDS


class _Begun(NamedTuple):
    user_id: str
    kind: str
    method: str
    seconds: int
    scopes: str = ""


class Sessions:
    """Begins, continues and ends sessions.

    Args:
        store: their rows.
        tokens: makes access tokens.
        clock: milliseconds since the epoch.
    """

    def __init__(self, store: SignInStore, tokens: Tokens, clock: Callable[[], int] = now_ms) -> None:
        self._store, self._tokens, self._clock = store, tokens, clock
        self._known: dict[bytes, Session] = {}

    # -- browsers ---------------------------------------------------------------------------------------------------

    async def begin_web(self, user_id: str, method: str, where: Where) -> str:
        """Sign a browser in; return the secret for its cookie, always a new one."""
        made = _Begun(user_id, "web", method, WEB_SECONDS)
        return (await self._begin(made, where))[0]

    async def of_cookie(self, secret: str) -> Session | None:
        """Return the session that a cookie carries, or None. One that was seen before asks no database."""
        digest = digest_of(secret)
        found = self._known.get(digest) or await self._load(secret, digest)
        if found is None or found.kind != "web" or found.expires <= self._clock():
            return None
        return found

    # -- clients ----------------------------------------------------------------------------------------------------

    async def begin_tokens(self, user_id: str, method: str, where: Where, scopes: Iterable[Scope]) -> TokenPair:
        """Sign a client in, for some scopes."""
        scopes = frozenset(scopes)
        begun = _Begun(user_id, "token", method, TOKEN_SECONDS, " ".join(sorted(scopes)))
        secret, made = await self._begin(begun, where)
        return TokenPair(self._tokens.issue(user_id, made.session_id, scopes), secret, made.session_id)

    async def refresh(self, secret: str) -> tuple[Session, TokenPair]:
        """Exchange a refresh token for the next pair.

        Raises:
            Unauthenticated: `session.ended`; `session.reused` for a token that was used before: nobody of this
                sign-in comes in any more.
        """
        form = _FORM.fullmatch(secret)
        found = await self._store.get(form[1]) if form else None
        now = self._clock()
        if found is None or found.kind != "token" or found.expires <= now:
            raise ended()
        fresh = _secret(found.session_id)
        current = compare_digest(digest_of(secret).hex(), found.digest)
        if not current or not await self._store.exchange(found.session_id, found.digest, _hex(fresh), now):
            await self._end([found])
            raise Unauthenticated(
                "session.reused",
                "This refresh token was used before, so the sign-in has ended for everybody who holds a part of it.",
                hint="Sign in again; if it was not you, change your password.",
                session_id=found.session_id,
                user_id=found.user_id,
            )
        scopes = [Scope(name) for name in found.scopes.split()]
        access = self._tokens.issue(found.user_id, found.session_id, scopes)
        return found, TokenPair(access, fresh, found.session_id)

    # -- both -------------------------------------------------------------------------------------------------------

    async def end(self, secret: str) -> Session | None:
        """Sign out with a cookie's secret or a refresh token; return what has ended."""
        form = _FORM.fullmatch(secret)
        found = await self._store.get(form[1]) if form else None
        if found is None or not compare_digest(digest_of(secret).hex(), found.digest):
            return None
        await self._end([found])
        return found

    async def end_all(self, user_id: str, *, but: str = "") -> int:
        """End somebody's sessions, all but the one with the id `but`; return how many."""
        ending = [one for one in await self._store.of(user_id) if one.session_id != but]
        await self._end(ending)
        return len(ending)

    async def of(self, user_id: str) -> list[Session]:
        """Return somebody's sessions that last, the newest first."""
        now = self._clock()
        return [one for one in await self._store.of(user_id) if one.expires > now]

    async def end_one(self, user_id: str, session_id: str) -> None:
        """End one of somebody's sessions.

        Raises:
            NotFound: `session.unknown`, for one that is not there or not theirs, alike.
        """
        found = await self._store.get(session_id)
        if found is None or found.user_id != user_id:
            raise NotFound("session.unknown", "There is no such session of yours.")
        await self._end([found])

    def is_fresh(self, session: Session) -> bool:
        """Tell whether somebody has just shown, by a link or another provider, who they are."""
        return session.method in {"link", "oidc"} and session.created + FRESH_SECONDS * 1000 > self._clock()

    async def _begin(self, begun: _Begun, where: Where) -> tuple[str, Session]:
        now = self._clock()
        session_id = make_ulid(now)
        secret = _secret(session_id)
        made = Session(
            session_id=session_id,
            user_id=begun.user_id,
            kind=begun.kind,
            method=begun.method,
            digest=_hex(secret),
            scopes=begun.scopes,
            client=where.client[:64],
            agent="".join(char for char in where.agent if char.isprintable())[:200],
            created=now,
            used=now,
            expires=now + begun.seconds * 1000,
        )
        await self._store.add(made)
        return secret, made

    async def _load(self, secret: str, digest: bytes) -> Session | None:
        form = _FORM.fullmatch(secret)
        found = await self._store.get(form[1]) if form else None
        if found is None or not compare_digest(digest.hex(), found.digest):
            return None
        while len(self._known) >= MOST_KNOWN:
            self._known.pop(next(iter(self._known)))
        self._known[digest] = found
        return found

    async def _end(self, ending: list[Session]) -> None:
        for one in ending:
            self._known.pop(bytes.fromhex(one.digest), None)
        self._tokens.end(one.session_id for one in ending)
        await self._store.end(*(one.session_id for one in ending))
        for one in ending:  # somebody may have read it meanwhile
            self._known.pop(bytes.fromhex(one.digest), None)


def ended() -> Unauthenticated:
    """Return the error for a session that does not last any more, or never was one."""
    return Unauthenticated("session.ended", "This session has ended.", hint="Sign in again.")


def _secret(session_id: str) -> str:
    return f"{session_id}.{secrets.token_urlsafe(32)}"


def _hex(secret: str) -> str:
    return digest_of(secret).hex()
