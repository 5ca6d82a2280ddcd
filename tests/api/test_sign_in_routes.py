"""Signing in over HTTP, by everything that lets a person in, and by what must not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from asgi_client import Answer, Client
from oidc_server import OidcServer, oidc_server
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from llmos_lite.api.app import create_app
from llmos_lite.bootstrap import Services, open_services
from llmos_lite.core.accounts import passwords
from llmos_lite.core.accounts.permissions import Role
from llmos_lite.records.audit import AuditFilter
from llmos_lite.settings import Settings

HERE = {"Origin": "http://localhost"}
WORDS = "tall otter window lamp"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash with little memory; `test_passwords` looks at the real parameters."""
    hasher = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
    monkeypatch.setattr(passwords, "_hasher", lambda: hasher)


@pytest.fixture
async def ana(client: Client, services: Services) -> Client:
    """Somebody with a password, and a client that nobody is signed in with."""
    await services.accounts.ensure("ana")
    await services.entrance._sign_in.set_password("ana", WORDS)
    return client.without_credential()


async def tokens(client: Client, password: str = WORDS, user: str = "ana", **more: object) -> Answer:
    return await client.request("POST", "/sign-in/password", json_body={"user": user, "password": password, **more})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def form(client: Client, headers: dict[str, str], **fields: str) -> Answer:
    sent = {"content-type": "application/x-www-form-urlencoded"} | headers
    return await client.request("POST", "/sign-in", content=urlencode(fields).encode(), headers=sent)


def cookie_of(answer: Answer) -> dict[str, str]:
    """Return the cookie that an answer sets, as a browser sends it back."""
    (cookie,) = [value for name, value in answer.raw if name == "set-cookie" and "Max-Age=0" not in value]
    assert "HttpOnly" in cookie
    return {"Cookie": cookie.split(";")[0]}


async def test_a_password_gets_tokens_that_act_as_the_person(ana: Client) -> None:
    given = (await tokens(ana)).json()
    assert (given["token_type"], given["expires_in"], given["user_id"]) == ("Bearer", 600, "ana")
    me = (await ana.get("/me", headers=bearer(given["access_token"]))).json()
    assert me["user_id"] == "ana"
    assert (await ana.get("/users", headers=bearer(given["access_token"]))).status == 403


async def test_a_refresh_token_works_once(ana: Client) -> None:
    first = (await tokens(ana)).json()
    second = await ana.request("POST", "/sign-in/refresh", json_body={"refresh_token": first["refresh_token"]})
    assert second.status == 200
    again = await ana.request("POST", "/sign-in/refresh", json_body={"refresh_token": first["refresh_token"]})
    assert (again.status, again.json()["code"]) == (401, "session.reused")
    for token in (first["access_token"], second.json()["access_token"]):
        assert (await ana.get("/me", headers=bearer(token))).status == 401


async def test_signing_a_client_out_ends_its_tokens(ana: Client) -> None:
    given = (await tokens(ana)).json()
    for _ in range(2):
        ended = await ana.request("POST", "/sign-in/end", json_body={"refresh_token": given["refresh_token"]})
        assert ended.status == 204
    assert (await ana.get("/me", headers=bearer(given["access_token"]))).status == 401


async def test_a_token_has_at_most_the_scopes_that_were_asked_for(ana: Client) -> None:
    given = (await tokens(ana, scopes=["skills:read", "admin"])).json()
    headers = bearer(given["access_token"])
    assert (await ana.get("/skills", headers=headers)).status == 200
    assert (await ana.get("/traces", headers=headers)).json()["code"] == "scope.missing"
    assert (await ana.get("/users", headers=headers)).status == 403


async def test_wrong_names_and_wrong_passwords_look_alike(ana: Client, services: Services) -> None:
    await services.accounts.ensure("idle")
    await services.entrance._sign_in.set_password("idle", WORDS)
    await services.accounts.ensure("admin")
    await services.accounts._store.change_user("idle", {"active": False})
    services.accounts.forget("idle")
    said = [
        await tokens(ana, "wrong words entirely"),
        await tokens(ana, WORDS, user="nobody"),
        await tokens(ana, WORDS, user="idle"),
        await tokens(ana, "x", user="no@body.example"),
        await tokens(ana, WORDS, user="../../etc"),
    ]
    bodies = [{key: value for key, value in answer.json().items() if key != "request_id"} for answer in said]
    assert [answer.status for answer in said] == [401] * 5
    assert bodies[0]["code"] == "sign_in.failed"
    assert all(body == bodies[0] for body in bodies)


async def test_guessing_gets_slow_and_the_owner_still_comes_in_elsewhere(ana: Client) -> None:
    answers = [await tokens(ana, f"guess number {number}") for number in range(6)]
    assert answers[-1].status == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert (await tokens(ana, WORDS)).status == 429


async def test_an_address_signs_in_as_well(ana: Client, services: Services) -> None:
    await services.accounts._store.change_user("ana", {"email": "ana@example.org"})
    services.accounts.forget("ana")
    assert (await tokens(ana, WORDS, user=" Ana@Example.org ")).json()["user_id"] == "ana"


async def test_deactivation_ends_everything_with_the_next_request(ana: Client, client: Client) -> None:
    given = (await tokens(ana)).json()
    cookie = cookie_of(await form(ana, HERE, user="ana", password=WORDS))
    assert (await ana.get("/me", headers=cookie)).status == 200
    assert (await client.request("PATCH", "/users/ana", json_body={"active": False})).status == 200
    assert (await ana.get("/me", headers=cookie)).status in {401, 403}
    assert (await ana.get("/me", headers=bearer(given["access_token"]))).status in {401, 403}
    assert (await client.request("PATCH", "/users/ana", json_body={"active": True})).status == 200
    assert (await ana.get("/me", headers=cookie)).status == 401
    refreshed = await ana.request("POST", "/sign-in/refresh", json_body={"refresh_token": given["refresh_token"]})
    assert refreshed.status == 401


async def test_a_browser_signs_in_and_out(ana: Client) -> None:
    answer = await form(ana, HERE, user="ana", password=WORDS)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = cookie_of(answer)
    assert b"Signed in as ana" in (await ana.get("/", headers=cookie)).body
    listed = (await ana.get("/me/sessions", headers=cookie)).json()
    assert [(one["kind"], one["method"], one["current"]) for one in listed] == [("web", "password", True)]
    out = await ana.request("POST", "/sign-out", headers=cookie | HERE)
    assert out.status == 303
    assert (await ana.get("/me", headers=cookie)).status == 401


async def test_a_session_is_never_one_that_somebody_else_chose(ana: Client) -> None:
    """Session fixation: whatever cookie a browser carries when it signs in, it gets another."""
    planted = cookie_of(await form(ana, HERE, user="ana", password=WORDS))
    answer = await form(ana, HERE | planted, user="ana", password=WORDS)
    assert cookie_of(answer) != planted
    assert (await ana.get("/me", headers=planted)).status == 401
    invented = {"Cookie": "llmos_session=01KBFW2Q7XN4T9C2Y4R8M0D6ZV." + "A" * 43}
    assert cookie_of(await form(ana, HERE | invented, user="ana", password=WORDS)) != invented
    assert (await ana.get("/me", headers=invented)).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://evil.example/#@localhost"},
        {},
    ],
)
async def test_another_site_cannot_use_a_browsers_session(ana: Client, headers: dict[str, str]) -> None:
    cookie = cookie_of(await form(ana, HERE, user="ana", password=WORDS))
    for method, path, body in (
        ("POST", "/chat", {"message": "hi"}),
        ("POST", "/keys", {"name": "x", "scopes": ["chat"]}),
        ("PUT", "/me/password", {"current": WORDS, "new": "quite another set of words"}),
        ("DELETE", "/me/sessions/01KBFW2Q7XN4T9C2Y4R8M0D6ZV", None),
    ):
        answer = await ana.request(method, path, json_body=body, headers=cookie | headers)
        assert (answer.status, answer.json()["code"]) == (403, "request.cross_site")
    assert (await form(ana, cookie | headers, user="ana", password=WORDS)).status == 403


async def test_a_link_lets_somebody_set_a_password_once(client: Client, services: Services) -> None:
    stranger = client.without_credential()
    await services.accounts.ensure("ben")
    made = (await client.request("POST", "/users/ben/sign-in-link")).json()
    assert made["link"].endswith(f"/sign-in?token={made['token']}")
    cookie = cookie_of(await form(stranger, HERE, token=made["token"])) | HERE
    assert (await form(stranger, HERE, token=made["token"])).status == 401
    weak = await stranger.request("PUT", "/me/password", json_body={"new": "password1234"}, headers=cookie)
    assert (weak.status, weak.json()["code"]) == (400, "password.weak")
    assert (await stranger.request("PUT", "/me/password", json_body={"new": WORDS}, headers=cookie)).status == 204
    assert (await tokens(stranger, WORDS, user="ben")).status == 200


async def test_a_new_password_needs_the_old_one_and_ends_other_sessions(ana: Client) -> None:
    given = (await tokens(ana)).json()
    cookie = cookie_of(await form(ana, HERE, user="ana", password=WORDS)) | HERE
    new = "seven quiet rivers north"
    wrong = await ana.request("PUT", "/me/password", json_body={"current": "no", "new": new}, headers=cookie)
    assert (wrong.status, wrong.json()["code"]) == (401, "password.wrong")
    changed = await ana.request("PUT", "/me/password", json_body={"current": WORDS, "new": new}, headers=cookie)
    assert changed.status == 204
    assert (await ana.get("/me", headers=cookie)).status == 200
    assert (await ana.get("/me", headers=bearer(given["access_token"]))).status == 401
    assert (await tokens(ana, new)).status == 200


async def test_a_key_sets_no_password_and_signs_nobody_in(ana: Client, services: Services) -> None:
    boss = await services.accounts.actor("ana")
    key, _ = await services.accounts.create_key(boss, "x", ["chat"])
    refused = await ana.request(
        "PUT", "/me/password", json_body={"new": "a whole new set of words"}, headers=bearer(key)
    )
    assert refused.status == 403
    assert (await form(ana, HERE, key=key)).status == 401


async def test_sessions_of_others_are_none_of_ones_business(ana: Client, services: Services) -> None:
    mine = (await tokens(ana)).json()
    await services.accounts.ensure("eve")
    await services.entrance._sign_in.set_password("eve", WORDS)
    eve = bearer((await tokens(ana, user="eve")).json()["access_token"])
    theirs = (await ana.get("/me/sessions", headers=bearer(mine["access_token"]))).json()[0]["session_id"]
    foreign = await ana.request("DELETE", f"/me/sessions/{theirs}", headers=eve)
    missing = await ana.request("DELETE", "/me/sessions/01KBFW2Q7XN4T9C2Y4R8M0D6ZV", headers=eve)
    assert foreign.status == missing.status == 404
    assert foreign.json()["code"] == missing.json()["code"] == "session.unknown"
    own = await ana.request("DELETE", f"/me/sessions/{theirs}", headers=bearer(mine["access_token"]))
    assert own.status == 204
    assert (await ana.get("/me", headers=bearer(mine["access_token"]))).status == 401


async def test_keys_of_tokens_are_published_and_change(ana: Client, client: Client) -> None:
    given = (await tokens(ana)).json()
    before = (await ana.get("/.well-known/jwks.json")).json()["keys"]
    kid = (await client.request("POST", "/sign-in/rotate")).json()["kid"]
    after = (await ana.get("/.well-known/jwks.json")).json()["keys"]
    assert after[0]["kid"] == kid
    assert before[0] in after
    assert all("d" not in key for key in after)
    assert (await ana.get("/me", headers=bearer(given["access_token"]))).status == 200
    assert (await ana.request("POST", "/sign-in/rotate", headers=bearer(given["access_token"]))).status == 403


async def test_only_a_system_admin_makes_links(ana: Client, client: Client) -> None:
    headers = bearer((await tokens(ana)).json()["access_token"])
    assert (await ana.request("POST", "/users/ana/sign-in-link", headers=headers)).status == 403
    assert (await client.request("POST", "/users/nobody/sign-in-link")).status == 404
    assert (await client.request("POST", "/users/team-sre-cron/sign-in-link")).status in {403, 404}


# -- a company's own provider ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcServer]:
    with oidc_server() as running:
        yield running


@pytest.fixture
async def instance(provider: OidcServer, settings: Settings) -> AsyncIterator[Services]:
    """An instance that signs people in through the provider."""
    given = replace(
        settings,
        public_url="http://localhost",
        oidc_issuer=provider.issuer,
        oidc_client_id="llmos",
        oidc_client_secret="secret",
        oidc_teams="engineering=sre, leads=sre:team_admin, operations=ops, nobody=missing",
        oidc_admin_group="admins",
    )
    async with open_services(given, serve=False) as services:
        boss = await services.accounts.authenticate((given.data / "admin.key").read_text().strip())
        for team in ("sre", "ops"):
            await services.accounts.create_team(boss, team)
        yield services


@pytest.fixture
def company(instance: Services) -> Client:
    """A browser in front of it."""
    return Client(create_app(instance))


async def through(client: Client, provider: OidcServer, sub: str, next_: str = "/") -> Answer:
    """Sign in as a browser does: there, and back."""
    there = await client.get(f"/sign-in/oidc?{urlencode({'next': next_})}")
    assert there.status == 303
    came = await asyncio.to_thread(provider.sign_in, there.headers["location"], sub)
    return await client.get(f"/sign-in/oidc/callback?{urlencode(came)}", headers=cookie_of(there))


async def test_somebody_comes_by_the_provider_with_groups(
    company: Client, provider: OidcServer, instance: Services
) -> None:
    claims = {"preferred_username": "Ana Maria", "name": "Ana", "email": "ana@co.example", "email_verified": True}
    provider.add("ana-7", {**claims, "groups": ["engineering", "leads"]})
    answer = await through(company, provider, "ana-7")
    assert answer.status == 200
    assert b'content="0;url=/"' in answer.body
    me = (await company.get("/me", headers=cookie_of(answer))).json()
    assert (me["user_id"], me["teams"]) == ("ana-maria", {"sre": "team_admin"})
    provider.add("ana-7", {**claims, "groups": ["operations"]})
    me = (await company.get("/me", headers=cookie_of(await through(company, provider, "ana-7")))).json()
    assert (me["user_id"], me["teams"]) == ("ana-maria", {"ops": "user"})
    boss = await instance.accounts.actor("admin")
    noted = [
        (row.action, row.target) for row in (await instance.audit.page(boss, AuditFilter(actor="ana-maria"))).items
    ]
    assert {("user.create", "user:ana-maria"), ("member.set", "team:sre"), ("member.remove", "team:sre")} <= set(noted)


async def test_the_provider_makes_admins_and_unmakes_them(company: Client, provider: OidcServer) -> None:
    provider.add("root-1", {"preferred_username": "boss", "groups": ["admins"]})
    first = await through(company, provider, "root-1")
    assert (await company.get("/users", headers=cookie_of(first))).status == 200
    provider.add("root-1", {"preferred_username": "boss", "groups": []})
    second = await through(company, provider, "root-1")
    for answer in (first, second):
        assert (await company.get("/users", headers=cookie_of(answer))).status in {401, 403}


async def test_a_verified_address_finds_the_account_and_another_does_not(
    company: Client, provider: OidcServer, instance: Services
) -> None:
    services = instance
    for user_id in ("cleo", "admin"):
        await services.accounts.ensure(user_id)
        await services.accounts._store.change_user(user_id, {"email": f"{user_id}@co.example"})
        services.accounts.forget(user_id)
    for sub, email, verified, expected in (
        ("c-1", "cleo@co.example", False, "c-1"),
        ("c-2", "cleo@co.example", True, "cleo"),
        ("c-3", "admin@co.example", True, "c-3"),
    ):
        provider.add(sub, {"preferred_username": sub, "email": email, "email_verified": verified})
        me = (await company.get("/me", headers=cookie_of(await through(company, provider, sub)))).json()
        assert (me["user_id"], me["role"]) == (expected, Role.USER)


async def test_two_at_the_provider_with_one_name_are_two_here(company: Client, provider: OidcServer) -> None:
    found = []
    for sub in ("d-1", "d-2"):
        provider.add(sub, {"preferred_username": "dora"})
        me = await company.get("/me", headers=cookie_of(await through(company, provider, sub)))
        found.append(me.json()["user_id"])
    assert found == ["dora", "dora-2"]


@pytest.mark.parametrize(
    "next_", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb", "", "evil"]
)
async def test_nobody_is_sent_elsewhere_after_signing_in(company: Client, provider: OidcServer, next_: str) -> None:
    provider.add("e-1", {"preferred_username": "eve"})
    answer = await through(company, provider, "e-1", next_)
    assert b'content="0;url=/"' in answer.body
    assert b"evil" not in answer.body


async def test_a_page_of_ours_is_where_one_ends(company: Client, provider: OidcServer) -> None:
    provider.add("e-1", {"preferred_username": "eve"})
    answer = await through(company, provider, "e-1", '/traces?text="x"')
    assert b'content="0;url=/traces?text=&quot;x&quot;"' in answer.body


async def test_a_sign_in_that_another_browser_began_is_refused(company: Client, provider: OidcServer) -> None:
    """Login CSRF: an attacker's code, brought to a victim's browser, signs nobody in."""
    provider.add("e-1", {"preferred_username": "eve"})
    evil, victim = [await company.get("/sign-in/oidc") for _ in range(2)]
    came = await asyncio.to_thread(provider.sign_in, evil.headers["location"], "e-1")
    for headers in ({}, cookie_of(victim), {"Cookie": "llmos_way=nonsense"}):
        answer = await company.get(f"/sign-in/oidc/callback?{urlencode(came)}", headers=headers)
        assert answer.status == 401
        assert "llmos_session" not in str(answer.headers)
    for given in ({}, {"state": came["state"]}, {**came, "iss": "http://evil.example"}, {**came, "error": "<b>x"}):
        answer = await company.get(f"/sign-in/oidc/callback?{urlencode(given)}", headers=cookie_of(evil))
        assert answer.status == 401
        assert b"<b>x" not in answer.body


async def test_somebody_who_declines_hears_it(company: Client) -> None:
    there = await company.get("/sign-in/oidc")
    state = parse_qs(urlsplit(there.headers["location"]).query)["state"][0]
    query = urlencode({"error": "access_denied", "state": state})
    answer = await company.get(f"/sign-in/oidc/callback?{query}", headers=cookie_of(there))
    assert answer.status == 401
    assert b"access_denied" in answer.body


async def test_whoever_is_deactivated_does_not_come_by_the_provider(
    company: Client, provider: OidcServer, instance: Services
) -> None:
    provider.add("f-1", {"preferred_username": "finn"})
    await through(company, provider, "f-1")
    await instance.accounts._store.change_user("finn", {"active": False})  # the instance has its admin already
    instance.accounts.forget("finn")
    assert (await through(company, provider, "f-1")).status == 403


async def test_without_a_provider_there_is_no_way_to_one(client: Client) -> None:
    stranger = client.without_credential()
    assert (await stranger.get("/sign-in/methods")).json() == {"password": True, "provider": None}
    assert (await stranger.get("/sign-in/oidc")).status == 404
