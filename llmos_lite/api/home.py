"""The home page and signing in by browser: plain HTML, no script, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

import llmos_lite
from llmos_lite.api.auth import COOKIE, Needs, actor_of, check_same_site, client_of, declares, session_of
from llmos_lite.api.errors import Scope
from llmos_lite.bootstrap import Services
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.accounts.permissions import Scope as Right
from llmos_lite.core.accounts.sessions import WEB_SECONDS, Where
from llmos_lite.core.chat.messages import ChatInput
from llmos_lite.core.traces.log import TraceSummary
from llmos_lite.core.wording import count_of
from llmos_lite.engines.folder import is_demo
from llmos_lite.errors import Invalid, LlmosError, RateLimited, Unauthenticated
from llmos_lite.records.accounts import Account

_PAGE = Template(files("llmos_lite.api").joinpath("home.html").read_text(encoding="utf-8"))
_STYLE = files("llmos_lite.api").joinpath("home.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CSP = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
LATEST = 10
_CHAT = Needs(scope=Right.CHAT)


@declares(Needs(open=True))
async def show_home(request: Request) -> Response:
    """`GET /`: who you are and what there is; or how to sign in."""
    services: Services = request.app.state.services
    try:
        actor = await actor_of(services.accounts, request.scope)
    except Unauthenticated:
        return page(services, sign_in_form(services))
    return page(services, await _overview(services, actor), _nav(actor))


@declares(Needs(open=True))
async def sign_in(request: Request) -> Response:
    """`GET /sign-in?token=…`: ask whether the link is to be spent; whatever looks ahead at links presses no button."""
    services: Services = request.app.state.services
    token = request.query_params.get("token", "")
    if not token:
        return page(services, sign_in_form(services))
    return page(services, Template(_SPEND).substitute(token=escape(token[:200], quote=True)))


@declares(Needs(open=True))
async def sign_in_by_form(request: Request) -> Response:
    """`POST /sign-in`: a form with a name and a password, with the token of a link, or with the admin's key."""
    services: Services = request.app.state.services
    check_same_site(request.scope)
    fields = await _fields(request)
    try:
        if fields.get("key"):
            actor = await _of_key(services, fields["key"].strip())
            return await signed_in(request, await services.accounts.account(actor.user_id), "key")
        if fields.get("token"):
            return await signed_in(request, await services.entrance.by_link(fields["token"]), "link")
        where = where_of(request.scope)
        account = await services.entrance.by_password(fields.get("user", ""), fields.get("password", ""), where)
    except (Unauthenticated, RateLimited) as error:
        return page(services, error_section(error) + sign_in_form(services), status=error.status)
    return await signed_in(request, account, "password")


@declares(Needs(open=True))
async def sign_out(request: Request) -> Response:
    """`POST /sign-out`: end the session."""
    services: Services = request.app.state.services
    check_same_site(request.scope)
    await services.entrance.sign_out(session_of(request.scope))
    answer = RedirectResponse("/", status_code=303)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


@declares(_CHAT)
async def try_chat(request: Request) -> Response:
    """`POST /try`: one chat by form."""
    services: Services = request.app.state.services
    actor = _CHAT.check(await actor_of(services.accounts, request.scope))
    message = (await _fields(request)).get("message", "")
    try:
        result = await services.chat.chat(actor, ChatInput(message=message))
    except LlmosError as error:
        return page(
            services, error_section(error) + await _overview(services, actor, message), _nav(actor), status=error.status
        )
    used = ", ".join(f"{skill.name} ({skill.volume})" for skill in result.skills_used) or "none"
    link = f' · <a href="/traces/{escape(result.trace_id)}">trace</a>' if result.trace_id else " · not recorded"
    said = (
        f"<section><h2>Answer</h2><pre>{escape(result.response)}</pre>"
        f'<p class="soft">Skills used: {escape(used)}{link}</p></section>'
    )
    return page(services, said + await _overview(services, actor, message), _nav(actor))


ROUTES = [
    Route("/", show_home, methods=["GET"]),
    Route("/sign-in", sign_in, methods=["GET"]),
    Route("/sign-in", sign_in_by_form, methods=["POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
    Route("/try", try_chat, methods=["POST"]),
]


def page(services: Services, main: str, nav: str = "", status: int = 200) -> HTMLResponse:
    """Return the page around its main part; both parts are HTML that was escaped before."""
    if is_demo(services.settings.data):
        main = _DEMO + main
    text = _PAGE.substitute(style=_STYLE, nav=nav, main=main, version=escape(llmos_lite.__version__))
    return HTMLResponse(text, status, headers={"content-security-policy": CSP})


async def _overview(services: Services, actor: Actor, message: str = "") -> str:
    skills = await services.skills.load_skills_for_user(actor)
    traces = await services.traces.page(actor, limit=LATEST)
    patterns = await services.evolution.patterns(actor, limit=1)
    counts = (("skill", len(skills)), ("trace", traces.total), ("pattern", patterns.total))
    cells = "".join(_cell(*count_of(count, noun).split()) for noun, count in counts)
    rows = "".join(_row(trace) for trace in traces.items) or '<tr><td colspan="3">None yet.</td></tr>'
    return Template(_OVERVIEW).substitute(
        user=escape(actor.user_id),
        counts=cells,
        message=escape(message),
        rows=rows,
    )


def _cell(number: str, noun: str) -> str:
    return f"<div><strong>{number}</strong><span>{noun}</span></div>"


def _row(trace: TraceSummary) -> str:
    at = datetime.fromtimestamp(trace.time / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    goal = escape(trace.goal[:160])
    return (
        f'<tr><td><a href="/traces/{escape(trace.trace_id)}">{goal or "(empty)"}</a></td>'
        f"<td><span>{escape(str(trace.outcome))}</span></td><td><span>{at}</span></td></tr>"
    )


def _nav(actor: Actor) -> str:
    return (
        f'<a href="/openapi.json">API</a><span class="soft">{escape(actor.user_id)}</span>'
        '<form method="post" action="/sign-out"><button>Sign out</button></form>'
    )


async def _of_key(services: Services, key: str) -> Actor:
    """Return whom a key in the form signs in; what is wrong with it is said to a person, who sends no headers."""
    try:
        return _whole(await services.accounts.authenticate(key))
    except Unauthenticated as error:
        raise Unauthenticated(error.code, error.message, hint=_PASTE) from None


def _whole(actor: Actor) -> Actor:
    """Return whoever may have a session, which has all the rights of its person, and would outlive an API key."""
    if actor.key_id:
        raise Unauthenticated("sign_in.api_key", "An API key is for programs and signs nobody in.")
    return actor


def error_section(error: LlmosError) -> str:
    """Return an error as a part of a page."""
    return f'<section class="error"><h2>{escape(error.message)}</h2><p class="soft">{escape(error.hint)}</p></section>'


def landing(services: Services, place: str) -> HTMLResponse:
    """Return a page that goes on by itself.

    A redirect would still count as coming from the site that held the link, a mailbox or a chat, and leave the strict
    cookie of the session out.
    """
    to = escape(place, quote=True)
    text = f'<meta http-equiv="refresh" content="0;url={to}"><p>Signed in. <a href="{to}">Go on</a></p>'
    return page(services, text)


async def signed_in(request: Request, account: Account, method: str) -> Response:
    """Answer with a new session of somebody, and the start page."""
    answer = RedirectResponse("/", status_code=303)
    await set_session(request, answer, account, method)
    return answer


async def set_session(request: Request, answer: Response, account: Account, method: str) -> None:
    """Put the cookie of a new session into an answer; what the browser carried before is no session of it."""
    services: Services = request.app.state.services
    await services.entrance.sign_out(session_of(request.scope))
    secret = await services.entrance.web(account, method, where_of(request.scope))
    request.scope.setdefault("state", {})["actor"] = await services.accounts.authenticate(
        "", session=secret, client=client_of(request.scope)
    )
    answer.set_cookie(
        COOKIE, secret, WEB_SECONDS, path="/", secure=is_secure(request), httponly=True, samesite="strict"
    )


def is_secure(request: Request) -> bool:
    """Tell whether browsers reach this instance over TLS, also when a proxy ends it."""
    services: Services = request.app.state.services
    return request.url.scheme == "https" or services.url.startswith("https:")


def where_of(scope: Scope) -> Where:
    """Return where a request came from."""
    agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
    return Where(client_of(scope), agent.decode("latin-1"))


def sign_in_form(services: Services) -> str:
    """Return the part of the page that lets somebody sign in."""
    name = escape(services.settings.oidc_name)
    provider = f'<p><a href="/sign-in/oidc">Sign in with {name}</a></p>' if services.entrance.has_provider else ""
    return Template(_SIGN_IN).substitute(provider=provider)


async def _fields(request: Request) -> dict[str, str]:
    """Read the fields of a form."""
    body = await request.body()
    try:
        found = parse_qs(body.decode(), max_num_fields=20)
    except ValueError as error:
        raise Invalid("request.invalid", "The form cannot be read.") from error
    return {name: values[0].replace("\r\n", "\n") for name, values in found.items()}


_PASTE = (
    "Paste all that stands in the file admin.key of the server's data folder, or sign in with your name and password. "
    "API keys are for programs."
)
_DEMO = (
    """<p class="demo" role="note"><strong>Example data.</strong> The people, skills and traces here are made up.</p>"""
)

_SPEND = """<h1>Sign in</h1>
<section><p>This link works once.</p>
<form method="post" action="/sign-in">
<input type="hidden" name="token" value="$token">
<button>Sign in</button></form></section>"""

_SIGN_IN = """<h1>Skills that grow from your team's work</h1>
<section><h2>Sign in</h2>
$provider
<form method="post" action="/sign-in">
<label for="user">User or e-mail address</label>
<input id="user" name="user" autocomplete="username" maxlength="254" required>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" maxlength="1024" required>
<button>Sign in</button></form></section>
<section><h2>The first time</h2>
<p>Open the link that <code>llmos serve</code> printed when it started; it works once, for 15 minutes. Or paste the key
from the file <code>admin.key</code> in the data folder:</p>
<form method="post" action="/sign-in">
<label for="key">Key</label>
<input id="key" name="key" type="password" autocomplete="off" required>
<button>Sign in as admin</button></form></section>
<section><h2>From a terminal</h2>
<pre>curl -H "Authorization: Bearer $$KEY" -H "X-LLMOS-User: alice" \\
  -H "Content-Type: application/json" -d '{"message": "How do I review a pull request?"}' \\
  http://127.0.0.1:8420/chat</pre></section>"""

_OVERVIEW = """<h1>Signed in as $user</h1>
<section class="counts">$counts</section>
<section><h2><label for="message">Try a chat</label></h2>
<form method="post" action="/try">
<textarea id="message" name="message" maxlength="20000" required
 placeholder="What are you working on?">$message</textarea>
<button>Send</button></form></section>
<section><h2>Latest traces</h2>
<table><thead><tr><th>Goal</th><th>Outcome</th><th>Time (UTC)</th></tr></thead>
<tbody>$rows</tbody></table></section>
<section><h2>More</h2><p><a href="/skills">Skills</a> · <a href="/traces">Traces</a> ·
<a href="/patterns">Patterns</a> ·
<a href="/volumes/stats">Volumes</a> · <a href="/volumes/history">History</a> ·
<a href="/openapi.json">OpenAPI</a></p></section>"""
