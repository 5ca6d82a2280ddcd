"""Runs `oidc_provider.py`, and signs in there as a browser would."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, urlsplit
from urllib.request import HTTPErrorProcessor, HTTPHandler, OpenerDirector, Request, UnknownHandler

_OPENER = OpenerDirector()  # without following redirects
for _handler in (HTTPHandler(), HTTPErrorProcessor(), UnknownHandler()):
    if not isinstance(_handler, HTTPErrorProcessor):
        _OPENER.add_handler(_handler)


class OidcServer:
    """A provider that runs.

    Args:
        port: where.
    """

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"

    def add(self, sub: str, claims: Mapping[str, object]) -> None:
        """Add somebody, or change what is said of them."""
        self._send("PUT", f"{self.issuer}/users/{sub}", json.dumps(claims).encode(), "application/json")

    def sign_in(self, address: str, sub: str, **form: str) -> dict[str, str]:
        """Sign in at the address that a browser was sent to; return the query that it comes back with."""
        body = f"sub={sub}" + "".join(f"&{name}={value}" for name, value in form.items())
        place = self._send("POST", address, body.encode(), "application/x-www-form-urlencoded")[0]
        return {name: values[0] for name, values in parse_qs(urlsplit(place).query).items()}

    def rotate(self) -> None:
        """Change the key."""
        self._send("POST", f"{self.issuer}/control/rotate")

    def key(self) -> dict[str, object]:
        """Return the private key as a JWK."""
        return cast("dict[str, object]", json.loads(self._send("GET", f"{self.issuer}/control/key")[1]))

    def forge(self, token: str) -> None:
        """Hand a token out as the next ID token."""
        self._send("POST", f"{self.issuer}/control/forge", token.encode())

    def _send(self, method: str, url: str, body: bytes | None = None, kind: str = "text/plain") -> tuple[str, bytes]:
        request = Request(url, body, {"content-type": kind}, method=method)  # noqa: S310 - our own server
        with _OPENER.open(request, timeout=30) as answer:
            return answer.headers.get("location", ""), answer.read()


@contextmanager
def oidc_server() -> Iterator[OidcServer]:
    """Run a provider until the block ends."""
    command = [sys.executable, str(Path(__file__).with_name("oidc_provider.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            yield OidcServer(int(process.stdout.readline()))
        finally:
            process.kill()
