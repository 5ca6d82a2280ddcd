"""The garbage collector of a server: quiet while it loads, blind to what is loaded, awake for what comes after."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from llmos_lite import heap
from llmos_lite.core.traces.trace import Exposure, Message, SkillUse, Trace

if TYPE_CHECKING:
    from llmos_lite.api.app import App


@pytest.fixture
def collector() -> Iterator[None]:
    """Put the collector of this process back afterwards."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    gc.enable()


@pytest.mark.usefixtures("collector")
def test_nothing_is_collected_while_loading_and_what_is_loaded_is_left_alone() -> None:
    heap.begin_loading()
    assert not gc.isenabled()
    loaded = [[number] for number in range(100)]
    heap.end_loading()
    assert gc.isenabled()
    assert gc.get_freeze_count() > len(loaded)
    assert gc.get_threshold() == heap.THRESHOLDS
    assert len(gc.get_objects()) < gc.get_freeze_count()


@pytest.mark.usefixtures("collector")
def test_a_cycle_that_comes_later_is_collected() -> None:
    heap.end_loading()
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() >= 1


ARENAS = """
import ctypes, threading
from llmos_lite import heap
libc = ctypes.CDLL(None)
heap.begin_loading()
met = threading.Barrier(8)
def use() -> None:
    held = [bytearray(2000) for _ in range(100)]
    met.wait()
threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.malloc_stats()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="only GNU's allocator has arenas")
def test_the_threads_of_a_server_share_one_heap() -> None:
    # The tracer of coverage sometimes spins for ever where threads of a short script end together.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    said = subprocess.run([sys.executable, "-c", ARENAS], check=True, capture_output=True, text=True, env=plain).stderr
    assert said.count("Arena ") == 1


HOLES = """
from pathlib import Path
from llmos_lite import heap
heap.begin_loading()
def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
print(heap.give_back())
held = [bytearray(50_000) for _ in range(2000)]
kept = held[::50]  # between what goes, so that the top of the heap stays
del held
before = resident()
print(heap.give_back(), before - resident() > 60_000_000)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="only GNU's allocator tells how much is free")
def test_memory_that_nobody_uses_goes_back_when_it_is_much() -> None:
    said = subprocess.run([sys.executable, "-c", HOLES], check=True, capture_output=True, text=True).stdout
    assert said.split() == ["False", "True", "True"]


async def test_an_app_says_when_everything_is_loaded(app: App) -> None:
    assert not app.loaded.is_set()
    await app.start()
    await asyncio.wait_for(app.loaded.wait(), 30)
    assert (await app.routes()).routes
    await app.stop()


def test_the_collector_does_not_walk_through_kept_traces() -> None:
    trace = Trace(
        id="t",
        actor="alice",
        volume="user:alice",
        conversation="c",
        time=1,
        goal="g",
        messages=(Message("user", "g"), Message("assistant", "a")),
        skills_used=(SkillUse("s", "s", "system", "v", 1.0),),
        exposures=(Exposure("system", "s", "v"),),
        commits={"system": "c"},
    )
    gc.collect()
    assert not any(map(gc.is_tracked, (trace, trace.messages, *trace.messages, trace.skills_used, trace.exposures)))


def test_a_server_loads_what_is_slow_after_its_first_answer() -> None:
    slow = {
        "numpy",
        "onnxruntime",
        "tokenizers",
        "dbos",
        "fastapi",
        "pyreqwest",
        "pydantic_ai",
        "prometheus_client",
        "structlog",
        "alembic",
        "mcp",
        "starlette",
    }
    code = f"import sys, llmos_lite.api.app, llmos_lite.cli.serve; print(sorted({slow} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "[]"
