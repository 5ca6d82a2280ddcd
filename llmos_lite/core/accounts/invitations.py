"""Invitations: a link that lets one person in, once, and not for ever.

Whoever accepts one without an account chooses an id and gets an API key, shown once; `password` is where sign-in will
take part. Somebody with an account joins the team with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmos_lite.core.accounts.keys import DAY, digest_of, draft
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

    async def accept(self, token: str, *, user_id: str = "", name: str = "", actor: Actor | None = None) -> Accepted:
        """Take an invitation: as somebody new who chooses an id, or else as `actor`, who has an account.

        Raises:
            NotFound: `invitation.unknown`, for a token that never held, was used or ended, or is too old.
            Conflict: `user.exists`; the invitation still holds.
            Invalid: `user.invalid_id`, `user.reserved`.
        """
        found = await self._usable(token)
        account, secret, key = await self._person(actor, user_id, name)
        try:
            spent = await self._store.accept(found, account, key, self._clock())
        except IdTaken:
            raise Conflict(
                "user.exists",
                f"There is a user {user_id!r} already.",
                hint="Choose another id, or accept with that user's credential.",
            ) from None
        if not spent:
            raise unknown_invitation()
        self._accounts.forget(account.user_id)
        return Accepted(await self._accounts.account(account.user_id), found.team_id, secret)

    async def _person(self, actor: Actor | None, user_id: str, name: str) -> tuple[Account, str, ApiKey | None]:
        if actor is not None and not user_id:
            if actor.delegated or actor.service is not None:
                raise refused_delegate()
            return await self._accounts.account(actor.user_id), "", None
        now = self._clock()
        account = self._accounts.draft(user_id, name)
        record = ApiKey(
            key_id="",
            user_id=user_id,
            name=FIRST_KEY,
            scopes=tuple(sorted(PERSONAL)),
            created=now,
            created_by=user_id,
        )
        return account, *draft(record)

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
