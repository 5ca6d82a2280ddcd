from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import delete, event

from llmos_lite.core.accounts import keys as keys_module
from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.capabilities import Capabilities
from llmos_lite.core.accounts.keys import DAY, EVERY, ApiKeys, make_key
from llmos_lite.core.accounts.permissions import EVERYTHING, PERSONAL, SERVICE, Actor, Role, Scope
from llmos_lite.engines.database import Database
from llmos_lite.errors import Forbidden, Invalid, LlmosError, NotFound, StorageFailed, Unauthenticated
from llmos_lite.records.accounts import AccountStore
from llmos_lite.records.keys import ApiKey, KeyStore
from llmos_lite.records.schema import prepare
from llmos_lite.records.tables import UserRow
from llmos_lite.settings import Settings

ADMIN_KEY = "llmos_0123abcd_" + "5f" * 32


class Clock:
    """Milliseconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_764_720_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/rows.db")
    await prepare(database)
    yield database
    await database.close()


@pytest.fixture
def keys(database: Database, clock: Clock) -> ApiKeys:
    return ApiKeys(KeyStore(database), clock)


@pytest.fixture
async def accounts(database: Database, settings: Settings, keys: ApiKeys) -> AsyncIterator[Accounts]:
    accounts = Accounts(AccountStore(database), settings, ADMIN_KEY, keys=keys)
    yield accounts
    await accounts.close()


async def admin(accounts: Accounts) -> Actor:
    return await accounts.authenticate(ADMIN_KEY)


async def alice(accounts: Accounts) -> Actor:
    return await accounts.authenticate(ADMIN_KEY, "alice")


async def made(accounts: Accounts, *scopes: str, days: int | None = None, teams: list[str] | None = None) -> str:
    return (await accounts.create_key(await alice(accounts), "x", list(scopes), days=days, teams=teams))[0]


async def code(accounts: Accounts, credential: str, header: str = "") -> str:
    with pytest.raises(LlmosError) as caught:
        await accounts.authenticate(credential, header)
    return caught.value.code


async def test_a_key_is_its_owner_with_less(accounts: Accounts) -> None:
    actor = await accounts.authenticate(key := await made(accounts, "chat", "skills:read"), client="10.0.0.1")
    assert (actor.user_id, set(actor.scopes)) == ("alice", {Scope.CHAT, Scope.SKILLS_READ})
    assert (actor.credential, actor.key_id, actor.client) == (f"key:{key[6:14]}", key[6:14], "10.0.0.1")
    assert key not in repr(actor)


async def test_a_key_has_an_end_unless_none_is_asked_for(database: Database, settings: Settings, clock: Clock) -> None:
    def keeper(**days: int) -> Accounts:
        return Accounts(AccountStore(database), settings, ADMIN_KEY, keys=ApiKeys(KeyStore(database), clock, **days))

    accounts, short, endless = keeper(), keeper(days=7, url_days=2), keeper(days=0, url_days=0)
    person = await alice(accounts)
    for at, days, url_days in ((accounts, 365, 90), (short, 7, 2), (endless, 0, 0)):
        for given, expected, url_expected in ((None, days, url_days), (30, 30, 30), (0, 0, 0)):
            _, key = await at.create_key(person, "x", ["chat"], days=given)
            _, token = await Capabilities(at).create(person, "catalog", "x", days=given)
            ends = [clock.now + one * DAY if one else 0 for one in (expected, url_expected)]
            assert [key.expires, token.expires] == ends
    bounded = await accounts.authenticate((await accounts.create_key(person, "x", ["chat"], days=3))[0])
    assert (await accounts.create_key(bounded, "x", ["chat"], days=0))[1].expires == clock.now + 3 * DAY
    with pytest.raises(Invalid, match="LLMOS_KEY_DAYS=-1"):
        keeper(days=-1)


async def test_a_key_that_ends_opens_nothing_the_day_after_and_the_admin_key_does(
    accounts: Accounts, clock: Clock
) -> None:
    key = await made(accounts, "chat")
    clock.now += 365 * DAY - 1
    assert (await accounts.authenticate(key)).user_id == "alice"
    clock.now += 1
    assert await code(accounts, key) == "credential.expired"
    assert (await admin(accounts)).user_id == "admin"


async def test_the_log_tells_once_a_day_of_a_key_that_is_used_and_ends_soon(
    accounts: Accounts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    short, long = await made(accounts, "chat", days=20), await made(accounts, "chat", days=300)
    for _ in range(3):
        for hours in (0, 2):
            clock.now += hours * 3_600_000
            for key in (short, long):
                await accounts.authenticate(key)
        clock.now += 5 * DAY
    told = [record.getMessage() for record in caplog.records if "ends in" in record.getMessage()]
    assert told == [f"the key {short[6:14]} of alice is in use and ends in 9 days"]
    await accounts.close()


async def test_only_a_digest_is_kept(accounts: Accounts, database: Database) -> None:
    key = await made(accounts, "chat")
    kept = await KeyStore(database).get(key[6:14])
    assert kept is not None
    assert key.split("_")[2] not in repr(kept)
    assert len(bytes.fromhex(kept.digest)) == 32


async def test_a_known_key_costs_no_query(accounts: Accounts, database: Database) -> None:
    key = await made(accounts, "chat")
    first = await accounts.authenticate(key)
    await accounts.close()
    asked: list[object] = []
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *said: asked.append(said))
    assert await accounts.authenticate(key) is first
    assert asked == []


async def test_the_last_use_is_noted_once_a_minute_beside_the_request(
    accounts: Accounts, keys: ApiKeys, clock: Clock
) -> None:
    key = await made(accounts, "chat")
    seen = []
    for passes in (0, 1, EVERY - 2, 1, EVERY):
        clock.now += passes
        await accounts.authenticate(key)
        await accounts.close()
        kept = await keys.get(key[6:14])
        assert kept is not None
        seen.append(kept.last_used)
    start = seen[0]
    assert seen == [start, start, start, start + EVERY, start + 2 * EVERY]


async def test_uses_are_remembered_of_known_keys_alone(
    accounts: Accounts, keys: ApiKeys, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "MOST_KNOWN", 3)
    some = [await made(accounts, "chat") for _ in range(6)]
    for key in some:
        await accounts.authenticate(key)
    assert keys._noted.keys() == keys._known.keys()
    assert len(keys._noted) == 3
    await keys.close()
    used = [(await keys.check(key)).last_used for key in some]
    assert used == [clock.now] * 6  # as the rows have it, so nothing is noted anew
    assert keys._unwritten == {}
    keys.forget()
    assert keys._noted == {}


async def test_a_use_that_cannot_be_noted_harms_nobody(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key = await made(accounts, "chat")

    async def full(*_: object) -> None:
        raise StorageFailed("storage.full", "The disk is full.")

    monkeypatch.setattr(KeyStore, "used", full)
    assert (await accounts.authenticate(key)).user_id == "alice"
    await accounts.close()
    assert "was not noted: The disk is full." in caplog.text


async def test_a_key_expires(accounts: Accounts, clock: Clock) -> None:
    key = await made(accounts, "chat", days=2)
    clock.now += 2 * DAY - 1
    assert (await accounts.authenticate(key)).user_id == "alice"
    clock.now += 1
    assert await code(accounts, key) == "credential.expired"


async def test_revoking_works_with_the_next_request(accounts: Accounts) -> None:
    key = await made(accounts, "chat")
    await accounts.authenticate(key)
    assert await accounts.revoke_key(await alice(accounts), key[6:14]) == [key[6:14]]
    assert await code(accounts, key) == "credential.revoked"
    await accounts.revoke_key(await alice(accounts), key[6:14])  # again changes nothing


async def test_what_is_read_while_a_key_is_revoked_is_not_kept(
    accounts: Accounts, keys: ApiKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await made(accounts, "chat")
    gate, get = asyncio.Event(), KeyStore.get

    async def slowly(self: KeyStore, key_id: str) -> ApiKey | None:
        found = await get(self, key_id)
        await gate.wait()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(KeyStore, "get", slowly)
        request = asyncio.create_task(accounts.authenticate(key))
        await asyncio.sleep(0)
    await accounts.revoke_key(await alice(accounts), key[6:14])
    gate.set()
    assert (await request).user_id == "alice"  # it was asked before
    assert await code(accounts, key) == "credential.revoked"
    assert keys is accounts.keys


@pytest.mark.parametrize("other", ["x", "", "llmos_", "llmos_0123abcd_" + "0" * 64])
async def test_what_is_no_key_is_unknown(accounts: Accounts, other: str) -> None:
    key = await made(accounts, "chat")
    for crafted in (
        other,
        key + other,
        key[:-1],
        key[:15] + make_key()[15:],
        key.upper(),
        key[:6] + "0" * 8 + key[14:],
    ):
        if crafted != key:
            assert await code(accounts, crafted or "x") in {"credential.invalid", "credential.missing"}


async def test_a_key_of_somebody_deactivated_or_gone_is_refused(accounts: Accounts, database: Database) -> None:
    key, root = await made(accounts, "chat"), await admin(accounts)
    await accounts.authenticate(key)
    await accounts.change_user(root, "alice", {"active": False})
    assert await code(accounts, key) == "credential.revoked"
    await accounts.change_user(root, "alice", {"active": True})
    assert await code(accounts, key) == "credential.revoked"  # what ended stays ended
    again = await made(accounts, "chat")
    await accounts.authenticate(again)
    async with database.session() as session:
        await session.execute(delete(UserRow).where(UserRow.user_id == "alice"))
    accounts.forget("alice")
    assert await code(accounts, again) == "credential.invalid"


async def test_a_key_follows_the_rights_of_its_owner(accounts: Accounts) -> None:
    root = await admin(accounts)
    for team in ("sre", "hr"):
        await accounts.create_team(root, team)
        await accounts.ensure("alice")
        await accounts.set_member(root, team, "alice", Role.TEAM_ADMIN)
    key = (await accounts.create_key(await alice(accounts), "x", ["chat", "admin"], teams=["sre"]))[0]
    actor = await accounts.authenticate(key)
    assert (dict(actor.teams), set(actor.scopes)) == ({"sre": Role.TEAM_ADMIN}, {Scope.CHAT, Scope.ADMIN})
    for team in ("sre", "hr"):
        await accounts.set_member(root, team, "alice")
    actor = await accounts.authenticate(key)
    assert (dict(actor.teams), set(actor.scopes)) == ({"sre": Role.USER}, {Scope.CHAT})
    await accounts.remove_member(root, "sre", "alice")
    assert (await accounts.authenticate(key)).teams == {}


async def test_a_key_speaks_for_its_owner_alone(accounts: Accounts) -> None:
    key = await made(accounts, "chat")
    assert (await accounts.authenticate(key, "alice")).user_id == "alice"
    assert await code(accounts, key, "bob") == "scope.missing"
    with pytest.raises(NotFound):
        await accounts.account("bob")


# Making keys


@pytest.mark.parametrize(
    ("scopes", "error"),
    [
        (["admin"], "key.too_much"), (["chat", "act-as"], "key.too_much"), ([], "key.scopes"),
        (["nonsense"], "key.scopes"), (["chat "], "key.scopes"),
    ],
)  # fmt: skip
async def test_a_person_makes_keys_with_at_most_their_own_scopes(
    accounts: Accounts, scopes: list[str], error: str
) -> None:
    with pytest.raises((Forbidden, Invalid)) as caught:
        await made(accounts, *scopes)
    assert caught.value.code == error


async def test_a_key_makes_no_key_with_more_than_it_has(accounts: Accounts, keys: ApiKeys, clock: Clock) -> None:
    root = await admin(accounts)
    await accounts.create_team(root, "sre")
    await accounts.create_team(root, "hr")
    for team in ("sre", "hr"):
        await accounts.ensure("alice")
        await accounts.set_member(root, team, "alice")
    parent = await accounts.authenticate(await made(accounts, "chat", "git", days=3, teams=["sre"]))
    for scopes, teams in ((["skills:read"], None), (["chat"], ["hr"]), (["admin"], None)):
        with pytest.raises((Forbidden, NotFound)):
            await accounts.create_key(parent, "x", scopes, teams=teams)
    _, child = await accounts.create_key(parent, "x", ["chat"], days=300)
    _, shorter = await accounts.create_key(parent, "x", ["chat"], days=1, teams=["sre"])
    assert (child.teams, child.parent, child.expires) == (("sre",), parent.key_id, clock.now + 3 * DAY)
    assert shorter.expires == clock.now + DAY
    assert keys is accounts.keys


async def test_a_key_sees_and_ends_itself_and_what_was_made_with_it(accounts: Accounts) -> None:
    person = await alice(accounts)
    other = (await made(accounts, "chat"))[6:14]
    parent = await accounts.authenticate(await made(accounts, "chat"))
    child_key, child = await accounts.create_key(parent, "x", ["chat"])
    grandchild = (await accounts.create_key(await accounts.authenticate(child_key), "x", ["chat"]))[1]
    family = [parent.key_id, child.key_id, grandchild.key_id]
    assert {one.key_id for one in (await accounts.list_keys(parent)).items} == set(family)
    assert (await accounts.list_keys(person)).total == 4
    with pytest.raises(NotFound, match="no key"):
        await accounts.revoke_key(parent, other)
    with pytest.raises(NotFound, match="no key"):
        await accounts.revoke_key(await accounts.authenticate(child_key), parent.key_id)
    assert await accounts.revoke_key(parent, parent.key_id) == family
    assert await code(accounts, child_key) == "credential.revoked"


async def test_keys_are_listed_page_by_page(accounts: Accounts) -> None:
    root, person = await admin(accounts), await alice(accounts)
    for _ in range(3):
        await made(accounts, "chat")
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await accounts.list_keys(root, user_id="*", limit=2, cursor=cursor)
        seen += [key.key_id for key in page.items]
        cursor = page.next_cursor
    assert (len(set(seen)), seen, page.total) == (3, sorted(seen), 3)
    parent = await accounts.authenticate(await made(accounts, "chat"))
    await accounts.create_key(parent, "x", ["chat"])
    page = await accounts.list_keys(parent, limit=1)
    rest = await accounts.list_keys(parent, limit=1, cursor=page.next_cursor or "")
    assert (len(page.items), len(rest.items), rest.next_cursor) == (1, 1, None)
    with pytest.raises(Forbidden):
        await accounts.list_keys(person, user_id="*")


async def test_a_key_has_a_name_of_one_line(accounts: Accounts) -> None:
    person = await alice(accounts)
    assert (await accounts.create_key(person, " Build\n server\x00", ["chat"]))[1].name == "Build server"
    for name in ("", " \n", "x" * 201):
        with pytest.raises(Invalid):
            await accounts.create_key(person, name, ["chat"])


async def test_two_keys_never_have_one_id(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    same = make_key()
    drawn = iter([same, same, other := make_key()])
    monkeypatch.setattr("llmos_lite.core.accounts.keys.make_key", lambda: next(drawn))
    assert [await made(accounts, "chat"), await made(accounts, "chat")] == [same, other]


# Service accounts


async def test_a_system_admin_makes_keys_for_service_accounts_and_for_nobody_else(accounts: Accounts) -> None:
    root, person = await admin(accounts), await alice(accounts)
    await accounts.create_team(root, "sre")
    with pytest.raises(Forbidden, match="make their keys themselves"):
        await accounts.create_key(root, "x", ["chat"], user_id="alice")
    with pytest.raises(Forbidden):
        await accounts.create_key(person, "x", ["git"], user_id="sre-cron")
    with pytest.raises(Forbidden):
        await accounts.create_key(root, "x", ["chat"], user_id="sre-cron")
    key, kept = await accounts.create_key(root, "CI", sorted(SERVICE), user_id="sre-cron")
    actor = await accounts.authenticate(key)
    assert (actor.user_id, str(actor.volume), actor.scopes, kept.created_by) == (
        "sre-cron",
        "team:sre",
        SERVICE,
        "admin",
    )
    with pytest.raises(Forbidden):
        await accounts.create_key(actor, "x", ["git"])
    await accounts.delete_team(root, "sre")
    assert await code(accounts, key) in {"credential.revoked", "user.inactive"}


async def test_a_key_of_an_admin_makes_service_keys_with_at_most_its_own_scopes(accounts: Accounts) -> None:
    root = await admin(accounts)
    await accounts.create_user(root, "root", role=Role.SYSTEM_ADMIN)
    boss = await accounts.actor("root")
    key, _ = await accounts.create_key(boss, "x", ["admin", "git"])
    actor = await accounts.authenticate(key)
    with pytest.raises(Forbidden):
        await accounts.create_key(actor, "x", ["skills:write"], user_id=(await accounts.service()).user_id)
    made, kept = await accounts.create_key(actor, "x", ["git"], user_id="system-cron")
    assert kept.parent == actor.key_id
    await accounts.revoke_key(boss, actor.key_id)
    assert await code(accounts, made) == "credential.revoked"


async def test_without_keys_there_are_none(database: Database, settings: Settings) -> None:
    bare = Accounts(AccountStore(database), settings, ADMIN_KEY)
    assert await code(bare, make_key()) == "credential.invalid"
    with pytest.raises(NotFound):
        await bare.create_key(await admin(bare), "x", ["chat"])
    assert PERSONAL < EVERYTHING
    with pytest.raises(Unauthenticated):
        await bare.authenticate("")
    await bare.close()
