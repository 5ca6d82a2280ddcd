"""Refusals that say when to come back."""

from __future__ import annotations

from math import ceil

from llmos_lite.core.traces.trace import now_ms
from llmos_lite.errors import RateLimited
from llmos_lite.records.usage import Used

SOON = 1
"""Seconds after which to come back when others have to end first."""


def too_fast(subject: str, limit: int, wait: float, code: str = "limit.requests") -> RateLimited:
    """Return the refusal of somebody who asks too often; `wait` in seconds."""
    seconds = max(1, ceil(wait))
    return RateLimited(
        code,
        f"More than {limit} requests a minute came from {subject}; the next one is possible in {seconds} s.",
        hint="Wait, then go on more slowly.",
        retry_after=seconds,
        limit=limit,
        remaining=0,
        reset=now_ms() + round(wait * 1000),
    )


def too_many(subject: str, limit: int) -> RateLimited:
    """Return the refusal of one chat more at once."""
    return RateLimited(
        "limit.streams",
        f"{subject} has {limit} chats going on, which is as many as may be.",
        hint="Wait until one of them ends.",
        retry_after=SOON,
        limit=limit,
        remaining=0,
        reset=now_ms() + SOON * 1000,
    )


def spent(what: str, used: Used, limit: float, left: float, seconds: float) -> RateLimited:
    """Return the refusal of a budget that has too little left; it is new in so many seconds."""
    return RateLimited(
        f"budget.{what}",
        f"What {used.subject} may use in {used.month} is not enough for this: {max(left, 0):,.6g} {what} left.",
        hint="Wait for the next month, or ask a system admin for more.",
        retry_after=max(1, ceil(seconds)),
        subject=used.subject,
        limit=limit,
        remaining=max(left, 0),
        reset=now_ms() + round(seconds * 1000),
    )
