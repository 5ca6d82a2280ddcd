"""What the gateway costs: CPU of the real server for each request, beside a bare proxy and, when they are there, peers.

The server checks the key, permissions and limits, chooses among 1,000 skills, and the end of each answer waits for a
durable trace; each request asks in other words, and then in the same. The bare proxy does none of this, the working
one the least of it: see `_proxy.py`. LiteLLM is measured when
`LLMOS_BENCH_LITELLM` names its program; it only passes on, without keys, budgets or traces. What is measured has one
core to itself and everything else that was started stands still, the load and the model have another core.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks import Row
from benchmarks._server import instant_model, serving
from benchmarks.chat import CLIENTS, MESSAGE_BYTES, Load, bare_proxy, http, language, load, messages, text, write_skills

BODY_BYTES = 31_000
TOOLS = 10
START_SECONDS = 300
PATH = "/v1/chat/completions"
STREAM = "stream of 20 chunks, 5 ms apart"
AGAIN = ", the same each time"
"""As `loadgen.py` and most load generators send it, and as retries and jobs do."""
AGENTS, FIRST_TURN, LAST_TURN, RESULT_WORDS = 8, 20, 100, 400
WORDS = "Write the release notes of our service from the last commits, please, and mention "


class Cell(NamedTuple):
    """A load: what is sent, one body after the other, and most milliseconds of CPU for one."""

    name: str
    bodies: Sequence[Mapping[str, object]]
    must: float


def cells() -> list[Cell]:
    """Return plain, streamed, and a body of the size that agents send (31 kB, 10 tools); all text is made up.

    Each comes in other words each time, and then in the same; at last come the long turns of agents.
    """
    said = [{"role": "user", "content": (WORDS + one)[:MESSAGE_BYTES]} for one in messages()]
    plain: list[dict[str, object]] = [{"model": "instant", "messages": [one]} for one in said]
    system = {"role": "system", "content": text(language(12), 4000)}
    tools = [_tool(number) for number in range(TOOLS)]
    large = [{"model": "instant", "messages": [system, one], "tools": tools} for one in said]
    size = len(json.dumps(large[0]))
    assert abs(size - BODY_BYTES) < 4000, size  # noqa: S101 - the size is what this cell is about
    streams = [one | {"stream": True} for one in plain]
    varied = [Cell("400 B", plain, 0.45), Cell(STREAM, streams, 1.5), Cell("31 kB with 10 tools", large, 0.7)]
    again = [Cell(f"{name}{AGAIN}", bodies[:1], must) for name, bodies, must in varied]
    turns = [{"model": "instant", "messages": [system, *said], "tools": tools} for said in _conversations()]
    return [*varied, *again, Cell("an agent's turns of 80 to 270 kB", turns, 2)]


def _conversations() -> Iterator[list[dict[str, object]]]:
    """Yield what agents send turn by turn: all of it again, and what four more calls of a tool gave."""
    chance = language(13)
    said: list[list[dict[str, object]]] = [[{"role": "user", "content": WORDS + str(one)}] for one in range(AGENTS)]
    for turn in range(LAST_TURN):
        for one in said:
            function = {"name": "tool_1", "arguments": json.dumps({"p1": text(chance, 20)})}
            call = {"id": f"call_{turn}", "type": "function", "function": function}
            one.append({"role": "assistant", "content": text(chance, 20), "tool_calls": [call]})
            result = text(chance, RESULT_WORDS)
            one.append({"role": "tool", "tool_call_id": f"call_{turn}", "content": result})
            if turn >= FIRST_TURN and turn % 4 == 0:
                yield one.copy()


@contextmanager
def _beside() -> Iterator[None]:
    """Keep this process, and what it starts meanwhile, on the last core; the first is for what is measured."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
    if len(cores) < 2:
        yield
        return
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _alone(pid: int) -> None:
    """Put a process that is measured on the first core, with all its threads."""
    if not hasattr(os, "sched_setaffinity"):
        return
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {0})


def _tool(number: int) -> dict[str, object]:
    properties = {f"p{place}": {"type": "string", "description": text(language(place), 12)} for place in range(6)}
    schema = {"type": "object", "properties": properties}
    function = {"name": f"tool_{number}", "description": text(language(number), 60), "parameters": schema}
    return {"type": "function", "function": function}


class Peer(NamedTuple):
    """Another gateway: what it is called, where it listens, its process, and the headers that it wants."""

    name: str
    port: int
    pid: int
    headers: Mapping[str, str]
    streams: bool = True


@contextmanager
def peers(upstream: str, folder: Path) -> Iterator[Sequence[Peer]]:
    """Run the other gateways that are there before a model."""
    with ExitStack() as stack:
        found = [stack.enter_context(run(upstream, folder)) for run in (litellm, portkey)]
        yield [peer for peer in found if peer is not None]


@contextmanager
def litellm(upstream: str, folder: Path) -> Iterator[Peer | None]:
    """Run LiteLLM, when there is one to run."""
    program = os.environ.get("LLMOS_BENCH_LITELLM", "")
    known = {
        "model_name": "instant",
        "litellm_params": {"model": "openai/instant", "api_base": upstream, "api_key": "x"},
    }
    config = folder / "litellm.json"  # JSON is YAML
    config.write_text(json.dumps({"model_list": [known], "litellm_settings": {"callbacks": [], "telemetry": False}}))
    command = [program, "--config", str(config), "--port", "8431", "--host", "127.0.0.1", "--num_workers", "1"]
    env = {
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # else it does not start without keys
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_TELEMETRY": "False",
    }
    with _running(command, env, "http://127.0.0.1:8431/health/liveliness") as pid:
        yield Peer("LiteLLM", 8431, pid, {}) if pid else None


@contextmanager
def portkey(upstream: str, folder: Path) -> Iterator[Peer | None]:
    """Run Portkey's gateway, when there is one to run; on Node 20 it answers streams with an error."""
    del folder
    program = os.environ.get("LLMOS_BENCH_PORTKEY", "")
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": upstream, "Authorization": "Bearer x"}
    command = ["node", program, "--port=8432", "--headless"] if program else [""]
    with _running(command, {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}, "http://127.0.0.1:8432/") as pid:
        yield Peer("Portkey", 8432, pid, headers, streams=False) if pid else None


@contextmanager
def _running(command: Sequence[str], env: Mapping[str, str], url: str) -> Iterator[int]:
    """Run a program until the block ends; the value is its process id, 0 for no program."""
    if not command[0]:
        yield 0
        return
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=os.environ | env, stdout=quiet, stderr=quiet) as process:
        try:
            _await_answer(url)
            yield process.pid
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
    with (
        tempfile.TemporaryDirectory() as folder,
        _beside(),
        instant_model() as url,
        bare_proxy(url) as bare,
        bare_proxy(url, "--work") as working,
    ):
        data = Path(folder, "data")
        data.mkdir()
        write_skills(data)
        env = {"LLMOS_LLM_URL": url, "LLMOS_LLM_MODEL": "instant", "LLMOS_LOG_LEVEL": "error"}
        with serving(data, **env) as server, peers(url, Path(folder)) as others:
            ours = Peer("gateway", server.port, server.process.pid, server.headers)
            floor, least = Peer("bare proxy", *bare, {}), Peer("working proxy", *working, server.headers)
            for peer in (ours, floor, least, *others):
                _alone(peer.pid)
            rows = [row for cell in cells() for row in _cell(cell, ours, (floor, least), others)]
            with _paused(others):
                rows += _alone_times(ours, floor, int(url.rpartition(":")[2].partition("/")[0]))
            rows.append(Row("gateway memory", server.resident(), unit="MB"))
    return rows


def _alone_times(ours: Peer, floor: Peer, model: int) -> list[Row]:
    """Measure what one client waits for; `model` is the port of the model itself."""
    plain, stream, *_ = cells()
    mine, theirs = (_load(peer, plain, 1) for peer in (ours, floor))
    request = http(PATH, stream.bodies[0], ours.headers)
    first, first_floor = (asyncio.run(_first_bytes(port, request)) for port in (ours.port, model))
    return [
        Row("gateway p50 added, 1 client", mine.p50 - theirs.p50, theirs.p50, unit="ms", target="value <= 0.6"),
        Row("first event of a stream, added to the model's", first - first_floor, unit="ms", target="value <= 2"),
    ]


@contextmanager
def _paused(peers: Sequence[Peer]) -> Iterator[None]:
    """Let nothing run of these: beside two gateways that only waited, a request cost ours a quarter more."""
    for peer in peers:
        os.kill(peer.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for peer in peers:
            os.kill(peer.pid, signal.SIGCONT)


def _load(peer: Peer, cell: Cell, clients: int = CLIENTS, beside: Sequence[Peer] = ()) -> Load:
    with _paused([one for one in beside if one is not peer]):
        return load(peer.port, peer.pid, [http(PATH, body, peer.headers) for body in cell.bodies], clients)


def _cell(cell: Cell, ours: Peer, floors: Sequence[Peer], others: Sequence[Peer]) -> list[Row]:
    every = [ours, *floors, *others]
    mine, *least = [_load(peer, cell, beside=every) for peer in (ours, *floors)]
    rows = [
        Row(f"gateway CPU, {cell.name} / {peer.name}", mine.cpu, load.cpu, unit="ms CPU", target=target)
        for peer, load, target in zip(floors, least, (f"ratio <= 8, value <= {cell.must}", "ratio <= 8"), strict=True)
    ]
    for peer in others:
        if peer.streams or not cell.name.startswith(STREAM):
            theirs, wanted = _load(peer, cell, beside=every), "ratio >= 20" if peer.name == "LiteLLM" else ""
            name = f"{peer.name}, {cell.name} / gateway"
            rows.append(Row(name, theirs.cpu, mine.cpu, unit="ms CPU", target=wanted))
    if not cell.name.startswith(STREAM):
        rows.append(Row(f"gateway requests, {cell.name}", mine.rate, unit="/s"))
    return rows
