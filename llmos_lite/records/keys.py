"""The rows of API keys: the only copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from llmos_lite.engines.database import Database
from llmos_lite.records.tables import ApiKeyRow


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as stored, without the key itself.

    Args:
        key_id: the part of the key that may be shown.
        user_id: whose key it is.
        digest: SHA-256 of the key, in hex.
        scopes: what it may be used for.
        teams: the only teams that it knows; None for all of its owner's.
        parent: the key that made it; empty when its owner was signed in otherwise.
        created, expires, revoked, last_used: milliseconds since the epoch; 0 for never.
        purpose: empty for an ordinary key; what a capability token opens, `mcp` or `catalog`.
    """

    key_id: str
    user_id: str
    name: str = ""
    digest: str = ""
    scopes: tuple[str, ...] = ()
    teams: tuple[str, ...] | None = None
    parent: str = ""
    created: int = 0
    created_by: str = ""
    expires: int = 0
    revoked: int = 0
    last_used: int = 0
    purpose: str = ""


class KeyStore:
    """API keys in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key_id: str) -> ApiKey | None:
        """Return one key, or None."""
        async with self._database.reader() as session:
            row = await session.get(ApiKeyRow, key_id)
            return None if row is None else _key(row)

    async def add(self, key: ApiKey) -> bool:
        """Store a new key; False when its id is taken."""
        try:
            async with self._database.session() as session:
                session.add(row_of(key))
        except IntegrityError:
            return False
        return True

    async def page(self, *, limit: int, after: str = "", user_id: str | None = None) -> list[ApiKey]:
        """Return at most `limit` keys in order of id, of one person or of all."""
        query = select(ApiKeyRow).where(ApiKeyRow.key_id > after).order_by(ApiKeyRow.key_id).limit(limit)
        if user_id is not None:
            query = query.where(ApiKeyRow.user_id == user_id)
        async with self._database.reader() as session:
            return [_key(row) for row in (await session.scalars(query)).all()]

    async def count(self, user_id: str | None = None) -> int:
        """Count the keys of one person or of all."""
        query = select(func.count()).select_from(ApiKeyRow)
        if user_id is not None:
            query = query.where(ApiKeyRow.user_id == user_id)
        async with self._database.reader() as session:
            return (await session.scalar(query)) or 0

    async def family(self, key_id: str) -> list[ApiKey]:
        """Return a key and all that were made with it, and with those."""
        async with self._database.reader() as session:
            return await _family(session, key_id)

    async def revoke(self, key_id: str, at: int) -> list[str]:
        """End a key and all that were made with it; return their ids."""
        async with self._database.session() as session:
            ids = [key.key_id for key in await _family(session, key_id)]
            await session.execute(
                update(ApiKeyRow).where(ApiKeyRow.key_id.in_(ids), ApiKeyRow.revoked == 0).values(revoked=at)
            )
            return ids

    async def used(self, times: Mapping[str, int]) -> None:
        """Note when keys were used last."""
        async with self._database.session() as session:
            for key_id, at in times.items():
                await session.execute(update(ApiKeyRow).where(ApiKeyRow.key_id == key_id).values(last_used=at))


async def _family(session: AsyncSession, key_id: str) -> list[ApiKey]:
    found, wave = [], [key_id]
    query = select(ApiKeyRow).where(ApiKeyRow.key_id == key_id)
    while wave:
        rows = (await session.scalars(query)).all()
        found += [_key(row) for row in rows]
        wave = [row.key_id for row in rows]
        query = select(ApiKeyRow).where(ApiKeyRow.parent.in_(wave)).order_by(ApiKeyRow.key_id)
    return found


def row_of(key: ApiKey) -> ApiKeyRow:
    """Return a key as a row."""
    return ApiKeyRow(
        key_id=key.key_id,
        user_id=key.user_id,
        name=key.name,
        digest=key.digest,
        scopes=" ".join(key.scopes),
        teams=None if key.teams is None else " ".join(key.teams),
        parent=key.parent,
        created=key.created,
        created_by=key.created_by,
        expires=key.expires,
        revoked=key.revoked,
        last_used=key.last_used,
        purpose=key.purpose,
    )


def _key(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        key_id=row.key_id,
        user_id=row.user_id,
        name=row.name,
        digest=row.digest,
        scopes=tuple(row.scopes.split()),
        teams=None if row.teams is None else tuple(row.teams.split()),
        parent=row.parent,
        created=row.created,
        created_by=row.created_by,
        expires=row.expires,
        revoked=row.revoked,
        last_used=row.last_used,
        purpose=row.purpose,
    )
