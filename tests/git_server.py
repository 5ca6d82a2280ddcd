"""A server on a free port of this process, and stock git as its client."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from llmos_lite.api.app import create_app
from llmos_lite.bootstrap import Services, open_services
from llmos_lite.settings import Settings

LONGEST = 60.0


@dataclass
class Host:
    """A running server.

    Attributes:
        services: what it speaks for; they live on `loop`.
        key: the admin key.
    """

    settings: Settings
    port: int
    services: Services
    loop: asyncio.AbstractEventLoop
    key: str

    def url(self, address: str, user: str, key: str = "") -> str:
        return f"http://{user}:{key or self.key}@127.0.0.1:{self.port}/git/{address}"

    def folder(self, address: str) -> Path:
        return self.settings.data / "volumes" / address

    def ask(self, user: str, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"} | headers
        sent |= {} if user == "admin" else {"X-LLMOS-User": user}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONGEST)
        try:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        return response.status, json.loads(text) if text.startswith((b"{", b"[")) else text.decode("utf-8", "replace")

    def run(self, call: Any) -> Any:  # noqa: ANN401 - a coroutine of the services
        return asyncio.run_coroutine_threadsafe(call, self.loop).result(LONGEST)


@contextmanager
def hosting(settings: Settings) -> Iterator[Host]:
    """Serve an instance from a thread until the block ends."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)  # who is quicker than the server waits for it
    ready, stopping, found = threading.Event(), asyncio.Event(), list[Host]()

    async def main() -> None:
        async with open_services(settings, serve=False) as services:
            config = uvicorn.Config(
                create_app(services), http="httptools", ws="none", lifespan="on", log_config=None, access_log=False
            )
            server = uvicorn.Server(config)
            key = (settings.data / "admin.key").read_text().strip()
            found.append(Host(settings, listener.getsockname()[1], services, asyncio.get_running_loop(), key))
            serving = asyncio.create_task(server._serve([listener]))
            ready.set()
            await stopping.wait()
            server.should_exit = True
            await serving

    def thread() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())

    running = threading.Thread(target=thread)
    running.start()
    try:
        assert ready.wait(LONGEST)
        yield found[0]
    finally:
        found[0].loop.call_soon_threadsafe(stopping.set)
        running.join(LONGEST)
        listener.close()


@dataclass
class Git:
    """Stock git as somebody has it: nobody's configuration, no questions asked."""

    home: Path

    def run(self, folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        ours = {
            "GIT_CONFIG_GLOBAL": str(self._config()),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "HOME": str(self.home),
        }
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(
            command, env=clean | ours | env, capture_output=True, text=True, timeout=LONGEST, check=False
        )

    def __call__(self, folder: Path, *arguments: str) -> str:
        """Run a command that works; return what it wrote."""
        done = self.run(folder, *arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout.strip()

    def fails(self, folder: Path, *arguments: str) -> str:
        """Run a command that does not work; return what it complained about."""
        done = self.run(folder, *arguments)
        assert done.returncode != 0, (arguments, done.stdout, done.stderr)
        return done.stderr

    def clone(self, url: str, name: str, *options: str) -> Path:
        self(self.home, "clone", "-q", *options, url, name)
        return self.home / name

    def commit(self, folder: Path, files: dict[str, str | bytes | None], message: str = "Work") -> str:
        for path, content in files.items():
            place = folder / path
            if content is None:
                place.unlink()
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content.encode() if isinstance(content, str) else content)
        self(folder, "add", "--all")
        self(folder, "commit", "-q", "-m", message)
        return self(folder, "rev-parse", "HEAD")

    def _config(self) -> Path:
        path = self.home / ".gitconfig"
        if not path.exists():
            path.write_text("[user]\n\tname = Someone\n\temail = someone@example.org\n[safe]\n\tdirectory = *\n")
        return path


def skill(name: str, body: str = "# Steps\n\nDo it.\n") -> str:
    return f"---\nname: {name}\ndescription: How to do {name}.\n---\n{body}"
