"""Whom a front end names by a key with `act-as`, and how far that goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event

from llmos_lite.api.auth import given_by
from llmos_lite.core.accounts import accounts as module
from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.identities import FrontEndUser, clean_email, id_like
from llmos_lite.core.accounts.keys import ApiKeys
from llmos_lite.core.accounts.permissions import Actor, Role, Scope
from llmos_lite.engines.database import Database
from llmos_lite.errors import Forbidden, Invalid, LlmosError, NotFound
from llmos_lite.records.accounts import AccountStore
from llmos_lite.records.keys import KeyStore
from llmos_lite.records.schema import prepare
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import check_id

ADMIN_KEY = "llmos_0123abcd_" + "5f" * 32
WEBUI = FrontEndUser("openwebui", "5f2c", "Ann.Example@Example.org", "Ann%20Ex%C3%A4mple")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/rows.db")
    await prepare(database)
    yield database
    await database.close()


@pytest.fixture
async def accounts(database: Database, settings: Settings) -> AsyncIterator[Accounts]:
    accounts = Accounts(AccountStore(database), settings, ADMIN_KEY, keys=ApiKeys(KeyStore(database)))
    root = await accounts.authenticate(ADMIN_KEY)
    for team in ("sre", "hr"):
        await accounts.create_team(root, team)
        await accounts.ensure("alice")
        await accounts.set_member(root, team, "alice", Role.TEAM_ADMIN)
    yield accounts
    await accounts.close()


async def front_end(accounts: Accounts, *scopes: str, teams: list[str] | None = None) -> str:
    root = await accounts.authenticate(ADMIN_KEY)
    return (await accounts.create_key(root, "Open WebUI", ["act-as", *scopes], teams=teams or ["sre"]))[0]


async def code(accounts: Accounts, key: str, header: str = "", front: FrontEndUser | None = None) -> str:
    with pytest.raises(LlmosError) as caught:
        await accounts.authenticate(key, header, front=front)
    return caught.value.code


async def test_somebody_who_is_named_chats_as_a_plain_user_in_the_teams_of_the_key(accounts: Accounts) -> None:
    key = await front_end(accounts, "chat", "skills:write", "admin")
    actor = await accounts.authenticate(key, "alice")
    assert (actor.user_id, actor.role, dict(actor.teams)) == ("alice", Role.USER, {"sre": Role.USER})
    assert (set(actor.scopes), actor.delegated, actor.key_id) == ({Scope.CHAT}, True, key[6:14])
    for act in (
        accounts.create_key(actor, "x", ["chat"]),
        accounts.change_user(actor, "alice", {"name": "x"}),
        accounts.remove_member(actor, "sre", "alice"),
        accounts.team(actor, "sre"),
        accounts.identities(actor, "alice"),
    ):
        with pytest.raises((Forbidden, NotFound)):
            await act
    assert (await accounts.teams(actor)).items == []


async def test_a_key_that_lists_no_team_knows_none(accounts: Accounts) -> None:
    root = await accounts.authenticate(ADMIN_KEY)
    key, kept = await accounts.create_key(root, "x", ["act-as"])
    assert kept.teams == ()
    assert (await accounts.authenticate(key, "alice")).teams == {}
    with pytest.raises(NotFound, match="no team 'none'"):
        await accounts.create_key(root, "x", ["act-as"], teams=["none"])


async def test_nobody_is_named_who_is_more_than_a_user(accounts: Accounts) -> None:
    key = await front_end(accounts)
    root = await accounts.authenticate(ADMIN_KEY)
    await accounts.create_user(root, "boss", role=Role.SYSTEM_ADMIN, email="boss@example.org")
    for named in ("admin", "boss", "boss@example.org"):
        assert await code(accounts, key, named) == "delegate.refused"
    assert await code(accounts, key, "sre-cron") == "user.reserved"
    await accounts.add_identity(root, "boss", "openwebui", "1")
    assert await code(accounts, key, front=FrontEndUser("openwebui", "1")) == "delegate.refused"
    await accounts.change_user(root, "alice", {"active": False})
    assert await code(accounts, key, "alice") == "user.inactive"


async def test_without_naming_anybody_it_is_a_key_like_others(accounts: Accounts) -> None:
    actor = await accounts.authenticate(await front_end(accounts, "skills:read"))
    assert (actor.user_id, actor.delegated) == ("admin", False)


async def test_names_of_a_front_end_count_only_with_a_key_for_that(accounts: Accounts) -> None:
    alice = await accounts.actor("alice")
    plain, _ = await accounts.create_key(alice, "x", ["chat"])
    assert (await accounts.authenticate(plain, front=WEBUI)).user_id == "alice"
    assert await code(accounts, plain, "ann@example.org") == "scope.missing"
    assert (await accounts.authenticate(ADMIN_KEY, front=WEBUI)).user_id == "admin"
    root = await accounts.authenticate(ADMIN_KEY)
    await accounts.create_user(root, "boss", role=Role.SYSTEM_ADMIN)
    key, _ = await accounts.create_key(await accounts.actor("boss"), "x", ["act-as"])
    await accounts.change_user(root, "boss", {"role": "user"})
    assert await code(accounts, key, "alice") == "scope.missing"  # who made it has no right to it any more


async def test_open_webuis_headers_name_one_person_for_good(accounts: Accounts) -> None:
    key, root = await front_end(accounts), await accounts.authenticate(ADMIN_KEY)
    ann = await accounts.authenticate(key, front=WEBUI)
    account = await accounts.account(ann.user_id)
    assert (ann.user_id, account.name, account.email) == ("ann-example", "Ann Exämple", "ann.example@example.org")
    assert await accounts.identities(root, ann.user_id) == [("openwebui", "5f2c")]
    moved = replace(WEBUI, email="other@example.org")
    assert (await accounts.authenticate(key, front=moved)).user_id == ann.user_id
    assert (await accounts.authenticate(key, "ann.example@EXAMPLE.org ")).user_id == ann.user_id
    assert (await accounts.authenticate(key, "alice", front=WEBUI)).user_id == "alice"  # our own header wins


async def test_an_address_that_is_known_is_its_owner(accounts: Accounts) -> None:
    key, root = await front_end(accounts), await accounts.authenticate(ADMIN_KEY)
    await accounts.change_user(root, "alice", {"email": "ann.example@example.org"})
    assert (await accounts.authenticate(key, front=WEBUI)).user_id == "alice"
    await accounts.change_user(root, "alice", {"email": ""})
    assert (await accounts.authenticate(key, front=WEBUI)).user_id == "alice"  # by the id there
    await accounts.remove_identity(root, "alice", "openwebui", "5f2c")
    assert (await accounts.authenticate(key, front=WEBUI)).user_id == "ann-example"


async def test_somebody_new_gets_an_id_that_nobody_has(accounts: Accounts) -> None:
    key = await front_end(accounts)
    ids = [
        (await accounts.authenticate(key, email)).user_id
        for email in ("alice@one.org", "alice@two.org", "admin@one.org", "sre-cron@one.org", "...@one.org")
        if email != "...@one.org"
    ]
    assert ids == ["alice-2", "alice-3", "admin-2", "sre-cron-2"]
    nameless = FrontEndUser("openwebui", "9", "", "漢字")
    assert (await accounts.authenticate(key, front=nameless)).user_id == "user"
    assert (await accounts.authenticate(key, "new-one")).user_id == "new-one"


async def test_many_first_requests_at_once_make_one_person(accounts: Accounts) -> None:
    key = await front_end(accounts)
    named = await asyncio.gather(*(accounts.authenticate(key, front=WEBUI) for _ in range(20)))
    assert {actor.user_id for actor in named} == {"ann-example"}


async def test_where_nobody_is_made_by_being_named_nobody_is(
    accounts: Accounts, database: Database, settings: Settings
) -> None:
    key = await front_end(accounts)
    await accounts.close()
    closed = Accounts(
        AccountStore(database), replace(settings, create_users=False), ADMIN_KEY, keys=ApiKeys(KeyStore(database))
    )
    for header, front in (("new", None), ("new@example.org", None), ("", WEBUI)):
        assert await code(closed, key, header, front) == "user.unknown"
    assert (await closed.authenticate(key, "alice")).user_id == "alice"
    await closed.close()


async def test_somebody_who_was_named_before_costs_no_query(accounts: Accounts, database: Database) -> None:
    key = await front_end(accounts)
    for header, front in (("alice", None), ("", WEBUI)):
        await accounts.authenticate(key, header, front=front)
    await accounts.close()
    asked: list[object] = []
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *said: asked.append(said))
    for header, front in (("alice", None), ("", WEBUI)):
        await accounts.authenticate(key, header, front=front)
    assert asked == []


async def test_what_is_remembered_of_a_front_end_is_small_and_was_checked(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, long = await front_end(accounts), "x" * 60_000
    alice = await accounts.actor("alice")
    plain, _ = await accounts.create_key(alice, "x", ["chat"])
    ann = await accounts.authenticate(key, front=WEBUI)
    for front in (replace(WEBUI, name=long), replace(WEBUI, email=long)):
        assert (await accounts.authenticate(key, front=front)).user_id == ann.user_id
    for front in (FrontEndUser("openwebui", long), FrontEndUser(long, "5")):
        assert (await accounts.authenticate(plain, front=front)).user_id == "alice"
        assert (await accounts.authenticate(ADMIN_KEY, front=front)).user_id == "admin"
        assert (await accounts.authenticate(key, "alice", front=front)).user_id == "alice"
        assert await code(accounts, key, front=front) == "identity.invalid"
    root = await accounts.authenticate(ADMIN_KEY)
    await accounts.create_user(root, "boss", role=Role.SYSTEM_ADMIN)
    former, _ = await accounts.create_key(await accounts.actor("boss"), "x", ["act-as"])
    await accounts.change_user(root, "boss", {"role": "user"})
    assert (await accounts.authenticate(former, front=FrontEndUser("openwebui", long))).user_id == "boss"
    assert len(repr((accounts._actors.keys(), accounts._delegates._named))) < 2000
    monkeypatch.setattr(module, "MOST_NAMED", len(accounts._actors))
    oldest, *others = accounts._actors
    await accounts.authenticate(plain, client="192.0.2.1")
    assert list(accounts._actors)[:-1] == others
    assert oldest not in accounts._actors


async def test_of_two_first_requests_for_one_person_the_second_finds_the_first(accounts: Accounts) -> None:
    key = await front_end(accounts)
    both = (replace(WEBUI, email=email) for email in ("a@example.org", "b@example.org"))
    await asyncio.gather(*(accounts.authenticate(key, front=front) for front in both))
    holder = await accounts._store.user_of_identity("openwebui", "5f2c")
    assert (await accounts.authenticate(key, front=WEBUI)).user_id == holder


async def test_a_change_of_identities_counts_though_whoever_asked_for_it_went_away(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, root = await front_end(accounts), await accounts.authenticate(ADMIN_KEY)
    await accounts.create_user(root, "bob")
    first = (await accounts.authenticate(key, front=WEBUI)).user_id
    changed = AccountStore.remove_identity, AccountStore.add_identity

    async def removed(store: AccountStore, provider: str, subject: str, user_id: str) -> bool:
        await changed[0](store, provider, subject, user_id)
        raise asyncio.CancelledError

    async def added(store: AccountStore, provider: str, subject: str, user_id: str) -> bool:
        await changed[1](store, provider, subject, user_id)
        raise asyncio.CancelledError

    with monkeypatch.context() as cut:
        cut.setattr(AccountStore, "remove_identity", removed)
        with pytest.raises(asyncio.CancelledError):
            await accounts.remove_identity(root, first, "openwebui", "5f2c")
    other = replace(WEBUI, email="")
    again = (await accounts.authenticate(key, front=other)).user_id
    assert again != first
    await accounts.remove_identity(root, again, "openwebui", "5f2c")
    await accounts._store.add_identity("openwebui", "5f2c", first)
    assert (await accounts.authenticate(key, front=other)).user_id == first
    await accounts._store.remove_identity("openwebui", "5f2c", first)  # as another process does: still remembered
    monkeypatch.setattr(AccountStore, "add_identity", added)
    with pytest.raises(asyncio.CancelledError):
        await accounts.add_identity(root, "bob", "openwebui", "5f2c")
    assert (await accounts.authenticate(key, front=other)).user_id == "bob"


HOSTILE = [
    "", "@", "a@", "@b", "a b@c", "a@b@c", "a@b..c", "ä@example.org", "a@exämple.org", "a@b\n", "a@b\x00",
    "x" * 65 + "@b", "a@" + "b" * 300, "ﬀ@example.org", "'; DROP TABLE users; --@x",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
async def test_what_is_no_address_names_nobody(accounts: Accounts, text: str) -> None:
    key = await front_end(accounts)
    if text.strip() and "@" in text and text.strip() != "a@b":
        assert await code(accounts, key, text) == "email.invalid"
    for subject in ("", "x" * 256, "a\nb"):
        assert await code(accounts, key, front=FrontEndUser("openwebui", subject)) == "identity.invalid"


@given(st.text(max_size=80), st.integers(1, 10**6))
def test_an_id_made_of_anything_is_an_id(text: str, number: int) -> None:
    assert check_id(id_like(text, number), "user")


@given(st.emails())
def test_an_address_is_the_same_however_it_is_written(email: str) -> None:
    try:
        clean = clean_email(email)
    except Invalid:
        return
    assert clean == clean_email(f"  {email.upper()} ") == clean_email(clean)


# Headers


def headers(*given: tuple[str, str]) -> dict[str, object]:
    return {"headers": [(name.lower().encode(), value.encode()) for name, value in given]}


def test_what_the_headers_say() -> None:
    said = given_by(
        headers(
            ("Authorization", "Bearer k"), ("X-OpenWebUI-User-Id", "5"), ("X-OpenWebUI-User-Email", "a@b"),
            ("X-OpenWebUI-User-Role", "admin"), ("X-OpenWebUI-Chat-Id", "7"),
        )
    )  # fmt: skip
    assert (said.key, said.user, said.front) == ("k", "", FrontEndUser("openwebui", "5", "a@b", ""))
    assert given_by(headers(("X-OpenWebUI-User-Email", "a@b"))).front is None


@pytest.mark.parametrize("twice", [("alice", "root"), ("alice", "alice"), ("", "alice"), ("alice", " ")])
def test_a_name_that_is_there_twice_is_refused(twice: tuple[str, str]) -> None:
    with pytest.raises(Invalid):
        given_by(headers(*(("X-LLMOS-User", name) for name in twice)))


def test_an_actor_shows_no_secret() -> None:
    assert "llmos_" not in repr(Actor("alice", key_id="0123abcd"))
