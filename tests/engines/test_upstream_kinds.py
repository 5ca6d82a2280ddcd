"""How each kind of server is addressed, and how a key is shown to it; AWS's own library checks ours."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from datetime import UTC, datetime
from itertools import pairwise
from unittest import mock
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import RSAKey

from llmos_lite.engines.upstream import Passing, Upstream, Wire
from llmos_lite.engines.upstream_bedrock import Bedrock, Frames
from llmos_lite.engines.upstream_kinds import ServerSpec, open_server
from llmos_lite.engines.upstream_vertex import SCOPE
from llmos_lite.errors import Invalid, UpstreamFailed
from tests.answering import answering, reply

BODY = b'{"model":"claude-x","max_tokens":5,"stream":false,"messages":[{"role":"user","content":"hi"}]}'
STREAM = BODY.replace(b"false", b"true")


async def send(server: Upstream, body: bytes = BODY, wire: Wire = Wire.MESSAGES) -> bytes:
    """Ask, and return the whole answer."""
    said = b""
    passing = Passing(path=wire.path, body=body, headers={"content-type": "application/json"})
    async with await server.send(passing) as answer:
        while piece := await answer.chunk():
            said += piece
    await server.close()
    return said


async def test_azure_has_a_key_of_its_own_and_the_api_of_openai() -> None:
    async with answering(reply(b"{}")) as server:
        await send(open_server(ServerSpec(name="az", kind="azure", url=server.url, key="k")), wire=Wire.CHAT)
    [asked] = server.asked
    assert (asked.path, asked.headers["api-key"]) == ("/openai/v1/chat/completions", "k")
    assert "authorization" not in asked.headers


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
async def test_a_bare_host_gets_the_path_of_openais_api(path: str) -> None:
    async with answering(reply(b"{}")) as server:
        await send(open_server(ServerSpec(name="o", kind="openai", url=server.url + path)), wire=Wire.CHAT)
    assert server.asked[0].path == "/v1/chat/completions"


async def test_a_path_that_is_named_stays_as_it_is() -> None:
    async with answering(reply(b"{}")) as server:
        await send(open_server(ServerSpec(name="o", kind="openai", url=f"{server.url}/api")), wire=Wire.CHAT)
    assert server.asked[0].path == "/api/chat/completions"


async def test_azures_deployments_stand_in_the_path() -> None:
    async with answering(reply(b"{}")) as server:
        spec = ServerSpec(name="az", kind="azure", url=server.url, key="k", api_version="2024-10-21")
        await send(open_server(spec), body=b'{"model":"my gpt/4"}', wire=Wire.CHAT)
    assert server.asked[0].path == "/openai/deployments/my%20gpt%2F4/chat/completions?api-version=2024-10-21"


@pytest.mark.parametrize(("kind", "missing"), [("azure", "url"), ("bedrock", "region"), ("vertex", "region")])
def test_what_a_kind_needs_is_said(kind: str, missing: str) -> None:
    with pytest.raises(Invalid, match=f"has no {missing}"):
        open_server(ServerSpec(name="x", kind=kind))  # type: ignore[arg-type]  # a kind


def test_a_key_never_shows() -> None:
    assert "secret-key" not in repr(ServerSpec(name="x", key="secret-key"))


# Bedrock


@pytest.mark.parametrize("token", ["", "session-token"])
async def test_bedrock_is_signed_as_awss_own_library_does_it(token: str) -> None:
    at = datetime(2026, 11, 30, 2, 3, 4, tzinfo=UTC)
    async with answering(reply(b"{}")) as server:
        host = urlsplit(server.url).netloc
        key = ":".join(filter(None, ("AKID", "secret", token)))
        spec = ServerSpec(name="b", kind="bedrock", url=server.url, region="eu-west-1", key=key)
        made = open_server(spec)
        assert isinstance(made, Bedrock)
        made._clock = at.timestamp
        await send(made, BODY.replace(b"claude-x", b"anthropic.claude-v2:0"))
    [asked] = server.asked
    assert asked.path == "/model/anthropic.claude-v2%3A0/invoke"
    theirs = AWSRequest("POST", f"http://{host}{asked.path}", data=asked.body, headers={"host": host})
    signer = SigV4Auth(Credentials("AKID", "secret", token or None), "bedrock", "eu-west-1")
    with mock.patch("botocore.auth.get_current_datetime", return_value=at.replace(tzinfo=None)):
        signer.add_auth(theirs)
    assert asked.headers["authorization"] == theirs.headers["Authorization"]
    assert json.loads(asked.body) == {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "hi"}],
    }


async def test_bedrock_takes_a_key_of_its_own() -> None:
    async with answering(reply(b"{}")) as server:
        await send(open_server(ServerSpec(name="b", kind="bedrock", url=server.url, region="r", key="bedrock-api-key")))
    assert server.asked[0].headers["authorization"] == "Bearer bedrock-api-key"


EVENTS = [{"type": "message_start", "message": {"id": "m"}}, {"type": "message_stop"}]


def frame(payload: bytes, **headers: str) -> bytes:
    """One frame, as the protocol describes it."""
    heads = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(heads) + len(payload), len(heads))
    data = prelude + struct.pack(">I", zlib.crc32(prelude)) + heads + payload
    return data + struct.pack(">I", zlib.crc32(data))


def chunk(event: object) -> bytes:
    payload = json.dumps({"bytes": base64.b64encode(json.dumps(event).encode()).decode()}).encode()
    return frame(payload, **{":message-type": "event", ":event-type": "chunk"})


def test_the_frames_of_this_test_are_those_of_awss_own_library() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join(map(chunk, EVENTS)))
    assert [json.loads(one.payload)["bytes"] for one in buffer] == [
        base64.b64encode(json.dumps(event).encode()).decode() for event in EVENTS
    ]


@given(cuts=st.lists(st.integers(0, 600), max_size=6))
def test_frames_are_read_whatever_their_cut(cuts: list[int]) -> None:
    data, frames = b"".join(map(chunk, EVENTS)), Frames()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    found = [one for start, end in pairwise(edges) for one in frames.feed(data[start:end])]
    assert [one.headers[":event-type"] for one in found] == ["chunk", "chunk"]


@given(place=st.integers(0, 50), bit=st.integers(0, 7))
def test_a_broken_frame_is_noticed(place: int, bit: int) -> None:
    data = bytearray(chunk(EVENTS[0]) * 2)
    data[place] ^= 1 << bit
    with pytest.raises(UpstreamFailed):
        list(Frames().feed(bytes(data)))


async def test_bedrocks_stream_becomes_events() -> None:
    frames = b"".join(map(chunk, EVENTS)) + frame(
        b'{"message":"slow down"}', **{":message-type": "exception", ":exception-type": "throttlingException"}
    )
    async with answering(reply(frames, kind="application/vnd.amazon.eventstream")) as server:
        said = await send(
            open_server(ServerSpec(name="b", kind="bedrock", url=server.url, region="r", key="k")), STREAM
        )
    assert server.asked[0].path.endswith("/invoke-with-response-stream")
    kinds = [line for line in said.splitlines() if line.startswith(b"event: ")]
    assert kinds == [b"event: message_start", b"event: message_stop", b"event: error"]
    assert b"slow down" in said


# Vertex


@pytest.fixture(scope="module")
def rsa() -> RSAKey:
    return RSAKey.generate_key(2048)


def key_file(rsa: RSAKey, url: str) -> str:
    pem = rsa.as_pem(private=True).decode()
    return json.dumps({"client_email": "bot@x.example", "private_key": pem, "token_uri": f"{url}/token"})


async def test_vertex_gets_a_token_for_its_service_account_once(rsa: RSAKey) -> None:
    token = json.dumps({"access_token": "at", "expires_in": 3600}).encode()
    async with answering(reply(token), reply(b"{}")) as server:
        spec = ServerSpec(
            name="v", kind="vertex", url=server.url, region="r", project="p", key=key_file(rsa, server.url)
        )
        made = open_server(spec)
        await send(made)
        await send(made, STREAM)
    asked, first, second = server.asked
    assertion = dict(part.split("=") for part in asked.body.decode().split("&"))["assertion"]
    claims = jwt.decode(assertion, rsa, algorithms=["RS256"]).claims
    assert (claims["iss"], claims["scope"], claims["aud"]) == ("bot@x.example", SCOPE, f"{server.url}/token")
    place = "/v1/projects/p/locations/r/publishers/anthropic/models/claude-x"
    assert [one.path for one in (first, second)] == [f"{place}:rawPredict", f"{place}:streamRawPredict"]
    assert {one.headers["authorization"] for one in (first, second)} == {"Bearer at"}
    assert json.loads(first.body)["anthropic_version"] == "vertex-2023-10-16"
    assert "model" not in json.loads(first.body)


async def test_a_service_account_that_gets_no_token_is_said(rsa: RSAKey) -> None:
    async with answering(reply(b"{}", 403)) as server:
        spec = ServerSpec(
            name="v", kind="vertex", url=server.url, region="r", project="p", key=key_file(rsa, server.url)
        )
        with pytest.raises(UpstreamFailed, match="no token"):
            await send(open_server(spec))


@pytest.mark.parametrize("key", ["{}", '{"client_email":"x","private_key":"no key"}', "{"])
def test_a_key_file_that_is_none_is_said(key: str) -> None:
    with pytest.raises(Invalid, match="no key file"):
        open_server(ServerSpec(name="v", kind="vertex", region="r", project="p", key=key))
