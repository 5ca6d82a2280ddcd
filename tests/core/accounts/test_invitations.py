from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.invitations import Invitations
from llmos_lite.core.accounts.keys import DAY, ApiKeys
from llmos_lite.core.accounts.permissions import PERSONAL, Actor, Role
from llmos_lite.engines.database import Database
from llmos_lite.errors import Conflict, Forbidden, Invalid, LlmosError, NotFound
from llmos_lite.records.accounts import AccountStore
from llmos_lite.records.invitations import InvitationStore
from llmos_lite.records.keys import KeyStore
from llmos_lite.records.schema import prepare
from llmos_lite.settings import Settings

ADMIN_KEY = "llmos_0123abcd_" + "5f" * 32


class World:
    """People, teams and invitations, and a time that passes when told to."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.now = 1_764_720_000_000
        self.accounts = Accounts(AccountStore(database), settings, ADMIN_KEY, keys=ApiKeys(KeyStore(database)))
        self.invitations = Invitations(InvitationStore(database), self.accounts, lambda: self.now)

    async def root(self) -> Actor:
        return await self.accounts.authenticate(ADMIN_KEY)

    async def chief(self) -> Actor:
        return await self.accounts.actor("chief")


@pytest.fixture
async def world(tmp_path: Path, settings: Settings) -> AsyncIterator[World]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/rows.db")
    await prepare(database)
    world = World(database, settings)
    for team in ("sre", "hr"):
        await world.accounts.create_team(await world.root(), team)
    await world.accounts.ensure("chief")
    await world.accounts.set_member(await world.root(), "sre", "chief", Role.TEAM_ADMIN)
    await world.accounts.ensure("mate")
    await world.accounts.set_member(await world.root(), "sre", "mate")
    yield world
    await world.accounts.close()
    await database.close()


async def test_somebody_new_comes_in_once_with_a_key_of_their_own(world: World) -> None:
    token, made = await world.invitations.create(await world.chief(), team_id="sre", role=Role.TEAM_ADMIN, name="Bob")
    assert token not in repr(made)
    done = await world.invitations.accept(token, user_id="bob", name="Bob")
    assert (done.account.user_id, done.account.teams, done.team_id) == ("bob", {"sre": "team_admin"}, "sre")
    actor = await world.accounts.authenticate(done.key)
    [key] = (await world.accounts.list_keys(actor)).items
    assert key.expires == 0  # it is all that this person signs in with
    assert (actor.user_id, set(actor.scopes)) == ("bob", set(PERSONAL))
    for again in ("bob", "carol"):
        with pytest.raises(NotFound, match="does not hold"):
            await world.invitations.accept(token, user_id=again)
    (listed,) = (await world.invitations.page(await world.chief(), team_id="sre")).items
    assert (listed.accepted, listed.accepted_by) == (world.now, "bob")


async def test_somebody_with_an_account_joins_with_it(world: World) -> None:
    token, _ = await world.invitations.create(await world.chief(), team_id="sre")
    await world.accounts.ensure("dora")
    done = await world.invitations.accept(token, actor=await world.accounts.actor("dora"))
    assert (done.account.teams, done.key) == ({"sre": "user"}, "")
    assert (await world.accounts.actor("dora")).teams == {"sre": Role.USER}


async def test_an_invitation_lowers_nobody(world: World) -> None:
    token, _ = await world.invitations.create(await world.root(), team_id="sre")
    assert (await world.invitations.accept(token, actor=await world.chief())).account.teams == {"sre": "team_admin"}


async def test_an_id_that_is_taken_leaves_the_invitation_as_it_was(world: World) -> None:
    token, _ = await world.invitations.create(await world.root())
    for taken, error in (
        ("mate", Conflict),
        ("admin", Invalid),
        ("sre-cron", Invalid),
        ("../x", Invalid),
        ("", Invalid),
    ):
        with pytest.raises(error):
            await world.invitations.accept(token, user_id=taken)
    done = await world.invitations.accept(token, user_id="erin")
    assert (done.account.teams, done.account.role, done.team_id) == ({}, "user", "")


async def test_of_many_who_take_it_at_once_one_comes_in(world: World) -> None:
    token, _ = await world.invitations.create(await world.root(), team_id="hr")
    tries = [world.invitations.accept(token, user_id=f"user-{number}") for number in range(8)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sorted(isinstance(one, LlmosError) for one in results) == [False] + [True] * 7
    assert (await world.accounts.members(await world.root(), "hr")).total == 1


async def test_it_ends_with_time_or_by_hand(world: World) -> None:
    chief = await world.chief()
    old, _ = await world.invitations.create(chief, team_id="sre", days=1)
    ended, kept = await world.invitations.create(chief, team_id="sre")
    await world.invitations.revoke(chief, kept.invitation_id)
    with pytest.raises(Conflict):
        await world.invitations.revoke(chief, kept.invitation_id)
    world.now += DAY
    for token in (old, ended, "invite_x", ""):
        with pytest.raises(NotFound, match="does not hold"):
            await world.invitations.accept(token, user_id="bob")


@pytest.mark.parametrize("change", ["demoted", "gone", "deactivated", "team deleted"])
async def test_it_ends_with_the_rights_of_whoever_invited(world: World, change: str) -> None:
    token, _ = await world.invitations.create(await world.chief(), team_id="sre")
    root = await world.root()
    if change == "demoted":
        await world.accounts.set_member(root, "sre", "chief")
    elif change == "gone":
        await world.accounts.remove_member(root, "sre", "chief")
    elif change == "deactivated":
        await world.accounts.change_user(root, "chief", {"active": False})
    else:
        await world.accounts.delete_team(root, "sre")
    with pytest.raises(NotFound, match="does not hold"):
        await world.invitations.accept(token, user_id="bob")


async def test_only_who_looks_after_a_team_invites_to_it(world: World) -> None:
    chief, mate = await world.chief(), await world.accounts.actor("mate")
    _, kept = await world.invitations.create(await world.root(), team_id="hr")
    for actor, team, error in (
        (mate, "sre", Forbidden),
        (mate, "", Forbidden),
        (chief, "", Forbidden),
        (chief, "hr", NotFound),
    ):
        with pytest.raises(error):
            await world.invitations.create(actor, team_id=team)
        with pytest.raises(error):
            await world.invitations.page(actor, team_id=team)
    for actor, invitation_id in ((chief, kept.invitation_id), (mate, kept.invitation_id), (chief, "0" * 26)):
        with pytest.raises(NotFound, match="no such invitation"):
            await world.invitations.revoke(actor, invitation_id)
    await world.invitations.revoke(await world.root(), kept.invitation_id)


async def test_what_cannot_be_meant_is_refused(world: World) -> None:
    root = await world.root()
    for options in (
        {"days": 0},
        {"days": 31},
        {"role": Role.TEAM_ADMIN},
        {"team_id": "sre", "role": Role.SYSTEM_ADMIN},
    ):
        with pytest.raises(Invalid):
            await world.invitations.create(root, **options)
    token, _ = await world.invitations.create(root)
    service = Actor("sre-cron", service=(await world.accounts.actor("sre-cron")).service)
    for actor in (service, Actor("mate", delegated=True)):
        with pytest.raises(Forbidden):
            await world.invitations.accept(token, actor=actor)


async def test_they_are_listed_newest_first_page_by_page(world: World) -> None:
    root = await world.root()
    for _ in range(3):
        world.now += 1
        await world.invitations.create(root)
    page = await world.invitations.page(root, limit=2)
    rest = await world.invitations.page(root, limit=2, cursor=page.next_cursor or "")
    ids = [one.invitation_id for one in (*page.items, *rest.items)]
    assert (ids, len(set(ids)), rest.next_cursor, page.total) == (sorted(ids, reverse=True), 3, None, 3)
