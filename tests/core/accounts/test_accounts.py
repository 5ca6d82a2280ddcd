from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from llmos_lite.core.accounts.accounts import Accounts, require_member
from llmos_lite.core.accounts.keys import make_key
from llmos_lite.core.accounts.permissions import Actor, Role, Scope
from llmos_lite.core.accounts.sessions import Sessions, Where
from llmos_lite.core.accounts.sign_in import SignIn
from llmos_lite.core.accounts.tokens import Tokens
from llmos_lite.engines.database import Database
from llmos_lite.engines.token_keys import TokenKeys
from llmos_lite.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from llmos_lite.records.accounts import AccountStore
from llmos_lite.records.schema import prepare
from llmos_lite.records.sign_in import SignInStore
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import SYSTEM, VolumeRef

KEY = "llmos_0123abcd_" + "5f" * 32


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/rows.db")
    await prepare(database)
    yield database
    await database.close()


@pytest.fixture
def accounts(database: Database, settings: Settings) -> Accounts:
    return Accounts(AccountStore(database), settings, KEY)


@pytest.fixture
def closed(database: Database, settings: Settings) -> Accounts:
    """The same rows, where a name makes no user."""
    return Accounts(AccountStore(database), replace(settings, create_users=False), KEY)


async def admin(accounts: Accounts) -> Actor:
    return await accounts.authenticate(KEY)


def test_a_key_has_a_name_that_may_be_shown_and_256_random_bits() -> None:
    made = make_key()
    kind, prefix, rest = made.split("_")
    assert (kind, len(prefix), len(rest)) == ("llmos", 8, 64)
    assert make_key() != made


async def test_the_bare_admin_key_acts_as_the_user_admin(accounts: Accounts) -> None:
    actor = await admin(accounts)
    assert (actor.user_id, actor.role, actor.is_admin) == ("admin", Role.SYSTEM_ADMIN, True)
    assert KEY not in repr(actor)
    assert KEY.startswith(actor.credential)


async def test_the_admin_key_may_name_a_user_who_then_has_only_that_users_rights(accounts: Accounts) -> None:
    alice = await accounts.authenticate(KEY, "alice")
    assert (alice.user_id, alice.role, alice.is_admin) == ("alice", Role.USER, False)
    assert Scope.ADMIN not in alice.scopes
    with pytest.raises(Forbidden):
        await accounts.create_team(alice, "sre")


@pytest.mark.parametrize("credential", ["", "nonsense", KEY[:-1], KEY + "0", "ключ"])
async def test_any_other_credential_is_refused(accounts: Accounts, credential: str) -> None:
    with pytest.raises(Unauthenticated):
        await accounts.authenticate(credential, "alice")
    with pytest.raises(NotFound):
        await accounts.account("alice")


@pytest.mark.parametrize("name", ["../x", "Alice", "a" * 65, "a\0b", "a--b", "-", "a/b", "é"])
async def test_an_invalid_name_never_makes_a_user(accounts: Accounts, name: str) -> None:
    with pytest.raises(Invalid, match="not a user id"):
        await accounts.authenticate(KEY, name)
    assert (await accounts.users(await admin(accounts))).total == 1


async def test_many_first_requests_at_once_make_one_user(accounts: Accounts) -> None:
    actors = await asyncio.gather(*(accounts.authenticate(KEY, "alice") for _ in range(20)))
    assert {actor.user_id for actor in actors} == {"alice"}
    assert await accounts.everybody() == ["alice"]


async def test_without_the_setting_nobody_is_made_by_being_named(closed: Accounts) -> None:
    boss = await admin(closed)
    await closed.create_team(boss, "sre")
    with pytest.raises(NotFound, match="no user 'alice'"):
        await closed.authenticate(KEY, "alice")
    with pytest.raises(NotFound, match="no user 'bob'"):
        await closed.set_member(boss, "sre", "bob")
    await closed.create_user(boss, "bob", name="Bob")
    assert (await closed.set_member(boss, "sre", "bob")).name == "Bob"


async def test_a_known_actor_costs_no_query(accounts: Accounts, database: Database) -> None:
    await accounts.authenticate(KEY, "alice")
    asked: list[object] = []
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *said: asked.append(said))
    assert (await accounts.authenticate(KEY, "alice")).user_id == "alice"
    assert asked == []
    assert (await accounts.users(await admin(accounts))).total
    assert asked


async def test_an_actor_is_made_once_until_somebody_changes(accounts: Accounts) -> None:
    first = await accounts.authenticate(KEY, "alice", client="10.0.0.1")
    assert await accounts.authenticate(KEY, "alice", client="10.0.0.1") is first
    elsewhere = await accounts.authenticate(KEY, "alice", client="10.0.0.2")
    assert (elsewhere.client, elsewhere.user_id) == ("10.0.0.2", "alice")
    await accounts.change_user(await admin(accounts), "alice", {"role": Role.SYSTEM_ADMIN})
    changed = await accounts.authenticate(KEY, "alice", client="10.0.0.1")
    assert (first.role, changed.role) == (Role.USER, Role.SYSTEM_ADMIN)
    accounts.forget("bob")
    assert await accounts.authenticate(KEY, "alice", client="10.0.0.1") == changed


async def test_membership_works_with_the_next_request(accounts: Accounts) -> None:
    boss = await admin(accounts)
    await accounts.create_team(boss, "sre", "Site  reliability\n")
    assert (await accounts.authenticate(KEY, "bob")).teams == {}
    await accounts.set_member(boss, "sre", "bob", Role.TEAM_ADMIN)
    assert (await accounts.authenticate(KEY, "bob")).teams == {"sre": Role.TEAM_ADMIN}
    await accounts.set_member(boss, "sre", "bob")
    assert (await accounts.authenticate(KEY, "bob")).teams == {"sre": Role.USER}
    await accounts.remove_member(boss, "sre", "bob")
    assert (await accounts.authenticate(KEY, "bob")).teams == {}
    assert (await accounts.team(boss, "sre")).name == "Site reliability"


@pytest.mark.parametrize(
    ("cut", "left"), [("set_member", Role.USER), ("remove_member", None), ("archive_team", None), ("change_user", None)]
)
async def test_a_change_of_members_counts_though_whoever_asked_for_it_went_away(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, cut: str, left: Role | None
) -> None:
    store = AccountStore(database)
    accounts = Accounts(store, settings, KEY)
    boss = await admin(accounts)
    await accounts.create_team(boss, "sre")
    await accounts.ensure("bob")
    await accounts.set_member(boss, "sre", "bob", Role.TEAM_ADMIN)
    await accounts.authenticate(KEY, "bob")
    change = getattr(store, cut)

    async def cancelled(*args: object) -> None:
        await change(*args)
        raise asyncio.CancelledError

    monkeypatch.setattr(store, cut, cancelled)
    ask = {"set_member": accounts.set_member, "remove_member": accounts.remove_member}
    with pytest.raises(asyncio.CancelledError):
        await (ask[cut](boss, "sre", "bob") if cut in ask else accounts.delete_team(boss, "sre"))
    assert (await accounts.authenticate(KEY, "bob")).teams.get("sre") == left


async def test_nobody_is_made_by_a_slip_of_the_pen(accounts: Accounts) -> None:
    boss = await admin(accounts)
    await accounts.create_team(boss, "sre")
    await accounts.ensure("bob")
    await accounts.set_member(boss, "sre", "bob", Role.TEAM_ADMIN)
    for actor in (boss, await accounts.authenticate(KEY, "bob")):
        with pytest.raises(NotFound) as caught:
            await accounts.set_member(actor, "sre", "bobb")
        assert caught.value.code == "user.unknown"
        assert "`llmos invitations create --team sre`" in caught.value.hint
        assert "`llmos users add bobb`" in caught.value.hint
    assert (await accounts.everybody(), await accounts.member_ids("sre")) == (["admin", "bob"], {"bob"})


async def test_a_team_that_is_brought_back_works_though_whoever_asked_for_it_went_away(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = AccountStore(database)
    accounts = Accounts(store, settings, KEY)
    boss = await admin(accounts)
    await accounts.create_team(boss, "sre")
    await accounts.delete_team(boss, "sre")
    cron = (await accounts.service(VolumeRef.team("sre"))).user_id
    with pytest.raises(Forbidden):
        await accounts.actor(cron)
    change = store.change_user

    async def cancelled(user_id: str, changes: dict[str, object]) -> None:
        await change(user_id, changes)
        raise asyncio.CancelledError

    monkeypatch.setattr(store, "change_user", cancelled)
    with pytest.raises(asyncio.CancelledError):
        await accounts.restore_team(boss, "sre")
    assert (await accounts.actor(cron)).user_id == cron


async def test_a_team_admin_puts_people_into_the_team_and_a_member_may_not(accounts: Accounts) -> None:
    boss = await admin(accounts)
    await accounts.create_team(boss, "sre")
    await accounts.ensure("bob")
    await accounts.set_member(boss, "sre", "bob", Role.TEAM_ADMIN)
    bob = await accounts.authenticate(KEY, "bob")
    await accounts.ensure("carol")
    await accounts.set_member(bob, "sre", "carol")
    carol = await accounts.authenticate(KEY, "carol")
    with pytest.raises(Forbidden):
        await accounts.set_member(carol, "sre", "dave")
    with pytest.raises(Forbidden):
        await accounts.remove_member(carol, "sre", "bob")
    await accounts.remove_member(carol, "sre", "carol")
    assert await accounts.member_ids("sre") == {"bob"}
    with pytest.raises(Invalid, match="user or a team_admin"):
        await accounts.set_member(bob, "sre", "carol", Role.SYSTEM_ADMIN)
    with pytest.raises(NotFound, match="not in the team"):
        await accounts.remove_member(bob, "sre", "carol")


async def test_a_team_of_others_looks_like_none(accounts: Accounts) -> None:
    boss = await admin(accounts)
    await accounts.create_team(boss, "sre")
    alice = await accounts.authenticate(KEY, "alice")
    said = []
    for team_id in ("sre", "none"):
        with pytest.raises(NotFound) as found:
            await accounts.team(alice, team_id)
        said.append(found.value.message.replace(team_id, "?"))
        with pytest.raises(NotFound):
            await accounts.set_member(alice, team_id, "alice", Role.TEAM_ADMIN)
    assert said[0] == said[1]
    assert (await accounts.teams(alice)).items == []
    assert [team.team_id for team in (await accounts.teams(boss)).items] == ["sre"]
    with pytest.raises(NotFound):
        require_member(alice, VolumeRef.team("sre"))
    require_member(alice, SYSTEM)


async def test_a_taken_id_is_a_conflict(accounts: Accounts) -> None:
    boss = await admin(accounts)
    await accounts.create_team(boss, "sre")
    with pytest.raises(Conflict):
        await accounts.create_team(boss, "sre")
    await accounts.create_user(boss, "bob")
    with pytest.raises(Conflict):
        await accounts.create_user(boss, "bob")
    with pytest.raises(Invalid, match="in a team"):
        await accounts.create_user(boss, "eve", role=Role.TEAM_ADMIN)


async def test_people_set_what_is_theirs(accounts: Accounts) -> None:
    alice = await accounts.authenticate(KEY, "alice")
    changed = await accounts.change_user(alice, "alice", {"record": False, "share": "none", "name": "Alice"})
    assert (changed.record, changed.share, changed.name) == (False, "none", "Alice")
    assert await accounts.account("alice") == changed
    await accounts.authenticate(KEY, "bob")
    for user_id, changes in (("bob", {"name": "x"}), ("alice", {"role": "system_admin"}), ("alice", {"active": False})):
        with pytest.raises(Forbidden):
            await accounts.change_user(alice, user_id, changes)
    with pytest.raises(Invalid, match="at most 200"):
        await accounts.change_user(alice, "alice", {"name": "x" * 201})


async def test_a_deactivated_person_is_out_at_once_and_a_system_admin_has_all_rights(accounts: Accounts) -> None:
    boss = await admin(accounts)
    await accounts.authenticate(KEY, "alice")
    await accounts.change_user(boss, "alice", {"role": "system_admin"})
    assert (await accounts.authenticate(KEY, "alice")).is_admin
    await accounts.change_user(boss, "alice", {"active": False})
    with pytest.raises(Forbidden, match="deactivated"):
        await accounts.authenticate(KEY, "alice")
    with pytest.raises(Invalid, match="keeps its rights"):
        await accounts.change_user(boss, "admin", {"role": "user"})


async def test_lists_come_in_pages(accounts: Accounts) -> None:
    boss = await admin(accounts)
    for number in range(5):
        await accounts.create_user(boss, f"user-{number}")
        await accounts.create_team(boss, f"team-{number}")
    users, teams, cursor = [], [], ""
    while cursor is not None:
        page = await accounts.users(boss, limit=2, cursor=cursor)
        assert page.total == 6
        users += [user.user_id for user in page.items]
        cursor = page.next_cursor  # type: ignore[assignment]  # None ends the loop
    first = await accounts.teams(boss, limit=3)
    teams = [
        team.team_id for team in [*first.items, *(await accounts.teams(boss, cursor=first.next_cursor or "")).items]
    ]
    assert users == ["admin", *(f"user-{number}" for number in range(5))]
    assert teams == [f"team-{number}" for number in range(5)] == await accounts.all_teams()


async def test_a_session_acts_as_whom_it_was_made_for(database: Database, settings: Settings, tmp_path: Path) -> None:
    store = SignInStore(database)
    sessions = Sessions(store, Tokens(TokenKeys(tmp_path / "tokens"), "http://here"))
    accounts = Accounts(AccountStore(database), settings, KEY, SignIn(store, sessions))
    for user_id in ("admin", "alice"):
        await accounts.ensure(user_id)
    session, other = [await sessions.begin_web(user_id, "link", Where()) for user_id in ("admin", "alice")]
    assert (await accounts.authenticate("", session=session)).is_admin
    assert not (await accounts.authenticate("", session=other)).is_admin
    with pytest.raises(Unauthenticated, match="ended"):
        await accounts.authenticate("", session="made up")
    with pytest.raises(Unauthenticated):  # a wrong key is not rescued by a session
        await accounts.authenticate("wrong", session=session)
