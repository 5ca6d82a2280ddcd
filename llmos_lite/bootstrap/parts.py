"""One part of an instance each, as the settings want it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from llmos_lite.bootstrap.services import public_address
from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.newcomers import KnownPeople
from llmos_lite.core.accounts.oidc import OidcSignIn, parse_teams
from llmos_lite.core.accounts.oidc import Rules as OidcRules
from llmos_lite.core.accounts.permissions import Role
from llmos_lite.core.accounts.tokens import Tokens
from llmos_lite.core.dispatch import Dispatch
from llmos_lite.core.gateway.local import LocalUpstream
from llmos_lite.core.git.marketplaces import Marketplaces
from llmos_lite.core.limits import Defaults, Limits
from llmos_lite.core.limits.ledger import Ledger
from llmos_lite.core.limits.prices import Prices
from llmos_lite.core.proposals.service import Proposals
from llmos_lite.core.providers.config import DEFAULT, VARIABLE, Provider, read_file
from llmos_lite.core.providers.service import Base, Providers
from llmos_lite.core.remotes.dialing import Dialer, Reach
from llmos_lite.core.remotes.mirrors import Mirrors
from llmos_lite.core.remotes.sync import Sync
from llmos_lite.core.skills.examples import Examples
from llmos_lite.core.skills.scan import Scanner
from llmos_lite.core.skills.scrub import Scrubber
from llmos_lite.core.skills.semantic import Semantics
from llmos_lite.core.traces.archive import Archives
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.reindex import index_skills
from llmos_lite.engines.database import Database
from llmos_lite.engines.embedder_auto import CACHE, open_embedder
from llmos_lite.engines.git_children import Children
from llmos_lite.engines.jobs import Jobs, LocalJobs
from llmos_lite.engines.jobs_beside import JobsBeside
from llmos_lite.engines.llm import LanguageModel
from llmos_lite.engines.llm_anthropic import is_anthropic
from llmos_lite.engines.objects import StoredObjects
from llmos_lite.engines.oidc import Client, OpenIdProvider
from llmos_lite.engines.sealing import Seals
from llmos_lite.engines.token_keys import TokenKeys
from llmos_lite.engines.upstream import Upstream
from llmos_lite.engines.upstream_kinds import open_server
from llmos_lite.engines.upstreams import Policy
from llmos_lite.engines.vectors import LocalVectors
from llmos_lite.engines.worker_pool import WorkerPool
from llmos_lite.errors import Unavailable
from llmos_lite.observability import Metrics
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.providers import ProviderRows
from llmos_lite.records.remotes import RemoteRows
from llmos_lite.records.usage import UsageRows
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.manager import VolumeManager

if TYPE_CHECKING:
    from llmos_lite.core.telemetry.exporter import SpanExporter


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


def sign_in_rule(accounts: Accounts) -> Callable[[str, str], Awaitable[bool]]:
    """Return what tells whether somebody may still finish a sign-in: for everybody only as a system admin."""

    async def may(user_id: str, owner: str) -> bool:
        account = await accounts.account(user_id)
        return account.active and (owner == user_id or account.role == Role.SYSTEM_ADMIN)

    return may


def open_semantics(settings: Settings) -> Semantics | None:
    """Return what compares meanings in a server; a command ends before it would have embedded anything."""
    embedder = open_embedder(settings)
    if embedder is None:
        return None
    vectors = LocalVectors(settings.data / CACHE / "vectors", embedder.name)
    return Semantics(embedder, vectors, budget=settings.embed_budget_ms / 1000)


def default_of(settings: Settings) -> Provider | None:
    """Return the provider that the settings name; None where a model of ours answers."""
    kind, url = settings.llm_provider, settings.llm_url
    if kind not in {"openai", "anthropic"} and not (kind == "auto" and url):
        return None
    anthropic = kind == "anthropic" or is_anthropic(url)
    return Provider(name=DEFAULT, kind="anthropic" if anthropic else "openai", url=url, timeout=settings.llm_timeout)


def open_providers(settings: Settings, database: Database, model: LanguageModel) -> Providers:
    """Return the model servers: of the settings, of the file, and those that admins set."""
    default: Upstream = LocalUpstream(model)
    if (usual := default_of(settings)) is not None:
        default = open_server(usual.checked().spec(settings.llm_key))
        usual = msgspec.structs.replace(usual, key=f"{VARIABLE}LLMOS_LLM_KEY" if settings.llm_key else "", models=["*"])
    policy = Policy(retries=settings.llm_retries)
    base = Base(read_file(settings.providers), default, settings.llm_model, policy, usual)
    seals = Seals(settings.data / "keys")
    return Providers(ProviderRows(database), seals, base, lambda name: os.environ.get(name, ""))


def open_spans(settings: Settings, metrics: Metrics) -> SpanExporter | None:
    """Return what sends our own spans away; None when nobody wants them."""
    if not settings.otlp_url:
        return None
    from llmos_lite.core.telemetry.exporter import SpanExporter  # noqa: PLC0415 - most instances export nothing

    return SpanExporter(settings.otlp_url, settings.otlp_headers, service=settings.otlp_service, metrics=metrics)


def open_archives(settings: Settings, volumes: VolumeManager, catalog: Catalog, traces: TraceLog) -> Archives:
    """Return the archives of old traces."""
    objects = StoredObjects(settings.archive_url or str(settings.data / "archive"))
    return Archives(volumes, catalog, traces, objects, settings.data / "tmp")


def open_mirrors(
    settings: Settings,
    rows: RemoteRows,
    volumes: VolumeManager,
    proposals: Proposals,
    scanners: Mapping[str, Scanner],
    *,
    serve: bool,
) -> Mirrors:
    """Return what keeps volumes and remotes in step; only a server does so by itself."""
    reach = Reach(settings.data, settings.allow_private_urls, settings.remote_folder)
    dialer = Dialer(reach, Seals(settings.data / "keys"), Children(), lambda name: os.environ.get(name, ""))
    return Mirrors(rows, volumes, proposals, dialer, Sync(volumes, scanners, settings.max_push), background=serve)


def open_tokens(settings: Settings) -> Tokens:
    """Return what signs tokens of sessions."""
    return Tokens(TokenKeys(settings.data / "keys" / "tokens"), public_address(settings))


def open_oidc(settings: Settings, people: KnownPeople) -> OidcSignIn | None:
    """Return the sign-in by an OpenID provider; None without one."""
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


def open_limits(settings: Settings, rows: UsageRows, *, owner: bool) -> Limits:
    """Return how much may be used; only the owner of the data folder keeps count in it."""
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


def open_scrubber(
    volumes: VolumeManager,
    remotes: RemoteRows,
    catalog: Catalog,
    proposals: Proposals,
    marketplaces: Marketplaces,
    *,
    examples: Examples,
) -> Scrubber:
    """Return what takes a secret out of histories, and mends what was derived from them."""

    async def reached(ref: VolumeRef) -> list[str]:
        return [row.name for row in await remotes.all() if row.volume == str(ref) and not row.removed]

    async def after(ref: VolumeRef) -> None:
        await index_skills(volumes, catalog, ref)
        await proposals.reindex()
        await asyncio.to_thread(marketplaces.drop, ref)
        await examples.prune()

    return Scrubber(volumes, reached, after)


def open_workers(settings: Settings) -> WorkerPool:
    """Return the processes that do long work beside a server."""
    return WorkerPool(os.environ | settings.environment())


def open_jobs(
    settings: Settings, dispatch: Dispatch, here: Callable[[str, str], Awaitable[None]], *, serve: bool
) -> Jobs:
    """Return who does long work: workers beside a server, this process for a command."""
    if not serve:
        return LocalJobs(here)
    return JobsBeside(settings.data, dispatch.work, dispatch.due, dispatch.unfinished)


def noticing(proposals: Proposals) -> Callable[[VolumeRef], None]:
    """Return what notes the proposals of a volume, for the thread that looks for edits by hand."""
    loop = asyncio.get_running_loop()

    def notice(ref: VolumeRef) -> None:
        asyncio.run_coroutine_threadsafe(proposals.notice(ref), loop)

    return notice
