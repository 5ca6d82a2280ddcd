"""Under which names this server answers, and from which other sites browsers may use it.

A page of a stranger can give its own name the address of this machine (DNS rebinding), and then speak to the server as
if it were a page of ours; only the `Host` header tells. An address as a number cannot be rebound, so those are fine.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from llmos_lite.api.errors import Asgi
from llmos_lite.errors import Forbidden, Invalid

_FORM = re.compile(rb"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\.?)(?::[0-9]{1,5})?")
MOST_KNOWN = 1000
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
HEADERS = (
    "authorization",
    "content-type",
    "x-api-key",
    "x-llmos-record",
    "x-llmos-team",
    "x-llmos-user",
    "x-request-id",
)
SHOWN = (
    "x-llmos-trace",
    "x-llmos-skills-used",
    "x-llmos-skills-held",
    "x-llmos-left-out",
    "x-request-id",
    "retry-after",
)


class Hosts:
    """The names of this server.

    Args:
        names: beside `localhost` and addresses; `*` for any, `.example.org` for all below that one.
        public_url: the address by which people reach it, whose name is one of them.
    """

    def __init__(self, names: str = "", public_url: str = "") -> None:
        given = {name.strip().lower().rstrip(".") for name in names.split(",") if name.strip()}
        own = (urlsplit(public_url).hostname or "").lower()
        self._any = "*" in given
        self._exact = {"localhost", own, *given} - {""}
        self._below = tuple(name for name in given if name.startswith("."))
        self._known: set[bytes] = set()

    def check(self, found: bytes | None) -> None:
        """Refuse a request that means another server.

        Args:
            found: the `Host` header; None for none, empty for several.

        Raises:
            Invalid: `request.host`, without one `Host` header that is a name.
            Forbidden: `request.host_unknown`.
        """
        if found in self._known:
            return
        match = _FORM.fullmatch(found) if found else None
        if match is None:
            raise Invalid("request.host", "A request needs one Host header that names a server.")
        host = match[1].decode().lower().rstrip(".")
        if not (self._any or host in self._exact or host.endswith(self._below) or _is_address(host)):
            raise Forbidden(
                "request.host_unknown",
                f"This server does not answer as {host[:100]!r}.",
                hint="Set LLMOS_PUBLIC_URL, or name it in LLMOS_HOSTS.",
            )
        if len(self._known) < MOST_KNOWN:
            self._known.add(match[0])


def _is_address(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return False


def open_to(app: Asgi, origins: str) -> Asgi:
    """Let pages of other origins use an app with a credential of their own; never with a browser's session.

    Args:
        app: the app.
        origins: `https://host[:port]`, comma-separated; empty lets nobody.

    Raises:
        Invalid: `settings.invalid`, for something that is no origin.
    """
    names = [name.strip().rstrip("/") for name in origins.split(",") if name.strip()]
    if not names:
        return app
    for name in names:
        _check_origin(name)
    from starlette.middleware.cors import CORSMiddleware  # noqa: PLC0415 - most instances need none

    return CORSMiddleware(
        app, allow_origins=names, allow_methods=METHODS, allow_headers=HEADERS, expose_headers=SHOWN, max_age=600
    )


def _check_origin(name: str) -> None:
    parts = urlsplit(name)
    plain = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not plain or "*" in name:
        raise Invalid(
            "settings.invalid", f"LLMOS_CORS has {name[:100]!r}, which is no origin.", hint="Write https://host."
        )
