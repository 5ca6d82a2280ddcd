"""Invitations: a link that lets one person in, once, and not for ever.

Whoever accepts one without an account chooses an id, and a password or else gets an API key, shown once. Somebody with
an account joins the team with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmos_lite.core.accounts.keys import DAY, digest_of, draft
from llmos_lite.core.accounts.passwords import check_strength
from llmos_lite.core.accounts.people import clean_name
from llmos_lite.core.accounts.permissions import PERSONAL, Actor, Role, Verb, allowed, permit, refused_delegate
from llmos_lite.core.page import Page
from llmos_lite.core.traces.trace import make_ulid, now_ms
from llmos_lite.errors import Conflict, Invalid, LlmosError, NotFound
from llmos_lite.records.accounts import Account
from llmos_lite.records.invitations import IdTaken, Invitation, InvitationStore
from llmos_lite.records.keys import ApiKey
from llmos_lite.volumes.access import VolumeRef

if TYPE_CHECKING:
    from llmos_lite.core.accounts.accounts import Accounts

MOST_DAYS = 30
FIRST_KEY = "First key, from an invitation"


@dataclass(frozen=True, slots=True)
class Accepted:
    """What came of accepting: who, in which team, and for somebody new a key that is shown once."""

    account: Account
    team_id: str
    key: str = ""


class Invitations:
    """Makes invitations and lets people in.

    Args:
        store: their rows.
        accounts: people and teams.
        clock: milliseconds since the epoch.
    """

    def __init__(self, store: InvitationStore, accounts: Accounts, clock: Callable[[], int] = now_ms) -> None:
        self._store, self._accounts, self._clock = store, accounts, clock

    async def create(
        self, actor: Actor, *, team_id: str = "", role: Role = Role.USER, name: str = "", days: int = 7
    ) -> tuple[str, Invitation]:
        """Invite somebody: to a team as an admin of it, or to the instance alone as a system admin.

        Args:
            actor: who invites.
            team_id: the team; empty for none.
            role: the role in it.
            name: for whom, as a note.
            days: how long the link holds.

        Returns:
            The token of the link, which is shown once, and what is kept of it.

        Raises:
            Forbidden: `role.missing`, `scope.missing`.
            Invalid: `invitation.days`, `role.invalid`.
            NotFound: `team.unknown`.
        """
        if not 1 <= days <= MOST_DAYS:
            raise Invalid("invitation.days", f"An invitation holds for 1 to {MOST_DAYS} days.")
        await self._check(actor, team_id, role)
        now = self._clock()
        token = f"invite_{secrets.token_urlsafe(32)}"
        made = Invitation(
            invitation_id=make_ulid(now),
            digest=digest_of(token).hex(),
            team_id=team_id,
            role=role,
            name=clean_name(name),
            created=now,
            created_by=actor.user_id,
            expires=now + days * DAY,
        )
        await self._store.add(made)
        return token, made

    async def page(self, actor: Actor, *, team_id: str = "", limit: int = 50, cursor: str = "") -> Page[Invitation]:
        """List the invitations to a team, or, for a system admin, all; the newest first.

        Raises:
            Forbidden: `role.missing`.
            NotFound: `team.unknown`.
        """
        await self._check(actor, team_id, Role.USER)
        found = await self._store.all(team_id or None)
        rest = [one for one in found if not cursor or one.invitation_id < cursor]
        return Page(rest[:limit], rest[limit - 1].invitation_id if len(rest) > limit else None, len(found))

    async def revoke(self, actor: Actor, invitation_id: str) -> None:
        """End an invitation, as somebody who could make it.

        Raises:
            NotFound: `invitation.unknown`, for one that is not there or not theirs, alike.
            Conflict: `invitation.spent`.
        """
        found = await self._store.get(invitation_id)
        if found is None or not allowed(actor, Verb.MANAGE_MEMBERS, _place(found.team_id)):
            raise NotFound("invitation.unknown", "There is no such invitation of yours.")
        if not await self._store.revoke(invitation_id, self._clock()):
            raise Conflict("invitation.spent", "This invitation was accepted or ended before.")

    async def accept(
        self, token: str, *, user_id: str = "", name: str = "", password: str = "", actor: Actor | None = None
    ) -> Accepted:
        """Take an invitation: as somebody new who chooses an id, or else as `actor`, who has an account.

        Args:
            token: the one in the link.
            user_id: of somebody new.
            name: of somebody new.
            password: of somebody new, who then signs in with it; without one there is a key instead.
            actor: somebody with an account, when `user_id` is empty.

        Raises:
            NotFound: `invitation.unknown`, for a token that never held, was used or ended, or is too old.
            Conflict: `user.exists`; the invitation still holds.
            Invalid: `user.invalid_id`, `user.reserved`, `password.weak`; the invitation still holds.
        """
        found = await self._usable(token)
        if actor is not None and not user_id:
            account = await self._known(actor)
            await self._spend(found, account, None, new=False)
            return Accepted(await self._accounts.account(account.user_id), found.team_id)
        account = self._accounts.draft(user_id, name)
        secret, key = self._first_key(account, password)
        await self._spend(found, account, key, new=True)
        if password and self._accounts.sign_in is not None:
            await self._accounts.sign_in.set_password(account.user_id, password)
        return Accepted(await self._accounts.account(account.user_id), found.team_id, secret)

    async def _known(self, actor: Actor) -> Account:
        if actor.delegated or actor.service is not None:
            raise refused_delegate()
        return await self._accounts.account(actor.user_id)

    async def _spend(self, found: Invitation, account: Account, key: ApiKey | None, *, new: bool) -> None:
        try:
            spent = await self._store.accept(found, account, self._clock(), new=new, key=key)
        except IdTaken:
            raise Conflict(
                "user.exists",
                f"There is a user {account.user_id!r} already.",
                hint="Choose another id, or accept with that user's credential.",
            ) from None
        finally:
            self._accounts.forget(account.user_id)
        if not spent:
            raise unknown_invitation()

    def _first_key(self, account: Account, password: str) -> tuple[str, ApiKey | None]:
        """Return the first key of somebody new; none for who signs in with a password."""
        if password:
            check_strength(password, account.user_id, account.name)
            return "", None
        record = ApiKey(
            key_id="",
            user_id=account.user_id,
            name=FIRST_KEY,
            scopes=tuple(sorted(PERSONAL)),
            created=self._clock(),
            created_by=account.user_id,
        )
        return draft(record)

    async def _usable(self, token: str) -> Invitation:
        found = await self._store.of_digest(digest_of(token).hex())
        if found is None or found.accepted or found.revoked or found.expires <= self._clock():
            raise unknown_invitation()
        try:
            inviter = await self._accounts.actor(found.created_by)
            await self._check(inviter, found.team_id, Role(found.role))
        except LlmosError:  # whoever invited may not any more
            raise unknown_invitation() from None
        return found

    async def _check(self, actor: Actor, team_id: str, role: Role) -> None:
        if team_id:
            await self._accounts.team(actor, team_id)
        elif role is not Role.USER:
            raise Invalid("role.invalid", "Who is invited to no team is a user.")
        if role is Role.SYSTEM_ADMIN:
            raise Invalid("role.invalid", "A member is a user or a team_admin.", hint="Use user or team_admin.")
        permit(actor, Verb.MANAGE_MEMBERS, _place(team_id))


def _place(team_id: str) -> VolumeRef | None:
    return VolumeRef.team(team_id) if team_id else None


def unknown_invitation() -> NotFound:
    """Return the error for an invitation that does not hold: never made, used, ended or too old, all alike."""
    return NotFound(
        "invitation.unknown", "This invitation does not hold (any more).", hint="Ask for another invitation."
    )
