"""Secrets in paths: nothing behind the edge sees them, and no answer or log tells them."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from asgi_client import Answer, Client
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.api.app import App
from llmos_lite.api.errors import send_problem
from llmos_lite.api.links import lift, linked_actor
from llmos_lite.api.middleware import Edge
from llmos_lite.bootstrap import Services
from llmos_lite.core.traces.redaction import redactor_of
from llmos_lite.errors import LlmosError

KEY = "llmos_0123abcd_" + "5f" * 32


def scope_of(path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "headers": [],
        "query_string": b"",
    }


@pytest.mark.parametrize(
    ("path", "shown", "token"),
    [
        (f"/c/{KEY}/t/sre", "/c/llmos_0123abcd/t/sre", KEY),
        (f"/mcp/t/{KEY}", "/mcp/t/llmos_0123abcd", KEY),
        (f"/c/{KEY}", "/c/llmos_0123abcd", KEY),
        (f"/c/{KEY[:-3]}", "/c/llmos_0123abcd", KEY[:-3]),
        (f"/c/{KEY}x/{KEY}", "/c/llmos_0123abcd/llmos_0123abcd", f"{KEY}x"),
        (f"/c/{KEY.upper()}", "/c/llmos_0123ABCD", KEY.upper()),
        (f"/nothing/{KEY}.git", "/nothing/llmos_0123abcd.git", KEY),
        ("/c/x_" + "5f" * 32, "/c/x_-", "5f" * 32),
    ],
)
def test_a_secret_is_taken_out_of_the_path(path: str, shown: str, token: str) -> None:
    scope = scope_of(path)
    assert lift(scope)
    assert (scope["path"], scope["raw_path"].decode(), scope["state"]["link"]) == (shown, shown, token)


@pytest.mark.parametrize("path", ["/", "/c/x", "/skills/a_b", "/git/users/alice.git/info/refs", "/" + "5f" * 32])
def test_other_paths_stay(path: str) -> None:
    scope = scope_of(path)
    assert not lift(scope)
    assert scope == scope_of(path)


@given(st.text(alphabet="llmos_0123abcdef/.-x\u00e9", max_size=60), st.text(alphabet="/x._- ", max_size=10))
def test_wherever_a_key_stands_its_secret_half_is_gone(before: str, after: str) -> None:
    scope = scope_of(f"/{before}{KEY}{after}")
    assert lift(scope)
    assert KEY[15:] not in scope["path"]
    assert KEY[15:] not in scope["raw_path"].decode()


def test_a_trace_that_quotes_an_address_loses_the_token() -> None:
    said = redactor_of("on", {}).text(
        f"Add http://127.0.0.1:8420/c/{KEY}/t/sre, and http://127.0.0.1:8420/mcp/t/{KEY}."
    )
    assert KEY[6:] not in str(said)
    assert "/t/sre" in str(said)


class Linked:
    """Answers a path with a token as a route would."""

    def __init__(self, services: Services, headers: list[tuple[bytes, bytes]]) -> None:
        self.services, self.headers = services, headers

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:  # noqa: ANN401
        try:
            actor = await linked_actor(self.services.capabilities, scope, "catalog")
        except LlmosError as error:
            await send_problem(send, error)
            return
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": f"{actor.user_id} {scope['path']}".encode()})


async def ask(services: Services, token: str, *headers: tuple[bytes, bytes]) -> Answer:
    edge = Edge(Linked(services, list(headers)), max_body=100, max_import=100)
    return await Client(edge, {"X-API-Key": KEY}).get(f"/c/{token}/x")


async def test_the_token_in_the_path_says_who_asks_and_no_header_does(services: Services) -> None:
    token, key = await services.capabilities.create(
        await services.accounts.actor((await services.accounts.ensure("admin")).user_id), "catalog", "x"
    )
    answer = await ask(services, token, (b"cache-control", b"public, max-age=60"))
    assert (answer.status, answer.body.decode()) == (200, f"admin /c/llmos_{key.key_id}/x")
    assert answer.headers["cache-control"] == "private, max-age=60"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert [name for name, _ in answer.raw].count("referrer-policy") == 1
    assert (await ask(services, token)).headers["cache-control"] == "no-store"
    assert (await ask(services, token, (b"cache-control", b"private, no-cache"))).headers["cache-control"] == (
        "private, no-cache"
    )


@pytest.mark.parametrize(
    "token", ["llmos_00000000_" + "ab" * 32, "x", KEY[:-1], "llmos_", "%6c%6cmos_0123abcd_" + "0" * 64]
)
async def test_no_other_token_is_let_in(services: Services, token: str) -> None:
    answer = await ask(services, token)
    assert (answer.status, answer.json()["code"]) == (401, "credential.invalid")


async def test_no_answer_log_or_row_tells_a_token(
    client: Client, services: Services, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = (await client.post("/keys", {"purpose": "catalog", "name": "x"})).json()
    secret = made["key"]
    for method in ("GET", "POST", "DELETE", "PUT", "BREW"):
        for path in (f"/c/{secret}/nothing", f"/nothing/{secret}", f"/skills/{secret}", f"/git/{secret}.git/info/refs",
                     f"/traces/{secret}", f"/users/{secret}", f"/keys/{secret}", f"/t/{secret}/x%0a"):  # fmt: skip
            answer = await client.request(method, path)
            assert secret[15:] not in answer.body.decode(), path
            assert all(secret[15:] not in value for _, value in answer.raw)
    everything = await client.get("/audit/export")
    assert everything.status == 200
    assert secret[15:] not in everything.body.decode()
    assert secret[15:] not in caplog.text
    assert app.services is services


async def test_a_token_is_made_listed_and_ended_as_a_key(client: Client) -> None:
    await client.post("/teams", {"team_id": "sre"})
    await client.post("/users", {"user_id": "alice"})
    await client.post("/teams/sre/members", {"user_id": "alice"})
    alice = client.acting_as("alice")
    made = (await alice.post("/keys", {"purpose": "mcp", "name": "x", "teams": ["sre"]})).json()
    assert made["url"] == f"http://127.0.0.1:8420/mcp/t/{made['key']}"
    assert (made["scopes"], made["teams"], made["purpose"]) == (["skills:read"], ["sre"], "mcp")
    (listed,) = (await alice.get("/keys")).json()["items"]
    assert listed["purpose"] == "mcp"
    refused = await Client(client.app, {"Authorization": f"Bearer {made['key']}"}).get("/me")
    assert (refused.status, refused.json()["code"]) == (401, "credential.purpose")
    row = next(one for one in (await client.get("/audit?action=key.create")).json()["items"])
    assert row["detail"]["purpose"] == "mcp"
    assert (await alice.request("DELETE", f"/keys/{made['key_id']}")).status == 204
    plain = (await alice.post("/keys", {"name": "x", "scopes": ["skills:read"]})).json()
    assert (plain["purpose"], plain["url"]) == ("", "")


@pytest.mark.parametrize(
    "body",
    [
        {"purpose": "mcp", "scopes": ["skills:write"]}, {"purpose": "mcp", "teams": []}, {"purpose": "admin"},
        {"purpose": "mcp", "teams": ["sre", "hr"]}, {"purpose": "mcp", "user_id": "sre-cron"}, {"scopes": []}, {},
    ],
)  # fmt: skip
async def test_a_token_is_for_little(client: Client, body: dict[str, object]) -> None:
    answer = await client.post("/keys", {"name": "x"} | body)
    assert answer.status == 400, answer.body
