"""Whether the memory of the gateway stays flat: the resident size of the server over 200,000 requests.

Every request is another conversation, half of them are streams, and each begins with the system prompt of its client;
so everything that is remembered of conversations fills up in the first eighth, and nothing may grow after that.
`LLMOS_BENCH_REQUESTS` makes it shorter; 50,000 still fill everything. It takes an hour on two cores that are busy with
other things, and says how far it is on standard error.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import Row
from benchmarks._server import Server, instant_model, serving
from benchmarks.chat import CLIENTS, http, language, text, write_skills

REQUESTS = 200_000
PARTS = 8


def run() -> list[Row]:
    """Measure after each eighth."""
    count = int(os.environ.get("LLMOS_BENCH_REQUESTS", REQUESTS))
    with tempfile.TemporaryDirectory() as folder, instant_model() as url:
        data = Path(folder, "data")
        data.mkdir()
        write_skills(data)
        env = {"LLMOS_LLM_URL": url, "LLMOS_LLM_MODEL": "instant", "LLMOS_LOG_LEVEL": "error"}
        with serving(data, **env) as server:
            sizes = [_size_after(server, numbers) for numbers in _parts(count)]
    shown = ", ".join(f"{size:.0f}" for size in sizes)
    name = f"gateway memory after {count:,} requests / after a quarter of them (eighths: {shown})"
    return [Row(name, sizes[-1], sizes[1], unit="MB", target="ratio <= 1.1")]


def _parts(count: int) -> Iterator[Iterator[int]]:
    for part in range(PARTS):
        yield iter(range(part * count // PARTS, (part + 1) * count // PARTS))


def _size_after(server: Server, numbers: Iterator[int]) -> float:
    """Return the resident size after some requests, in megabytes."""
    asyncio.run(_ask(server, numbers))
    size = server.resident(alone=True)  # a child that packs a repository comes and goes
    sys.stderr.write(f"... {size:.0f} MB\n")
    return size


async def _ask(server: Server, numbers: Iterator[int]) -> None:
    await asyncio.gather(*(_client(server, numbers) for _ in range(CLIENTS)))


async def _client(server: Server, numbers: Iterator[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    headers = server.headers
    for number in numbers:
        writer.write(_request(number, headers))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b" 200 " not in head[:16]:
            raise RuntimeError(f"a request failed: {head!r}")
        if b"chunked" in head:
            await reader.readuntil(b"0\r\n\r\n")
        else:
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
    writer.close()
    await writer.wait_closed()


def _request(number: int, headers: dict[str, str]) -> bytes:
    """Return a request of a conversation of its own; the system prompt is one of a hundred."""
    said = [
        {"role": "system", "content": text(language(number % 100), 200)},
        {"role": "user", "content": f"{number} {text(language(number), 60)}"},
    ]
    return http("/v1/chat/completions", {"model": "instant", "messages": said, "stream": number % 2 == 1}, headers)
