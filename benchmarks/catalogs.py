"""What other tools install from: catalogs and marketplaces of 1,000 skills, against stock git doing the like.

CPU time, ours and that of the processes that we start.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import Row
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
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

SKILLS, COMMITS, ROUNDS = 1000, 300, 5
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
    volumes.close()


def run() -> list[Row]:
    """Return the rows."""
    folder = Path(tempfile.mkdtemp())
    try:
        return list(_rows(folder))
    finally:
        shutil.rmtree(folder)
