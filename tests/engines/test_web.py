"""What people name is fetched within bounds, and from nowhere that they could not reach themselves."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler

import pytest
from web_server import Site, serving

from llmos_lite.engines import addresses
from llmos_lite.engines.web import Web
from llmos_lite.errors import Invalid, LlmosError, TooLarge, UpstreamFailed, UpstreamTimeout

HERE = Web(private=True)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as found:
        yield found


def test_a_page_is_fetched(site: Site) -> None:
    site.pages["/a%20b/c"] = b"found"
    page = HERE.get(site.url("/a%20b/c?x=1&y"), most=100)
    assert (page.status, page.body, page.url) == (200, b"found", site.url("/a%20b/c?x=1&y"))
    assert HERE.get(site.url("/none"), most=100).status == 404
    assert site.asked == ["/a%20b/c?x=1&y", "/none"]


def test_what_is_too_large_is_given_up(site: Site) -> None:
    site.pages["/x"] = bytes(100_000)
    with pytest.raises(TooLarge):
        HERE.get(site.url("/x"), most=99_999)
    assert len(HERE.get(site.url("/x"), most=100_000).body) == 100_000

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(bytes(1 << 16))
        except OSError:
            pass

    site.pages["/endless"] = endless
    with pytest.raises(TooLarge):
        HERE.get(site.url("/endless"), most=1 << 20)


def test_what_is_cut_off_is_not_taken(site: Site) -> None:
    site.pages["/x"] = (200, {"Content-Length": "100"}, b"half")
    with pytest.raises(UpstreamFailed):
        HERE.get(site.url("/x"), most=1000)


def test_a_server_that_drips_has_one_time_for_all(site: Site) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        try:
            while True:
                handler.wfile.write(b"X-A: b\r\n" if handler.close_connection else b"")
                handler.connection.sendall(b"H")
                if handler.rfile.closed:
                    return
                handler.connection.settimeout(0.05)
                if handler.connection.recv(1) == b"":
                    return
        except TimeoutError:
            drip(handler)
        except OSError:
            return

    site.pages["/x"] = drip
    with pytest.raises((UpstreamTimeout, UpstreamFailed)):
        HERE.get(site.url("/x"), most=1000, patience=0.3)


@pytest.mark.parametrize("head", [{}, {"Content-Length": "100000"}, {"Transfer-Encoding": "chunked"}])
def test_a_body_that_drips_has_one_time_for_all(site: Site, head: dict[str, str]) -> None:
    done = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        for name, value in head.items():
            handler.send_header(name, value)
        handler.end_headers()
        piece = b"1\r\nx\r\n" if "Transfer-Encoding" in head else b"x"
        try:
            while not done.wait(0.01):
                handler.wfile.write(piece)
        except OSError:
            pass

    site.pages["/x"] = drip
    began = time.monotonic()
    try:
        with pytest.raises(UpstreamTimeout):
            HERE.get(site.url("/x"), most=1 << 20, patience=0.2)
        with pytest.raises(UpstreamTimeout):
            HERE.get(site.url("/x"), most=1 << 20, ends=time.monotonic() + 0.2)
    finally:
        done.set()
    assert time.monotonic() - began < 5


def test_a_body_that_falls_silent_is_cut_at_the_end_of_its_time(site: Site) -> None:
    done = threading.Event()

    def fall_silent(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"x")
        done.wait(8)

    site.pages["/x"] = fall_silent
    began = time.monotonic()
    try:
        with pytest.raises(UpstreamTimeout):
            HERE.get(site.url("/x"), most=1 << 20, patience=0.2)
    finally:
        done.set()
    assert time.monotonic() - began < 5


def test_a_handshake_that_drips_has_one_time_for_all() -> None:
    done, server = threading.Event(), socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        there, _ = server.accept()
        with there, suppress(OSError):
            there.sendall(b"\x16\x03\x03\x40\x00")
            while not done.wait(0.01):
                there.sendall(b"\x00")

    thread = threading.Thread(target=drip)
    thread.start()
    began = time.monotonic()
    try:
        with pytest.raises((UpstreamTimeout, UpstreamFailed)):
            HERE.get(f"https://127.0.0.1:{server.getsockname()[1]}/x", most=100, patience=0.2)
    finally:
        done.set()
        thread.join()
        server.close()
    assert time.monotonic() - began < 5


def test_redirects_are_followed_a_few_times(site: Site) -> None:
    site.pages |= {"/a": (302, {"Location": "b?x"}, b""), "/b": b"there", "/loop": (301, {"Location": "/loop"}, b"")}
    assert HERE.get(site.url("/a"), most=10).url == site.url("/b?x")
    with pytest.raises(UpstreamFailed, match="from one place to the next"):
        HERE.get(site.url("/loop"), most=10)


PLACES = [
    "file:///etc/passwd",
    "ftp://x/y",
    "gopher://127.0.0.1/",
    "//",
    "http://",
    "http://a@127.0.0.1/",
    "http://a b/",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_redirect_leads_to_no_other_kind_of_address(site: Site, place: str) -> None:
    site.pages["/a"] = (302, {"Location": place}, b"")
    with pytest.raises(LlmosError):
        HERE.get(site.url("/a"), most=10)


def test_nothing_inside_is_asked_directly_or_by_a_redirect(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    public = Web(private=False)
    for host in ("127.0.0.1", "localhost", "[::1]", "169.254.169.254", "2130706433"):
        with pytest.raises(LlmosError) as raised:
            public.get(f"https://{host}/x", most=10)
        assert raised.value.code in {"address.private", "address.unknown"}
    with pytest.raises(Invalid) as unencrypted:
        public.get(site.url("/x"), most=10)
    assert unencrypted.value.code == "source.unencrypted"
    site.pages["/a"] = (302, {"Location": f"http://localhost:{site.port}/secret"}, b"")
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1" and not site.asked)
    monkeypatch.setattr(public, "check", HERE.check)
    with pytest.raises(Invalid) as raised_later:
        public.get(site.url("/a"), most=10)
    assert raised_later.value.code == "address.private"
    assert site.asked == ["/a"]


NO_ADDRESS = [
    "", "x", "http://", "http:///x", "http://h:99999/", "http://h:0/", "http://a:b@h/", "http://h/\n", "http://h\\x",
    "http://ü/", "http://[x/", "h" * 3000, "-x",
]  # fmt: skip


@pytest.mark.parametrize("url", NO_ADDRESS)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        HERE.get(url, most=10)


def test_nobody_there_is_said(site: Site) -> None:
    with pytest.raises(UpstreamFailed):
        HERE.get("http://127.0.0.1:1/x", most=10)
    site.pages["/x"] = lambda handler: handler.wfile.write(b"no http at all\r\n\r\n")
    with pytest.raises(UpstreamFailed):
        HERE.get(site.url("/x"), most=10)
