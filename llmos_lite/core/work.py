"""What the kinds of long work do, in whatever process: evolution, import, reindex.

A new kind is one more entry of `WORK`; whoever starts a run of it is not asked twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.actors import actor_of_account
from llmos_lite.core.evolution.cron import EvolutionCron, detector_for
from llmos_lite.core.evolution.generator import SkillGenerator
from llmos_lite.core.evolution.report import EvolutionReport, Tell
from llmos_lite.core.proposals.service import Proposals
from llmos_lite.core.runs import Facts, Runs
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.traces.archive import Archives
from llmos_lite.core.traces.importers import importers
from llmos_lite.core.traces.importers.base import Target
from llmos_lite.core.traces.importers.skill_use import finder
from llmos_lite.core.traces.importers.work import Import
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.reader import TraceReader
from llmos_lite.core.traces.redaction import KeepAll
from llmos_lite.core.traces.trace import Trace
from llmos_lite.engines.database import Database
from llmos_lite.engines.embedder import Embedder
from llmos_lite.engines.journal import NoJournal
from llmos_lite.engines.llm import LanguageModel
from llmos_lite.errors import Invalid, LlmosError, NotFound
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.proposals import ProposalRows
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.manager import VolumeManager

log = logging.getLogger("llmos.work")

PROGRESS_SECONDS = 0.25


class Tools(Protocol):
    """What the work needs; `bootstrap.Services` is one."""

    @property
    def settings(self) -> Settings:
        """Return the settings."""

    @property
    def embedder(self) -> Embedder | None:
        """Return what turns texts into vectors; None without one."""

    @property
    def database(self) -> Database:
        """Return the database of rows."""

    @property
    def catalog(self) -> Catalog:
        """Return the rows."""

    @property
    def volumes(self) -> VolumeManager:
        """Return the volumes."""

    @property
    def accounts(self) -> Accounts:
        """Return people and teams."""

    @property
    def skills(self) -> SkillService:
        """Return the skills."""

    @property
    def traces(self) -> TraceLog:
        """Return the traces."""

    @property
    def archives(self) -> Archives:
        """Return what lies in archives."""

    @property
    def model(self) -> LanguageModel:
        """Return the model that drafts."""

    @property
    def runs(self) -> Runs:
        """Return the log of runs."""

    @property
    def proposals(self) -> Proposals:
        """Return the proposals."""


Request = Mapping[str, object]
Work = Callable[[Tools, Request, Tell], Awaitable[Facts]]


async def perform(tools: Tools, kind: str, run_id: str) -> None:
    """Do a run's work and note what came of it; a run that is finished is left as it is.

    What went wrong in a way that has a name stands in the run; anything else is raised.

    Raises:
        NotFound: `run.unknown`.
    """
    run = await tools.runs.load(run_id)
    if run.is_finished:
        return
    await tools.runs.start(run_id)
    try:
        result = await _work_of(kind)(tools, run.request, tools.runs.progress(run_id))
    except LlmosError as error:
        log.warning("%s %s failed: %s", kind, run_id, error.message)
        await tools.runs.fail(run_id, error)
        return
    await tools.runs.finish(run_id, result)


def _work_of(kind: str) -> Work:
    if kind not in WORK:
        raise Invalid("run.kind", f"There is no work of the kind {kind[:40]!r}.", hint=f"Kinds: {', '.join(WORK)}.")
    return WORK[kind]


async def evolve(tools: Tools, request: Request, tell: Tell) -> Facts:
    """Run evolution: `scope` is `user`, `team` (of `id`), `system`, `users` or `teams`."""
    cron = evolution_cron(tools)
    scope, name = str(request.get("scope")), str(request.get("id", ""))
    runs: dict[str, Callable[[], Awaitable[EvolutionReport]]] = {
        "user": lambda: cron.run_user_evolution(name, tell),
        "team": lambda: cron.run_team_evolution(name, tell),
        "system": lambda: cron.run_system_evolution(tell),
        "users": lambda: cron.run_all_users(tell),
        "teams": lambda: cron.run_all_teams(tell),
    }
    if scope not in runs:
        raise Invalid("evolution.scope", f"{scope[:40]!r} is no scope.", hint=f"Use one of {', '.join(runs)}.")
    report = await runs[scope]()
    return _facts(msgspec.to_builtins(report))


def evolution_cron(tools: Tools) -> EvolutionCron:
    """Return the cron with everything that it needs; traces are read from Git, so they must have been folded."""
    return EvolutionCron(
        volumes=tools.volumes,
        catalog=tools.catalog,
        source=TraceReader(tools.volumes, NoJournal(), tools.catalog, KeepAll()),
        people=tools.accounts,
        proposals=ProposalRows(tools.database),
        settings=tools.settings,
        detector=detector_for(tools.settings, tools.embedder),
        generator=SkillGenerator(tools.model),
    )


async def import_traces(tools: Tools, request: Request, tell: Tell) -> Facts:
    """Import a file: `path` (removed afterwards), `user`, `format` and `name`, of which the last two may be empty."""
    path, user = Path(str(request.get("path"))), str(request.get("user"))
    name, wanted = str(request.get("name", "")), str(request.get("format", ""))
    ref = VolumeRef.user(user)
    if not await asyncio.to_thread(path.is_file):
        raise NotFound("import.gone", "The file to import is not there any more.", hint="Import it again.")

    async def store(traces: list[Trace]) -> tuple[int, int]:
        return await tools.traces.store_many(ref, traces)

    async with reporting(tell, "importing") as progress:
        actor = actor_of_account(await tools.accounts.account(user))
        known = await asyncio.to_thread(importers)
        work = Import(Target(user, str(ref), finder(tools.skills.manager, actor)), store, known, wanted, progress)
        try:
            report = await work.file(path, name)
        except OSError as error:
            raise Invalid("import.unreadable", f"The file cannot be read: {error.strerror or error}.") from error
    await asyncio.to_thread(path.unlink, missing_ok=True)
    return report.as_dict()


async def reindex(tools: Tools, _request: Request, tell: Tell) -> Facts:
    """Build the rows of traces, skills and proposals anew from Git; patterns come back with the next evolution."""
    async with reporting(tell, "reindexing") as progress:
        report = await tools.traces.reindex(progress, hooks=[tools.archives.index])
        count = await tools.proposals.reindex()
    return _facts(msgspec.to_builtins(report)) | {"proposals": count}


@asynccontextmanager
async def reporting(tell: Tell, stage: str) -> AsyncIterator[Callable[[int, int], None]]:
    """Give a function that may be called from any thread, and tell the last thing it heard a few times a second."""
    heard = [0, 0]
    finished = asyncio.Event()

    async def repeat() -> None:
        while not finished.is_set():
            await tell(stage, *heard)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(finished.wait(), PROGRESS_SECONDS)

    def progress(done: int, total: int) -> None:
        heard[:] = done, total

    task = asyncio.create_task(repeat())
    try:
        yield progress
    finally:
        finished.set()
        await task


def _facts(value: object) -> Facts:
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}


WORK: dict[str, Work] = {"evolve": evolve, "import": import_traces, "reindex": reindex}
