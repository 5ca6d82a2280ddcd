from __future__ import annotations

import errno
import logging
import sqlite3
from typing import Any

import pytest
from asgi_client import Client

from llmos_lite.api.errors import explain
from llmos_lite.api.middleware import Edge, wrap
from llmos_lite.errors import Conflict, Invalid, LlmosError, RateLimited, StorageFailed, Unavailable


def app(action: Any = None, headers: list[tuple[bytes, bytes]] | None = None) -> Any:  # noqa: ANN401
    """Return an app that reads the body, does `action`, and answers with the number of bytes that it read."""

    async def answer(_scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        count, more = 0, True
        while more:
            message = await receive()
            count, more = count + len(message.get("body", b"")), message.get("more_body", False)
        if action is not None:
            await action(send)
        await send({"type": "http.response.start", "status": 200, "headers": headers or []})
        await send({"type": "http.response.body", "body": str(count).encode()})

    return answer


def client(inner: Any) -> Client:  # noqa: ANN401
    return Client(Edge(inner, max_body=100, max_import=1000))


def failing(error: Exception) -> Any:  # noqa: ANN401
    async def fail(_send: object) -> None:
        raise error

    return app(fail)


async def test_every_answer_has_an_id_and_security_headers() -> None:
    answer = await client(app()).get("/x")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert len(answer.headers["x-request-id"]) == 16


async def test_headers_that_the_app_set_stay() -> None:
    answer = await client(app(headers=[(b"cache-control", b"max-age=60")])).get("/x")
    assert answer.headers["cache-control"] == "max-age=60"


@pytest.mark.parametrize(("sent", "kept"), [("abc-1.2_Z", True), ("a b", False), ("a" * 65, False), ("", False)])
async def test_a_sane_request_id_is_kept(sent: str, kept: bool) -> None:  # noqa: FBT001
    answer = await client(app()).get("/x", headers={"X-Request-ID": sent})
    assert (answer.headers["x-request-id"] == sent) is kept


async def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read() -> None:
    async def never(*_: object) -> None:
        raise AssertionError

    answer = await client(never).request("POST", "/x", content=b"", headers={"content-length": "52428800"})
    assert (answer.status, answer.json()["code"], answer.json()["limit"]) == (413, "request.too_large", 100)


async def test_a_chunked_body_is_refused_at_the_first_byte_too_many() -> None:
    pieces = [b"x" * 60] * 10
    answer = await client(app()).request("POST", "/x", content=pieces)
    assert (answer.status, answer.json()["code"]) == (413, "request.too_large")
    assert (await client(app()).request("POST", "/x", content=pieces[:1])).body == b"60"


async def test_a_refused_body_is_read_to_its_end_so_that_the_client_hears_why() -> None:
    pieces, answers = [b"x" * 60] * 10, []

    async def receive() -> Any:  # noqa: ANN401
        return {"type": "http.request", "body": pieces.pop(), "more_body": bool(pieces)}

    async def send(message: Any) -> None:  # noqa: ANN401
        answers.append((message, len(pieces)))

    scope = {"type": "http", "path": "/x", "headers": [(b"content-length", b"600")]}
    await Edge(app(), max_body=100, max_import=1000)(scope, receive, send)
    assert [(message.get("status", 413), left) for message, left in answers] == [(413, 0), (413, 0)]


async def test_an_import_may_be_larger() -> None:
    assert (await client(app()).request("POST", "/traces/import", content=[b"x" * 500])).body == b"500"
    assert (await client(app()).request("POST", "/traces/import", content=[b"x" * 1001])).status == 413


@pytest.mark.parametrize(("length", "status"), [("-1", 400), ("abc", 400), ("9" * 40, 413)])
async def test_a_length_that_is_no_number_is_refused(length: str, status: int) -> None:
    assert (await client(app()).get("/x", headers={"content-length": length})).status == status


async def test_our_errors_become_problems() -> None:
    answer = await client(failing(Conflict("skill.exists", "There is one.", hint="Choose another."))).get("/x")
    assert (answer.status, answer.headers["content-type"]) == (409, "application/problem+json")
    said = answer.json()
    assert said | {"request_id": ""} == {
        "type": "urn:llmos:error:skill.exists",
        "title": "Conflict",
        "status": 409,
        "code": "skill.exists",
        "detail": "There is one.",
        "hint": "Choose another.",
        "request_id": "",
    }
    assert said["request_id"] == answer.headers["x-request-id"]


async def test_a_mistake_of_ours_is_logged_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = await client(failing(ZeroDivisionError("the secret of the code"))).get("/x")
    assert (answer.status, answer.json()["code"]) == (500, "internal")
    assert b"secret" not in answer.body
    assert "the secret of the code" in caplog.text
    assert answer.headers["x-request-id"] in caplog.text


async def test_what_is_nested_too_deeply_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    answer = await client(failing(RecursionError("maximum recursion depth exceeded"))).get("/x")
    assert (answer.status, answer.json()["code"]) == (400, "request.too_deep")
    assert "maximum recursion depth" in caplog.text, "a mistake of ours may look like this, too"


async def test_when_to_come_back_is_a_header() -> None:
    answer = await client(failing(RateLimited("model.busy", "Busy.", retry_after=7))).get("/x")
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")


async def test_half_an_answer_is_dropped_and_a_whole_one_stays() -> None:
    async def half(send: Any) -> None:  # noqa: ANN401
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        await client(app(half)).get("/x")

    async def whole(send: Any) -> None:  # noqa: ANN401
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"whole"})
        raise ValueError

    assert (await client(app(whole)).get("/x")).body == b"whole"


async def test_a_stopping_server_says_so() -> None:
    edge = Edge(app(), max_body=1, max_import=1)
    edge.stopping = True
    answer = await Client(edge).get("/x")
    assert (answer.status, answer.json()["code"]) == (503, "server.stopping")


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (OSError(errno.ENOSPC, "no space"), StorageFailed, "storage.full"),
        (PermissionError(errno.EACCES, "denied"), StorageFailed, "storage.readonly"),
        (sqlite3.OperationalError("database or disk is full"), StorageFailed, "storage.failed"),
        (sqlite3.OperationalError("database is locked"), Unavailable, "database.busy"),
        (sqlite3.OperationalError("no such table"), LlmosError, "internal"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), LlmosError, "internal"),
        (KeyError("x"), LlmosError, "internal"),
    ],
)
def test_what_an_exception_stands_for(error: Exception, kind: type[LlmosError], code: str) -> None:
    said = explain(error)
    assert isinstance(said, kind)
    assert said.code == code


def test_the_error_that_an_exception_was_raised_from_counts() -> None:
    outer = RuntimeError("wrapped")
    outer.__cause__ = Invalid("skill.invalid_id", "No.")
    assert explain(outer).code == "skill.invalid_id"


class Stamp:
    """A user's middleware, named by the test below."""

    def __init__(self, inner: Any) -> None:  # noqa: ANN401
        self.inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        async def stamped(message: Any) -> None:  # noqa: ANN401
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-stamp", type(self).__name__.encode())]
            await send(message)

        await self.inner(scope, receive, stamped)


class Second(Stamp):
    """Another one."""


async def test_the_users_middleware_surrounds_the_app_in_the_order_given() -> None:
    answer = await client(wrap(app(), "test_middleware:Stamp, test_middleware:Second")).get("/x")
    assert answer.headers["x-stamp"] == "Stamp"  # the outermost speaks last
    assert wrap(answer, "") is answer  # type: ignore[arg-type,comparison-overlap]  # nothing to put around


@pytest.mark.parametrize("name", ["nothing", "no.such.module:Class", "test_middleware:None", ":x", "test_middleware:"])
def test_a_wrong_name_is_a_sentence(name: str) -> None:
    with pytest.raises(Invalid, match="LLMOS_MIDDLEWARE names"):
        wrap(app(), name)
