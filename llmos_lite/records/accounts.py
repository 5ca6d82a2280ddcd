"""The rows of people and teams: the only copy, so nothing here is ever rebuilt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from llmos_lite.engines.database import Database
from llmos_lite.records.tables import MemberRow, TeamRow, UserRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A person as stored; `teams` maps a team's id to the role in it, `created` is in ms since the epoch."""

    user_id: str
    name: str = ""
    role: str = "user"
    record: bool = True
    share: str = "digest"
    active: bool = True
    created: int = 0
    teams: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """A team as stored; `members` counts people, `created` is in ms since the epoch."""

    team_id: str
    name: str = ""
    created: int = 0
    members: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Somebody's place in a team."""

    user_id: str
    name: str
    role: str
    created: int


class AccountStore:
    """Users, teams and members in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def user(self, user_id: str) -> Account | None:
        """Return one person with the teams, or None."""
        async with self._database.reader() as session:
            row = await session.get(UserRow, user_id)
            return None if row is None else await _account(session, row)

    async def users(self, *, limit: int, after: str = "") -> list[Account]:
        """Return at most `limit` people in order of id, those after `after`."""
        async with self._database.reader() as session:
            query = select(UserRow).where(UserRow.user_id > after).order_by(UserRow.user_id).limit(limit)
            return [await _account(session, row) for row in (await session.scalars(query)).all()]

    async def user_ids(self) -> list[str]:
        """Return the ids of all people that are active."""
        async with self._database.reader() as session:
            query = select(UserRow.user_id).where(UserRow.active).order_by(UserRow.user_id)
            return list((await session.scalars(query)).all())

    async def count_users(self) -> int:
        """Count the people."""
        return await self._count(UserRow)

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
            )
        )

    async def change_user(self, user_id: str, changes: Mapping[str, str | bool]) -> Account | None:
        """Set columns of one person; None when there is no such person."""
        async with self._database.session() as session:
            row = await session.get(UserRow, user_id)
            if row is None:
                return None
            for column, value in changes.items():
                setattr(row, column, value)
            return await _account(session, row)

    async def team(self, team_id: str) -> Team | None:
        """Return one team, or None."""
        async with self._database.reader() as session:
            row = await session.get(TeamRow, team_id)
            return None if row is None else (await _teams(session, [row]))[0]

    async def teams(self, *, limit: int, after: str = "", only: Sequence[str] | None = None) -> list[Team]:
        """Return at most `limit` teams in order of id; `only` narrows them to these ids."""
        query = select(TeamRow).where(TeamRow.team_id > after).order_by(TeamRow.team_id).limit(limit)
        if only is not None:
            query = query.where(TeamRow.team_id.in_(only))
        async with self._database.reader() as session:
            return await _teams(session, (await session.scalars(query)).all())

    async def count_teams(self) -> int:
        """Count the teams."""
        return await self._count(TeamRow)

    async def add_team(self, team: Team) -> bool:
        """Store a new team; False when the id is taken."""
        return await self._add(TeamRow(team_id=team.team_id, name=team.name, created=team.created))

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

    async def _count(self, table: type[UserRow | TeamRow]) -> int:
        async with self._database.reader() as session:
            return (await session.scalar(select(func.count()).select_from(table))) or 0

    async def _add(self, row: UserRow | TeamRow) -> bool:
        try:
            async with self._database.session() as session:
                session.add(row)
        except IntegrityError:
            return False
        return True


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
        teams={team_id: role for team_id, role in (await session.execute(query)).all()},  # noqa: C416 - rows are not pairs to mypy
    )


async def _teams(session: AsyncSession, rows: Sequence[TeamRow]) -> list[Team]:
    query = select(MemberRow.team_id, func.count()).where(MemberRow.team_id.in_([row.team_id for row in rows]))
    counts = {team_id: count for team_id, count in (await session.execute(query.group_by(MemberRow.team_id))).all()}  # noqa: C416 - as above
    return [
        Team(team_id=row.team_id, name=row.name, created=row.created, members=counts.get(row.team_id, 0))
        for row in rows
    ]
