"""Pages and files that a person names, fetched from where they may be: not from this server's own network.

A host is looked up here, and the connection goes to exactly the address that was looked at; so it does after each
redirect. Everything is bounded: bytes, redirects, and the time for all of it together, from the first byte of a
handshake to the last one of a body, however slowly they come.
"""

from __future__ import annotations

import http.client
import math
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from llmos_lite.engines.addresses import resolve
from llmos_lite.errors import Invalid, LlmosError, TooLarge, UpstreamFailed, UpstreamTimeout

LONGEST_URL = 2000
MOST_REDIRECTS = 5
SILENCE, PATIENCE = 10.0, 60.0
"""Seconds of silence, and for a file in all."""
_BLOCK = 1 << 16
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|[0-9a-f:.]{2,45}")
_MOVED = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}
_OK = 200


@dataclass(frozen=True, slots=True)
class Page:
    """What came back: where from in the end, its status and its body (of a status that is not 200, none)."""

    url: str
    status: int
    body: bytes = b""


class Web:
    """Fetches over HTTP, in whatever thread asks.

    Args:
        private: whether addresses that are not public, and `http://`, are taken.
        shown: returns an address as errors may name it, without what it gives away.
    """

    def __init__(self, *, private: bool, shown: Callable[[str], str] = str) -> None:
        self._private, self._shown = private, shown

    def get(self, url: str, *, most: int, patience: float = PATIENCE, ends: float = math.inf) -> Page:
        """Fetch a page.

        Args:
            url: its address.
            most: bytes that it may have.
            patience: seconds for all of it.
            ends: when whoever asks for several pages has to be done, on the clock `time.monotonic`.

        Raises:
            Invalid: `source.invalid`, `source.unencrypted`, `address.private`.
            TooLarge: `source.too_large`.
            UpstreamFailed: `source.failed`, `address.unknown`.
            UpstreamTimeout: `source.timeout`.
        """
        ends = min(ends, time.monotonic() + patience)
        for _ in range(MOST_REDIRECTS + 1):
            with _told(self._shown(url)), self._answer(self.check(url), ends) as answer:
                if answer.status not in _MOVED:
                    body = _body(answer, self._shown(url), most, ends) if answer.status == _OK else b""
                    return Page(url, answer.status, body)
                url = urljoin(url, answer.getheader("location") or "")
        raise UpstreamFailed("source.failed", f"{self._shown(url)[:200]} sends from one place to the next.")

    def check(self, url: str) -> SplitResult:
        """Return the parts of an address that may be asked, before anybody is.

        Raises:
            Invalid: `source.invalid`, `source.unencrypted`.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise _no_address(self._shown(url)) from None
        odd = len(url) > LONGEST_URL or re.search(r"[\x00-\x20\x7f\\]", url) or "@" in parts.netloc or port == 0
        if odd or parts.scheme not in _PORTS or not _HOST.fullmatch(host):
            raise _no_address(self._shown(url))
        if parts.scheme == "http" and not self._private:
            raise Invalid(
                "source.unencrypted",
                "http:// lets whoever stands in between change what is imported.",
                hint="Use https://; an operator may allow http:// with LLMOS_ALLOW_PRIVATE_URLS=on.",
            )
        return parts

    @contextmanager
    def _answer(self, parts: SplitResult, ends: float) -> Iterator[http.client.HTTPResponse]:
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        address = resolve(host, port, private=self._private)[0]
        connection = _connection(parts.scheme, host, port, address)
        connection.ends = ends
        timer = threading.Timer(max(0.0, ends - time.monotonic()), connection.cut)
        timer.daemon = True
        timer.start()
        try:
            path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (f"?{parts.query}" if parts.query else "")
            headers = {"accept": "*/*", "user-agent": "llmos-lite", "connection": "close"}
            connection.request("GET", path.encode("ascii", "replace").decode(), headers=headers)
            with connection.getresponse() as answer:
                yield answer
        except (OSError, http.client.HTTPException, ValueError):
            _check_time(ends)  # what was cut is not what was broken off
            raise
        finally:
            timer.cancel()
            connection.close()


class _Plain(http.client.HTTPConnection):
    """A connection to an address that was looked at, under the name that was asked for."""

    address = ""
    ends = math.inf
    held: socket.socket | None = None
    """The socket; `sock` is taken away as soon as an answer begins that closes the connection."""

    def connect(self) -> None:
        patience = min(SILENCE, max(0.1, self.ends - time.monotonic()))
        self.sock = self.held = socket.create_connection((self.address, self.port), patience)
        _check_time(self.ends)

    def cut(self) -> None:
        """Let whoever reads from it see its end."""
        if self.held is not None:
            with suppress(OSError):
                socket.socket.shutdown(self.held, socket.SHUT_RDWR)


class _Tls(_Plain):
    def connect(self) -> None:
        super().connect()
        found = ssl.create_default_context().wrap_socket(
            self.sock, server_hostname=self.host, do_handshake_on_connect=False
        )
        self.sock = self.held = found  # before the handshake, which may drip as well
        _check_time(self.ends)
        found.do_handshake()


def _connection(scheme: str, host: str, port: int, address: str) -> _Plain:
    made = (_Tls if scheme == "https" else _Plain)(host, port, timeout=SILENCE)
    made.address, made.default_port = address, _PORTS[scheme]
    return made


def _check_time(ends: float) -> None:
    if time.monotonic() >= ends:
        raise TimeoutError


def _body(answer: http.client.HTTPResponse, url: str, most: int, ends: float) -> bytes:
    found, expected = bytearray(), answer.length
    while block := answer.read1(_BLOCK):
        found += block
        _check_time(ends)
        if len(found) > most:
            raise TooLarge("source.too_large", f"{url[:200]} has more than {most:,} bytes.")
    _check_time(ends)
    if expected is not None and len(found) < expected:
        raise ConnectionResetError("it was cut off")
    return bytes(found)


def _no_address(url: str) -> Invalid:
    return Invalid("source.invalid", f"{url[:200]!r} is no address that is fetched.", hint="As in https://host/path.")


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Turn what a connection raises into a sentence."""
    try:
        yield
    except LlmosError:
        raise
    except TimeoutError:
        raise UpstreamTimeout("source.timeout", f"{url[:200]} did not answer in time.") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise UpstreamFailed("source.failed", f"{url[:200]} could not be fetched: {said}.") from None
