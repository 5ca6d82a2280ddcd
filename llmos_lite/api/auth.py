"""From the headers of a request to the actor behind it; the same few lines for plain ASGI and for FastAPI routes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from llmos_lite.api.errors import Scope
from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.identities import OPEN_WEBUI, FrontEndUser
from llmos_lite.core.accounts.keys import key_beside
from llmos_lite.core.accounts.permissions import Actor, refused_delegate, require, require_admin
from llmos_lite.core.accounts.permissions import Scope as Right
from llmos_lite.errors import Forbidden, Invalid

COOKIE = "llmos_session"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a route asks of whoever makes the request; a route that declares none fails a test.

    Args:
        scope: the scope that the credential has to have; None for any.
        admin: whether only a system admin may.
        delegates: whether somebody may whom a front end names.
        open: whether it answers without any credential.
    """

    scope: Right | None = None
    admin: bool = False
    delegates: bool = False
    open: bool = False

    def check(self, actor: Actor) -> Actor:
        """Return the actor, who may.

        Raises:
            Forbidden: `scope.missing`, `role.missing`, `delegate.refused`.
        """
        if actor.delegated and not self.delegates:
            raise refused_delegate()
        if self.scope is not None and self.scope not in actor.scopes:
            require(actor, self.scope)
        if self.admin:
            require_admin(actor)
        return actor


def declares(needs: Needs) -> Callable[[F], F]:
    """Declare what a route asks for that is a plain function."""

    def declared(endpoint: F) -> F:
        endpoint.needs = needs  # type: ignore[attr-defined]  # how the test finds it
        return endpoint

    return declared


async def actor_of(accounts: Accounts, scope: Scope) -> Actor:
    """Return whoever makes a request.

    Args:
        accounts: who knows credentials.
        scope: the ASGI scope.

    Raises:
        Unauthenticated: without a credential that holds.
        Forbidden: `request.cross_site`, for a browser's session used from another site.
    """
    return await actor_by(accounts, scope, given_by(scope))


async def actor_by(accounts: Accounts, scope: Scope, given: Given) -> Actor:
    """Return whoever makes a request whose headers were read; see `actor_of`."""
    if given.session and not given.key:
        check_same_site(scope)
    client = client_of(scope)
    actor = await accounts.authenticate(given.key, given.user, session=given.session, front=given.front, client=client)
    if "state" not in scope:
        scope["state"] = {}
    scope["state"]["actor"] = actor
    return actor


def client_of(scope: Scope) -> str:
    """Return the address that a request came from."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def session_of(scope: Scope) -> str:
    """Return the session that the browser's cookie carries, or nothing."""
    return given_by(scope).session


def cookie_of(scope: Scope, name: str) -> str:
    """Return a cookie of a request, or nothing."""
    found = (_cookie(value, name) for header, value in scope["headers"] if header == b"cookie")
    return next(filter(None, found), "")


def _cookie(header: bytes, name: str) -> str:
    """Read a header by hand: Python's own reader takes quadratic time for a value full of backslashes."""
    if name.encode() not in header:
        return ""
    for part in header.decode("latin-1").split(";"):
        key, _, value = part.partition("=")
        if key.strip() == name:
            return value.strip().strip('"')
    return ""


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


_READ = frozenset({b"authorization", b"x-api-key", b"x-llmos-user", b"cookie", b"x-llmos-key"})
_FRONT = b"x-openwebui-user-"
_LENGTH = len(_FRONT)


class Given(msgspec.Struct, frozen=True):
    """What the headers of a request say about who makes it; nothing of it was checked."""

    key: str = ""
    user: str = ""
    session: str = ""
    front: FrontEndUser | None = None


def given_by(scope: Scope) -> Given:
    """Read the headers of a request; `X-LLMOS-Key` counts before those that may be meant for a provider of models.

    Raises:
        Invalid: `user.invalid_id`, for an empty or a second `X-LLMOS-User`.
    """
    key = user = session = ours = ""
    named = 0
    front: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name not in _READ:
            if name[:_LENGTH] == _FRONT:
                front[name[_LENGTH:]] = value
        elif name == b"authorization":
            word, _, rest = value.decode("latin-1").partition(" ")
            key = rest.strip() if word == "Bearer" or word.lower() == "bearer" else key
        elif name == b"x-api-key":
            key = key or value.decode("latin-1").strip()
        elif name == b"x-llmos-user":
            named, user = named + 1, value.decode("latin-1").strip()
        elif name == b"x-llmos-key":
            ours = ours or key_beside(value)
        else:
            session = session or _cookie(value, COOKIE)
    if named and (named > 1 or not user):
        raise Invalid(
            "user.invalid_id",
            "The header X-LLMOS-User is empty, or there twice.",
            hint="Name a user, or leave it out.",
        )
    return Given(ours or key, user, session, _front_end_user(front) if b"id" in front else None)


def _front_end_user(front: dict[bytes, bytes]) -> FrontEndUser:
    """Return whom Open WebUI names; see ENABLE_FORWARD_USER_INFO_HEADERS there. Its roles are none of ours."""
    text = {name: value.decode("latin-1").strip() for name, value in front.items()}
    return FrontEndUser(OPEN_WEBUI, text[b"id"], text.get(b"email", ""), text.get(b"name", ""))
