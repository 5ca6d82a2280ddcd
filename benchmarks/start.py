"""How long a start takes, and how much memory an idle server holds with everything loaded."""

from __future__ import annotations

import compileall
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import llmos_lite
from benchmarks import Row
from benchmarks._server import Server, serving

ROUNDS = 5
IDLE_SECONDS = 30
IMPORT = "import fastapi"
BARE = "import resource, fastapi, uvicorn; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"


def importing() -> float:
    """Return the seconds that a Python takes to import the web framework and end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORT], check=True)
    return time.perf_counter() - began


def bare_memory() -> float:
    """Return the megabytes of a Python that has imported the web framework and its server."""
    said = subprocess.run([sys.executable, "-c", BARE], check=True, capture_output=True, text=True).stdout
    return int(said) / (1024 if sys.platform == "linux" else 1 << 20)


def load_everything(server: Server) -> None:
    """Use each part once, so that whatever is loaded late is loaded."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(RuntimeError):  # 503: not yet
            server.ask("GET", "/ready")
            break
        time.sleep(0.1)
    for number in range(3):
        server.ask("POST", "/chat", {"message": f"Write a Python script that renames {number} files"})
    server.ask("GET", "/skills?query=python")
    server.ask("POST", "/evolve", {"scope": "user", "wait": True})
    for path in ("/traces", "/patterns", "/volumes/stats", "/volumes/history"):
        server.ask("GET", path)


def run() -> list[Row]:
    """Start the server on fresh folders and on one that is there, in turns with the import."""
    compileall.compile_dir(Path(llmos_lite.__file__).parent, quiet=2)  # as an installation does
    fresh, again, imports = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            data = Path(folder, str(number))
            imports.append(importing())
            with serving(data, LLMOS_LLM_PROVIDER="offline") as server:
                fresh.append(server.started)
            with serving(data, LLMOS_LLM_PROVIDER="offline") as server:
                again.append(server.started)
        with serving(Path(folder, "0"), LLMOS_LLM_PROVIDER="offline") as server:
            load_everything(server)
            time.sleep(IDLE_SECONDS)  # the worker process ends, and what runs every few seconds has run
            idle = server.resident()
    reference = statistics.median(imports)
    return [
        Row("start to the first /health, new data folder", statistics.median(fresh), reference, unit="s",
            target="value <= 1.2"),
        Row("start to the first /health, same folder again", statistics.median(again), reference, unit="s",
            target="value <= 1.2"),
        Row("resident memory, idle, all loaded", idle, bare_memory(), unit="MB", target="value <= 150"),
    ]  # fmt: skip
