"""Anthropic's models on Amazon Bedrock: `InvokeModel`, whose stream is frames around the same events.

Signature: AWS Signature Version 4. Frames (`application/vnd.amazon.eventstream`): total length, length of the headers
and a CRC of these, headers, payload, a CRC of all; the payload is `{"bytes": base64 of an event of the Messages API}`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import structs

from llmos_lite.engines.absent import LARGEST, ReadReply
from llmos_lite.engines.http_client import Reply
from llmos_lite.engines.llm_http import ModelServer, decoded
from llmos_lite.engines.upstream import HttpUpstream, Passing, Wire
from llmos_lite.engines.upstream_kinds import CloudAsk, cloud_ask, cloud_error, in_messages
from llmos_lite.errors import UpstreamFailed

VERSION = "bedrock-2023-05-31"
SERVICE = "bedrock"
_STREAM = "invoke-with-response-stream"
BETAS = frozenset(
    {
        "compact-2026-01-12",
        "computer-use-2024-10-22",
        "computer-use-2025-01-24",
        "computer-use-2025-11-24",
        "context-1m-2025-08-07",
        "context-management-2025-06-27",
        "effort-2025-11-24",
        "fine-grained-tool-streaming-2025-05-14",
        "interleaved-thinking-2025-05-14",
        "output-128k-2025-02-19",
        "token-efficient-tools-2025-02-19",
        "tool-examples-2025-10-29",
        "tool-search-tool-2025-10-19",
    }
)
"""What Bedrock knows of `anthropic-beta`, as people report; for one that it does not know it refuses the whole request,
and Claude Code sends several of these to whatever is not Bedrock for it."""
_REFUSED, _ODD_BETA = 400, b"beta flag"
"""How it refuses one that not every model has."""
_KINDS: Mapping[str, str] = {
    "throttlingException": "rate_limit_error",
    "validationException": "invalid_request_error",
    "serviceUnavailableException": "overloaded_error",
    "modelTimeoutException": "timeout_error",
}
"""What Anthropic's API calls what goes wrong in a stream; the rest is `api_error`."""
LONGEST_FRAME = 1 << 24
_PRELUDE = 12


class _Payload(msgspec.Struct):
    bytes: str = ""
    message: str = ""


class _Typed(msgspec.Struct):
    type: str = ""


_payload = msgspec.json.Decoder(_Payload)
_typed = msgspec.json.Decoder(_Typed)


class Signature(NamedTuple):
    """Signs requests.

    Args:
        region: as in `us-east-1`.
        key_id: of the access key.
        secret: of the access key.
        token: of a session; empty for none.
    """

    region: str
    key_id: str
    secret: str
    token: str = ""

    def headers(self, host: str, path: str, body: bytes, at: float) -> dict[str, str]:
        """Return the headers that sign a POST.

        Args:
            host: as in the request.
            path: as it stands in the request, each segment quoted once.
            body: its bytes.
            at: seconds since the epoch.
        """
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
        signed = {"host": host, "x-amz-date": stamp} | ({"x-amz-security-token": self.token} if self.token else {})
        names = ";".join(sorted(signed))
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        canonical = f"POST\n{quote(path)}\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{stamp[:8]}/{self.region}/{SERVICE}/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signature = _hmac(self._key(stamp[:8]), f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}").hex()
        credential = f"Credential={self.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
        del signed["host"]
        return signed | {"authorization": f"AWS4-HMAC-SHA256 {credential}"}

    def _key(self, day: str) -> bytes:
        key = f"AWS4{self.secret}".encode()
        for part in (day, self.region, SERVICE, "aws4_request"):
            key = _hmac(key, part)
        return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Bedrock(HttpUpstream):
    """Anthropic's models on Bedrock.

    Args:
        name: what people call it.
        server: where the models are.
        signature: signs requests; None when the server has a key.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        name: str,
        server: ModelServer,
        signature: Signature | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(name, server, frozenset({Wire.MESSAGES}))
        url = urlsplit(server.base_url)
        self._host, self._prefix = url.netloc, url.path
        self._signature, self._clock = signature, clock
        if signature and signature.token:
            self.hidden.append(signature.token.encode())  # Amazon quotes what should have been signed

    async def send(self, passing: Passing) -> Reply:
        """Pass a request on; see `Upstream`. What a client asks for by `anthropic-beta` stands in the body there.

        A model that does not know one of these is asked without them.
        """
        ask = cloud_ask(passing.body, VERSION)
        ask.fields.pop("stream", None)
        betas = [one for one in map(str.strip, passing.headers.get("anthropic-beta", "").split(",")) if one in BETAS]
        if not betas or "anthropic_beta" in ask.fields:
            return await self._sent(passing, ask)
        wished = ask._replace(fields={**ask.fields, "anthropic_beta": betas})
        reply = await self._sent(passing, wished)
        if reply.status != _REFUSED:
            return reply
        said = await reply.read(LARGEST)
        if _ODD_BETA not in said:
            return ReadReply(reply, said)
        await reply.end()
        return await self._sent(passing, ask)

    async def _sent(self, passing: Passing, ask: CloudAsk) -> Reply:
        path, body = f"/model/{quote(ask.model, safe='')}/{_STREAM if ask.stream else 'invoke'}", ask.body
        headers = {name: value for name, value in passing.headers.items() if not name.startswith("anthropic-")}
        headers["content-type"] = "application/json"
        if self._signature is not None and not passing.own_key:
            headers |= self._signature.headers(self._host, self._prefix + path, body, self._clock())
        reply = await super().send(structs.replace(passing, path=path, body=body, headers=headers))
        return _Events(reply) if _is_stream(reply) else await in_messages(reply)


def _is_stream(reply: Reply) -> bool:
    return reply.header("content-type").startswith("application/vnd.amazon.eventstream")


class _Events(Reply):
    """An answer of frames as server-sent events."""

    def __init__(self, reply: Reply) -> None:
        self._reply, self.status = reply, reply.status
        self._frames = Frames()

    def header(self, name: str) -> str:
        return "text/event-stream" if name == "content-type" else self._reply.header(name)

    def headers(self) -> Iterable[tuple[bytes, bytes]]:
        rest = [(name, value) for name, value in self._reply.headers() if name != b"content-type"]
        return [*rest, (b"content-type", b"text/event-stream")]

    async def chunk(self) -> bytes:
        while data := await self._reply.chunk():
            if events := b"".join(map(_event, self._frames.feed(data))):
                return events
        return b""

    async def end(self) -> None:
        await self._reply.end()


class Frame(NamedTuple):
    """One frame: its text headers and its payload."""

    headers: Mapping[str, str]
    payload: bytes


class Frames:
    """Reads frames, cut anywhere."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that this completes.

        Raises:
            UpstreamFailed: `model.garbage`.
        """
        self._rest += data
        while len(self._rest) >= _PRELUDE:
            total, heads, check = struct.unpack(">III", self._rest[:_PRELUDE])
            if zlib.crc32(self._rest[:8]) != check or not _PRELUDE + heads + 4 <= total <= LONGEST_FRAME:
                raise _broken()
            if len(self._rest) < total:
                return
            frame, self._rest = self._rest[:total], self._rest[total:]
            if zlib.crc32(frame[:-4]) != struct.unpack(">I", frame[-4:])[0]:
                raise _broken()
            end = _PRELUDE + heads
            yield Frame(dict(_headers(frame[_PRELUDE:end])), frame[end:-4])


def _headers(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield the headers whose values are texts (type 7), which is all that this service sends."""
    place = 0
    try:
        while place < len(data):
            size = data[place]
            name = data[place + 1 : place + 1 + size].decode()
            place += 1 + size
            kind, length = data[place], struct.unpack(">H", data[place + 1 : place + 3])[0]
            if kind != 7:  # noqa: PLR2004 - the type of a text
                raise _broken()
            yield name, data[place + 3 : place + 3 + length].decode()
            place += 3 + length
    except (IndexError, struct.error, UnicodeDecodeError):
        raise _broken() from None


def _event(frame: Frame) -> bytes:
    said = decoded(_payload, frame.payload or b"{}")
    if frame.headers.get(":message-type", "event") != "event":
        kind = frame.headers.get(":exception-type") or frame.headers.get(":error-code", "error")
        message = said.message or frame.headers.get(":error-message", "")
        error = cloud_error(_KINDS.get(kind, "api_error"), f"{message} ({kind})".strip())
        return b"event: error\ndata: %b\n\n" % error
    if not said.bytes:
        return b""
    try:
        event = base64.b64decode(said.bytes, validate=True)
    except ValueError:
        raise _broken() from None
    return b"event: %b\ndata: %b\n\n" % (decoded(_typed, event).type.encode(), event)


def _broken() -> UpstreamFailed:
    return UpstreamFailed("model.garbage", "The model's server sent a broken frame.", hint="Try again.")
