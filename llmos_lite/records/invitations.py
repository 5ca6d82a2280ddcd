"""The rows of invitations: the only copy."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from llmos_lite.engines.database import Database
from llmos_lite.records.accounts import Account
from llmos_lite.records.keys import ApiKey, row_of
from llmos_lite.records.tables import InvitationRow, MemberRow, UserRow


class IdTaken(Exception):
    """There is a user of this id already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """An invitation as stored; `team_id` is empty for one to the instance alone, times are in ms, 0 for never."""

    invitation_id: str
    digest: str = ""
    team_id: str = ""
    role: str = "user"
    name: str = ""
    created: int = 0
    created_by: str = ""
    expires: int = 0
    accepted: int = 0
    accepted_by: str = ""
    revoked: int = 0


class InvitationStore:
    """Invitations in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, invitation: Invitation) -> None:
        """Store a new one."""
        row = InvitationRow(
            invitation_id=invitation.invitation_id,
            digest=invitation.digest,
            team_id=invitation.team_id or None,
            role=invitation.role,
            name=invitation.name,
            created=invitation.created,
            created_by=invitation.created_by,
            expires=invitation.expires,
        )
        async with self._database.session() as session:
            session.add(row)

    async def get(self, invitation_id: str) -> Invitation | None:
        """Return one by its id, or None."""
        async with self._database.reader() as session:
            row = await session.get(InvitationRow, invitation_id)
            return None if row is None else _invitation(row)

    async def of_digest(self, digest: str) -> Invitation | None:
        """Return one by the SHA-256 of its token, or None."""
        async with self._database.reader() as session:
            row = await session.scalar(select(InvitationRow).where(InvitationRow.digest == digest))
            return None if row is None else _invitation(row)

    async def all(self, team_id: str | None = None) -> list[Invitation]:
        """Return those to a team, or all, newest first."""
        query = select(InvitationRow).order_by(InvitationRow.invitation_id.desc())
        if team_id is not None:
            query = query.where(InvitationRow.team_id == team_id)
        async with self._database.reader() as session:
            return [_invitation(row) for row in (await session.scalars(query)).all()]

    async def revoke(self, invitation_id: str, at: int) -> bool:
        """End one; False when it was accepted, or ended, before."""
        open_one = (
            InvitationRow.invitation_id == invitation_id,
            InvitationRow.accepted == 0,
            InvitationRow.revoked == 0,
        )
        async with self._database.session() as session:
            done = await session.execute(update(InvitationRow).where(*open_one).values(revoked=at))
            return bool(done.rowcount)  # type: ignore[attr-defined]  # a cursor's result

    async def accept(self, found: Invitation, account: Account, at: int, *, new: bool, key: ApiKey | None) -> bool:
        """Spend an invitation, and make the person, the membership and the key, all or nothing.

        Args:
            found: the invitation.
            account: who accepts.
            at: now, in ms.
            new: whether the account is to be made.
            key: the first key of somebody new; None for none.

        Returns:
            False when it was spent, ended or too old meanwhile.

        Raises:
            IdTaken: somebody else has the id; the invitation still holds.
        """
        try:
            async with self._database.session() as session:
                if not await _spend(session, found.invitation_id, account.user_id, at):
                    return False
                if new:
                    session.add(_person(account))
                    await session.flush()
                if key is not None:
                    session.add(row_of(key))
                if found.team_id:
                    await _join(session, found, account.user_id, at)
        except IntegrityError as error:
            raise IdTaken from error
        return True


async def _spend(session: AsyncSession, invitation_id: str, user_id: str, at: int) -> bool:
    usable = (
        InvitationRow.invitation_id == invitation_id,
        InvitationRow.accepted == 0,
        InvitationRow.revoked == 0,
        InvitationRow.expires > at,
    )
    done = await session.execute(update(InvitationRow).where(*usable).values(accepted=at, accepted_by=user_id))
    return bool(done.rowcount)  # type: ignore[attr-defined]  # a cursor's result


async def _join(session: AsyncSession, found: Invitation, user_id: str, at: int) -> None:
    """Make the membership; somebody who is in the team already keeps the role there."""
    if await session.get(MemberRow, (found.team_id, user_id)) is None:
        session.add(MemberRow(team_id=found.team_id, user_id=user_id, role=found.role, created=at))


def _person(account: Account) -> UserRow:
    return UserRow(
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


def _invitation(row: InvitationRow) -> Invitation:
    return Invitation(
        invitation_id=row.invitation_id,
        digest=row.digest,
        team_id=row.team_id or "",
        role=row.role,
        name=row.name,
        created=row.created,
        created_by=row.created_by,
        expires=row.expires,
        accepted=row.accepted,
        accepted_by=row.accepted_by,
        revoked=row.revoked,
    )
