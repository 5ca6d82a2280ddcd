"""Teams, who is in them, and the service accounts of their crons."""

from __future__ import annotations

from llmos_lite.core.accounts.people import People, clean_name
from llmos_lite.core.accounts.permissions import (
    Actor,
    Role,
    Scope,
    Standing,
    Verb,
    allowed,
    permit,
    require,
    require_admin,
    standings,
)
from llmos_lite.core.accounts.service_accounts import check_personal, service_account
from llmos_lite.core.page import Page
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.errors import Conflict, Forbidden, Invalid, NotFound
from llmos_lite.records.accounts import Account, Member, Team
from llmos_lite.volumes.access import SYSTEM, VolumeKind, VolumeRef, check_id


class Teams(People):
    """Teams and their members."""

    async def teams(self, actor: Actor, *, archived: bool = False, limit: int = 50, cursor: str = "") -> Page[Team]:
        """List the actor's teams; all of them for a system admin, who may ask for those that were deleted."""
        if archived:
            permit(actor, Verb.OVERSEE)
        everything = allowed(actor, Verb.OVERSEE)
        only = None if everything else [team for team in sorted(actor.teams) if not actor.delegated]
        items = await self._store.teams(limit=limit + 1, after=cursor, only=only, archived=archived)
        more = items[limit - 1].team_id if len(items) > limit else None
        total = len(only) if only is not None else await self._store.count_teams(archived=archived)
        return Page(items[:limit], more, total)

    async def team(self, actor: Actor, team_id: str) -> Team:
        """Return a team that the actor is in (or any, for a system admin).

        Raises:
            NotFound: `team.unknown`; a team of others looks like none.
        """
        ref = VolumeRef.team(team_id)
        found = await self._store.team(team_id) if allowed(actor, Verb.READ_TEAM, ref) else None
        if found is None or (found.archived and not allowed(actor, Verb.OVERSEE)):
            raise unknown_team(team_id)
        return found

    async def create_team(self, actor: Actor, team_id: str, name: str = "") -> Team:
        """Add a team, and the service account of its cron.

        Raises:
            Conflict: `team.exists`, also for one that was deleted.
            Forbidden: for anybody but a system admin.
        """
        require_admin(actor)
        team = Team(team_id=check_id(team_id, "team"), name=clean_name(name) or team_id, created=now_ms())
        if not await self._store.add_team(team):
            raise Conflict(
                "team.exists",
                f"There is a team {team_id!r} already, or there was one.",
                hint="Choose another id, or bring it back: `llmos teams restore ID`.",
            )
        await self.service(VolumeRef.team(team_id))
        return team

    async def rename_team(self, actor: Actor, team_id: str, name: str) -> Team:
        """Give a team another name, as an admin of it; its id stays, since volumes and addresses are named by it.

        Raises:
            Forbidden: `role.missing`, `scope.missing`.
            NotFound: `team.unknown`.
            Invalid: `name.too_long`.
        """
        await self._administered(actor, team_id)
        await self._store.change_team(team_id, {"name": clean_name(name) or team_id})
        return await self.team(actor, team_id)

    async def delete_team(self, actor: Actor, team_id: str) -> None:
        """Delete a team, as a system admin: nobody is in it any more, nothing runs for it, and its keys end.

        Its volume stays where it is, for system admins, and its id is not given again; `restore_team` undoes it, but
        for the memberships.

        Raises:
            Forbidden: for anybody but a system admin.
            NotFound: `team.unknown`.
        """
        require_admin(actor)
        await self._present(actor, team_id)
        account = await self.service(VolumeRef.team(team_id))
        try:
            await self._store.archive_team(team_id, now_ms())
            await self._store.change_user(account.user_id, {"active": False})
        finally:
            for user_id in [*self._known_in(team_id), account.user_id]:
                self.forget(user_id)
        await self._end_credentials(account.user_id)

    async def restore_team(self, actor: Actor, team_id: str) -> Team:
        """Bring a deleted team back, without its members, as a system admin."""
        require_admin(actor)
        await self.team(actor, team_id)
        account = await self.service(VolumeRef.team(team_id))
        try:
            await self._store.change_team(team_id, {"archived": 0})
            await self._store.change_user(account.user_id, {"active": True})
        finally:
            self.forget(account.user_id)
        return await self.team(actor, team_id)

    async def service(self, ref: VolumeRef = SYSTEM) -> Account:
        """Return the service account that works for a team or for the system; made when there is none."""
        return await service_account(self._store, ref)

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

        Nobody is made by it: a slip of the pen would be a person whose name others could take.

        Raises:
            Forbidden: `role.missing`.
            Invalid: `role.invalid`, for a role that a team does not have.
            NotFound: `team.unknown`, `user.unknown`.
        """
        await self._administered(actor, team_id)
        if role is Role.SYSTEM_ADMIN:
            raise Invalid("role.invalid", "A member is a user or a team_admin.", hint="Use user or team_admin.")
        account = await self._somebody(check_personal(user_id), team_id)
        try:
            await self._store.set_member(team_id, user_id, role, now_ms())
        finally:
            self.forget(user_id)
        return next(member for member in await self._store.members(team_id) if member.user_id == account.user_id)

    async def _somebody(self, user_id: str, team_id: str) -> Account:
        try:
            return await self.account(user_id)
        except NotFound as error:
            raise NotFound(
                "user.unknown",
                f"There is no user {user_id!r} to put into the team {team_id!r}.",
                hint=f"Invite somebody: `llmos invitations create --team {team_id}`; or a system admin adds the user "
                f"first: `llmos users add {user_id}`.",
            ) from error

    async def remove_member(self, actor: Actor, team_id: str, user_id: str) -> None:
        """Take somebody out of a team, as an admin of it or as that person.

        Raises:
            NotFound: `team.unknown`, or `member.unknown`.
        """
        if user_id == actor.user_id:
            permit(actor, Verb.CHANGE_SELF, actor.volume)
            await self._present(actor, team_id)
        else:
            await self._administered(actor, team_id)
        try:
            removed = await self._store.remove_member(team_id, check_id(user_id, "user"))
        finally:
            self.forget(user_id)
        if not removed:
            raise NotFound(
                "member.unknown",
                f"{user_id!r} is not in the team {team_id!r}.",
                hint="`llmos members list TEAM` shows who is.",
            )

    async def everybody(self) -> list[str]:
        """Return the ids of all active people, for the crons."""
        return await self._store.user_ids()

    async def all_teams(self) -> list[str]:
        """Return the ids of all teams, for the crons."""
        return [team.team_id for team in await self._store.teams(limit=1 << 20)]

    async def _administered(self, actor: Actor, team_id: str) -> None:
        """Raise unless an actor looks after a team that is not deleted."""
        await self._present(actor, team_id)
        ref = VolumeRef.team(team_id)
        if not allowed(actor, Verb.MANAGE_MEMBERS, ref):
            require(actor, Scope.ADMIN) if actor.teams.get(team_id) is Role.TEAM_ADMIN else None
            raise Forbidden(
                "role.missing", f"Only an admin of the team {team_id!r} may do this.", hint="Ask an admin of the team."
            )

    async def _present(self, actor: Actor, team_id: str) -> Team:
        team = await self.team(actor, team_id)
        if team.archived:
            raise NotFound("team.unknown", f"The team {team_id!r} was deleted.", hint="Restore it first.")
        return team


def unknown_team(team_id: str) -> NotFound:
    """Return the error for a team that is missing, or that the actor is not in: both look alike."""
    return NotFound(
        "team.unknown",
        f"There is no team {team_id!r} that you are in.",
        hint="`llmos teams list` shows yours; an admin of a team adds people to it.",
    )


_INSIDE = frozenset({Standing.MEMBER, Standing.TEAM_ADMIN, Standing.CRON})


def require_member(actor: Actor, ref: VolumeRef) -> None:
    """Raise unless a team's volume is of a team that the actor is in.

    Raises:
        NotFound: `team.unknown`.
    """
    if ref.kind is VolumeKind.TEAM and standings(actor, ref).isdisjoint(_INSIDE):
        raise unknown_team(ref.id)
