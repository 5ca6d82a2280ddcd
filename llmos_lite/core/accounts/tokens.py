"""Access tokens: what a signed-in client shows for ten minutes, checked without asking the database."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from llmos_lite.core.accounts.permissions import Scope
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.engines.token_keys import TokenKeys

SECONDS = 10 * 60
"""How long an access token holds."""
AUDIENCE = "llmos-lite"
MOST_SEEN = 10_000
"""Tokens whose signature was checked already, kept in memory."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a token stands for.

    Args:
        user_id: the person.
        scopes: what the token may be used for at most; the person's own rights bound it, too.
        jti: the token's id, for logs and audit.
        session_id: the session that it came from.
        expires: milliseconds since the epoch.
    """

    user_id: str
    scopes: frozenset[Scope]
    jti: str
    session_id: str
    expires: int


class Tokens:
    """Makes and checks access tokens.

    Args:
        keys: sign them.
        issuer: the address of this instance, as `iss`.
        clock: milliseconds since the epoch.
    """

    def __init__(self, keys: TokenKeys, issuer: str, clock: Callable[[], int] = now_ms) -> None:
        self._keys, self._issuer, self._clock = keys, issuer, clock
        self._seen: dict[bytes, Subject] = {}
        self._ended: dict[str, int] = {}

    def issue(self, user_id: str, session_id: str, scopes: Iterable[Scope]) -> str:
        """Return a token that holds for ten minutes."""
        now = self._clock() // 1000
        return self._keys.sign(
            {
                "iss": self._issuer,
                "aud": AUDIENCE,
                "sub": user_id,
                "sid": session_id,
                "scope": " ".join(sorted(scopes)),
                "iat": now,
                "exp": now + SECONDS,
                "jti": secrets.token_hex(8),
            }
        )

    def subject(self, token: str) -> Subject | None:
        """Return whom a token stands for; None for one that does not hold, whatever the reason."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        found = self._seen.get(digest) or self._checked(token, digest)
        if found is None or found.expires <= self._clock() or found.session_id in self._ended:
            return None
        return found

    def end(self, session_ids: Iterable[str]) -> None:
        """Let no token of these sessions hold any more."""
        now = self._clock()
        self._ended = {sid: until for sid, until in self._ended.items() if until > now}
        self._ended |= dict.fromkeys(session_ids, now + SECONDS * 1000)

    def rotate(self) -> str:
        """Sign with a new key; return its `kid`. Tokens that were given out hold until they expire."""
        return self._keys.rotate()

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the public keys as a JSON Web Key Set."""
        return self._keys.jwks()

    def _checked(self, token: str, digest: bytes) -> Subject | None:
        claims = self._keys.verify(token)
        if claims is None or claims.get("aud") != AUDIENCE or claims.get("iss") != self._issuer:
            return None
        subject = _subject(claims)
        if subject is not None:
            while len(self._seen) >= MOST_SEEN:
                self._seen.pop(next(iter(self._seen)))
            self._seen[digest] = subject
        return subject


def _subject(claims: dict[str, object]) -> Subject | None:
    user_id, sid, scope, jti, expires = (claims.get(name) for name in ("sub", "sid", "scope", "jti", "exp"))
    texts = isinstance(user_id, str) and isinstance(sid, str) and isinstance(scope, str) and isinstance(jti, str)
    if not texts or not isinstance(expires, int):
        return None
    known = frozenset(Scope(name) for name in str(scope).split() if name in set(Scope))
    return Subject(str(user_id), known, str(jti), str(sid), expires * 1000)
