"""Which model server a request goes to, and what happens when that one fails."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import TracebackType
from typing import NamedTuple, Protocol

from llmos_lite.engines.http_client import Reply
from llmos_lite.engines.upstream import Passing, Upstream, Wire
from llmos_lite.errors import NotFound, Unavailable, UpstreamFailed

RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
"""Statuses after which another try may do better; 529 is Anthropic's word for too much to do."""
DOWN = frozenset({500, 502, 503, 504, 529})
"""Statuses that speak of the server and not of the request."""


class Route(NamedTuple):
    """Where a request goes: the server, how it calls the model, and what is spoken with it."""

    upstream: Upstream
    model: str
    wire: Wire


class Sent(NamedTuple):
    """A request that was taken: where it went, and the answer, whose status may be a refusal."""

    route: Route
    reply: Reply


class Upstreams(Protocol):
    """The model servers of an instance."""

    def send(self, model: str, wire: Wire, make: Callable[[Route], Passing]) -> AbstractAsyncContextManager[Sent]:
        """Send a request to whoever has the model; leaving the context early ends it there.

        Args:
            model: as the client calls it; empty takes the usual one.
            wire: what the client speaks.
            make: writes the request for a route.

        Raises:
            UpstreamFailed: `model.unreachable`, `model.cut`.
            UpstreamTimeout: `model.timeout`.
        """

    async def close(self) -> None:
        """Close all connections."""


def spoken(upstream: Upstream, wire: Wire) -> Wire:
    """Return what is spoken with a server: what the client speaks when the server does, too, else what it prefers."""
    return wire if wire in upstream.wires else next(one for one in Wire if one in upstream.wires)


class Target(NamedTuple):
    """A server by its name, and how it calls the model; empty for the name that was asked for."""

    server: str
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which server has which model.

    Args:
        aliases: by name, where to go, the first that works.
        patterns: names and patterns (`gpt-*`) with the server that has them.
        default: for every other model; None for nobody.
    """

    aliases: Mapping[str, Sequence[Target]] = field(default_factory=dict)
    patterns: Sequence[tuple[str, str]] = ()
    default: Target | None = None

    def targets(self, model: str, servers: Mapping[str, Upstream]) -> Sequence[Target]:
        """Return where a model may be; nothing when nobody has it.

        Args:
            model: as the client calls it; `server/model` names the server, too.
            servers: by name.
        """
        if model in self.aliases:
            return self.aliases[model]
        fitting = [
            (pattern.count("*"), -len(pattern), name) for pattern, name in self.patterns if fnmatchcase(model, pattern)
        ]
        if fitting:
            return [Target(name, model) for _, _, name in sorted(fitting)]
        server, slash, rest = model.partition("/")
        if slash and server in servers and rest:
            return [Target(server, rest)]
        return [Target(self.default.server, model or self.default.model)] if self.default else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What happens when a server fails.

    Args:
        retries: further tries of one server.
        wait: seconds before the first of them; doubled with each, and spread by chance.
        longest: seconds that are waited at most; a server that asks for more is not asked again.
        failures: in a row, after which a server is left alone ...
        rest: ... for so many seconds at first, twice as long with each failure after that ...
        longest_rest: ... and at most so many.
    """

    retries: int = 1
    wait: float = 0.25
    longest: float = 2.0
    failures: int = 5
    rest: float = 5.0
    longest_rest: float = 60.0


class Breaker:
    """Leaves a server alone that keeps failing, and lets one request at a time find out whether it is back.

    Args:
        policy: how often it may fail.
        clock: seconds.
    """

    def __init__(self, policy: Policy, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy, self._clock = policy, clock
        self._failures, self._until = 0, 0.0

    @property
    def left(self) -> float:
        """Return for how many seconds the server is left alone; 0 when it may be asked."""
        return max(0.0, self._until - self._clock())

    def ask(self) -> None:
        """Note that the server is asked: until it has answered, others wait when it was left alone before."""
        if self._failures >= self._policy.failures:
            self._until = self._clock() + self._policy.rest

    def note(self, *, good: bool) -> None:
        """Note how it went."""
        if good:
            self._failures, self._until = 0, 0.0
            return
        self._failures += 1
        if self._failures >= self._policy.failures:
            rest = self._policy.rest * 2 ** min(self._failures - self._policy.failures, 10)
            self._until = self._clock() + min(rest, self._policy.longest_rest)


class _Asked:
    """One server that is asked, and a breaker that hears how it went."""

    __slots__ = ("_breaker", "_exchange", "reply")

    reply: Reply

    def __init__(self, breaker: Breaker, upstream: Upstream, passing: Passing) -> None:
        self._breaker, self._exchange = breaker, upstream.send(passing)

    async def __aenter__(self) -> Reply:
        self._breaker.ask()
        try:
            reply = await self._exchange.__aenter__()
        except UpstreamFailed:
            self._breaker.note(good=False)
            raise
        self._breaker.note(good=reply.status not in DOWN)
        self.reply = reply
        return reply

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exchange.__aexit__(kind, error, trace)


class _Sending:
    """A request that is sent when its context is entered, and ended when that is left."""

    __slots__ = ("_asked", "_given", "_router")

    def __init__(self, router: Router, model: str, wire: Wire, make: Callable[[Route], Passing]) -> None:
        self._router, self._given = router, (model, wire, make)

    async def __aenter__(self) -> Sent:
        sent, self._asked = await self._router.ask(*self._given)
        return sent

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._asked.__aexit__(kind, error, trace)


class Router:
    """Several servers: which one has a model, and who is asked when that one fails.

    Args:
        servers: by name.
        rules: which has what.
        policy: what happens when one fails.
        pause: waits so many seconds.
    """

    def __init__(
        self,
        servers: Mapping[str, Upstream],
        rules: Rules,
        policy: Policy | None = None,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.servers, self.rules, self._policy, self._pause = servers, rules, policy or Policy(), pause
        self._breakers = {name: Breaker(self._policy) for name in servers}
        self._names = {id(server): name for name, server in servers.items()}

    def routes(self, model: str, wire: Wire) -> list[Route]:
        """Return where a model may be, those that are left alone last.

        Raises:
            NotFound: `model.unknown`.
            Unavailable: `model.resting`, when all of them are left alone.
        """
        targets = [one for one in self.rules.targets(model, self.servers) if one.server in self.servers]
        if not targets:
            raise NotFound(
                "model.unknown", f"No provider has a model {model[:100]!r}.", hint="GET /v1/models lists all."
            )
        awake = [one for one in targets if not self._breakers[one.server].left]
        if not awake:
            left = min(self._breakers[one.server].left for one in targets)
            said = f"The model's server {targets[0].server} keeps failing, and is left alone for a moment."
            raise Unavailable("model.resting", said, hint="Try again then.", retry_after=max(1, round(left)))
        servers = [(self.servers[one.server], one.model or model) for one in awake]
        return [Route(server, name, spoken(server, wire)) for server, name in servers]

    def resting(self, name: str) -> float:
        """Return for how many seconds a server is left alone; 0 for one that may be asked, or that there is not."""
        return self._breakers[name].left if name in self._breakers else 0.0

    def send(self, model: str, wire: Wire, make: Callable[[Route], Passing]) -> _Sending:
        """Send a request; see `Upstreams`."""
        return _Sending(self, model, wire, make)

    async def ask(self, model: str, wire: Wire, make: Callable[[Route], Passing]) -> tuple[Sent, _Asked]:
        """Return the answer of the first server that has one to hand on, and what ends it."""
        routes = self.routes(model, wire)
        for route in routes:
            passing = make(route)
            if passing.own_key:
                self._check_meant(model, route)
            asked = await self._tried(route, passing, only=route is routes[-1] or passing.own_key)
            if asked is not None:
                return Sent(route, asked.reply), asked
        raise AssertionError("the last server hands its answer on, or raises")

    async def _tried(self, route: Route, passing: Passing, *, only: bool) -> _Asked | None:
        """Ask one server, again as often as the policy says; None when another one may be better."""
        breaker = self._breakers[self._names[id(route.upstream)]]
        for number in range(1 + self._policy.retries):
            asked = _Asked(breaker, route.upstream, passing)
            try:
                reply = await asked.__aenter__()
            except UpstreamFailed:
                wait = self._backoff(number)
                if wait is None and only:
                    raise
            else:
                if reply.status not in RETRIED:
                    return asked
                wait = self._wait(reply, number)
                if wait is None and only:
                    return asked
                await asked.__aexit__(None, None, None)
            if wait is None:
                break
            await self._pause(wait)
        return None

    def _check_meant(self, model: str, route: Route) -> None:
        """Raise unless this is the server that a model is meant to go to: a client's own key is for no other.

        Raises:
            Unavailable: `model.resting`.
        """
        meant = self.rules.targets(model, self.servers)[0].server
        if self.servers.get(meant) is not route.upstream:
            said = f"The model's server {meant} keeps failing, and your own key is for no other."
            raise Unavailable("model.resting", said, hint="Try again in a moment.", retry_after=5)

    def _wait(self, reply: Reply, number: int) -> float | None:
        """Return how long to wait before the server is asked again; None for never."""
        said = reply.header("retry-after").partition(".")[0]
        wait = self._backoff(number)
        if wait is None or not said.isdecimal():
            return wait
        return float(said) if float(said) <= self._policy.longest else None

    def _backoff(self, number: int) -> float | None:
        if number >= self._policy.retries:
            return None
        wait = min(self._policy.wait * 2.0**number, self._policy.longest)
        return wait * random.uniform(0.5, 1.0)  # noqa: S311 - so that many do not come back at once

    async def close(self) -> None:
        """Close all connections."""
        for server in self.servers.values():
            await server.close()
