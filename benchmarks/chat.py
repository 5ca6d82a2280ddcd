"""What a chat costs: CPU of the real server for each request, and its times, beside a bare proxy in the same run.

The server checks the key, chooses among 1,000 skills for a message of 400 bytes, and answers when the trace is durable;
folding into Git goes on meanwhile and is counted. The proxy does none of this: it is the floor of Python.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import Row
from benchmarks._server import instant_model, serving
from llmos_lite.engines.git import Author
from llmos_lite.engines.signing import Signer
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager

SKILLS = 1000
MESSAGE_BYTES = 400
MESSAGES = 500
SECONDS = 4.0
CLIENTS = 32

TOPICS = ("sales", "invoice", "deploy", "incident", "review", "schema", "contract", "newsletter", "budget", "release")
WORDS = 4000
"""Words of the language that skills and messages are written in; as in a real one, few are frequent and many rare."""
FREQUENT = """
    the of and to a in is it you that he was for on are with as I his they be at one have this from or had by not but
    what all were we when your can said there use an each which she do how their if will up other about out many then
    them these so some her would make like him into time has look two more write go see no way could my than been who
    its now find any new work part take get place made after back only our me very just before should because most
""".split()  # noqa: SIM905 - a paragraph of words reads better than a list of strings
"""Its most frequent words are those of English; the others are made up of syllables."""
SYLLABLES = [first + second for first in "bcdfghjklmnprstvwxyz" for second in "aeiou"]


def language(seed: int) -> random.Random:
    """Return chance that is the same in every run."""
    return random.Random(seed)  # noqa: S311 - the same skills every time


def text(chance: random.Random, words: int) -> str:
    """Return so many words, distributed as in English: the hundred most frequent are nearly half of a text."""
    return " ".join(_word(int(WORDS * chance.random() ** 5)) for _ in range(words))


def _word(rank: int) -> str:
    if rank < len(FREQUENT):
        return FREQUENT[rank]
    return SYLLABLES[rank * 7 % 100] + SYLLABLES[rank // 100] + "bdgklmnprt"[rank % 10]


def write_skills(data: Path) -> None:
    """Put the skills into alice's volume, in one commit, as the standard wants them."""
    chance = language(7)
    changes: dict[str, bytes | None] = {}
    for number in range(SKILLS):
        name = f"{chance.choice(TOPICS)}-{number}"
        head = f"---\nname: {name}\ndescription: Use it for the {name.replace('-', ' ')}. {text(chance, 20)}\n---\n"
        body = "\n\n".join(f"## {text(chance, 3)}\n{text(chance, 60)}" for _ in range(6))
        changes[f"skills/{name}/SKILL.md"] = f"{head}# {name}\n\n{body}\n".encode()
    volumes = VolumeManager(data, Signer.open(data / "keys"))
    volume = volumes.open(PLATFORM, VolumeRef.user("alice"), write=True)
    volume.store.commit(changes, f"Add {SKILLS} skills", Author("alice", "alice@localhost"))
    volumes.close()


@contextmanager
def bare_proxy(upstream: str, *options: str) -> Iterator[tuple[int, int]]:
    """Run the proxy before a model, with options of `_proxy.py`; the value is its port and its process id."""
    port = upstream.rpartition(":")[2].partition("/")[0]
    command = [sys.executable, "-m", "benchmarks._proxy", port, *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        yield int(process.stdout.readline()), process.pid
        process.communicate("")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process used, in seconds."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    minutes, _, seconds = subprocess.run(
        ["ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True, check=True
    ).stdout.rpartition(":")
    return int(minutes.rpartition(":")[2] or 0) * 60 + float(seconds)


@dataclass(frozen=True)
class Load:
    """What a load did: CPU of the server in ms for each request, quantiles and the longest in ms, requests a second."""

    cpu: float
    p50: float
    p99: float
    longest: float
    rate: float


async def _client(port: int, requests: Iterator[bytes], until: float, times: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (began := time.perf_counter()) < until:
        writer.write(next(requests))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b" 200 " not in head[:16]:
            raise RuntimeError(f"a chat failed: {head!r}")
        if b"chunked" in head:
            await reader.readuntil(b"0\r\n\r\n")
        else:
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        times.append((time.perf_counter() - began) * 1000)
    writer.close()
    await writer.wait_closed()


async def _load(port: int, requests: Iterator[bytes], clients: int, seconds: float) -> list[float]:
    times: list[float] = []
    until = time.perf_counter() + seconds
    await asyncio.gather(*(_client(port, requests, until, times) for _ in range(clients)))
    return sorted(times)


def load(port: int, pid: int, requests: Sequence[bytes], clients: int) -> Load:
    """Put a load on a server and return what it cost; a short one before warms up.

    Args:
        port: of the server.
        pid: of its process.
        requests: sent one after the other, over and over.
        clients: that wait for an answer at a time.
    """
    sent = itertools.cycle(requests)
    asyncio.run(_load(port, sent, clients, 1.0))
    before = cpu_seconds(pid)
    times = asyncio.run(_load(port, sent, clients, SECONDS))
    used = cpu_seconds(pid) - before
    count = len(times)
    return Load(used / count * 1000, times[count // 2], times[int(count * 0.99)], times[-1], count / SECONDS)


def http(path: str, body: Mapping[str, object], headers: Mapping[str, str]) -> bytes:
    """Return a request as it goes over the wire."""
    data = json.dumps(body).encode()
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(data)}", *lines]
    return "\r\n".join([*head, "", ""]).encode() + data


def messages(count: int = MESSAGES) -> list[str]:
    """Return messages in other words each: a server remembers what it chose for the same ones."""
    return [text(language(100 + number), 100)[:MESSAGE_BYTES] for number in range(count)]


def run() -> list[Row]:
    """Measure both, one after the other, on a model and a data folder of their own."""
    said = messages()
    with tempfile.TemporaryDirectory() as folder, instant_model() as url, bare_proxy(url) as (proxy, proxy_pid):
        data = Path(folder, "data")
        data.mkdir()
        write_skills(data)
        plain = [http("/v1/chat/completions", {"messages": [{"role": "user", "content": one}]}, {}) for one in said]
        env = {"LLMOS_LLM_URL": url, "LLMOS_LLM_MODEL": "instant", "LLMOS_LOG_LEVEL": "error"}
        with serving(data, **env) as server:
            chat = [http("/chat", {"message": one}, server.headers) for one in said]
            bare = [http("/chat", {"message": one, "max_skills": 0}, server.headers) for one in said]
            events = [http("/chat", {"message": one, "stream": True}, server.headers) for one in said]
            pid = server.process.pid
            ours, floor = load(server.port, pid, chat, CLIENTS), load(proxy, proxy_pid, plain, CLIENTS)
            streamed, unskilled, again = (load(server.port, pid, sent, CLIENTS) for sent in (events, bare, chat[:1]))
            one, floor_one = load(server.port, pid, chat, 1), load(proxy, proxy_pid, plain, 1)
    what = f"{SKILLS:,} skills, {MESSAGE_BYTES} B, durable trace"
    return [
        Row(
            f"chat CPU ({what}, {CLIENTS} clients) / bare proxy", ours.cpu, floor.cpu, unit="ms", target="value <= 0.5"
        ),
        Row("  as events", streamed.cpu, floor.cpu, unit="ms", target="value <= 0.5"),
        Row("  the same words again and again", again.cpu, floor.cpu, unit="ms"),
        Row("  without choosing skills", unskilled.cpu, floor.cpu, unit="ms", target="value <= 0.3"),
        Row(f"chat p50, {CLIENTS} clients / bare proxy", ours.p50, floor.p50, unit="ms"),
        Row(f"chat p99, {CLIENTS} clients / bare proxy", ours.p99, floor.p99, unit="ms", target="value <= 100"),
        Row("  longest (the collector, or a fold, held everything up)", ours.longest, floor.longest, unit="ms"),
        Row("chat p50, 1 client / bare proxy", one.p50, floor_one.p50, unit="ms"),
        Row("chat p99, 1 client / bare proxy", one.p99, floor_one.p99, unit="ms"),
        Row(f"chats, {CLIENTS} clients / bare proxy", ours.rate, floor.rate, unit="/s"),
    ]
