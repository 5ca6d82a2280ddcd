"""The OpenAPI document: the same bytes for the same code, with an example and the error cases on every route."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.routing import BaseRoute

Json: TypeAlias = dict[str, Any]
Responses: TypeAlias = dict[int | str, dict[str, Any]]

_TITLES = {
    400: "The input cannot be meant.",
    401: "No credential, or one that does not hold.",
    403: "Known, and not allowed to.",
    404: "No such thing, or none that you may see.",
    409: "The world changed, or already holds it.",
    413: "The body is over a limit.",
    429: "Too much too fast.",
    502: "The model failed.",
    503: "Not now.",
    504: "The model did not answer in time.",
    507: "The disk is full, read-only or broken.",
}
_EXAMPLES = {
    400: ("request.invalid", "Invalid", "The request is not valid: body.message: Field required."),
    401: ("credential.missing", "Unauthenticated", "This needs a credential."),
    403: ("volume.readonly", "Forbidden", "You may read the volume team:sre, not write it."),
    404: ("skill.unknown", "NotFound", "There is no skill 'my-skill' that you may see."),
    409: ("skill.exists", "Conflict", "There is a skill 'my-skill' already."),
    413: ("request.too_large", "TooLarge", "The body of a request has at most 4,194,304 bytes here."),
    429: ("model.busy", "RateLimited", "The model takes no more requests for now."),
    502: ("model.failed", "UpstreamFailed", "The model answered with an error."),
    503: ("server.stopping", "Unavailable", "The server is stopping."),
    504: ("model.timeout", "UpstreamTimeout", "The model did not answer in time."),
    507: ("storage.full", "StorageFailed", "Could not store the trace: the disk is full."),
}
PROBLEM: Json = {
    "type": "object",
    "title": "Problem",
    "description": "What went wrong (RFC 9457); `code` is stable.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string", "description": "The kind of error."},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable name of the case."},
        "detail": {"type": "string", "description": "What happened and why."},
        "hint": {"type": "string", "description": "What to do about it."},
        "request_id": {"type": "string"},
        "fields": {"type": "array", "items": {"type": "string"}},
    },
}


def problem(status: int) -> Json:
    """Return the OpenAPI response of one error status."""
    code, title, detail = _EXAMPLES[status]
    example = {
        "type": f"urn:llmos:error:{code}",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": "5f2c1d9a0b7e4c33",
    }
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    return {"description": _TITLES[status], "content": {"application/problem+json": content}}


def answers(example: object, *errors: int, status: int = 200, description: str = "Done.") -> Responses:
    """Return a route's responses: an example of success, and the errors it can meet beside 400, 401 and 403."""
    content = {"application/json": {"example": example}}
    return {status: {"description": description, "content": content}} | refusals(*errors)


def refusals(*errors: int) -> Responses:
    """Return the errors that a route can meet: 400, 401, 403, and those given."""
    return {error: problem(error) for error in sorted({400, 401, 403, *errors})}


def document(app: FastAPI, routes: Sequence[BaseRoute], extra: Sequence[Json] = ()) -> Json:
    """Return the OpenAPI document of an app.

    Args:
        app: the app with the CRUD routes.
        routes: these routes, one by one.
        extra: document fragments (`paths`, `components`) of the routes that are plain ASGI.
    """
    from fastapi.openapi.utils import get_openapi  # noqa: PLC0415 - hot routes describe themselves without FastAPI

    found = get_openapi(
        title="llmos-lite",
        version=app.version,
        description="A team's know-how for language models, kept in Git.",
        routes=app.routes,
    )
    for route in routes:
        _restore_nulls(found["paths"], route)
    for fragment in extra:
        _merge(found, fragment)
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = PROBLEM
    found["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "The key of `<data>/admin.key`."},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for path, operations in found["paths"].items():
        for operation in operations.values():
            _finish(path, operation)
    return found


def _restore_nulls(paths: Json, route: BaseRoute) -> None:
    """Put the examples of a route back as they were written: FastAPI takes every null out of them."""
    path, methods = getattr(route, "path_format", ""), getattr(route, "methods", None) or ()
    for method in methods:
        shown = paths.get(path, {}).get(method.lower(), {}).get("responses", {})
        for status, answer in getattr(route, "responses", {}).items():
            for kind, media in answer.get("content", {}).items():
                if media.get("example") is not None:
                    shown[str(status)]["content"][kind]["example"] = media["example"]


def _merge(into: Json, parts: Json) -> None:
    for key, value in parts.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)


def _finish(path: str, operation: Json) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    responses.setdefault("default", {**problem(503), "description": "Any other problem."})
    if "requestBody" in operation:
        responses.setdefault("413", problem(413))
    if path.startswith(PLAIN):
        _say_plainly(responses)
    if path in OPEN:
        operation["security"] = []
        return
    operation.setdefault("security", [{"key": []}, {"header": []}])
    parameters = operation.setdefault("parameters", [])
    if not any(parameter.get("name") == "X-LLMOS-User" for parameter in parameters):
        parameters.append(_ACT_AS)


def _say_plainly(responses: Json) -> None:
    """Let errors be sentences in plain text, too; what is refused before a route is found still is a problem."""
    for answer in responses.values():
        said = answer.get("content", {}).get("application/problem+json")
        if said is not None:
            text = {"schema": {"type": "string"}, "example": said["example"]["detail"]}
            answer["content"]["text/plain; charset=utf-8"] = text


PLAIN = "/api/v1/"
"""Where errors are plain text, as the clients of ClawHub expect them."""
OPEN = frozenset({"/health", "/ready"})
"""Paths that need no credential."""
_ACT_AS: Json = {
    "name": "X-LLMOS-User",
    "in": "header",
    "required": False,
    "description": "With the admin key: act as this user, with only that user's rights.",
    "schema": {"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$", "maxLength": 64},
}


def render(app: FastAPI) -> str:
    """Return the document as the text that `docs/openapi.json` holds."""
    return json.dumps(app.openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
