"""The seam of the terminal: problems become errors again, streams stay streams, and broken servers are named."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from llmos_lite import errors
from llmos_lite.cli.client import Client, Where, connect, events, problem, url
from llmos_lite.cli.remote import HttpTransport
from llmos_lite.core.gateway.problems import openai_problem
from llmos_lite.engines.folder import locked
from llmos_lite.errors import (
    Conflict,
    Invalid,
    LlmosError,
    NotFound,
    RateLimited,
    Unavailable,
    UpstreamFailed,
    UpstreamTimeout,
)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/pages"):
            cursor = "cursor=2" in self.path
            self.answer(
                {"items": [{"n": 3}] if cursor else [{"n": 1}, {"n": 2}], "next_cursor": None if cursor else "2"}
            )
        elif self.path.startswith("/echo"):
            self.answer({"path": self.path, "headers": {key.lower(): value for key, value in self.headers.items()}})
        elif self.path == "/users/bob":
            self.answer({"user_id": "bob"})
        elif self.path.startswith("/garbled"):
            self.raw(b"<html>", "text/html")
        elif self.path.startswith("/gone"):
            self.answer({"title": "NotFound", "code": "skill.unknown", "detail": "No such skill."}, 404)
        elif self.path.startswith("/broken"):
            self.send_response(200)
            self.send_header("content-length", "100")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
        elif self.path.startswith("/silent"):
            self.server.released.wait(10)  # type: ignore[attr-defined]

    def do_POST(self) -> None:
        if self.path.startswith("/early"):
            self.answer({"title": "TooLarge", "code": "request.too_large", "detail": "Too much."}, 413)
            self.close_connection = True
            return
        body = b""
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["content-length"]))
        self.answer({"body": body.decode(), "type": self.headers["content-type"]})

    def answer(self, data: object, status: int = 200) -> None:
        self.raw(json.dumps(data).encode(), "application/json", status)

    def raw(self, body: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base names it
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.released = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.released.set()  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def address(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def client(address: str) -> Client:
    return Client(HttpTransport(address), "secret", "alice")


def test_a_request_carries_the_key_the_user_and_what_is_set(client: Client) -> None:
    said = client.get("/echo", {"a": "x y", "b": "", "c": None, "d": True, "e": False, "f": 7})
    assert said["path"] == "/echo?a=x+y&d=true&f=7"
    headers = said["headers"]
    assert isinstance(headers, dict)
    assert headers["authorization"] == "Bearer secret"
    assert headers["x-llmos-user"] == "alice"


def test_a_path_in_front_of_the_interface_is_kept(address: str) -> None:
    assert Client(HttpTransport(address + "/echo/")).get("/x")["path"] == "/echo/x"


def test_all_pages_of_a_list_are_read(client: Client) -> None:
    assert [item["n"] for item in client.items("/pages")] == [1, 2, 3]
    assert [item["n"] for item in client.items("/pages", limit=2)] == [1, 2]


def test_bytes_and_streams_are_sent(client: Client) -> None:
    assert client.post("/x", {"a": 1}) == {"body": '{"a": 1}', "type": "application/json"}
    reply = client.send("POST", "/x", body=iter([b"one ", b"two"]), content_type="text/plain")
    assert json.loads(b"".join(reply.chunks())) == {"body": "one two", "type": "text/plain"}


def test_a_problem_comes_back_as_the_error_that_it_was(client: Client) -> None:
    with pytest.raises(NotFound) as caught:
        client.get("/gone")
    assert (caught.value.code, caught.value.message) == ("skill.unknown", "No such skill.")


def test_a_body_that_is_refused_early_gives_the_refusal(client: Client) -> None:
    with pytest.raises((Invalid, UpstreamFailed)):
        client.send("POST", "/early", body=(b"x" * 100_000 for _ in range(200)))


def test_what_is_no_server_of_ours_is_named(client: Client) -> None:
    with pytest.raises(UpstreamFailed) as caught:
        client.get("/garbled")
    assert caught.value.code == "server.garbled"


def test_half_an_answer_is_an_error(client: Client) -> None:
    with pytest.raises(UpstreamFailed) as caught:
        client.get("/broken")
    assert caught.value.code in {"server.broken_off", "server.garbled"}


def test_silence_is_an_error(address: str) -> None:
    with pytest.raises(UpstreamTimeout):
        Client(HttpTransport(address, silence=0.05)).get("/silent")


def test_nobody_there_is_an_error_with_a_hint() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable) as caught:
            Client(HttpTransport(f"http://127.0.0.1:{taken.getsockname()[1]}")).get("/")
    assert caught.value.code == "server.unreachable"
    assert "llmos serve" in caught.value.hint


@pytest.mark.parametrize(
    "address", ["localhost:1", "ftp://x", "http://", "http://x:port", "http://[::1", "http://x/v1"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(Invalid) as caught:
        HttpTransport(address)
    assert caught.value.code == "server.address"


@pytest.mark.parametrize("kind", [NotFound, Conflict, RateLimited, UpstreamTimeout, errors.StorageFailed])
def test_every_kind_of_error_keeps_its_exit_code(kind: type[LlmosError]) -> None:
    error = kind("a.code", "A sentence.", hint="Do it.", facts=["x"], retry_after=3)
    again = problem(error.status, json.dumps(error.problem()).encode())
    assert type(again) is kind
    assert again.problem() == error.problem()


def test_a_problem_of_a_stranger_has_the_kind_of_its_status() -> None:
    assert type(problem(404, b"nothing here")) is NotFound
    assert problem(418, b"[]").exit_code == 1
    assert problem(409, b'{"title": "LlmosErrors"}').message == "The server answered 409."
    assert "LLMOS_URL" in problem(404, b"nothing here").hint


def test_an_error_in_the_words_of_openai_is_ours_when_it_has_a_code_of_ours() -> None:
    error = UpstreamFailed("model.unreachable", "It cannot be reached.", hint="Start it.")
    ours = problem(error.status, openai_problem(error, "r"))
    assert (type(ours), ours.code, ours.exit_code) == (UpstreamFailed, error.code, error.exit_code)
    assert str(ours).startswith("It cannot be reached. Start it.")
    theirs = problem(401, b'{"error": {"message": "No.", "code": "invalid_api_key"}}')
    assert (theirs.message, "LLMOS_URL" in theirs.hint) == ("The server answered 401.", True)


class Recorded:
    status, headers = 200, {}

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks

    def chunks(self) -> Iterator[bytes]:
        yield from self._chunks


def test_events_are_read_however_they_are_cut() -> None:
    text = (
        b': hello\n\nevent: delta\ndata: {"text": "caf\xc3\xa9"}\n\nevent: done\r\ndata: {}\r\n\r\ndata: nonsense\n\n'
    )
    whole = [("delta", {"text": "café"}), ("done", {}), ("message", {})]
    assert list(events(Recorded(text))) == whole
    assert list(events(Recorded(*(text[at : at + 1] for at in range(len(text)))))) == whole


def test_parts_of_a_path_are_quoted() -> None:
    assert url("skills", "../x y") == "/skills/..%2Fx%20y"


# Where to work


def opened(where: Where, env: dict[str, str]) -> Client:
    with connect(where, env) as client:
        return client


def test_a_server_and_a_folder_cannot_both_be_meant() -> None:
    with pytest.raises(Invalid) as caught:
        opened(Where(url="http://x", data="y"), {})
    assert caught.value.code == "cli.where"


def test_an_address_of_the_environment_is_used(address: str) -> None:
    with connect(Where(), {"LLMOS_URL": address, "LLMOS_KEY": "k", "LLMOS_USER": "bob"}) as client:
        headers = client.get("/echo")["headers"]
    assert isinstance(headers, dict)
    assert (headers["authorization"], headers["x-llmos-user"]) == ("Bearer k", "bob")


def test_without_a_word_and_without_a_folder_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound) as caught:
        opened(Where(), {})
    assert caught.value.code == "data.missing"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_served_is_used_through_its_server(tmp_path: Path, address: str) -> None:
    (tmp_path / "admin.key").write_text("from the folder\n")
    with locked(tmp_path, address), connect(Where(data=str(tmp_path)), {"LLMOS_URL": "http://elsewhere"}) as client:
        headers = client.get("/echo")["headers"]
    assert isinstance(headers, dict)
    assert headers["authorization"] == "Bearer from the folder"


def test_a_served_folder_whose_key_cannot_be_read_names_the_server(tmp_path: Path) -> None:
    with locked(tmp_path, "http://127.0.0.1:9"), pytest.raises(Unavailable) as caught:
        opened(Where(data=str(tmp_path)), {})
    assert caught.value.code == "data.locked"
    assert "http://127.0.0.1:9" in caught.value.message


def test_a_folder_in_use_by_a_command_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path, ""), pytest.raises(Unavailable) as caught:
        opened(Where(data=str(tmp_path)), {})
    assert caught.value.code == "data.locked"
