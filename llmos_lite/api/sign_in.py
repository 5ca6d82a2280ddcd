"""Signing in by API: tokens for clients, one's password and sessions, the way to a company's provider and back."""

from __future__ import annotations

from html import escape
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, Field
from starlette.routing import Route

from llmos_lite.api.auth import Needs, cookie_of, declares, session_of
from llmos_lite.api.deps import Admin, Anyone, Body, Has, Paragraph, Visitor
from llmos_lite.api.home import is_secure, page, set_session, sign_in_form, where_of
from llmos_lite.api.openapi import answers
from llmos_lite.bootstrap import Services
from llmos_lite.core.accounts.actors import actor_of_account
from llmos_lite.core.accounts.permissions import Scope
from llmos_lite.core.accounts.sessions import TokenPair
from llmos_lite.core.accounts.sign_in import LINK_SECONDS
from llmos_lite.core.accounts.tokens import SECONDS
from llmos_lite.errors import LlmosError
from llmos_lite.records.accounts import Account
from llmos_lite.records.sign_in import Session

router = APIRouter(route_class=Paragraph, tags=["sign-in"])

WAY = "llmos_way"
"""Cookie that binds the way to the provider and back to one browser."""
WAY_PATH = "/sign-in/oidc"
WAY_SECONDS = 10 * 60

_REFRESH = "01KBFW2Q7XN4T9C2Y4R8M0D6ZV." + "x" * 43
_TOKENS = {
    "access_token": "eyJhbGciOi…",
    "token_type": "Bearer",
    "expires_in": SECONDS,
    "refresh_token": _REFRESH,
    "user_id": "alice",
}
_SESSION = {
    "session_id": "01KBFW2Q7XN4T9C2Y4R8M0D6ZV",
    "kind": "web",
    "method": "password",
    "client": "192.0.2.7",
    "agent": "Mozilla/5.0",
    "created": 1764720000000,
    "used": 1764720000000,
    "expires": 1764763200000,
    "current": True,
}
Secret = Annotated[str, Field(min_length=1, max_length=200, repr=False)]
Password = Annotated[str, Field(max_length=1024, repr=False)]


class TokensOut(BaseModel):
    """A token for `expires_in` seconds, and one that gets the next pair, once."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - its kind
    expires_in: int
    refresh_token: str
    user_id: str

    @classmethod
    def of(cls, account: Account, pair: TokenPair) -> TokensOut:
        """Show a pair."""
        return cls(
            access_token=pair.access_token,
            expires_in=pair.expires_in,
            refresh_token=pair.refresh_token,
            user_id=account.user_id,
        )


class SessionOut(BaseModel):
    """A sign-in that lasts: of a browser (`web`) or of a client with tokens (`token`); times are ms since the epoch."""

    session_id: str
    kind: str
    method: str
    client: str
    agent: str
    created: int
    used: int
    expires: int
    current: bool

    @classmethod
    def of(cls, session: Session, current: str) -> SessionOut:
        """Show a session."""
        return cls.model_validate(
            {name: getattr(session, name) for name in cls.model_fields if name != "current"}
            | {"current": session.session_id == current}
        )


class ByPassword(Body):
    """A name (or e-mail address) and a password."""

    user: str = Field(min_length=1, max_length=254)
    password: Password
    scopes: list[Scope] | None = Field(None, max_length=len(Scope), description="At most these; all that you have.")


class ByLink(Body):
    """The token of a sign-in link."""

    token: Secret
    scopes: list[Scope] | None = Field(None, max_length=len(Scope))


class Refresh(Body):
    """A refresh token."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"refresh_token": _REFRESH}]}}
    refresh_token: Secret


class NewPassword(Body):
    """A password of one's own; `current` may be left out by whoever has none, or has just come by a link."""

    model_config = Body.model_config | {
        "json_schema_extra": {"examples": [{"current": "four words go here", "new": "tall otter window lamp"}]}
    }
    current: Password = ""
    new: Password


class LinkOut(BaseModel):
    """A link that signs somebody in once, within `expires_in` seconds."""

    token: str
    link: str
    expires_in: int


class Methods(BaseModel):
    """How people sign in here; `provider` is the name of the company's own, or null."""

    password: bool
    provider: str | None


@router.get("/sign-in/methods", responses=answers({"password": True, "provider": None}))
async def list_methods(_actor: Visitor, services: Has) -> Methods:
    """Say how people sign in here."""
    return Methods(password=True, provider=services.settings.oidc_name if services.entrance.has_provider else None)


@router.post("/sign-in/password", responses=answers(_TOKENS, 401, 429))
async def sign_in_by_password(request: Request, services: Has, body: ByPassword, _actor: Visitor) -> TokensOut:
    """Get tokens for a name and a password. Wrong names and wrong passwords look alike, and guessing gets slow."""
    account = await services.entrance.by_password(body.user, body.password, where_of(request.scope))
    return await _begun(request, services, account, "password", body.scopes)


@router.post("/sign-in/link", responses=answers(_TOKENS, 401, 403))
async def sign_in_by_link(request: Request, services: Has, body: ByLink, _actor: Visitor) -> TokensOut:
    """Get tokens for the token of a sign-in link, which works once."""
    return await _begun(request, services, await services.entrance.by_link(body.token), "link", body.scopes)


@router.post("/sign-in/refresh", responses=answers(_TOKENS, 401, 403))
async def refresh_tokens(request: Request, services: Has, body: Refresh, _actor: Visitor) -> TokensOut:
    """Exchange a refresh token for the next pair; one that comes a second time ends the whole sign-in."""
    account, pair = await services.entrance.refresh(body.refresh_token)
    _note(request, account)
    return TokensOut.of(account, pair)


@router.post("/sign-in/end", status_code=204, responses=answers(None, status=204, description="It has ended."))
async def end_tokens(services: Has, body: Refresh, _actor: Visitor) -> None:
    """Sign a client out: its refresh token, and what came of it, hold no more. Any text gets the same answer."""
    await services.entrance.sign_out(body.refresh_token)


@router.put(
    "/me/password",
    status_code=204,
    responses=answers(None, 429, status=204, description="It is set."),
)
async def set_password(request: Request, actor: Anyone, services: Has, body: NewPassword) -> None:
    """Set your password; every other session of yours ends."""
    await services.entrance.set_password(actor, session_of(request.scope), body.current, body.new)


@router.get("/me/sessions", responses=answers([_SESSION]))
async def list_sessions(request: Request, actor: Anyone, services: Has) -> list[SessionOut]:
    """List where you are signed in, the newest first."""
    cookie = session_of(request.scope)
    current = await services.entrance.session(cookie) if cookie else None
    at = current.session_id if current else ""
    return [SessionOut.of(session, at) for session in await services.entrance.sessions(actor)]


@router.delete(
    "/me/sessions/{session_id}", status_code=204, responses=answers(None, 404, status=204, description="It ended.")
)
async def end_session(
    actor: Anyone, services: Has, session_id: Annotated[str, Path(max_length=26, description="Of the list.")]
) -> None:
    """End one of your sessions, from its next request on."""
    await services.entrance.end_session(actor, session_id)


@router.post(
    "/users/{user_id}/sign-in-link",
    status_code=201,
    responses=answers(
        {"token": "t" * 43, "link": f"http://127.0.0.1:8420/sign-in?token={'t' * 43}", "expires_in": LINK_SECONDS},
        404,
        status=201,
    ),
)
async def make_link(
    actor: Admin, services: Has, user_id: Annotated[str, Path(max_length=64, description="Id of the person.")]
) -> LinkOut:
    """Make a link that signs somebody in once, within 15 minutes: for a first time, or a forgotten password."""
    token = await services.entrance.link_for(actor, user_id)
    return LinkOut(token=token, link=f"{services.url}/sign-in?token={token}", expires_in=LINK_SECONDS)


@router.post("/sign-in/rotate", responses=answers({"kid": "0123456789abcdef"}))
async def rotate_keys(_actor: Admin, services: Has) -> dict[str, str]:
    """Sign access tokens with a new key from now on; those that were given out hold until they expire."""
    return {"kid": services.entrance.tokens.rotate()}


_JWK = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "kid": "0123456789abcdef",
    "alg": "EdDSA",
    "use": "sig",
}


@router.get("/.well-known/jwks.json", responses=answers({"keys": [_JWK]}))
async def show_keys(_actor: Visitor, services: Has) -> dict[str, list[dict[str, str]]]:
    """Publish the keys that access tokens are signed with."""
    return services.entrance.tokens.jwks()


# -- the browser's way to the provider and back ------------------------------------------------------------------------


@declares(Needs(open=True))
async def to_provider(request: Request) -> Response:
    """`GET /sign-in/oidc?next=/path`: send the browser to the provider."""
    services: Services = request.app.state.services
    address, cookie = await services.entrance.begin_provider(request.query_params.get("next", "/"))
    answer = RedirectResponse(address, status_code=303)
    answer.set_cookie(WAY, cookie, WAY_SECONDS, path=WAY_PATH, secure=is_secure(request), httponly=True, samesite="lax")
    return answer


@declares(Needs(open=True))
async def from_provider(request: Request) -> Response:
    """`GET /sign-in/oidc/callback`: take the browser back."""
    services: Services = request.app.state.services
    try:
        account, back = await services.entrance.by_provider(
            cookie_of(request.scope, WAY), dict(request.query_params.items())
        )
    except LlmosError as error:
        said = (
            f'<section class="error"><h2>{escape(error.message)}</h2><p class="soft">{escape(error.hint)}</p></section>'
        )
        answer: Response = page(services, said + sign_in_form(services), status=error.status)
    else:
        answer = _landing(services, back)
        await set_session(request, answer, account, "oidc")
    answer.delete_cookie(WAY, path=WAY_PATH, httponly=True, samesite="lax")
    return answer


def _landing(services: Services, back: str) -> HTMLResponse:
    """Return a page that goes on by itself.

    A redirect would still count as coming from the provider's site, and leave the strict cookie of the session out.
    """
    place = escape(back, quote=True)
    text = f'<meta http-equiv="refresh" content="0;url={place}"><p>Signed in. <a href="{place}">Go on</a></p>'
    return page(services, text)


ROUTES = [
    Route(WAY_PATH, to_provider, methods=["GET"]),
    Route(f"{WAY_PATH}/callback", from_provider, methods=["GET"]),
]


async def _begun(
    request: Request, services: Services, account: Account, method: str, scopes: list[Scope] | None
) -> TokensOut:
    pair = await services.entrance.client(account, method, where_of(request.scope), scopes)
    _note(request, account)
    return TokensOut.of(account, pair)


def _note(request: Request, account: Account) -> None:
    """Tell the audit log who it was."""
    request.scope.setdefault("state", {})["actor"] = actor_of_account(account)
