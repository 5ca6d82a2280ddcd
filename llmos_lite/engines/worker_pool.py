"""Heavy work in processes of its own, so that chats beside it stay quick."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping, Sequence

from llmos_lite.errors import LlmosError

TAIL = 4_000
"""Characters of a worker's error output that are kept."""
GRACE_SECONDS = 2.0
COMMAND = (sys.executable, "-P", "-m", "llmos_lite.worker")
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""One core for a worker: the chats need the others."""


class WorkerDiedError(LlmosError):
    """A worker ended before its work did; the message is the end of what it wrote."""


class WorkerPool:
    """Runs worker processes, a few at a time.

    A worker's standard input is a pipe from here: when this process dies, however that ends, the worker sees the end of
    it and goes too, so that a server that starts again never works beside one of the old server's workers.

    Args:
        environment: the whole environment of the workers.
        size: how many work at the same time.
        command: of a worker; the kind and the id are appended.
    """

    def __init__(self, environment: Mapping[str, str], *, size: int = 1, command: Sequence[str] = COMMAND) -> None:
        self._environment = dict(environment) | dict.fromkeys(THREADS, "1")
        self._places = asyncio.Semaphore(size)
        self._command = command
        self._running: dict[str, asyncio.subprocess.Process] = {}

    @property
    def running(self) -> dict[str, int]:
        """Return the process ids of the workers, by what they work on."""
        return {run_id: process.pid for run_id, process in self._running.items()}

    async def run(self, kind: str, run_id: str) -> None:
        """Have one piece of work done; cancelling ends the worker.

        Raises:
            WorkerDiedError: `worker.died`.
        """
        async with self._places:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                kind,
                run_id,
                env=self._environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
            self._running[run_id] = process
            try:
                said = await _tail(process)
                code = await process.wait()
            finally:
                await _end(process)
                del self._running[run_id]
        if code:
            raise WorkerDiedError("worker.died", f"The worker ended with code {code}. {said}".strip())


async def _tail(process: asyncio.subprocess.Process) -> str:
    """Read what a worker writes until it ends, and return the end of it."""
    kept = b""
    if process.stderr is not None:
        while block := await process.stderr.read(8192):
            kept = (kept + block)[-4 * TAIL :]
    return kept.decode("utf-8", "replace")[-TAIL:].strip()


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a worker that still runs, politely first."""
    with contextlib.suppress(ProcessLookupError):
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), GRACE_SECONDS)
            except TimeoutError:
                process.kill()
    await process.wait()
