"""People, teams and service accounts: what changes, what ends, and what is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.keys import ApiKeys
from llmos_lite.core.accounts.permissions import Actor, Role
from llmos_lite.engines.database import Database
from llmos_lite.errors import Conflict, Forbidden, Invalid, LlmosError, NotFound
from llmos_lite.records.accounts import AccountStore
from llmos_lite.records.keys import KeyStore
from llmos_lite.records.schema import prepare
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import SYSTEM, VolumeRef

ADMIN_KEY = "llmos_0123abcd_" + "5f" * 32


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/rows.db")
    await prepare(database)
    yield database
    await database.close()


@pytest.fixture
async def accounts(database: Database, settings: Settings) -> AsyncIterator[Accounts]:
    accounts = Accounts(AccountStore(database), settings, ADMIN_KEY, keys=ApiKeys(KeyStore(database)))
    yield accounts
    await accounts.close()


@pytest.fixture
async def root(accounts: Accounts) -> Actor:
    return await accounts.authenticate(ADMIN_KEY)


async def test_a_person_is_in_several_teams_with_a_role_in_each(accounts: Accounts, root: Actor) -> None:
    for team, role in (("a", Role.USER), ("b", Role.TEAM_ADMIN), ("c", Role.USER)):
        await accounts.create_team(root, team)
        await accounts.ensure("alice")
        await accounts.set_member(root, team, "alice", role)
    assert dict((await accounts.actor("alice")).teams) == {"a": Role.USER, "b": Role.TEAM_ADMIN, "c": Role.USER}


async def test_somebody_deactivated_is_out_until_activated(accounts: Accounts, root: Actor) -> None:
    await accounts.ensure("alice")
    await accounts.change_user(root, "alice", {"active": False})
    with pytest.raises(Forbidden, match="deactivated"):
        await accounts.authenticate(ADMIN_KEY, "alice")
    assert await accounts.everybody() == ["admin"]
    await accounts.change_user(root, "alice", {"active": True})
    assert (await accounts.authenticate(ADMIN_KEY, "alice")).user_id == "alice"


async def test_the_last_who_administers_stays(accounts: Accounts, root: Actor, database: Database) -> None:
    for changes in ({"role": "user"}, {"active": False}):
        with pytest.raises(Invalid, match="keeps its rights"):
            await accounts.change_user(root, "admin", changes)
    await accounts.create_user(root, "boss", role=Role.SYSTEM_ADMIN)
    await AccountStore(database).change_user("admin", {"active": False})  # as by hand in the rows
    boss = await accounts.actor("boss")
    for changes in ({"role": "user"}, {"active": False}):
        with pytest.raises(Conflict) as caught:
            await accounts.change_user(boss, "boss", changes)
        assert caught.value.code == "user.last_admin"
    assert (await accounts.actor("boss")).is_admin
    await accounts.create_user(boss, "second", role=Role.SYSTEM_ADMIN)
    assert (await accounts.change_user(boss, "boss", {"role": "user"})).role == "user"


@pytest.mark.parametrize("user_id", ["admin", "sre-cron", "system-cron", "x-cron", "../x", "A", ""])
async def test_ids_that_are_not_for_people(accounts: Accounts, root: Actor, user_id: str) -> None:
    with pytest.raises(Invalid):
        await accounts.create_user(root, user_id)
    if user_id and user_id != "admin":
        with pytest.raises(Invalid):
            await accounts.authenticate(ADMIN_KEY, user_id)
        await accounts.create_team(root, "sre")
        with pytest.raises(Invalid):
            await accounts.set_member(root, "sre", user_id)


async def test_naming_admin_first_makes_the_admin(accounts: Accounts) -> None:
    assert (await accounts.authenticate(ADMIN_KEY, "admin")).is_admin
    assert (await accounts.account("admin")).role == "system_admin"


async def test_an_address_is_one_persons(accounts: Accounts, root: Actor) -> None:
    assert (await accounts.create_user(root, "alice", email=" Alice@Example.ORG ")).email == "alice@example.org"
    with pytest.raises(Conflict) as caught:
        await accounts.create_user(root, "bob", email="alice@example.org")
    assert caught.value.code == "email.taken"
    await accounts.create_user(root, "bob")
    with pytest.raises(Conflict) as caught:
        await accounts.change_user(root, "bob", {"email": "ALICE@example.org"})
    assert caught.value.code == "email.taken"
    with pytest.raises(Invalid):
        await accounts.change_user(root, "bob", {"email": "bob"})
    assert (await accounts.change_user(root, "alice", {"email": " "})).email is None
    assert (await accounts.change_user(root, "bob", {"email": "alice@example.org"})).email == "alice@example.org"
    with pytest.raises(Forbidden):
        await accounts.change_user(await accounts.actor("bob"), "bob", {"email": "x@example.org"})


async def test_a_name_elsewhere_is_one_persons(accounts: Accounts, root: Actor) -> None:
    for user in ("alice", "bob"):
        await accounts.create_user(root, user)
    await accounts.add_identity(root, "alice", "okta", "00u1")
    with pytest.raises(Conflict, match="alice") as taken:
        await accounts.add_identity(root, "bob", "okta", "00u1")
    assert "/users/alice/identities" in taken.value.hint
    for provider, subject in (("Okta", "1"), ("", "1"), ("okta", ""), ("okta", "x" * 256), ("o" * 65, "1")):
        with pytest.raises(Invalid):
            await accounts.add_identity(root, "bob", provider, subject)
    with pytest.raises(NotFound):
        await accounts.add_identity(root, "nobody", "okta", "2")
    with pytest.raises(NotFound):
        await accounts.remove_identity(root, "bob", "okta", "00u1")
    assert await accounts.identities(await accounts.actor("alice"), "alice") == [("okta", "00u1")]
    with pytest.raises(Forbidden):
        await accounts.identities(await accounts.actor("bob"), "alice")
    await accounts.remove_identity(root, "alice", "okta", "00u1")
    assert await accounts.identities(root, "alice") == []


async def test_a_deleted_team_is_nobodys_and_its_id_is_not_given_again(accounts: Accounts, root: Actor) -> None:
    await accounts.create_team(root, "sre", "Site reliability")
    await accounts.ensure("alice")
    await accounts.set_member(root, "sre", "alice", Role.TEAM_ADMIN)
    chief = await accounts.actor("alice")
    assert (await accounts.rename_team(chief, "sre", " New\nname ")).name == "New name"
    with pytest.raises(Forbidden):
        await accounts.delete_team(chief, "sre")
    await accounts.delete_team(root, "sre")
    assert (await accounts.actor("alice")).teams == {}
    assert (await accounts.teams(root)).items == []
    assert [team.team_id for team in (await accounts.teams(root, archived=True)).items] == ["sre"]
    assert await accounts.all_teams() == []
    for again in (
        accounts.create_team(root, "sre"),
        accounts.delete_team(root, "sre"),
        accounts.set_member(root, "sre", "bob"),
        accounts.rename_team(root, "sre", "x"),
        accounts.team(await accounts.actor("alice"), "sre"),
    ):
        with pytest.raises((Conflict, NotFound)):
            await again
    with pytest.raises(Forbidden):
        await accounts.teams(await accounts.actor("alice"), archived=True)
    assert (await accounts.restore_team(root, "sre")).members == 0
    await accounts.ensure("alice")
    await accounts.set_member(root, "sre", "alice")
    assert (await accounts.service(VolumeRef.team("sre"))).active


async def test_a_member_leaves_and_removes_nobody_else(accounts: Accounts, root: Actor) -> None:
    await accounts.create_team(root, "sre")
    for user in ("alice", "bob"):
        await accounts.ensure(user)
        await accounts.set_member(root, "sre", user)
    alice = await accounts.actor("alice")
    with pytest.raises(Forbidden, match="Only an admin of the team"):
        await accounts.remove_member(alice, "sre", "bob")
    await accounts.remove_member(alice, "sre", "alice")
    with pytest.raises(NotFound):
        await accounts.remove_member(await accounts.actor("alice"), "sre", "alice")


async def test_every_cron_has_one_service_account(accounts: Accounts, root: Actor) -> None:
    long = "a" * 64
    for team in ("sre", "system", long, "a" * 60):
        await accounts.create_team(root, team)
    system = await accounts.service(SYSTEM)
    assert (system.user_id, system.kind, system.service_of) == ("system-cron", "service", "system")
    found = {
        account.service_of: account.user_id for account in (await accounts.users(root, kind="service", limit=10)).items
    }
    assert len(set(found.values())) == len(found) == 5
    assert (found["team:sre"], found["team:system"]) == ("sre-cron", "system-2-cron")
    assert all(len(user) <= 64 and user.endswith("-cron") for user in found.values())
    assert await accounts.service(VolumeRef.team("sre")) == await accounts.service(VolumeRef.team("sre"))
    assert (await accounts.users(root)).total == 1
    actor = await accounts.actor("sre-cron")
    assert (str(actor.volume), actor.is_admin) == ("team:sre", False)
    for refused in (
        accounts.change_user(root, "sre-cron", {"role": "system_admin"}),
        accounts.change_user(actor, "sre-cron", {"name": "x"}),
        accounts.remove_member(actor, "sre", "sre-cron"),
        accounts.set_member(root, "sre", "sre-cron"),
    ):
        with pytest.raises(LlmosError):
            await refused


async def test_people_are_shown_to_system_admins(accounts: Accounts, root: Actor) -> None:
    await accounts.ensure("alice")
    assert (await accounts.shown(root, "alice")).user_id == "alice"
    with pytest.raises(Forbidden):
        await accounts.shown(await accounts.actor("alice"), "admin")
