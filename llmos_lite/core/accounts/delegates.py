"""Whom a front end speaks for, by a key with `act-as`: found by id, address or the front end's own id."""

from __future__ import annotations

import asyncio

from llmos_lite.core.accounts.identities import FrontEndUser, check_identity, clean_email, id_like, shown_name
from llmos_lite.core.accounts.people import People, clean_name, is_reserved
from llmos_lite.core.accounts.service_accounts import check_personal
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.errors import NotFound
from llmos_lite.records.accounts import Account, AccountStore
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import check_id

MOST_NAMED = 10_000
"""Names of front ends' users kept in memory."""


class Delegates:
    """Finds them, and makes those that are new where the settings allow it.

    Args:
        people: everybody.
        store: their rows.
        settings: `create_users`.
    """

    def __init__(self, people: People, store: AccountStore, settings: Settings) -> None:
        self._people, self._store, self._settings = people, store, settings
        self._named: dict[tuple[str, tuple[str, str] | None], str] = {}
        self._creating = asyncio.Lock()
        self._changes = 0

    def forget(self) -> None:
        """Let go of what is in memory: somebody has changed."""
        self._changes += 1
        self._named.clear()

    async def find(self, header: str, front: FrontEndUser | None) -> Account:
        """Return whom a front end means: by id or address in our header, or else by what its own headers say.

        Raises:
            Invalid: `user.invalid_id`, `user.reserved`, `email.invalid`, `identity.invalid`.
            NotFound: `user.unknown`, when users are not created on first use.
        """
        named = header, None if header or front is None else front.identity
        found = self._named.get(named)
        if found is None:
            changes = self._changes
            found = await (self._of_header(header) if header or front is None else self._of_front_end(front))
            if changes == self._changes and len(self._named) < MOST_NAMED:
                self._named[named] = found
        return await self._people.account(found)

    async def _of_header(self, header: str) -> str:
        if "@" not in header:
            return (await self._people.named(check_personal(check_id(header, "user")))).user_id
        email = clean_email(header)
        return await self._store.user_of_email(email) or await self._newcomer(email, email=email)

    async def _of_front_end(self, front: FrontEndUser) -> str:
        provider, subject = check_identity(front.provider, front.subject)
        found = await self._store.user_of_identity(provider, subject)
        if found is not None:
            return found
        email = clean_email(front.email) if front.email else None
        found = await self._store.user_of_email(email) if email else None
        made = found or await self._newcomer(email or shown_name(front), name=shown_name(front), email=email)
        if await self._store.add_identity(provider, subject, made):
            return made
        return await self._store.user_of_identity(provider, subject) or made  # another request was first

    async def _newcomer(self, like: str, *, name: str = "", email: str | None = None) -> str:
        if not self._settings.create_users:
            raise NotFound("user.unknown", f"There is no user {like[:80]!r}.", hint="A system admin adds people.")
        return await self.make_for(like, name=name, email=email)

    async def make_for(self, like: str, *, name: str = "", email: str | None = None) -> str:
        """Make a plain user for somebody whom another system names, with an id like the address or name.

        Returns:
            The id; of whoever has the address, when somebody has it already.
        """
        number = 0
        async with self._creating:
            while True:
                number += 1
                user_id = id_like(like, number)
                if is_reserved(user_id):
                    continue
                account = Account(user_id=user_id, name=clean_name(name) or user_id, email=email, created=now_ms())
                if await self._store.add_user(account):
                    return user_id
                known = await self._store.user_of_email(email) if email else None
                if known:  # made by another request meanwhile
                    return known
