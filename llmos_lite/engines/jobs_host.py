"""`python -m llmos_lite.engines.jobs_host DATA SCHEDULES`: jobs on DBOS, in a process of its own beside the server.

DBOS takes 20 MB beside everything that a server has loaded, and half a second of its first moments, for what is seldom
needed; here that is given back. Standard input and output are the pipes to the server: it asks for jobs, and is asked
to do what they say. When the server is gone this process is, too, at once, so that no job is taken for a failed one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from llmos_lite.engines.jobs import DbosJobs
from llmos_lite.engines.lines import Peer

Schedules = list[tuple[str, str, str]]
"""Name, cron and kind of each."""


async def serve(data: Path, schedules: Schedules) -> None:
    """Keep the jobs of a data folder until the server is gone."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(0, "rb", buffering=0))

    async def work(kind: str, run_id: str) -> None:
        await peer.ask("work", kind, run_id)

    async def due(what: str, at: int) -> tuple[str, str]:
        kind, run_id = await peer.ask("due", what, str(at))
        return kind, run_id

    async def answer(what: str, words: Sequence[str]) -> Sequence[str]:
        match what, *words:
            case "submit", kind, run_id:
                await jobs.submit(kind, run_id)
            case ("rest",):
                at = await jobs.rest()
                return [] if at is None else [str(at)]
            case ("stop",):
                await jobs.stop()
        return []

    jobs = DbosJobs(data, work, due)
    for name, cron, kind in schedules:
        jobs.schedule(name, cron, kind)
    peer = Peer(reader, lambda line: os.write(1, line), answer, gone=lambda: os._exit(0))
    await jobs.start()
    await peer.listen()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(
            number, signal.SIG_IGN
        )  # a terminal and a service manager send it to the server, too, which ends us
    asyncio.run(serve(Path(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=Schedules)))
