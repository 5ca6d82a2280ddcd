"""From an account and a credential to the actor: the one place where roles become rights."""

from __future__ import annotations

from dataclasses import replace

from llmos_lite.core.accounts.permissions import EVERYTHING, PERSONAL, SERVICE, Actor, Role, Scope
from llmos_lite.errors import Forbidden
from llmos_lite.records.accounts import SERVICE as SERVICE_KIND
from llmos_lite.records.accounts import Account
from llmos_lite.records.keys import ApiKey
from llmos_lite.volumes.access import VolumeRef


def most_scopes(account: Account) -> frozenset[Scope]:
    """Return every scope that a credential of an account may have: `admin` is for who administers anything."""
    if account.kind == SERVICE_KIND:
        return SERVICE
    if account.role == Role.SYSTEM_ADMIN:
        return EVERYTHING
    return PERSONAL | {Scope.ADMIN} if Role.TEAM_ADMIN in account.teams.values() else PERSONAL


def check_active(account: Account) -> Account:
    """Return an account that is active.

    Raises:
        Forbidden: `user.inactive`.
    """
    if not account.active:
        raise Forbidden("user.inactive", f"The user {account.user_id!r} is deactivated.", hint="Ask a system admin.")
    return account


def actor_of_account(account: Account) -> Actor:
    """Return somebody with all the rights of that account."""
    return Actor(
        user_id=account.user_id,
        role=Role(account.role),
        teams={team: Role(role) for team, role in account.teams.items()},
        scopes=most_scopes(account),
        credential=f"user:{account.user_id}",
        service=VolumeRef.parse(account.service_of) if account.kind == SERVICE_KIND else None,
    )


def actor_of_key(account: Account, key: ApiKey) -> Actor:
    """Return the owner of a key with what the key allows of the owner's rights as they are now."""
    owner = actor_of_account(account)
    return replace(
        owner,
        teams={team: role for team, role in owner.teams.items() if key.teams is None or team in key.teams},
        scopes=owner.scopes & {Scope(scope) for scope in key.scopes},
        credential=f"key:{key.key_id}",
        key_id=key.key_id,
    )


def delegate_of_key(account: Account, key: ApiKey) -> Actor:
    """Return somebody whom a front end names: a plain user who chats, in the teams that the key lists.

    Raises:
        Forbidden: `delegate.refused`, for a system admin or a service account.
    """
    if account.role == Role.SYSTEM_ADMIN or account.kind == SERVICE_KIND:
        raise Forbidden(
            "delegate.refused",
            f"A front end may not speak for {account.user_id!r}, who is no plain user.",
            hint="Use an account without the role system_admin there.",
        )
    return Actor(
        user_id=account.user_id,
        teams=dict.fromkeys((team for team in account.teams if team in (key.teams or ())), Role.USER),
        scopes=frozenset({Scope.CHAT}),
        credential=f"key:{key.key_id}",
        key_id=key.key_id,
        owner=key.user_id,
        delegated=True,
    )
