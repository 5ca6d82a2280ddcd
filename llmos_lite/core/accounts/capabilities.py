"""Capability tokens: a key as a part of a URL, for clients that can send no header. It only reads skills.

A token is a row beside the ordinary keys, with a purpose; listing and ending it is theirs. Neither opens what the other
is for: a token in a header is refused, and so is an ordinary key in a URL. URLs end up in the logs of others, so a
token has no other scope than `skills:read`, no rights of an admin, and is read-only at the volumes, too.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from llmos_lite.core.accounts.accounts import Accounts, unknown_team
from llmos_lite.core.accounts.actors import actor_of_key, check_active
from llmos_lite.core.accounts.keys import ApiKeys, check_scopes, unknown_credential
from llmos_lite.core.accounts.people import clean_name
from llmos_lite.core.accounts.permissions import Actor, Role, Scope, Verb, permit
from llmos_lite.errors import Forbidden, Invalid, NotFound, Unauthenticated
from llmos_lite.records.accounts import PERSON, Account
from llmos_lite.records.keys import ApiKey
from llmos_lite.volumes.access import VolumeRef, check_id

READING = frozenset({Scope.SKILLS_READ})
"""All that a token is for."""


class Purpose(StrEnum):
    """What a token opens."""

    MCP = "mcp"
    CATALOG = "catalog"


_PATHS = {Purpose.MCP: "/mcp/t/{token}", Purpose.CATALOG: "/c/{token}{team}"}


class Capabilities:
    """Capability tokens.

    Args:
        accounts: people, and their keys.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def create(
        self, actor: Actor, purpose: str, name: str, *, team_id: str | None = None, days: int | None = None
    ) -> tuple[str, ApiKey]:
        """Make a token for oneself.

        Args:
            actor: who makes it, and whose skills it reads.
            purpose: `mcp` or `catalog`.
            name: for people.
            team_id: the only team whose skills it reads; None for all that the person reads, with what comes later.
            days: how long it holds; 0 for ever, None as the settings say.

        Returns:
            The token, which is shown once, and what is kept of it.

        Raises:
            Invalid: `key.purpose`, `key.name`, `team.invalid_id`.
            Forbidden: `key.too_much`, `delegate.refused`, `link.refused`, `role.missing`.
            NotFound: `team.unknown`.
        """
        permit(actor, Verb.MANAGE_KEYS, actor.volume)
        meant = purpose_of(purpose)
        scopes = check_scopes(READING, actor.scopes)
        await self._check_team(actor, team_id)
        if not clean_name(name):
            raise Invalid("key.name", "A key needs a name.", hint="Say what it is for.")
        teams = None if team_id is None else [team_id]
        return await self._keys().create(
            actor, actor.user_id, clean_name(name), scopes, teams=teams, days=days, purpose=meant
        )

    async def actor(self, token: str, purpose: str, *, client: str = "") -> Actor:
        """Return whom a token stands for: its owner, who reads skills and does nothing else.

        Args:
            token: what the URL carried.
            purpose: what the URL opens.
            client: address that the request came from.

        Raises:
            Unauthenticated: `credential.invalid`, `credential.purpose`, `credential.revoked`, `credential.expired`;
                `credential.team`, when the owner has left the team that it is for.
            Forbidden: `user.inactive`.
        """
        key = await self._keys().check(token, purpose_of(purpose))
        owner = actor_of_key(check_active(await self._owner(key)), key)
        teams = dict.fromkeys(owner.teams, Role.USER)
        if key.teams is not None and not teams:
            raise Unauthenticated("credential.team", "Whose token this is is in this team no more.")
        refs = {VolumeRef.team(team) for team in teams}
        own = {VolumeRef.user(owner.user_id)} if key.teams is None else set()
        return replace(
            owner,
            role=Role.USER,
            teams=teams,
            scopes=owner.scopes & READING,
            client=client,
            reads=frozenset(refs | own),
        )

    async def _owner(self, key: ApiKey) -> Account:
        try:
            account = await self._accounts.account(key.user_id)
        except NotFound:
            raise unknown_credential() from None
        if account.kind != PERSON:
            raise unknown_credential()
        return account

    async def _check_team(self, actor: Actor, team_id: str | None) -> None:
        """Refuse a team that is not one's own; a key that knows some teams only makes tokens for one of these."""
        if team_id is not None:
            if check_id(team_id, "team") not in actor.teams:
                raise unknown_team(team_id)
            return
        parent = await self._keys().get(actor.key_id) if actor.key_id else None
        if parent is not None and parent.teams is not None:
            raise Forbidden(
                "key.too_much", "This key knows some teams only; so does what it makes.", hint="Name a team."
            )

    def _keys(self) -> ApiKeys:
        if self._accounts.keys is None:
            raise NotFound("key.none", "This instance keeps no keys.")
        return self._accounts.keys


def purpose_of(text: str) -> Purpose:
    """Read the purpose of a token.

    Raises:
        Invalid: `key.purpose`.
    """
    try:
        return Purpose(text)
    except ValueError:
        said = ", ".join(Purpose)
        raise Invalid("key.purpose", f"{text[:20]!r} is nothing that a token opens.", hint=f"Use {said}.") from None


def path_of(token: str, key: ApiKey) -> str:
    """Return the path that a token opens."""
    team = f"/t/{key.teams[0]}" if key.teams else ""
    return _PATHS[Purpose(key.purpose)].format(token=token, team=team)
