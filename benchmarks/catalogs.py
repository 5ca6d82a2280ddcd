"""What other tools install from: catalogs and marketplaces of 1,000 skills, against stock git doing the like.

CPU time, ours and that of the processes that we start. And for how long, at most, the loop that answers everybody
stands still while somebody reads a catalog of 10,000 skills, beside the same for a page that says nothing.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import Row
from llmos_lite.api.app import App, create_app
from llmos_lite.api.errors import Message
from llmos_lite.bootstrap import open_services
from llmos_lite.core.accounts.permissions import Actor, Role
from llmos_lite.core.git.marketplaces import Marketplaces
from llmos_lite.core.git.repositories import Repositories
from llmos_lite.core.skills.catalogs import Catalogs
from llmos_lite.core.skills.guard import Guard
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.scanning.house import with_house_rules
from llmos_lite.core.skills.service import SkillService
from llmos_lite.engines.git import Author
from llmos_lite.engines.signing import Signer
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import PLATFORM, SYSTEM, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

SKILLS, COMMITS, ROUNDS = 1000, 300, 5
MANY, READS, TICK = 10_000, 10, 0.0005
INDEX = "/.well-known/agent-skills/index.json"
SRE = VolumeRef.team("sre")
ALICE = Actor("alice", teams={"sre": Role.USER})
WRITER = Author("alice", "alice@localhost")
LINE = "Look at the plan before the query, and at the locks before the plan; say what was found.\n"


class _Nobody:
    async def all_teams(self) -> list[str]:
        return ["sre"]

    async def named(self, user_id: str) -> object:
        return user_id


def _text(number: int, said: int = 0) -> bytes:
    head = f"---\nname: skill-{number}\ndescription: Use it for number {number}.\n---\n# Skill {said}\n\n"
    return (head + LINE * 40).encode()


def _change(volume: GitVolume, number: int, said: int) -> None:
    volume.store.commit({f"skills/skill-{number}/SKILL.md": _text(number, said)}, f"Update {number}", WRITER)


def _cpu(work: Callable[[], object]) -> float:
    """Return milliseconds of CPU, with those of children."""
    before = os.times()
    start = time.process_time()
    work()
    after = os.times()
    own = time.process_time() - start
    return (own + after.children_user + after.children_system - before.children_user - before.children_system) * 1000


def _stock(gitdir: Path, command: str) -> None:
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_DIR": str(gitdir)}
    subprocess.run(["sh", "-c", command], env=environment, check=True, stdout=subprocess.DEVNULL)


def _rows(folder: Path) -> Iterator[Row]:
    folder.mkdir()
    volumes = VolumeManager(folder, Signer.open(folder / "keys"))
    volume = volumes.open(PLATFORM, SRE, write=True)
    volume.store.commit({f"skills/skill-{n}/SKILL.md": _text(n) for n in range(SKILLS)}, "All", WRITER)
    for number in range(COMMITS):
        _change(volume, number % SKILLS, number + 1)
    catalogs = Catalogs(SkillService(volumes, SkillsManager(volumes), _Nobody()), Guard(volumes, with_house_rules({})))
    markets = Marketplaces(volumes, Repositories(volumes), catalogs, folder / "market")
    gitdir = volumes.folder(SRE) / ".git"
    copy = folder / "copy.git"
    rewrite = f"git init -q --bare {copy} && git fast-export main | git --git-dir={copy} fast-import --quiet"
    yield Row(
        f"first marketplace of {SKILLS:,} skills, {COMMITS} commits; git fast-export | fast-import",
        _cpu(lambda: markets.refresh(SRE)) / COMMITS,
        _cpu(lambda: _stock(gitdir, rewrite)) / COMMITS,
        unit="ms CPU/commit",
    )
    cold = _cpu(lambda: asyncio.run(catalogs.of(ALICE, SRE)))
    archive = _cpu(lambda: _stock(gitdir, "git archive --format=tar.gz main skills"))
    yield Row(f"first catalog of {SKILLS:,} skills; git archive", cold, archive, unit="ms CPU")
    market, catalog, log = list[float](), list[float](), list[float]()
    for number in range(ROUNDS):
        _change(volume, number, 10_000 + number)
        market.append(_cpu(lambda: markets.refresh(SRE)))
        catalog.append(_cpu(lambda: asyncio.run(catalogs.of(ALICE, SRE))))
        log.append(_cpu(lambda: _stock(gitdir, "git diff --stat main~1 main")))
    reference = statistics.median(log)
    yield Row("marketplace after one change; git diff", statistics.median(market), reference, unit="ms CPU")
    yield Row("catalog after one change; git diff", statistics.median(catalog), reference, unit="ms CPU")
    shutil.rmtree(folder / "market")
    anew = _cpu(lambda: markets.refresh(SRE)) / (COMMITS + ROUNDS)
    yield Row("marketplace made anew after it was deleted", anew, unit="ms CPU/commit")
    volumes.close()


class _Loop:
    """Asks an application, and notices for how long nobody else is answered."""

    def __init__(self, app: App, key: str) -> None:
        self._app, self._headers = app, [(b"host", b"localhost"), (b"authorization", f"Bearer {key}".encode())]

    async def _ask(self, path: str, *headers: tuple[bytes, bytes]) -> tuple[int, bytes]:
        told = list[Message]()

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            told.append(message)

        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http"}
        sent = {"path": path, "raw_path": path.encode(), "query_string": b"", "root_path": ""}
        who = {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "headers": [*self._headers, *headers]}
        await self._app({**scope, **sent, **who}, receive, send)
        return told[0]["status"], b"".join(one.get("body", b"") for one in told[1:])

    async def reads(
        self, path: str, times: int, *headers: tuple[bytes, bytes], before: Callable[[int], object] = lambda _: None
    ) -> tuple[float, float]:
        """Read a path some times.

        Returns:
            Medians in milliseconds: CPU time of the loop's thread, and the longest time in which it did nothing else.
        """
        cpu, stalls = list[float](), list[float]()
        for number in range(times):
            await asyncio.to_thread(before, number)
            began = time.thread_time()
            stalls.append(await self._stall(path, headers))
            cpu.append(time.thread_time() - began)
        return statistics.median(cpu) * 1000, statistics.median(stalls) * 1000

    async def _stall(self, path: str, headers: Sequence[tuple[bytes, bytes]]) -> float:
        gaps, reading = list[float](), True

        async def tick() -> None:
            while reading:
                began = time.perf_counter()
                await asyncio.sleep(TICK)
                gaps.append(time.perf_counter() - began - TICK)

        ticking = asyncio.create_task(tick())
        await asyncio.sleep(2 * TICK)
        status, body = await self._ask(path, *headers)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {body[:500]!r}")
        reading = False
        await ticking
        return max(gaps)


async def _stalls(data: Path) -> list[Row]:
    async with open_services(Settings(data=data, llm_provider="offline", embedder="off"), serve=False) as services:
        volume = services.volumes.open(PLATFORM, SYSTEM, write=True)
        volume.store.commit({f"skills/skill-{n}/SKILL.md": _text(n) for n in range(MANY)}, "All", WRITER)
        asked = _Loop(create_app(services), (data / "admin.key").read_text().strip())
        await asked.reads("/health", READS)
        await asked.reads(INDEX, 1)
        idle = await asked.reads("/health", READS)
        changed = await asked.reads(INDEX, READS, before=lambda number: _change(volume, number, number + 1))
        again = await asked.reads(INDEX, READS)
        packed = await asked.reads(INDEX, READS, (b"accept-encoding", b"gzip"))
    what = f"catalog of {MANY:,} skills"
    return [
        Row(f"{what} again, the loop's thread; /health", again[0], idle[0], unit="ms CPU", target="value <= 5"),
        Row(f"{what} after a change, the loop's thread; /health", changed[0], idle[0], unit="ms CPU"),
        Row(f"{what} again, longest stall of the loop; /health", again[1], idle[1], unit="ms"),
        Row(f"{what} packed, longest stall of the loop; /health", packed[1], idle[1], unit="ms"),
        Row(f"{what} after a change, longest stall of the loop; /health", changed[1], idle[1], unit="ms"),
    ]


def run() -> list[Row]:
    """Return the rows."""
    folder = Path(tempfile.mkdtemp())
    try:
        return [*_rows(folder / "git"), *asyncio.run(_stalls(folder / "data"))]
    finally:
        shutil.rmtree(folder)
