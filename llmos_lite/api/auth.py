"""From the headers of a request to the actor behind it; the same few lines for plain ASGI and for FastAPI routes."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from llmos_lite.api.errors import Scope
from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.errors import Forbidden, Invalid

COOKIE = "llmos_session"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


async def actor_of(accounts: Accounts, scope: Scope) -> Actor:
    """Return whoever makes a request.

    Args:
        accounts: who knows credentials.
        scope: the ASGI scope.

    Raises:
        Unauthenticated: without a credential that holds.
        Forbidden: `request.cross_site`, for a browser's session used from another site.
    """
    key, user, session = _credentials(scope)
    if session and not key:
        check_same_site(scope)
    actor = await accounts.authenticate(key, user, session=session)
    scope.setdefault("state", {})["actor"] = actor
    return actor


def session_of(scope: Scope) -> str:
    """Return the session that the browser's cookie carries, or nothing."""
    return _credentials(scope)[2]


def check_same_site(scope: Scope) -> None:
    """Refuse an unsafe request that another site made a browser send.

    Raises:
        Forbidden: `request.cross_site`.
    """
    if scope["method"] in SAFE:
        return
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    fetch_site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    same = origin is not None and urlsplit(origin).netloc == headers.get(b"host")
    if fetch_site not in {None, "same-origin"} or not (same or (origin is None and fetch_site)):
        raise Forbidden("request.cross_site", "A browser's session works only from the pages of this server.")


def _credentials(scope: Scope) -> tuple[str, str, str]:
    key = user = session = ""
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, rest = value.decode("latin-1").partition(" ")
            key = rest.strip() if kind.lower() == "bearer" else key
        elif name == b"x-api-key":
            key = key or value.decode("latin-1").strip()
        elif name == b"x-llmos-user":
            user = _user(value)
        elif name == b"cookie" and COOKIE.encode() in value:
            session = _session(value.decode("latin-1"))
    return key, user, session


def _user(value: bytes) -> str:
    user = value.decode("latin-1").strip()
    if not user:
        raise Invalid("user.invalid_id", "The header X-LLMOS-User is empty.", hint="Name a user, or leave it out.")
    return user


def _session(text: str) -> str:
    try:
        cookie = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""
