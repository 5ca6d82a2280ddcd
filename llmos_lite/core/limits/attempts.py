"""Guessing made slow: after some failures each further try has to wait, twice as long each time.

Three counts stand side by side: of an account from one address, of one address whatever account it tries, and of an
account from all addresses that it is not known at. So a stranger who fails on purpose makes no wait for the owner at
an address where the owner has signed in before, and none longer than `SHARED_LONGEST` anywhere else.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from llmos_lite.errors import RateLimited

FREE, FREE_ADDRESS, FREE_SHARED = 3, 20, 10
"""Failures without a wait: of an account at an address, of an address, of an account everywhere."""
LONGEST, SHARED_LONGEST = 900.0, 30.0
"""Longest wait in seconds."""
FORGOTTEN = 3600.0
"""Seconds after the last failure, beside the wait, at which everything is forgotten."""
MOST = 20_000
"""Accounts and addresses that are remembered; the longest ago is forgotten first."""
_KNOWN = 10
"""Addresses that are remembered of an account."""


@dataclass(slots=True)
class _Count:
    failures: int = 0
    until: float = 0.0
    gone: float = 0.0


class Attempts:
    """Counts failures.

    Args:
        clock: seconds, as `time.monotonic`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: OrderedDict[tuple[str, str], _Count] = OrderedDict()
        self._known: OrderedDict[str, list[str]] = OrderedDict()

    def begin(self, key: str, client: str, *, known: bool = False) -> Attempt:
        """Return a try that may go on; it counts as failed until `passed` is called.

        Args:
            key: the account, whether it exists or not.
            client: address that it comes from.
            known: whether something else shows that the owner was here before, as a cookie of the device.

        Raises:
            RateLimited: `sign_in.too_many`, with `retry_after` in seconds.
        """
        now = self._clock()
        places = [(key, client), ("", client)]
        if not known and client not in self._known.get(key, ()):
            places.append((key, ""))
        wait = max(self._wait(place, now) for place in places)
        if wait > 0:
            raise _too_many(wait)
        for place in places:
            self._fail(place, now)  # at once, since several may be tried beside each other
        return Attempt(self, key, client, places)

    def _wait(self, place: tuple[str, str], now: float) -> float:
        count = self._counts.get(place)
        return count.until - now if count else 0.0

    def _fail(self, place: tuple[str, str], now: float) -> None:
        count = self._counts.pop(place, None)
        if count is None or count.gone <= now:
            count = _Count()
        self._counts[place] = count
        count.failures += 1
        count.until = now + _pause(place, count.failures)
        count.gone = count.until + FORGOTTEN
        while len(self._counts) > MOST:
            self._counts.popitem(last=False)

    def _passed(self, key: str, client: str, places: list[tuple[str, str]]) -> None:
        for place in places:
            count = self._counts.get(place)
            if place == (key, client):
                self._counts.pop(place, None)
            elif count is not None:  # what others failed at goes on counting
                count.failures -= 1
                count.until = min(count.until, self._clock() + _pause(place, count.failures))
        known = self._known.setdefault(key, [])
        self._known.move_to_end(key)
        self._known[key] = [client, *(one for one in known if one != client)][:_KNOWN]
        while len(self._known) > MOST:
            self._known.popitem(last=False)


class Attempt:
    """One try."""

    __slots__ = ("_attempts", "_client", "_key", "_places")

    def __init__(self, attempts: Attempts, key: str, client: str, places: list[tuple[str, str]]) -> None:
        self._attempts, self._key, self._client, self._places = attempts, key, client, places

    def passed(self) -> None:
        """Say that it was the owner: this one did not fail, and the address is known from now on."""
        self._attempts._passed(self._key, self._client, self._places)  # noqa: SLF001 - its other half


def _pause(place: tuple[str, str], failures: int) -> float:
    key, client = place
    free, longest = (
        (FREE, LONGEST) if key and client else (FREE_ADDRESS, LONGEST) if client else (FREE_SHARED, SHARED_LONGEST)
    )
    return 0.0 if failures < free else min(longest, 2.0 ** min(failures - free, 30))


def _too_many(wait: float) -> RateLimited:
    seconds = ceil(wait)
    return RateLimited(
        "sign_in.too_many",
        f"Too many tries failed; the next one is possible in {seconds} s.",
        hint="Wait, then try again.",
        retry_after=seconds,
    )
