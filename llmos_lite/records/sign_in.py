"""The rows of passwords and sessions: the only copy."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import CursorResult, delete, select, update

from llmos_lite.engines.database import Database
from llmos_lite.records.tables import PasswordRow, SessionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A sign-in that lasts; see `SessionRow`. Times are in ms since the epoch."""

    session_id: str
    user_id: str
    kind: str
    method: str
    digest: str
    scopes: str = ""
    client: str = ""
    agent: str = ""
    turns: int = 0
    created: int
    used: int
    expires: int


FIELDS = tuple(Session.__slots__)


class SignInStore:
    """Passwords and sessions in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- passwords --------------------------------------------------------------------------------------------------

    async def password(self, user_id: str) -> str | None:
        """Return the hash of somebody's password, or None."""
        async with self._database.reader() as session:
            row = await session.get(PasswordRow, user_id)
            return None if row is None else row.hash

    async def set_password(self, user_id: str, hashed: str, at: int) -> None:
        """Store the hash of somebody's password."""
        table = PasswordRow.metadata.tables[PasswordRow.__tablename__]
        async with self._database.session() as session:
            row = {"user_id": user_id, "hash": hashed, "changed": at}
            await session.execute(self._database.upsert(table, ["user_id"]), [row])

    async def remove_password(self, user_id: str) -> None:
        """Forget somebody's password."""
        async with self._database.session() as session:
            await session.execute(delete(PasswordRow).where(PasswordRow.user_id == user_id))

    # -- sessions ---------------------------------------------------------------------------------------------------

    async def add(self, made: Session) -> None:
        """Store a new session, and forget those that have ended by themselves."""
        async with self._database.session() as session:
            await session.execute(delete(SessionRow).where(SessionRow.expires <= made.created))
            session.add(SessionRow(**{name: getattr(made, name) for name in FIELDS}))

    async def get(self, session_id: str) -> Session | None:
        """Return one session, or None."""
        async with self._database.reader() as session:
            row = await session.get(SessionRow, session_id)
            return None if row is None else _session(row)

    async def of(self, user_id: str) -> list[Session]:
        """Return somebody's sessions, the newest first."""
        query = select(SessionRow).where(SessionRow.user_id == user_id).order_by(SessionRow.session_id.desc())
        async with self._database.reader() as session:
            return [_session(row) for row in (await session.scalars(query)).all()]

    async def exchange(self, session_id: str, digest: str, fresh: str, at: int) -> bool:
        """Put a new secret in the place of a session's current one; False when that is not the current one.

        Of two requests with one secret, one gets True.
        """
        statement = (
            update(SessionRow)
            .where(SessionRow.session_id == session_id, SessionRow.digest == digest)
            .values(digest=fresh, turns=SessionRow.turns + 1, used=at)
        )
        async with self._database.session() as session:
            done = await session.execute(statement)
            return isinstance(done, CursorResult) and done.rowcount == 1

    async def end(self, *session_ids: str) -> None:
        """Forget sessions."""
        async with self._database.session() as session:
            await session.execute(delete(SessionRow).where(SessionRow.session_id.in_(session_ids)))


def _session(row: SessionRow) -> Session:
    return Session(**{name: getattr(row, name) for name in FIELDS})
