"""People as a sign-in provider knows them: found, made, and in the teams that it says."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from llmos_lite.core.accounts.accounts import ADMIN, Accounts
from llmos_lite.core.accounts.actors import actor_of_account
from llmos_lite.core.accounts.permissions import Role
from llmos_lite.core.audit import Audit
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.errors import Forbidden
from llmos_lite.records.accounts import PERSON, Account, AccountStore, LastAdmin


class KnownPeople:
    """Finds and makes them; see `core.accounts.oidc.Newcomers`. What it changes is in the audit log.

    Args:
        accounts: people and teams.
        store: their rows.
        audit: the log.
    """

    def __init__(self, accounts: Accounts, store: AccountStore, audit: Audit) -> None:
        self._accounts, self._store, self._audit = accounts, store, audit

    async def _note(self, account: Account, action: str, target: str, **detail: str) -> None:
        await self._audit.record(actor_of_account(account), action, target, detail={"by": "provider", **detail})

    async def known_as(self, provider: str, subject: str) -> Account | None:
        """Return whoever another system knows by an id."""
        found = await self._store.user_of_identity(provider, subject)
        return None if found is None else await self._accounts.account(found)

    async def link(self, provider: str, subject: str, email: str) -> Account | None:
        """Note that another system knows whoever has this address by that id; None when nobody has it.

        The admin and service accounts are nobody: no provider speaks for them.
        """
        found = await self._store.user_of_email(email)
        account = None if found is None else await self._accounts.account(found)
        if account is None or account.user_id == ADMIN or account.kind != PERSON:
            return None
        await self._store.add_identity(provider, subject, account.user_id)
        await self._note(account, "user.identify", f"user:{account.user_id}", provider=provider)
        return account

    async def newcomer(self, provider: str, subject: str, like: str, *, name: str, email: str | None) -> Account:
        """Make somebody new, with an id like a name.

        Of two requests that make the same person at once, one does, and the other finds it.
        """
        if email and await self._store.user_of_email(email) is not None:
            email = None  # it is that of the admin or of a service account; see `link`
        made = await self._accounts.make_for(like, name=name, email=email)
        if not await self._store.add_identity(provider, subject, made):
            found = await self._store.user_of_identity(provider, subject)
            made = found or made
        account = await self._accounts.account(made)
        await self._note(account, "user.create", f"user:{made}", role=account.role)
        return account

    async def follow(
        self, user_id: str, teams: Mapping[str, Role], managed: Collection[str] | None, *, admin: bool | None
    ) -> Account:
        """Put somebody into teams, and out of those that are managed (None: all of them) and not among them.

        Args:
            user_id: the person.
            teams: teams and the role in each; those that there are not are left out.
            managed: teams whose members the provider decides; in all others people stay as they are.
            admin: whether the person is a system admin; None leaves that as it is.

        Raises:
            Forbidden: `user.inactive`.
        """
        account = await self._accounts.account(user_id)
        if not account.active:
            raise Forbidden("user.inactive", "This account is deactivated.", hint="Ask a system admin.")
        try:
            await self._follow_teams(account, teams, managed)
            await self._follow_role(account, admin=admin)
        finally:
            self._accounts.forget(user_id)
        return await self._accounts.account(user_id)

    async def _follow_teams(self, account: Account, teams: Mapping[str, Role], managed: Collection[str] | None) -> None:
        user_id, there = account.user_id, set(await self._accounts.all_teams())
        for team_id, role in teams.items():
            if team_id in there and account.teams.get(team_id) != role:
                await self._store.set_member(team_id, user_id, role, now_ms())
                await self._note(account, "member.set", f"team:{team_id}", user_id=user_id, role=role)
        for team_id in account.teams.keys() - teams.keys():
            if managed is None or team_id in managed:
                await self._store.remove_member(team_id, user_id)
                await self._note(account, "member.remove", f"team:{team_id}", user_id=user_id)

    async def _follow_role(self, account: Account, *, admin: bool | None) -> None:
        if admin is None or account.user_id == ADMIN:
            return
        role = Role.SYSTEM_ADMIN if admin else Role.USER
        if account.role != role:
            try:
                await self._store.change_user(account.user_id, {"role": role})
            except LastAdmin:
                return  # somebody has to be
            await self._note(account, "user.change", f"user:{account.user_id}", role=role)
