"""Open an instance: one engine of each kind, then everything that stands on them.

Start-up must be quick: what is slow to load and not needed for the first answer is imported by who needs it first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from llmos_lite.bootstrap.parts import (
    NoJobs,
    noticing,
    open_archives,
    open_jobs,
    open_limits,
    open_mirrors,
    open_oidc,
    open_providers,
    open_scrubber,
    open_semantics,
    open_spans,
    open_tokens,
    open_workers,
    sign_in_rule,
)
from llmos_lite.bootstrap.services import Services, address, public_address
from llmos_lite.bootstrap.starting import check_model
from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.capabilities import Capabilities
from llmos_lite.core.accounts.entrance import Entrance
from llmos_lite.core.accounts.invitations import Invitations
from llmos_lite.core.accounts.keys import ApiKeys, make_key
from llmos_lite.core.accounts.newcomers import KnownPeople
from llmos_lite.core.accounts.sessions import Sessions
from llmos_lite.core.accounts.sign_in import SignIn
from llmos_lite.core.audit import Audit
from llmos_lite.core.audit.checkpoints import Checkpoints
from llmos_lite.core.chat.allowed import AllowedCalls
from llmos_lite.core.chat.choice import Chooser
from llmos_lite.core.chat.disclosure import Disclosure
from llmos_lite.core.chat.service import ChatService
from llmos_lite.core.chat.tools import ToolBounds
from llmos_lite.core.dispatch import Dispatch
from llmos_lite.core.evolution.service import Evolution
from llmos_lite.core.gateway.context import Contexts
from llmos_lite.core.gateway.service import Gateway
from llmos_lite.core.gateway.thread_log import ThreadLog
from llmos_lite.core.git.marketplaces import Marketplaces
from llmos_lite.core.git.pushing import Pushes
from llmos_lite.core.git.repositories import Repositories
from llmos_lite.core.imports import Imports
from llmos_lite.core.maintenance import Maintenance
from llmos_lite.core.proposals.service import Proposals
from llmos_lite.core.providers.service import Providers
from llmos_lite.core.remotes.service import Remotes
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
from llmos_lite.core.skills.scan import scanners_from
from llmos_lite.core.skills.scan_pool import ScanPool
from llmos_lite.core.skills.scanning.house import with_house_rules
from llmos_lite.core.skills.seeding import ensure_starter
from llmos_lite.core.skills.served import ServedSkills
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.templates import Templates
from llmos_lite.core.skills.uses import Uses
from llmos_lite.core.skills.watched import watched
from llmos_lite.core.telemetry.service import Telemetry
from llmos_lite.core.toolservers.config import read_servers
from llmos_lite.core.toolservers.grants import Grants
from llmos_lite.core.toolservers.service import ToolServers
from llmos_lite.core.toolservers.sign_in import SignIns
from llmos_lite.core.traces.erase import Eraser
from llmos_lite.core.traces.keeping import Keeping, Rules
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.redaction import redactor_of
from llmos_lite.core.traces.reports import Reports
from llmos_lite.core.upkeep import HandEdits
from llmos_lite.core.verify import Integrity
from llmos_lite.core.volumes import Volumes
from llmos_lite.engines import plugins
from llmos_lite.engines.database import Database
from llmos_lite.engines.embedder import Embedder
from llmos_lite.engines.embedder_auto import CACHE, open_patient_embedder
from llmos_lite.engines.folder import RESTORED, check_format, locked, read_or_make
from llmos_lite.engines.journal import Journal
from llmos_lite.engines.journal_local import LocalJournal
from llmos_lite.engines.llm import LanguageModel
from llmos_lite.engines.llm_auto import open_model
from llmos_lite.engines.sealing import Seals
from llmos_lite.engines.signing import Signer
from llmos_lite.observability import Metrics, configure_logging
from llmos_lite.records.accounts import AccountStore
from llmos_lite.records.allowed_calls import AllowedCallRows
from llmos_lite.records.audit import AuditRows
from llmos_lite.records.background import BackgroundRows
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.invitations import InvitationStore
from llmos_lite.records.keys import KeyStore
from llmos_lite.records.proposals import ProposalRows
from llmos_lite.records.remotes import RemoteRows
from llmos_lite.records.schema import prepare
from llmos_lite.records.sign_in import SignInStore
from llmos_lite.records.toolgrants import ToolGrantRows
from llmos_lite.records.toolservers import ToolServerRows
from llmos_lite.records.usage import UsageRows
from llmos_lite.settings import Settings
from llmos_lite.volumes.manager import VolumeManager

log = logging.getLogger("llmos")


@asynccontextmanager
async def open_services(settings: Settings, *, serve: bool, lock: bool = True) -> AsyncIterator[Services]:
    """Open an instance, made when its data folder is fresh.

    Args:
        settings: of the instance.
        serve: whether a server opens it, whose address goes into the lock.
        lock: False in a worker process: its parent holds the folder, and the journal.

    Raises:
        Unavailable: `data.locked`, `data.newer`, `data.format`, `embedder.missing`, `embedder.broken`.
        Invalid: `settings.invalid`, `settings.provider`, `settings.embedder`.
        StorageFailed: the folder cannot be made, read or written.
    """
    configure_logging(settings.log_level, as_json=settings.log_json)
    check_model(settings)
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
    upstreams = open_providers(settings, database, model)
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
    people, tokens = AccountStore(database), open_tokens(settings)
    sign_in = SignIn(SignInStore(database), Sessions(SignInStore(database), tokens))
    keys = ApiKeys(KeyStore(database), days=settings.key_days, url_days=settings.key_url_days)
    accounts = Accounts(people, settings, key, sign_in, keys=keys, tokens=tokens)
    accounts.leaves = tool_servers.forget_person
    scanners = with_house_rules(watched(scanners_from(plugins.load(plugins.SCANNERS))))
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
        semantics=open_semantics(settings) if serve else None,
    )
    examples = Examples(volumes, manager, catalog.examples, model, active=settings.skill_examples)
    manager.examples = examples
    proposals, runs = Proposals(ProposalRows(database), volumes, scanners), Runs(catalog.runs)

    async def here(kind: str, run_id: str) -> None:
        from llmos_lite.core.work import perform  # noqa: PLC0415 - a server leaves it to its workers

        await traces.fold()
        await perform(services, kind, run_id)

    jobs = (
        open_jobs(settings, Dispatch(runs, traces, open_workers(settings)), here, serve=serve) if journal else NoJobs()
    )
    archives = open_archives(settings, volumes, catalog, traces)
    limits = open_limits(settings, UsageRows(database), owner=journal is not None)
    spans = open_spans(settings, metrics) if journal is not None else None
    audit = Audit(AuditRows(database), Checkpoints(volumes, signer))
    skills = SkillService(volumes, manager, accounts, scanners)
    remote_rows = RemoteRows(database)
    mirrors = open_mirrors(settings, remote_rows, volumes, proposals, scanners, serve=serve)
    thread_log = ThreadLog(settings.data / "threads", traces.erased.ids)
    eraser = Eraser(
        settings.data,
        volumes,
        catalog,
        traces,
        archives,
        mirrors=[mirrors],
        mended=examples.prune,
        forget=lambda trace_ids: services.gateway.forget(trace_ids),  # noqa: PLW0108 - it is made later
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
            oidc=open_oidc(settings, KnownPeople(accounts, people, audit)),
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
                Chooser(manager, budget_tokens=settings.skill_tokens, tool_tokens=settings.tool_tokens),
                max_skills=settings.max_skills,
                disclosure=Disclosure.parse(settings.disclosure),
            ),
            traces,
            accounts,
            upstreams,
            limits=limits,
            background=BackgroundRows(database),
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
            tool_servers, grants, tool_grants, seals, public=public_address(settings), may=sign_in_rule(accounts)
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
        edits=HandEdits(volumes, noticing(proposals)),
        maintenance=Maintenance(volumes),
        examples=examples,
        integrity=Integrity(volumes),
        scrubber=open_scrubber(volumes, remote_rows, catalog, proposals, marketplaces, examples=examples),
        metrics=metrics,
    )
    return services
