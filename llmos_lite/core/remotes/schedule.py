"""When a remote is looked at by the clock: five fields of cron, UTC, as for evolution."""

from __future__ import annotations

from datetime import UTC, datetime

from llmos_lite.errors import Invalid

FIELDS = 5


def check_cron(text: str) -> str:
    """Return a schedule that can be meant.

    Raises:
        Invalid: `schedule.invalid`.
    """
    from croniter import croniter  # type: ignore[import-untyped]  # noqa: PLC0415 - no stubs; slow; comes with DBOS

    try:
        possible = len(text.split()) == FIELDS and croniter(text, datetime.now(UTC)).get_next(datetime)
    except (ValueError, KeyError):
        possible = False
    if not possible:
        raise Invalid(
            "schedule.invalid", f"{text[:80]!r} is no schedule.", hint="Write five fields of cron, as in 0 * * * *."
        )
    return " ".join(text.split())


def next_time(cron: str, after: int) -> int:
    """Return when a schedule is due next; times are in ms since the epoch."""
    from croniter import croniter  # noqa: PLC0415 - as above

    start = datetime.fromtimestamp(after / 1000, UTC)
    found: datetime = croniter(cron, start).get_next(datetime)
    return int(found.timestamp() * 1000)
