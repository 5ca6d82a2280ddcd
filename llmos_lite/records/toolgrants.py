"""The rows of sign-ins to tool servers: the only copy of tokens, and who is on the way to get some."""

from __future__ import annotations

import msgspec
from sqlalchemy import ColumnElement, CursorResult, Table, Update, delete, func, insert, select, update

from llmos_lite.engines.database import Database
from llmos_lite.records.tables import ToolGrantRow, ToolSignInRow


class ToolGrant(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool server has let us do; times are ms since the epoch.

    Args:
        name: of the tool server.
        owner: the person whose tokens these are; empty for those of everybody.
        secret: the tokens and whose they are, sealed; empty before there are any.
        scope: what a refusal asked for besides.
        problem: why the tokens do not hold any more; empty when they may.
        generation: how often the tokens changed.
        lease: who renews them now.
        lease_until: when somebody else may.
        changed: when the tokens changed.
        changed_by: who signed in.
    """

    name: str
    owner: str = ""
    secret: str = ""
    scope: str = ""
    problem: str = ""
    generation: int = 0
    lease: str = ""
    lease_until: int = 0
    changed: int = 0
    changed_by: str = ""

    def __repr__(self) -> str:
        return f"ToolGrant({self.name}, {self.generation})"


class ToolSignIn(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody on the way to sign in; times are ms since the epoch.

    Args:
        state: digest of what the browser carries in the address.
        name: of the tool server.
        owner: the person whom the tokens will be for; empty for everybody.
        secret: what is needed when the browser comes back, sealed.
        browser: digest of what the browser carries in a cookie; empty before it has begun.
        until: when it is too late.
        started_by: who began it.
    """

    state: str
    name: str
    owner: str = ""
    secret: str
    browser: str = ""
    until: int
    started_by: str

    def __repr__(self) -> str:
        return f"ToolSignIn({self.name})"


GRANTS: Table = ToolGrantRow.metadata.tables[ToolGrantRow.__tablename__]
SIGN_INS: Table = ToolSignInRow.metadata.tables[ToolSignInRow.__tablename__]


class ToolGrantRows:
    """Reads and writes the rows; of two that change one row at once, one is told that it did."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- tokens -----------------------------------------------------------------------------------------------------

    async def get(self, name: str, owner: str) -> ToolGrant | None:
        """Return what a tool server has let somebody do, or None."""
        return next(iter(await self._grants(_of(name, owner))), None)

    async def all(self, name: str = "", *, owner: str | None = None) -> list[ToolGrant]:
        """Return it of a tool server, or of all; of everybody, or of one owner."""
        wanted = [GRANTS.c.name == name] if name else []
        wanted += [GRANTS.c.owner == owner] if owner is not None else []
        return await self._grants(*wanted)

    async def put(self, name: str, owner: str, secret: str, *, at: int, by: str) -> None:
        """Note the tokens of a sign-in; whoever renews older ones loses the lease."""
        fresh = {"secret": secret, "problem": "", "scope": "", "changed": at, "changed_by": by}
        freed = fresh | {"generation": GRANTS.c.generation + 1, "lease": "", "lease_until": 0}
        async with self._database.session() as session:
            done = await session.execute(update(GRANTS).where(_of(name, owner)).values(freed))
            if not isinstance(done, CursorResult) or done.rowcount == 0:
                whole = msgspec.structs.asdict(ToolGrant(name=name, owner=owner, generation=1)) | fresh
                await session.execute(insert(GRANTS).values(whole))

    async def ensure(self, name: str, owner: str) -> ToolGrant:
        """Return the row of an owner, made when it is missing."""
        empty = msgspec.structs.asdict(ToolGrant(name=name, owner=owner))
        async with self._database.session() as session:
            found = (await session.execute(select(GRANTS).where(_of(name, owner)))).one_or_none()
            if found is None:
                await session.execute(insert(GRANTS).values(empty))
        return ToolGrant(**(found._asdict() if found is not None else empty))

    async def take(self, grant: ToolGrant, holder: str, *, now: int, until: int) -> bool:
        """Take the lease of tokens, if nobody has it and they are still the same."""
        free = update(GRANTS).where(_same(grant) & (GRANTS.c.lease_until <= now))
        return await self._changes(free.values(lease=holder, lease_until=until))

    async def renew(self, grant: ToolGrant, holder: str, secret: str, *, at: int) -> bool:
        """Put new tokens in the place of old ones, and give the lease back; False when it was lost."""
        fresh = {"secret": secret, "problem": "", "changed": at, "lease": "", "lease_until": 0}
        return await self._changes(_held(grant, holder).values(fresh | {"generation": GRANTS.c.generation + 1}))

    async def release(self, grant: ToolGrant, holder: str, *, problem: str = "") -> bool:
        """Give a lease back, and note why the tokens do not hold any more, if they do not."""
        lost = {"problem": problem, "generation": GRANTS.c.generation + 1} if problem else {}
        return await self._changes(_held(grant, holder).values({"lease": "", "lease_until": 0} | lost))

    async def fail(self, grant: ToolGrant, problem: str) -> bool:
        """Note that tokens do not hold any more, unless there are others already."""
        same = update(GRANTS).where(_same(grant))
        return await self._changes(same.values(problem=problem, generation=grant.generation + 1))

    async def want(self, name: str, owner: str, scope: str) -> None:
        """Note what a refusal asked for."""
        await self._changes(update(GRANTS).where(_of(name, owner)).values(scope=scope))

    async def delete(self, name: str, owner: str | None = None) -> None:
        """Forget the tokens of a tool server, and who was on the way to get some: of everybody, or of one owner."""
        async with self._database.session() as session:
            for table in (GRANTS, SIGN_INS):
                mine = [] if owner is None else [table.c.owner == owner]
                await session.execute(delete(table).where(table.c.name == name, *mine))

    async def delete_of(self, owner: str) -> None:
        """Forget the tokens of one owner, and what was begun by, or for, that one."""
        async with self._database.session() as session:
            await session.execute(delete(GRANTS).where(GRANTS.c.owner == owner))
            mine = (SIGN_INS.c.owner == owner) | (SIGN_INS.c.started_by == owner)
            await session.execute(delete(SIGN_INS).where(mine))

    # -- on the way -------------------------------------------------------------------------------------------------

    async def begin(self, made: ToolSignIn, *, now: int) -> None:
        """Note that somebody is on the way, and forget those who took too long."""
        async with self._database.session() as session:
            await session.execute(delete(SIGN_INS).where(SIGN_INS.c.until <= now))
            await session.execute(insert(SIGN_INS).values(msgspec.structs.asdict(made)))

    async def count_begun(self, started_by: str, *, now: int) -> int:
        """Return how many sign-ins of somebody are on their way."""
        mine = (SIGN_INS.c.started_by == started_by) & (SIGN_INS.c.until > now)
        async with self._database.reader() as session:
            return (await session.execute(select(func.count()).select_from(SIGN_INS).where(mine))).scalar_one()

    async def on_the_way(self, state: str) -> ToolSignIn | None:
        """Return a sign-in that has begun, or None."""
        async with self._database.reader() as session:
            row = (await session.execute(select(SIGN_INS).where(SIGN_INS.c.state == state))).one_or_none()
        return None if row is None else ToolSignIn(**row._asdict())

    async def bind(self, state: str, browser: str) -> bool:
        """Bind a sign-in to a browser; False when it is bound already."""
        free = update(SIGN_INS).where((SIGN_INS.c.state == state) & (SIGN_INS.c.browser == ""))
        return await self._changes(free.values(browser=browser))

    async def spend(self, state: str) -> bool:
        """End a sign-in; of two at once, one gets True."""
        async with self._database.session() as session:
            done = await session.execute(delete(SIGN_INS).where(SIGN_INS.c.state == state))
            return isinstance(done, CursorResult) and done.rowcount == 1

    async def _grants(self, *wanted: ColumnElement[bool]) -> list[ToolGrant]:
        async with self._database.reader() as session:
            rows = (await session.execute(select(GRANTS).where(*wanted))).all()
        return [ToolGrant(**row._asdict()) for row in rows]

    async def _changes(self, statement: Update) -> bool:
        async with self._database.session() as session:
            done = await session.execute(statement)
            return isinstance(done, CursorResult) and done.rowcount == 1


def _of(name: str, owner: str) -> ColumnElement[bool]:
    return (GRANTS.c.name == name) & (GRANTS.c.owner == owner)


def _same(grant: ToolGrant) -> ColumnElement[bool]:
    """Return what holds of a row as long as nobody has changed its tokens."""
    return _of(grant.name, grant.owner) & (GRANTS.c.generation == grant.generation)


def _held(grant: ToolGrant, holder: str) -> Update:
    return update(GRANTS).where(_of(grant.name, grant.owner) & (GRANTS.c.lease == holder))
