"""Every route of the OpenAPI document, with what attackers put into ids, queries, headers and bodies."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from asgi_client import Answer
from described import DOCUMENT
from world import Host, World

from llmos_lite.volumes.access import ID

NAME = re.compile(r"\{(\w+)\}")
FINE = {"volume": "system", "skill_id": "everybodys", "team_id": "sre", "user_id": "alice", "name": "x", "subject": "x"}
"""What stands for the other ids of a path while one is attacked."""

IDS = [
    "..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%2e%2e%5c%2e%2e%5cx", "%2fetc%2fpasswd", "C:%5cx", "x%00", "%00", "x%0a",
    "x%0d%0aSet-Cookie:%20a=b", "%ff%fe", "%ed%a0%80", "%ef%bc%8e%ef%bc%8e", "%e2%80%ae", "%e2%84%aa", "admin%20", " x",
    ".git", "x.lock", "-rf", "--output=x", "user%3a..", "team%3a..%2fx", "users%2falice", "x" * 65, "x" * 5000, "CON",
    "%27%20OR%20%271%27=%271", "%25", "_", "*", "%7b%7d", "0", "-1", "9" * 400, "null", "{skill_id}",
]  # fmt: skip

WORDS = [
    "' OR '1'='1", "x' UNION SELECT digest FROM api_keys --", '"; DROP TABLE users; --', "%", "_", "\\", "%' ESCAPE '",
    "../../etc/passwd", "/etc/passwd", "--upload-pack=x", "\x00", "\ud800", "\r\nX-Evil: 1", "x" * 5000, "9" * 400,
    "-1", "NaN", "1e999", "[]", "{}", "user:..", "team:../x", "\u202e", "(" * 300, "a*" * 300, '"' * 300,
]  # fmt: skip


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def names(operation: dict[str, Any], place: str) -> list[str]:
    return [one["name"] for one in operation.get("parameters", ()) if one["in"] == place]


def filled(path: str, **given: str) -> str:
    return NAME.sub(lambda match: given.get(match[1], FINE.get(match[1], "x")), path)


IN_PATH = sorted({(method, path, name) for method, path, one in operations() for name in names(one, "path")})
IN_QUERY = sorted({(method, path, name) for method, path, one in operations() for name in names(one, "query")})
BODIES = sorted(
    (method, path)
    for method, path, one in operations()
    if "application/json" in one.get("requestBody", {}).get("content", {})
)


def test_there_is_something_to_attack() -> None:
    assert len(IN_PATH) > 50
    assert len(IN_QUERY) > 80
    assert len(BODIES) > 25


def checked(answer: Answer) -> Answer:
    """Look at what holds for every answer."""
    assert answer.status < 500, answer.body
    raw = [name for name, _ in answer.raw]
    for name in ("x-content-type-options", "x-frame-options", "referrer-policy", "content-security-policy",
                 "cross-origin-resource-policy", "cache-control", "x-request-id"):  # fmt: skip
        assert raw.count(name) == 1, (name, raw)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert all(value.isprintable() for _, value in answer.raw), answer.raw
    assert "server" not in raw
    if answer.body:
        assert answer.headers.get("content-type"), answer.body
    return answer


def state_of(folder: Path) -> dict[str, str]:
    """Return what lies beside the data folder, and which volumes there are in it."""
    beside = {
        str(path.relative_to(folder.parent)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.parent.rglob("*")
        if not path.is_relative_to(folder)
    }
    volumes = [*folder.glob("volumes/*"), *folder.glob("volumes/users/*"), *folder.glob("volumes/teams/*")]
    return beside | {str(path.relative_to(folder)): "" for path in volumes}


@pytest.fixture(scope="module")
def untouched(world: World) -> Iterator[None]:
    data = world.services.settings.data
    (data.parent / "canary.txt").write_text("Nobody gets here.")
    before = state_of(data)
    yield
    after = state_of(data)
    people = {f"volumes/users/{name}" for name in world.keys}  # each has a volume from the first use on
    assert after.keys() - before.keys() <= people
    assert {name: after.get(name) for name in before} == before


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("method", "path", "name"), IN_PATH)
def test_no_id_leads_anywhere(host: Host, world: World, method: str, path: str, name: str) -> None:
    async def look() -> None:
        body = {} if method in {"POST", "PUT", "PATCH"} else None
        for text in IDS:
            answer = checked(await world.ask("root", method, filled(path, **{name: text}), body))
            assert answer.status >= 400 or ID.fullmatch(text), (text, answer.status, answer.body)
            assert b"root:" not in answer.body
            assert b"Nobody gets here" not in answer.body
            assert str(world.services.settings.data).encode() not in answer.body

    host.run(look())


FOREIGN = re.compile(rb"bobs|How does bob|user:bob|trace-bob")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("method", "path", "name"), IN_QUERY)
def test_no_query_shows_more(host: Host, world: World, method: str, path: str, name: str) -> None:
    async def look() -> None:
        for text in WORDS:
            query = quote(text.encode("utf-8", "surrogatepass"), safe="")
            answer = checked(await world.ask("alice", method, f"{filled(path)}?{name}={query}"))
            assert answer.status != 201, answer.body
            assert not FOREIGN.search(answer.body), (text, answer.body)
            assert not re.search(rb"sqlalche|sqlite3\.|OperationalError|syntax error", answer.body)

    host.run(look())


@pytest.mark.parametrize("query", ["action=%25", "action=_", "target=%25", "target=team%5fsre", "user=%25"])
def test_what_begins_with_a_text_is_no_pattern(host: Host, world: World, query: str) -> None:
    assert host.run(world.ask("root", "GET", f"/audit?{query}")).json()["items"] == []


# Bodies

DEEP = b"[" * 100_000
BOMBS = {
    "deep": DEEP,
    "deep objects": b'{"a":' * 100_000,
    "a deep tool": b'{"message": "x", "tools": [' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"]}",
    "a long number": b'{"name": ' + b"9" * 1_000_000 + b"}",
    "an exponent": b'{"name": 1e999999999, "limit": -1e999999999}',
    "not a number": b'{"name": NaN, "tokens": Infinity}',
    "half a pair": b'{"name": "\\ud800", "user_id": "\\udfff", "message": "\\ud83d"}',
    "a zero": b'{"name": "\\u0000", "user_id": "a\\u0000b", "message": "\\u0000"}',
    "no text": b'\xff\xfe{"\x00',
    "twice": b'{"role": "user", "role": "system_admin", "name": {}}',
    "many names": b"{" + b",".join(b'"n%d":1' % number for number in range(20_000)) + b"}",
    "many items": b'{"scopes": [' + b'"chat",' * 50_000 + b'"chat"], "teams": [' + b'"x",' * 20_000 + b'"x"]}',
    "a word": b'"text"',
    "null": b"null",
    "nothing": b"",
    "packed": gzip.compress(b'{"message": "' + b"x" * (8 << 20) + b'"}'),
    "squeezed": zlib.compress(bytes(8 << 20)),
    "a proto": b'{"__proto__": {"role": "system_admin"}, "constructor": {}, "__class__": "x"}',
}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("method", "path"), BODIES)
def test_no_body_breaks_anything(host: Host, world: World, method: str, path: str) -> None:
    async def look() -> None:
        for name, content in BOMBS.items():
            for more in ({}, {"content-encoding": "gzip"}) if name == "packed" else ({},):
                headers = {"content-type": "application/json"} | more
                answer = await world.client("alice").request(method, filled(path), content=content, headers=headers)
                assert checked(answer).status >= 400 or content in {b"", b"null"}, (name, answer.body)
                assert len(answer.body) < 20_000, name

    host.run(look())


# Headers

HEADERS = [
    {"x-request-id": "a\r\nX-Evil: 1"}, {"x-request-id": "a b"}, {"x-request-id": "\u00e9"}, {"x-request-id": "x" * 65},
    {"user-agent": "\r\nX-Evil: 1"}, {"origin": "\r\nX-Evil: 1"}, {"accept": "text/event-stream\r\nX-Evil: 1"},
    {"cookie": "llmos_session=\r\nX-Evil: 1"}, {"x-llmos-user": "a\r\nX-Evil: 1"}, {"x-forwarded-for": "\r\nX-Evil: 1"},
    {"x-forwarded-host": "evil.example"}, {"forwarded": "host=evil.example"}, {"x-original-url": "/users"},
    {"x-http-method-override": "DELETE"}, {"content-type": "application/json\r\nX-Evil: 1"}, {"range": "bytes=0-0"},
]  # fmt: skip


@pytest.mark.parametrize("sent", HEADERS, ids=lambda sent: ascii(next(iter(sent.items())))[:50])
def test_no_header_comes_back_as_another(host: Host, world: World, sent: dict[str, str]) -> None:
    async def look() -> None:
        asked = [
            ("GET", "/me", None), ("GET", "/", None), ("GET", "/sign-in?token=x", None), ("GET", "/nothing", None),
            ("POST", "/chat", {"message": "Hello"}), ("POST", "/me", {}),
            ("GET", "/git/users/alice.git/info/refs", None), ("GET", "/ready", None), ("OPTIONS", "/chat", None),
            ("GET", "/openapi.json", None),
        ]  # fmt: skip
        for method, url, body in asked:
            answer = checked(await world.client("alice").request(method, url, json_body=body, headers=sent))
            assert "x-evil" not in answer.headers
            assert b"evil.example" not in answer.body
            given = answer.headers["x-request-id"]
            assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given)

    host.run(look())


@pytest.mark.parametrize("who", ["", "alice", "root"])
def test_every_route_answers_with_the_same_care(host: Host, world: World, who: str) -> None:
    async def look() -> None:
        for method, path, _ in operations():
            if path != "/backup":
                checked(await world.ask(who, method, filled(path)))
        for path in ("/", "/sign-in", "/sign-in/oidc", "/sign-in/oidc/callback", "/favicon.ico", "/git/", "/git/x",
                     "//", "/git/system.git/info/refs?service=git-upload-pack", "/health", "/ready",
                     "/metrics", "/mcp", "/mcp/sre", "/mcp/hr", "/mcp/%2e%2e"):  # fmt: skip
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "X" * 500):
                checked(await world.ask(who, method, path))

    host.run(look())


def test_an_answer_in_events_has_them_too(host: Host, world: World) -> None:
    body = {"message": "Hello", "stream": True}
    answer = checked(host.run(world.ask("alice", "POST", "/chat", body)))
    assert answer.headers["content-type"].startswith("text/event-stream")


PLACES = [
    "//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/%0d%0aX-Evil:1",
    "/\t/evil.example", "\\\\evil.example", "/x?y=//evil.example",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_no_answer_sends_a_browser_elsewhere(host: Host, world: World, place: str) -> None:
    async def look() -> None:
        for path in ("/", "/sign-in", "/sign-in/oidc", "/sign-in/oidc/callback", "/sign-out"):
            for name in ("next", "back", "redirect", "url", "return_to", "redirect_uri"):
                answer = checked(await world.client("").get(f"{path}?{name}={quote(place, safe='')}"))
                assert "evil" not in json.dumps(answer.headers)

    host.run(look())
