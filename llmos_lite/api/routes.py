"""The FastAPI app with all routes but the hot ones. Import it late: this is what is slow to load."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.requests import Request
from fastapi.responses import PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

import llmos_lite
from llmos_lite.api import (
    accounts,
    audit,
    clawhub,
    discovery,
    erasure,
    evolution,
    exports,
    home,
    imports,
    invitations,
    joining,
    keys,
    limits,
    lint,
    maintenance,
    proposals,
    providers,
    remotes,
    runs,
    scan,
    scrub,
    sign_in,
    signing,
    skill_imports,
    skills,
    templates,
    tool_server_sign_in,
    tool_servers,
    traces,
    upkeep,
    versions,
    volumes,
)
from llmos_lite.api.chat import OPENAPI as CHAT
from llmos_lite.api.errors import MethodNotAllowed, explain, problem_body, problem_headers
from llmos_lite.api.health import OPENAPI as HEALTH
from llmos_lite.api.openapi import document
from llmos_lite.bootstrap import Services
from llmos_lite.errors import Invalid, LlmosError, NotFound

_KIND = re.compile(r"constrained-[a-z]+|literal\[.*\]")
"""What pydantic names a kind of value by, which is no place in a request."""
MODULES = (
    skills,
    lint,
    scan,
    versions,
    exports,
    skill_imports,
    discovery,
    clawhub,
    templates,
    proposals,
    evolution,
    imports,
    traces,
    erasure,
    volumes,
    providers,
    tool_servers,
    tool_server_sign_in,
    remotes,
    accounts,
    keys,
    invitations,
    audit,
    limits,
    runs,
    upkeep,
    maintenance,
    sign_in,
    signing,
    scrub,
)

PAGES = (*home.ROUTES, *sign_in.ROUTES, *joining.ROUTES, *tool_server_sign_in.ROUTES)

Handler: TypeAlias = Callable[[Request, Exception], Coroutine[Any, Any, Response]]
NOT_JSON = Invalid("request.not_json", "The body of the request is not JSON.", hint="Send a JSON object.")


class Routes(FastAPI):
    """FastAPI whose OpenAPI document also holds the plain ASGI routes."""

    def openapi(self) -> dict[str, Any]:
        """Return the document, made once."""
        if not self.openapi_schema:
            self.openapi_schema = document(self, all_routes(), [HEALTH, CHAT])
        return self.openapi_schema


def build(services: Services | None = None) -> FastAPI:
    """Return the app; without services it only describes itself."""
    app = Routes(
        title="llmos-lite",
        version=llmos_lite.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        exception_handlers={
            LlmosError: _problem,
            HTTPException: _letting_go(_http),
            RequestValidationError: _letting_go(_validation),
            Exception: _problem,
        },
    )
    app.state.services = services
    for module in MODULES:
        app.include_router(module.router)
    app.router.routes.extend(PAGES)
    return app


def _letting_go(handler: Handler) -> Handler:
    """Return a handler after which an error holds nothing: FastAPI keeps it where it raises it, beside the body."""

    async def handle(request: Request, error: Exception) -> Response:
        try:
            return await handler(request, error)
        finally:
            one: BaseException | None = error
            while one is not None:
                one.__traceback__, one = None, one.__cause__

    return handle


async def _problem(request: Request, error: Exception) -> Response:
    said = explain(error)
    headers = {name.decode(): value.decode() for name, value in problem_headers(said)}
    if request.url.path.startswith(f"{clawhub.PREFIX}/"):  # what speaks to a registry there shows the text as it is
        text = " ".join(filter(None, (said.message, said.hint)))
        return PlainTextResponse(text, said.status, headers | {"content-type": "text/plain; charset=utf-8"})
    body = problem_body(said, getattr(request.state, "request_id", ""))
    return Response(body, said.status, headers)


async def _http(request: Request, error: Exception) -> Response:
    """Turn what the router or FastAPI itself refused into a problem of ours."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    if isinstance(error.__cause__, ValueError):
        return await _problem(request, NOT_JSON)
    if isinstance(error.__cause__, Exception):  # FastAPI wraps what went wrong while it read a body
        return await _problem(request, error.__cause__)
    if error.status_code == 404:  # noqa: PLR2004
        if discovery.is_address(request.url.path) and "text/html" in request.headers.get("accept", ""):
            said = {"content-type": "text/plain; charset=utf-8"}
            return PlainTextResponse(discovery.FOR_CLIENTS, error.status_code, said)
        return await _problem(request, NotFound("route.unknown", f"There is nothing at {request.url.path[:200]!r}."))
    if error.status_code == 405:  # noqa: PLR2004
        return await _problem(request, MethodNotAllowed(request.method, _methods(request)))
    return await _problem(request, Invalid("request.invalid", str(error.detail)))


def _methods(request: Request) -> set[str]:
    """Return every method that some route answers at this path; a router names only those of the first."""
    routes = [route for route in all_routes() if route.matches(request.scope)[0] is not Match.NONE]
    return {method for route in routes for method in getattr(route, "methods", None) or ()}


def all_routes() -> list[BaseRoute]:
    """Return every route of the app but the hot ones."""
    return [*(route for module in MODULES for route in module.router.routes), *PAGES]


def _fields(found: Sequence[Any]) -> list[str]:
    """Return what is wrong, once for each place: where a value may be of two kinds, what either wants."""
    wrong: dict[str, list[str]] = {}
    for item in found:
        place = ".".join(str(part) for part in item["loc"] if not _KIND.fullmatch(str(part)))
        wrong.setdefault(place, []).append(item["msg"].removeprefix("Value error, "))
    return [f"{place}: {', or: '.join(said)}"[:300] for place, said in wrong.items()]


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return await _problem(request, NOT_JSON)
    fields = _fields(found[:20])
    said = Invalid("request.invalid", f"The request is not valid: {'; '.join(fields[:3])}.", fields=fields)
    return await _problem(request, said)
