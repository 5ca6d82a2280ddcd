"""Whether the model servers that are set can be reached, for whoever looks after an instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from llmos_lite.bootstrap.parts import default_of
from llmos_lite.core.providers.asking import OK, PATIENCE, REFUSED, Told, ask_for_models
from llmos_lite.core.providers.config import Provider, key_of, read_file
from llmos_lite.core.wording import count_of
from llmos_lite.engines.llm_http import openai_url
from llmos_lite.engines.upstream_kinds import open_server, usual_url
from llmos_lite.errors import Invalid, LlmosError
from llmos_lite.settings import Settings

_SHOWN = 5
_SETTING = "LLMOS_LLM_"
_LISTING = frozenset({"openai", "anthropic", "azure"})
"""Kinds that list their models, and so answer without being paid."""


class Reached(NamedTuple):
    """How it went with a provider: whether it answers as it should, what was found, and what to do."""

    provider: str
    fine: bool
    message: str
    hint: str = ""


async def reach(settings: Settings, env: Mapping[str, str]) -> list[Reached]:
    """Ask each server of the settings and of the file for its models; it costs nothing there.

    Args:
        settings: that are read from the environment.
        env: where the file's providers have their keys.

    Raises:
        Invalid: `settings.invalid`, `settings.providers`.
    """
    found: list[Reached] = []
    if (default := default_of(settings)) is not None:
        found.append(await _reached(default, settings.llm_key, _SETTING, settings.llm_model))
    for one in read_file(settings.providers).providers:
        if one.kind not in _LISTING or one.api_version:
            continue
        try:
            key = key_of(one, lambda name: env.get(name, ""), local=True)
        except Invalid:  # `warnings` says it
            continue
        found.append(await _reached(one, key, "", ""))
    return found


async def _reached(provider: Provider, key: str, setting: str, model: str) -> Reached:
    """Ask one server; `setting` is what the names of its settings begin with, empty for one of the file."""
    try:
        server = open_server(provider.checked().spec(key))
    except LlmosError as error:
        return Reached(provider.name, fine=False, message=error.message, hint=error.hint)
    try:
        return _of_answer(provider, await ask_for_models(server), setting, model)
    except TimeoutError:
        return Reached(provider.name, fine=False, message=f"{_place(provider)} says nothing for {PATIENCE:g} seconds.")
    except msgspec.DecodeError:
        said = f"{_place(provider)} answers, but not as a model server does."
        return Reached(provider.name, fine=False, message=said, hint=_check("URL", setting))
    except LlmosError as error:
        return Reached(provider.name, fine=False, message=error.told, hint=error.hint or _check("URL", setting))
    finally:
        await server.close()


def _of_answer(provider: Provider, told: Told, setting: str, model: str) -> Reached:
    place = _place(provider)
    if told.status in REFUSED:
        said, hint = f"{place} refuses the key ({told.status}).", _check("KEY", setting)
    elif told.status != OK:
        said = f"{place}/models answers with {told.status}, so that nothing is known of its models."
        hint = f"{_check('URL', setting)} OpenAI's base URL ends in /v1."
    elif model and provider.kind == "openai" and told.names and not _has(told.names, model):
        said = f"{place} lists {count_of(len(told.names), 'model')}, and {model!r} is none of them."
        hint = f"Set {setting}MODEL to one of them: {', '.join(map(repr, told.names[:_SHOWN]))} …"
    else:
        listed = count_of(len(told.names), "model")
        return Reached(provider.name, fine=True, message=f"{place} answers, and lists {listed}.")
    return Reached(provider.name, fine=False, message=said, hint=hint)


def _has(names: Sequence[str], model: str) -> bool:
    """Tell whether a model is listed; Ollama's names have a tag behind them that may be left out."""
    return any(model in {name, name.partition(":")[0]} for name in names)


def _place(provider: Provider) -> str:
    url = provider.url or usual_url(provider.kind)
    return openai_url(url) if provider.kind == "openai" else url.rstrip("/")


def _check(what: str, setting: str) -> str:
    return f"Check {setting}{what}." if setting else f"Check its {what.lower()} in the file of providers."
