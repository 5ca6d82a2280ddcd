"""Credentials that stand in an address: what people see, logs and Git has stars in their place.

Whose address it is, and which repository, stays readable. What is not known to be harmless in a query is taken for a
credential: a signed address has many names for one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from llmos_lite.core.traces.redaction.base import Finder


STARS = "***"
_PARTS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)?(?P<place>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)", re.DOTALL)
_OURS = re.compile(r"(?<=/mcp/t/)[^/]+|llmos_[0-9A-Za-z_]{8,}")
"""Our own tokens in a path (`llmos keys catalog`, `llmos keys mcp`)."""
_HARMLESS = frozenset({"ref", "branch", "tag", "at", "version", "v", "raw", "inline", "format", "path", "file", "lang"})
_SHORT = 64
"""Characters of a harmless value; a longer one is no name of a branch."""


def masked(address: str) -> str:
    """Return an address with stars where it holds, or may hold, a credential; any text may be given."""
    found = _PARTS.fullmatch(_OURS.sub(STARS, address))
    if found is None:
        return address
    scheme, place, path, rest = (found[name] or "" for name in ("scheme", "place", "path", "rest"))
    return scheme + _place(place, scheme) + _path(path) + _rest(rest)


def _place(place: str, scheme: str) -> str:
    """Return a host; `git@host` names no secret, but a password behind the name is one, as is all of it on the web."""
    user, at, host = place.rpartition("@")
    if not at:
        return place
    name, colon, _ = user.partition(":")
    if scheme.lower().startswith("http"):
        return f"{STARS}@{host}"
    return f"{name}:{STARS}@{host}" if colon else place


def _path(path: str) -> str:
    return "/".join(STARS if _is_secret(part) else part for part in path.split("/"))


def _rest(rest: str) -> str:
    if not rest.startswith("?"):
        return rest and f"#{STARS if _is_secret(rest[1:]) else rest[1:]}"
    query, sharp, anchor = rest[1:].partition("#")
    shown = "&".join(map(_pair, query.split("&"))) if query else ""
    return f"?{shown}" + (_rest(f"{sharp}{anchor}") if sharp else "")


def _pair(pair: str) -> str:
    name, equals, value = pair.partition("=")
    if not equals:
        return pair if pair.lower() in _HARMLESS else STARS
    harmless = name.lower() in _HARMLESS and len(value) <= _SHORT and not _is_secret(value)
    return pair if harmless or not value else f"{name}={STARS}"


def _is_secret(text: str) -> bool:
    plain = unquote(text)
    return bool(_OURS.search(plain)) or bool(_finder().find(plain))


@lru_cache(maxsize=1)
def _finder() -> Finder:
    """Return the finder of secrets in traces; it is slow to load, and a start need not wait for it."""
    from llmos_lite.core.traces.redaction.base import SECRETS  # noqa: PLC0415 - as above
    from llmos_lite.core.traces.redaction.finder import TextFinder  # noqa: PLC0415 - as above

    return TextFinder([SECRETS])
