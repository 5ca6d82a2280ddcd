"""HTTP over TLS by pyreqwest: certificates, proxies and decompression are its business.

It is imported on the first request, not at start, and buffers streams unless told not to, which would hold the first
token back until the last one came.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from llmos_lite.engines.http_client import CONNECT_SECONDS, Reply

if TYPE_CHECKING:
    from pyreqwest.client import Client
    from pyreqwest.response import Response


class TlsClient:
    """An `HttpClient` on pyreqwest.

    Args:
        base_url: stands before every path.
        timeout: longest silence, in seconds.
    """

    def __init__(self, base_url: str, *, timeout: float) -> None:
        self._base_url, self._timeout = base_url, timeout
        self._client: Client | None = None

    @asynccontextmanager
    async def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> AsyncIterator[Reply]:
        """Send a request; see `HttpClient`."""
        self._client = self._client or self._open()
        builder = self._client.request(method, self._base_url + path).headers(headers).body_bytes(body)
        with _builtin_errors():
            async with builder.streamed_read_buffer_limit(0).build_streamed() as response:
                yield _Reply(response)

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _open(self) -> Client:
        from pyreqwest.client import ClientBuilder  # noqa: PLC0415 - not before the first request

        return (
            ClientBuilder()
            .follow_redirects(enable=False)  # a redirect would carry the key to somewhere else
            .connect_timeout(timedelta(seconds=min(self._timeout, CONNECT_SECONDS)))
            .read_timeout(timedelta(seconds=self._timeout))
            .error_for_status(enable=False)
            .build()
        )


class _Reply:
    def __init__(self, response: Response) -> None:
        self._response = response
        self.status = response.status

    def header(self, name: str) -> str:
        return self._response.get_header(name) or ""

    def headers(self) -> Iterable[tuple[str, str]]:
        return [(name.lower(), value) for name, value in self._response.headers.items()]

    async def chunk(self) -> bytes:
        with _builtin_errors():
            return bytes(await self._response.body_reader.read_chunk() or b"")


@contextmanager
def _builtin_errors() -> Iterator[None]:
    """Turn pyreqwest's errors into the built-in ones that `HttpClient` promises.

    Silence before the head is a `ConnectTimeoutError` there, so a server that takes no connection is silent here, too.
    """
    from pyreqwest.exceptions import ConnectError, PyreqwestError, RequestTimeoutError  # noqa: PLC0415 - as above

    try:
        yield
    except ConnectError as error:
        raise ConnectionRefusedError(error.message) from None
    except RequestTimeoutError:
        raise TimeoutError from None
    except PyreqwestError as error:
        raise ConnectionResetError(error.message) from None
