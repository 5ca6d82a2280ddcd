"""Usage and limits over HTTP, and the headers of a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from asgi_client import Client

from llmos_lite.api.app import create_app
from llmos_lite.api.errors import Message, Receive, Scope, Send
from llmos_lite.api.middleware import Edge
from llmos_lite.api.proxies import Proxies
from llmos_lite.bootstrap import Services, open_services
from llmos_lite.errors import Invalid
from llmos_lite.settings import Settings


@asynccontextmanager
async def serving(settings: Settings, **changes: object) -> AsyncIterator[tuple[Client, Services]]:
    settings = replace(settings, **changes)  # type: ignore[arg-type]
    async with open_services(settings, serve=False) as services:
        key = (settings.data / "admin.key").read_text().strip()
        yield Client(create_app(services), {"Authorization": f"Bearer {key}"}), services


async def test_a_chat_is_counted_and_a_budget_refuses_the_next(settings: Settings) -> None:
    async with serving(settings, limit_user_tokens=6000, limit_answer=2000) as (client, _):
        alice = client.acting_as("alice")
        first = await alice.post("/chat", {"message": "How do I review a pull request?"})
        assert first.status == 200
        usage = (await alice.get("/usage")).json()
        assert (usage["subject"], usage["requests"], usage["money"]) == ("user:alice", 1, 0)
        assert usage["tokens_in"] + usage["tokens_out"] > 0
        assert usage["limits"]["tokens"] == 6000
        changed = await client.request("PUT", "/limits/user:alice", json_body={"tokens": 10})
        assert (changed.status, changed.json()["tokens"], changed.json()["changed_by"]) == (200, 10, "admin")
        refused = await alice.post("/chat", {"message": "And another?"})
        assert (refused.status, refused.json()["code"]) == (429, "budget.tokens")
        assert int(refused.headers["retry-after"]) == refused.json()["retry_after"] > 0
        assert refused.json()["limit"] == 10
        assert (await client.request("DELETE", "/limits/user:alice")).json()["tokens"] == 6000
        assert (await client.get("/limits")).json()["items"] == []
        everybody = (await client.get("/usage/all")).json()
        assert [(row["subject"], row["requests"]) for row in everybody["items"]] == [("user:alice", 1)]


async def test_too_many_requests_are_refused_on_every_route(settings: Settings) -> None:
    async with serving(settings, limit_requests=2) as (client, _):
        alice = client.acting_as("alice")
        assert [(await alice.get("/me")).status for _ in range(3)] == [200, 200, 429]
        for refused in (await alice.post("/chat", {"message": "x"}), await alice.get("/skills")):
            assert (refused.status, refused.json()["code"]) == (429, "limit.requests")
            assert int(refused.headers["retry-after"]) in range(1, 31)
        assert (await client.get("/health")).status == 200
        assert (await client.acting_as("bob").get("/me")).status == 200


async def test_money_is_shown_in_the_unit_of_the_prices(settings: Settings) -> None:
    prices = '{"offline": {"input": 1000000, "output": 0}}'
    async with serving(settings, prices=prices, limit_user_money=0.5) as (client, services):
        refused = await client.acting_as("alice").post("/chat", {"message": "x"})
        assert (refused.json()["code"], refused.json()["limit"]) == ("budget.money", 0.5)
        row = (await client.request("PUT", "/limits/team:sre", json_body={"money": 1.5, "streams": 2})).json()
        assert (row["money"], row["streams"], row["requests"]) == (1.5, 2, 0)
        (own,) = (await client.get("/limits")).json()["items"]
        assert (own["money"], own["tokens"], own["requests"]) == (1.5, None, None)
        assert services.limits.defaults.user_micros == 500_000


WRONG: list[tuple[str, str, object]] = [
    ("PUT", "/limits/nobody", {}),
    ("PUT", "/limits/user:..%2Fx", {}),
    ("PUT", "/limits/user:a", {"tokens": -1}),
    ("PUT", "/limits/user:a", {"tokens": 1 << 60}),
    ("PUT", "/limits/user:a", {"money": 1e400}),
    ("PUT", "/limits/user:a", {"coins": 1}),
    ("PUT", "/limits/user:a", {"tokens": "many"}),
    ("GET", "/usage?month=never", None),
    ("GET", "/usage?subject=x", None),
    ("GET", "/usage/all?cursor=x", None),
]


async def test_what_cannot_be_meant_is_refused(client: Client) -> None:
    for method, path, body in WRONG:
        assert (await client.request(method, path, json_body=body)).status in {400, 404}, path


async def test_only_a_system_admin_sets_limits_and_sees_everybody(client: Client) -> None:
    alice = client.acting_as("alice")
    for method, path in (
        ("PUT", "/limits/user:alice"),
        ("DELETE", "/limits/user:alice"),
        ("GET", "/limits"),
        ("GET", "/usage/all"),
    ):
        assert (await alice.request(method, path, json_body={} if method == "PUT" else None)).status == 403
    assert (await alice.get("/usage?subject=user:bob")).status == 404
    assert (await alice.get("/usage?subject=team:sre")).status == 404


async def test_a_model_without_a_price_is_refused_when_the_settings_say_so(settings: Settings) -> None:
    async with serving(settings, unknown_price="refuse") as (client, _):
        refused = await client.acting_as("alice").post("/chat", {"message": "x"})
        assert (refused.status, refused.json()["code"]) == (403, "price.unknown")


async def test_settings_that_cannot_be_meant_stop_the_start(settings: Settings) -> None:
    for changes in ({"prices": "{"}, {"unknown_price": "maybe"}):
        with pytest.raises(Invalid):
            async with serving(settings, **changes):
                pass
    with pytest.raises(Invalid, match="LLMOS_TRUSTED_PROXIES"):
        async with serving(settings, trusted_proxies="10.0.0.0/8, nonsense"):
            pass


# -- who the client is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusted", "peer", "said", "client"),
    [
        ("", "10.0.0.1", ["198.51.100.7"], "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", "10.0.0.2", ["198.51.100.7"], "10.0.0.2"),
        ("10.0.0.0/8", "10.0.0.1", ["6.6.6.6, 198.51.100.7, 10.0.0.9"], "198.51.100.7"),
        ("10.0.0.0/8", "10.0.0.1", ["6.6.6.6", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.0/8", "10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.0/8", "10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("10.0.0.0/8", "::ffff:10.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1"),
        ("10.0.0.0/8", "10.0.0.1", ["2001:DB8::1"], "2001:db8::1"),
        ("10.0.0.0/8", "10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.1", ["6.6.6.6, <script>"], "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.0/8", "a socket", ["198.51.100.7"], "a socket"),
        ("10.0.0.0/8", None, ["198.51.100.7"], None),
    ],
)
async def test_only_a_trusted_proxy_says_who_the_client_is(
    trusted: str, peer: str | None, said: list[str], client: str | None
) -> None:
    seen: list[object] = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        seen.append(scope["client"] and scope["client"][0])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        return await asyncio.Future()

    async def send(_message: Message) -> None:
        return

    edge = Edge(app, max_body=1, max_import=1, proxies=Proxies(trusted))
    headers = [(b"x-forwarded-for", value.encode()) for value in said]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "client": peer and (peer, 1)}
    await edge(scope, receive, send)
    assert seen == [client]
