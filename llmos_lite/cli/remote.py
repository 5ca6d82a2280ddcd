"""Requests to a server, with what the standard library brings: quick to load, streams both ways."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from llmos_lite.cli.client import BLOCK, Reply, Request, unreachable
from llmos_lite.errors import Invalid, UpstreamFailed, UpstreamTimeout

CONNECT = 10.0
SILENCE = 600.0


class HttpTransport:
    """Speaks to one server, one connection for each request.

    Args:
        address: `http://host:port` or `https://…`, with a path in front of the API's if need be.
        silence: longest wait for something to come, in seconds.

    Raises:
        Invalid: `server.address`.
    """

    def __init__(self, address: str, silence: float = SILENCE) -> None:
        self.address, self._silence = address, silence
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError:
            raise _bad(address) from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise _bad(address)
        if parts.path.rstrip("/") == "/v1":
            said = f"{address[:200]!r} is the base URL of OpenAI's clients."
            raise Invalid("server.address", said, hint="Leave out /v1.")
        self._secure, self._host, self._port, self._prefix = parts.scheme == "https", parts.hostname, port, parts.path

    def send(self, request: Request) -> Reply:
        """Send one request; see `Transport`."""
        connection = self._connect()
        try:
            body = request.body
            chunked = body is not None and not isinstance(body, bytes)
            headers = {**request.headers, "transfer-encoding": "chunked"} if chunked else dict(request.headers)
            path = self._prefix.rstrip("/") + request.path
            _send(connection, request.method, path, body, headers, chunked=chunked)
            return _HttpReply(connection, connection.getresponse())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _broken(self.address, error) from error

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def close(self) -> None:
        """Nothing is kept open."""

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=CONNECT)
        try:
            connection.connect()
        except OSError as error:
            raise unreachable(self.address, error.strerror or error) from error
        connection.sock.settimeout(self._silence)
        return connection


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: object,
    headers: Mapping[str, str],
    *,
    chunked: bool,
) -> None:
    """Send a request; a server that refuses a body early is still heard."""
    try:
        connection.request(method, path, body, headers, encode_chunked=chunked)  # type: ignore[arg-type]  # bytes or an iterator of them
    except (BrokenPipeError, ConnectionResetError):
        if not chunked:
            raise


class _HttpReply:
    """A reply over a connection of its own."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection, self._response = connection, response
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.getheaders()}

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes."""
        try:
            while block := self._response.read1(BLOCK):
                yield block
        except (OSError, http.client.HTTPException) as error:
            raise _broken(self._connection.host, error) from error
        finally:
            self._connection.close()


def _bad(address: str) -> Invalid:
    return Invalid("server.address", f"{address[:200]!r} is no address of a server.", hint="Write http://host:port.")


def _broken(address: str, error: Exception) -> UpstreamFailed:
    if isinstance(error, socket.timeout | TimeoutError):
        return UpstreamTimeout("server.silent", f"{address} did not answer in time.", hint="Is it busy or stuck?")
    return UpstreamFailed("server.broken_off", f"The connection to {address} broke off ({error}).", hint="Try again.")
