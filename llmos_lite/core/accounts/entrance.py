"""Every way in for a person: by link, by password, by a company's own provider; and what goes on from there."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.actors import actor_of_account, check_active
from llmos_lite.core.accounts.identities import EMAIL_LENGTH, clean_email
from llmos_lite.core.accounts.oidc import OidcSignIn
from llmos_lite.core.accounts.passwords import check_strength
from llmos_lite.core.accounts.permissions import Actor, Scope, Verb, permit, refused_delegate
from llmos_lite.core.accounts.sessions import TokenPair, Where
from llmos_lite.core.accounts.sign_in import SignIn
from llmos_lite.core.accounts.tokens import Tokens
from llmos_lite.errors import Forbidden, LlmosError, NotFound, Unauthenticated
from llmos_lite.records.accounts import PERSON, Account, AccountStore
from llmos_lite.records.sign_in import Session


class Attempt(Protocol):
    """One try to sign in."""

    def passed(self) -> None:
        """Say that it was the owner."""


class Entrance:
    """Lets people in.

    Args:
        accounts: people.
        store: their rows.
        sign_in: their credentials.
        tokens: access tokens.
        attempts: makes guessing slow; see `Limits.attempts`.
        oidc: a company's own provider; None without one.
    """

    def __init__(
        self,
        accounts: Accounts,
        store: AccountStore,
        sign_in: SignIn,
        tokens: Tokens,
        *,
        attempts: Callable[[str, str], Attempt],
        oidc: OidcSignIn | None = None,
    ) -> None:
        self._accounts, self._store, self._sign_in, self.tokens = accounts, store, sign_in, tokens
        self._attempts, self._oidc = attempts, oidc

    # -- ways in ----------------------------------------------------------------------------------------------------

    def first_link(self, user_id: str) -> str:
        """Return the token of a link that signs somebody in once; for whoever started the server."""
        return self._sign_in.links.make(user_id, secrets.token_urlsafe(32))

    async def link_for(self, actor: Actor, user_id: str) -> str:
        """Return the token of a link that signs somebody in once, as a system admin: for a forgotten password.

        Raises:
            Forbidden: for anybody but a system admin; `user.inactive`; `sign_in.service`.
            NotFound: `user.unknown`.
        """
        permit(actor, Verb.OVERSEE)
        account = check_active(await self._accounts.account(user_id))
        if account.kind != PERSON:
            raise Forbidden("sign_in.service", "A service account does not sign in.", hint="Make it a key.")
        return self.first_link(account.user_id)

    async def by_link(self, token: str) -> Account:
        """Return whom a link signs in.

        Raises:
            Unauthenticated: `sign_in.spent`.
            Forbidden: `user.inactive`.
        """
        user_id = self._sign_in.links.spend(token)
        return check_active(await self._accounts.ensure(user_id))

    async def by_password(self, name: str, password: str, where: Where) -> Account:
        """Return whom a name (or address) and a password sign in.

        Whoever does not exist, has no password, is deactivated, or got it wrong hears the same, after the same time.

        Raises:
            Unauthenticated: `sign_in.failed`.
            RateLimited: `sign_in.too_many`, with `retry_after` in seconds.
        """
        attempt = self._attempts(name.strip().lower()[:EMAIL_LENGTH], where.client)
        account = await self._named(name)
        good = await self._sign_in.is_password(account.user_id if account else None, password)
        if not good or account is None or not account.active:
            raise Unauthenticated(
                "sign_in.failed",
                "The name or the password is wrong.",
                hint="Ask a system admin for a link if you forgot it.",
            )
        attempt.passed()
        return account

    @property
    def has_provider(self) -> bool:
        """Tell whether a company's own provider is set."""
        return self._oidc is not None

    async def begin_provider(self, back: str) -> tuple[str, str]:
        """Return where the browser goes, and the text of its cookie; see `OidcSignIn.begin`.

        Raises:
            NotFound: `oidc.none`.
        """
        return await self._provider().begin(back)

    async def by_provider(self, cookie: str, given: Mapping[str, str]) -> tuple[Account, str]:
        """Return who came back from the provider, and the path to end at; see `OidcSignIn.finish`.

        Raises:
            NotFound: `oidc.none`.
        """
        return await self._provider().finish(cookie, given)

    def _provider(self) -> OidcSignIn:
        if self._oidc is None:
            raise NotFound("oidc.none", "No sign-in provider is set.", hint="Set LLMOS_OIDC_ISSUER.")
        return self._oidc

    async def _named(self, name: str) -> Account | None:
        """Return the person of an id or address, or None."""
        try:
            user_id = await self._store.user_of_email(clean_email(name)) if "@" in name else name.strip()
            account = await self._accounts.account(user_id) if user_id else None
        except LlmosError:
            return None
        return account if account is not None and account.kind == PERSON else None

    # -- what goes on -----------------------------------------------------------------------------------------------

    async def web(self, account: Account, method: str, where: Where) -> str:
        """Sign a browser in; return the secret for its cookie."""
        return await self._sign_in.sessions.begin_web(account.user_id, method, where)

    async def client(
        self, account: Account, method: str, where: Where, scopes: Iterable[Scope] | None = None
    ) -> TokenPair:
        """Sign a client in, for some of the person's scopes; for all of them when None."""
        rights = actor_of_account(account).scopes
        wanted = rights if scopes is None else rights & frozenset(scopes)
        return await self._sign_in.sessions.begin_tokens(account.user_id, method, where, wanted)

    async def refresh(self, token: str) -> tuple[Account, TokenPair]:
        """Exchange a refresh token for the next pair.

        Raises:
            Unauthenticated: `session.ended`, `session.reused`.
            Forbidden: `user.inactive`.
        """
        found, pair = await self._sign_in.sessions.refresh(token)
        return check_active(await self._accounts.account(found.user_id)), pair

    async def sign_out(self, secret: str) -> Session | None:
        """End the session of a cookie or of a refresh token; None when there was none."""
        return await self._sign_in.sessions.end(secret)

    async def session(self, cookie: str) -> Session | None:
        """Return the session that a cookie carries, or None."""
        return await self._sign_in.session(cookie)

    # -- what is one's own ------------------------------------------------------------------------------------------

    async def sessions(self, actor: Actor) -> list[Session]:
        """Return one's own sessions, the newest first."""
        permit(actor, Verb.CHANGE_SELF, actor.volume)
        return await self._sign_in.sessions.of(actor.user_id)

    async def end_session(self, actor: Actor, session_id: str) -> None:
        """End one of one's own sessions.

        Raises:
            NotFound: `session.unknown`.
        """
        permit(actor, Verb.CHANGE_SELF, actor.volume)
        await self._sign_in.sessions.end_one(actor.user_id, session_id)

    async def set_password(self, actor: Actor, cookie: str, current: str, new: str) -> None:
        """Set one's own password, and end every other session.

        Without the current one only somebody may who has none, or who has just come by a link or the provider.

        Raises:
            Unauthenticated: `password.wrong`.
            Invalid: `password.weak`.
            Forbidden: `delegate.refused`, `sign_in.api_key`; `sign_in.narrow`, for a token with some scopes alone: a
                password opens all.
            RateLimited: `sign_in.too_many`.
        """
        permit(actor, Verb.CHANGE_SELF, actor.volume)
        if actor.delegated or actor.service is not None:
            raise refused_delegate()
        if actor.key_id:
            raise Forbidden("sign_in.api_key", "An API key does not set a password.", hint="Sign in.")
        session = await self._sign_in.session(cookie) if cookie else None
        account = await self._accounts.account(actor.user_id)
        if actor.scopes < actor_of_account(account).scopes:
            raise Forbidden(
                "sign_in.narrow", "A token for some scopes does not set a password.", hint="Sign in for all of them."
            )
        if not await self._may_set(actor, session, current):
            raise Unauthenticated(
                "password.wrong", "The current password is wrong.", hint="Ask a system admin for a sign-in link."
            )
        check_strength(new, account.user_id, account.name, account.email or "")
        await self._sign_in.set_password(actor.user_id, new)
        await self._sign_in.sessions.end_all(actor.user_id, but=session.session_id if session else "")

    async def _may_set(self, actor: Actor, session: Session | None, current: str) -> bool:
        fresh = session is not None and session.user_id == actor.user_id and self._sign_in.sessions.is_fresh(session)
        if fresh or not await self._sign_in.has_password(actor.user_id):
            return True
        attempt = self._attempts(actor.user_id, actor.client)
        good = await self._sign_in.is_password(actor.user_id, current)
        if good:
            attempt.passed()
        return good

    async def close(self) -> None:
        """Close the connections to the provider."""
        if self._oidc is not None:
            await self._oidc.close()
