"""What somebody may use, and the refusals that say when to come back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from llmos_lite.core.accounts.permissions import Actor, require_admin
from llmos_lite.core.limits.attempts import Attempt, Attempts
from llmos_lite.core.limits.ledger import Account, Ledger
from llmos_lite.core.limits.prices import Prices
from llmos_lite.core.limits.rates import LocalRates, Rates
from llmos_lite.core.limits.refusals import spent, too_fast, too_many
from llmos_lite.core.limits.reservation import Reservation
from llmos_lite.core.limits.subjects import callers, check_month, check_subject, may_see, network
from llmos_lite.core.page import Page
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.errors import NotFound
from llmos_lite.records.usage import Budget, UsageRows, Used

_REMEMBERED = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What everybody may use who has no budget of their own; 0 is no limit.

    Args:
        requests: a minute, of a person and of a key.
        streams: chats at once, of a person and of a key.
        strangers: requests a minute from an address whose credential does not hold.
        user_tokens: a month, of a person.
        user_micros: money a month, of a person, in millionths.
        team_tokens: a month, of the chats in a team's context.
        team_micros: money a month, of a team.
        answer: tokens that an answer has at most where a budget applies; they are reserved before it begins.
    """

    requests: int = 0
    streams: int = 0
    strangers: int = 600
    user_tokens: int = 0
    user_micros: int = 0
    team_tokens: int = 0
    team_micros: int = 0
    answer: int = 4096


class _Cap(NamedTuple):
    """What holds for one subject; 0 is no limit."""

    requests: int
    streams: int
    tokens: int
    micros: int


class Limits:
    """The limits of an instance.

    Args:
        rows: what was used, and budgets.
        ledger: counts what is used.
        defaults: from the settings.
        prices: of models.
        rates: counts requests.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        rows: UsageRows,
        ledger: Ledger,
        defaults: Defaults | None = None,
        *,
        prices: Prices | None = None,
        rates: Rates | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rows, self._ledger, self._clock = rows, ledger, clock
        self.defaults, self._prices = defaults or Defaults(), prices or Prices({})
        self._rates: Rates = rates or LocalRates()
        self._attempts = Attempts()
        self._budgets: dict[str, Budget] = {}
        self._caps: dict[str, _Cap] = {}
        self._streams: dict[str, int] = {}
        self._loading = asyncio.Lock()
        self._loaded = self._counting = False

    # -- requests ---------------------------------------------------------------------------------------------------

    async def hit(self, actor: Actor) -> None:
        """Count a request.

        Raises:
            RateLimited: `limit.requests`.
        """
        if not self._loaded:
            await self._load()
        if not self._counting:
            return
        for subject in callers(actor):
            limit = (self._caps.get(subject) or self._cap(subject)).requests
            if limit:
                wait = await self._rates.hit(subject, limit)
                if wait:
                    raise too_fast(subject, limit, wait)

    def request(self, actor: Actor) -> _Chatting:
        """Return what counts a chat as a request, and as one of those at once for as long as it is entered.

        Raises:
            RateLimited: `limit.requests` or `limit.streams`, when it is entered.
        """
        return _Chatting(self, actor) if self._counting or not self._loaded else _UNCOUNTED

    async def stranger(self, client: str) -> None:
        """Count a request without a credential that holds.

        Raises:
            RateLimited: `limit.strangers`.
        """
        limit = self.defaults.strangers
        wait = await self._rates.hit(f"from {network(client)}", limit) if limit else 0.0
        if wait:
            raise too_fast("this address", limit, wait, "limit.strangers")

    def attempts(self, key: str, client: str, *, known: bool = False) -> Attempt:
        """Return a try to sign in, which counts as failed until `passed` is called; see `Attempts.begin`.

        Raises:
            RateLimited: `sign_in.too_many`.
        """
        return self._attempts.begin(key, network(client), known=known)

    async def _enter(self, actor: Actor) -> Sequence[str]:
        await self.hit(actor)
        subjects = [subject for subject in callers(actor) if self._cap(subject).streams]
        for subject in subjects:
            limit = self._cap(subject).streams
            if self._streams.get(subject, 0) >= limit:
                raise too_many(subject, limit)
        for subject in subjects:
            self._streams[subject] = self._streams.get(subject, 0) + 1
        return subjects

    def _leave(self, subjects: Sequence[str]) -> None:
        for subject in subjects:
            left = self._streams.get(subject, 1) - 1
            if left:
                self._streams[subject] = left
            else:
                del self._streams[subject]

    # -- budgets ----------------------------------------------------------------------------------------------------

    async def reserve(
        self, actor: Actor, team_id: str | None, tokens_in: int, *, tokens_out: int = 0, model: str = ""
    ) -> Reservation:
        """Set aside what a chat may need, in every budget that it counts in; `settle` it in any case.

        Args:
            actor: who chats.
            team_id: in which team's context.
            tokens_in: tokens of the question, rather too many than too few.
            tokens_out: most tokens of the answer; 0 takes the setting.
            model: its name, for its price.

        Raises:
            RateLimited: `budget.tokens` or `budget.money`; `retry_after` is the time until the month ends.
            Forbidden: `price.unknown`.
        """
        if not self._loaded:
            await self._load()
        accounts = await self._ledger.accounts(callers(actor, team_id))
        reservation = Reservation(self._ledger, self._prices, model, tokens_in, tokens_out or self.defaults.answer)
        for account in accounts:  # from here on nobody else's turn comes, so nobody can be given the same twice
            subject = account.used.subject
            cap = self._caps.get(subject) or self._cap(subject)
            if cap.tokens or cap.micros:
                self._check(account, cap, reservation)
                reservation.bounded = True
        reservation.hold(accounts)
        return reservation

    async def count(
        self, actor: Actor, team_id: str | None, tokens_in: int, tokens_out: int, *, asked: str, model: str
    ) -> None:
        """Count what a request that is counted already turned out to use, whatever is left.

        Args:
            actor: who chats.
            team_id: in which team's context.
            tokens_in: tokens of the question.
            tokens_out: tokens of the answer.
            asked: the model's name as it was asked for.
            model: what answered.
        """
        if not self._loaded:
            await self._load()
        accounts = await self._ledger.accounts(callers(actor, team_id))
        reservation = Reservation(self._ledger, self._prices, asked, 0, 0)
        reservation.hold(accounts)
        reservation.settle(tokens_in, tokens_out, model, requests=0)

    def _check(self, account: Account, cap: _Cap, wanted: Reservation) -> None:
        """Raise when a budget has too little left."""
        used, tokens, micros = account.used, cap.tokens, cap.micros
        if tokens and used.tokens + account.tokens + wanted.tokens > tokens:
            left = tokens - used.tokens - account.tokens
            raise spent("tokens", used, tokens, left, self._ledger.ends - self._clock())
        if micros and used.micros + account.micros + wanted.micros > micros:
            left = micros - used.micros - account.micros
            raise spent("money", used, micros / 1e6, left / 1e6, self._ledger.ends - self._clock())

    # -- what there is ----------------------------------------------------------------------------------------------

    async def usage(self, actor: Actor, subject: str = "", *, month: str = "") -> tuple[Used, Budget]:
        """Return what a subject used in a month, and what it may: one's own, a team's as its admin, anybody's as admin.

        Raises:
            NotFound: `usage.unknown`, for what is not for the actor.
            Invalid: `usage.invalid`.
        """
        subject = check_subject(subject or f"user:{actor.user_id}")
        if not may_see(actor, subject):
            raise NotFound("usage.unknown", f"There is no usage of {subject} that you may see.")
        await self._load()
        if month in {"", self._ledger.month}:
            return (await self._ledger.accounts([subject]))[0].used, self.budget(subject)
        return await self._rows.get(subject, check_month(month)), self.budget(subject)

    async def everybody(self, actor: Actor, *, month: str = "", limit: int = 50, cursor: str = "") -> Page[Used]:
        """List what everybody used in a month, the most first, for a system admin."""
        require_admin(actor)
        await self._ledger.open()
        await self._ledger.flush()
        rows = await self._rows.page(check_month(month or self._ledger.month), limit=limit, cursor=cursor)
        return Page(rows.items, rows.next_cursor, rows.total)

    async def budgets(self, actor: Actor) -> list[Budget]:
        """List the budgets that differ from the settings, for a system admin."""
        require_admin(actor)
        await self._load()
        return [self._budgets[subject] for subject in sorted(self._budgets)]

    async def set_budget(self, actor: Actor, subject: str, wanted: Mapping[str, int | None]) -> Budget:
        """Set what a subject may use, as a system admin; None takes the setting, 0 is no limit.

        Raises:
            Invalid: `usage.invalid`.
        """
        require_admin(actor)
        await self._load()
        fields = {name: wanted.get(name) for name in _Cap._fields}
        row = Budget(subject=check_subject(subject), changed=now_ms(), changed_by=actor.user_id)
        budget = msgspec.structs.replace(row, **fields)
        await self._rows.set_budget(budget)
        self._budgets[subject] = budget
        self._look()
        return self.budget(subject)

    async def drop_budget(self, actor: Actor, subject: str) -> Budget:
        """Let the settings hold for a subject again, as a system admin; return what they say."""
        require_admin(actor)
        await self._load()
        await self._rows.drop_budget(check_subject(subject))
        self._budgets.pop(subject, None)
        self._look()
        return self.budget(subject)

    def budget(self, subject: str) -> Budget:
        """Return what holds for a subject, 0 where there is no limit."""
        row = self._budgets.get(subject, Budget(subject=subject))
        return msgspec.structs.replace(row, **self._cap(subject)._asdict())

    # -- by itself --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Write down what is used, every few seconds."""
        self._ledger.start()

    async def stop(self) -> None:
        """Write down all of it; doing so again does nothing."""
        await self._ledger.stop()

    async def _load(self) -> None:
        async with self._loading:
            if not self._loaded:
                self._budgets = {budget.subject: budget for budget in await self._rows.budgets()}
                self._look()
                self._loaded = True

    def _look(self) -> None:
        """Find out anew what holds."""
        self._caps.clear()
        own = any(one.requests or one.streams for one in self._budgets.values())
        self._counting = own or bool(self.defaults.requests or self.defaults.streams)

    def _cap(self, subject: str) -> _Cap:
        """Return what holds for a subject; from memory, since every chat asks."""
        found = self._caps.get(subject)
        if found is None:
            if len(self._caps) >= _REMEMBERED:
                self._caps.clear()
            row, usual = self._budgets.get(subject), self._usual(subject.partition(":")[0])
            own = [getattr(row, name) for name in _Cap._fields] if row else [None] * 4
            found = _Cap(*(usual[place] if value is None else value for place, value in enumerate(own)))
            self._caps[subject] = found
        return found

    def _usual(self, kind: str) -> _Cap:
        said = self.defaults
        if kind == "team":
            return _Cap(0, 0, said.team_tokens, said.team_micros)
        mine = (said.user_tokens, said.user_micros) if kind == "user" else (0, 0)
        return _Cap(said.requests, said.streams, *mine)


class _Chatting:
    """Counts a chat while it goes on; without limits, none."""

    __slots__ = ("_actor", "_limits", "_subjects")

    def __init__(self, limits: Limits | None = None, actor: Actor | None = None) -> None:
        self._limits, self._actor = limits, actor
        self._subjects: Sequence[str] = ()

    async def __aenter__(self) -> Self:
        if self._limits is not None and self._actor is not None:
            self._subjects = await self._limits._enter(self._actor)  # noqa: SLF001 - its other half
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._limits is not None and self._subjects:
            self._limits._leave(self._subjects)  # noqa: SLF001 - its other half


_UNCOUNTED = _Chatting()
