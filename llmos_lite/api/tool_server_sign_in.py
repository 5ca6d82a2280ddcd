"""Signing in to a tool server: somebody begins, a browser goes to the server's provider and comes back."""

from __future__ import annotations

from html import escape
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field
from starlette.routing import Route

from llmos_lite.api.auth import Needs, actor_of, cookie_of, declares, session_of
from llmos_lite.api.deps import Anyone, Body, Has, Paragraph, Visitor
from llmos_lite.api.home import error_section, is_secure, page, sign_in_form
from llmos_lite.api.openapi import answers
from llmos_lite.api.tool_servers import Name
from llmos_lite.bootstrap import Services
from llmos_lite.core.accounts.actors import actor_of_account
from llmos_lite.core.toolservers.sign_in import SECONDS, Begun
from llmos_lite.errors import LlmosError, Unauthenticated

router = APIRouter(route_class=Paragraph, tags=["tool servers"])

WAY = "llmos_tool_way"
"""Cookie that binds the way to a provider and back to one browser."""

UserId = Annotated[str, Query(max_length=64, description="Whose, as a system admin.")]

_BEGUN = {
    "url": "https://llmos.example.com/tool-servers/wiki/sign-in?state=7Yl…",
    "address": "https://auth.example.com/authorize?response_type=code&client_id=…",
    "issuer": "https://auth.example.com",
    "scope": "pages:read",
    "redirect_uri": "https://llmos.example.com/tool-servers/wiki/callback",
    "expires": 1764720600000,
}
_CLIENT = {
    "client_id": "https://llmos.example.com/tool-servers/wiki/client",
    "client_name": "llmos-lite",
    "redirect_uris": ["https://llmos.example.com/tool-servers/wiki/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}
_SIGNED_IN = {"name": "wiki", "sign_in": "done"}


class BegunOut(BaseModel):
    """A sign-in that has begun: open `url` in a browser; empty when a client signed in as itself.

    `address` is the provider's own, for a browser that does not reach this instance; hand in where it ends.
    """

    url: str
    address: str
    issuer: str
    scope: str
    redirect_uri: str
    expires: int

    @classmethod
    def of(cls, begun: Begun) -> BegunOut:
        """Show it."""
        return cls(**{name: getattr(begun, name) for name in cls.model_fields})


class Answer(Body):
    """Where a browser ended, for one that does not reach this instance."""

    model_config = Body.model_config | {
        "json_schema_extra": {"examples": [{"address": "http://127.0.0.1:8420/tool-servers/wiki/callback?code=…"}]}
    }
    address: Annotated[str, Field(max_length=8000, repr=False)]


class SignedInOut(BaseModel):
    """A tool server that was signed in to."""

    name: str
    sign_in: str


class ClientOut(BaseModel):
    """This instance as a client of one tool server's provider."""

    client_id: str
    client_name: str
    redirect_uris: list[str]
    grant_types: list[str]
    response_types: list[str]
    token_endpoint_auth_method: str


@router.post("/tool-servers/{name}/sign-in", responses=answers(_BEGUN, 404, 409, 502, 504))
async def begin_sign_in(actor: Anyone, services: Has, name: Name) -> BegunOut:
    """Begin to sign in to a tool server.

    Finds its provider, makes this instance known there, and returns what to open in a browser within ten minutes. A
    system admin signs in for everybody who may use the server; where everybody has tokens of their own (`each`),
    whoever may use it. A client that is set to sign in as itself does so at once.
    """
    return BegunOut.of(await services.tool_sign_ins.begin(actor, name))


@router.post("/tool-servers/{name}/sign-in/answer", responses=answers(_SIGNED_IN, 404, 502, 504))
async def finish_sign_in(actor: Anyone, services: Has, name: Name, body: Answer) -> SignedInOut:
    """Finish a sign-in by hand, as whoever began it: for a browser that does not reach this instance."""
    await services.tool_sign_ins.finish_by_hand(actor, name, body.address)
    return SignedInOut(name=name, sign_in="done")


@router.delete(
    "/tool-servers/{name}/sign-in", status_code=204, responses=answers(None, 404, status=204, description="Gone.")
)
async def end_sign_in(actor: Anyone, services: Has, name: Name, *, user_id: UserId = "") -> None:
    """Sign out of a tool server: its tokens are erased, and taken back where its provider can be asked.

    Yours, where everybody has some, or those of somebody else as a system admin; else those of all, as a system admin.
    """
    await services.tool_sign_ins.end(actor, name, user_id)


@router.get("/tool-servers/{name}/client", responses=answers(_CLIENT, 404))
async def show_client(_actor: Visitor, services: Has, name: Name) -> ClientOut:
    """Show this instance as a client, for providers that read that where the client's id says.

    It says the same of every name, so it tells nobody which tool servers there are.
    """
    return ClientOut.model_validate(services.tool_sign_ins.document(name))


# -- the browser's way to the provider and back ------------------------------------------------------------------------


@declares(Needs(open=True))
async def to_provider(request: Request) -> Response:
    """`GET /tool-servers/{name}/sign-in?state=…`: send the browser to the provider."""
    services: Services = request.app.state.services
    name, state = request.path_params["name"], request.query_params.get("state", "")
    try:
        actor = await actor_of(services.accounts, request.scope) if session_of(request.scope) else None
        address, cookie = await services.tool_sign_ins.open(actor, name, state, cookie_of(request.scope, WAY))
    except LlmosError as error:
        form = sign_in_form(services) if isinstance(error, Unauthenticated) else ""
        return page(services, error_section(error) + form, status=error.status)
    answer = RedirectResponse(address, status_code=303)
    answer.set_cookie(WAY, cookie, SECONDS, path=_path(name), secure=is_secure(request), httponly=True, samesite="lax")
    return answer


@declares(Needs(open=True))
async def from_provider(request: Request) -> Response:
    """`GET /tool-servers/{name}/callback`: take the browser back."""
    services: Services = request.app.state.services
    name, given = request.path_params["name"], dict(request.query_params.items())
    try:
        user_id = await services.tool_sign_ins.finish(name, given, cookie_of(request.scope, WAY))
    except LlmosError as error:
        return page(services, error_section(error), status=error.status)
    account = await services.accounts.account(user_id)
    request.scope.setdefault("state", {})["actor"] = actor_of_account(account)
    said = f"<section><h2>{escape(name)} is signed in to.</h2><p>You may close this page.</p></section>"
    answer = page(services, said)
    answer.delete_cookie(WAY, path=_path(name), httponly=True, samesite="lax")
    return answer


def _path(name: str) -> str:
    return f"/tool-servers/{name}"


ROUTES = [
    Route("/tool-servers/{name}/sign-in", to_provider, methods=["GET"]),
    Route("/tool-servers/{name}/callback", from_provider, methods=["GET"]),
]
