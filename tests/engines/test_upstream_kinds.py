"""How each kind of server is addressed, and how a key is shown to it; AWS's own library checks ours."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import struct
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from unittest import mock
from urllib.parse import urlsplit

import anthropic
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import RSAKey

from llmos_lite.engines.upstream import Passing, Upstream, Wire, limit_at
from llmos_lite.engines.upstream_bedrock import Bedrock, Frames
from llmos_lite.engines.upstream_kinds import ServerSpec, open_server
from llmos_lite.engines.upstream_vertex import SCOPE, Vertex, token_source
from llmos_lite.errors import Invalid, NotFound, UpstreamFailed
from tests.answering import answering, reply

BODY = b'{"model":"claude-x","max_tokens":5,"stream":false,"messages":[{"role":"user","content":"hi"}]}'
STREAM = BODY.replace(b"false", b"true")


JSON = {"content-type": "application/json"}


async def send(
    server: Upstream, body: bytes = BODY, wire: Wire = Wire.MESSAGES, headers: Mapping[str, str] = JSON
) -> bytes:
    """Ask, and return the whole answer."""
    said = b""
    passing = Passing(path=wire.path, body=body, headers=headers)
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


@pytest.mark.parametrize(
    ("spec", "limit"),
    [
        (ServerSpec(name="o"), "max_completion_tokens"),
        (ServerSpec(name="o", url="https://eu.api.openai.com/v1"), "max_completion_tokens"),
        (ServerSpec(name="o", url="http://127.0.0.1:11434"), "max_tokens"),
        (ServerSpec(name="o", url="https://notapi.openai.com.example/v1"), "max_tokens"),
        (ServerSpec(name="a", kind="azure", url="https://proxy.example"), "max_completion_tokens"),
        (
            ServerSpec(name="a", kind="azure", url="https://x.example", api_version="2024-10-21"),
            "max_completion_tokens",
        ),
        (ServerSpec(name="a", kind="azure", url="https://x.openai.azure.com", api_version="2024-06-01"), "max_tokens"),
    ],
)
def test_openais_own_servers_call_the_most_tokens_something_else(spec: ServerSpec, limit: str) -> None:
    assert limit_at(open_server(spec)) == limit


@pytest.mark.parametrize("model", ["", ".", ".."])
@pytest.mark.parametrize("kind", ["azure", "bedrock", "vertex"])
async def test_a_model_is_no_way_to_another_address(kind: str, model: str) -> None:
    async with answering(reply(b"{}")) as server:
        spec = ServerSpec(name="x", kind="azure", url=server.url, api_version="1", region="r", project="p", key="k")
        made = open_server(dataclasses.replace(spec, kind=kind))  # type: ignore[arg-type]  # a kind
        with pytest.raises(NotFound, match="No provider has a model"):
            await send(made, json.dumps({"model": model}).encode())
    assert not server.asked


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


async def test_the_path_of_a_proxy_before_bedrock_is_signed_too() -> None:
    at = datetime(2026, 11, 30, 2, 3, 4, tzinfo=UTC)
    async with answering(reply(b"{}")) as server:
        made = open_server(
            ServerSpec(name="b", kind="bedrock", url=f"{server.url}/aws", region="eu-west-1", key="AKID:s")
        )
        assert isinstance(made, Bedrock)
        made._clock = at.timestamp
        await send(made)
    [asked] = server.asked
    assert asked.path == "/aws/model/claude-x/invoke"
    host = urlsplit(server.url).netloc
    theirs = AWSRequest("POST", f"http://{host}{asked.path}", data=asked.body, headers={"host": host})
    with mock.patch("botocore.auth.get_current_datetime", return_value=at.replace(tzinfo=None)):
        SigV4Auth(Credentials("AKID", "s"), "bedrock", "eu-west-1").add_auth(theirs)
    assert asked.headers["authorization"] == theirs.headers["Authorization"]


KNOWN = "context-management-2025-06-27,effort-2025-11-24"


@pytest.mark.parametrize("body", [BODY, STREAM])
async def test_the_clouds_are_asked_as_anthropics_own_library_asks_them(body: bytes) -> None:
    fields = json.loads(body) | {"extra_headers": {"anthropic-beta": KNOWN}}
    async with answering(reply(b"{}")) as server:
        vertex = anthropic.AnthropicVertex(
            region="r", project_id="p", access_token="at", base_url=f"{server.url}/v1", max_retries=0
        )
        bedrock = anthropic.AnthropicBedrock(
            aws_access_key="AKID", aws_secret_key="s", aws_region="r", base_url=server.url, max_retries=0
        )
        for client in (vertex, bedrock):
            await asyncio.to_thread(client.messages.create, **fields)
        headers = {"content-type": "application/json", "anthropic-beta": KNOWN}
        for kind, key in (("vertex", "at"), ("bedrock", "AKID:s")):
            spec = ServerSpec(name="x", kind=kind, url=server.url, region="r", project="p", key=key)  # type: ignore[arg-type]  # a kind
            await send(open_server(spec), body, headers=headers)
    theirs, ours = server.asked[:2], server.asked[2:]
    assert [one.path for one in ours] == [one.path for one in theirs]
    for one in (*theirs, *ours):
        one.headers["body"] = json.loads(one.body) | {"anthropic_version": ""}
    assert [one.headers["body"] for one in ours] == [one.headers["body"] for one in theirs]
    assert ours[0].headers["anthropic-beta"] == theirs[0].headers["anthropic-beta"]


async def asked_with(betas: str, body: bytes, *answers: bytes) -> tuple[bytes, list[object]]:
    """Ask Bedrock, and return the answer, and the betas of each request that was made of it."""
    async with answering(*answers) as server:
        made = open_server(ServerSpec(name="b", kind="bedrock", url=server.url, region="r", key="AKID:s"))
        said = await send(made, body, headers={"anthropic-beta": betas})
    return said, [json.loads(one.body).get("anthropic_beta") for one in server.asked]


ODD_BETA = reply(b'{"message":"invalid beta flag"}', 400)


async def test_bedrock_gets_no_beta_for_which_it_would_refuse_the_request() -> None:
    claude_code = f"claude-code-20250219, {KNOWN},prompt-caching-scope-2026-01-05"
    assert await asked_with(claude_code, BODY, reply(b"{}")) == (b"{}", [KNOWN.split(",")])
    assert await asked_with("prompt-caching-scope-2026-01-05", BODY, reply(b"{}")) == (b"{}", [None])


async def test_what_a_body_asks_for_itself_reaches_bedrock_as_it_is() -> None:
    said, betas = await asked_with(KNOWN, BODY[:-1] + b',"anthropic_beta":["new-2030-01-01"]}', ODD_BETA)
    assert (b"invalid beta flag" in said, betas) == (True, [["new-2030-01-01"]])


async def test_a_model_of_bedrock_that_lacks_a_beta_is_asked_without() -> None:
    assert await asked_with(KNOWN, BODY, ODD_BETA, reply(b"{}")) == (b"{}", [KNOWN.split(","), None])
    said, betas = await asked_with(KNOWN, BODY, reply(b'{"message":"max_tokens is missing"}', 400))
    assert (b"max_tokens is missing" in said, betas) == (True, [KNOWN.split(",")])


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


@pytest.mark.parametrize(
    ("heads", "payload", "expected"),
    [
        ({":message-type": "exception", ":exception-type": "throttlingException"}, b'{"message":"slow"}', "rate_limit"),
        ({":message-type": "exception", ":exception-type": "modelTimeoutException"}, b'{"message":"slow"}', "timeout"),
        ({":message-type": "exception", ":exception-type": "internalServerException"}, b'{"message":"slow"}', "api"),
        ({":message-type": "error", ":error-code": "InternalFailure", ":error-message": "slow"}, b"", "api"),
    ],
)
async def test_what_goes_wrong_in_bedrocks_stream_has_anthropics_name(
    heads: dict[str, str], payload: bytes, expected: str
) -> None:
    async with answering(reply(frame(payload, **heads), kind="application/vnd.amazon.eventstream")) as server:
        spec = ServerSpec(name="b", kind="bedrock", url=server.url, region="r", key="k")
        said = await send(open_server(spec), STREAM)
    error = json.loads(said.partition(b"data: ")[2])["error"]
    assert error == {"type": f"{expected}_error", "message": f"slow ({list(heads.values())[1]})"}


AMAZON, GOOGLE = {"message": "no such model"}, {"error": {"code": 400, "message": "no such model", "status": "X"}}
ANTHROPIC = {"type": "error", "error": {"type": "invalid_request_error", "message": "no such model"}}


@pytest.mark.parametrize("kind", ["bedrock", "vertex"])
@pytest.mark.parametrize("said", [AMAZON, GOOGLE, [GOOGLE], ANTHROPIC], ids=["amazon", "google", "list", "anthropic"])
async def test_a_cloud_refuses_in_the_words_of_anthropics_api(kind: str, said: object) -> None:
    async with answering(reply(json.dumps(said).encode(), 400)) as server:
        spec = ServerSpec(name="x", kind=kind, url=server.url, region="r", project="p", key="k")  # type: ignore[arg-type]  # a kind
        assert json.loads(await send(open_server(spec))) == ANTHROPIC


async def test_a_cloud_that_refuses_in_other_words_is_quoted() -> None:
    async with answering(reply(b"<html>", 502)) as server:
        spec = ServerSpec(name="b", kind="bedrock", url=server.url, region="r", key="k")
        assert await send(open_server(spec)) == b"<html>"


# Vertex


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("us-east5", "us-east5-aiplatform.googleapis.com"),
    ],
)
def test_vertex_is_where_anthropics_own_library_finds_it(region: str, host: str) -> None:
    theirs = anthropic.AnthropicVertex(region=region, project_id="p", access_token="t")
    made = open_server(ServerSpec(name="v", kind="vertex", region=region, project="p", key="t"))
    assert isinstance(made, Vertex)
    assert (made._server.host, theirs.base_url.host) == (host, host)


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


async def test_a_token_that_is_refused_before_its_end_is_changed_once(rsa: RSAKey) -> None:
    tokens = [reply(json.dumps({"access_token": name}).encode()) for name in ("old", "new", "newer")]
    refused = reply(json.dumps(ANTHROPIC).encode(), 401)
    async with answering(tokens[0], refused, tokens[1], reply(b"{}"), refused, tokens[2], refused) as server:
        spec = ServerSpec(
            name="v", kind="vertex", url=server.url, region="r", project="p", key=key_file(rsa, server.url)
        )
        made = open_server(spec)
        assert await send(made) == b"{}"
        assert json.loads(await send(made)) == ANTHROPIC
    used = [one.headers.get("authorization", "")[7:] for one in server.asked]
    assert used == ["", "old", "", "new", "new", "", "newer"]


async def test_many_requests_wait_for_one_token(rsa: RSAKey) -> None:
    async with answering(reply(b'{"access_token":"at"}')) as server:
        account = token_source(key_file(rsa, server.url))
        assert set(await asyncio.gather(*(account.token() for _ in range(5)))) == {"at"}
    assert len(server.asked) == 1


async def test_a_token_service_that_is_down_is_no_fault_of_the_key(rsa: RSAKey) -> None:
    async with answering(reply(b"{}", 503)) as server:
        with pytest.raises(UpstreamFailed, match="answers 503") as failed:
            await token_source(key_file(rsa, server.url)).token()
    assert failed.value.code == "model.failed"


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
