"""What is said when a server starts: settings that cannot work, those that may be meant otherwise, and who answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from urllib.parse import urlsplit

from llmos_lite.bootstrap.parts import default_of
from llmos_lite.core.providers.config import (
    DEFAULT,
    PREFIX,
    VARIABLE,
    Config,
    Provider,
    key_of,
    read_file,
    target_of,
)
from llmos_lite.engines.llm_auto import OLLAMA
from llmos_lite.engines.llm_http import checked_url
from llmos_lite.engines.upstream import Wire
from llmos_lite.engines.upstream_kinds import usual_url
from llmos_lite.errors import Invalid
from llmos_lite.settings import Settings

_OURS = "LLMOS_"
_OTHERS = frozenset({"LLMOS_URL", "LLMOS_KEY", "LLMOS_USER"})
"""Names that the commands of the terminal read."""
_FREE = (PREFIX, "LLMOS_REMOTE_", "LLMOS_BENCH_")
"""What names begin with that are the operator's own to choose, and those of the benchmarks."""
_HOSTED = frozenset({"azure", "bedrock", "vertex"})
_PATHS = (*(wire.path for wire in Wire), "/embeddings", "/models")
_OWN_KEY = "until then only clients that bring a key of their own (docs/gateway.md) get answers"


def check_model(settings: Settings) -> None:
    """Refuse what can never reach a model.

    Raises:
        Invalid: `settings.invalid`, for a URL or a key that is none.
    """
    kind, url = settings.llm_provider, settings.llm_url
    asked = kind in {"openai", "anthropic"} or (kind == "auto" and url)
    if asked and url and "@" in urlsplit(checked_url(url)).netloc:
        said = "LLMOS_LLM_URL holds a name or a password, which would be shown wherever the address is."
        raise Invalid("settings.invalid", said, hint="Put the key into LLMOS_LLM_KEY.")
    if asked and not (settings.llm_key.isascii() and settings.llm_key.isprintable()):
        raise Invalid(
            "settings.invalid",
            "LLMOS_LLM_KEY cannot be sent: it is not one line of ASCII.",
            hint="Copy it anew, without quotes of a word processor or a line end.",
        )


def warnings(settings: Settings, env: Mapping[str, str]) -> list[str]:
    """Return what is probably not meant, a sentence each; nothing of it keeps a server from starting.

    Args:
        settings: that are read from the environment.
        env: the environment.

    Raises:
        Invalid: `settings.invalid`, `settings.providers`.
    """
    check_model(settings)
    file = read_file(settings.providers)
    providers = file.providers
    return [*_unknown(providers, env), *_of_model(settings), *_of_providers(providers, env), *_of_names(file)]


def _unknown(providers: Sequence[Provider], env: Mapping[str, str]) -> Iterator[str]:
    """Yield the names that nothing reads, each with the known one that it may stand for."""
    settings = {item.metadata["env"] for item in fields(Settings)}
    named = {one.key.removeprefix(VARIABLE) for one in providers}
    for name in sorted(env):
        if not name.startswith(_OURS) or name in settings | _OTHERS | named or name.startswith(_FREE) or not env[name]:
            continue
        near = _nearest(name, settings)
        yield f"{name} is not known; " + (f"did you mean {near}?" if near else "docs/settings.md lists all names.")


def _nearest(name: str, known: set[str]) -> str:
    """Return the name that one may stand for: with `LLM_` in it, which is often forgotten, or nearly so written."""
    if (full := name.replace(_OURS, f"{_OURS}LLM_", 1)) in known:
        return full
    ends = [one.removeprefix(_OURS) for one in sorted(known)]
    return next((f"{_OURS}{end}" for end in get_close_matches(name.removeprefix(_OURS), ends, 1)), "")


def _of_model(settings: Settings) -> Iterator[str]:
    default = default_of(settings)
    if default is None:
        if settings.llm_key and settings.llm_provider in {"auto", "offline"}:
            yield (
                "LLMOS_LLM_KEY is set, and nothing says whose key it is. "
                "Set LLMOS_LLM_PROVIDER to openai or anthropic, or LLMOS_LLM_URL."
            )
        return
    host = _host(default)
    if tail := next((path for path in _PATHS if default.url.rstrip("/").endswith(path)), ""):
        yield f"LLMOS_LLM_URL ends in {tail}, which is added to it for each request. Take it away."
    if not (settings.llm_key or not _wants_key(default)):
        yield f"LLMOS_LLM_KEY is not set, and {host} answers nobody without a key. Set it; {_OWN_KEY}."
    if not settings.llm_model and _wants_key(default):
        yield f"LLMOS_LLM_MODEL is not set: /chat takes whichever model {host} lists first. Set it to a model's name."


def _of_providers(providers: Sequence[Provider], env: Mapping[str, str]) -> Iterator[str]:
    for one in providers:
        try:
            key = key_of(one, lambda name: env.get(name, ""), local=True)
        except Invalid as error:
            yield f"{error.message} {error.hint}"
            continue
        if not key and _wants_key(one):
            said = f"The provider {one.name} has no key, and {_host(one)} answers nobody without one."
            yield f"{said} Give it one; {_OWN_KEY}."


def _of_names(file: Config) -> Iterator[str]:
    """Yield the models of names that no provider of the file has; one that is set over the API may."""
    known = [DEFAULT, *(one.name for one in file.providers)]
    for text in file.targets:
        try:
            target_of(text, known)
        except Invalid as error:
            yield f"{error.message} {error.hint}"


def _host(provider: Provider) -> str:
    return urlsplit(provider.url or usual_url(provider.kind)).netloc or provider.kind


def _wants_key(provider: Provider) -> bool:
    """Tell whether a provider is one of those that sell their answers; a server of the own network may want no key."""
    host = urlsplit(provider.url or usual_url(provider.kind)).hostname or ""
    return provider.kind in _HOSTED or f".{host}".endswith((".openai.com", ".anthropic.com"))


def who_answers(settings: Settings) -> str:
    """Return which model is asked, and where, in a line."""
    further = ", ".join(one.name for one in read_file(settings.providers).providers)
    return f"{_usual(settings)}{f'; further providers: {further}' if further else ''}"


def _usual(settings: Settings) -> str:
    model, default = settings.llm_model, default_of(settings)
    if default is not None:
        return f"{model or 'the first that is listed'} at {_host(default)}"
    match settings.llm_provider:
        case "offline":
            return "none; the offline model answers from the skills"
        case "auto":
            ollama = urlsplit(OLLAMA).netloc
            return f"{model or 'the first'} of Ollama at {ollama} while it runs, else the offline model"
        case name:
            return f"{model or 'its usual one'} of the plugin {name}"
