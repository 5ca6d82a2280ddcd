"""Which model server a request goes to, and what happens when that one fails."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import count
from typing import NamedTuple, Protocol

import msgspec

from llmos_lite.engines.absent import ABSENT, LARGEST, ReadReply, lacks_address
from llmos_lite.engines.http_client import Reply, told_wait
from llmos_lite.engines.upstream import Passing, Upstream, Wire
from llmos_lite.errors import LlmosError, NotFound, Unavailable, UpstreamFailed
from llmos_lite.observability import Seldom

log = logging.getLogger("llmos.models")

RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
"""Statuses after which another try may do better; 529 is Anthropic's word for too much to do."""
DOWN = frozenset({500, 502, 503, 504, 529})
"""Statuses that speak of the server and not of the request."""
REFUSALS = 400
"""The first status that refuses."""
UNKNOWN_KEY = 401
"""What a server says of a key that it does not know."""
MOST_KNOWN = 1000
LONGEST_KNOWN = 200
"""How many names of models are known by heart, and how long they may be; clients make them up."""


class Route(NamedTuple):
    """Where a request goes: the server, how it calls the model, and what is spoken with it."""

    upstream: Upstream
    model: str
    wire: Wire


class Sent(msgspec.Struct, frozen=True):
    """A request that was taken: where it went, and the answer, whose status may be a refusal; it is to be ended."""

    route: Route
    reply: Reply


class Upstreams(Protocol):
    """The model servers of an instance."""

    def send(self, model: str, wire: Wire, make: Callable[[Route], Passing]) -> Awaitable[Sent]:
        """Send a request to whoever has the model; whoever stops waiting ends it there.

        Args:
            model: as the client calls it; empty takes the usual one.
            wire: what the client speaks.
            make: writes the request for a route.

        Raises:
            UpstreamFailed: `model.unreachable`, `model.cut`.
            UpstreamTimeout: `model.timeout`.
        """

    def at(self, server: str, passing: Passing) -> Awaitable[Reply]:
        """Send a request to a server by its name; it is not asked twice.

        Raises:
            NotFound: `response.unknown`, when the server is not set any more.
            UpstreamFailed, UpstreamTimeout: as `send`.
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
        failures: in a row, after which a server that does not answer, or a model of it that fails, is left alone ...
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
    """Leaves alone what keeps failing, and lets one request at a time find out whether it is back.

    Args:
        policy: how often it may fail.
        clock: seconds.
        what: it is, for the log and for whoever has to wait.

    Attributes:
        failures: in a row; as long as there are none, nobody has to be asked about anything.
        why: the last of them, for whoever has to wait.
    """

    def __init__(self, policy: Policy, clock: Callable[[], float] = time.monotonic, what: str = "") -> None:
        self._policy, self._clock, self.what = policy, clock, what
        self.failures, self._until, self.why = 0, 0.0, UpstreamFailed("model.failed", "It failed.")

    @property
    def left(self) -> float:
        """Return for how many seconds it is left alone; 0 when it may be asked."""
        return max(0.0, self._until - self._clock())

    def ask(self) -> None:
        """Note that it is asked: until it has answered, others wait when it was left alone before."""
        if self.failures >= self._policy.failures:
            self._until = self._clock() + self._policy.rest

    def note(self, *, good: bool, why: UpstreamFailed | None = None) -> None:
        """Note how it went, and why when it did not go well."""
        if good:
            if self.failures >= self._policy.failures:
                log.warning("%s answers again.", self.what)
            self.failures, self._until = 0, 0.0
            return
        self.failures += 1
        if why is not None:
            self.why = why.fresh()
        if self.failures == self._policy.failures:
            log.warning("%s keeps failing, and is left alone for a while. %s", self.what, self.why.told)
        if self.failures >= self._policy.failures:
            rest = self._policy.rest * 2 ** min(self.failures - self._policy.failures, 10)
            self._until = self._clock() + min(rest, self._policy.longest_rest)


class _Way(NamedTuple):
    """A route, what knows how its server and its model do, that server's name, and the one the model is meant for.

    A server that says that it failed is there, and its other models may do better: only silence counts against all.
    """

    route: Route
    silence: Breaker
    failures: Breaker
    server: str
    meant: str

    @property
    def left(self) -> float:
        """Return for how many seconds it is left alone; 0 when it may be asked."""
        return max(self.silence.left, self.failures.left)

    def ask(self) -> None:
        """Note that it is asked, after it has failed."""
        self.silence.ask()
        self.failures.ask()

    def note(self, status: int, why: UpstreamFailed | None = None) -> None:
        """Note what it answered; 0 when it did not, and why."""
        is_down = status in DOWN
        if not status or self.silence.failures:
            self.silence.note(good=bool(status), why=why)
        if status and (is_down or self.failures.failures):
            said = UpstreamFailed("model.failed", f"It answers {status}.") if is_down else None
            self.failures.note(good=not is_down, why=said)


def _awake(ways: Sequence[_Way]) -> Sequence[_Way]:
    """Return ways without those that are left alone.

    Raises:
        Unavailable: `model.resting`, when that are all.
    """
    awake = [way for way in ways if not way.left]
    if awake:
        return awake
    left = max(1, round(min(way.left for way in ways)))
    first = ways[0]
    failing = first.silence if first.silence.left else first.failures
    said = f"{failing.what} keeps failing, and is left alone for {left} s. {failing.why.message}"
    hint = failing.why.hint if failing.why.code == "model.unreachable" else "Try again then."
    raise Unavailable("model.resting", said, hint=hint, retry_after=left)


def _check_meant(way: _Way) -> None:
    """Raise unless this is the server that a model is meant to go to: a client's own key is for no other.

    Raises:
        Unavailable: `model.resting`.
    """
    if way.server != way.meant:
        said = f"The model's server {way.meant!r} cannot be asked now, and your own key is for no other."
        raise Unavailable("model.resting", said, hint="Try again in a moment.", retry_after=5)


async def _shown(upstream: Upstream, reply: Reply, passing: Passing) -> Reply:
    """Return an answer, and a refusal without our key in it: some servers say which key, or request, they refuse."""
    if reply.status < REFUSALS or passing.own_key or not getattr(upstream, "hidden", ()):
        return reply
    return ReadReply(reply, without_keys(upstream, await reply.read(LARGEST)))


def without_keys(upstream: Upstream, said: bytes) -> bytes:
    """Return what a server says of a failure, without our key in it."""
    hidden: Sequence[bytes] = getattr(upstream, "hidden", ())
    for secret in hidden:
        said = said.replace(secret, b"[key]")
    return said


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
        self._silences = {name: Breaker(self._policy, what=f"The model's server {name!r}") for name in servers}
        self._failures: dict[Target, Breaker] = {}
        self._log = Seldom(log)
        self._known: dict[tuple[str, Wire], Sequence[_Way]] = {}
        self._silent: set[tuple[str, Wire]] = set()
        """What servers turned out not to speak, though their kind does."""

    def resting(self, name: str) -> float:
        """Return for how many seconds a server, or a model of it, is left alone; 0 when all of it may be asked."""
        silence = [self._silences[name]] if name in self._silences else []
        failures = [breaker for target, breaker in self._failures.items() if target.server == name]
        return max((breaker.left for breaker in [*silence, *failures]), default=0.0)

    def send(self, model: str, wire: Wire, make: Callable[[Route], Passing]) -> Awaitable[Sent]:
        """Send a request; see `Upstreams`.

        Raises:
            NotFound: `model.unknown`.
            Unavailable: `model.resting`, when all servers that have the model are left alone.
        """
        ways = self._known.get((model, wire)) or self._found(model, wire)
        for way in ways:
            if way.silence.failures or way.failures.failures:
                return self._asked(_awake(ways), make)
        return self._asked(ways, make)

    async def at(self, server: str, passing: Passing) -> Reply:
        """Send a request to a server by its name; see `Upstreams`."""
        upstream = self.servers.get(server)
        if upstream is None:
            said = f"The provider {server} that makes this response is not set any more."
            raise NotFound("response.unknown", said, hint="Ask the model again.")
        return await _shown(upstream, await upstream.send(passing), passing)

    async def _asked(self, ways: Sequence[_Way], make: Callable[[Route], Passing]) -> Sent:
        """Return the answer of the first server that has one to hand on; each is asked as often as the policy says."""
        way, others = ways[0], ways[1:]
        passing = make(way.route)
        if passing.own_key:
            _check_meant(way)
            others = ()
        for number in count():
            if way.silence.failures or way.failures.failures:
                way.ask()
            try:
                reply = await way.route.upstream.send(passing)
            except UpstreamFailed as error:
                way.note(0, error)
                self._log.warn(f"{way.server} silence", "%s", error.told)
                wait = self._backoff(way, number)
                if wait is None and not others:
                    raise
            else:
                way.note(reply.status)
                wait = self._wait(way, reply, number) if reply.status in RETRIED else None
                if reply.status == UNKNOWN_KEY and not passing.own_key:
                    self._log.warn(  # clients take it for their own key
                        f"{way.server} key",
                        "The model's server %r does not know the key that it is asked with (%d).",
                        way.server,
                        UNKNOWN_KEY,
                    )
                if reply.status not in RETRIED or (wait is None and not others):
                    sent = Sent(way.route, reply)
                    return sent if reply.status < REFUSALS else await self._refused(way, make, sent, passing)
                await reply.end()
            if wait is None:
                break
            await self._pause(wait)
        return await self._asked(others, make)

    async def _refused(self, way: _Way, make: Callable[[Route], Passing], sent: Sent, passing: Passing) -> Sent:
        """Return a refusal, unless the server only lacks the address, and is asked by another."""
        reply = await _shown(way.route.upstream, sent.reply, passing)
        if reply.status in ABSENT and way.route.wire is not Wire.CHAT:
            return await self._in_chat(way, make, reply)
        return Sent(way.route, reply)

    async def _in_chat(self, way: _Way, make: Callable[[Route], Passing], refused: Reply) -> Sent:
        """Ask a server that lacks the address of a client's API by the one that all speak; remember it when that helps.

        A refusal of something that the request names is handed on: without it, in chat, the request would be another.
        """
        route = way.route._replace(wire=Wire.CHAT)
        if Wire.CHAT not in route.upstream.wires:
            return Sent(way.route, refused)
        body = await refused.read(LARGEST)
        read = ReadReply(refused, body)
        if not lacks_address(refused.status, body):
            return Sent(way.route, read)
        try:
            passing = make(route)
        except LlmosError:  # it cannot be said so
            return Sent(way.route, read)
        await read.end()
        reply = await route.upstream.send(passing)
        if reply.status not in ABSENT:
            self._silent.add((way.server, way.route.wire))
            self._known.clear()
        return Sent(route, await _shown(way.route.upstream, reply, passing))

    def _found(self, model: str, wire: Wire) -> Sequence[_Way]:
        """Find out where a model may be, and remember it: neither servers nor rules of a router change."""
        targets = self.rules.targets(model, self.servers)
        ways = []
        for name, own in targets:
            if (server := self.servers.get(name)) is not None:
                said = Wire.CHAT if (name, wire) in self._silent else spoken(server, wire)
                route = Route(server, own or model, said)
                ways.append(
                    _Way(route, self._silences[name], self._failing(name, route.model), name, targets[0].server)
                )
        if not ways:
            raise NotFound(
                "model.unknown", f"No provider has a model {model[:100]!r}.", hint="GET /v1/models lists all."
            )
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
            self._failures.clear()
        if len(model) <= LONGEST_KNOWN:
            self._known[model, wire] = ways
        return ways

    def _failing(self, server: str, model: str) -> Breaker:
        """Return what knows how a model of a server does; for names of any length, only while they are asked."""
        target = Target(server, model)
        if target in self._failures:
            return self._failures[target]
        breaker = Breaker(self._policy, what=f"The model {model[:100]!r} of the server {server!r}")
        if len(model) <= LONGEST_KNOWN:
            self._failures[target] = breaker
        return breaker

    def _wait(self, way: _Way, reply: Reply, number: int) -> float | None:
        """Return how long to wait before the server is asked again; None for never."""
        wait = self._backoff(way, number)
        if wait is None or reply.header("x-should-retry") == "false":
            return None
        told = told_wait(reply)
        return wait if told is None else told if told <= self._policy.longest else None

    def _backoff(self, way: _Way, number: int) -> float | None:
        if number >= self._policy.retries or way.left:
            return None
        wait = min(self._policy.wait * 2.0**number, self._policy.longest)
        return wait * random.uniform(0.5, 1.0)  # noqa: S311 - so that many do not come back at once

    async def close(self) -> None:
        """Close all connections."""
        for server in self.servers.values():
            await server.close()
