"""The page that an invitation's link leads to: plain HTML, no script."""

from __future__ import annotations

from html import escape
from string import Template
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llmos_lite.api.auth import Needs, actor_of, check_same_site, declares, session_of
from llmos_lite.api.home import error_section, page, set_session
from llmos_lite.bootstrap import Services
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.errors import Invalid, LlmosError, Unauthenticated

OPEN = Needs(open=True)


@declares(OPEN)
async def show_invitation(request: Request) -> Response:
    """`GET /invitation?token=…`: ask who wants to come in; looking at it spends nothing."""
    services: Services = request.app.state.services
    return page(services, _form(await _actor(request), request.query_params.get("token", "")))


@declares(OPEN)
async def take_invitation(request: Request) -> Response:
    """`POST /invitation`: come in by form, signed in from now on."""
    services: Services = request.app.state.services
    check_same_site(request.scope)
    fields = await _fields(request)
    token, actor = fields.get("token", ""), await _actor(request)
    try:
        if actor is None and not fields.get("password"):
            raise Invalid("password.missing", "Choose a password.", hint="Programs use POST /invitations/accept.")
        done = await services.invitations.accept(
            token,
            user_id="" if actor else fields.get("user_id", ""),
            name=fields.get("name", ""),
            password=fields.get("password", ""),
            actor=actor,
        )
    except LlmosError as error:
        return page(services, error_section(error) + _form(actor, token, fields), status=error.status)
    answer = page(services, Template(_DONE).substitute(user=escape(done.account.user_id), team=escape(done.team_id)))
    if actor is None:
        await set_session(request, answer, done.account, "link")
    return answer


ROUTES = [
    Route("/invitation", show_invitation, methods=["GET"]),
    Route("/invitation", take_invitation, methods=["POST"]),
]


async def _actor(request: Request) -> Actor | None:
    """Return who is signed in here, if anybody is."""
    services: Services = request.app.state.services
    if not session_of(request.scope):
        return None
    try:
        return await actor_of(services.accounts, request.scope)
    except Unauthenticated:
        return None


async def _fields(request: Request) -> dict[str, str]:
    try:
        found = parse_qs((await request.body()).decode(), max_num_fields=20)
    except ValueError as error:
        raise Invalid("request.invalid", "The form cannot be read.") from error
    return {name: values[0] for name, values in found.items()}


def _form(actor: Actor | None, token: str, fields: dict[str, str] | None = None) -> str:
    known = fields or {}
    shown = {
        "token": escape(token[:200]),
        "user_id": escape(known.get("user_id", "")),
        "name": escape(known.get("name", "")),
    }
    if actor is not None:
        return Template(_JOIN).substitute(shown, user=escape(actor.user_id))
    return Template(_NEW).substitute(shown)


_JOIN = """<h1>You are invited</h1>
<section><form method="post" action="/invitation">
<input type="hidden" name="token" value="$token">
<button>Join as $user</button></form></section>"""
_NEW = """<h1>You are invited</h1>
<section><form method="post" action="/invitation">
<input type="hidden" name="token" value="$token">
<label for="user_id">Your id: lower-case letters, digits and hyphens</label>
<input id="user_id" name="user_id" value="$user_id" autocomplete="username" required>
<label for="name">Your name</label>
<input id="name" name="name" value="$name" autocomplete="name">
<label for="password">A password</label>
<input id="password" name="password" type="password" autocomplete="new-password" required>
<button>Come in</button></form>
<p class="soft">If you have an account here, <a href="/">sign in</a> first, and open the link again.</p></section>"""
_DONE = """<h1>You are in</h1>
<section><p>You are signed in as $user. <a href="/">Start here</a>.</p></section>"""
