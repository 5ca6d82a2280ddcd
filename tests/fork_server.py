"""Runs code in processes that begin with everything loaded: a fork takes a hundredth of the time of a new Python.

As a program it is the server: it loads what is slow, then forks a child for each line of standard input. One thread,
so a fork is safe. Nothing measures coverage there: most of what runs is killed.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LOADED = (
    "asgi_client", "kill_points", "pytest", "aiosqlite", "llmos_lite.api.routes", "llmos_lite.bootstrap",
    "llmos_lite.core.work", "obstore.store",
)  # fmt: skip


class Ended(NamedTuple):
    """How a process ended: its exit code (negative: the signal that killed it), and what it wrote."""

    code: int
    said: str


class ForkServer:
    """Runs code; one server may be used by many tests, one after the other.

    Args:
        folder: for what the processes write.
    """

    def __init__(self, folder: Path) -> None:
        self._said = folder / "said"
        ours = ("COVERAGE", "COV_", "LLMOS", "PYTEST")
        env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        env["PYTHONPATH"] = f"{ROOT}:{ROOT / 'tests'}"
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT
        )
        assert self._hear() == "ready"

    def run(self, code: str) -> Ended:
        """Run code in a process of its own, and wait for its end."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"code": code, "said": str(self._said)}) + "\n")
        self._process.stdin.flush()
        return Ended(int(self._hear()), self._said.read_text())

    def close(self) -> None:
        self._process.communicate()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def child(code: str, said: str) -> int:
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for number in (1, 2):
        os.dup2(output, number)
    try:
        exec(code, {"__name__": "__main__"})  # noqa: S102 - what a test wrote
    except BaseException:  # noqa: BLE001 - as a new Python says it
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def serve() -> None:
    for name in LOADED:
        importlib.import_module(name)
    print("ready", flush=True)  # noqa: T201 - it is spoken to
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os._exit(child(**json.loads(line)))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    serve()
