"""A model's API over HTTP: bounded answers and clear errors, without the key in them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from llmos_lite.engines.http_client import HttpClient, PlainClient, Reply
from llmos_lite.engines.http_tls import TlsClient
from llmos_lite.errors import Invalid, UpstreamFailed, UpstreamTimeout

LARGEST_ANSWER = 8 << 20
"""Most bytes that are read of one answer; a model that writes a book fits in one."""

_QUOTED = 300
T = TypeVar("T")


class Answer:
    """An answer whose status was fine and whose body is still to be read."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    @property
    def is_stream(self) -> bool:
        """Tell whether the body is server-sent events."""
        return self._reply.header("content-type").startswith("text/event-stream")

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes.

        Raises:
            UpstreamFailed: `model.garbage`, past `LARGEST_ANSWER`.
        """
        length = self._reply.header("content-length")
        size = int(length) if length.isdecimal() else 0
        if size > LARGEST_ANSWER:
            raise _too_large()
        size = 0
        while chunk := await self._reply.chunk():
            size += len(chunk)
            if size > LARGEST_ANSWER:
                raise _too_large()
            yield chunk

    async def read(self) -> bytes:
        """Return the whole body.

        Raises:
            UpstreamFailed: `model.garbage`, past `LARGEST_ANSWER`.
        """
        return b"".join([chunk async for chunk in self.chunks()])


def _too_large() -> UpstreamFailed:
    return UpstreamFailed("model.garbage", f"The model's answer is larger than {LARGEST_ANSWER >> 20} MiB.")


class ModelServer:
    """One base URL with its credential, and one pool of connections to it.

    Args:
        base_url: `http` or `https`, without a trailing slash.
        headers: sent with every request; never logged.
        secret: the key, cut out of whatever the server says about it.
        timeout: longest silence, in seconds.

    Raises:
        Invalid: `settings.invalid`, when the URL is none.
    """

    def __init__(self, base_url: str, *, headers: Mapping[str, str], secret: str = "", timeout: float) -> None:
        self.base_url = checked_url(base_url)
        self._headers = {"user-agent": "llmos-lite", "content-type": "application/json", **headers}
        self._secret, self._timeout = secret, timeout
        url = urlsplit(self.base_url)
        self._host = url.netloc.rpartition("@")[2]
        self._client: HttpClient = (
            PlainClient(url, timeout=timeout) if url.scheme == "http" else TlsClient(self.base_url, timeout=timeout)
        )

    @asynccontextmanager
    async def request(self, method: str, path: str, body: bytes = b"") -> AsyncIterator[Answer]:
        """Send a request and hand out its answer; leaving the context ends the request.

        Raises:
            UpstreamFailed: what happened, as `LanguageModel` lists it.
            UpstreamTimeout: `model.timeout`.
        """
        with self._translated():
            async with self._client.send(method, path, self._headers, body) as reply:
                if reply.status != 200:  # noqa: PLR2004 - the one status that carries an answer
                    raise await self._refusal(reply)
                yield Answer(reply)

    async def close(self) -> None:
        """Close the pool."""
        await self._client.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ConnectionRefusedError:
            raise UpstreamFailed(
                "model.unreachable",
                f"The model at {self._host} cannot be reached.",
                hint="Start it, or set LLMOS_LLM_URL.",
            ) from None
        except TimeoutError:
            raise UpstreamTimeout(
                "model.timeout", f"The model at {self._host} was silent for {self._timeout:g} s.", hint="Try again."
            ) from None
        except ConnectionError:
            raise UpstreamFailed(
                "model.cut", f"The model at {self._host} broke the connection.", hint="Try again."
            ) from None

    async def _refusal(self, reply: Reply) -> UpstreamFailed:
        """Turn a status into an error that quotes the server, without our key in it."""
        said, status = await self._said(reply), reply.status
        if status == 429:  # noqa: PLR2004 - Too Many Requests
            after = reply.header("retry-after").partition(".")[0]
            seconds = int(after) if after.isdecimal() else None
            return UpstreamFailed(
                "model.rate_limited",
                f"The model takes no more requests for now{said}",
                hint=f"Try again in {seconds} s." if seconds else "Try again later.",
                retry_after=seconds,
            )
        if status in {401, 403}:
            return UpstreamFailed(
                "model.rejected", f"The model refused our key ({status}){said}", hint="Check LLMOS_LLM_KEY."
            )
        if 400 <= status < 500:  # noqa: PLR2004 - the client errors of HTTP
            return UpstreamFailed("model.rejected", f"The model refused the request ({status}){said}")
        return UpstreamFailed("model.failed", f"The model failed ({status}){said}", hint="Try again.")

    async def _said(self, reply: Reply) -> str:
        start = b""
        while len(start) < 4 * _QUOTED and (chunk := await reply.chunk()):
            start += chunk
        text = " ".join(start[: 4 * _QUOTED].decode(errors="replace").split())
        if self._secret:
            text = text.replace(self._secret, "[key]")
        return f": {text[:_QUOTED]}" if text else "."


def decoded(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """Decode what a model sent.

    Raises:
        UpstreamFailed: `model.garbage`.
    """
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UpstreamFailed("model.garbage", f"The model answered what is not its protocol: {error}") from None


def checked_url(url: str) -> str:
    """Return a base URL without its trailing slash.

    Raises:
        Invalid: `settings.invalid`, when it is none.
    """
    parts = urlsplit(url)
    if parts.scheme in {"http", "https"} and parts.hostname and not parts.query and not parts.fragment:
        return url.rstrip("/")
    raise Invalid(
        "settings.invalid",
        "LLMOS_LLM_URL is not the base URL of an API.",
        hint="Set it as in http://127.0.0.1:9100/v1.",
    )
