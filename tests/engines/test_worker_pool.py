from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from llmos_lite.engines.worker_pool import WorkerDiedError, WorkerPool

LONGEST = 20.0


def pool(code: str, *, size: int = 1, **environment: str) -> WorkerPool:
    return WorkerPool(os.environ | environment, size=size, command=(sys.executable, "-c", code))


async def test_a_worker_gets_kind_id_and_one_thread(tmp_path: Path) -> None:
    code = "import os, sys; open(sys.argv[2], 'w').write(sys.argv[1] + os.environ['OMP_NUM_THREADS'] + os.environ['X'])"
    await pool(code, X="y").run("evolve", str(tmp_path / "said"))
    assert (tmp_path / "said").read_text() == "evolve1y"


async def test_a_worker_that_dies_says_why() -> None:
    with pytest.raises(WorkerDiedError, match=r"(?s)code 3\. x{3900,4000}\. no such thing$"):
        await pool("import sys; sys.stderr.write('x' * 100_000 + '. no such thing'); sys.exit(3)").run("evolve", "r")
    with pytest.raises(WorkerDiedError, match="code -9"):
        await pool("import os; os.kill(os.getpid(), 9)").run("evolve", "r")


async def test_one_works_at_a_time(tmp_path: Path) -> None:
    code = (
        "import os, sys; folder = sys.argv[1]\n"
        "os.mkdir(folder + '/only'); os.rmdir(folder + '/only'); open(folder + '/' + sys.argv[2], 'w').close()"
    )
    workers = pool(code)
    await asyncio.gather(*(workers.run(str(tmp_path), f"r{number}") for number in range(4)))
    assert sorted(entry.name for entry in os.scandir(tmp_path)) == ["r0", "r1", "r2", "r3"]
    assert workers.running == {}


async def test_cancelling_ends_the_worker_even_a_stubborn_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmos_lite.engines.worker_pool.GRACE_SECONDS", 0.2)
    code = (
        "import signal, sys\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "open(sys.argv[2], 'w').write('begun')\nwhile True: signal.pause()"
    )
    workers = pool(code)
    os.mkfifo(tmp_path / "begun")
    task = asyncio.create_task(workers.run("evolve", str(tmp_path / "begun")))
    assert await asyncio.wait_for(asyncio.to_thread((tmp_path / "begun").read_text), LONGEST) == "begun"
    [pid] = workers.running.values()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert workers.running == {}
