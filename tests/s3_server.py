"""A server that speaks S3's protocol, with faults when asked for."""

from __future__ import annotations

import http.client
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Fault = Callable[[dict[str, Any]], str | None]
"""Returns the status to refuse a request with, as in `403 Forbidden`; None lets it pass."""
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


@dataclass
class S3:
    """A running server; `faults` may be changed at any time."""

    port: int = 0
    faults: list[Fault] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        """What a person sets beside LLMOS_ARCHIVE_URL for a server of S3 that is not Amazon's."""
        return CREDENTIALS | {"AWS_ENDPOINT_URL": self.url, "AWS_ALLOW_HTTP": "true"}

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Ask the server as nobody: a bucket is made and removed so, and its keys looked at."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        assert response.status < 300, (response.status, text)
        return text


@contextmanager
def serving() -> Iterator[S3]:
    """Serve S3 from a thread until the block ends."""
    from moto.server import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415 - a second, for a few tests
    from werkzeug.serving import make_server  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    s3, inner = S3(), DomainDispatcherApplication(create_backend_app)

    def outer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        s3.asked.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}")
        for fault in s3.faults:
            status = fault(environ)
            if status is not None:
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start(status, [("Content-Length", "0")])
                return [b""]
        answer: Iterable[bytes] = inner(environ, start)
        return answer

    server = make_server("127.0.0.1", 0, outer, threaded=True)
    s3.port = server.port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield s3
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
