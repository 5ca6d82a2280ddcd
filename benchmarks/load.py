"""What a chat costs while the same server imports 10,000 traces and then evolves them, against the idle server.

Four clients chat in a closed loop the whole time; the time of each answer falls into the phase it began in.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import Row
from benchmarks._server import Server, instant_model, serving

TRACES = 10_000
CLIENTS = 4
IDLE_SECONDS = 8.0
WARM_SECONDS = 3.0
START = 1_790_000_000
TARGET = "ratio <= 3, value <= 100"

VERBS = ("write", "review", "summarise", "translate", "explain", "plan", "clean up", "convert", "compare", "draft")
THINGS = (
    "the weekly sales report", "a Python script that renames photos", "the release notes", "a regular expression",
    "the onboarding mail for a new colleague", "a SQL query for late invoices", "the incident timeline",
    "a CSV of sensor readings", "the minutes of the planning meeting", "a Dockerfile for the billing service",
    "the unit tests of the parser", "an apology to a customer", "a migration of the orders table",
    "the budget for the next quarter", "a chart of weekly active users",
)  # fmt: skip
ENDS = ("", " please", " for the team", ", short", " as a list", " before noon", " in two paragraphs", " for Anna")


def log_lines(count: int) -> Iterator[str]:
    """Yield a log of `count` conversations of 150 tasks in changing words, over four weeks."""
    chosen = random.Random(7)  # noqa: S311 - the same log every time
    for number in range(count):
        ask = f"{chosen.choice(VERBS)} {chosen.choice(THINGS)}{chosen.choice(ENDS)} ({number})"
        answer = "Here it is. " + " ".join(chosen.choices(THINGS, k=12))
        messages = [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
        yield json.dumps({"messages": messages, "created": START + number * 240}) + "\n"


@dataclass
class Chats:
    """Clients that chat in a closed loop; `samples` are (begin, seconds) of each answer."""

    server: Server
    samples: list[tuple[float, float]] = field(default_factory=list)
    running: bool = True

    async def client(self, number: int) -> None:
        """Ask, wait for the whole answer, ask again."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        request = self._request(number)
        while self.running:
            began = time.perf_counter()
            writer.write(request)
            await _answer(reader)
            self.samples.append((began, time.perf_counter() - began))
        writer.close()
        await writer.wait_closed()

    def _request(self, number: int) -> bytes:
        body = json.dumps({"message": f"Summarise the sales figures of region {number} for the weekly report"}).encode()
        lines = [f"{name}: {value}" for name, value in self.server.headers.items()]
        head = ["POST /chat HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", *lines]
        return "\r\n".join([*head, "", ""]).encode() + body

    def between(self, begin: float, end: float) -> list[float]:
        """Return the times of a phase in milliseconds, sorted."""
        return sorted(took * 1000 for at, took in self.samples if begin <= at < end)


async def _answer(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    body = await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
    if b" 200 " not in head[:16]:
        raise RuntimeError(f"a chat failed: {body[:500]!r}")


def import_log(server: Server, log: Path) -> None:
    """Import as a person does, with the terminal against the running server."""
    key = (server.data / "admin.key").read_text().strip()
    env = os.environ | {"LLMOS_URL": f"http://127.0.0.1:{server.port}", "LLMOS_KEY": key}
    command = [sys.executable, "-m", "llmos_lite", "import", str(log), "--user", "bob", "--json"]
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)


def evolve(server: Server) -> None:
    """Run the evolution of bob, whose traces were imported."""
    server.ask("POST", "/evolve", {"scope": "user", "wait": True}, **{"X-LLMOS-User": "bob"})


async def phases(server: Server, log: Path) -> tuple[Chats, dict[str, list[tuple[float, float]]]]:
    """Chat through idle, import, idle, evolution, idle; return the samples and the spans of the phases."""
    chats, spans = Chats(server), dict[str, list[tuple[float, float]]]()

    async def phase(name: str, work: asyncio.Future[None]) -> None:
        began = time.perf_counter()
        await asyncio.wait({work, *clients}, return_when=asyncio.FIRST_COMPLETED)
        spans.setdefault(name, []).append((began, time.perf_counter()))
        for client in clients:
            if client.done():
                client.result()
        work.result()

    def idle(seconds: float) -> asyncio.Future[None]:
        return asyncio.ensure_future(asyncio.sleep(seconds))

    clients = [asyncio.create_task(chats.client(number)) for number in range(CLIENTS)]
    await phase("warm", idle(WARM_SECONDS))
    await phase("idle", idle(IDLE_SECONDS))
    await phase("import", asyncio.ensure_future(asyncio.to_thread(import_log, server, log)))
    await phase("idle", idle(IDLE_SECONDS))
    await phase("evolve", asyncio.ensure_future(asyncio.to_thread(evolve, server)))
    await phase("idle", idle(IDLE_SECONDS))
    chats.running = False
    await asyncio.gather(*clients)
    return chats, spans


def quantile(times: list[float], share: float) -> float:
    """Return a quantile of sorted times."""
    return times[min(len(times) - 1, int(len(times) * share))]


def rows_of(chats: Chats, spans: dict[str, list[tuple[float, float]]]) -> list[Row]:
    """Compare both kinds of heavy work with the idle server."""
    idle = sorted(took for span in spans["idle"] for took in chats.between(*span))
    rows = []
    for name, what in (("import", "imported"), ("evolve", "evolved")):
        (span,) = spans[name]
        busy = chats.between(*span)
        while_ = f"while {TRACES:,} traces are {what}, {CLIENTS} clients"
        rows += [
            Row(f"chat p50 {while_}", quantile(busy, 0.5), quantile(idle, 0.5), unit="ms"),
            Row(f"chat p99 {while_}", quantile(busy, 0.99), quantile(idle, 0.99), unit="ms", target=TARGET),
            Row(f"{TRACES:,} traces {what} meanwhile", span[1] - span[0], unit="s"),
        ]
    idle_seconds = sum(end - begin for begin, end in spans["idle"])
    return [*rows, Row(f"chats on the idle server, {CLIENTS} clients", len(idle) / idle_seconds, unit="/s")]


def run() -> list[Row]:
    """Run it once, on a server and a model of its own."""
    with tempfile.TemporaryDirectory() as folder, instant_model() as url:
        log = Path(folder, "log.jsonl")
        log.write_text("".join(log_lines(TRACES)))
        with serving(
            Path(folder, "data"), LLMOS_LLM_URL=url, LLMOS_LLM_MODEL="instant", LLMOS_LOG_LEVEL="error"
        ) as server:
            chats, spans = asyncio.run(phases(server, log))
        return rows_of(chats, spans)
