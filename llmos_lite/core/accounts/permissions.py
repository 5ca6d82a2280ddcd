"""Who acts, in which role, with which scopes, and the one table of what that allows.

This is the second lock beside `volumes.access`: whoever touches a volume asks `permit` here and opens it as
`actor.principal_for(ref)` there, and neither believes the other. The actor is the first argument of every function in
`core`; a person never gains rights by a body field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from llmos_lite.errors import Forbidden, NotFound
from llmos_lite.volumes.access import SYSTEM, Principal, PrincipalKind, VolumeKind, VolumeRef


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
SERVICE = PERSONAL - {Scope.CHAT} | {Scope.ACT_AS}
"""What a key of a service account may be used for at most."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever acts in one request, job or command.

    Args:
        user_id: id of the person or service account; `admin` for a bare admin key.
        role: role in the whole instance.
        teams: role in each team of the person, by team id.
        scopes: what the credential in use allows.
        credential: name of that credential, for logs and audit, never the secret.
        key_id: id of the API key in use; empty without one.
        client: address that the request came from; empty for jobs.
        service: for a service account: the volume that it works for; None for a person.
        delegated: whether a front end named this person; then little is allowed.
        owner: whose credential it is, when that is somebody else.
        reads: for a capability token in a URL: the volumes that it reads beside the system's; None for all else.

    Attributes:
        volume: the person's own volume; a service account has none, and works in the one that it serves. For a token
            that reads a team and not the person's own volume, that is the team's.
        principal: this actor as the volumes see it, with the rights that the seed's table gives.
        is_admin: whether this is a system admin with a credential for it.
        chats: whether it may chat in its volume, as most requests want to.
    """

    user_id: str
    role: Role = Role.USER
    teams: Mapping[str, Role] = field(default_factory=dict)
    scopes: frozenset[Scope] = PERSONAL
    credential: str = ""
    key_id: str = ""
    client: str = ""
    service: VolumeRef | None = None
    delegated: bool = False
    owner: str = ""
    reads: frozenset[VolumeRef] | None = None
    volume: VolumeRef = field(init=False, repr=False, compare=False)
    principal: Principal = field(init=False, repr=False, compare=False)
    is_admin: bool = field(init=False, repr=False, compare=False)
    chats: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "volume", self._own())
        object.__setattr__(self, "principal", self._plain())
        object.__setattr__(self, "is_admin", self.role is Role.SYSTEM_ADMIN and Scope.ADMIN in self.scopes)
        object.__setattr__(self, "chats", allowed(self, Verb.CHAT, self.volume))

    def _own(self) -> VolumeRef:
        own = self.service or VolumeRef.user(self.user_id)
        return own if self.reads is None or own in self.reads else min(self.reads, default=SYSTEM)

    def _plain(self) -> Principal:
        if self.reads is not None:
            return _reader(self.user_id, self.reads)
        if self.service is None:
            return Principal(PrincipalKind.USER, self.user_id, teams=frozenset(self.teams))
        if self.service.kind is VolumeKind.TEAM:
            return Principal(PrincipalKind.TEAM_CRON, self.service.id)
        return Principal(PrincipalKind.SYSTEM_CRON)

    def principal_for(self, ref: VolumeRef) -> Principal:
        """Return this actor as the volumes see it, with the rights of an admin where `ref` is one that it administers.

        It looks at roles alone and asks no table, so that a mistake in `permit` opens nothing.
        """
        if self.reads is not None:
            return self.principal
        if self.is_admin:
            return Principal(PrincipalKind.SYSTEM_ADMIN, self.user_id)
        if ref.kind is VolumeKind.TEAM and self.teams.get(ref.id) is Role.TEAM_ADMIN:
            return Principal(PrincipalKind.TEAM_ADMIN, self.user_id, teams=frozenset({ref.id}))
        return self.principal


def _reader(user_id: str, reads: frozenset[VolumeRef]) -> Principal:
    ids = {kind: frozenset(ref.id for ref in reads if ref.kind is kind) for kind in (VolumeKind.TEAM, VolumeKind.USER)}
    return Principal(PrincipalKind.READER, user_id, teams=ids[VolumeKind.TEAM], users=ids[VolumeKind.USER])


class Verb(StrEnum):
    """What can be done: to a volume, or to the instance."""

    CHAT = "chat"
    READ_SKILLS = "read_skills"
    WRITE_SKILLS = "write_skills"
    PROMOTE = "promote"
    REVIEW = "review"
    ADMINISTER = "administer"
    READ_TRACES = "read_traces"
    INSPECT_TRACES = "inspect_traces"
    WRITE_TRACES = "write_traces"
    ERASE = "erase"
    EXPORT = "export"
    EVOLVE = "evolve"
    GIT_FETCH = "git_fetch"
    GIT_PUSH = "git_push"
    GIT_TRACES = "git_traces"
    READ_TEAM = "read_team"
    MANAGE_MEMBERS = "manage_members"
    CHANGE_SELF = "change_self"
    MANAGE_KEYS = "manage_keys"
    OVERSEE = "oversee"


class Standing(StrEnum):
    """What somebody is to a volume; one may be several of these."""

    OWNER = "owner"
    MEMBER = "member"
    TEAM_ADMIN = "team_admin"
    CRON = "cron"
    """The service account that works for this volume."""
    ANYBODY = "anybody"
    """Whoever has a credential at all."""
    SYSTEM_ADMIN = "system_admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """A row of the table: the scopes that a credential needs, and who may in which kind of volume.

    `instance` is for what is done to no volume.
    """

    scopes: frozenset[Scope]
    user: frozenset[Standing] = frozenset()
    team: frozenset[Standing] = frozenset()
    system: frozenset[Standing] = frozenset()
    instance: frozenset[Standing] = frozenset()

    def of(self, ref: VolumeRef | None) -> frozenset[Standing]:
        """Return who may, for a volume or for the instance."""
        if ref is None:
            return self.instance
        if ref.kind is VolumeKind.USER:
            return self.user
        return self.team if ref.kind is VolumeKind.TEAM else self.system


_STANDINGS = {
    "own": Standing.OWNER,
    "mem": Standing.MEMBER,
    "adm": Standing.TEAM_ADMIN,
    "cron": Standing.CRON,
    "any": Standing.ANYBODY,
    "sys": Standing.SYSTEM_ADMIN,
}

_TABLE = """
verb            scopes                 user     team              system         instance
chat            chat                   own      mem,adm           any            -
read_skills     skills:read            own,sys  mem,adm,cron,sys  any            -
write_skills    skills:write           own,sys  adm,cron,sys      cron,sys       -
promote         skills:write           own      mem,adm           any            -
review          skills:write           own,sys  adm,sys           sys            -
administer      skills:write           own,sys  adm,sys           sys            -
read_traces     traces:read            own      mem,adm,cron      any            -
inspect_traces  traces:read            own,sys  mem,adm,cron,sys  any            -
write_traces    chat                   own,sys  mem,adm,sys       any            -
erase           chat                   own,sys  adm,sys           sys            -
export          chat                   own,sys  adm,sys           sys            -
evolve          evolve                 own      mem,adm,cron,sys  cron,sys       -
git_fetch       git,skills:read        own,sys  mem,adm,cron,sys  any            -
git_push        git,skills:write       own,sys  adm,cron,sys      cron,sys       -
git_traces      git,traces:read        own,sys  mem,adm,cron,sys  any            -
read_team       -                      -        mem,adm,cron,sys  -              -
manage_members  admin                  -        adm,sys           -              sys
change_self     chat                   own      -                 -              -
manage_keys     -                      own      -                 -              sys
oversee         admin                  -        -                 -              sys
"""
"""`own`: of this user's volume; `mem` and `adm`: in this team; `cron`: the service account of this team, or for the
system's account of the system and every team; `any`: every credential; `sys`: a system admin.

A person's traces are read by that person alone; a system admin has to name the volume (`inspect_traces`), which shows
in the audit. Members read a team and propose to it (`promote`); its admins write it."""


def _parsed(text: str) -> dict[Verb, Right]:
    rows = [line.split() for line in text.strip().splitlines()[1:]]
    return {
        Verb(verb): Right(
            scopes=frozenset() if scopes == "-" else frozenset(map(Scope, scopes.split(","))),
            user=_cell(user),
            team=_cell(team),
            system=_cell(system),
            instance=_cell(instance),
        )
        for verb, scopes, user, team, system, instance in rows
    }


def _cell(text: str) -> frozenset[Standing]:
    return frozenset() if text == "-" else frozenset(_STANDINGS[word] for word in text.split(","))


TABLE: Mapping[Verb, Right] = _parsed(_TABLE)
DELEGATED = frozenset({Verb.CHAT})
"""All that somebody may whom a front end names."""
LINKED = frozenset({Verb.READ_SKILLS})
"""All that a capability token in a URL opens."""


def standings(actor: Actor, ref: VolumeRef | None) -> set[Standing]:
    """Return what an actor is to a volume, or to the instance."""
    found = {Standing.ANYBODY}
    if actor.is_admin:
        found.add(Standing.SYSTEM_ADMIN)
    if ref is None or not (actor.reads is None or ref in actor.reads):
        return found
    if actor.service is not None:
        if ref == actor.service or (actor.service == SYSTEM and ref.kind is VolumeKind.TEAM):
            found.add(Standing.CRON)
    elif ref.kind is VolumeKind.USER:
        if ref.id == actor.user_id:
            found.add(Standing.OWNER)
    elif ref.kind is VolumeKind.TEAM and ref.id in actor.teams:
        found.add(Standing.TEAM_ADMIN if actor.teams[ref.id] is Role.TEAM_ADMIN else Standing.MEMBER)
    return found


def allowed(actor: Actor, verb: Verb, ref: VolumeRef | None = None) -> bool:
    """Tell whether the table lets an actor do something to a volume, or to the instance."""
    right = TABLE[verb]
    return (
        (verb in DELEGATED or not actor.delegated)
        and (verb in LINKED or actor.reads is None)
        and right.scopes <= actor.scopes
        and not right.of(ref).isdisjoint(standings(actor, ref))
    )


def permit(actor: Actor, verb: Verb, ref: VolumeRef | None = None) -> None:
    """Raise unless the table lets an actor do something to a volume, or to the instance.

    Raises:
        Forbidden: `scope.missing`, when the credential is not for this, whatever the volume; `role.missing`, for a
            volume that the actor knows of.
        NotFound: `volume.unknown`, for a volume that is none of the actor's business, there or not.
    """
    if allowed(actor, verb, ref):
        return
    if actor.delegated and verb not in DELEGATED:
        raise refused_delegate()
    if actor.reads is not None and verb not in LINKED:
        raise refused_link()
    for scope in sorted(TABLE[verb].scopes):
        require(actor, scope)
    if ref is not None and TABLE[Verb.INSPECT_TRACES].of(ref).isdisjoint(standings(actor, ref)):
        raise NotFound("volume.unknown", f"There is no volume {ref} that you may see.")
    who = "a system admin" if ref in {None, SYSTEM} else f"an admin of {ref}"
    raise Forbidden("role.missing", f"Only {who} may do this.", hint=f"Ask {who}.")


_ADMINS = "Only admins have it, and keys that they made with it: ask one."


def require(actor: Actor, scope: Scope) -> None:
    """Raise unless the actor's credential has `scope`.

    Raises:
        Forbidden: `scope.missing`.
    """
    if scope not in actor.scopes:
        raise Forbidden(
            "scope.missing",
            f"That takes the scope {scope.value!r}, which this credential does not have.",
            hint=_ADMINS if scope is Scope.ADMIN else "Use a credential that has this scope.",
            scope=scope.value,
        )


def refused_delegate() -> Forbidden:
    """Return the error for what somebody may not whom a front end named."""
    return Forbidden(
        "delegate.refused",
        "A front end that names you may chat for you, and nothing else.",
        hint="Use a credential of your own.",
    )


def refused_link() -> Forbidden:
    """Return the error for what a capability token in a URL does not open."""
    return Forbidden("link.refused", "This URL reads skills, and does nothing else.", hint="Use a key in a header.")


def may_administer(actor: Actor, ref: VolumeRef) -> bool:
    """Tell whether the actor decides over a volume: its owner, its team's admin, a system admin."""
    if actor.delegated or actor.reads is not None:
        return False
    return not TABLE[Verb.ADMINISTER].of(ref).isdisjoint(standings(actor, ref))


def require_admin(actor: Actor) -> None:
    """Raise unless the actor is a system admin.

    Raises:
        Forbidden: `role.missing`.
    """
    if not allowed(actor, Verb.OVERSEE):
        raise Forbidden("role.missing", "Only a system admin may do this.", hint="Ask a system admin.")
