"""What is said of a provider, in a file or over the API, and what it means."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from llmos_lite.engines.llm_http import flaw_of
from llmos_lite.engines.upstream import Wire
from llmos_lite.engines.upstream_kinds import Kind, ServerSpec
from llmos_lite.engines.upstreams import Target
from llmos_lite.errors import Invalid
from llmos_lite.volumes.access import check_id

DEFAULT = "default"
"""Name of the server that the settings name, or of the model of `/chat`."""
VARIABLE = "env:"
"""What a key begins with that stands in a variable of the server's environment."""
PREFIX = "LLMOS_PROVIDER_"
"""What the name of a variable begins with that may be named over the API; others hold secrets of the server. A file,
which lies where the server runs, may name any."""
_PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,99}")
_CONNECTION = frozenset({"content-length", "transfer-encoding", "connection", "host", "upgrade", "te", "expect"})
MOST = 100
LONGEST_KEY = 16_384


class Provider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model server, as people say it.

    Args:
        name: lower-case letters, digits and hyphens.
        kind: `openai` for whatever speaks OpenAI's API, `anthropic`, `azure`, `bedrock`, `vertex`.
        url: base URL; empty takes the usual one of the kind.
        key: `env:NAME` of the server's environment; empty sends none. A key itself is kept sealed, and never shown.
        models: names and patterns that it has; `*` for every other one.
        dialects: what it speaks, when that is not what its kind does.
        headers: sent with every request.
        timeout: longest silence, in seconds.
        api_version: of Azure's deployments.
        region: of Bedrock and Vertex.
        project: of Vertex.
    """

    name: str
    kind: Kind = "openai"
    url: str = ""
    key: str = ""
    models: Sequence[str] = ()
    dialects: Sequence[Wire] = ()
    headers: Mapping[str, str] = {}
    timeout: float = 120.0
    api_version: str = ""
    region: str = ""
    project: str = ""

    def __repr__(self) -> str:
        return f"Provider({self.name} {self.kind})"

    def checked(self) -> Provider:
        """Return this provider, when it can be meant.

        Raises:
            Invalid: `provider.invalid`, `provider.invalid_id`.
        """
        check_id(self.name, "provider")
        if flaw := self.url and _flaw_of(self.url):
            said = f"The url of the provider {self.name} is not the base URL of an API: {flaw}."
            raise Invalid("provider.invalid", said, hint="Set it as in https://host/v1.")
        if any(value and not _PLACE.fullmatch(value) for value in (self.region, self.project, self.api_version)):
            said = "A region, a project and a version hold letters, digits, dots, colons and hyphens."
            raise Invalid("provider.invalid", said)
        if not (self.key.isascii() and (self.key.isprintable() or self.key.lstrip().startswith("{"))):
            raise Invalid("provider.invalid", "A key is one line of ASCII, or the JSON of a key file.")
        if not 0 < self.timeout <= 3600:  # noqa: PLR2004 - an hour of silence is for ever
            raise Invalid("provider.invalid", "A timeout is up to 3600 seconds.")
        if len(self.key) > LONGEST_KEY:
            raise Invalid("provider.invalid", "The key is too long.")
        if any(not _is_header(name, value) for name, value in self.headers.items()):
            raise Invalid("provider.invalid", "A header has a name of letters, digits and -, and a value on one line.")
        return self

    def spec(self, key: str) -> ServerSpec:
        """Return it for the engine, with its key opened."""
        named = (f"the url of the provider {self.name}", f"the key of the provider {self.name}")
        spec = ServerSpec(
            name=self.name,
            kind=self.kind,
            url=self.url,
            key=key,
            wires=frozenset(self.dialects),
            headers={name.lower(): value for name, value in self.headers.items()},
            timeout=self.timeout,
            api_version=self.api_version,
            region=self.region,
            project=self.project,
        )
        return spec if self.name == DEFAULT else replace(spec, named=named)


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Providers, and names of models that lead to some of theirs, the first that works."""

    providers: Sequence[Provider] = ()
    aliases: Mapping[str, Sequence[str]] = {}

    @property
    def targets(self) -> list[str]:
        """Return where the names lead to, each once."""
        return sorted({text for targets in self.aliases.values() for text in targets})


def _flaw_of(url: str) -> str:
    """Return what is wrong with a base URL; a key in it would be shown with it."""
    return flaw_of(url) or ("it holds a name or a password" if "@" in urlsplit(url).netloc else "")


def _is_header(name: str, value: str) -> bool:
    plain = name.replace("-", "").replace("_", "")
    ours = name.lower() in _CONNECTION
    return plain.isascii() and plain.isalnum() and not ours and value.isprintable() and value.isascii()


def read_file(path: str) -> Config:
    """Return what a TOML file says: tables `[providers.NAME]`, and `[models]` with `name = ["provider/model", …]`.

    Raises:
        Invalid: `settings.providers`.
    """
    if not path:
        return Config()
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        providers = [{**fields, "name": name} for name, fields in found.pop("providers", {}).items()]
        aliases = {name: [to] if isinstance(to, str) else to for name, to in found.pop("models", {}).items()}
        if found:
            raise ValueError(f"unknown table {min(found)!r}")  # noqa: TRY301 - said in one place
        config = msgspec.convert({"providers": providers, "aliases": aliases}, Config)
        for text in config.targets:
            target_of(text, [text.partition("/")[0]])
        return Config(providers=[one.checked() for one in config.providers], aliases=config.aliases)
    except (OSError, ValueError, TypeError, AttributeError, Invalid) as error:
        said = f"LLMOS_PROVIDERS={path[:200]!r} cannot be read: {str(error)[:300]}"
        raise Invalid("settings.providers", said, hint="See docs/providers.md.") from error


def key_of(provider: Provider, variable: Callable[[str], str], *, local: bool = False) -> str:
    """Return the key of a provider that stands in the environment, or in the provider itself.

    Args:
        provider: the provider.
        variable: returns a variable; empty when it is not set.
        local: whether the provider is set where the server runs, and may name any variable.

    Raises:
        Invalid: `provider.variable`, for a variable that is not set, or may not be named.
    """
    if not provider.key.startswith(VARIABLE):
        return provider.key
    name = provider.key.removeprefix(VARIABLE)
    if not local and not name.startswith(PREFIX):
        said = f"Over the API a key may stand in a variable that begins with {PREFIX}, and {name[:100]!r} does not."
        raise Invalid("provider.variable", said, hint="Rename it, or name it in the file of LLMOS_PROVIDERS.")
    value = variable(name).strip()
    if not value:
        said = f"The provider {provider.name} takes its key from {name}, which is not set where the server runs."
        raise Invalid("provider.variable", said, hint="Set it, and start the server again.")
    return value


def target_of(text: str, names: Sequence[str]) -> Target:
    """Read `provider/model`.

    Raises:
        Invalid: `provider.invalid`, for a provider that there is not.
    """
    server, _, model = text.partition("/")
    if not server or not model:
        said = f"{text[:200]!r} names no model of a provider."
        raise Invalid("provider.invalid", said, hint="Write it as provider/model.")
    if server not in names:
        said = f"{text[:200]!r} leads nowhere: there is no provider {server[:64]!r}."
        raise Invalid("provider.invalid", said, hint="Name one that there is, or set it.")
    return Target(server, model)
