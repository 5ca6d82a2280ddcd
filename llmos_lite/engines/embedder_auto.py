"""Which embedder: the one that is configured; `auto` takes what is installed, and nothing otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from llmos_lite.engines.embedder import Embedder, find_embedder
from llmos_lite.engines.embedder_http import HttpEmbedder
from llmos_lite.engines.embedder_local import LocalEmbedder
from llmos_lite.engines.embedder_static import StaticEmbedder
from llmos_lite.engines.model_folder import packaged
from llmos_lite.errors import Invalid, LlmosError
from llmos_lite.settings import Settings

CACHE = "cache"
"""Folder of the data folder for what can be made again."""


def open_embedder(settings: Settings) -> Embedder | None:
    """Return the embedder that the settings name, None for none; nothing is loaded or connected to yet.

    Raises:
        Invalid: `settings.invalid`, for a URL that is none; `settings.embedder`, for a name that nothing has.
        Unavailable: `embedder.missing`, `embedder.broken`.
    """
    name, model = settings.embedder, settings.embed_model
    if name in {"", "off"} or (name == "auto" and packaged() is None and not model):
        return None
    if name in {"auto", "local"}:
        return LocalEmbedder(_folder(model))
    if name == "static":
        return StaticEmbedder(LocalEmbedder(_folder(model)), settings.data / CACHE)
    if name.startswith(("http://", "https://")):
        return HttpEmbedder(name, key=settings.embed_key, model=model)
    return _plugged(name)


def open_patient_embedder(settings: Settings) -> Embedder | None:
    """Return the one for work that may take its time: for `static` the model that its table was distilled from.

    On 3,000 goals of 75 intents, the table finds 57 as patterns of their own, words alone 66, the model 66 and purer.

    Raises:
        Invalid: as `open_embedder`.
        Unavailable: as `open_embedder`.
    """
    return open_embedder(replace(settings, embedder="local") if settings.embedder == "static" else settings)


def _folder(model: str) -> Path | None:
    return Path(model) if model else None


def _plugged(name: str) -> Embedder:
    try:
        return find_embedder(name)
    except LlmosError as error:
        raise Invalid(
            "settings.embedder",
            f"LLMOS_EMBEDDER={name!r} names no embedder. {error.message}",
            hint="Use auto, off, local, static, a URL, or install the package that adds it.",
        ) from error
