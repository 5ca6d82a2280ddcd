from __future__ import annotations

from typing import Any

import pytest
from asgi_client import Client
from described import DOCUMENT, TEXT
from fastapi.routing import APIRoute
from jsonschema import Draft202012Validator

from llmos_lite.api.app import App
from llmos_lite.api.auth import Needs
from llmos_lite.api.chat import ChatEndpoint
from llmos_lite.api.deps import Guest, Permission
from llmos_lite.api.discovery import Shelves
from llmos_lite.api.gateway import CountEndpoint, ModelsEndpoint, PlainEndpoint, WireEndpoint
from llmos_lite.api.git_http import PREFIX, GitEndpoint
from llmos_lite.api.health import Health, Metrics, Ready
from llmos_lite.api.openapi import OPEN, render
from llmos_lite.api.otlp import OtlpEndpoint
from llmos_lite.api.routes import all_routes, build
from llmos_lite.core.accounts.permissions import Scope

HOT = {
    ("POST", "/chat"): ChatEndpoint,
    ("GET", "/health"): Health,
    ("GET", "/ready"): Ready,
    ("GET", "/metrics"): Metrics,
    **dict.fromkeys([("POST", f"/v1/{name}") for name in ("chat/completions", "responses", "messages")], WireEndpoint),
    ("POST", "/v1/embeddings"): PlainEndpoint,
    ("POST", "/v1/messages/count_tokens"): CountEndpoint,
    ("GET", "/v1/models"): ModelsEndpoint,
    ("POST", "/v1/traces"): OtlpEndpoint,
    ("POST", "/v1/logs"): OtlpEndpoint,
}
METHODS = {"get", "put", "post", "delete", "patch"}
SEED = {
    ("post", "/chat"),
    ("get", "/skills"),
    ("get", "/skills/{skill_id}"),
    ("post", "/skills"),
    ("post", "/skills/promote"),
    ("post", "/evolve"),
    ("get", "/traces"),
    ("get", "/traces/{trace_id}"),
    ("get", "/volumes/stats"),
    ("get", "/volumes/history"),
}
OPERATIONS = [
    (method, path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if method in METHODS
]
NAMES = [f"{method} {path}" for method, path, _ in OPERATIONS]


def routes() -> list[APIRoute]:
    return [route for route in all_routes() if isinstance(route, APIRoute)]


def permissions(route: APIRoute) -> list[Permission | Guest | Shelves]:
    return [each.call for each in route.dependant.dependencies if isinstance(each.call, (Permission, Guest, Shelves))]


def declared() -> list[tuple[str, str, list[Needs]]]:
    """Return method, path and what is asked for, of every route there is: found by walking the app."""
    crud = [
        (method, route.path, [one.needs for one in permissions(route)])
        for route in routes()
        for method in sorted(route.methods)
    ]
    plain = [
        (method, getattr(route, "path", "?"), [found] if (found := needs_of(getattr(route, "endpoint", None))) else [])
        for route in all_routes()
        if not isinstance(route, APIRoute)
        for method in sorted(getattr(route, "methods", None) or {"?"})
    ]
    hot = [(method, path, [found] if (found := needs_of(kind)) else []) for (method, path), kind in HOT.items()]
    return [*crud, *plain, *hot, ("*", PREFIX, [GitEndpoint.needs])]


def needs_of(endpoint: object) -> Needs | None:
    found = getattr(endpoint, "needs", None)
    return found if isinstance(found, Needs) else None


DECLARED = declared()
WITHOUT_A_CREDENTIAL = {
    ("GET", "/health"), ("GET", "/ready"), ("POST", "/invitations/accept"), ("GET", "/invitation"),
    ("POST", "/invitation"), ("GET", "/"), ("GET", "/sign-in"), ("POST", "/sign-in"), ("POST", "/sign-out"),
    ("GET", "/sign-in/methods"),
    ("POST", "/sign-in/password"),
    ("POST", "/sign-in/link"),
    ("POST", "/sign-in/refresh"),
    ("POST", "/sign-in/end"),
    ("GET", "/sign-in/oidc"),
    ("GET", "/sign-in/oidc/callback"),
    ("GET", "/tool-servers/{name}/client"),
    ("GET", "/tool-servers/{name}/sign-in"),
    ("GET", "/tool-servers/{name}/callback"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/.well-known/clawhub.json"),
    ("GET", "/.well-known/agent-skills/index.json"),
    ("GET", "/.well-known/agent-skills/{artifact:path}"),
    ("GET", "/c/{token}/.well-known/agent-skills/index.json"),
    ("GET", "/c/{token}/.well-known/agent-skills/{artifact:path}"),
    ("GET", "/c/{token}/t/{team_id}/.well-known/agent-skills/index.json"),
    ("GET", "/c/{token}/t/{team_id}/.well-known/agent-skills/{artifact:path}"),
}  # fmt: skip
ASKED = {place for place, kind in HOT.items() if place[0] == "POST" and kind is not OtlpEndpoint}
FOR_FRONT_ENDS = {("GET", "/me"), ("GET", "/v1/models"), *ASKED}


@pytest.mark.parametrize(
    ("method", "path", "needs"), DECLARED, ids=[f"{method} {path}" for method, path, _ in DECLARED]
)
def test_every_route_declares_one_permission(method: str, path: str, needs: list[Needs]) -> None:
    assert len(needs) == 1, "Ask for an actor of api/deps.py, or set `needs` on a plain route: see api/auth.py."
    if method != "HEAD":
        assert needs[0].open == ((method, path) in WITHOUT_A_CREDENTIAL)
        assert needs[0].delegates == ((method, path) in FOR_FRONT_ENDS)


async def test_the_hot_routes_are_the_ones_that_were_looked_at(app: App) -> None:
    assert {name: type(endpoint) for name, endpoint in app._hot.items()} == HOT


@pytest.mark.parametrize("path", ["/users", "/teams", "/backup", "/reindex"])
def test_what_an_instance_hangs_on_is_for_admins(path: str) -> None:
    for route in routes():
        if route.path == path and not (path == "/teams" and route.methods == {"GET"}):
            assert permissions(route)[0].needs == Needs(scope=Scope.ADMIN, admin=True)


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=NAMES)
def test_every_route_has_a_summary_an_example_and_its_errors(method: str, path: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert not operation["summary"].endswith(".")
    responses = operation["responses"]
    good = [responses[status] for status in responses if status.startswith("2") and status != "204"]
    examples = [
        media for answer in good for media in answer["content"].values() if "example" in media or "examples" in media
    ]
    assert examples or "204" in responses
    if path not in OPEN:
        assert {"401", "403"} <= responses.keys()
        assert operation["security"]
    if method in {"post", "put", "patch"} and "requestBody" in operation:
        assert {"400", "413"} <= responses.keys()
    assert "422" not in responses
    for status, answer in responses.items():
        if status.isdigit() and int(status) >= 400 and path not in OPEN:
            assert answer["content"]["application/problem+json"]["example"]["status"] == int(status)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    return schema | {"components": DOCUMENT["components"]}


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=NAMES)
def test_examples_are_what_the_schemas_say(method: str, path: str, operation: dict[str, Any]) -> None:
    del method, path
    bodies = [operation["requestBody"]] if "requestBody" in operation else []
    for part in [*bodies, *operation["responses"].values()]:
        for media in part.get("content", {}).values():
            schema = media.get("schema", {})
            shown = [media["example"]] if "example" in media else []
            shown += [one["value"] for one in media.get("examples", {}).values()]
            if "$ref" in schema:
                name = schema["$ref"].rpartition("/")[2]
                shown += DOCUMENT["components"]["schemas"][name].get("examples", [])
            for example in shown:
                Draft202012Validator(resolved(schema)).validate(example)


def test_the_seeds_ten_endpoints_are_there() -> None:
    assert {(method, path) for method, path, _ in OPERATIONS} >= SEED


def test_the_document_is_the_same_each_time() -> None:
    assert render(build()) == TEXT


async def test_it_is_served(client: Client, app: App) -> None:
    answer = await client.get("/openapi.json")
    assert answer.json() == DOCUMENT
    assert (await app.routes()).openapi() == DOCUMENT


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nothing", 404, None),
        ("GET", "/skills/a/b/c", 404, None),
        ("DELETE", "/skills", 405, "GET, POST"),
        ("POST", "/health", 405, "GET"),
        ("GET", "/chat", 405, "POST"),
        ("TRACE", "/skills/x", 405, "DELETE, GET, PATCH, PUT"),
        ("PUT", "/", 405, "GET, HEAD"),
    ],
)
async def test_what_is_not_there_is_a_problem_too(
    client: Client, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = await client.request(method, path)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.headers.get("allow") == allow


async def test_head_is_answered_where_get_is(client: Client) -> None:
    for path in ("/health", "/", "/skills", "/me"):
        assert (await client.request("HEAD", path)).status == 200
