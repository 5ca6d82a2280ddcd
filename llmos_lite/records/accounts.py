"""The rows of people and teams: the only copy, so nothing here is ever rebuilt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from llmos_lite.engines.database import Database
from llmos_lite.records.tables import ApiKeyRow, IdentityRow, InvitationRow, MemberRow, TeamRow, UserRow

PERSON, SERVICE = "person", "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A person as stored, or a service account (`kind`), which works for the volume `service_of`.

    `teams` maps a team's id to the role in it, `created` is in ms since the epoch.
    """

    user_id: str
    name: str = ""
    role: str = "user"
    record: bool = True
    share: str = "digest"
    active: bool = True
    created: int = 0
    teams: Mapping[str, str] = field(default_factory=dict)
    kind: str = PERSON
    service_of: str = ""
    email: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """A team as stored; `members` counts people, `created` is in ms since the epoch, `archived` too, or 0."""

    team_id: str
    name: str = ""
    created: int = 0
    members: int = 0
    archived: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Somebody's place in a team."""

    user_id: str
    name: str
    role: str
    created: int


class LastAdmin(Exception):
    """Nobody would be left who administers the instance."""


class EmailTaken(Exception):
    """Somebody else has this address."""


class AccountStore:
    """Users, teams and members in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def user(self, user_id: str) -> Account | None:
        """Return one person with the teams, or None."""
        async with self._database.reader() as session:
            row = await session.get(UserRow, user_id)
            return None if row is None else await _account(session, row)

    async def users(self, *, limit: int, after: str = "", kind: str = PERSON) -> list[Account]:
        """Return at most `limit` people (or service accounts) in order of id, those after `after`."""
        query = select(UserRow).where(UserRow.user_id > after, UserRow.kind == kind)
        async with self._database.reader() as session:
            rows = await session.scalars(query.order_by(UserRow.user_id).limit(limit))
            return [await _account(session, row) for row in rows.all()]

    async def user_ids(self) -> list[str]:
        """Return the ids of all people that are active."""
        query = select(UserRow.user_id).where(UserRow.active, UserRow.kind == PERSON).order_by(UserRow.user_id)
        async with self._database.reader() as session:
            return list((await session.scalars(query)).all())

    async def count_users(self, kind: str = PERSON) -> int:
        """Count the people, or the service accounts."""
        query = select(func.count()).select_from(UserRow).where(UserRow.kind == kind)
        async with self._database.reader() as session:
            return (await session.scalar(query)) or 0

    async def user_of_email(self, email: str) -> str | None:
        """Return the id of whoever has an address, written as `clean_email` writes it."""
        async with self._database.reader() as session:
            return await session.scalar(select(UserRow.user_id).where(UserRow.email == email))

    async def user_of_identity(self, provider: str, subject: str) -> str | None:
        """Return the id of whoever another system knows by a name."""
        async with self._database.reader() as session:
            row = await session.get(IdentityRow, (provider, subject))
            return row.user_id if row else None

    async def service(self, service_of: str) -> Account | None:
        """Return the service account that works for a volume."""
        query = select(UserRow).where(UserRow.kind == SERVICE, UserRow.service_of == service_of)
        async with self._database.reader() as session:
            row = await session.scalar(query)
            return None if row is None else await _account(session, row)

    async def identities(self, user_id: str) -> list[tuple[str, str]]:
        """Return provider and subject of each name by which other systems know a person."""
        query = select(IdentityRow).where(IdentityRow.user_id == user_id)
        async with self._database.reader() as session:
            rows = await session.scalars(query.order_by(IdentityRow.provider, IdentityRow.subject))
            return [(row.provider, row.subject) for row in rows.all()]

    async def add_identity(self, provider: str, subject: str, user_id: str) -> bool:
        """Note by which name another system knows a person; False when that name is somebody's already."""
        return await self._add(IdentityRow(provider=provider, subject=subject, user_id=user_id))

    async def remove_identity(self, provider: str, subject: str, user_id: str) -> bool:
        """Forget such a name; False when the person had none."""
        query = delete(IdentityRow).where(
            IdentityRow.provider == provider, IdentityRow.subject == subject, IdentityRow.user_id == user_id
        )
        async with self._database.session() as session:
            return bool((await session.execute(query)).rowcount)  # type: ignore[attr-defined]  # a cursor's result

    async def add_user(self, account: Account) -> bool:
        """Store a new person; False when the id is taken."""
        return await self._add(
            UserRow(
                user_id=account.user_id,
                name=account.name,
                role=account.role,
                record=account.record,
                share=account.share,
                active=account.active,
                created=account.created,
                kind=account.kind,
                service_of=account.service_of,
                email=account.email,
            )
        )

    async def change_user(self, user_id: str, changes: Mapping[str, str | bool | None]) -> Account | None:
        """Set columns of one person; None when there is no such person.

        Raises:
            EmailTaken: when another person has the address.
            LastAdmin: when nobody would be left who administers the instance; nothing has changed then.
        """
        try:
            async with self._database.session() as session:
                return await _changed(session, user_id, changes)
        except IntegrityError as error:
            raise EmailTaken from error

    async def end_keys(self, user_id: str, at: int) -> None:
        """Revoke every key of a person."""
        query = update(ApiKeyRow).where(ApiKeyRow.user_id == user_id, ApiKeyRow.revoked == 0).values(revoked=at)
        async with self._database.session() as session:
            await session.execute(query)

    async def team(self, team_id: str) -> Team | None:
        """Return one team, or None; one that was deleted, too."""
        async with self._database.reader() as session:
            row = await session.get(TeamRow, team_id)
            return None if row is None else (await _teams(session, [row]))[0]

    async def teams(
        self, *, limit: int, after: str = "", only: Sequence[str] | None = None, archived: bool = False
    ) -> list[Team]:
        """Return at most `limit` teams in order of id; `only` narrows them to these ids, `archived` to deleted ones."""
        query = select(TeamRow).where(TeamRow.team_id > after, _archived(archived=archived))
        query = query.order_by(TeamRow.team_id).limit(limit)
        if only is not None:
            query = query.where(TeamRow.team_id.in_(only))
        async with self._database.reader() as session:
            return await _teams(session, (await session.scalars(query)).all())

    async def count_teams(self, *, archived: bool = False) -> int:
        """Count the teams."""
        query = select(func.count()).select_from(TeamRow).where(_archived(archived=archived))
        async with self._database.reader() as session:
            return (await session.scalar(query)) or 0

    async def add_team(self, team: Team) -> bool:
        """Store a new team; False when the id is taken."""
        return await self._add(TeamRow(team_id=team.team_id, name=team.name, created=team.created))

    async def change_team(self, team_id: str, changes: Mapping[str, str | int]) -> None:
        """Set columns of a team."""
        async with self._database.session() as session:
            await session.execute(update(TeamRow).where(TeamRow.team_id == team_id).values(**changes))

    async def archive_team(self, team_id: str, at: int) -> None:
        """Delete a team: note when, end its memberships and invitations."""
        async with self._database.session() as session:
            await session.execute(update(TeamRow).where(TeamRow.team_id == team_id).values(archived=at))
            await session.execute(delete(MemberRow).where(MemberRow.team_id == team_id))
            await session.execute(delete(InvitationRow).where(InvitationRow.team_id == team_id))

    async def members(self, team_id: str) -> list[Member]:
        """Return everybody in a team, in order of id."""
        query = select(MemberRow, UserRow.name).join(UserRow, UserRow.user_id == MemberRow.user_id)
        query = query.where(MemberRow.team_id == team_id).order_by(MemberRow.user_id)
        async with self._database.reader() as session:
            rows = (await session.execute(query)).all()
        return [Member(user_id=row.user_id, name=name, role=row.role, created=row.created) for row, name in rows]

    async def set_member(self, team_id: str, user_id: str, role: str, created: int) -> None:
        """Put somebody into a team, or change the role there."""
        async with self._database.session() as session:
            row = await session.get(MemberRow, (team_id, user_id))
            if row is None:
                session.add(MemberRow(team_id=team_id, user_id=user_id, role=role, created=created))
            else:
                row.role = role

    async def remove_member(self, team_id: str, user_id: str) -> bool:
        """Take somebody out of a team; False when the person was not in it."""
        async with self._database.session() as session:
            row = await session.get(MemberRow, (team_id, user_id))
            if row is None:
                return False
            await session.execute(delete(MemberRow).where(MemberRow.team_id == team_id, MemberRow.user_id == user_id))
            return True

    async def _add(self, row: UserRow | TeamRow | IdentityRow) -> bool:
        try:
            async with self._database.session() as session:
                session.add(row)
        except IntegrityError:
            return False
        return True


async def _changed(session: AsyncSession, user_id: str, changes: Mapping[str, str | bool | None]) -> Account | None:
    row = await session.get(UserRow, user_id)
    if row is None:
        return None
    for column, value in changes.items():
        setattr(row, column, value)
    await session.flush()
    if changes.keys() & {"role", "active"}:
        admins = select(func.count()).select_from(UserRow).where(UserRow.role == "system_admin", UserRow.active)
        if not await session.scalar(admins):
            raise LastAdmin
    return await _account(session, row)


def _archived(*, archived: bool) -> ColumnElement[bool]:
    return TeamRow.archived > 0 if archived else TeamRow.archived == 0


async def _account(session: AsyncSession, row: UserRow) -> Account:
    query = (
        select(MemberRow.team_id, MemberRow.role).where(MemberRow.user_id == row.user_id).order_by(MemberRow.team_id)
    )
    return Account(
        user_id=row.user_id,
        name=row.name,
        role=row.role,
        record=row.record,
        share=row.share,
        active=row.active,
        created=row.created,
        kind=row.kind,
        service_of=row.service_of,
        email=row.email,
        teams={team_id: role for team_id, role in (await session.execute(query)).all()},  # noqa: C416 - rows are not pairs to mypy
    )


async def _teams(session: AsyncSession, rows: Sequence[TeamRow]) -> list[Team]:
    query = select(MemberRow.team_id, func.count()).where(MemberRow.team_id.in_([row.team_id for row in rows]))
    counts = {team_id: count for team_id, count in (await session.execute(query.group_by(MemberRow.team_id))).all()}  # noqa: C416 - as above
    return [
        Team(
            team_id=row.team_id,
            name=row.name,
            created=row.created,
            members=counts.get(row.team_id, 0),
            archived=row.archived,
        )
        for row in rows
    ]
