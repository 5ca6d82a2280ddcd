"""The only place that chooses: it reads `Settings`, opens one engine of each kind, hands out frozen `Services`.

Start-up must be quick: what is slow to load and not needed for the first answer is imported by who needs it first.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from llmos_lite.core.accounts.accounts import ADMIN, Accounts
from llmos_lite.core.accounts.capabilities import Capabilities
from llmos_lite.core.accounts.entrance import Entrance
from llmos_lite.core.accounts.invitations import Invitations
from llmos_lite.core.accounts.keys import ApiKeys, make_key
from llmos_lite.core.accounts.newcomers import KnownPeople
from llmos_lite.core.accounts.oidc import OidcSignIn, parse_teams
from llmos_lite.core.accounts.oidc import Rules as OidcRules
from llmos_lite.core.accounts.permissions import Actor, Role
from llmos_lite.core.accounts.sessions import Sessions
from llmos_lite.core.accounts.sign_in import SignIn
from llmos_lite.core.accounts.tokens import Tokens
from llmos_lite.core.audit import Audit
from llmos_lite.core.audit.checkpoints import Checkpoints
from llmos_lite.core.chat.allowed import AllowedCalls
from llmos_lite.core.chat.assignment import TreatAll
from llmos_lite.core.chat.choice import Chooser
from llmos_lite.core.chat.disclosure import Disclosure
from llmos_lite.core.chat.service import ChatService
from llmos_lite.core.chat.tools import ToolBounds
from llmos_lite.core.dispatch import SCHEDULES, Dispatch
from llmos_lite.core.evolution.service import Evolution
from llmos_lite.core.gateway.context import Contexts
from llmos_lite.core.gateway.local import LocalUpstream
from llmos_lite.core.gateway.service import Gateway
from llmos_lite.core.gateway.thread_log import ThreadLog
from llmos_lite.core.git.marketplaces import Marketplaces
from llmos_lite.core.git.pushing import Pushes
from llmos_lite.core.git.repositories import Repositories
from llmos_lite.core.imports import Imports
from llmos_lite.core.limits import Defaults, Limits
from llmos_lite.core.limits.ledger import Ledger
from llmos_lite.core.limits.prices import Prices
from llmos_lite.core.maintenance import Maintenance
from llmos_lite.core.proposals.service import Proposals
from llmos_lite.core.providers.config import Provider, read_file
from llmos_lite.core.providers.service import DEFAULT, Base, Providers
from llmos_lite.core.remotes.dialing import Dialer, Reach
from llmos_lite.core.remotes.mirrors import Mirrors
from llmos_lite.core.remotes.service import Remotes
from llmos_lite.core.remotes.sync import Sync
from llmos_lite.core.runs import Runs
from llmos_lite.core.skills.catalogs import Catalogs
from llmos_lite.core.skills.examples import Examples
from llmos_lite.core.skills.exporting import SkillExports
from llmos_lite.core.skills.fetching import Fetcher
from llmos_lite.core.skills.guard import Guard
from llmos_lite.core.skills.history import SkillHistory
from llmos_lite.core.skills.importing import SkillImports
from llmos_lite.core.skills.inspecting import Inspector
from llmos_lite.core.skills.lint.linter import Linter
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.origins import SkillOrigins
from llmos_lite.core.skills.registry import Registry
from llmos_lite.core.skills.renaming import SkillRenames, Whereabouts
from llmos_lite.core.skills.scan import Scanner, scanners_from
from llmos_lite.core.skills.scan_pool import ScanPool
from llmos_lite.core.skills.scanning.house import with_house_rules
from llmos_lite.core.skills.scrub import Scrubber
from llmos_lite.core.skills.seeding import ensure_starter
from llmos_lite.core.skills.semantic import Semantics
from llmos_lite.core.skills.served import ServedSkills
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.templates import Templates
from llmos_lite.core.skills.uses import Uses
from llmos_lite.core.telemetry.service import Telemetry
from llmos_lite.core.toolservers.config import read_servers
from llmos_lite.core.toolservers.grants import Grants
from llmos_lite.core.toolservers.service import ToolServers
from llmos_lite.core.toolservers.sign_in import SignIns
from llmos_lite.core.traces.archive import Archives
from llmos_lite.core.traces.erase import Eraser
from llmos_lite.core.traces.keeping import Keeping, Rules
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.redaction import redactor_of
from llmos_lite.core.traces.reindex import index_skills
from llmos_lite.core.traces.reports import Reports
from llmos_lite.core.upkeep import HandEdits
from llmos_lite.core.verify import Integrity
from llmos_lite.core.volumes import Volumes
from llmos_lite.engines import plugins
from llmos_lite.engines.database import Database
from llmos_lite.engines.embedder import Embedder
from llmos_lite.engines.embedder_auto import CACHE, open_embedder, open_patient_embedder
from llmos_lite.engines.folder import RESTORED, check_format, locked, read_or_make
from llmos_lite.engines.git_children import Children
from llmos_lite.engines.git_version import git_problem
from llmos_lite.engines.jobs import Jobs, LocalJobs
from llmos_lite.engines.jobs_beside import JobsBeside
from llmos_lite.engines.journal import Journal, LocalJournal
from llmos_lite.engines.llm import LanguageModel
from llmos_lite.engines.llm_anthropic import is_anthropic
from llmos_lite.engines.llm_auto import open_model
from llmos_lite.engines.objects import StoredObjects
from llmos_lite.engines.oidc import Client, OpenIdProvider
from llmos_lite.engines.sealing import Seals
from llmos_lite.engines.signing import Signer
from llmos_lite.engines.token_keys import TokenKeys
from llmos_lite.engines.upstream import Upstream
from llmos_lite.engines.upstream_kinds import open_server
from llmos_lite.engines.upstreams import Policy
from llmos_lite.engines.vectors import LocalVectors
from llmos_lite.engines.worker_pool import WorkerPool
from llmos_lite.errors import LlmosError, Unavailable
from llmos_lite.observability import Metrics, configure_logging
from llmos_lite.records.accounts import AccountStore
from llmos_lite.records.allowed_calls import AllowedCallRows
from llmos_lite.records.audit import AuditRows
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.invitations import InvitationStore
from llmos_lite.records.keys import KeyStore
from llmos_lite.records.proposals import ProposalRows
from llmos_lite.records.providers import ProviderRows
from llmos_lite.records.remotes import RemoteRows
from llmos_lite.records.schema import prepare
from llmos_lite.records.sign_in import SignInStore
from llmos_lite.records.toolgrants import ToolGrantRows
from llmos_lite.records.toolservers import ToolServerRows
from llmos_lite.records.usage import UsageRows
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.manager import VolumeManager

if TYPE_CHECKING:
    from llmos_lite.core.telemetry.exporter import SpanExporter

log = logging.getLogger("llmos")

LOW_DISK = 64 << 20
"""Free bytes below which `/ready` says that the disk is nearly full."""


class NoJobs:
    """In a worker process, which does a job and gives none out."""

    async def submit(self, kind: str, run_id: str) -> None:
        """Refuse."""
        raise Unavailable("jobs.none", f"This process takes no {kind} ({run_id}).", hint="Ask the server.")

    def schedule(self, name: str, cron: str, kind: str) -> None:
        """Do nothing."""

    async def start(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""

    async def check(self) -> str:
        """Return that all is well."""
        return "ok"


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


@asynccontextmanager
async def open_services(settings: Settings, *, serve: bool, lock: bool = True) -> AsyncIterator[Services]:
    """Open an instance, made when its data folder is fresh.

    Args:
        settings: of the instance.
        serve: whether a server opens it, whose address goes into the lock.
        lock: False in a worker process: its parent holds the folder, and the journal.

    Raises:
        Unavailable: `data.locked`, `data.newer`, `data.format`, `embedder.missing`, `embedder.broken`.
        Invalid: `settings.provider`, `settings.embedder`.
        StorageFailed: the folder cannot be made, read or written.
    """
    configure_logging(settings.log_level, as_json=settings.log_json)
    async with AsyncExitStack() as stack:
        if lock:
            stack.enter_context(locked(settings.data, address(settings) if serve else ""))
            rows = settings.data / "llmos.db"
            if await asyncio.to_thread(check_format, settings.data) and not rows.exists():
                log.warning("%s is missing: accounts, teams and keys begin anew. A backup has them.", rows)
        services = await _opened(settings, stack, owner=lock, serve=serve)
        try:
            if lock and (settings.data / RESTORED).exists():
                from llmos_lite.core.restore import take_note  # noqa: PLC0415 - seldom needed, and slow to load

                await take_note(settings.data, services.audit)
            yield services
        finally:
            await services.stop()


async def _opened(settings: Settings, stack: AsyncExitStack, *, owner: bool, serve: bool) -> Services:
    data = settings.data
    key = read_or_make(data / "admin.key", make_key)
    signer = Signer.open(data / "keys", kind=settings.signing, gpg_key=settings.gpg_key)
    volumes = VolumeManager(data, signer)
    stack.callback(volumes.close)
    database = Database(f"sqlite+aiosqlite:///{data / 'llmos.db'}")
    stack.push_async_callback(database.close)
    await prepare(database)
    journal = LocalJournal(data / "journal") if owner else None
    if journal is not None:
        stack.callback(journal.close)
        await asyncio.to_thread(ensure_starter, volumes)
    model = open_model(settings)
    stack.push_async_callback(model.close)
    upstreams = _providers(settings, database, model)
    stack.push_async_callback(upstreams.close)
    embedder = open_patient_embedder(settings)
    if embedder is not None:
        stack.callback(embedder.close)
    engines = _Engines(volumes, database, journal, model, upstreams, signer, embedder)
    return _wired(settings, engines, key, serve=serve)


class _Engines(NamedTuple):
    volumes: VolumeManager
    database: Database
    journal: Journal | None
    model: LanguageModel
    upstreams: Providers
    signer: Signer
    embedder: Embedder | None


def _wired(settings: Settings, engines: _Engines, key: str, *, serve: bool) -> Services:
    volumes, database, journal, model, upstreams, signer, embedder = engines
    seals, tool_grants = Seals(settings.data / "keys"), ToolGrantRows(database)
    grants = Grants(tool_grants, seals, private=settings.allow_private_urls)
    tool_servers = ToolServers(
        ToolServerRows(database),
        seals,
        read_servers(settings.tool_servers),
        grants,
        private=settings.allow_private_urls,
    )
    catalog, metrics = Catalog(database), Metrics()
    people, tokens = AccountStore(database), _tokens(settings)
    sign_in = SignIn(SignInStore(database), Sessions(SignInStore(database), tokens))
    keys = ApiKeys(KeyStore(database), days=settings.key_days, url_days=settings.key_url_days)
    accounts = Accounts(people, settings, key, sign_in, keys=keys, tokens=tokens)
    accounts.leaves = tool_servers.forget_person
    scanners = with_house_rules(scanners_from(plugins.load(plugins.SCANNERS)))
    guard = Guard(volumes, scanners, folder=settings.data / CACHE / "verdicts", pool=ScanPool())
    traces = TraceLog(
        volumes,
        journal,
        catalog,
        redactor=redactor_of(settings.redact, plugins.load(plugins.REDACTORS)),
        metrics=metrics,
        fold_events=settings.fold_events,
        fold_seconds=settings.fold_seconds,
    )
    uses = Uses(catalog.uses, traces.erased, Whereabouts(volumes))
    traces.listen(uses)
    manager = SkillsManager(
        volumes,
        budget_tokens=settings.skill_tokens,
        uses=uses,
        watch=guard,
        semantics=_semantics(settings) if serve else None,
    )
    examples = Examples(volumes, manager, catalog.examples, model, active=settings.skill_examples)
    manager.examples = examples
    proposals, runs = Proposals(ProposalRows(database), volumes, scanners), Runs(catalog.runs)

    async def here(kind: str, run_id: str) -> None:
        from llmos_lite.core.work import perform  # noqa: PLC0415 - a server leaves it to its workers

        await traces.fold()
        await perform(services, kind, run_id)

    jobs = _jobs(settings, Dispatch(runs, traces, _workers(settings)), here, serve=serve) if journal else NoJobs()
    archives = _archives(settings, volumes, catalog, traces)
    limits = _limits(settings, UsageRows(database), owner=journal is not None)
    spans = _spans(settings, metrics) if journal is not None else None
    audit = Audit(AuditRows(database), Checkpoints(volumes, signer))
    skills = SkillService(volumes, manager, accounts, scanners)
    remote_rows = RemoteRows(database)
    mirrors = _mirrors(settings, remote_rows, volumes, proposals, scanners, serve=serve)
    thread_log = ThreadLog(settings.data / "threads")
    eraser = Eraser(
        settings.data,
        volumes,
        catalog,
        traces,
        archives,
        mirrors=[mirrors],
        mended=examples.prune,
        forget=thread_log.forget,
    )
    catalogs = Catalogs(skills, guard)
    marketplaces = Marketplaces(volumes, Repositories(volumes), catalogs, settings.data / "market")
    services = Services(
        settings=settings,
        database=database,
        catalog=catalog,
        volumes=volumes,
        journal=journal,
        accounts=accounts,
        capabilities=Capabilities(accounts),
        entrance=Entrance(
            accounts,
            people,
            sign_in,
            tokens,
            attempts=limits.attempts,
            oidc=_oidc(settings, KnownPeople(accounts, people, audit)),
        ),
        invitations=Invitations(InvitationStore(database), accounts),
        limits=limits,
        audit=audit,
        skills=skills,
        served=ServedSkills(skills),
        versions=SkillHistory(skills, scanners),
        renames=SkillRenames(skills, scanners),
        exports=SkillExports(skills),
        templates=Templates(skills),
        catalogs=catalogs,
        inspector=Inspector(skills, guard),
        registry=Registry(skills, catalogs),
        linter=Linter(skills, manager),
        skill_imports=SkillImports(skills, Fetcher(mirrors.dialer, settings.data / "tmp"), mirrors.dialer, remote_rows),
        origins=SkillOrigins(volumes, catalog),
        traces=traces,
        reports=Reports(traces, skills, accounts),
        eraser=eraser,
        archives=archives,
        keeping=Keeping(volumes, eraser, archives, Rules(settings.retention_days, settings.archive_months)),
        model=model,
        embedder=embedder,
        chat=ChatService(
            manager,
            traces,
            accounts,
            model,
            metrics=metrics,
            max_skills=settings.max_skills,
            skill_tokens=settings.skill_tokens,
            limits=limits,
            disclosure=Disclosure.parse(settings.disclosure),
            bounds=ToolBounds(rounds=settings.tool_rounds, seconds=settings.tool_seconds),
            tool_tokens=settings.tool_tokens,
            servers=tool_servers,
            allowed=AllowedCalls(AllowedCallRows(catalog.database), traces),
            spans=spans,
        ),
        gateway=Gateway(
            Contexts(
                Chooser(manager, TreatAll(), budget_tokens=settings.skill_tokens, tool_tokens=settings.tool_tokens),
                max_skills=settings.max_skills,
                disclosure=Disclosure.parse(settings.disclosure),
            ),
            traces,
            accounts,
            upstreams,
            limits=limits,
            bounds=ToolBounds(rounds=settings.tool_rounds, seconds=settings.tool_seconds),
            metrics=metrics,
            spans=spans,
            thread_log=thread_log,
        ),
        telemetry=Telemetry(traces, manager, accounts, metrics),
        spans=spans,
        providers=upstreams,
        tool_servers=tool_servers,
        tool_sign_ins=SignIns(
            tool_servers, grants, tool_grants, seals, public=public_address(settings), may=_may_sign_in(accounts)
        ),
        runs=runs,
        jobs=jobs,
        evolution=Evolution(catalog, runs, jobs),
        imports=Imports(accounts, runs, jobs),
        proposals=proposals,
        repositories=Repositories(volumes),
        marketplaces=marketplaces,
        pushes=Pushes(volumes, proposals, scanners, audit),
        remotes=Remotes(remote_rows, volumes, mirrors),
        mirrors=mirrors,
        views=Volumes(volumes, catalog),
        edits=HandEdits(volumes, _proposing(proposals)),
        maintenance=Maintenance(volumes),
        examples=examples,
        integrity=Integrity(volumes),
        scrubber=_scrubber(volumes, remote_rows, catalog, proposals, marketplaces, examples=examples),
        metrics=metrics,
    )
    return services


def _may_sign_in(accounts: Accounts) -> Callable[[str, str], Awaitable[bool]]:
    """Return what tells whether somebody may still finish a sign-in: for everybody only as a system admin."""

    async def may(user_id: str, owner: str) -> bool:
        account = await accounts.account(user_id)
        return account.active and (owner == user_id or account.role == Role.SYSTEM_ADMIN)

    return may


def _semantics(settings: Settings) -> Semantics | None:
    """Return what compares meanings in a server; a command ends before it would have embedded anything."""
    embedder = open_embedder(settings)
    if embedder is None:
        return None
    vectors = LocalVectors(settings.data / CACHE / "vectors", embedder.name)
    return Semantics(embedder, vectors, budget=settings.embed_budget_ms / 1000)


def _providers(settings: Settings, database: Database, model: LanguageModel) -> Providers:
    """Return the model servers: of the settings, of the file, and those that admins set."""
    kind, url = settings.llm_provider, settings.llm_url
    default: Upstream = LocalUpstream(model)
    if kind in {"openai", "anthropic"} or (kind == "auto" and url):
        said = Provider(
            name=DEFAULT,
            kind="anthropic" if kind == "anthropic" or is_anthropic(url) else "openai",
            url=url,
            timeout=settings.llm_timeout,
        )
        default = open_server(said.checked().spec(settings.llm_key))
    base = Base(read_file(settings.providers), default, settings.llm_model, Policy(retries=settings.llm_retries))
    seals = Seals(settings.data / "keys")
    return Providers(ProviderRows(database), seals, base, lambda name: os.environ.get(name, ""))


def _spans(settings: Settings, metrics: Metrics) -> SpanExporter | None:
    if not settings.otlp_url:
        return None
    from llmos_lite.core.telemetry.exporter import SpanExporter  # noqa: PLC0415 - most instances export nothing

    return SpanExporter(settings.otlp_url, settings.otlp_headers, service=settings.otlp_service, metrics=metrics)


def _archives(settings: Settings, volumes: VolumeManager, catalog: Catalog, traces: TraceLog) -> Archives:
    objects = StoredObjects(settings.archive_url or str(settings.data / "archive"))
    return Archives(volumes, catalog, traces, objects, settings.data / "tmp")


def _mirrors(
    settings: Settings,
    rows: RemoteRows,
    volumes: VolumeManager,
    proposals: Proposals,
    scanners: Mapping[str, Scanner],
    *,
    serve: bool,
) -> Mirrors:
    reach = Reach(settings.data, settings.allow_private_urls, settings.remote_folder)
    dialer = Dialer(reach, Seals(settings.data / "keys"), Children(), lambda name: os.environ.get(name, ""))
    return Mirrors(rows, volumes, proposals, dialer, Sync(volumes, scanners, settings.max_push), background=serve)


def _tokens(settings: Settings) -> Tokens:
    return Tokens(TokenKeys(settings.data / "keys" / "tokens"), public_address(settings))


def _oidc(settings: Settings, people: KnownPeople) -> OidcSignIn | None:
    if not settings.oidc_issuer:
        return None
    client = Client(settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret, settings.oidc_scopes)
    rules = OidcRules(
        issuer=settings.oidc_issuer,
        redirect_uri=f"{public_address(settings)}/sign-in/oidc/callback",
        groups_claim=settings.oidc_groups_claim,
        teams=parse_teams(settings.oidc_teams),
        admin_group=settings.oidc_admin_group,
        create_users=settings.oidc_create_users,
    )
    return OidcSignIn(OpenIdProvider(client), people, Seals(settings.data / "keys"), rules)


def _limits(settings: Settings, rows: UsageRows, *, owner: bool) -> Limits:
    defaults = Defaults(
        requests=settings.limit_requests,
        streams=settings.limit_streams,
        strangers=settings.limit_strangers,
        user_tokens=settings.limit_user_tokens,
        user_micros=round(settings.limit_user_money * 1e6),
        team_tokens=settings.limit_team_tokens,
        team_micros=round(settings.limit_team_money * 1e6),
        answer=settings.limit_answer,
    )
    prices = Prices.parse(settings.prices, unknown=settings.unknown_price)
    return Limits(rows, Ledger(rows, settings.data if owner else None), defaults, prices=prices)


def _scrubber(
    volumes: VolumeManager,
    remotes: RemoteRows,
    catalog: Catalog,
    proposals: Proposals,
    marketplaces: Marketplaces,
    *,
    examples: Examples,
) -> Scrubber:
    async def reached(ref: VolumeRef) -> list[str]:
        return [row.name for row in await remotes.all() if row.volume == str(ref) and not row.removed]

    async def after(ref: VolumeRef) -> None:
        await index_skills(volumes, catalog, ref)
        await proposals.reindex()
        await asyncio.to_thread(marketplaces.drop, ref)
        await examples.prune()

    return Scrubber(volumes, reached, after)


def _workers(settings: Settings) -> WorkerPool:
    return WorkerPool(os.environ | settings.environment())


def _jobs(settings: Settings, dispatch: Dispatch, here: Callable[[str, str], Awaitable[None]], *, serve: bool) -> Jobs:
    """Return who does long work: workers beside a server, this process for a command."""
    if not serve:
        return LocalJobs(here)
    return JobsBeside(settings.data, dispatch.work, dispatch.due, dispatch.unfinished)


def _proposing(proposals: Proposals) -> Callable[[VolumeRef], None]:
    """Return what notes the proposals of a volume, for the thread that looks for edits by hand."""
    loop = asyncio.get_running_loop()

    def notice(ref: VolumeRef) -> None:
        asyncio.run_coroutine_threadsafe(proposals.notice(ref), loop)

    return notice


def _check_disk(data: Path) -> str:
    try:
        free = shutil.disk_usage(data).free
    except OSError as error:
        return f"The data folder cannot be read: {error.strerror}."
    return "ok" if free > LOW_DISK else f"Only {free >> 20} MiB are free."
