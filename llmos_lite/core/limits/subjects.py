"""Whom a limit is for: `user:ID`, `team:ID` or `key:ID`; and what is counted as one address."""

from __future__ import annotations

from llmos_lite.core.accounts.permissions import Actor, Role
from llmos_lite.errors import Invalid
from llmos_lite.volumes.access import VolumeKind, VolumeRef


def check_subject(subject: str) -> str:
    """Return whom a budget is for: `user:ID`, `team:ID` or `key:ID`.

    Raises:
        Invalid: `usage.invalid`, or `<noun>.invalid_id`.
    """
    kind, _, name = subject.partition(":")
    if kind == "key" and name.isascii() and name.replace("_", "").isalnum() and len(name) <= 64:  # noqa: PLR2004
        return subject
    if kind in {VolumeKind.USER, VolumeKind.TEAM}:
        return str(VolumeRef.parse(subject))
    raise Invalid("usage.invalid", f"{subject[:80]!r} names nobody.", hint="Write user:ID, team:ID or key:ID.")


def check_month(month: str) -> str:
    """Return a month, as in 2026-11.

    Raises:
        Invalid: `usage.invalid_month`.
    """
    year, _, number = month.partition("-")
    if len(month) == 7 and year.isdigit() and number.isdigit() and 1 <= int(number) <= 12 and month.isascii():  # noqa: PLR2004
        return month
    raise Invalid("usage.invalid_month", f"{month[:20]!r} is no month.", hint="Write it as in 2026-11.")


def callers(actor: Actor, team_id: str | None = None) -> list[str]:
    """Return who makes a request: the person, the key, and the team in whose context it is."""
    found = [f"user:{actor.user_id}"]
    if actor.key_id:
        found.append(f"key:{actor.key_id}")
    if team_id:
        found.append(f"team:{team_id}")
    return found


def may_see(actor: Actor, subject: str) -> bool:
    """Tell whether somebody may know what a subject uses: oneself, the admin of a team, a system admin."""
    kind, _, name = subject.partition(":")
    own = {"user": actor.user_id, "key": actor.key_id}.get(kind, "")
    return (
        actor.is_admin or (bool(own) and name == own) or (kind == "team" and actor.teams.get(name) is Role.TEAM_ADMIN)
    )


def network(client: str) -> str:
    """Return what is counted as one: an IPv4 address, and of IPv6 the first 64 bits, which one customer gets."""
    if ":" not in client:
        return client
    head = client.partition("%")[0].split("::")[0].split(":")
    return ":".join(head[:4])
