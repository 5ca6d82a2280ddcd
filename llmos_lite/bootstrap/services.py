"""What the faces of llmos share: everything that an instance can do, started and stopped together."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmos_lite.core.accounts.accounts import ADMIN, Accounts
from llmos_lite.core.accounts.capabilities import Capabilities
from llmos_lite.core.accounts.entrance import Entrance
from llmos_lite.core.accounts.invitations import Invitations
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.audit import Audit
from llmos_lite.core.chat.service import ChatService
from llmos_lite.core.dispatch import SCHEDULES
from llmos_lite.core.evolution.service import Evolution
from llmos_lite.core.gateway.service import Gateway
from llmos_lite.core.git.marketplaces import Marketplaces
from llmos_lite.core.git.pushing import Pushes
from llmos_lite.core.git.repositories import Repositories
from llmos_lite.core.imports import Imports
from llmos_lite.core.limits import Limits
from llmos_lite.core.maintenance import Maintenance
from llmos_lite.core.proposals.service import Proposals
from llmos_lite.core.providers.service import Providers
from llmos_lite.core.remotes.mirrors import Mirrors
from llmos_lite.core.remotes.service import Remotes
from llmos_lite.core.runs import Runs
from llmos_lite.core.skills.catalogs import Catalogs
from llmos_lite.core.skills.examples import Examples
from llmos_lite.core.skills.exporting import SkillExports
from llmos_lite.core.skills.history import SkillHistory
from llmos_lite.core.skills.importing import SkillImports
from llmos_lite.core.skills.inspecting import Inspector
from llmos_lite.core.skills.lint.linter import Linter
from llmos_lite.core.skills.origins import SkillOrigins
from llmos_lite.core.skills.registry import Registry
from llmos_lite.core.skills.renaming import SkillRenames
from llmos_lite.core.skills.scrub import Scrubber
from llmos_lite.core.skills.served import ServedSkills
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.templates import Templates
from llmos_lite.core.telemetry.service import Telemetry
from llmos_lite.core.toolservers.service import ToolServers
from llmos_lite.core.toolservers.sign_in import SignIns
from llmos_lite.core.traces.archive import Archives
from llmos_lite.core.traces.erase import Eraser
from llmos_lite.core.traces.keeping import Keeping
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.reports import Reports
from llmos_lite.core.upkeep import HandEdits
from llmos_lite.core.verify import Integrity
from llmos_lite.core.volumes import Volumes
from llmos_lite.engines.database import Database
from llmos_lite.engines.embedder import Embedder
from llmos_lite.engines.git_version import git_problem
from llmos_lite.engines.jobs import Jobs
from llmos_lite.engines.journal import Journal
from llmos_lite.engines.llm import LanguageModel
from llmos_lite.errors import LlmosError
from llmos_lite.observability import Metrics
from llmos_lite.records.catalog import Catalog
from llmos_lite.settings import Settings
from llmos_lite.volumes.manager import VolumeManager

if TYPE_CHECKING:
    from llmos_lite.core.telemetry.exporter import SpanExporter

log = logging.getLogger("llmos")

LOW_DISK = 64 << 20
"""Free bytes below which `/ready` says that the disk is nearly full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that a face of llmos (API, terminal, worker) may use.

    `journal` is None in a worker process, which stands beside the server that holds it.
    """

    settings: Settings
    database: Database
    catalog: Catalog
    volumes: VolumeManager
    journal: Journal | None
    accounts: Accounts
    capabilities: Capabilities
    entrance: Entrance
    invitations: Invitations
    audit: Audit
    limits: Limits
    skills: SkillService
    served: ServedSkills
    versions: SkillHistory
    renames: SkillRenames
    exports: SkillExports
    catalogs: Catalogs
    registry: Registry
    templates: Templates
    inspector: Inspector
    linter: Linter
    skill_imports: SkillImports
    origins: SkillOrigins
    traces: TraceLog
    reports: Reports
    eraser: Eraser
    archives: Archives
    keeping: Keeping
    model: LanguageModel
    embedder: Embedder | None
    chat: ChatService
    gateway: Gateway
    telemetry: Telemetry
    spans: SpanExporter | None
    providers: Providers
    tool_servers: ToolServers
    tool_sign_ins: SignIns
    runs: Runs
    jobs: Jobs
    evolution: Evolution
    imports: Imports
    proposals: Proposals
    repositories: Repositories
    marketplaces: Marketplaces
    pushes: Pushes
    remotes: Remotes
    mirrors: Mirrors
    views: Volumes
    edits: HandEdits
    maintenance: Maintenance
    examples: Examples
    integrity: Integrity
    scrubber: Scrubber
    metrics: Metrics

    @property
    def url(self) -> str:
        """Return the address by which people reach this instance."""
        return public_address(self.settings)

    def sign_in_url(self) -> str:
        """Return a link that signs the admin in once, within 15 minutes."""
        return f"{self.url}/sign-in?token={self.entrance.first_link(ADMIN)}"

    async def start(self) -> None:
        """Start what runs by itself and is quick to start."""
        self.keeping.start()
        self.traces.start()
        self.edits.start()
        self.maintenance.start()
        self.examples.start()
        self.mirrors.start()
        self.audit.start()
        self.limits.start()
        if self.spans is not None:
            self.spans.start()

    async def start_jobs(self) -> None:
        """Start jobs and schedules, and take up what an earlier process left unfinished."""
        if problem := await asyncio.to_thread(git_problem):
            log.warning("%s", problem)
        crons = (self.settings.schedule_user, self.settings.schedule_team, self.settings.schedule_system)
        for scope, cron in zip(SCHEDULES, crons, strict=True):
            self.jobs.schedule(f"evolve-{scope}", cron, scope)
        await self.accounts.service()  # stands as the actor of what is due by the clock
        await self.jobs.start()

    async def stop(self) -> None:
        """Stop it, with everything that was recorded folded into Git; doing so again does nothing."""
        await self.chat.close()
        await self.tool_servers.close()
        self.skills.manager.close()
        await self.gateway.close()
        if self.spans is not None:
            await self.spans.stop()
        await self.mirrors.stop()
        await self.edits.stop()
        await self.maintenance.stop()
        await self.examples.stop()
        await self.jobs.stop()
        await self.keeping.stop()
        await self.traces.stop()
        await self.limits.stop()
        await self.audit.stop()
        await self.accounts.close()
        await self.entrance.close()

    async def start_run(self, actor: Actor, kind: str, request: Mapping[str, object]) -> str:
        """Start long work and return the id of its run."""
        run_id = await self.runs.create(kind, actor, request)
        await self.jobs.submit(kind, run_id)
        return run_id

    def problems(self) -> dict[str, str]:
        """Return a sentence for each volume that cannot be read or folded, by its name."""
        return self.edits.problems | self.traces.problems()

    async def check(self) -> dict[str, str]:
        """Return for each part `ok`, or a sentence that says what is wrong."""
        return {
            "rows": await self._check_rows(),
            "journal": "ok" if self.journal is not None else "held by the server",
            "disk": await asyncio.to_thread(_check_disk, self.settings.data),
            "jobs": await self.jobs.check(),
            "git": await asyncio.to_thread(git_problem) or "ok",
        }

    async def _check_rows(self) -> str:
        try:
            await self.accounts.all_teams()
        except LlmosError as error:
            return error.message
        return "ok"


def address(settings: Settings) -> str:
    """Return the URL at which settings serve, as somebody on this machine writes it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - shown, not bound
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{settings.port}"


def public_address(settings: Settings) -> str:
    """Return the URL by which people reach an instance: behind a proxy another one than where it serves."""
    return settings.public_url.rstrip("/") or address(settings)


def _check_disk(data: Path) -> str:
    try:
        free = shutil.disk_usage(data).free
    except OSError as error:
        return f"The data folder cannot be read: {error.strerror}."
    return "ok" if free > LOW_DISK else f"Only {free >> 20} MiB are free."
