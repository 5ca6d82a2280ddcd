"""Tokens for URLs: what they open, and what they never do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.capabilities import Capabilities, path_of
from llmos_lite.core.accounts.keys import DAY, ApiKeys, make_key
from llmos_lite.core.accounts.permissions import EVERYTHING, LINKED, Actor, Role, Scope, Verb, allowed, permit
from llmos_lite.core.limits.subjects import callers
from llmos_lite.engines.database import Database
from llmos_lite.errors import Forbidden, Invalid, LlmosError, NotFound
from llmos_lite.records.accounts import AccountStore
from llmos_lite.records.keys import KeyStore
from llmos_lite.records.schema import prepare
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import SYSTEM, Access, VolumeRef, access

ADMIN_KEY = "llmos_0123abcd_" + "5f" * 32
KNOWN_FORM = "llmos_00000000_" + "ab" * 32
ALICE, BOB = VolumeRef.user("alice"), VolumeRef.user("bob")
SRE, HR = VolumeRef.team("sre"), VolumeRef.team("hr")


class Clock:
    now = 1_764_720_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def accounts(tmp_path: Path, settings: Settings, clock: Clock) -> AsyncIterator[Accounts]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/rows.db")
    await prepare(database)
    accounts = Accounts(AccountStore(database), settings, ADMIN_KEY, keys=ApiKeys(KeyStore(database), clock))
    root = await accounts.authenticate(ADMIN_KEY)
    for team, member, role in (
        ("sre", "alice", Role.TEAM_ADMIN),
        ("ops", "alice", Role.USER),
        ("hr", "bob", Role.USER),
    ):
        await accounts.create_team(root, team)
        await accounts.ensure(member)
        await accounts.set_member(root, team, member, role)
    yield accounts
    await accounts.close()
    await database.close()


@pytest.fixture
def capabilities(accounts: Accounts) -> Capabilities:
    return Capabilities(accounts)


async def code(capabilities: Capabilities, token: str, purpose: str = "catalog") -> str:
    with pytest.raises(LlmosError) as caught:
        await capabilities.actor(token, purpose)
    return caught.value.code


def readable(actor: Actor) -> set[VolumeRef]:
    """Return what an actor may do anything with, and check that both locks agree, and that nothing more is open."""
    found = set()
    for ref in (ALICE, BOB, SRE, VolumeRef.team("ops"), HR, SYSTEM):
        verbs = {verb for verb in Verb if allowed(actor, verb, ref)}
        assert verbs <= LINKED
        assert access(actor.principal_for(ref), ref) is (Access.READ if verbs else Access.NONE)
        assert access(actor.principal, ref) is access(actor.principal_for(ref), ref)
        found |= {ref} if verbs else set()
    assert not any(allowed(actor, verb) for verb in Verb)
    return found


async def test_a_token_reads_what_its_owner_reads(accounts: Accounts, capabilities: Capabilities) -> None:
    alice = await accounts.actor("alice")
    token, key = await capabilities.create(alice, "catalog", "  My laptop ")
    assert (key.name, key.scopes, key.teams, key.purpose) == ("My laptop", ("skills:read",), None, "catalog")
    actor = await capabilities.actor(token, "catalog", client="10.0.0.1")
    assert (actor.user_id, actor.scopes, actor.client) == ("alice", {Scope.SKILLS_READ}, "10.0.0.1")
    assert actor.volume == ALICE
    assert readable(actor) == {ALICE, SRE, VolumeRef.team("ops"), SYSTEM}
    assert callers(actor) == ["user:alice", f"key:{key.key_id}"]
    assert not actor.is_admin
    assert path_of(token, key) == f"/c/{token}"


async def test_a_token_for_a_team_reads_that_team_only(accounts: Accounts, capabilities: Capabilities) -> None:
    token, key = await capabilities.create(await accounts.actor("alice"), "catalog", "x", team_id="sre")
    actor = await capabilities.actor(token, "catalog")
    assert readable(actor) == {SRE, SYSTEM}
    assert (actor.volume, set(actor.teams)) == (SRE, {"sre"})
    assert path_of(token, key) == f"/c/{token}/t/sre"


async def test_the_token_of_an_admin_has_none_of_an_admins_rights(
    accounts: Accounts, capabilities: Capabilities
) -> None:
    root = await accounts.authenticate(ADMIN_KEY)
    actor = await capabilities.actor((await capabilities.create(root, "mcp", "x"))[0], "mcp")
    assert not actor.is_admin
    assert readable(actor) == {SYSTEM}
    assert access(actor.principal_for(VolumeRef.user("admin")), VolumeRef.user("admin")) is Access.READ
    for verb, ref in ((Verb.OVERSEE, None), (Verb.WRITE_SKILLS, VolumeRef.user("admin")), (Verb.MANAGE_KEYS, None)):
        with pytest.raises(Forbidden) as caught:
            permit(actor, verb, ref)
        assert caught.value.code == "link.refused"
    with pytest.raises(Forbidden):
        await capabilities.create(actor, "mcp", "x")
    with pytest.raises(Forbidden):
        await accounts.create_key(actor, "x", ["skills:read"])
    with pytest.raises(NotFound):
        permit(actor, Verb.READ_SKILLS, SRE)


@pytest.mark.parametrize("scope", list(Scope))
async def test_even_with_every_scope_a_link_only_reads(scope: Scope) -> None:
    for role in Role:
        actor = Actor("alice", role, {"sre": role}, EVERYTHING | {scope}, reads=frozenset({SRE}))
        for verb in set(Verb) - LINKED:
            assert not any(allowed(actor, verb, ref) for ref in (ALICE, SRE, HR, SYSTEM, None))
        assert access(actor.principal_for(SRE), SRE) is Access.READ


async def test_a_token_is_no_key_and_a_key_no_token(accounts: Accounts, capabilities: Capabilities) -> None:
    alice = await accounts.actor("alice")
    catalog, _ = await capabilities.create(alice, "catalog", "x")
    mcp, _ = await capabilities.create(alice, "mcp", "x")
    key, _ = await accounts.create_key(alice, "x", ["skills:read"])
    assert await code(capabilities, mcp, "catalog") == "credential.purpose"
    assert await code(capabilities, catalog, "mcp") == "credential.purpose"
    assert await code(capabilities, key) == "credential.purpose"
    assert await code(capabilities, ADMIN_KEY) == "credential.invalid"
    for token in (catalog, mcp):
        with pytest.raises(LlmosError) as caught:
            await accounts.authenticate(token)
        assert caught.value.code == "credential.purpose"
    assert (await accounts.authenticate(key)).user_id == "alice"


@pytest.mark.parametrize(
    "token",
    ["", "x", "llmos_", KNOWN_FORM, "llmos_0123abcd_", "llmos_%_%", "../..", "llmos_0123abcd_" + "0" * 64, "\ud800"],
)  # fmt: skip
async def test_a_crafted_token_opens_nothing(capabilities: Capabilities, token: str) -> None:
    assert await code(capabilities, token) == "credential.invalid"


async def test_half_a_token_opens_nothing(accounts: Accounts, capabilities: Capabilities) -> None:
    token, _ = await capabilities.create(await accounts.actor("alice"), "catalog", "x")
    other, _ = await capabilities.create(await accounts.actor("bob"), "catalog", "x")
    for wrong in (token[:-1], token + "0", token[:15] + other[15:], token.upper(), token[:-1] + "g", f" {token}"):
        assert await code(capabilities, wrong) == "credential.invalid"


async def test_a_token_ends_as_keys_do(accounts: Accounts, capabilities: Capabilities, clock: Clock) -> None:
    alice = await accounts.actor("alice")
    token, key = await capabilities.create(alice, "catalog", "x")
    short, _ = await capabilities.create(alice, "catalog", "x", days=1)
    assert [one.purpose for one in (await accounts.list_keys(alice)).items] == ["catalog", "catalog"]
    await capabilities.actor(token, "catalog")
    assert await accounts.revoke_key(alice, key.key_id) == [key.key_id]
    assert await code(capabilities, token) == "credential.revoked"
    clock.now += DAY
    assert await code(capabilities, short) == "credential.expired"


async def test_a_token_follows_its_owner(accounts: Accounts, capabilities: Capabilities) -> None:
    root, alice = await accounts.authenticate(ADMIN_KEY), await accounts.actor("alice")
    whole, _ = await capabilities.create(alice, "catalog", "x")
    team, _ = await capabilities.create(alice, "catalog", "x", team_id="ops")
    assert "ops" in (await capabilities.actor(team, "catalog")).teams
    await accounts.remove_member(root, "ops", "alice")
    assert await code(capabilities, team) == "credential.team"
    assert readable(await capabilities.actor(whole, "catalog")) == {ALICE, SRE, SYSTEM}
    await accounts.change_user(root, "alice", {"active": False})
    assert await code(capabilities, whole) == "credential.revoked"


async def test_what_makes_a_token_hands_on_no_more_than_it_has(
    accounts: Accounts, capabilities: Capabilities, clock: Clock
) -> None:
    alice = await accounts.actor("alice")
    chats = await accounts.authenticate((await accounts.create_key(alice, "x", ["chat"]))[0])
    with pytest.raises(Forbidden) as caught:
        await capabilities.create(chats, "mcp", "x")
    assert caught.value.code == "key.too_much"
    bound, _ = await accounts.create_key(alice, "x", ["skills:read"], teams=["sre"], days=2)
    maker = await accounts.authenticate(bound)
    with pytest.raises(Forbidden):
        await capabilities.create(maker, "mcp", "x")
    with pytest.raises(NotFound):
        await capabilities.create(maker, "mcp", "x", team_id="ops")
    token, made = await capabilities.create(maker, "mcp", "x", team_id="sre")
    assert (made.parent, made.expires) == (maker.key_id, clock.now + 2 * DAY)
    await accounts.revoke_key(alice, maker.key_id)
    assert await code(capabilities, token, "mcp") == "credential.revoked"


async def test_what_makes_no_sense_is_refused(accounts: Accounts, capabilities: Capabilities) -> None:
    alice = await accounts.actor("alice")
    for purpose in ("", "admin", "MCP", "catalog "):
        with pytest.raises(Invalid):
            await capabilities.create(alice, purpose, "x")
        with pytest.raises(Invalid):
            await capabilities.actor(make_key(), purpose)
    with pytest.raises(Invalid):
        await capabilities.create(alice, "mcp", " \n")
    for team in ("hr", "none"):
        with pytest.raises(NotFound):
            await capabilities.create(alice, "mcp", "x", team_id=team)
    with pytest.raises(Invalid):
        await capabilities.create(alice, "mcp", "x", team_id="../x")
    with pytest.raises(Forbidden):
        await capabilities.create(await accounts.actor("sre-cron"), "mcp", "x")
