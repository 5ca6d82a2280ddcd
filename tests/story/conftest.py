"""A real server process, spoken to over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

LONGEST = 60.0


@dataclass
class Server:
    """`llmos serve` on a free port.

    Attributes:
        started: seconds from the start of the process to the first answer of `/health`.
    """

    data: Path
    env: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    port: int = 0
    started: float = 0.0

    def start(self) -> Server:
        began = time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "llmos_lite",
            "serve",
            "--data",
            self.data,
            "--port",
            str(self.port),
            *self.arguments,
        ]
        env = plain_environment() | {"LLMOS_LLM_PROVIDER": "offline"} | self.env
        self.log = (self.data.parent / f"{self.data.name}.log").open("ab")
        self.process = subprocess.Popen(command, env=env, stdout=self.log, stderr=self.log)
        while not self._answers():
            assert self.process.poll() is None, self.said()
            assert time.perf_counter() - began < LONGEST, self.said()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.02)
        self.started = time.perf_counter() - began
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(LONGEST)
        self.log.close()
        return code

    def said(self) -> str:
        return (self.data.parent / f"{self.data.name}.log").read_text()

    def ask(self, user: str, method: str, path: str, body: object = None, **headers: str) -> Any:  # noqa: ANN401 - JSON
        status, answer = self.try_(user, method, path, body, **headers)
        assert status < 300, (status, answer)
        return answer

    def try_(self, user: str, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"} | headers
        if user != "admin":
            sent["X-LLMOS-User"] = user
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        return response.status, json.loads(text) if text else None

    @property
    def key(self) -> str:
        return (self.data / "admin.key").read_text().strip()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, *arguments: object, code: int = 0, where: bool = True, **env: str) -> str:
        """Run a command of the terminal; return what it wrote."""
        place = {"LLMOS_DATA": str(self.data)} if where else {}
        command = [sys.executable, "-m", "llmos_lite", *map(str, arguments)]
        env = plain_environment() | {"LLMOS_LLM_PROVIDER": "offline"} | place | env
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=LONGEST, check=False)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stderr

    def _answers(self) -> bool:
        if not self.port and not self._find_port():
            return False
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def _find_port(self) -> bool:
        with suppress(OSError, ValueError):
            self.port = int(json.loads((self.data / "lock").read_text())["url"].rpartition(":")[2])
        return bool(self.port)


def plain_environment() -> dict[str, str]:
    """Return an environment without settings, and without coverage, which makes a start half as long again."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("LLMOS_", "COVERAGE_"))}


Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start servers that end with the test."""
    running: list[Server] = []

    def start(name: str = "data", *arguments: str, **env: str) -> Server:
        server = Server(tmp_path / name, env, arguments).start()
        running.append(server)
        return server

    yield start
    for server in running:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)
        server.log.close()


def git(folder: Path, *arguments: str) -> str:
    """Run stock git."""
    command = ["git", "-c", "safe.directory=*", "-C", folder, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(name="git")
def git_fixture() -> Callable[..., str]:
    return git
