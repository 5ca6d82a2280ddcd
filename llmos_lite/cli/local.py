"""The app in this process, on a data folder that no server holds: the same API without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

from llmos_lite.api.app import App, create_app
from llmos_lite.api.errors import Receive
from llmos_lite.bootstrap import open_services
from llmos_lite.cli.client import Reply, Request
from llmos_lite.errors import UpstreamFailed
from llmos_lite.settings import Settings

Message: TypeAlias = "MutableMapping[str, Any]"


def open_folder(data: Path, env: Mapping[str, str]) -> FolderTransport:
    """Open a data folder, made when there is none, and start the app on it.

    Raises:
        Unavailable: when another process holds it, or its format is another program's.
        StorageFailed: when it cannot be written.
    """
    return FolderTransport(Settings.parse(env, data=data))


class FolderTransport:
    """Carries requests to the app in this process; its event loop runs while somebody waits for it.

    Args:
        settings: of the instance; its data folder is held until `close`.
    """

    def __init__(self, settings: Settings) -> None:
        self.address = str(settings.data)
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        try:
            self._app = self._runner.run(self._open(settings))
        except BaseException:
            self.close()
            raise

    def send(self, request: Request) -> Reply:
        """Send one request; see `Transport`."""
        reply = _Reply(self._runner)
        self._runner.run(reply.begin(self._app, request))
        return reply

    def wait(self, seconds: float) -> None:
        """Let time pass; the work in this process goes on meanwhile."""
        self._runner.run(asyncio.sleep(seconds))

    def close(self) -> None:
        """Fold what was recorded, and let go of the folder."""
        try:
            self._runner.run(self._stack.aclose())
        finally:
            self._runner.close()

    async def _open(self, settings: Settings) -> App:
        services = await self._stack.enter_async_context(open_services(settings, serve=False))
        await services.start()
        self._stack.push_async_callback(services.stop)
        return create_app(services)


class _Reply:
    """A reply whose body is taken from the app as it is read."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self._runner = runner
        self._messages: asyncio.Queue[Message] = asyncio.Queue(maxsize=16)
        self._task: asyncio.Task[None] | None = None

    async def begin(self, app: App, request: Request) -> None:
        """Start the request and wait for its status."""
        body = _blocks(request.body)
        gone = asyncio.Event()

        async def receive() -> Message:
            block = next(body, None)
            if block is not None:
                return {"type": "http.request", "body": block, "more_body": True}
            if not gone.is_set():
                gone.set()
                return {"type": "http.request", "body": b"", "more_body": False}
            return await asyncio.Future()

        self._task = asyncio.create_task(self._run(app, request, receive))
        start = await self._messages.get()
        if start["type"] != "http.response.start":
            await self._task
            raise UpstreamFailed("app.silent", "The app did not answer.")
        self.status = start["status"]
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes."""
        while True:
            message = self._runner.run(self._messages.get())
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body", False):
                return

    async def _run(self, app: App, request: Request, receive: Receive) -> None:
        try:
            await app(_scope(request), receive, self._messages.put)
        finally:
            await self._messages.put({"type": "end"})


def _scope(request: Request) -> Message:
    parts = urlsplit(request.path)
    headers = [(name.lower().encode(), value.encode("utf-8")) for name, value in request.headers.items()]
    if isinstance(request.body, bytes):
        headers.append((b"content-length", str(len(request.body)).encode()))
    elif request.body is not None:
        headers.append((b"transfer-encoding", b"chunked"))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(b"host", b"localhost"), *headers],
        "client": ("127.0.0.1", 0),
        "server": ("localhost", 0),
        "state": {},
    }


def _blocks(body: bytes | Iterable[bytes] | None) -> Iterator[bytes]:
    if body is None:
        return iter(())
    return iter([body] if isinstance(body, bytes) else body)
