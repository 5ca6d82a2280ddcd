"""People, teams, and the way from a credential to the actor it stands for.

Actors are kept in memory and forgotten when something about them changes, so that a request that was seen before
asks no database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from llmos_lite.core.accounts.keys import KeyDigest
from llmos_lite.core.accounts.permissions import EVERYTHING, PERSONAL, Actor, Role, require_admin
from llmos_lite.core.accounts.sign_in import SignIn
from llmos_lite.core.page import Page
from llmos_lite.core.traces.trace import Share, now_ms
from llmos_lite.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from llmos_lite.records.accounts import Account, AccountStore, Member, Team
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import VolumeKind, VolumeRef, check_id

ADMIN = "admin"
"""Id of the user that a bare admin key acts as."""
NAME_LENGTH = 200


class Accounts:
    """People, teams and credentials.

    Args:
        store: their rows.
        settings: `create_users` says whether a name that is used for the first time makes a user.
        admin_key: the text of `<data>/admin.key`.
        sign_in: links and sessions of the browser.
    """

    def __init__(self, store: AccountStore, settings: Settings, admin_key: str, sign_in: SignIn | None = None) -> None:
        self._store, self._settings = store, settings
        self._key = KeyDigest(admin_key)
        self.sign_in = sign_in or SignIn()
        self._known: dict[str, Account] = {}
        self._creating = asyncio.Lock()
        self._changes = 0

    # -- who acts ---------------------------------------------------------------------------------------------------

    async def authenticate(self, credential: str, user_header: str = "", *, session: str = "") -> Actor:
        """Return the actor that a request's credential stands for: the one place that knows credentials.

        Args:
            credential: what `Authorization: Bearer` or `X-API-Key` carried; empty for none.
            user_header: what `X-LLMOS-User` carried; the admin key may name a user by it.
            session: what the browser's cookie carried; looked at only without a credential.

        Raises:
            Unauthenticated: `credential.missing` or `credential.invalid`.
            Forbidden: `user.inactive`.
            Invalid: `user.invalid_id`.
            NotFound: `user.unknown`, when users are not created on first use.
        """
        if credential:
            if not self._key.matches(credential):
                raise Unauthenticated("credential.invalid", "This key is not known here.", hint=_WHERE)
            return await self._act_as(user_header) if user_header else await self._admin(self._key.name)
        if session:
            user_id = self.sign_in.user(session)
            if user_id is None:
                raise Unauthenticated("session.ended", "This session has ended.", hint="Sign in again.")
            return await self._admin("session") if user_id == ADMIN else await self.actor(user_id)
        raise Unauthenticated("credential.missing", "This needs a credential.", hint=_WHERE)

    async def actor(self, user_id: str) -> Actor:
        """Return somebody as an actor with all the rights of that person, and no more.

        Raises:
            NotFound: `user.unknown`.
            Forbidden: `user.inactive`.
        """
        account = await self.account(user_id)
        if not account.active:
            raise Forbidden("user.inactive", f"The user {user_id!r} is deactivated.", hint="Ask a system admin.")
        role = Role(account.role)
        return Actor(
            user_id=account.user_id,
            role=role,
            teams={team: Role(member) for team, member in account.teams.items()},
            scopes=EVERYTHING if role is Role.SYSTEM_ADMIN else PERSONAL,
            credential=f"user:{user_id}",
        )

    async def _admin(self, credential: str) -> Actor:
        teams = (await self.ensure(ADMIN, role=Role.SYSTEM_ADMIN)).teams
        return Actor(
            user_id=ADMIN,
            role=Role.SYSTEM_ADMIN,
            teams={team: Role(role) for team, role in teams.items()},
            scopes=EVERYTHING,
            credential=credential,
        )

    async def _act_as(self, user_id: str) -> Actor:
        if user_id not in self._known:
            check_id(user_id, "user")
            if self._settings.create_users:
                await self.ensure(user_id)
        return await self.actor(user_id)

    # -- people -----------------------------------------------------------------------------------------------------

    async def account(self, user_id: str) -> Account:
        """Return the settings and memberships of a person.

        Raises:
            Invalid: `user.invalid_id`.
            NotFound: `user.unknown`.
        """
        known = self._known.get(user_id)
        if known is not None:
            return known
        changes = self._changes
        found = await self._store.user(check_id(user_id, "user"))
        if found is None:
            raise NotFound("user.unknown", f"There is no user {user_id!r}.")
        if changes == self._changes:  # what was read before somebody else's change is not kept
            self._known[user_id] = found
        return found

    def _forget(self, user_id: str) -> None:
        self._changes += 1
        self._known.pop(user_id, None)

    async def ensure(self, user_id: str, *, role: Role = Role.USER) -> Account:
        """Return a person, made now when there was none."""
        if user_id not in self._known:
            check_id(user_id, "user")
            async with self._creating:
                if await self._store.user(user_id) is None:
                    await self._store.add_user(Account(user_id=user_id, name=user_id, role=role, created=now_ms()))
        return await self.account(user_id)

    async def named(self, user_id: str) -> Account:
        """Return a person whom somebody with the right to names; made now where the settings allow it.

        Raises:
            Invalid: `user.invalid_id`.
            NotFound: `user.unknown`.
        """
        return await (self.ensure(user_id) if self._settings.create_users else self.account(user_id))

    async def users(self, actor: Actor, *, limit: int = 50, cursor: str = "") -> Page[Account]:
        """List everybody, for a system admin."""
        require_admin(actor)
        items = await self._store.users(limit=limit + 1, after=cursor)
        more = items[limit - 1].user_id if len(items) > limit else None
        return Page(items[:limit], more, await self._store.count_users())

    async def create_user(self, actor: Actor, user_id: str, *, name: str = "", role: Role = Role.USER) -> Account:
        """Add a person.

        Raises:
            Conflict: `user.exists`.
            Forbidden: for anybody but a system admin.
        """
        require_admin(actor)
        check_id(user_id, "user")
        if role is Role.TEAM_ADMIN:
            raise Invalid("role.invalid", "A person is team_admin in a team, not in the whole instance.")
        account = Account(user_id=user_id, name=_name(name) or user_id, role=role, created=now_ms())
        if not await self._store.add_user(account):
            raise Conflict("user.exists", f"There is a user {user_id!r} already.")
        return await self.account(user_id)

    async def change_user(self, actor: Actor, user_id: str, changes: Mapping[str, str | bool]) -> Account:
        """Change `name`, `record` or `share` of a person; `role` and `active` only as a system admin.

        Raises:
            Forbidden: `role.missing`, for somebody else's settings or for one's own rights.
            NotFound: `user.unknown`.
        """
        if user_id != actor.user_id or changes.keys() & {"role", "active"}:
            require_admin(actor)
        await self.account(user_id)
        if user_id == ADMIN and changes.keys() & {"role", "active"}:
            raise Invalid("user.admin", "The user admin stands for the admin key and keeps its rights.")
        if "share" in changes:
            Share(str(changes["share"]))
        clean = {
            key: _name(value) if key == "name" and isinstance(value, str) else value for key, value in changes.items()
        }
        changed = await self._store.change_user(user_id, clean)
        self._forget(user_id)
        return changed or await self.account(user_id)

    # -- teams ------------------------------------------------------------------------------------------------------

    async def teams(self, actor: Actor, *, limit: int = 50, cursor: str = "") -> Page[Team]:
        """List the actor's teams; all of them for a system admin."""
        only = None if actor.is_admin else sorted(actor.teams)
        items = await self._store.teams(limit=limit + 1, after=cursor, only=only)
        more = items[limit - 1].team_id if len(items) > limit else None
        return Page(items[:limit], more, await self._store.count_teams() if only is None else len(only))

    async def team(self, actor: Actor, team_id: str) -> Team:
        """Return a team that the actor is in (or any, for a system admin).

        Raises:
            NotFound: `team.unknown`; a team of others looks like none.
        """
        check_id(team_id, "team")
        found = await self._store.team(team_id) if actor.is_admin or team_id in actor.teams else None
        if found is None:
            raise unknown_team(team_id)
        return found

    async def create_team(self, actor: Actor, team_id: str, name: str = "") -> Team:
        """Add a team.

        Raises:
            Conflict: `team.exists`.
            Forbidden: for anybody but a system admin.
        """
        require_admin(actor)
        team = Team(team_id=check_id(team_id, "team"), name=_name(name) or team_id, created=now_ms())
        if not await self._store.add_team(team):
            raise Conflict("team.exists", f"There is a team {team_id!r} already.")
        return team

    async def members(self, actor: Actor, team_id: str, *, limit: int = 50, cursor: str = "") -> Page[Member]:
        """List everybody in a team."""
        await self.team(actor, team_id)
        everybody = await self._store.members(team_id)
        rest = [member for member in everybody if member.user_id > cursor]
        more = rest[limit - 1].user_id if len(rest) > limit else None
        return Page(rest[:limit], more, len(everybody))

    async def member_ids(self, team_id: str) -> frozenset[str]:
        """Return the ids of a team's members, for the crons."""
        return frozenset(member.user_id for member in await self._store.members(team_id))

    async def set_member(self, actor: Actor, team_id: str, user_id: str, role: Role = Role.USER) -> Member:
        """Put somebody into a team or change the role there, as an admin of the team.

        Raises:
            Forbidden: `role.missing`.
            Invalid: `role.invalid`, for a role that a team does not have.
            NotFound: `team.unknown`, or `user.unknown` when users are not created on first use.
        """
        await self._administered(actor, team_id)
        if role is Role.SYSTEM_ADMIN:
            raise Invalid("role.invalid", "A member is a user or a team_admin.", hint="Use user or team_admin.")
        account = await self.named(user_id)
        await self._store.set_member(team_id, user_id, role, now_ms())
        self._forget(user_id)
        return next(member for member in await self._store.members(team_id) if member.user_id == account.user_id)

    async def remove_member(self, actor: Actor, team_id: str, user_id: str) -> None:
        """Take somebody out of a team, as an admin of it or as that person.

        Raises:
            NotFound: `team.unknown`, or `member.unknown`.
        """
        if user_id != actor.user_id:
            await self._administered(actor, team_id)
        await self.team(actor, team_id)
        removed = await self._store.remove_member(team_id, check_id(user_id, "user"))
        self._forget(user_id)
        if not removed:
            raise NotFound("member.unknown", f"{user_id!r} is not in the team {team_id!r}.")

    async def everybody(self) -> list[str]:
        """Return the ids of all active people, for the crons."""
        return await self._store.user_ids()

    async def all_teams(self) -> list[str]:
        """Return the ids of all teams, for the crons."""
        return [team.team_id for team in await self._store.teams(limit=1 << 20)]

    async def _administered(self, actor: Actor, team_id: str) -> None:
        await self.team(actor, team_id)
        if not actor.is_admin and actor.teams.get(team_id) is not Role.TEAM_ADMIN:
            raise Forbidden("role.missing", f"Only an admin of the team {team_id!r} may do this.")


_WHERE = "Send the key of <data>/admin.key as Authorization: Bearer KEY or X-API-Key: KEY."


def unknown_team(team_id: str) -> NotFound:
    """Return the error for a team that is missing, or that the actor is not in: both look alike."""
    return NotFound("team.unknown", f"There is no team {team_id!r} that you are in.")


def require_member(actor: Actor, ref: VolumeRef) -> None:
    """Raise unless a team's volume is of a team that the actor is in.

    Raises:
        NotFound: `team.unknown`.
    """
    if ref.kind is VolumeKind.TEAM and ref.id not in actor.teams:
        raise unknown_team(ref.id)


def _name(text: str) -> str:
    clean = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if len(clean) > NAME_LENGTH:
        raise Invalid("name.too_long", f"A name has at most {NAME_LENGTH} characters.")
    return clean
