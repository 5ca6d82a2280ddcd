"""The one place that records what routes do in the audit log; `audited_routes` says which.

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

from llmos_lite.api.audited_routes import ACTIONS, UNDECLARED, Action
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
