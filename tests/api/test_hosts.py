"""The server answers under its own names only, and to pages of other sites only when it was told to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from asgi_client import Client

from llmos_lite.api import middleware
from llmos_lite.api.app import create_app
from llmos_lite.api.errors import Message, Receive, Scope, Send
from llmos_lite.api.hosts import Hosts, open_to
from llmos_lite.api.middleware import Edge
from llmos_lite.bootstrap import open_services
from llmos_lite.errors import Forbidden, Invalid, LlmosError
from llmos_lite.settings import Settings


@pytest.mark.parametrize(
    "host",
    [
        b"localhost",
        b"LOCALHOST:8420",
        b"127.0.0.1:1",
        b"[::1]:8420",
        b"10.1.2.3",
        b"llmos.example.org",
        b"a.corp",
        b"x.y.corp:80",
    ],
)
def test_its_own_names_and_addresses_are_fine(host: bytes) -> None:
    hosts = Hosts(" .corp , other ", "https://llmos.example.org:444/")
    hosts.check(host)
    hosts.check(host)


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example",
        b"localhost.evil.example",
        b"corp",
        b"evilcorp",
        b"llmos.example.org.evil",
        b"2130706433",
        b"0x7f.1",
        b"127.1",
    ],
)
def test_other_names_are_refused(host: bytes) -> None:
    with pytest.raises(Forbidden) as refused:
        Hosts(".corp", "https://llmos.example.org").check(host)
    assert refused.value.code == "request.host_unknown"


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"evil.example/#@localhost",
        b"evil.example/#@127.0.0.1:8420",
        b"localhost@evil.example",
        b"localhost\\@evil",
        b"localhost:80:80",
        b"localhost:",
        b"local host",
        b"localhost\x00",
        b"[::1",
        b"\xe2\x98\x83",
        b"..",
        b"a" * 300,
    ],
)
def test_what_is_no_name_is_refused(host: bytes) -> None:
    with pytest.raises(Invalid) as refused:
        Hosts("*").check(host)
    assert refused.value.code == "request.host"


async def nothing() -> Message:
    return {}


async def nowhere(message: Message) -> None:
    del message


@pytest.mark.parametrize("hosts", [(), (b"localhost", b"localhost"), (b"localhost", b"evil.example")])
def test_there_is_one_host_header(hosts: tuple[bytes, ...]) -> None:
    scope: Scope = {"path": "/me", "headers": [(b"host", host) for host in hosts]}
    with pytest.raises(Invalid):
        middleware.Request(scope, nothing, nowhere).check(0, Hosts("*"))


def test_any_name_is_fine_when_somebody_says_so() -> None:
    Hosts("*").check(b"anything.example")


async def test_a_rebound_name_reaches_nothing_but_the_probe(client: Client) -> None:
    evil = {"host": "evil.example"}
    answer = await client.get("/me", headers=evil)
    assert (answer.status, answer.json()["code"]) == (403, "request.host_unknown")
    assert (await client.get("/", headers=evil)).status == 403
    assert (await client.get("/git/system.git/info/refs?service=git-upload-pack", headers=evil)).status == 403
    assert (await client.get("/health", headers=evil)).status == 200


async def test_no_other_origin_is_let_in_by_default(client: Client) -> None:
    for origin in ("https://app.example", "null"):
        answer = await client.get("/me", headers={"Origin": origin})
        assert not [name for name in answer.headers if name.startswith("access-control")]
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        preflight = await client.request("OPTIONS", "/chat", headers=asked)
        assert preflight.status == 405
        assert not [name for name in preflight.headers if name.startswith("access-control")]


@pytest.fixture
async def opened(settings: Settings) -> AsyncIterator[Client]:
    async with open_services(replace(settings, cors="https://app.example, http://localhost:5173/"), serve=False) as one:
        key = (settings.data / "admin.key").read_text().strip()
        yield Client(create_app(one), {"Authorization": f"Bearer {key}"})


async def test_an_origin_that_was_named_is_let_in_without_cookies(opened: Client) -> None:
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    preflight = await opened.request("OPTIONS", "/chat", headers=asked)
    assert preflight.status == 200
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    answer = await opened.get("/me", headers={"Origin": "http://localhost:5173"})
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "http://localhost:5173")
    assert "access-control-allow-credentials" not in answer.headers
    for origin in ("https://evil.example", "https://app.example.evil", "null"):
        other = await opened.get("/me", headers={"Origin": origin})
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    "origins", ["*", "app.example", "https://*.example", "https://x/path", "ftp://x", "https://u@x"]
)
def test_what_is_no_origin_is_said(origins: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Answer nothing."""

    with pytest.raises(LlmosError):
        open_to(app, origins)


async def test_a_body_that_stops_coming_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio  # noqa: PLC0415 - for its event alone

    monkeypatch.setattr(middleware, "SILENCE", 0.05)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        assert scope
        assert send

    said: list[Message] = []

    async def receive() -> Message:
        if not said_first:
            said_first.append(True)
            return {"type": "http.request", "body": b"x", "more_body": True}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        said.append(message)

    said_first: list[bool] = []
    scope: Scope = {"type": "http", "path": "/x", "method": "POST", "headers": []}
    await Edge(app, max_body=10, max_import=10)(scope, receive, send)
    assert said[0]["status"] == 400
    assert b"request.slow" in said[1]["body"]


async def test_a_body_that_comes_byte_by_byte_is_not_waited_for_either(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio  # noqa: PLC0415 - as above

    monkeypatch.setattr(middleware, "SILENCE", 0.05)
    monkeypatch.setattr(middleware, "SLOWEST", 1 << 40)
    said: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        assert scope
        assert send

    async def receive() -> Message:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Message) -> None:
        said.append(message)

    scope: Scope = {"type": "http", "path": "/x", "method": "POST", "headers": []}
    async with asyncio.timeout(30):
        await Edge(app, max_body=1 << 60, max_import=10)(scope, receive, send)
    assert b"request.slow" in said[1]["body"]
