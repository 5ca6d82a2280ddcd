"""Signing in to a tool server: from the refusal to the call that works, renewals, the end, and who tries to cheat."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from asgi_client import Answer, Client
from starlette.types import Receive, Scope, Send

from llmos_lite.api.app import create_app
from llmos_lite.api.auth import COOKIE
from llmos_lite.bootstrap import Services, open_services
from llmos_lite.core.accounts.sessions import Where
from llmos_lite.core.toolservers import service
from llmos_lite.core.toolservers.sign_in import MOST_BEGUN, SECONDS
from llmos_lite.engines import mcp_sessions
from llmos_lite.settings import Settings
from tests.tool_oauth import SCOPE, Guarded, browse, client, guarded, path_of, query_of, said, silent
from tests.upstream import WORD, Upstream, running

ASK = "what does the wiki say of deployments?"
SEARCH = ("wiki__search", '{"query":"deployments"}')
WHERE = Where("127.0.0.1", "test")
PUBLIC = "http://127.0.0.1:8420"


@dataclass
class Place:
    """The app, an admin, a person, a model server, a tool server and who signs in for it."""

    services: Services
    admin: Client
    alice: Client
    browser: Client
    upstream: Upstream
    host: Guarded
    data: Path

    async def put(self, **fields: Any) -> Answer:  # noqa: ANN401
        body = {"url": self.host.url, "others": "always"} | fields
        return await self.admin.request("PUT", "/tool-servers/wiki", json_body=body)

    async def begin(self) -> dict[str, Any]:
        reply = await self.admin.post("/tool-servers/wiki/sign-in", {})
        assert reply.status == 200, reply.body
        return dict(reply.json())

    async def session(self, user_id: str = "") -> dict[str, str]:
        """Sign somebody in at a browser, by default whoever `admin` is, and return its cookie."""
        user_id = user_id or self.admin.headers.get("X-LLMOS-User", "admin")
        account = await self.services.accounts.account(user_id)
        return {"cookie": f"{COOKIE}={await self.services.entrance.web(account, 'link', WHERE)}"}

    async def to_provider(self, begun: dict[str, Any]) -> tuple[str, dict[str, str]]:
        """Open the link, and return where it sends the browser, and the cookie that it got."""
        reply = await self.browser.get(path_of(begun["url"]), headers=await self.session())
        assert reply.status == 303, reply.body
        return reply.headers["location"], {"cookie": reply.headers["set-cookie"].partition(";")[0]}

    async def sign_in(self) -> Answer:
        """Go the whole way."""
        address, cookie = await self.to_provider(await self.begin())
        return await self.browser.get(path_of(await browse(address)), headers=cookie)

    async def chat(self) -> dict[str, Any]:
        self.upstream.script, self.upstream.asked = [[SEARCH]], 0
        reply = await self.alice.post("/chat", {"message": ASK})
        assert reply.status == 200, reply.body
        return dict(reply.json())

    async def shown(self) -> tuple[str, str]:
        [one] = (await self.admin.get("/tool-servers")).json()["items"]
        return one["sign_in"], one["problem"]

    async def code(self, method: str = "POST", path: str = "/tool-servers/wiki/sign-in") -> str:
        reply = await self.admin.request(method, path, json_body={} if method == "POST" else None)
        return str(reply.json()["code"])


@asynccontextmanager
async def place(tmp_path: Path, upstream: Upstream, host: Guarded, **settings: Any) -> AsyncIterator[Place]:  # noqa: ANN401
    options = {"llm_provider": "openai", "llm_url": upstream.url, "llm_model": "ask", "allow_private_urls": True}
    data = tmp_path / "data"
    async with open_services(Settings(data=data, **options | settings), serve=False) as services:
        key = (data / "admin.key").read_text().strip()
        app = create_app(services)
        admin = Client(app, {"Authorization": f"Bearer {key}"})
        alice = admin.acting_as("alice")
        yield Place(services, admin, alice, admin.without_credential(), upstream, host, data)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a server is slow, and is not to be left out of a chat for it."""
    monkeypatch.setattr(service, "LIST_SECONDS", 30.0)
    monkeypatch.setattr(mcp_sessions, "CONNECT_SECONDS", 30.0)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with running() as server:
        yield server


@pytest.fixture
async def host() -> AsyncIterator[Guarded]:
    async with guarded() as found:
        yield found


@pytest.fixture
async def here(tmp_path: Path, upstream: Upstream, host: Guarded) -> AsyncIterator[Place]:
    async with place(tmp_path, upstream, host) as found:
        yield found


async def test_from_the_refusal_to_a_call_its_renewal_and_its_end(
    here: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "llmos")
    await here.put()
    assert await here.code("GET", "/tool-servers/wiki/tools") == "tool_server.sign_in"
    assert (await here.shown())[0] == "needed"
    [problem] = (await here.chat())["tool_problems"]
    assert (problem["server"], problem["code"]) == ("wiki", "tool_server.sign_in")
    assert "llmos tool-servers sign-in wiki" in problem["hint"]

    done = await here.sign_in()
    assert done.status == 200
    assert b"is signed in to" in done.body
    assert await here.shown() == ("done", "")
    body = await here.chat()
    assert (body["response"], body["tool_problems"]) == (WORD * 3, [])
    assert here.host.calls == ["deployments"]

    here.host.authority.expire()
    assert (await here.chat())["tool_problems"] == []
    assert [form["grant_type"] for form in here.host.authority.forms] == ["authorization_code", "refresh_token"]
    assert {form["resource"] for form in here.host.authority.forms} == {here.host.url}
    assert len(here.host.calls) == 2

    here.host.authority.revoke()
    [problem] = (await here.chat())["tool_problems"]
    assert problem["code"] == "tool_server.sign_in"
    assert problem["hint"] == "A system admin signs in again: llmos tool-servers sign-in wiki"
    state, why = await here.shown()
    assert (state, "invalid_grant" in why) == ("again", True)
    [problem] = (await here.chat())["tool_problems"]
    assert here.upstream.chats[-1].tools == {}

    assert (await here.sign_in()).status == 200
    await here.chat()
    assert len(here.host.calls) == 3
    spoken = caplog.text + json.dumps((await here.admin.get("/audit")).json())
    assert not [text for text in here.host.authority.texts if text in spoken]


async def test_tokens_are_sealed_and_erased_with_the_server(here: Place) -> None:
    await here.put()
    await here.sign_in()
    authority = here.host.authority
    assert not [text for text in authority.texts if text in stored(here.data)]
    with sqlite3.connect(here.data / "llmos.db") as rows:
        assert rows.execute("SELECT count(*) FROM tool_server_sign_ins").fetchone() == (0,)
        [sealed] = rows.execute("SELECT secret FROM tool_server_grants").fetchone()
    assert (await here.admin.request("DELETE", "/tool-servers/wiki")).status == 204
    assert sealed not in stored(here.data, "tool_server_grants")
    assert authority.access == authority.refresh == {}


async def test_an_admin_can_sign_out(here: Place) -> None:
    await here.put()
    await here.sign_in()
    assert (await here.admin.request("DELETE", "/tool-servers/wiki/sign-in")).status == 204
    assert here.host.authority.refresh == {}
    assert await here.code("GET", "/tool-servers/wiki/tools") == "tool_server.sign_in"


async def test_the_list_says_what_is_the_matter_and_what_to_do(here: Place) -> None:
    await here.put()
    wanted = "The tool server wiki wants to be signed in to."
    assert await here.shown() == ("needed", f"{wanted} A system admin signs in: llmos tool-servers sign-in wiki")
    await here.sign_in()
    assert await here.shown() == ("done", "")
    await here.admin.request("DELETE", "/tool-servers/wiki/sign-in")
    assert await here.shown() == ("needed", f"{wanted} A system admin signs in: llmos tool-servers sign-in wiki")
    [mine] = (await here.alice.get("/me/tool-servers")).json()["items"]
    assert (mine["sign_in"], wanted in mine["problem"]) == ("needed", True)


async def test_the_list_says_that_a_server_is_not_reached(here: Place) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        await here.put(url=f"http://127.0.0.1:{nobody.getsockname()[1]}/mcp")
        sign_in, problem = await here.shown()
    assert (sign_in, "The tool server wiki was not reached: " in problem) == ("", True)
    assert problem.endswith("and its credential.")


async def test_another_address_ends_the_sign_in_and_other_rules_do_not(here: Place) -> None:
    await here.put()
    await here.sign_in()
    await here.put(others="ask")
    assert (await here.shown())[0] == "done"
    await here.put(url=here.host.url + "/elsewhere")
    assert (await here.shown())[0] == ""
    await here.put()
    assert await here.code("GET", "/tool-servers/wiki/tools") == "tool_server.sign_in"


async def test_what_is_done_is_in_the_audit_log(here: Place) -> None:
    await here.put()
    await here.sign_in()
    await here.admin.request("DELETE", "/tool-servers/wiki/sign-in")
    rows = (await here.admin.get("/audit")).json()["items"]
    found = {row["action"]: (row["actor"], row["target"]) for row in rows if row["action"].startswith("tool_server.")}
    assert found["tool_server.begin_sign_in"] == ("admin", "wiki")
    assert found["tool_server.sign_in"] == ("admin", "wiki")
    assert found["tool_server.sign_out"] == ("admin", "wiki")


async def test_a_browser_that_does_not_reach_us_is_brought_back_by_hand(here: Place) -> None:
    await here.put()
    ended = await browse((await here.begin())["address"])
    stranger = Client(here.admin.app, here.admin.headers | {"X-LLMOS-User": "root"})
    assert (await stranger.post("/tool-servers/wiki/sign-in/answer", {"address": ended})).status == 403
    done = await here.admin.post("/tool-servers/wiki/sign-in/answer", {"address": ended})
    assert done.json() == {"name": "wiki", "sign_in": "done"}
    assert (await here.admin.get("/tool-servers/wiki/tools")).json()["total"] == 1


async def test_what_a_server_offers_is_asked_when_somebody_wants_to_know(here: Place) -> None:
    await here.put()
    await here.sign_in()
    assert (await here.admin.get("/tool-servers/wiki/tools")).status == 200
    here.host.authority.revoke()
    assert await here.code("GET", "/tool-servers/wiki/tools") == "tool_server.sign_in"


# Renewing


async def test_of_many_calls_and_two_nodes_one_renews(here: Place) -> None:
    await here.put()
    await here.sign_in()
    here.host.authority.held = asyncio.Event()
    here.host.authority.expire()
    other = second(here)
    server = await here.services.tool_servers.known("wiki")
    stale = await other.token(server)
    first = [asyncio.ensure_future(other.renewed(server, stale)) for _ in range(3)]
    await asyncio.wait_for(here.host.authority.asked.wait(), 10)
    calls = asyncio.ensure_future(here.admin.get("/tool-servers/wiki/tools"))
    chat = asyncio.ensure_future(here.chat())
    here.host.authority.held.set()
    assert len(set(await asyncio.gather(*first))) == 1
    assert (await calls).status == 200
    assert (await chat)["tool_problems"] == []
    assert here.host.authority.reused == []
    assert [form["grant_type"] for form in here.host.authority.forms] == ["authorization_code", "refresh_token"]


async def test_who_goes_away_while_a_token_is_renewed_does_not_lose_it(here: Place) -> None:
    await here.put()
    await here.sign_in()
    authority = here.host.authority
    authority.held = asyncio.Event()
    grants, server = second(here), await here.services.tool_servers.known("wiki")
    asked = asyncio.ensure_future(grants.renewed(server, await grants.token(server)))
    await asyncio.wait_for(authority.asked.wait(), 10)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    authority.held.set()
    await grants.close()
    assert await grants.token(server) in authority.access
    assert (await here.chat())["tool_problems"] == []


async def test_a_token_that_ends_soon_is_renewed_before_it_is_sent(here: Place) -> None:
    here.host.authority.lasts = 10
    await here.put()
    await here.sign_in()
    here.host.authority.lasts = 3600
    await here.chat()
    assert here.host.authority.forms[-1]["grant_type"] == "refresh_token"
    assert len(here.host.authority.forms) == 2


async def test_a_provider_that_is_down_does_not_end_the_sign_in(here: Place) -> None:
    await here.put()
    await here.sign_in()
    here.host.authority.expire()
    here.host.authority.instead["/token"] = said({}, 503)
    [problem] = (await here.chat())["tool_problems"]
    assert problem["code"] == "tool_server.oauth"
    del here.host.authority.instead["/token"]
    assert (await here.chat())["tool_problems"] == []


# As whom


async def test_a_client_signs_in_as_itself(here: Place) -> None:
    authority = here.host.authority
    authority.clients["bot"] = client("bot", "s3cret-of-bot")
    oauth = {"client_id": "bot", "client_secret": "s3cret-of-bot", "issuer": authority.issuer, "as_itself": True}
    assert (await here.put(oauth=oauth)).json()["oauth"] == {
        "client_id": "bot", "issuer": authority.issuer, "scope": "", "as_itself": True, "each": False,
    }  # fmt: skip
    assert "s3cret-of-bot" not in stored(here.data)
    assert (await here.chat())["tool_problems"] == []
    assert authority.forms[-1]["grant_type"] == "client_credentials"
    assert authority.forms[-1]["resource"] == here.host.url
    authority.expire()
    await here.put(others="always")
    assert (await here.chat())["tool_problems"] == []
    assert len(here.host.calls) == 2
    assert (await here.begin())["url"] == ""
    authority.clients.clear()
    authority.expire()
    [problem] = (await here.chat())["tool_problems"]
    assert problem["code"] == "tool_server.sign_in"


async def test_a_client_that_was_registered_beforehand_is_used(here: Place) -> None:
    authority = here.host.authority
    authority.clients["ours"] = client("ours", "s3cret", f"{PUBLIC}/tool-servers/wiki/callback")
    await here.put(oauth={"client_id": "ours", "client_secret": "s3cret", "issuer": authority.issuer})
    assert (await here.sign_in()).status == 200
    assert "/register" not in authority.seen
    assert (await here.chat())["tool_problems"] == []


async def test_where_a_document_stands_for_a_client_nothing_is_registered(
    tmp_path: Path, upstream: Upstream, host: Guarded
) -> None:
    host.authority.says = {"client_id_metadata_document_supported": True}
    async with place(tmp_path, upstream, host, public_url="https://llmos.example") as here:
        await here.put()
        begun = await here.begin()
        asked = query_of(begun["address"])
        assert asked["client_id"] == "https://llmos.example/tool-servers/wiki/client"
        document = (await here.browser.get("/tool-servers/wiki/client")).json()
        assert (document["client_id"], document["redirect_uris"]) == (asked["client_id"], [asked["redirect_uri"]])
        host.authority.clients[asked["client_id"]] = client(asked["client_id"], "", asked["redirect_uri"])
        ended = await browse(begun["address"])
        assert (await here.admin.post("/tool-servers/wiki/sign-in/answer", {"address": ended})).status == 200
        assert (await here.admin.get("/tool-servers/wiki/tools")).status == 200
    assert "/register" not in host.authority.seen


async def test_without_registration_the_admin_hears_what_to_register(here: Place) -> None:
    here.host.authority.says = {"registration_endpoint": None}
    await here.put()
    reply = await here.admin.post("/tool-servers/wiki/sign-in", {})
    assert (reply.status, reply.json()["code"]) == (409, "tool_server.no_registration")
    assert f"{PUBLIC}/tool-servers/wiki/callback" in reply.json()["hint"]


@pytest.mark.parametrize(
    ("answer", "said_so"),
    [
        (
            said({"error": "invalid_redirect_uri", "error_description": "<b>secret</b>"}, 400),
            "400 invalid_redirect_uri",
        ),
        (said({"client_id": "a", "token_endpoint_auth_method": "private_key_jwt"}, 201), "registers no client"),
        (said({"client_id": "a", "token_endpoint_auth_method": "client_secret_basic"}, 201), "registers no client"),
        (said(b"no json", 201), "registers no client"),
    ],
)
async def test_a_registration_that_is_of_no_use_is_none(here: Place, answer: Any, said_so: str) -> None:  # noqa: ANN401
    here.host.authority.instead["/register"] = answer
    await here.put()
    reply = await here.admin.post("/tool-servers/wiki/sign-in", {})
    assert (reply.json()["code"], said_so in reply.json()["detail"]) == ("tool_server.oauth", True)
    assert "secret" not in reply.json()["detail"]


@pytest.mark.parametrize(
    "oauth",
    [
        {"client_secret": "x"},
        {"client_id": "a", "client_secret": "x"},
        {"client_id": "a", "as_itself": True},
        {"client_id": "a", "issuer": "ftp://a.example"},
        {"client_id": "a\nb"},
        {"client_id": "a", "client_secret": "x", "issuer": "https://a.example", "as_itself": True, "each": True},
    ],
)
async def test_a_secret_goes_to_somebody_who_is_named(here: Place, oauth: dict[str, Any]) -> None:
    assert (await here.put(oauth=oauth)).json()["code"] == "tool_server.invalid"


async def test_a_secret_is_kept_for_the_same_client_and_for_no_other(here: Place) -> None:
    authority = here.host.authority
    authority.clients["bot"] = client("bot", "s3cret")
    oauth = {"client_id": "bot", "issuer": authority.issuer, "as_itself": True}
    await here.put(oauth=oauth | {"client_secret": "s3cret"})
    assert (await here.put(oauth=oauth)).status == 200
    assert (await here.put(oauth=oauth | {"issuer": "https://evil.example"})).status == 400
    await here.chat()
    assert here.host.calls == ["deployments"]


async def test_a_server_of_the_file_signs_in_and_leaves_nothing_behind(
    tmp_path: Path, upstream: Upstream, host: Guarded
) -> None:
    host.authority.clients["bot"] = client("bot", "s3cret")
    oauth = f'{{ client_id = "bot", client_secret = "s3cret", issuer = "{host.authority.issuer}", as_itself = true }}'
    file = tmp_path / "servers.toml"
    file.write_text(f'[servers.wiki]\nurl = "{host.url}"\nothers = "always"\noauth = {oauth}\n')
    async with place(tmp_path, upstream, host, tool_servers=str(file)) as here:
        assert (await here.chat())["tool_problems"] == []
        assert host.calls == ["deployments"]
        assert "s3cret" not in stored(here.data) + json.dumps((await here.admin.get("/tool-servers")).json())
    async with place(tmp_path, upstream, host) as here:
        assert (await here.alice.request("DELETE", "/tool-servers/wiki/sign-in")).status == 404
        assert (await here.admin.request("DELETE", "/tool-servers/wiki/sign-in")).status == 204
        assert (await here.admin.request("DELETE", "/tool-servers/wiki/sign-in")).status == 404
        assert stored(here.data, "tool_server_grants") == "[]"


# Everybody as themselves


async def test_where_everybody_signs_in_nobody_calls_as_another(here: Place) -> None:
    authority = here.host.authority
    await here.put(oauth={"each": True}, users=["alice", "bob"])
    bob, eve = (
        replace(here, alice=here.admin.acting_as(name), admin=here.admin.acting_as(name)) for name in ("bob", "eve")
    )
    alice = replace(here, admin=here.alice)
    [problem] = (await here.chat())["tool_problems"]
    assert (problem["code"], problem["hint"]) == ("tool_server.sign_in", "Sign in: llmos tool-servers sign-in wiki")
    assert (await alice.sign_in()).status == 200
    assert (await alice.chat())["tool_problems"] == []
    [of_alice] = authority.access
    assert [one["sign_in"] for one in (await here.alice.get("/me/tool-servers")).json()["items"]] == ["done"]
    [needed] = (await bob.alice.get("/me/tool-servers")).json()["items"]
    assert (needed["own"], needed["sign_in"]) == (True, "needed")
    [problem] = (await bob.chat())["tool_problems"]
    assert problem["code"] == "tool_server.sign_in"
    assert (await bob.sign_in()).status == 200
    assert (await bob.chat())["tool_problems"] == []
    sent = [one["authorization"] for one in here.host.headers if "authorization" in one]
    assert set(sent) == {f"Bearer {token}" for token in authority.access}
    assert await eve.code() == "tool_server.unknown"
    assert (await eve.chat())["tool_problems"] == []
    assert here.host.calls == ["deployments"] * 2

    assert (await bob.admin.request("DELETE", "/tool-servers/wiki/sign-in?user_id=alice")).status == 403
    assert (await bob.admin.request("DELETE", "/tool-servers/wiki/sign-in")).status == 204
    assert list(authority.access) == [of_alice]
    assert (await here.admin.request("DELETE", "/tool-servers/wiki/sign-in?user_id=alice")).status == 204
    assert authority.access == {}


async def test_a_way_that_somebody_began_is_for_nobody_else(here: Place) -> None:
    await here.put(oauth={"each": True})
    bob = here.admin.acting_as("bob")
    alice = replace(here, admin=here.alice)
    ended = await browse((await alice.begin())["address"])
    assert (await bob.post("/tool-servers/wiki/sign-in/answer", {"address": ended})).status == 403
    address, cookie = await alice.to_provider(await alice.begin())
    await here.put(oauth={"each": False})
    back = path_of(await browse(address))
    assert (await here.browser.get(back, headers=cookie)).status == 403
    assert here.host.authority.forms == []


async def test_who_is_deactivated_leaves_no_tokens(here: Place) -> None:
    await here.put(oauth={"each": True})
    alice, bob = (replace(here, admin=here.admin.acting_as(name)) for name in ("alice", "bob"))
    await alice.sign_in()
    [of_alice] = here.host.authority.access
    await bob.sign_in()
    begun = await bob.begin()
    assert (await here.admin.request("PATCH", "/users/bob", json_body={"active": False})).status == 200
    assert list(here.host.authority.access) == [of_alice]
    assert (await here.admin.request("PATCH", "/users/bob", json_body={"active": True})).status == 200
    assert [one["sign_in"] for one in (await bob.admin.get("/me/tool-servers")).json()["items"]] == ["needed"]
    assert (await here.browser.get(path_of(begun["url"]), headers=await bob.session())).status == 403


async def test_another_way_of_signing_in_ends_the_sign_ins_of_all(here: Place) -> None:
    await here.put(oauth={"each": True})
    for name in ("alice", "bob"):
        await replace(here, admin=here.admin.acting_as(name)).sign_in()
    assert len(here.host.authority.access) == 2
    await here.put(oauth={"each": False})
    assert here.host.authority.access == {}
    with sqlite3.connect(here.data / "llmos.db") as rows:
        assert rows.execute("SELECT count(*) FROM tool_server_grants").fetchone() == (0,)


async def test_who_is_sent_a_link_does_not_sign_in_for_the_sender(here: Place) -> None:
    await here.put(oauth={"each": True})
    begun = await replace(here, admin=here.alice).begin()
    await here.admin.acting_as("bob").get("/me")
    stranger = await here.browser.get(path_of(begun["url"]))
    assert (stranger.status, b"Sign in here as alice" in stranger.body) == (401, True)
    for other in ("bob", "admin"):
        reply = await here.browser.get(path_of(begun["url"]), headers=await here.session(other))
        assert (reply.status, b"Somebody else began this sign-in" in reply.body) == (403, True)
    reply = await here.browser.get(path_of(begun["url"]), headers=await here.session("alice"))
    assert reply.status == 303


# Who cheats


async def test_a_sign_in_is_good_for_one_browser_one_answer_and_one_server(here: Place) -> None:
    await here.put()
    begun = await here.begin()
    address, cookie = await here.to_provider(begun)
    back = path_of(await browse(address))
    session = await here.session()
    assert (await here.browser.get(path_of(begun["url"]), headers=session)).status == 403
    both = {"cookie": f"{session['cookie']}; {cookie['cookie']}"}
    assert (await here.browser.get(path_of(begun["url"]), headers=both)).status == 303
    for wrong in (
        await here.browser.get(back),
        await here.browser.get(back, headers={"cookie": "llmos_tool_way=another"}),
        await here.browser.get(back.replace("state=", "state=x"), headers=cookie),
        await here.browser.get("/tool-servers/wiki/callback?code=x", headers=cookie),
        await here.browser.get(back.replace("/wiki/", "/other/"), headers=cookie),
        await here.browser.get("/tool-servers/wiki/sign-in?state=x"),
    ):
        assert wrong.status == 403
    assert here.host.authority.forms == []
    assert (await here.browser.get(back, headers=cookie)).status == 200
    assert (await here.browser.get(back, headers=cookie)).status == 403
    assert len(here.host.authority.forms) == 1


async def test_who_begins_and_never_finishes_is_held_up(here: Place) -> None:
    await here.put()
    for _ in range(MOST_BEGUN):
        await here.begin()
    registered = len(here.host.authority.clients)
    reply = await here.admin.post("/tool-servers/wiki/sign-in", {})
    assert (reply.status, reply.json()["code"]) == (429, "tool_server.sign_ins")
    assert reply.headers["retry-after"] == str(SECONDS)
    assert len(here.host.authority.clients) == registered


async def test_a_code_that_was_used_gets_no_token(here: Place) -> None:
    await here.put()
    first = await browse((await here.begin())["address"])
    await here.admin.post("/tool-servers/wiki/sign-in/answer", {"address": first})
    second_way = query_of((await here.begin())["address"])
    replayed = query_of(first) | {"state": second_way["state"]}
    reply = await here.admin.post("/tool-servers/wiki/sign-in/answer", {"address": f"{PUBLIC}/?{urlencode(replayed)}"})
    assert (reply.status, reply.json()["code"]) == (502, "tool_server.sign_in_refused")
    assert (await here.shown())[0] == "done"


@pytest.mark.parametrize("issuer", ["https://evil.example", None])
async def test_another_issuer_does_not_answer_in_the_place_of_ours(here: Place, issuer: str | None) -> None:
    here.host.authority.says = {"authorization_response_iss_parameter_supported": True}
    await here.put()
    back = query_of(await browse((await here.begin())["address"]))
    back = {name: value for name, value in (back | {"iss": issuer}).items() if value is not None}
    reply = await here.admin.post("/tool-servers/wiki/sign-in/answer", {"address": f"{PUBLIC}/?{urlencode(back)}"})
    assert reply.json()["code"] == "tool_server.oauth"
    assert here.host.authority.forms == []


async def test_who_says_no_at_the_provider_is_not_signed_in(here: Place) -> None:
    await here.put()
    state = query_of((await here.begin())["address"])["state"]
    said_no = f"{PUBLIC}/?{urlencode({'error': 'access_denied', 'state': state})}"
    reply = await here.admin.post("/tool-servers/wiki/sign-in/answer", {"address": said_no})
    assert (reply.status, reply.json()["code"]) == (403, "tool_server.sign_in_declined")
    assert "access_denied" in reply.json()["detail"]


async def test_who_is_no_admin_any_more_does_not_come_back(here: Place) -> None:
    await here.admin.post("/users", {"user_id": "root", "role": "system_admin"})
    await here.put()
    root = replace(here, admin=here.admin.acting_as("root"))
    address, cookie = await root.to_provider(await root.begin())
    await here.admin.request("PATCH", "/users/root", json_body={"role": "user"})
    assert (await here.browser.get(path_of(await browse(address)), headers=cookie)).status == 403
    assert here.host.authority.forms == []


async def test_only_admins_begin_and_end(here: Place) -> None:
    await here.put()
    for answer in (
        await here.alice.post("/tool-servers/wiki/sign-in", {}),
        await here.alice.post("/tool-servers/wiki/sign-in/answer", {"address": "x"}),
        await here.alice.request("DELETE", "/tool-servers/wiki/sign-in"),
    ):
        assert answer.status == 403


@pytest.mark.parametrize(
    "says",
    [
        {"issuer": "https://evil.example"},
        {"code_challenge_methods_supported": None},
        {"code_challenge_methods_supported": ["plain"]},
        {"token_endpoint": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": "https://user@auth.example/token"},
    ],
)
async def test_a_provider_that_makes_no_sense_is_not_used(here: Place, says: dict[str, Any]) -> None:
    here.host.authority.says = says
    await here.put()
    assert await here.code() == "tool_server.oauth"
    assert "/register" not in here.host.authority.seen


@pytest.mark.parametrize("path", ["resource", "server"])
@pytest.mark.parametrize(
    "answer", [said(b"[" * 200_000), said(b'{"x":"' + b"x" * (1 << 20)), said({}, 302, {"location": "http://[::1]/"})]
)
async def test_metadata_that_are_huge_broken_or_elsewhere_are_not_taken(here: Place, path: str, answer: Any) -> None:  # noqa: ANN401
    if path == "resource":
        here.host.instead[here.host.resource] = answer
    else:
        here.host.authority.instead["/.well-known/oauth-authorization-server"] = answer
        here.host.authority.instead["/.well-known/openid-configuration"] = answer
    await here.put()
    assert await here.code() == "tool_server.oauth"


async def test_compressed_metadata_are_not_opened(here: Place) -> None:
    bomb = said(b"\x1f\x8b", headers={"content-encoding": "gzip"})
    here.host.instead[here.host.resource] = bomb
    await here.put()
    assert await here.code() == "tool_server.oauth"


async def test_metadata_of_another_resource_are_refused(here: Place) -> None:
    there = {"resource": "https://bank.example/mcp", "authorization_servers": [here.host.authority.issuer]}
    here.host.instead[here.host.resource] = said(there)
    await here.put()
    assert await here.code() == "tool_server.oauth"
    assert here.host.authority.seen == []


async def test_a_tool_server_in_our_own_network_is_not_signed_in_to(
    tmp_path: Path, upstream: Upstream, host: Guarded
) -> None:
    async with place(tmp_path, upstream, host, allow_private_urls=False) as here:
        await here.put(url=host.url.replace("http://", "https://"))
        reply = await here.admin.post("/tool-servers/wiki/sign-in", {})
        assert (reply.status, reply.json()["code"]) == (400, "address.private")
        await here.put()
        assert await here.code() == "tool_server.oauth"  # without encryption
    assert host.headers == host.authority.seen == []


@pytest.mark.parametrize("path", ["resource", "/.well-known/oauth-authorization-server", "/register"])
async def test_a_provider_that_says_nothing_is_left(here: Place, path: str) -> None:
    place_of = here.host.instead if path == "resource" else here.host.authority.instead
    place_of[here.host.resource if path == "resource" else path] = silent
    here.services.tool_sign_ins._grants.speaker._patience = 0.5  # twenty seconds in earnest
    await here.put()
    reply = await here.admin.post("/tool-servers/wiki/sign-in", {})
    assert (reply.status, reply.json()["code"]) == (504, "tool_server.oauth_timeout")


async def test_a_token_does_not_follow_a_redirect_to_another_host(here: Place) -> None:
    await here.put()
    await here.sign_in()
    here.host.instead["/mcp"] = said({}, 307, {"location": f"{here.host.authority.issuer}/elsewhere"})
    assert (await here.admin.get("/tool-servers/wiki/tools")).status == 502
    assert "/elsewhere" not in here.host.authority.seen


async def test_more_rights_are_asked_for_when_a_server_wants_them(here: Place) -> None:
    """The session that is closed after the refusal gets a friendly answer, which takes nothing of it back."""
    challenge = 'Bearer error="insufficient_scope", scope="pages:write"'

    async def narrow(scope: Scope, receive: Receive, send: Send) -> None:
        refused = scope["method"] == "POST"
        more = {"www-authenticate": challenge} if refused else {}
        await said({}, 403 if refused else 200, more)(scope, receive, send)

    await here.put()
    await here.sign_in()
    assert (await here.chat())["tool_problems"] == []
    here.host.instead["/mcp"] = narrow
    [problem] = (await here.chat())["tool_problems"]
    assert (problem["code"], "pages:write" in problem["message"]) == ("tool_server.scope", True)
    state, why = await here.shown()
    assert (state, "pages:write" in why) == ("again", True)
    del here.host.instead["/mcp"]
    assert (await here.begin())["scope"].split() == [SCOPE, "pages:write"]
    assert (await here.chat())["tool_problems"] == []


# Helpers


def second(here: Place) -> Any:  # noqa: ANN401 - the same class as the first
    """Return what another node would be: it shares nothing but the database and the keys."""
    from llmos_lite.core.toolservers.grants import Grants  # noqa: PLC0415
    from llmos_lite.engines.sealing import Seals  # noqa: PLC0415
    from llmos_lite.records.toolgrants import ToolGrantRows  # noqa: PLC0415

    return Grants(ToolGrantRows(here.services.database), Seals(here.data / "keys"), private=True)


def stored(data: Path, *tables: str) -> str:
    """Return all that is in the rows."""
    with sqlite3.connect(data / "llmos.db") as rows:
        names = tables or [name for (name,) in rows.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return "".join(str(rows.execute(f"SELECT * FROM {name}").fetchall()) for name in names)  # noqa: S608
