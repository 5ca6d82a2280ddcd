"""What the gateway costs: CPU of the real server for each request, beside a bare proxy and, when they are there, peers.

The server checks the key, permissions and limits, chooses among 1,000 skills, and the end of each answer waits for a
durable trace. The bare proxy does none of this. LiteLLM is measured when `LLMOS_BENCH_LITELLM` names its program;
it only passes on, without keys, budgets or traces.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks import Row
from benchmarks._server import instant_model, serving
from benchmarks.chat import CLIENTS, bare_proxy, http, language, load, text, write_skills

BODY_BYTES = 31_000
TOOLS = 10
START_SECONDS = 300
WORDS = "Write the release notes of our service from the last commits, please, and mention "


class Cell(NamedTuple):
    """A load: what is sent, by how many clients, and what it must hold."""

    name: str
    body: Mapping[str, object]
    must: float


def cells() -> list[Cell]:
    """Return plain, streamed, and a body of the size that agents send (31 kB, 10 tools); all text is made up."""
    said = [{"role": "user", "content": (WORDS + text(language(11), 80))[:400]}]
    plain: dict[str, object] = {"model": "instant", "messages": said}
    large = plain | {"messages": [{"role": "system", "content": text(language(12), 3500)}, *said]}
    large["tools"] = [_tool(number) for number in range(TOOLS)]
    size = len(json.dumps(large))
    assert abs(size - BODY_BYTES) < 4000, size  # noqa: S101 - the size is what this cell is about
    return [
        Cell("400 B", plain, 0.45),
        Cell("stream of 20 chunks, 5 ms apart", plain | {"stream": True}, 1.5),
        Cell("31 kB with 10 tools", large, 0.7),
    ]


def _tool(number: int) -> dict[str, object]:
    properties = {f"p{place}": {"type": "string", "description": text(language(place), 12)} for place in range(6)}
    schema = {"type": "object", "properties": properties}
    function = {"name": f"tool_{number}", "description": text(language(number), 60), "parameters": schema}
    return {"type": "function", "function": function}


@contextmanager
def litellm(upstream: str, folder: Path) -> Iterator[tuple[int, int] | None]:
    """Run LiteLLM before a model, when there is one to run; the value is its port and its process id."""
    program = os.environ.get("LLMOS_BENCH_LITELLM", "")
    if not program:
        yield None
        return
    known = {
        "model_name": "instant",
        "litellm_params": {"model": "openai/instant", "api_base": upstream, "api_key": "x"},
    }
    config = folder / "litellm.json"  # JSON is YAML
    config.write_text(json.dumps({"model_list": [known], "litellm_settings": {"callbacks": [], "telemetry": False}}))
    command = [program, "--config", str(config), "--port", "8431", "--host", "127.0.0.1", "--num_workers", "1"]
    env = os.environ | {
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # else it does not start without keys
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_TELEMETRY": "False",
    }
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _await_answer("http://127.0.0.1:8431/health/liveliness")
            yield 8431, process.pid
        finally:
            process.terminate()


def _await_answer(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own address
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"nothing answers at {url}")


async def _first_bytes(port: int, request: bytes, times: int = 40) -> float:
    """Return the median time to the first event of a stream, in ms."""
    found = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(times):
        began = time.perf_counter()
        writer.write(request)
        await reader.readuntil(b"data: ")
        found.append((time.perf_counter() - began) * 1000)
        await reader.readuntil(b"0\r\n\r\n")
    writer.close()
    return sorted(found)[times // 2]


def run() -> list[Row]:
    """Measure each cell on all of them, one after the other."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, instant_model() as url, bare_proxy(url) as (proxy, proxy_pid):
        data = Path(folder, "data")
        data.mkdir()
        write_skills(data)
        env = {"LLMOS_LLM_URL": url, "LLMOS_LLM_MODEL": "instant", "LLMOS_LOG_LEVEL": "error"}
        with serving(data, **env) as server, litellm(url, Path(folder)) as peer:
            here = server.port, server.process.pid
            for cell in cells():
                rows += _cell(cell, here, server.headers, (proxy, proxy_pid), peer)
            plain, stream = (http("/v1/chat/completions", cell.body, server.headers) for cell in cells()[:2])
            one, floor = load(*here, plain, 1), load(proxy, proxy_pid, plain, 1)
            first, first_floor = (asyncio.run(_first_bytes(port, stream)) for port in (server.port, proxy))
            rows += [
                Row("gateway p50 added, 1 client", one.p50 - floor.p50, floor.p50, unit="ms", target="value <= 0.6"),
                Row("time to the first event / bare proxy", first, first_floor, unit="ms"),
                Row("gateway memory", server.resident(), unit="MB"),
            ]
    return rows


def _cell(
    cell: Cell, here: tuple[int, int], headers: Mapping[str, str], proxy: tuple[int, int], peer: tuple[int, int] | None
) -> list[Row]:
    request = http("/v1/chat/completions", cell.body, headers)
    ours = load(*here, request, CLIENTS)
    floor = load(*proxy, request, CLIENTS)
    target = f"value <= {cell.must}"
    rows = [Row(f"gateway CPU, {cell.name} / bare proxy", ours.cpu, floor.cpu, unit="ms CPU", target=target)]
    if peer is not None:
        theirs = load(*peer, request, CLIENTS)
        name = f"LiteLLM, {cell.name} / gateway"
        rows.append(Row(name, theirs.cpu, ours.cpu, unit="ms CPU", target="ratio >= 20"))
    if "stream" not in cell.body:
        rows.append(Row(f"gateway requests, {cell.name}", ours.rate, unit="/s"))
    return rows
