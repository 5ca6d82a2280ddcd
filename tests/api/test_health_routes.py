from __future__ import annotations

import asyncio

import pytest
from asgi_client import Client

from llmos_lite.api.app import App
from llmos_lite.bootstrap import Services


async def test_health_and_ready_need_no_credential(client: Client) -> None:
    stranger = client.without_credential()
    health = await stranger.get("/health")
    assert (health.status, health.json()["status"]) == (200, "ok")
    ready = await stranger.get("/ready")
    assert (ready.status, ready.json()["ready"]) == (200, True)
    assert set(ready.json()["checks"]) == {"rows", "journal", "disk", "jobs", "git", "volumes"}


async def test_what_is_wrong_is_said_and_volumes_are_named_to_the_admin_only(
    client: Client, services: Services
) -> None:
    services.edits.problems["user:alice"] = "It is broken."
    said = await client.get("/ready")
    assert (said.status, said.json()["volumes"]) == (503, {"user:alice": "It is broken."})
    for other in (client.without_credential(), client.acting_as("bob")):
        answer = (await other.get("/ready")).json()
        assert (answer["ready"], answer["volumes"]) == (False, {})
        assert answer["checks"]["volumes"] == "1 with a problem"


async def test_a_machine_without_git_is_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    answer = await client.get("/ready")
    assert answer.status == 503
    assert "git 2.31 or newer" in answer.json()["checks"]["git"]


async def test_a_database_that_fails_makes_it_unready(client: Client, services: Services) -> None:
    async with services.database.session() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("DROP TABLE members")
        await connection.exec_driver_sql("DROP TABLE teams")
    answer = await client.without_credential().get("/ready")
    assert answer.status in {500, 503}


async def test_metrics_count_chats(client: Client) -> None:
    await client.acting_as("alice").post("/chat", {"message": "How do I review code?"})
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'llmos_chats_total{ended="complete"} 1.0' in answer.body.decode()


async def test_the_app_speaks_the_lifespan_protocol(app: App) -> None:
    sent: list[str] = []
    steps = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> dict[str, str]:
        return {"type": next(steps)}

    async def send(message: dict[str, str]) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)  # type: ignore[arg-type]  # ASGI's messages are dictionaries
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert (await Client(app).get("/health")).status == 503


async def test_a_start_that_fails_is_reported(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, str]] = []

    async def fail() -> None:
        raise RuntimeError("no")

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, str]) -> None:
        sent.append(message)

    monkeypatch.setattr(app, "start", fail)
    await app({"type": "lifespan"}, receive, send)  # type: ignore[arg-type]  # as above
    assert sent == [{"type": "lifespan.startup.failed", "message": "no"}]


async def test_a_web_socket_is_closed(app: App) -> None:
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await app({"type": "websocket", "path": "/"}, receive, send)  # type: ignore[arg-type]  # as above
    assert sent[0]["type"] == "websocket.close"


async def test_many_first_requests_load_the_routes_once(client: Client, app: App) -> None:
    answers = await asyncio.gather(*(client.get("/me") for _ in range(5)))
    assert {answer.status for answer in answers} == {200}
    assert await app.routes() is await app.routes()


async def test_whoever_is_nobody_asks_only_so_often(client: Client, services: Services) -> None:
    object.__setattr__(services.limits, "defaults", type(services.limits.defaults)(strangers=2))
    stranger = client.without_credential()
    assert [(await stranger.get("/ready")).status for _ in range(3)] == [200, 200, 429]
    assert (await stranger.get("/metrics")).status == 429
    assert (await stranger.get("/health")).status == 200
    assert (await client.get("/ready")).status == 200


async def test_figures_count_as_requests(client: Client) -> None:
    assert (await client.request("PUT", "/limits/user:admin", json_body={"requests": 2})).status == 200
    assert [(await client.get("/metrics")).status for _ in range(3)] == [200, 200, 429]
    assert (await client.get("/ready")).status == 429
