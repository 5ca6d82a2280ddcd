"""The seed's table of who may do what to a volume, as data, and the names it speaks of.

| Volume | User can | Team cron can | System cron can |
|--------|----------|---------------|-----------------|
| User   | R/W      | R             | R/W             |
| Team   | R        | R/W           | R/W             |
| System | R        | R             | R/W             |

The admins of a team write it, and system admins everything: then the platform writes, with them as authors. This is one
of two locks (the other is `core.accounts.permissions`); either alone refuses a stranger.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from llmos_lite.errors import Forbidden, Invalid, NotFound

ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
ID_LENGTH = 64


def check_id(value: str, noun: str) -> str:
    """Return `value` when it is an id, before it comes near a path.

    Args:
        value: what somebody sent.
        noun: what it should name, as in "skill", "user" or "team".

    Raises:
        Invalid: `<noun>.invalid_id`.
    """
    if len(value) <= ID_LENGTH and ID.fullmatch(value):
        return value
    shown = value if len(value) <= ID_LENGTH else value[:ID_LENGTH] + "…"
    raise Invalid(
        f"{noun}.invalid_id",
        f"{shown!r} is not a {noun} id.",
        hint=f"Use lower-case letters, digits and single hyphens between them, at most {ID_LENGTH} characters.",
    )


class VolumeKind(StrEnum):
    """The three levels of the hierarchy."""

    SYSTEM = "system"
    TEAM = "team"
    USER = "user"

    __hash__ = str.__hash__  # an enum's own is a function of Python, and dictionaries ask for it all the time


_REMEMBERED = 4096
"""Names that are checked and written once: a chat speaks of its volumes some twenty times."""


class VolumeRef(NamedTuple):
    """Name of a volume, written `system`, `team:ID` or `user:ID`."""

    kind: VolumeKind
    id: str = ""

    @staticmethod
    @lru_cache(_REMEMBERED)
    def parse(text: str) -> VolumeRef:
        """Read `system`, `team:ID` or `user:ID`.

        Raises:
            Invalid: `volume.invalid`, or `<noun>.invalid_id`.
        """
        kind, colon, name = text.partition(":")
        if text == VolumeKind.SYSTEM:
            return VolumeRef(VolumeKind.SYSTEM)
        if colon and kind in {VolumeKind.TEAM, VolumeKind.USER}:
            return VolumeRef(VolumeKind(kind), check_id(name, kind))
        raise Invalid("volume.invalid", f"{text[:80]!r} names no volume.", hint="Write system, team:ID or user:ID.")

    @staticmethod
    @lru_cache(_REMEMBERED)
    def user(user_id: str) -> VolumeRef:
        """Return the volume of one person."""
        return VolumeRef(VolumeKind.USER, check_id(user_id, VolumeKind.USER))

    @staticmethod
    @lru_cache(_REMEMBERED)
    def team(team_id: str) -> VolumeRef:
        """Return the volume of one team."""
        return VolumeRef(VolumeKind.TEAM, check_id(team_id, VolumeKind.TEAM))

    @lru_cache(_REMEMBERED)  # noqa: B019 - a name is small, and many are alike
    def __str__(self) -> str:
        return f"{self.kind}:{self.id}" if self.id else str(self.kind)


SYSTEM = VolumeRef(VolumeKind.SYSTEM)


class PrincipalKind(StrEnum):
    """Who opens a volume."""

    USER = "user"
    TEAM_ADMIN = "team-admin"
    SYSTEM_ADMIN = "system-admin"
    TEAM_CRON = "team-cron"
    SYSTEM_CRON = "system-cron"
    READER = "reader"
    """Somebody by a capability token in a URL, which only reads."""
    PLATFORM = "platform"
    """llmos itself, after a policy or an approval allowed it; the person stays the author of the commit."""

    __hash__ = str.__hash__  # as above


class Access(StrEnum):
    """What a handle can do."""

    NONE = ""
    READ = "r"
    WRITE = "rw"


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who opens volumes.

    Args:
        kind: column of the table.
        id: the user's or the team's id; empty for the system cron and the platform.
        teams: the ids of a user's or a reader's teams; for a team's admin, of the teams that this one administers.
        users: for a team cron: the ids of the team's members; for a reader: whose volumes it reads.
    """

    kind: PrincipalKind
    id: str = ""
    teams: frozenset[str] = field(default_factory=frozenset)
    users: frozenset[str] = field(default_factory=frozenset)


PLATFORM = Principal(PrincipalKind.PLATFORM)
SYSTEM_CRON = Principal(PrincipalKind.SYSTEM_CRON)

TABLE: dict[tuple[VolumeKind, PrincipalKind], Access] = {
    (VolumeKind.USER, PrincipalKind.USER): Access.WRITE,
    (VolumeKind.USER, PrincipalKind.TEAM_ADMIN): Access.NONE,
    (VolumeKind.USER, PrincipalKind.SYSTEM_ADMIN): Access.WRITE,
    (VolumeKind.USER, PrincipalKind.TEAM_CRON): Access.READ,
    (VolumeKind.USER, PrincipalKind.SYSTEM_CRON): Access.WRITE,
    (VolumeKind.USER, PrincipalKind.READER): Access.READ,
    (VolumeKind.USER, PrincipalKind.PLATFORM): Access.WRITE,
    (VolumeKind.TEAM, PrincipalKind.USER): Access.READ,
    (VolumeKind.TEAM, PrincipalKind.TEAM_ADMIN): Access.WRITE,
    (VolumeKind.TEAM, PrincipalKind.SYSTEM_ADMIN): Access.WRITE,
    (VolumeKind.TEAM, PrincipalKind.TEAM_CRON): Access.WRITE,
    (VolumeKind.TEAM, PrincipalKind.SYSTEM_CRON): Access.WRITE,
    (VolumeKind.TEAM, PrincipalKind.READER): Access.READ,
    (VolumeKind.TEAM, PrincipalKind.PLATFORM): Access.WRITE,
    (VolumeKind.SYSTEM, PrincipalKind.USER): Access.READ,
    (VolumeKind.SYSTEM, PrincipalKind.TEAM_ADMIN): Access.READ,
    (VolumeKind.SYSTEM, PrincipalKind.SYSTEM_ADMIN): Access.WRITE,
    (VolumeKind.SYSTEM, PrincipalKind.TEAM_CRON): Access.READ,
    (VolumeKind.SYSTEM, PrincipalKind.SYSTEM_CRON): Access.WRITE,
    (VolumeKind.SYSTEM, PrincipalKind.READER): Access.READ,
    (VolumeKind.SYSTEM, PrincipalKind.PLATFORM): Access.WRITE,
}


_EVERYWHERE = frozenset({PrincipalKind.SYSTEM_ADMIN, PrincipalKind.SYSTEM_CRON, PrincipalKind.PLATFORM})


def _concerns(principal: Principal, ref: VolumeRef) -> bool:
    """Tell whether the volume of a person or a team is one that this principal has anything to do with."""
    if principal.kind in {PrincipalKind.USER, PrincipalKind.TEAM_ADMIN}:
        return ref.id == principal.id if ref.kind is VolumeKind.USER else ref.id in principal.teams
    if ref.kind is VolumeKind.USER:
        return ref.id in principal.users
    return ref.id in principal.teams if principal.kind is PrincipalKind.READER else ref.id == principal.id


def access(principal: Principal, ref: VolumeRef) -> Access:
    """Return what `principal` may do to `ref`: the table, narrowed to one's own user and teams."""
    if ref.kind is VolumeKind.SYSTEM or principal.kind in _EVERYWHERE or _concerns(principal, ref):
        return TABLE[ref.kind, principal.kind]
    return Access.NONE


def require(principal: Principal, ref: VolumeRef, *, write: bool) -> None:
    """Raise unless `principal` may read (or write) `ref`.

    Raises:
        NotFound: `volume.unknown`, for a volume that does not concern the principal: forbidden and
            missing look alike.
        Forbidden: `volume.readonly`, for one that may be read and not written.
    """
    allowed = access(principal, ref)
    if allowed is Access.NONE:
        raise NotFound("volume.unknown", f"There is no volume {ref} that you may see.")
    if write and allowed is not Access.WRITE:
        raise Forbidden(
            "volume.readonly",
            f"You may read the volume {ref}, not write it.",
            hint="Write the skill into your own volume, then promote it.",
        )
