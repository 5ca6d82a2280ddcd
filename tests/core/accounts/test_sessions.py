"""Sessions and tokens: they begin, go on, and end for good."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_lite.core.accounts.permissions import PERSONAL, Scope
from llmos_lite.core.accounts.sessions import FRESH_SECONDS, TOKEN_SECONDS, WEB_SECONDS, Sessions, TokenPair, Where
from llmos_lite.core.accounts.tokens import SECONDS, Tokens
from llmos_lite.engines.database import Database
from llmos_lite.engines.token_keys import TokenKeys
from llmos_lite.errors import NotFound, Unauthenticated
from llmos_lite.records.accounts import Account, AccountStore
from llmos_lite.records.schema import prepare
from llmos_lite.records.sign_in import SignInStore

HERE = Where("127.0.0.1", "curl/8")
ISSUER = "http://llmos.example"


class Clock:
    """Milliseconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(tmp_path: Path, clock: Clock) -> Tokens:
    return Tokens(TokenKeys(tmp_path / "tokens", clock), ISSUER, clock)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/rows.db")
    await prepare(database)
    store = AccountStore(database)
    for name in ("ana", "ben"):
        await store.add_user(Account(user_id=name, created=1))
    yield database
    await database.close()


@pytest.fixture
def sessions(database: Database, tokens: Tokens, clock: Clock) -> Sessions:
    return Sessions(SignInStore(database), tokens, clock)


async def begun(sessions: Sessions, user_id: str = "ana") -> TokenPair:
    return await sessions.begin_tokens(user_id, "password", HERE, PERSONAL)


async def test_a_browser_is_known_by_its_cookie_until_it_signs_out(sessions: Sessions) -> None:
    secret = await sessions.begin_web("ana", "password", HERE)
    for _ in range(2):  # from the rows, then from memory
        found = await sessions.of_cookie(secret)
        assert found is not None
        assert (found.user_id, found.client, found.agent) == ("ana", "127.0.0.1", "curl/8")
    assert await sessions.end(secret) is not None
    assert await sessions.of_cookie(secret) is None
    assert await sessions.end(secret) is None


async def test_a_browsers_session_ends_by_itself(sessions: Sessions, clock: Clock) -> None:
    secret = await sessions.begin_web("ana", "password", HERE)
    assert await sessions.of_cookie(secret)
    clock.pass_(WEB_SECONDS)
    assert await sessions.of_cookie(secret) is None
    await sessions.begin_web("ana", "password", HERE)
    assert len(await sessions.of("ana")) == 1


async def test_a_session_outlives_the_process(
    sessions: Sessions, database: Database, tokens: Tokens, clock: Clock
) -> None:
    secret = await sessions.begin_web("ana", "password", HERE)
    again = Sessions(SignInStore(database), tokens, clock)
    assert await again.of_cookie(secret)


async def test_nothing_in_the_rows_signs_anybody_in(sessions: Sessions, database: Database) -> None:
    secret = await sessions.begin_web("ana", "password", HERE)
    (row,) = await SignInStore(database).of("ana")
    assert secret.partition(".")[2] not in repr(row)
    for crafted in (f"{row.session_id}.{row.digest}", row.digest, row.session_id, f"{row.session_id}." + "A" * 43):
        assert await sessions.of_cookie(crafted) is None


async def test_a_client_gets_ever_new_pairs(sessions: Sessions, tokens: Tokens) -> None:
    pair = await begun(sessions)
    seen = {pair.refresh_token}
    for _ in range(3):
        found, pair = await sessions.refresh(pair.refresh_token)
        assert found.user_id == "ana"
        subject = tokens.subject(pair.access_token)
        assert subject is not None
        assert (subject.user_id, subject.scopes, subject.session_id) == ("ana", PERSONAL, pair.session_id)
        seen.add(pair.refresh_token)
    assert len(seen) == 4


async def test_a_token_that_comes_twice_ends_the_whole_session(sessions: Sessions, tokens: Tokens) -> None:
    first = await begun(sessions)
    other = await begun(sessions)
    _, second = await sessions.refresh(first.refresh_token)
    with pytest.raises(Unauthenticated) as reused:
        await sessions.refresh(first.refresh_token)
    assert reused.value.code == "session.reused"
    with pytest.raises(Unauthenticated) as ended:
        await sessions.refresh(second.refresh_token)
    assert ended.value.code == "session.ended"
    assert tokens.subject(first.access_token) is None
    assert tokens.subject(second.access_token) is None
    assert tokens.subject(other.access_token)


async def test_of_two_at_once_one_wins_and_then_nobody(sessions: Sessions) -> None:
    pair = await begun(sessions)
    results = await asyncio.gather(*(sessions.refresh(pair.refresh_token) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(result, tuple) for result in results) <= 1
    assert await sessions.of("ana") == []


async def test_a_clients_session_ends_by_itself(sessions: Sessions, clock: Clock) -> None:
    pair = await begun(sessions)
    clock.pass_(TOKEN_SECONDS)
    with pytest.raises(Unauthenticated):
        await sessions.refresh(pair.refresh_token)


async def test_a_cookie_is_no_refresh_token_and_the_other_way_round(sessions: Sessions) -> None:
    cookie, pair = await sessions.begin_web("ana", "password", HERE), await begun(sessions)
    with pytest.raises(Unauthenticated):
        await sessions.refresh(cookie)
    assert await sessions.of_cookie(pair.refresh_token) is None
    assert await sessions.of_cookie(cookie)


async def test_ones_own_sessions_are_listed_and_ended(sessions: Sessions, tokens: Tokens) -> None:
    pair, cookie = await begun(sessions), await sessions.begin_web("ana", "link", HERE)
    assert [one.kind for one in await sessions.of("ana")] in (["web", "token"], ["token", "web"])
    with pytest.raises(NotFound):
        await sessions.end_one("ben", pair.session_id)
    await sessions.end_one("ana", pair.session_id)
    assert tokens.subject(pair.access_token) is None
    kept = await sessions.of_cookie(cookie)
    assert kept is not None
    await begun(sessions)
    assert await sessions.end_all("ana", but=kept.session_id) == 1
    assert await sessions.of_cookie(cookie)
    assert await sessions.end_all("ana") == 1
    assert await sessions.of_cookie(cookie) is None


async def test_only_a_sign_in_by_link_or_provider_is_fresh_and_not_for_long(sessions: Sessions, clock: Clock) -> None:
    fresh = await sessions.of_cookie(await sessions.begin_web("ana", "link", HERE))
    other = await sessions.of_cookie(await sessions.begin_web("ana", "password", HERE))
    assert fresh is not None
    assert other is not None
    assert (sessions.is_fresh(fresh), sessions.is_fresh(other)) == (True, False)
    clock.pass_(FRESH_SECONDS)
    assert not sessions.is_fresh(fresh)


async def test_an_access_token_holds_for_ten_minutes(sessions: Sessions, tokens: Tokens, clock: Clock) -> None:
    pair = await begun(sessions)
    clock.pass_(SECONDS - 1)
    assert tokens.subject(pair.access_token)
    clock.pass_(1)
    assert tokens.subject(pair.access_token) is None
    assert tokens.subject(pair.access_token) is None


def test_a_token_of_another_instance_does_not_hold(tmp_path: Path, clock: Clock) -> None:
    keys = TokenKeys(tmp_path / "tokens", clock)
    token = Tokens(keys, "http://other.example", clock).issue("ana", "s", PERSONAL)
    assert Tokens(keys, ISSUER, clock).subject(token) is None


@pytest.mark.parametrize("change", [{"aud": "x"}, {"exp": "9999999999"}, {"sub": 7}, {"scope": None}, {"sid": ["x"]}])
def test_claims_that_do_not_hold(tmp_path: Path, clock: Clock, change: dict[str, str | int]) -> None:
    keys = TokenKeys(tmp_path / "tokens", clock)
    tokens = Tokens(keys, ISSUER, clock)
    body = tokens.issue("ana", "s", PERSONAL).split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    assert tokens.subject(keys.sign(claims))
    assert tokens.subject(keys.sign({**claims, **change})) is None


def test_a_scope_that_there_is_not_counts_for_nothing(tmp_path: Path, clock: Clock) -> None:
    keys = TokenKeys(tmp_path / "tokens", clock)
    tokens = Tokens(keys, ISSUER, clock)
    token = tokens.issue("ana", "s", [Scope.CHAT])
    body = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    found = tokens.subject(keys.sign({**claims, "scope": "chat root admin:all"}))
    assert found is not None
    assert found.scopes == {Scope.CHAT}


def test_two_tokens_that_share_a_beginning_are_two(tokens: Tokens) -> None:
    """A gateway that kept tokens by their first twenty characters took one for the other."""
    one, two = (tokens.issue(user, "s", PERSONAL) for user in ("ana", "ben"))
    assert one[:40] == two[:40]
    assert [found.user_id for found in (tokens.subject(one), tokens.subject(two)) if found] == ["ana", "ben"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=100))
async def test_any_text_is_no_session(sessions: Sessions, text: str) -> None:
    assert await sessions.of_cookie(text) is None
    assert await sessions.end(text) is None
    with pytest.raises(Unauthenticated):
        await sessions.refresh(text)
