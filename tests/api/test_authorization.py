"""Who gets what from the whole app: every route with every kind of credential, and every place with every role."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from asgi_client import Answer, Client
from fastapi.routing import APIRoute
from pydantic import BaseModel
from world import Host, World, expire

from llmos_lite.api.auth import Needs
from llmos_lite.api.deps import Guest, Permission
from llmos_lite.api.discovery import Shelves
from llmos_lite.api.mcp import McpEndpoint
from llmos_lite.api.otlp import OtlpEndpoint
from llmos_lite.api.routes import all_routes
from llmos_lite.core.accounts import permissions
from llmos_lite.core.accounts.permissions import EVERYTHING, Right, Scope, Standing, Verb
from llmos_lite.volumes import access

TOKEN = re.compile(r"\{\w+\}")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(tmp_path_factory.mktemp("authorization") / "data")
    yield host
    host.close()


@pytest.fixture(scope="module")
def world(host: Host) -> World:
    return host.world


def declared() -> list[tuple[str, str, Needs]]:
    """Return method, path and needs of every route, found by walking the app, but for the plain pages."""
    found = [
        (method, TOKEN.sub("x", route.path), one.call.needs)
        for route in all_routes()
        if isinstance(route, APIRoute)
        for method in sorted(route.methods or ())
        for one in route.dependant.dependencies
        if isinstance(one.call, (Permission, Guest, Shelves))
    ]
    hot = [
        ("POST", "/chat", Needs(scope=Scope.CHAT, delegates=True)),
        ("GET", "/metrics", Needs(scope=Scope.ADMIN, admin=True)),
        ("POST", "/v1/traces", OtlpEndpoint.needs),
        ("POST", "/v1/logs", OtlpEndpoint.needs),
        ("POST", "/mcp", McpEndpoint.needs),
        ("GET", "/mcp", McpEndpoint.needs),
        ("GET", "/git/system.git/info/refs?service=git-upload-pack", Needs(scope=Scope.GIT)),
        ("POST", "/git/teams/sre.git/git-receive-pack", Needs(scope=Scope.GIT)),
    ]
    return [*((method, path.replace("/volumes/x/", "/volumes/system/"), needs) for method, path, needs in found), *hot]


CLOSED = [one for one in declared() if not one[2].open]


def code(answer: Answer) -> str:
    if answer.headers.get("content-type", "").startswith("text/plain"):
        return "text"
    said = answer.json() if answer.body else {}
    if "details" in said:  # OTLP's form of errors has ours inside
        return str(said["details"][0]["metadata"]["code"])
    return str(said.get("code", ""))


def test_there_are_routes_to_look_at() -> None:
    assert len(CLOSED) > 80


# Credentials


@pytest.fixture(scope="module")
def spoilt(host: Host, world: World) -> dict[str, tuple[str, set[tuple[int, str]]]]:
    """Credentials that do not hold, and what each is told."""
    return host.run(_spoilt(world))


async def _spoilt(world: World) -> dict[str, tuple[str, set[tuple[int, str]]]]:
    accounts = world.accounts
    admin = await accounts.authenticate(world.keys["admin"])
    for user in ("gone", "away"):
        await accounts.create_user(admin, user)
    expired = await expire(world, await world.key("mate", EVERYTHING - {Scope.ADMIN, Scope.ACT_AS}))
    revoked = await world.key("mate", frozenset({Scope.CHAT}))
    await accounts.revoke_key(admin, revoked.split("_")[1])
    away = await world.key("away", frozenset({Scope.CHAT}))
    await accounts.change_user(admin, "away", {"active": False})
    return {
        "none": ("", {(401, "credential.missing")}),
        "another secret": (world.keys["root"][:-1] + "g", {(401, "credential.invalid")}),
        "somebody else's secret": (
            world.keys["root"][:15] + world.keys["alice"][15:], {(401, "credential.invalid")},
        ),
        "expired": (expired, {(401, "credential.expired")}),
        "revoked": (revoked, {(401, "credential.revoked")}),
        "deactivated": (away, {(401, "credential.revoked"), (403, "user.inactive")}),
    }  # fmt: skip


def test_no_route_answers_a_credential_that_does_not_hold(
    host: Host, world: World, spoilt: dict[str, tuple[str, set[tuple[int, str]]]]
) -> None:
    async def look() -> list[Any]:
        wrong = []
        for name, (key, expected) in spoilt.items():
            client = Client(world.app, {"Authorization": f"Bearer {key}"} if key else {})
            for method, path, _ in CLOSED:
                answer = await client.request(method, path)
                told = (answer.status, code(answer))
                if told not in expected and not (told[1] == "text" and told[0] in {one[0] for one in expected}):
                    wrong.append((name, method, path, told))
        return wrong

    assert host.run(look()) == []


CRAFTED = [
    "x", "llmos_", "llmos__", "Bearer", "a.b.c", "..", "llmos_%_%", "llmos_0123abcd_", "llmos_' OR '1'='1_" + "0" * 64,
    "llmos_0123abcd_" + "0" * 64 + "'; DROP TABLE api_keys; --", "llmos_0123abcd_" + "0" * 63 + "\u0660",
    "LLMOS_0123ABCD_" + "0" * 64, "llmos_0123abcd_" + "0" * 65, "llmos_" + "0" * 20_000, "\x00", "\xff\xfe",
    "llmos_../../x_" + "0" * 64, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
]  # fmt: skip


@pytest.mark.parametrize("crafted", CRAFTED, ids=lambda text: ascii(text)[:40])
def test_a_crafted_key_opens_nothing(host: Host, world: World, crafted: str) -> None:
    async def send(name: str, value: str) -> Answer:
        return await Client(world.app, {name: value}).get("/me")

    for header, value in (("X-API-Key", crafted), ("Authorization", f"Bearer {crafted}")):
        answer = host.run(send(header, value))
        assert (answer.status, code(answer)[:11]) == (401, "credential."), answer.body
    answer = host.run(Client(world.app, {"Cookie": f"llmos_session={crafted!a}"}).get("/me"))
    assert answer.status == 401


# Scopes and roles


@pytest.mark.parametrize("scope", [scope for scope in Scope if scope is not Scope.ACT_AS])
def test_every_route_asks_for_its_scope(host: Host, world: World, scope: Scope) -> None:
    async def look() -> list[Any]:
        key = await world.key("root", EVERYTHING - {scope})
        client = Client(world.app, {"Authorization": f"Bearer {key}"})
        asked = [(method, path) for method, path, needs in CLOSED if needs.scope is scope]
        assert asked
        return [
            (path, code(answer))
            for method, path in asked
            if not _refused(answer := await client.request(method, path), "scope.missing")
        ]

    assert host.run(look()) == []


def _refused(answer: Answer, *codes: str) -> bool:
    return answer.status == 403 and code(answer) in {*codes, "text"}


@pytest.mark.parametrize("who", ["alice", "chief", "cron", "system-cron"])
def test_what_is_for_system_admins_is_for_nobody_else(host: Host, world: World, who: str) -> None:
    async def look() -> list[Any]:
        asked = [(method, path) for method, path, needs in CLOSED if needs.admin]
        found = [(path, await world.ask(who, method, path)) for method, path in asked]
        return [(path, code(one)) for path, one in found if not _refused(one, "scope.missing", "role.missing")]

    assert host.run(look()) == []


def test_whom_a_front_end_names_gets_only_what_is_for_them(host: Host, world: World) -> None:
    async def look() -> list[Any]:
        key = await world.key("root", frozenset({Scope.ACT_AS, Scope.CHAT}), ["sre"])
        client = Client(world.app, {"Authorization": f"Bearer {key}", "X-LLMOS-User": "alice"})
        asked = [(method, path) for method, path, needs in CLOSED if not needs.delegates]
        found = [(path, await client.request(method, path)) for method, path in asked]
        me = (await client.get("/me")).json()
        assert (me["user_id"], me["scopes"]) == ("alice", ["chat"])
        chat = await client.post("/chat", {"message": "How?", "team_id": "sre"})
        assert chat.status == 200
        return [(path, code(one)) for path, one in found if not _refused(one, "delegate.refused")]

    assert host.run(look()) == []


# Places

WHO = ("alice", "chief", "bob", "root", "cron", "system-cron")
DONE = {"month.unknown", "archive.unknown", "member.unknown", "proposal.unknown"}
GRID = """
GET /skills/mine?volume=user:alice                                  + - - + - -
GET /skills/bobs?volume=user:bob                                    - - + + - -
GET /skills/ours?volume=team:sre                                    + + - + + +
GET /skills/theirs?volume=team:hr                                   - - + + - +
GET /skills/everybodys?volume=system                                + + + + + +
GET /skills?volume=team:sre                                         + + - + + +
GET /skills?volume=user:alice                                       + - - + - -
GET /skills?team_id=hr                                              - - + - - +
GET /skills/ours/history?volume=team:sre                            + + - + + +
GET /skills/bobs/history?volume=user:bob                            - - + + - -
POST /skills {"volume":"user:alice","skill_id":"mine"}              + - - + - -
POST /skills {"volume":"team:sre","skill_id":"ours"}                f + - + + +
POST /skills {"volume":"team:hr","skill_id":"theirs"}               - - + + - +
POST /skills {"volume":"system","skill_id":"everybodys"}            f f f + f +
DELETE /skills/ours?volume=team:sre&version=0                       f + - + + +
DELETE /skills/mine?volume=user:alice&version=0                     + - - + - -
POST /skills/ours/rename {"volume":"team:sre","new_id":"x","expect":"0"}  f + - + + +
POST /skills/mine/rename {"volume":"user:alice","new_id":"x","expect":"0"}  + - - + - -
GET /skills/ours/archive?volume=team:sre                            + + - + + +
GET /skills/bobs/archive?volume=user:bob                            - - + + - -
POST /templates/runbook/skills {"volume":"team:hr","skill_id":"theirs"}  - - + + - +
POST /skills/update {"volume":"team:sre"}                           f + - + + +
POST /skills/update {"volume":"user:alice"}                         + - - + - -
POST /skills/promote {"skill_id":"mine","team_id":"hr","reason":"x"}  - - . . - .
GET /traces?volume=user:alice                                       + - - + - -
GET /traces?volume=team:sre                                         + + - + + +
GET /traces/@trace-alice                                            + - - - - -
GET /traces/@trace-alice?volume=user:alice                          + - - + - -
GET /traces/export?volume=team:sre                                  + + - + + +
GET /traces/export?volume=user:bob                                  - - + + - -
POST /traces/@trace-alice/feedback {"rating":"up"}                  + - - - f f
DELETE /traces/@trace-bob                                           - - . - f f
DELETE /traces/@trace-bob?volume=user:bob                           - - . . f f
DELETE /users/bob/traces                                            f f . . f f
GET /archives?volume=team:sre                                       + + - + + +
GET /archives?volume=user:alice                                     + - - + - -
POST /archives {"month":"1999-01","volume":"team:sre"}              f + - + f f
POST /archives {"month":"1999-01","volume":"user:alice"}            + - - + f f
POST /archives/restore {"month":"1999-01","volume":"team:hr"}       - - + + f f
GET /patterns?volume=team:sre                                       + + - + + +
GET /patterns?volume=user:bob                                       - - + + - -
POST /evolve {"scope":"team","team_id":"hr"}                        - - . . - .
POST /evolve {"scope":"system"}                                     f f f . f .
POST /evolve {"scope":"user"}                                       . . . . - -
GET /volumes/stats?volume=team:sre                                  + + - + + +
GET /volumes/stats?volume=user:bob                                  - - + + - -
GET /volumes/history?volume=team:hr                                 - - + + - +
GET /volumes/history?volume=user:alice                              + - - + - -
PUT /volumes/policy {"volume":"team:sre"}                           f + - + f f
PUT /volumes/policy {"volume":"user:alice"}                         + - - + - -
PUT /volumes/policy {"volume":"system"}                             f f f + f f
GET /teams/sre                                                      + + - + + +
GET /teams/hr/members                                               - - + + - +
PATCH /teams/sre {}                                                 f + - + f f
DELETE /teams/sre                                                   f f f . f f
POST /teams/sre/members {"user_id":"mate"}                          f + - + f f
DELETE /teams/sre/members/nobody                                    f + - + f f
GET /invitations?team_id=sre                                        f + - + f f
GET /invitations                                                    f f f + f f
POST /invitations {"team_id":"hr"}                                  f - + + f f
POST /invitations {"team_id":"hr","role":"team_admin"}              f - + + f f
POST /invitations {}                                                f f f + f f
GET /users                                                          f f f + f f
PATCH /users/alice {"role":"system_admin"}                          f f f . f f
PATCH /me {"name":"Somebody"}                                       + + + + f f
GET /keys?user_id=bob                                               f f + + f f
GET /keys?user_id=*                                                 f f f + f f
DELETE /keys/@key-bob                                               - - . . - -
POST /keys {"name":"x","scopes":["chat"],"user_id":"sre-cron"}      f f f f f f
POST /keys {"name":"x","scopes":["admin"]}                          f . . . f f
"""


def grid() -> Iterator[tuple[str, str, str, dict[str, str]]]:
    for line in GRID.strip().splitlines():
        *words, signs = re.split(r"\s{2,}", line)
        method, url, *body = words[0].split(" ", 2)
        yield method, url, body[0] if body else "", dict(zip(WHO, signs.split(), strict=True))


def sign_of(answer: Answer) -> str:
    if answer.status < 300 or answer.status in {400, 409} or code(answer) in DONE:
        return "+"
    return {403: "f", 404: "-"}.get(answer.status, str(answer.status))


async def asked(world: World, who: str, method: str, url: str, text: str) -> Answer:
    url = re.sub(r"@([\w-]+)", lambda match: world.ids[match[1]], url)
    body = json.loads(text) if text else {}
    if method == "POST" and url == "/skills":
        body |= {"description": "d", "content": "# x"}
    return await world.ask(who, method, url, body if text else None)


@pytest.mark.parametrize("who", WHO)
def test_who_may_do_what_where(host: Host, world: World, who: str) -> None:
    async def look() -> list[Any]:
        wrong = []
        for method, url, text, signs in grid():
            if signs[who] == ".":
                continue
            answer = await asked(world, who, method, url, text)
            if sign_of(answer) != signs[who]:
                wrong.append((method, url, text, signs[who], answer.status, code(answer)))
        return wrong

    assert host.run(look()) == []


def test_the_grid_speaks_of_every_kind_of_place() -> None:
    urls = " ".join(f"{method} {url} {text}" for method, url, text, _ in grid())
    for noun in ("/skills", "/traces", "/archives", "/patterns", "/evolve", "/volumes", "/teams", "/keys", "/users"):
        assert noun in urls


# What is not there, and what is not for you

ALIKE = """
GET /skills/bobs?volume=user:bob                        GET /skills/bobs?volume=user:nobody
GET /skills/theirs?volume=team:hr                       GET /skills/theirs?volume=team:none
GET /skills?team_id=hr                                  GET /skills?team_id=none
PUT /skills/theirs?volume=team:hr {"content":"# x"}     PUT /skills/theirs?volume=team:none {"content":"# x"}
DELETE /skills/bobs?volume=user:bob                     DELETE /skills/bobs?volume=user:nobody
POST /skills/bobs/rename {"volume":"user:bob","new_id":"x"}  POST /skills/bobs/rename {"volume":"user:nobody","new_id":"x"}
POST /skills {"volume":"team:hr","skill_id":"x"}        POST /skills {"volume":"team:none","skill_id":"x"}
GET /traces/@trace-bob                                  GET /traces/@nothing
GET /traces/@trace-bob?volume=user:bob                  GET /traces/@nothing?volume=user:bob
DELETE /traces/@trace-bob                               DELETE /traces/@nothing
POST /traces/@trace-bob/feedback {"rating":"up"}        POST /traces/@nothing/feedback {"rating":"up"}
GET /traces?volume=user:bob                             GET /traces?volume=user:nobody
GET /patterns?volume=team:hr                            GET /patterns?volume=team:none
GET /archives?volume=user:bob                           GET /archives?volume=user:nobody
POST /archives {"month":"1999-01","volume":"team:hr"}   POST /archives {"month":"1999-01","volume":"team:none"}
GET /volumes/stats?volume=team:hr                       GET /volumes/stats?volume=team:none
GET /volumes/history?volume=user:bob                    GET /volumes/history?volume=user:nobody
PUT /volumes/policy {"volume":"team:hr"}                PUT /volumes/policy {"volume":"team:none"}
GET /teams/hr                                           GET /teams/none
GET /teams/hr/members                                   GET /teams/none/members
DELETE /teams/hr/members/bob                            DELETE /teams/none/members/bob
POST /evolve {"scope":"team","team_id":"hr"}            POST /evolve {"scope":"team","team_id":"none"}
POST /chat {"message":"x","team_id":"hr"}               POST /chat {"message":"x","team_id":"none"}
POST /skills/promote {"skill_id":"mine","team_id":"hr","reason":"x"}  POST /skills/promote {"skill_id":"mine","team_id":"none","reason":"x"}
GET /users/bob                                          GET /users/nobody
PATCH /users/bob {"name":"x"}                           PATCH /users/nobody {"name":"x"}
DELETE /users/bob/traces                                DELETE /users/nobody/traces
GET /keys?user_id=bob                                   GET /keys?user_id=nobody
DELETE /keys/@key-bob                                   DELETE /keys/@no-key
POST /keys {"name":"x","scopes":["chat"],"user_id":"bob"}  POST /keys {"name":"x","scopes":["chat"],"user_id":"nobody"}
POST /keys {"name":"x","scopes":["chat"],"teams":["hr"]}   POST /keys {"name":"x","scopes":["chat"],"teams":["none"]}
GET /git/users/bob.git/info/refs?service=git-upload-pack   GET /git/users/nobody.git/info/refs?service=git-upload-pack
GET /git/teams/hr.git/info/refs?service=git-upload-pack    GET /git/teams/none.git/info/refs?service=git-upload-pack
GET /git/users/bob/traces.git/info/refs?service=git-upload-pack  GET /git/users/nobody/traces.git/info/refs?service=git-upload-pack
GET /git/teams/hr.git/info/refs?service=git-receive-pack   GET /git/teams/none.git/info/refs?service=git-receive-pack
GET /volumes/team:hr/remotes                            GET /volumes/team:none/remotes
"""  # noqa: E501
NAMES = re.compile(r"\b(nobody|bob|hr|none|01[0-9A-Z]{24}|[0-9a-f]{8})\b|\"request_id\":\"[^\"]*\"")


def test_what_is_not_there_and_what_is_not_for_you_look_alike(host: Host, world: World) -> None:
    world.ids |= {"nothing": "01KBGF0C00ZQ4V8T1M2N3P4R5S", "no-key": "00000000"}

    async def look() -> list[Any]:
        wrong = []
        for line in ALIKE.strip().splitlines():
            answers = []
            for words in re.split(r"\s{2,}", line):
                method, url, *text = words.split(" ", 2)
                answers.append(await asked(world, "alice", method, url, text[0] if text else ""))
            told = {(one.status, NAMES.sub("…", one.body.decode())) for one in answers}
            if len(told) != 1 or answers[0].status not in {403, 404}:
                wrong.append((line, told))
        return wrong

    assert host.run(look()) == []


# Either lock alone

ANY = frozenset(Standing)
OPEN = {verb: Right(scopes=frozenset(), user=ANY, team=ANY, system=ANY, instance=ANY) for verb in Verb}
STRANGERS = """
GET /skills/bobs?volume=user:bob
GET /skills/theirs?volume=team:hr
GET /skills?team_id=hr
GET /skills?volume=team:hr
GET /skills/theirs/history?volume=team:hr
POST /skills {"volume":"user:bob","skill_id":"x"}
POST /skills {"volume":"team:hr","skill_id":"x"}
POST /skills {"volume":"team:sre","skill_id":"x"}
POST /skills {"volume":"system","skill_id":"x"}
PATCH /skills/theirs?volume=team:hr {"content":"# x"}
PATCH /skills/ours?volume=team:sre {"content":"# x"}
DELETE /skills/bobs?volume=user:bob
POST /skills/ours/rename {"volume":"team:sre","new_id":"x"}
DELETE /skills/everybodys?volume=system
GET /traces?volume=user:bob
GET /traces?volume=team:hr
GET /traces/@trace-bob
GET /traces/@trace-bob?volume=user:bob
GET /traces/export?volume=user:bob
DELETE /traces/@trace-bob
DELETE /traces/@trace-bob?volume=user:bob
POST /traces/@trace-bob/feedback {"rating":"up"}
GET /archives?volume=user:bob
POST /archives {"month":"1999-01","volume":"user:bob"}
POST /archives {"month":"1999-01","volume":"team:sre"}
POST /archives/restore {"month":"1999-01","volume":"team:hr"}
GET /patterns?volume=team:hr
POST /evolve {"scope":"team","team_id":"hr"}
GET /volumes/stats?volume=user:bob
GET /volumes/history?volume=team:hr
PUT /volumes/policy {"volume":"team:hr","review":"none"}
PUT /volumes/policy {"volume":"team:sre","review":"none"}
PUT /volumes/policy {"volume":"system","review":"none"}
POST /chat {"message":"x","team_id":"hr"}
GET /git/users/bob.git/info/refs?service=git-upload-pack
GET /git/users/bob/traces.git/info/refs?service=git-upload-pack
GET /git/teams/hr.git/info/refs?service=git-receive-pack
"""


def break_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions, "TABLE", OPEN)


def break_volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "TABLE", dict.fromkeys(access.TABLE, access.Access.WRITE))
    monkeypatch.setattr(access, "_concerns", lambda *_: True)


def test_with_both_locks_broken_strangers_do_get_in(host: Host, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the test of each lock alone is known to look at something."""
    break_table(monkeypatch)
    break_volumes(monkeypatch)

    async def look() -> list[Any]:
        urls = [line.split(" ")[1] for line in STRANGERS.strip().splitlines() if line.startswith("GET /")]
        found = [
            (url, await asked(world, "alice", "GET", url, ""))
            for url in urls
            if not url.startswith(("/git", "/volumes/history"))
        ]
        return [(url, answer.status, code(answer)) for url, answer in found if answer.status != 200]

    assert host.run(look()) == []


@pytest.mark.parametrize("lock", ["neither", "table", "volume"])
def test_either_lock_alone_keeps_strangers_out(
    host: Host, world: World, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    """With one of the locks broken so that it lets everybody in, the other still refuses."""
    if lock == "table":
        break_table(monkeypatch)
    if lock == "volume":
        break_volumes(monkeypatch)

    async def look() -> list[Any]:
        wrong = []
        for line in STRANGERS.strip().splitlines():
            method, url, *text = line.split(" ", 2)
            answer = await asked(world, "alice", method, url, text[0] if text else "")
            if answer.status not in {403, 404}:
                wrong.append((line, answer.status, code(answer)))
        return wrong

    assert host.run(look()) == []


# Bodies


def models(kind: object) -> Iterator[type[BaseModel]]:
    """Yield the models in an annotation, and those in their fields."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for one in kind.model_fields.values():
            yield from models(one.annotation)
    for part in getattr(kind, "__args__", ()):
        yield from models(part)


def test_no_body_takes_a_field_that_it_does_not_know() -> None:
    bodies = {
        model
        for route in all_routes()
        if isinstance(route, APIRoute)
        for field in route.dependant.body_params
        for model in models(field.field_info.annotation)
    }
    assert len(bodies) > 15
    assert [model.__name__ for model in bodies if model.model_config.get("extra") != "forbid"] == []


@pytest.mark.parametrize("who", ["alice", "chief"])
def test_nobody_raises_their_own_role(host: Host, world: World, who: str) -> None:
    tries = [
        ("PATCH", "/me", {"role": "system_admin"}), ("PATCH", "/me", {"scopes": ["admin"]}),
        ("PATCH", "/me", {"active": True}), ("PATCH", "/me", {"email": "bob@example.org"}),
        ("PATCH", "/me", {"user_id": "root"}), ("PATCH", "/me", {"teams": {"hr": "team_admin"}}),
        ("PATCH", f"/users/{who}", {"role": "system_admin"}),
        ("POST", f"/users/{who}/identities", {"provider": "x", "subject": "y"}),
        ("POST", "/teams/hr/members", {"user_id": who, "role": "team_admin"}),
        ("POST", "/teams/sre/members", {"user_id": who, "role": "system_admin"}),
        ("POST", "/keys", {"name": "x", "scopes": ["act-as"]}),
        ("POST", "/keys", {"name": "x", "scopes": ["chat"], "digest": "0"}),
        ("POST", "/invitations", {"team_id": "hr", "role": "team_admin"}),
        ("POST", "/invitations", {"team_id": "sre", "role": "system_admin"}),
    ]  # fmt: skip

    async def look() -> list[Any]:
        before = (await world.ask(who, "GET", "/me")).json()
        done = [one for one in tries if (await world.ask(who, *one)).status not in {400, 403, 404}]
        assert (await world.ask(who, "GET", "/me")).json() == before
        return list(done)

    assert host.run(look()) == []
