"""Secrets in the paths of requests: taken out at the edge, before anything else sees the path.

What follows (routes, audit log, errors, the user's own middleware) sees `/c/llmos_0123abcd/…`: the part of the token
that may be shown. The token itself stands in the state of the request, for the one function that knows what it opens.
"""

from __future__ import annotations

import re
from typing import TypeVar, cast
from urllib.parse import quote

from llmos_lite.api.auth import client_of
from llmos_lite.api.errors import Scope
from llmos_lite.core.accounts.capabilities import Capabilities
from llmos_lite.core.accounts.permissions import Actor

T = TypeVar("T")
_SECRET = re.compile(r"llmos_([0-9A-Za-z]{0,8})[0-9A-Za-z_-]*|(?<=_)[0-9a-fA-F]{32,}", re.IGNORECASE)
"""A key, also one that was copied badly, and what may be the secret half of one whose beginning was lost."""
_STATE = "link"
PRIVATE = b"private"


def lift(scope: Scope) -> bool:
    """Take what may be a secret out of the path of a request; tell whether there was any."""
    path = cast("str", scope["path"])
    found = _SECRET.search(path) if "_" in path else None
    if found is None:
        return False
    scope.setdefault("state", {})[_STATE] = found[0]
    scope["path"] = _SECRET.sub(_shown, path)
    if "raw_path" in scope:
        scope["raw_path"] = quote(scope["path"], safe="/").encode()
    return True


def _shown(found: re.Match[str]) -> str:
    return "-" if found[1] is None else f"llmos_{found[1]}"


async def linked_actor(capabilities: Capabilities, scope: Scope, purpose: str) -> Actor:
    """Return whom the token in the path of a request stands for; see `Capabilities.actor`.

    Raises:
        Unauthenticated, Forbidden: as there.
    """
    token = str(scope.get("state", {}).get(_STATE, ""))
    actor = await capabilities.actor(token, purpose, client=client_of(scope))
    scope.setdefault("state", {})["actor"] = actor
    return actor


def kept_private(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer to a path with a secret: nobody shares it, and no browser tells where it was."""
    kept = [(name, _private(value) if name == b"cache-control" else value) for name, value in headers]
    return [
        *((name, value) for name, value in kept if name != b"referrer-policy"),
        (b"referrer-policy", b"no-referrer"),
    ]


def _private(value: bytes) -> bytes:
    if PRIVATE in value or b"no-store" in value:
        return value
    return PRIVATE + b", " + value.replace(b"public, ", b"").replace(b"public", b"no-cache")
