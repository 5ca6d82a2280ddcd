"""People: their accounts, settings and the names by which others know them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Protocol

from llmos_lite.core.accounts.identities import check_identity, clean_email
from llmos_lite.core.accounts.keys import ApiKeys
from llmos_lite.core.accounts.permissions import Actor, Role, Scope, Verb, permit, require_admin
from llmos_lite.core.accounts.service_accounts import END, check_personal
from llmos_lite.core.accounts.sign_in import SignIn
from llmos_lite.core.page import Page
from llmos_lite.core.traces.trace import Share, now_ms
from llmos_lite.errors import Conflict, Invalid, NotFound
from llmos_lite.records.accounts import PERSON, Account, AccountStore, EmailTaken, LastAdmin
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import check_id

ADMIN = "admin"
"""Id of the user that a bare admin key acts as."""
NAME_LENGTH = 200


class Subject(Protocol):
    """Whom an access token stands for."""

    @property
    def user_id(self) -> str:
        """Return the person."""

    @property
    def scopes(self) -> frozenset[Scope]:
        """Return what the token may be used for at most."""

    @property
    def jti(self) -> str:
        """Return the id of the token."""


class Tokens(Protocol):
    """Knows access tokens."""

    def subject(self, token: str) -> Subject | None:
        """Return whom a token stands for; None when it does not hold."""


class People:
    """People and service accounts; those that were asked for before are kept in memory.

    Args:
        store: their rows.
        settings: `create_users` says whether a name that is used for the first time makes a user.
        sign_in: sessions, links and passwords; without it nobody signs in.
        keys: API keys; without them only the admin key opens anything.
        tokens: access tokens.

    Attributes:
        leaves: is called with the id of whoever is deactivated, to end what that one may do elsewhere.
    """

    leaves: Callable[[str], Awaitable[object]] | None = None

    def __init__(
        self,
        store: AccountStore,
        settings: Settings,
        sign_in: SignIn | None = None,
        *,
        keys: ApiKeys | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self._store, self._settings = store, settings
        self.sign_in = sign_in
        self.keys, self.tokens = keys, tokens
        self._known: dict[str, Account] = {}
        self._creating = asyncio.Lock()
        self._changes = 0

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
            raise NotFound(
                "user.unknown",
                f"There is no user {user_id!r}.",
                hint="A system admin adds people: `llmos users add ID`.",
            )
        if changes == self._changes:  # what was read before somebody else's change is not kept
            self._known[user_id] = found
        return found

    def forget(self, user_id: str) -> None:
        """Let go of what is in memory of somebody who has changed."""
        self._changes += 1
        self._known.pop(user_id, None)

    def _known_in(self, team_id: str) -> list[str]:
        """Return who is in memory as somebody in a team."""
        return [user_id for user_id, known in self._known.items() if team_id in known.teams]

    async def ensure(self, user_id: str) -> Account:
        """Return a person, made now when there was none."""
        if user_id not in self._known:
            check_id(user_id, "user")
            async with self._creating:
                if await self._store.user(user_id) is None:
                    role = Role.SYSTEM_ADMIN if user_id == ADMIN else Role.USER
                    account = Account(user_id=check_personal(user_id), name=user_id, role=role, created=now_ms())
                    await self._store.add_user(account)
        return await self.account(user_id)

    async def named(self, user_id: str) -> Account:
        """Return a person whom somebody with the right to names; made now where the settings allow it.

        Raises:
            Invalid: `user.invalid_id`.
            NotFound: `user.unknown`.
        """
        return await (self.ensure(user_id) if self._settings.create_users else self.account(user_id))

    def draft(self, user_id: str, name: str = "", role: Role = Role.USER) -> Account:
        """Return an account as it is to be made.

        Raises:
            Invalid: `user.invalid_id`, `user.reserved`, `role.invalid`.
        """
        if is_reserved(check_id(user_id, "user")):
            raise Invalid("user.reserved", f"The id {user_id!r} is not for people.", hint="Choose another.")
        if role is Role.TEAM_ADMIN:
            raise Invalid("role.invalid", "A person is team_admin in a team, not in the whole instance.")
        return Account(user_id=user_id, name=clean_name(name) or user_id, role=role, created=now_ms())

    async def users(self, actor: Actor, *, kind: str = PERSON, limit: int = 50, cursor: str = "") -> Page[Account]:
        """List everybody, or the service accounts, for a system admin."""
        permit(actor, Verb.OVERSEE)
        items = await self._store.users(limit=limit + 1, after=cursor, kind=kind)
        more = items[limit - 1].user_id if len(items) > limit else None
        return Page(items[:limit], more, await self._store.count_users(kind))

    async def shown(self, actor: Actor, user_id: str) -> Account:
        """Return somebody, for a system admin.

        Raises:
            NotFound: `user.unknown`.
        """
        permit(actor, Verb.OVERSEE)
        return await self.account(user_id)

    async def create_user(
        self, actor: Actor, user_id: str, *, name: str = "", role: Role = Role.USER, email: str | None = None
    ) -> Account:
        """Add a person.

        Raises:
            Conflict: `user.exists`, `email.taken`.
            Forbidden: for anybody but a system admin.
        """
        require_admin(actor)
        address = clean_email(email) if email else None
        account = replace(self.draft(user_id, name, role), email=address)
        if not await self._store.add_user(account):
            if await self._store.user(user_id) is None:
                raise _email_taken()
            raise Conflict("user.exists", f"There is a user {user_id!r} already.", hint="Choose another id.")
        self.forget(user_id)
        return await self.account(user_id)

    async def change_user(self, actor: Actor, user_id: str, changes: Mapping[str, str | bool | None]) -> Account:
        """Change `name`, `record` or `share` of oneself; a system admin also `role`, `active`, `email`, of anybody.

        Whoever is deactivated has no key, session or token left, here or of tool servers, also when activated again.

        Raises:
            Forbidden: `role.missing`, for somebody else's settings or for one's own rights; `scope.missing`.
            NotFound: `user.unknown`.
            Conflict: `email.taken`; `user.last_admin`, when nobody would be left who administers the instance.
        """
        if user_id != actor.user_id or changes.keys() & {"role", "active", "email"}:
            permit(actor, Verb.OVERSEE)
        else:
            permit(actor, Verb.CHANGE_SELF, actor.volume)
        before = await self.account(user_id)
        if changes.keys() & {"role", "active"}:
            _check_rights(before, changes)
        try:
            changed = await self._store.change_user(user_id, _clean(changes))
        except LastAdmin:
            raise Conflict("user.last_admin", "Nobody would be left who administers this instance.") from None
        except EmailTaken:
            raise _email_taken() from None
        finally:
            self.forget(user_id)
        if changes.get("active") is False:
            await self._end_credentials(user_id)
        return changed or await self.account(user_id)

    async def _end_credentials(self, user_id: str) -> None:
        await self._store.end_keys(user_id, now_ms())
        if self.sign_in is not None:
            await self.sign_in.end_all(user_id)
        if self.keys is not None:
            self.keys.forget()
        if self.leaves is not None:
            await self.leaves(user_id)

    async def identities(self, actor: Actor, user_id: str) -> list[tuple[str, str]]:
        """Return by which names (system, id there) others know a person; one's own, or anybody's for a system admin."""
        if user_id != actor.user_id or actor.delegated:
            permit(actor, Verb.OVERSEE)
        return await self._store.identities((await self.account(user_id)).user_id)

    async def add_identity(self, actor: Actor, user_id: str, provider: str, subject: str) -> None:
        """Note by which name another system knows a person, as a system admin.

        Raises:
            Conflict: `identity.taken`.
            Invalid: `identity.invalid`.
        """
        permit(actor, Verb.OVERSEE)
        check_identity(provider, subject)
        account = await self.account(user_id)
        try:
            added = await self._store.add_identity(provider, subject, account.user_id)
        finally:
            self.forget(user_id)
        if not added:
            whose = await self._store.user_of_identity(provider, subject) or "somebody"
            raise Conflict(
                "identity.taken",
                f"{provider} knows {whose} by this id already.",
                hint=f"Unless that is right, take it from {whose} first: `DELETE /users/{whose}/identities`.",
            )

    async def remove_identity(self, actor: Actor, user_id: str, provider: str, subject: str) -> None:
        """Forget by which name another system knows a person, as a system admin.

        Raises:
            NotFound: `identity.unknown`.
        """
        permit(actor, Verb.OVERSEE)
        try:
            removed = await self._store.remove_identity(provider, subject, check_id(user_id, "user"))
        finally:
            self.forget(user_id)
        if not removed:
            raise NotFound("identity.unknown", f"{user_id!r} is not known to {provider[:64]!r} by this id.")


def is_reserved(user_id: str) -> bool:
    """Tell whether an id is one that nobody may choose."""
    return user_id == ADMIN or user_id.endswith(END)


def _check_rights(account: Account, changes: Mapping[str, object]) -> None:
    if account.user_id == ADMIN:
        raise Invalid("user.admin", "The user admin stands for the admin key and keeps its rights.")
    if account.kind != PERSON and "role" in changes:
        raise Invalid("role.invalid", "A service account has the rights of its cron, and no role.")


def _clean(changes: Mapping[str, str | bool | None]) -> dict[str, str | bool | None]:
    found = dict(changes)
    if "share" in found:
        Share(str(found["share"]))
    if isinstance(name := found.get("name"), str):
        found["name"] = clean_name(name)
    if isinstance(email := found.get("email"), str):
        found["email"] = clean_email(email) if email.strip() else None
    return found


def _email_taken() -> Conflict:
    return Conflict("email.taken", "Somebody else has this e-mail address.")


def clean_name(text: str) -> str:
    """Return a name as it is kept: one line, without spaces around it.

    Raises:
        Invalid: `name.too_long`.
    """
    clean = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if len(clean) > NAME_LENGTH:
        raise Invalid("name.too_long", f"A name has at most {NAME_LENGTH} characters.")
    return clean
