"""Attacks on who somebody is: more rights than one has, other people's names, two uses of what works once."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from asgi_client import Answer, Client
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from world import Host, World

from llmos_lite.core.accounts import keys, passwords, sessions
from llmos_lite.core.accounts.identities import clean_email
from llmos_lite.core.accounts.permissions import Role, Scope
from llmos_lite.errors import Invalid

WORDS = "tall otter window lamp"
HERE = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash with little memory; `test_passwords` looks at the real parameters."""
    hasher = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
    monkeypatch.setattr(passwords, "_hasher", lambda: hasher)


@pytest.fixture
def somebody(host: Host, world: World) -> str:
    """A new person, without a password."""
    name = f"person-{next(NUMBERS)}"
    host.run(world.accounts.ensure(name))
    return name


@pytest.fixture
def signed(host: Host, world: World, somebody: str) -> Iterator[str]:
    """A new person with a password."""
    host.run(world.services.entrance._sign_in.set_password(somebody, WORDS))
    return somebody  # type: ignore[return-value]


async def tokens(world: World, user: str, **more: object) -> dict[str, Any]:
    link = world.services.entrance.first_link(user)
    answer = await world.client("").post("/sign-in/link", {"token": link, **more})
    found: dict[str, Any] = answer.json()
    return found


def bearer(world: World, token: str) -> Client:
    return Client(world.app, {"Authorization": f"Bearer {token}"})


async def form(world: World, fields: dict[str, str], headers: dict[str, str] = HERE) -> Answer:
    sent = {"content-type": "application/x-www-form-urlencoded"} | headers
    return await world.client("").request("POST", "/sign-in", content=urlencode(fields).encode(), headers=sent)


def cookie_of(answer: Answer) -> str:
    (cookie,) = [value for name, value in answer.raw if name == "set-cookie" and "Max-Age=0" not in value]
    return cookie


# More rights than one has


async def sets_password(world: World, user: str, scopes: list[str] | None) -> Answer:
    given = await tokens(world, user, scopes=scopes)
    return await bearer(world, given["access_token"]).request("PUT", "/me/password", json_body={"new": WORDS})


def test_a_token_for_a_part_of_ones_rights_does_not_set_a_password(host: Host, world: World, somebody: str) -> None:
    answer = host.run(sets_password(world, somebody, ["chat"]))
    assert (answer.status, answer.json()["code"]) == (403, "sign_in.narrow")
    assert host.run(sets_password(world, somebody, None)).status == 204


def test_a_key_makes_no_key_with_more_than_it_has(host: Host, world: World) -> None:
    async def look() -> list[int]:
        narrow = await world.key("chief", frozenset({Scope.CHAT}), teams=[])
        client = bearer(world, narrow)
        wanted = [
            {"name": "x", "scopes": ["skills:write"]},
            {"name": "x", "scopes": ["chat"], "teams": ["sre"]},
            {"name": "x", "scopes": ["chat", "admin"]},
        ]
        refused = [(await client.post("/keys", body)).status for body in wanted]
        made = await client.post("/keys", {"name": "x", "scopes": ["chat"]})
        child = made.json()
        assert child["teams"] == []
        wide = await world.key("chief", frozenset({Scope.SKILLS_READ}), teams=[])
        assert (await bearer(world, wide).get("/skills/ours?volume=team:sre")).status == 404
        await client.request("DELETE", f"/keys/{narrow.split('_')[1]}")
        assert (await bearer(world, child["key"]).get("/me")).status == 401
        return refused

    assert set(host.run(look())) <= {403, 404}


def test_rights_are_those_of_the_next_request(host: Host, world: World, signed: str) -> None:
    async def look() -> None:
        admin = world.client("root")
        await admin.post("/teams/sre/members", {"user_id": signed, "role": "team_admin"})
        answer = await form(world, {"user": signed, "password": WORDS})
        browser = Client(world.app, {"Cookie": cookie_of(answer).split(";")[0]} | HERE)
        token = bearer(world, (await tokens(world, signed))["access_token"])
        key = bearer(world, await world.key(signed, frozenset({Scope.SKILLS_READ, Scope.SKILLS_WRITE})))
        everybody = (browser, token, key)
        path = "/skills/ours?volume=team:sre"
        assert [(await one.get(path)).status for one in everybody] == [200] * 3
        await admin.post("/teams/sre/members", {"user_id": signed, "role": "user"})
        body = {"description": "Changed."}
        assert [(await one.request("PATCH", path, json_body=body)).status for one in everybody] == [403] * 3
        await admin.request("DELETE", f"/teams/sre/members/{signed}")
        assert [(await one.get(path)).status for one in everybody] == [404] * 3
        await admin.request("PATCH", f"/users/{signed}", json_body={"active": False})
        assert {(await one.get("/me")).status for one in everybody} <= {401, 403}
        await admin.request("PATCH", f"/users/{signed}", json_body={"active": True})
        assert [(await one.get("/me")).status for one in everybody] == [401] * 3

    host.run(look())


def test_a_front_end_speaks_for_plain_users_alone(host: Host, world: World) -> None:
    async def look() -> None:
        admin = await world.accounts.actor("root")
        front, _ = await world.accounts.create_key(admin, "front", ["act-as", "chat"], teams=["sre"])
        for user in ("root", "admin", "sre-cron", "system-cron", "../alice", "alice%0a", "Alice", ""):
            answer = await bearer(world, front).post("/chat", {"message": "x"}, headers={"X-LLMOS-User": user})
            assert answer.status in {400, 403, 404}, user
        speaking = {"X-LLMOS-User": "chief"}
        for method, path in (("GET", "/skills"), ("GET", "/keys"), ("POST", "/keys"),
                             ("PUT", "/me/password"), ("PATCH", "/me"), ("GET", "/me/sessions"), ("GET", "/users"),
                             ("POST", "/evolve")):  # fmt: skip
            answer = await bearer(world, front).request(method, path, json_body={}, headers=speaking)
            assert answer.status in {400, 403}, path
        one = await bearer(world, front).post("/chat", {"message": "x", "team_id": "hr"}, headers=speaking)
        assert one.status in {403, 404}

    host.run(look())


def test_an_author_does_not_approve_what_they_propose(host: Host, world: World) -> None:
    async def look() -> None:
        alice, chief = world.client("alice"), world.client("chief")
        policy = await chief.request("PUT", "/volumes/policy", json_body={"volume": "team:sre", "review": "required"})
        assert policy.status == 200, policy.body
        made = await alice.post("/skills/promote", {"skill_id": "mine", "team_id": "sre", "reason": "For all"})
        proposal = made.json()["proposal_id"]
        body = {"verdict": "approve"}
        for path in ("reviews", "merge"):
            answer = await alice.post(f"/proposals/{proposal}/{path}", body if path == "reviews" else {})
            assert answer.status in {400, 403, 404, 409}, answer.body
        shown = (await chief.get(f"/proposals/{proposal}")).json()
        assert shown["state"] == "open"

    host.run(look())


# Other people's names


@pytest.mark.parametrize(
    "email", ["mi\u212ae@example.org", "mike@example.org\u2028", "m\u0131ke@example.org", "mike@ex\uff41mple.org"]
)
def test_no_letter_makes_one_address_of_two(email: str) -> None:
    with pytest.raises(Invalid):
        clean_email(email)


def test_nobody_learns_who_there_is(host: Host, world: World, signed: str) -> None:
    async def look() -> None:
        told = set()
        for user in (signed, "nobody-at-all", "sre-cron", "admin", "x" * 200, "a@b.example", "", "../x"):
            answer = await world.client("").post("/sign-in/password", {"user": user or "x", "password": "wrong words"})
            body = answer.json()
            told.add((answer.status, body["code"], body["detail"], body["hint"], "session_id" in body))
        assert [one[:2] for one in told] == [(401, "sign_in.failed")]
        pages = [(await form(world, {"user": user, "password": "wrong words"})).body for user in (signed, "no-such")]
        assert pages[0] == pages[1]
        links = [(await form(world, {"token": text})).body for text in ("x", "y" * 43)]
        assert len(set(links)) == 1
        taken = [
            await world.client("").post("/invitations/accept", {"token": "invite_" + "x" * 43, "user_id": user})
            for user in (signed, "no-such")
        ]
        assert {(one.status, one.json()["code"]) for one in taken} == {(404, "invitation.unknown")}

    host.run(look())


def test_a_session_is_always_a_new_one(host: Host, world: World, signed: str) -> None:
    async def look() -> None:
        planted = "01KBFW2Q7XN4T9C2Y4R8M0D6ZV." + "x" * 43
        answer = await form(world, {"user": signed, "password": WORDS}, HERE | {"Cookie": f"llmos_session={planted}"})
        first = cookie_of(answer)
        assert planted not in first
        for flag in ("HttpOnly", "SameSite=strict", "Path=/"):
            assert flag.lower() in first.lower()
        assert "domain" not in first.lower()
        assert answer.headers["cache-control"] == "no-store"
        again = await form(world, {"user": signed, "password": WORDS}, HERE | {"Cookie": first.split(";")[0]})
        assert cookie_of(again).split(";")[0] != first.split(";")[0]
        old = Client(world.app, {"Cookie": first.split(";")[0]})
        assert (await old.get("/me")).status == 401

    host.run(look())


# Once is once


def test_of_two_who_take_one_invitation_one_is_in(host: Host, world: World) -> None:
    async def look() -> None:
        made = await world.client("root").post("/invitations", {"team_id": "sre", "role": "user"})
        token = made.json()["token"]
        names = [f"guest-{next(NUMBERS)}" for _ in range(4)]
        answers = await asyncio.gather(
            *(world.client("").post("/invitations/accept", {"token": token, "user_id": name}) for name in names)
        )
        assert sorted(answer.status for answer in answers) == [201, 404, 404, 404]
        there = [(await world.client("root").get(f"/users/{name}")).status for name in names]
        assert sorted(there) == [200, 404, 404, 404]

    host.run(look())


def test_of_two_refreshes_with_one_token_nobody_keeps_the_session(host: Host, world: World, somebody: str) -> None:
    async def look() -> None:
        given = await tokens(world, somebody)
        body = {"refresh_token": given["refresh_token"]}
        answers = await asyncio.gather(*(world.client("").post("/sign-in/refresh", body) for _ in range(4)))
        good = [answer.json() for answer in answers if answer.status == 200]
        assert len(good) <= 1
        for one in good:
            assert (await bearer(world, one["access_token"]).get("/me")).status == 401
            assert (
                await world.client("").post("/sign-in/refresh", {"refresh_token": one["refresh_token"]})
            ).status == 401
        assert (await bearer(world, given["access_token"]).get("/me")).status == 401

    host.run(look())


def test_of_two_uses_of_one_link_one_signs_in(host: Host, world: World, somebody: str) -> None:
    async def look() -> None:
        link = world.services.entrance.first_link(somebody)
        answers = await asyncio.gather(*(world.client("").post("/sign-in/link", {"token": link}) for _ in range(4)))
        assert sorted(answer.status for answer in answers) == [200, 401, 401, 401]

    host.run(look())


# Nothing is compared byte by byte


def test_secrets_are_compared_as_digests_in_one_time(host: Host, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[object, object]] = []
    real = keys.compare_digest

    def noting(one: Any, other: Any) -> bool:  # noqa: ANN401
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(keys, "compare_digest", noting)
    known, unknown = world.keys["alice"], f"llmos_{'0' * 8}_{'0' * 64}"
    counts = []
    for key in (known[:-1] + "g", unknown, known[:-2] + "00"):
        compared.clear()
        assert host.run(bearer(world, key).get("/me")).status == 401
        assert all(len(bytes(one)) == len(bytes(other)) == 32 for one, other in compared)  # type: ignore[call-overload]
        counts.append(len(compared))
    assert counts[1] == counts[2], "a prefix that there is and one that there is not cost the same"


def test_no_secret_is_compared_otherwise() -> None:
    for module in (keys, sessions):
        source = inspect.getsource(module)
        assert "digest ==" not in source
        assert "== digest" not in source
        assert "compare_digest(" in source


def test_roles_there_are() -> None:
    assert {role.value for role in Role} == {"user", "team_admin", "system_admin"}
