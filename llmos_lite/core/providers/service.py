"""The providers of an instance: of the settings, of the file, and those that admins set, which hold at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from llmos_lite.core.accounts.permissions import Actor, require_admin
from llmos_lite.core.providers.asking import PATIENCE, REFUSED, ask_for_models
from llmos_lite.core.providers.config import DEFAULT, VARIABLE, Config, Provider, key_of, target_of
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.engines.http_client import Reply
from llmos_lite.engines.sealing import Seals
from llmos_lite.engines.upstream import Passing, Upstream, Wire
from llmos_lite.engines.upstream_kinds import open_server
from llmos_lite.engines.upstreams import Policy, Route, Router, Rules, Sent, Target
from llmos_lite.errors import Conflict, Invalid, LlmosError, NotFound, UpstreamFailed, UpstreamTimeout
from llmos_lite.records.providers import ProviderRecord, ProviderRows

LISTED_SECONDS, FAILED_SECONDS = 60.0, 5.0
"""How long a list of all models holds, and one that lacks those of a server that could not be asked."""
SLOW_SECONDS, SLOW_SHARE = 1.0, 5
"""After which it counts that everybody waits for a server that is silent: its failure holds so many times as long."""
log = logging.getLogger("llmos.models")


class Base(NamedTuple):
    """What there is without anybody setting anything.

    Args:
        config: of the file.
        default: the server for every model that nobody else has.
        model: the usual one there.
        policy: what happens when a server fails.
        usual: what the settings say of that server; None where a model of ours answers.
    """

    config: Config
    default: Upstream
    model: str = ""
    policy: Policy | None = None
    usual: Provider | None = None


@dataclass(frozen=True, slots=True)
class ProviderView:
    """A provider as it is shown, without its key.

    `source` is `settings`, `file` or `api`; `problem` says why it is not asked.
    """

    provider: Provider
    source: str
    key: str
    left: float = 0.0
    problem: str = ""


class ModelEntry(NamedTuple):
    """A model, and who has it."""

    name: str
    provider: str


class Providers:
    """The model servers that the gateway asks; an `Upstreams` itself.

    Args:
        rows: what admins set.
        seals: seal their keys.
        base: what there is anyway.
        variable: returns a variable of the environment; empty when it is not set.
    """

    def __init__(self, rows: ProviderRows, seals: Seals, base: Base, variable: Callable[[str], str]) -> None:
        self._rows, self._seals, self._base, self._variable = rows, seals, base, variable
        self._router: Router | None = None
        self._own: list[Provider] = []
        self._problems: dict[str, str] = {}
        self._sealed: set[str] = set()
        self._lost: set[str] = set()
        """Where names lead to in vain, as the log has it."""
        self._loading, self._listing = asyncio.Lock(), asyncio.Lock()
        self._listed: tuple[float, list[ModelEntry], LlmosError | None] | None = None
        """Until when a list holds, the list, and why it lacks something."""

    # -- what the gateway asks --------------------------------------------------------------------------------------

    def send(self, model: str, wire: Wire, make: Callable[[Route], Passing]) -> Awaitable[Sent]:
        """Send a request to whoever has the model; see `Upstreams`."""
        return (self._router.send if self._router is not None else self._loaded)(model, wire, make)

    async def _loaded(self, model: str, wire: Wire, make: Callable[[Route], Passing]) -> Sent:
        return await (await self._load()).send(model, wire, make)

    async def at(self, server: str, passing: Passing) -> Reply:
        """Send a request to a server by its name; see `Upstreams`."""
        return await (self._router or await self._load()).at(server, passing)

    async def models(self) -> list[ModelEntry]:
        """Return the models that there are: names and aliases that are set, and what the servers list themselves.

        Raises:
            UpstreamFailed: there are none, and why a server lists none.
        """
        async with self._listing:
            while (listed := self._listed) is None or time.monotonic() > listed[0]:
                router = self._router or await self._load()
                since = time.monotonic()
                found, failed = await self._gathered(router)
                now = time.monotonic()
                listed = now + _holds(now - since, found, failed), found, failed and failed.fresh()
                if router is self._router:  # else an admin has set another provider meanwhile, and they are asked anew
                    self._listed = listed
                    break
            _, found, failed = listed
        if failed is not None and not found:
            raise failed.fresh()
        return found

    async def close(self) -> None:
        """Close all connections."""
        if self._router is not None:
            await self._router.close()
        else:
            await self._base.default.close()

    # -- what admins do ---------------------------------------------------------------------------------------------

    async def listed(self, actor: Actor) -> list[ProviderView]:
        """List the providers, that of the settings first, for a system admin."""
        require_admin(actor)
        router = self._router or await self._load()
        files, usual = self._base.config.providers, self._base.usual
        sources = dict.fromkeys((one.name for one in files), "file") | {DEFAULT: "settings"}
        views = []
        for one in [*([usual] if usual else []), *files, *self._own]:
            left = router.resting(one.name)
            key = one.key if one.key.startswith(VARIABLE) else "kept" if one.key else ""
            shown = msgspec.structs.replace(one, key="", headers=dict.fromkeys(one.headers, "kept"))
            problem = self._problems.get(one.name, "")
            views.append(ProviderView(shown, sources.get(one.name, "api"), key, left, problem))
        return views

    async def put(self, actor: Actor, provider: Provider) -> ProviderView:
        """Add or change a provider, as a system admin; without a key the one that it had stays, at the same address.

        Raises:
            Invalid: `provider.invalid`, `provider.variable`.
            Conflict: `provider.in_file`.
        """
        require_admin(actor)
        await self._load()
        self._check_free(provider.name)
        provider = self._with_secrets(provider.checked())
        open_server(provider.spec(key_of(provider, self._variable)))  # raises what is wrong with it
        document = msgspec.json.encode(msgspec.structs.replace(provider, key="", headers={})).decode()
        secrets = msgspec.json.encode([provider.key, dict(provider.headers)]).decode()
        secret = self._seals.seal(secrets, _about(provider)) if provider.key or provider.headers else ""
        row = ProviderRecord(
            name=provider.name, document=document, secret=secret, changed=now_ms(), changed_by=actor.user_id
        )
        await self._rows.put(row)
        await self._load()
        return next(view for view in await self.listed(actor) if view.provider.name == provider.name)

    def _with_secrets(self, provider: Provider) -> Provider:
        """Return a provider with the key and the headers that it had, where none are given and its address is the same.

        Raises:
            Conflict: `provider.sealed`, when what it had cannot be opened any more.
        """
        before = next((one for one in self._own if one.name == provider.name), None)
        if before is None or _about(before) != _about(provider) or (provider.key and provider.headers):
            return provider
        if provider.name in self._sealed and not provider.key:
            said = f"The key of {provider.name} cannot be opened any more."
            raise Conflict("provider.sealed", said, hint="Give it again.")
        return msgspec.structs.replace(
            provider, key=provider.key or before.key, headers=provider.headers or before.headers
        )

    async def remove(self, actor: Actor, name: str) -> None:
        """Take a provider away, as a system admin.

        Raises:
            NotFound: `provider.unknown`.
            Conflict: `provider.in_file`.
        """
        require_admin(actor)
        await self._load()
        self._check_free(name)
        if all(one.name != name for one in self._own):
            raise NotFound(
                "provider.unknown", f"There is no provider {name[:64]!r}.", hint="`llmos providers list` shows all."
            )
        await self._rows.delete(name)
        await self._load()

    def _check_free(self, name: str) -> None:
        if any(one.name == name for one in self._base.config.providers) or name == DEFAULT:
            raise Conflict(
                "provider.in_file", f"The provider {name} is set where the server runs.", hint="Change it there."
            )

    # -- what there is ----------------------------------------------------------------------------------------------

    async def _load(self) -> Router:
        """Make the servers anew from what is set; those that were used until now finish what they do."""
        async with self._loading:
            rows = await self._rows.all()
            self._problems, self._sealed = {}, set()
            self._own = [self._opened(row) for row in rows]
            before, self._router, self._listed = self._router, self._made(), None
        if before is not None:
            for name, server in before.servers.items():
                if name != DEFAULT:
                    await server.close()
        return self._router

    def _opened(self, row: ProviderRecord) -> Provider:
        provider = msgspec.json.decode(row.document, type=Provider)
        if not row.secret:
            return provider
        try:
            text = self._seals.open(row.secret, _about(provider))
        except LlmosError as error:
            self._problems[provider.name] = error.message
            self._sealed.add(provider.name)
            return provider
        key, headers = _secrets.decode(text)
        return msgspec.structs.replace(provider, key=key, headers=headers)

    def _made(self) -> Router:
        servers: dict[str, Upstream] = {DEFAULT: self._base.default}
        patterns: list[tuple[str, str]] = []
        local = {provider.name for provider in self._base.config.providers}
        for provider in [*self._base.config.providers, *self._own]:
            if provider.name in self._sealed:
                continue
            try:
                key = key_of(provider, self._variable, local=provider.name in local)
                servers[provider.name] = open_server(provider.spec(key))
            except Invalid as error:
                self._problems[provider.name] = error.message
                continue
            patterns += [(pattern, provider.name) for pattern in provider.models]
        rules = Rules(
            aliases=self._aliases(list(servers)), patterns=patterns, default=Target(DEFAULT, self._base.model)
        )
        return Router(servers, rules, self._base.policy)

    def _aliases(self, names: Sequence[str]) -> Mapping[str, Sequence[Target]]:
        """Return where the names of the file lead to; what leads nowhere, now or for good, hinders no other.

        It stays in its place all the same: a client's own key is for the first server of a name, there or not.
        """
        known, self._lost = self._lost, set()
        for text in self._base.config.targets:
            try:
                target_of(text, [*names, *self._problems])
            except Invalid as error:
                self._lost.add(text)
                if text not in known:
                    log.warning("%s %s", error.message, error.hint)
        aliases = self._base.config.aliases.items()
        return {alias: [target_of(text, [text.partition("/")[0]]) for text in targets] for alias, targets in aliases}

    async def _gathered(self, router: Router) -> tuple[list[ModelEntry], LlmosError | None]:
        """Return the models, and why a server could not be asked for its own, when one could not."""
        aliases = router.rules.aliases.items()
        found = [
            ModelEntry(name, "alias") for name, targets in aliases if any(to.server in router.servers for to in targets)
        ]
        found += [ModelEntry(name, server) for name, server in router.rules.patterns if "*" not in name]
        asked = await asyncio.gather(*(_names(*one) for one in router.servers.items()))
        for server, (names, _) in zip(router.servers, asked, strict=True):
            found += [ModelEntry(name, server) for name in names if self._leads_to(router, name, server)]
        entries = list({entry.name: entry for entry in reversed(found)}.values())[::-1]
        return entries, next((failed for _, failed in asked if failed is not None), None)

    @staticmethod
    def _leads_to(router: Router, name: str, server: str) -> bool:
        targets = router.rules.targets(name, router.servers)
        return bool(targets) and targets[0].server == server


def _holds(took: float, found: Sequence[ModelEntry], failed: LlmosError | None) -> float:
    """Return for how many seconds a list holds; one without anything in it is asked for again, unless that is slow."""
    if failed is None:
        return LISTED_SECONDS
    if took > SLOW_SECONDS:
        return SLOW_SHARE * took
    return FAILED_SECONDS if found else 0.0


def _about(provider: Provider) -> str:
    """Return what a sealed key is bound to: a row that is changed to another address does not take it there."""
    place = f"{provider.kind} {provider.url} {provider.region} {provider.project}"
    return f"provider {provider.name} {place}"


_secrets = msgspec.json.Decoder(tuple[str, dict[str, str]])


async def _names(name: str, server: Upstream) -> tuple[list[str], LlmosError | None]:
    """Return the models that a server lists, and why it could not be asked, when it could not; many have no list."""
    try:
        told = await ask_for_models(server)
    except LlmosError as error:
        return [], error
    except TimeoutError:
        said = f"The model's server {name!r} did not list its models within {PATIENCE:g} s."
        return [], UpstreamTimeout("model.timeout", said, hint="Try again.")
    except msgspec.DecodeError:
        return [], None
    if told.status in REFUSED and getattr(server, "has_key", True):
        said = f"The model's server {name!r} refuses the key ({told.status})."
        hint = "Set LLMOS_LLM_KEY where llmos runs." if name == DEFAULT else f"Set the key of the provider {name}."
        return [], UpstreamFailed("model.rejected", said, hint=hint)
    return told.names, None
