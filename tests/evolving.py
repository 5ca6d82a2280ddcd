"""An instance without a server: real volumes, real rows, real traces in Git."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import msgspec

from llmos_lite.core.accounts.permissions import EVERYTHING, PERSONAL, Actor, Role
from llmos_lite.core.evolution.cron import EvolutionCron, detector_for
from llmos_lite.core.evolution.generator import SkillGenerator
from llmos_lite.core.evolution.service import Evolution
from llmos_lite.core.runs import Runs
from llmos_lite.core.traces.digest import digest_of
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.reader import TraceReader
from llmos_lite.core.traces.redaction import KeepAll
from llmos_lite.core.traces.trace import Message, Share, SkillUse, Trace, make_ulid
from llmos_lite.engines.database import Database
from llmos_lite.engines.journal import NoJournal
from llmos_lite.engines.llm import LanguageModel
from llmos_lite.engines.signing import Signer
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.proposals import ProposalRows
from llmos_lite.records.schema import prepare
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

CSV = ["Create a python script to parse CSV", "write a Python script that parses a csv file"]
CSV += ["I need a python script for parsing CSVs", "python script to parse a csv", "parse CSV with a Python script"]
SECURITY = ["Review this pull request for security problems", "please do a security review of my PR"]
SECURITY += ["check my pull request for security issues"]
OTHER = ["How do I fix a leaking tap?", "What's the capital of France?", "plan my holiday in Rome", "hello"]
ANSWER = """Here is how:

1. Open the file `sales.csv` with the csv module
2. Read the header row with `DictReader`
3. Convert the numbers

```python
import csv
```
"""
START = 1_790_000_000_000


class Teams(dict[str, set[str]]):
    """Who is in which team."""

    async def member_ids(self, team_id: str) -> frozenset[str]:
        return frozenset(self.get(team_id, ()))

    async def all_teams(self) -> list[str]:
        return sorted(self)


class Queue:
    """Takes the runs that are submitted."""

    def __init__(self) -> None:
        self.submitted: list[tuple[str, str]] = []

    async def submit(self, kind: str, run_id: str) -> None:
        self.submitted.append((kind, run_id))


@dataclasses.dataclass
class World:
    settings: Settings
    volumes: VolumeManager
    catalog: Catalog
    traces: TraceLog
    teams: Teams
    cron: EvolutionCron
    runs: Runs
    queue: Queue
    evolution: Evolution
    clock: int = START

    def chat(self, goal: str, answer: str = ANSWER, *, user: str = "alice", **given: object) -> Trace:
        """Return a trace of one message; `conversation` continues one."""
        self.clock += 60_000
        trace_id = make_ulid(self.clock, f"{self.clock}")
        messages = (Message("user", goal), *([Message("assistant", answer)] if answer else []))
        fields: dict[str, object] = {"conversation": trace_id, "model": "instant", "messages": messages} | given
        return Trace(id=trace_id, actor=user, volume=f"user:{user}", time=self.clock, goal=goal, **fields)  # type: ignore[arg-type]

    async def store(self, traces: Iterable[Trace], volume: str | None = None) -> None:
        """Put traces into Git, as an import does."""
        by_volume: dict[str, list[Trace]] = {}
        for trace in traces:
            by_volume.setdefault(volume or trace.volume, []).append(trace)
        for name, some in by_volume.items():
            await self.traces.store_many(VolumeRef.parse(name), some)

    async def share(self, traces: Iterable[Trace], team: str) -> None:
        """Store traces and what a team gets of them."""
        told = [msgspec.structs.replace(trace, team=team, share=Share.DIGEST) for trace in traces]
        await self.store(told)
        digests = [digest for trace in told if (digest := digest_of(trace)) is not None]
        await self.store(digests, f"team:{team}")

    def volume(self, name: str) -> GitVolume:
        return self.volumes.open(PLATFORM, VolumeRef.parse(name), write=True)

    def log(self, name: str) -> list[str]:
        return [commit.subject for commit in self.volume(name).get_git_log(100)]


def used(skill_id: str, volume: str) -> tuple[SkillUse, ...]:
    return (SkillUse(skill_id, skill_id, volume, "v1", 1.0),)


def actor(user_id: str = "alice", *teams: str, admin: bool = False) -> Actor:
    role = Role.SYSTEM_ADMIN if admin else Role.USER
    scopes = EVERYTHING if admin else PERSONAL
    return Actor(user_id, role, dict.fromkeys(teams, Role.USER), scopes)


async def open_world(data: Path, model: LanguageModel | None = None, **settings: object) -> tuple[World, Database]:
    chosen = Settings(data=data, **settings)  # type: ignore[arg-type]
    volumes = VolumeManager(data, Signer.open(data / "keys"))
    database = Database(f"sqlite+aiosqlite:///{data / 'llmos.db'}")
    await prepare(database)
    catalog, teams, queue = Catalog(database), Teams(), Queue()
    runs = Runs(catalog.runs)
    cron = EvolutionCron(
        volumes=volumes,
        catalog=catalog,
        source=TraceReader(volumes, NoJournal(), catalog, KeepAll()),
        people=teams,
        proposals=ProposalRows(database),
        settings=chosen,
        detector=detector_for(chosen),
        generator=SkillGenerator(model),
    )
    traces = TraceLog(volumes, None, catalog)
    world = World(chosen, volumes, catalog, traces, teams, cron, runs, queue, Evolution(catalog, runs, queue))
    return world, database
