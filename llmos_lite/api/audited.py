"""Which routes are recorded in the audit log, as data, and the one place that records them.

`Auditing` stands around every route but the hot ones. It hears what the route answers, and writes the row before the
answer goes out; so a route itself knows nothing of it. A test fails when a route that changes something, or that only
admins may use, is missing here. Chats are not recorded one by one: their traces do that.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast
from urllib.parse import parse_qsl

import msgspec

from llmos_lite.api.auth import client_of
from llmos_lite.api.errors import Asgi, Message, Receive, Scope, Send, explain, send_problem
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.audit import Audit, Caller
from llmos_lite.core.audit.log import FAILED, OK, REFUSED
from llmos_lite.core.limits import Limits
from llmos_lite.core.skills.credentials import masked
from llmos_lite.errors import LlmosError, RateLimited

log = logging.getLogger("llmos.audit")

LATER = frozenset({401, 403, 404, 409, 429})
"""Statuses of a refusal that is recorded; what cannot be meant (400) did nothing and says nothing."""
BAD, NOBODY, BROKEN = 400, 401, 500
_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Action:
    """What a route does.

    Args:
        name: dotted, as in `key.create`.
        target: what to, with names of the path, the query, the body or the answer in braces; `{volume}` is the actor's
            own when nothing names one.
        facts: what goes into the detail: names of what was asked, `>name` of what was answered, `name?` when only that
            it was given matters, as with personal data, `name*` for an address, whose credentials become stars. Nothing
            else is ever taken, so a secret is not.
        about: the volume that it concerns, when the target does not begin with it.
        quiet: only refusals are recorded, as for what merely reads.
        foreign: recorded only when a volume is read that is neither the actor's own nor of one of the actor's teams.
    """

    name: str
    target: str = ""
    facts: tuple[str, ...] = ()
    about: str = ""
    quiet: bool = False
    foreign: bool = False


ACTIONS: dict[str, Action] = {
    "POST /skills": Action("skill.create", "{volume}/{skill_id}", (">version",)),
    "PUT /skills/{skill_id}": Action("skill.update", "{volume}/{skill_id}", (">version",)),
    "PATCH /skills/{skill_id}": Action("skill.update", "{volume}/{skill_id}", (">version",)),
    "DELETE /skills/{skill_id}": Action("skill.delete", "{volume}/{skill_id}", (">commit",)),
    "POST /skills/{skill_id}/rename": Action("skill.rename", "{volume}/{skill_id}", ("new_id", ">version")),
    "POST /skills/{skill_id}/restore": Action("skill.restore", "{volume}/{skill_id}", ("version", ">commit")),
    "POST /templates/{template_id}/skills": Action("skill.create", "{volume}/{skill_id}", (">version",)),
    "POST /skills/promote": Action("skill.promote", "{skill_id}", ("team_id", "to", "from", "reason", ">status")),
    "POST /skills/import": Action("skill.import", "{volume}", ("source*", "ref", "replace", "dry_run", ">total")),
    "POST /skills/update": Action("skill.follow", "{volume}", ("force", "dry_run", ">total")),
    "PUT /skills/{skill_id}/pin": Action("skill.pin", "{volume}/{skill_id}", ("pinned", "ref", ">state")),
    "POST /skills/install": Action("skill.install", "{volume}", (">total", "replace")),
    "POST /proposals/{proposal_id}/merge": Action(
        "proposal.merge", "proposal:{proposal_id}", (">target", ">skill_id", ">author"), "{target}"
    ),
    "POST /proposals/{proposal_id}/close": Action(
        "proposal.close", "proposal:{proposal_id}", (">target", ">skill_id", ">author"), "{target}"
    ),
    "POST /proposals/{proposal_id}/comments": Action(
        "proposal.comment", "proposal:{proposal_id}", (">target", ">skill_id", ">author"), "{target}"
    ),
    "POST /proposals/{proposal_id}/reviews": Action(
        "proposal.review",
        "proposal:{proposal_id}",
        (">target", ">skill_id", ">author", "verdict", "digest"),
        "{target}",
    ),
    "POST /proposals/{proposal_id}/sign-off": Action(
        "proposal.sign_off",
        "proposal:{proposal_id}",
        (">target", ">skill_id", ">author", "reason", "digest"),
        "{target}",
    ),
    "POST /skills/lint": Action("skill.lint", quiet=True),
    "POST /skills/{skill_id}/sign-off": Action("skill.sign_off", "{volume}/{skill_id}", ("reason", "digest")),
    "POST /proposals/{proposal_id}/resolve": Action(
        "proposal.resolve", "proposal:{proposal_id}", (">target", ">skill_id", ">author"), "{target}"
    ),
    "POST /evolve": Action("evolution.run", "{scope}", ("team_id", ">run_id", ">state")),
    "GET /traces": Action("trace.list", "{volume}", foreign=True),
    "GET /traces/{trace_id}": Action("trace.read", "{volume}/{trace_id}", foreign=True),
    "GET /traces/export": Action("trace.export", "{volume}", foreign=True),
    "POST /traces/import": Action("trace.import", "{user}", ("format", ">run_id")),
    "DELETE /traces/{trace_id}": Action("trace.erase", "{volume}/{trace_id}", ("reason", ">erasure_id", ">traces")),
    "DELETE /users/{user_id}/traces": Action("user.forget", "user:{user_id}", ("reason", ">erasure_id", ">traces")),
    "POST /traces/{trace_id}/feedback": Action("trace.feedback", "{volume}/{trace_id}", ("rating",)),
    "POST /archives": Action("archive.create", "{volume}", ("month", ">traces")),
    "POST /archives/restore": Action("archive.restore", "{volume}", ("month", ">traces")),
    "PUT /volumes/policy": Action("volume.policy", "{volume}", ("review", "retention_days")),
    "GET /tool-servers": Action("tool_server.list", quiet=True),
    "GET /tool-servers/{name}/tools": Action("tool_server.tools", "{name}", quiet=True),
    "PUT /tool-servers/{name}": Action("tool_server.set", "{name}", ("url", "tools", "others", "teams", "users")),
    "DELETE /tool-servers/{name}": Action("tool_server.remove", "{name}"),
    "POST /tool-servers/{name}/sign-in": Action("tool_server.begin_sign_in", "{name}", (">issuer", ">scope")),
    "POST /tool-servers/{name}/sign-in/answer": Action("tool_server.sign_in", "{name}"),
    "GET /tool-servers/{name}/callback": Action("tool_server.sign_in", "{name}"),
    "DELETE /tool-servers/{name}/sign-in": Action("tool_server.sign_out", "{name}", ("user_id",)),
    "GET /providers": Action("provider.list", quiet=True),
    "PUT /providers/{name}": Action("provider.set", "{name}", ("kind", "url", "models")),
    "DELETE /providers/{name}": Action("provider.remove", "{name}"),
    "POST /volumes/{volume}/remotes": Action(
        "remote.create", "{volume}/{name}", ("url", "direction", "when", "traces", "trust")
    ),
    "PATCH /volumes/{volume}/remotes/{name}": Action(
        "remote.change", "{volume}/{name}", ("url", "direction", "when", "traces", "trust", "active")
    ),
    "DELETE /volumes/{volume}/remotes/{name}": Action("remote.remove", "{volume}/{name}"),
    "POST /volumes/{volume}/remotes/{name}/sync": Action("remote.sync", "{volume}/{name}", (">state",)),
    "PATCH /me": Action("user.change", "{volume}", ("name?", "record", "share")),
    "GET /users": Action("user.list", quiet=True),
    "POST /users": Action("user.create", "user:{user_id}", ("role",)),
    "PATCH /users/{user_id}": Action(
        "user.change", "user:{user_id}", ("name?", "record", "share", "role", "active", "email?")
    ),
    "GET /users/{user_id}": Action("user.read", "user:{user_id}", quiet=True),
    "GET /users/{user_id}/identities": Action("user.read", "user:{user_id}", quiet=True),
    "POST /users/{user_id}/identities": Action("user.identify", "user:{user_id}", ("provider", "subject")),
    "DELETE /users/{user_id}/identities": Action("user.unidentify", "user:{user_id}", ("provider", "subject")),
    "POST /keys": Action(
        "key.create", "key:{key_id}", (">user_id", "name", "scopes", "teams", "purpose", ">made_with", ">expires")
    ),
    "DELETE /keys/{key_id}": Action("key.revoke", "key:{key_id}"),
    "POST /invitations": Action("invitation.create", "invitation:{invitation_id}", ("team_id", "role", "name?")),
    "DELETE /invitations/{invitation_id}": Action("invitation.revoke", "invitation:{invitation_id}"),
    "POST /invitations/accept": Action("invitation.accept", "user:{user_id}", ("team_id",)),
    "POST /invitation": Action("invitation.accept"),
    "GET /invitations": Action("invitation.list", quiet=True),
    "PATCH /teams/{team_id}": Action("team.change", "team:{team_id}", ("name", "archived")),
    "DELETE /teams/{team_id}": Action("team.delete", "team:{team_id}"),
    "POST /teams": Action("team.create", "team:{team_id}", ("name",)),
    "POST /teams/{team_id}/members": Action("member.set", "team:{team_id}", ("user_id", "role")),
    "DELETE /teams/{team_id}/members/{user_id}": Action("member.remove", "team:{team_id}", ("user_id",)),
    "GET /backup": Action("instance.backup", "system"),
    "POST /reindex": Action("instance.reindex", "system", (">run_id",)),
    "POST /admin/maintain": Action("instance.maintain", "{volume}"),
    "POST /skills/scrub": Action(
        "skill.scrub", "{volume}", ("quoted", "reason", "diverge", "scrub_id", "commits", "objects")
    ),
    "POST /signing/rotate": Action("signing.rotate", "system"),
    "POST /signing/revoke": Action("signing.revoke", "system", ("fingerprint", "at")),
    "GET /audit": Action("audit.read", quiet=True),
    "GET /audit/export": Action("audit.export", "system"),
    "GET /audit/verify": Action("audit.verify", "system", (">ok", ">first_wrong", ">problem")),
    "GET /usage/all": Action("usage.list", quiet=True),
    "GET /limits": Action("limit.list", quiet=True),
    "PUT /limits/{subject}": Action("limit.set", "{subject}", ("requests", "streams", "tokens", "money")),
    "DELETE /limits/{subject}": Action("limit.unset", "{subject}"),
    "POST /sign-in": Action("sign_in.form"),
    "POST /sign-in/password": Action("sign_in.password", "user:{user}"),
    "POST /sign-in/link": Action("sign_in.link"),
    "POST /sign-in/refresh": Action("sign_in.refresh", quiet=True),
    "POST /sign-in/end": Action("sign_in.end"),
    "GET /sign-in/oidc/callback": Action("sign_in.oidc"),
    "POST /sign-in/rotate": Action("token.rotate", "system", ("kid",)),
    "POST /users/{user_id}/sign-in-link": Action("sign_in.make_link", "user:{user_id}"),
    "PUT /me/password": Action("password.set", "{volume}"),
    "DELETE /me/sessions/{session_id}": Action("session.end", "session:{session_id}"),
    "POST /sign-out": Action("sign_in.end"),
    "POST /try": Action("chat.try", quiet=True),
}
"""By method and path of the route."""
UNDECLARED = Action("request", "", quiet=True)
GIT = re.compile(
    r"/git/(?:market/)?(?:(system)|(users|teams)/([a-z0-9-]{1,64}))(\.git|/traces\.git)/(git-(?:receive|upload)-pack|info/refs)"
)


class Services(Protocol):
    """What is needed of an instance."""

    @property
    def audit(self) -> Audit:
        """Where rows go."""

    @property
    def limits(self) -> Limits:
        """How often somebody may fail to say who they are."""


class Auditing:
    """Stands around an app and records what it answers.

    Args:
        app: the app.
        services: of the instance.
    """

    def __init__(self, app: Asgi, services: Services) -> None:
        self._app, self._services = app, services
        self._routes = {method: list(_compiled(method)) for method in {name.partition(" ")[0] for name in ACTIONS}}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; its row is durable before the first byte goes out."""
        action, path = self._find(scope)
        deed = _Deed(action, path, scope, self._services)
        try:
            await self._app(scope, deed.heard(receive), deed.sending(send))
        except Exception as error:
            await deed.broke(error)
            raise

    def _find(self, scope: Scope) -> tuple[Action, Mapping[str, str]]:
        if found := GIT.fullmatch(scope["path"]):
            return _git(found, scope)
        for pattern, action in self._routes.get(scope["method"], ()):
            if match := pattern.fullmatch(scope["path"]):
                return action, match.groupdict()
        return UNDECLARED, {}


async def record_refusal(services: Services, scope: Scope, error: LlmosError) -> None:
    """Record that a request to one of the hot routes was refused for want of a right.

    Raises:
        RateLimited: `limit.strangers`.
    """
    await _Deed(UNDECLARED, {}, scope, services).record(error.status, error.code)
    if error.status == NOBODY:
        await services.limits.stranger(client_of(scope))


@dataclass(slots=True)
class _Deed:
    """One request, as far as the log cares."""

    action: Action
    path: Mapping[str, str]
    scope: Scope
    services: Services
    asked: bytearray = field(default_factory=bytearray)
    start: Message | None = None
    done: bool = False

    def heard(self, receive: Receive) -> Receive:
        """Return what hands the body on, and keeps one that the route reads as JSON; the edge bounds those."""
        if self.action is UNDECLARED:
            return receive

        async def hearing() -> Message:
            message = await receive()
            if _reads_json(self.scope):
                self.asked += message.get("body", b"")
            return message

        return hearing

    def sending(self, send: Send) -> Send:
        """Return what holds the beginning of the answer back until the row is written."""

        async def sending(message: Message) -> None:
            if self.done:
                await send(message)
            elif message["type"] == "http.response.start":
                self.start = message
            elif self.start is not None:
                self.done = True
                await self._answered(self.start, cast("bytes", message.get("body", b"")))
                if not await self._limited(send):
                    await send(self.start)
                    await send(message)

        return sending

    async def broke(self, error: Exception) -> None:
        """Record that the route raised, unless it has answered."""
        if not self.done:
            self.done = True
            said = explain(error)
            await self.record(said.status, said.code)

    async def _limited(self, send: Send) -> bool:
        """Answer otherwise when too many requests came from this address without a credential that holds."""
        if self.start is None or self.start["status"] != NOBODY:
            return False
        try:
            await self.services.limits.stranger(client_of(self.scope))
        except RateLimited as error:
            await send_problem(send, error, str(self.scope.get("state", {}).get("request_id", "")))
            return True
        return False

    async def _answered(self, start: Message, body: bytes) -> None:
        status = cast("int", start["status"])
        # A page that is only read may be megabytes, and leaves no row unless it is refused.
        is_told = self.action is not UNDECLARED or status >= BAD
        answer = _parsed(body) if is_told and _is_json(start.get("headers", ())) else {}
        await self.record(status, str(answer.get("code", "")), answer)

    async def record(self, status: int, code: str, answer: Mapping[str, Any] | None = None) -> None:
        """Record what came of it, if that is recorded."""
        result = OK if status < BAD else FAILED if status >= BROKEN else REFUSED
        if self._counts(status, result, code):
            asked = self._asked()
            names = _texts({**(answer or {}), **asked})
            actor = self._actor
            names["volume"] = names.get("volume") or (str(actor.volume) if actor else "")
            if not self.action.foreign or _is_foreign(actor, names["volume"]):
                facts = _facts(self.action.facts, _texts(asked), _texts(answer or {}))
                await self._append(names, facts, result, code or (f"http.{status}" if result != OK else ""))

    @property
    def _actor(self) -> Actor | None:
        return cast("Actor | None", self.scope.get("state", {}).get("actor"))

    def _counts(self, status: int, result: str, code: str) -> bool:
        if self.action is UNDECLARED:
            return status in {401, 403} and code != "credential.missing"
        if self.action.foreign:
            return result == OK or status in {401, 403}
        if result == REFUSED:
            return status in LATER
        return not (self.action.quiet and result == OK)

    async def _append(self, names: Mapping[str, str], facts: Mapping[str, str], result: str, code: str) -> None:
        action = self.action
        target = _filled(action.target, names) or f"{self.scope['method']} {self.scope['path']}"
        about = _filled(action.about, names) if action.about else ""
        caller = Caller(client_of(self.scope), str(self.scope.get("state", {}).get("request_id", "")))
        try:
            await self.services.audit.record(
                self._actor, action.name, target, result=result, code=code, detail=facts, about=about, caller=caller
            )
        except LlmosError as error:
            log.error("%s of %s is not in the audit log: %s", action.name, target, error.message)  # noqa: TRY400
            if result == OK:
                raise

    def _asked(self) -> dict[str, Any]:
        """Return what was asked, as the route has read it: nothing that it does not know may name what was done."""
        route = self.scope.get("route")
        known = set(_query_names(getattr(route, "dependant", None)))
        query = cast("bytes", self.scope.get("query_string", b"")).decode("latin-1")
        given = {name: value for name, value in parse_qsl(query, keep_blank_values=True) if name in known}
        return {**_read(bytes(self.asked)), **given, **self.path}


def _query_names(dependant: Any) -> Iterator[str]:  # noqa: ANN401 - FastAPI's, which is not loaded here
    """Yield the names that a route reads from the query."""
    if dependant is not None:
        yield from (one.alias for one in dependant.query_params)
        for inner in dependant.dependencies:
            yield from _query_names(inner)


def _reads_json(scope: Scope) -> bool:
    return bool(getattr(getattr(scope.get("route"), "dependant", None), "body_params", None))


def _read(body: bytes) -> dict[str, Any]:
    """Read a body as Starlette does, to the letter: in UTF-16, too, and with the last of two equal keys."""
    try:
        found = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _compiled(method: str) -> list[tuple[re.Pattern[str], Action]]:
    """Return the routes of a method, those without a name in their path first."""
    paths = [(name.partition(" ")[2], action) for name, action in ACTIONS.items() if name.startswith(f"{method} ")]
    ordered = sorted(paths, key=lambda one: "{" in one[0])
    return [
        (re.compile(_FIELD.sub(r"(?P<\1>[^/]+)", re.escape(path).replace(r"\{", "{").replace(r"\}", "}"))), action)
        for path, action in ordered
    ]


def _git(found: re.Match[str], scope: Scope) -> tuple[Action, Mapping[str, str]]:
    """Return what git does: a push is recorded, or that one is refused; a clone, or fetch, of traces too."""
    volume = found[1] or f"{found[2][:-1]}:{found[3]}"
    traces = found[4] != ".git"
    pushes = found[5] == "git-receive-pack"
    if not pushes and b"service=git-receive-pack" in scope["query_string"]:
        return Action("git.push", volume, quiet=True), {}
    if pushes:  # what moved is recorded where it moves
        return Action("git.push", volume, quiet=True), {}
    fetches = found[5] == "git-upload-pack"  # nobody has to ask for the refs before
    return Action("git.fetch_traces" if traces else "git.fetch", volume, quiet=not (traces and fetches)), {}


def _texts(found: Mapping[str, Any]) -> dict[str, str]:
    """Return what can be told in a few words; lists of words, too."""
    plain = {name: value for name, value in found.items() if isinstance(value, (str, int, float, bool))}
    lists = {name: " ".join(map(str, value[:20])) for name, value in found.items() if isinstance(value, list)}
    return {name: str(value) for name, value in {**plain, **lists}.items()}


def _facts(wanted: Sequence[str], asked: Mapping[str, str], answer: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in wanted:
        name = word.strip(">?*")
        value = answer.get(name) if word.startswith(">") else asked.get(name)
        if value:
            found[name] = "given" if word.endswith("?") else masked(value) if word.endswith("*") else value
    return found


def _is_foreign(actor: Actor | None, volume: str) -> bool:
    kind, _, name = volume.partition(":")
    return kind in {"user", "team"} and actor is not None and volume != str(actor.volume) and name not in actor.teams


def _filled(template: str, names: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda match: names.get(match[1], ""), template).rstrip("/")


def _is_json(headers: object) -> bool:
    given = cast("list[tuple[bytes, bytes]]", headers)
    return any(name.lower() == b"content-type" and b"json" in value for name, value in given)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body) if body else {}
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
