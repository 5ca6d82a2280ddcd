"""Who acts, in which role, with which scopes: the second lock beside `volumes.access`.

The actor is the first argument of every function in `core`. A person never gains rights by a body field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from llmos_lite.errors import Forbidden
from llmos_lite.volumes.access import Principal, PrincipalKind, VolumeKind, VolumeRef


class Role(StrEnum):
    """What somebody is, in a team or in the whole instance."""

    USER = "user"
    TEAM_ADMIN = "team_admin"
    SYSTEM_ADMIN = "system_admin"


class Scope(StrEnum):
    """What a credential may be used for."""

    CHAT = "chat"
    SKILLS_READ = "skills:read"
    SKILLS_WRITE = "skills:write"
    TRACES_READ = "traces:read"
    EVOLVE = "evolve"
    ADMIN = "admin"
    GIT = "git"
    ACT_AS = "act-as"


EVERYTHING = frozenset(Scope)
PERSONAL = EVERYTHING - {Scope.ADMIN, Scope.ACT_AS}


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever acts in one request, job or command.

    Args:
        user_id: id of the person; `admin` for a bare admin key.
        role: role in the whole instance.
        teams: role in each team of the person, by team id.
        scopes: what the credential in use allows.
        credential: name of that credential, for logs and audit, never the secret.
    """

    user_id: str
    role: Role = Role.USER
    teams: Mapping[str, Role] = field(default_factory=dict)
    scopes: frozenset[Scope] = PERSONAL
    credential: str = ""

    @property
    def is_admin(self) -> bool:
        """Tell whether this is a system admin with a credential for it."""
        return self.role is Role.SYSTEM_ADMIN and Scope.ADMIN in self.scopes

    @property
    def volume(self) -> VolumeRef:
        """Return the person's own volume."""
        return VolumeRef.user(self.user_id)

    @property
    def principal(self) -> Principal:
        """Return this actor as the volumes see it."""
        return Principal(PrincipalKind.USER, self.user_id, teams=frozenset(self.teams))


def require(actor: Actor, scope: Scope) -> None:
    """Raise unless the actor's credential has `scope`.

    Raises:
        Forbidden: `scope.missing`.
    """
    if scope not in actor.scopes:
        raise Forbidden(
            "scope.missing",
            f"This credential may not be used for {scope.value!r}.",
            hint="Use a credential that has this scope.",
            scope=scope.value,
        )


def may_administer(actor: Actor, ref: VolumeRef) -> bool:
    """Tell whether the actor decides over a volume: its owner, its team's admin, a system admin."""
    if actor.is_admin:
        return True
    if ref.kind is VolumeKind.TEAM:
        return actor.teams.get(ref.id) is Role.TEAM_ADMIN
    return ref.kind is VolumeKind.USER and ref.id == actor.user_id


def require_admin(actor: Actor) -> None:
    """Raise unless the actor is a system admin.

    Raises:
        Forbidden: `role.missing`.
    """
    if not actor.is_admin:
        raise Forbidden("role.missing", "Only a system admin may do this.", hint="Ask a system admin.")
