"""Real processes to measure: the server of llmos, and the instant model."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

LONGEST_START = 60.0


@dataclass(frozen=True)
class Server:
    """A running server.

    Args:
        process: its process.
        port: where it listens.
        data: its data folder.
        started: seconds from the start of the process to the first answer of `/health`.
    """

    process: subprocess.Popen[bytes]
    port: int
    data: Path
    started: float

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that every request of alice carries."""
        key = (self.data / "admin.key").read_text().strip()
        return {"Authorization": f"Bearer {key}", "X-LLMOS-User": "alice", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> dict[str, object]:
        """Make one request and return its JSON; anything but success is an error."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        with closing(connection):
            connection.request(method, path, data, self.headers | headers)
            response = connection.getresponse()
            text = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {text[:500]!r}")
        answer: dict[str, object] = json.loads(text)
        return answer

    def resident(self, *, alone: bool = False) -> float:
        """Return the resident memory of the server, and of its children unless it is meant alone, in megabytes."""
        listed = subprocess.run(["ps", "-Ao", "pid=,ppid=,rss="], capture_output=True, text=True, check=True).stdout
        rows = [tuple(map(int, line.split())) for line in listed.splitlines()]
        family = {self.process.pid}
        while not alone and (grown := {pid for pid, parent, _ in rows if parent in family} - family):
            family |= grown
        return sum(size for pid, _, size in rows if pid in family) / 1024


@contextmanager
def serving(data: Path, **env: str) -> Iterator[Server]:
    """Run `llmos serve` until the block ends, then stop it as a service manager does."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "llmos_lite", "serve", "--data", data, "--port", "0"],
        env={name: value for name, value in os.environ.items() if not name.startswith(("LLMOS_", "COVERAGE_"))}
        | {"LLMOS_EMBEDDER": "off"}  # figures and tests must not depend on what is installed beside
        | env,
        stdout=subprocess.DEVNULL,
    )
    try:
        port = _first_answer(process, data)
        yield Server(process, port, data, time.perf_counter() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def _first_answer(process: subprocess.Popen[bytes], data: Path) -> int:
    """Return the port as soon as `/health` is 200."""
    deadline = time.monotonic() + LONGEST_START
    while process.poll() is None and time.monotonic() < deadline:
        port = _port(process, data)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/health")
            if port and connection.getresponse().status == 200:
                return port
        time.sleep(0.005)
    raise RuntimeError(f"the server did not start (exit code {process.poll()})")


def _port(process: subprocess.Popen[bytes], data: Path) -> int:
    """Return the port that the server found free, as its lock says; 0 before it does."""
    with suppress(OSError, ValueError, KeyError):
        holder = json.loads((data / "lock").read_text())
        return int(holder["url"].rpartition(":")[2]) if holder["pid"] == process.pid else 0
    return 0


@contextmanager
def instant_model() -> Iterator[str]:
    """Run the instant model; the value is its base URL."""
    command = [sys.executable, "-m", "benchmarks._upstream"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        process.communicate("")
