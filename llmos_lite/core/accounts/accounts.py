"""People, teams, and the way from a credential to the actor it stands for.

Actors are kept in memory and forgotten when something about them changes, so that a request that was seen before
asks no database.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from llmos_lite.core.accounts.actors import actor_of_account, actor_of_key, check_active, delegate_of_key
from llmos_lite.core.accounts.delegates import MOST_NAMED, Delegates
from llmos_lite.core.accounts.identities import FrontEndUser
from llmos_lite.core.accounts.keys import ApiKeys, KeyDigest, check_scopes, unknown_credential
from llmos_lite.core.accounts.people import ADMIN, Tokens, clean_name
from llmos_lite.core.accounts.permissions import (
    EVERYTHING,
    SERVICE,
    Actor,
    Role,
    Scope,
    Verb,
    permit,
    require,
)
from llmos_lite.core.accounts.service_accounts import check_personal
from llmos_lite.core.accounts.sessions import ended
from llmos_lite.core.accounts.sign_in import SignIn
from llmos_lite.core.accounts.teams import Teams, require_member, unknown_team
from llmos_lite.core.page import Page
from llmos_lite.errors import Forbidden, Invalid, NotFound, Unauthenticated
from llmos_lite.records.accounts import PERSON, Account, AccountStore
from llmos_lite.records.keys import ApiKey
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import check_id

__all__ = ["ADMIN", "Accounts", "require_member", "unknown_team"]


_Who: TypeAlias = tuple[str, str, tuple[str, str] | None, str]
"""By whose key, for whom (as our header says it, or a front end's own) and from where a request comes."""


class Accounts(Teams):
    """People, teams and credentials.

    Args:
        store: their rows.
        settings: `create_users` says whether a name that is used for the first time makes a user.
        admin_key: the text of `<data>/admin.key`.
        sign_in: sessions, links and passwords; without it nobody signs in.
        keys: API keys; without them only the admin key opens anything.
        tokens: access tokens.
    """

    def __init__(
        self,
        store: AccountStore,
        settings: Settings,
        admin_key: str,
        sign_in: SignIn | None = None,
        *,
        keys: ApiKeys | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        super().__init__(store, settings, sign_in, keys=keys, tokens=tokens)
        self._key = KeyDigest(admin_key)
        self._delegates = Delegates(self, store, settings)
        self._actors: dict[_Who, tuple[int, ApiKey | None, Actor]] = {}

    def forget(self, user_id: str) -> None:
        """Let go of what is in memory of somebody who has changed."""
        super().forget(user_id)
        self._delegates.forget()

    # -- who acts ---------------------------------------------------------------------------------------------------

    async def authenticate(
        self,
        credential: str,
        user_header: str = "",
        *,
        session: str = "",
        front: FrontEndUser | None = None,
        client: str = "",
    ) -> Actor:
        """Return the actor that a request's credential stands for: the one place that knows credentials.

        Args:
            credential: what `Authorization: Bearer` or `X-API-Key` carried; empty for none.
            user_header: what `X-LLMOS-User` carried; the admin key, and keys with `act-as`, may name a user by it.
            session: what the browser's cookie carried; looked at only without a credential.
            front: whom a front end's own headers name; looked at only with a key that has `act-as`.
            client: address that the request came from.

        Raises:
            Unauthenticated: `credential.missing`, `credential.invalid`, `credential.revoked`, `credential.expired`.
            Forbidden: `user.inactive`; `scope.missing`, for naming somebody without the right to; `delegate.refused`.
            Invalid: `user.invalid_id`.
            NotFound: `user.unknown`, when users are not created on first use.
        """
        if not credential:
            return _placed(await self._of_session(session), client)
        if self._key.matches(credential):
            key = None
        elif self.tokens is not None and credential.count(".") == 2:  # noqa: PLR2004 - header, claims, signature
            return _placed(_only_oneself(await self._of_token(self.tokens, credential), user_header), client)
        elif self.keys is None:
            raise unknown_credential()
        else:
            key = await self.keys.check(credential)
        named = front.identity if front and key and not user_header and Scope.ACT_AS in key.scopes else None
        who = ("" if key is None else key.key_id, user_header, named, client)
        kept = self._actors.get(who)
        if kept is not None and kept[0] == self._changes and kept[1] is key:
            return kept[2]
        changes = self._changes
        actor = await (self._of_admin(user_header) if key is None else self._of_key(key, user_header, front))
        return self._kept(who, changes, key, _placed(actor, client))

    def _kept(self, who: _Who, changes: int, key: ApiKey | None, actor: Actor) -> Actor:
        """Keep an actor for as long as nobody changes, nor the key; not by a name that nobody has checked."""
        if who[2] is not None and not actor.delegated:
            return actor
        self._actors.pop(who, None)
        if len(self._actors) >= MOST_NAMED:
            del self._actors[next(iter(self._actors))]
        self._actors[who] = changes, key, actor
        return actor

    async def _of_key(self, key: ApiKey, user_header: str, front: FrontEndUser | None) -> Actor:
        owner = actor_of_key(check_active(self._known.get(key.user_id) or await self._owner(key)), key)
        if Scope.ACT_AS in owner.scopes and (user_header or front):
            return delegate_of_key(check_active(await self._delegates.find(user_header, front)), key)
        return _only_oneself(owner, user_header)

    async def _of_admin(self, user_header: str) -> Actor:
        return await self._act_as(user_header) if user_header else await self._admin(self._key.name)

    def is_admin_key(self, credential: str) -> bool:
        """Tell whether this is the key of `<data>/admin.key`."""
        return self._key.matches(credential)

    async def _of_session(self, session: str) -> Actor:
        if not session:
            raise Unauthenticated("credential.missing", "This needs a credential.", hint=_WHERE)
        found = await self.sign_in.session(session) if self.sign_in is not None else None
        if found is None:
            raise ended()
        return await self._admin("session") if found.user_id == ADMIN else await self._person(found.user_id, "session")

    async def _of_token(self, tokens: Tokens, token: str) -> Actor:
        subject = tokens.subject(token)
        if subject is None:
            raise unknown_credential()
        actor = await self._person(subject.user_id, f"token:{subject.jti}")
        return replace(actor, scopes=actor.scopes & subject.scopes)

    async def _owner(self, key: ApiKey) -> Account:
        try:
            return await self.account(key.user_id)
        except NotFound:
            raise unknown_credential() from None

    async def _person(self, user_id: str, credential: str) -> Actor:
        account = check_active(await self.account(user_id))
        if account.kind != PERSON:
            raise Unauthenticated("credential.invalid", "A service account cannot sign in.", hint=_WHERE)
        return replace(actor_of_account(account), credential=credential)

    async def actor(self, user_id: str) -> Actor:
        """Return somebody as an actor with all the rights of that person, and no more.

        Raises:
            NotFound: `user.unknown`.
            Forbidden: `user.inactive`.
        """
        return actor_of_account(check_active(await self.account(user_id)))

    async def _admin(self, credential: str) -> Actor:
        account = await self.ensure(ADMIN)
        return replace(actor_of_account(account), role=Role.SYSTEM_ADMIN, scopes=EVERYTHING, credential=credential)

    async def make_for(self, like: str, *, name: str, email: str | None) -> str:
        """Make a plain user with an id like a name or an address; return the id.

        Raises:
            Invalid: `name.too_long`.
        """
        return await self._delegates.make_for(like, name=name, email=email)

    async def _act_as(self, user_id: str) -> Actor:
        if user_id not in self._known:
            check_personal(check_id(user_id, "user"))
            if self._settings.create_users:
                await self.ensure(user_id)
        account = check_active(await self.account(user_id))
        return replace(actor_of_account(account), owner=ADMIN)

    # -- keys -------------------------------------------------------------------------------------------------------

    async def create_key(
        self,
        actor: Actor,
        name: str,
        scopes: list[str],
        *,
        teams: list[str] | None = None,
        days: int | None = None,
        user_id: str = "",
    ) -> tuple[str, ApiKey]:
        """Make a key for oneself with at most one's own scopes and teams; for a service account as a system admin.

        Args:
            actor: who makes it; a key makes keys with at most what it has itself.
            name: for people.
            scopes: what it may be used for.
            teams: the only teams that it knows; None for all of one's own, though a key with `act-as` has to list them.
            days: how long it holds; 0 for ever, None as the settings say.
            user_id: the service account; empty for oneself.

        Returns:
            The key, which is shown once, and what is kept of it.

        Raises:
            Invalid: `key.scopes`, `key.name`.
            Forbidden: `key.too_much`, `key.not_yours`, `delegate.refused`.
            NotFound: `team.unknown`.
        """
        keys = self._keys()
        service = None if user_id in {"", actor.user_id} else await self._service(actor, user_id)
        if service is None:
            permit(actor, Verb.MANAGE_KEYS, actor.volume)
        wanted = check_scopes(scopes, SERVICE & actor.scopes if service else actor.scopes)
        teams = await self._listed_teams(actor, teams, act_as=Scope.ACT_AS in wanted)
        if not clean_name(name):
            raise Invalid("key.name", "A key needs a name.", hint="Say what it is for.")
        return await keys.create(actor, service or actor.user_id, clean_name(name), wanted, teams=teams, days=days)

    async def list_keys(
        self, actor: Actor, *, user_id: str | None = None, limit: int = 50, cursor: str = ""
    ) -> Page[ApiKey]:
        """List keys; see `ApiKeys.page`."""
        return await self._keys().page(actor, user_id=user_id, limit=limit, cursor=cursor)

    async def revoke_key(self, actor: Actor, key_id: str) -> list[str]:
        """End a key and all that were made with it; see `ApiKeys.revoke`."""
        return await self._keys().revoke(actor, key_id)

    def _keys(self) -> ApiKeys:
        if self.keys is None:
            raise NotFound("key.none", "This instance keeps no keys.")
        return self.keys

    async def _service(self, actor: Actor, user_id: str) -> str:
        permit(actor, Verb.OVERSEE)
        account = await self.account(user_id)
        if account.kind == PERSON:
            raise Forbidden("key.not_yours", "People make their keys themselves.", hint="Name a service account.")
        return check_active(account).user_id

    async def _listed_teams(self, actor: Actor, wanted: list[str] | None, *, act_as: bool) -> list[str] | None:
        """Return the teams of a new key: within those of the key that makes it, and else within one's own.

        For a front end a system admin may list any team.
        """
        parent = await self.keys.get(actor.key_id) if self.keys is not None and actor.key_id else None
        bound = None if parent is None else parent.teams
        if wanted is None:
            return [] if act_as else None if bound is None else list(bound)
        for team in wanted:
            known = check_id(team, "team") in actor.teams if bound is None else team in bound
            if not known and not (
                bound is None and act_as and actor.is_admin and await self._store.team(team) is not None
            ):
                raise unknown_team(team)
        return wanted

    async def close(self) -> None:
        """Wait for what is written beside requests."""
        if self.keys is not None:
            await self.keys.close()


_WHERE = "Send a key as Authorization: Bearer KEY or X-API-Key: KEY; that of the admin is in <data>/admin.key."


def _placed(actor: Actor, client: str) -> Actor:
    return replace(actor, client=client) if client != actor.client else actor


def _only_oneself(actor: Actor, named: str) -> Actor:
    """Return an actor who named nobody, or oneself.

    Raises:
        Forbidden: `scope.missing`.
    """
    if named and named != actor.user_id:
        require(actor, Scope.ACT_AS)
        raise Forbidden("delegate.refused", "This credential speaks for its owner alone.")
    return actor
