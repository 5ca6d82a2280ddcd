"""Which model answers: the one that is configured, else an Ollama on this machine, else the offline model.

Nothing is asked at start. Ollama is looked for when the first message comes, and again now and then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import cast

from llmos_lite.engines import plugins
from llmos_lite.engines.llm import OFFLINE, ChatRequest, Completion, LanguageModel, OfflineModel, Piece
from llmos_lite.engines.llm_anthropic import AnthropicModel, is_anthropic
from llmos_lite.engines.llm_openai import OpenAIModel
from llmos_lite.errors import Invalid, LlmosError, UpstreamFailed
from llmos_lite.settings import Settings

OLLAMA = "http://127.0.0.1:11434"
PROBE_SECONDS = 0.3
AGAIN_SECONDS = 60.0


async def discover_ollama(url: str = OLLAMA, *, timeout: float = PROBE_SECONDS) -> str | None:  # noqa: ASYNC109 - one bound for connecting and reading
    """Return the first model of the Ollama at `url`, or None when there is none or it has no model.

    Args:
        url: where it would listen.
        timeout: most seconds that the question may take.
    """
    model = OpenAIModel(url, timeout=timeout)
    try:
        async with asyncio.timeout(timeout):
            return await model.first()
    except (LlmosError, TimeoutError):
        return None
    finally:
        await model.close()


class AutoModel:
    """Ollama while it runs, the offline model otherwise.

    The first message waits for the first look, at most `PROBE_SECONDS`; later looks, every `again` seconds, keep nobody
    waiting. An Ollama that went away is an error for the one message that found out.

    Args:
        url: where Ollama would listen.
        model: name of the model; empty takes the first that Ollama has.
        timeout: longest silence of Ollama, in seconds.
        again: seconds between looks.
    """

    def __init__(
        self, url: str = OLLAMA, *, model: str = "", timeout: float = 120.0, again: float = AGAIN_SECONDS
    ) -> None:
        self._url, self._wanted, self._timeout, self._again = url, model, timeout, again
        self._offline = OfflineModel()
        self._ollama: OpenAIModel | None = None
        self._look: asyncio.Task[None] | None = None
        self._next = 0.0
        self._settled = False

    @property
    def name(self) -> str:
        """Name of the model that would answer now, as far as it is known."""
        return self._ollama.name if self._ollama else OFFLINE

    @property
    def tools(self) -> bool:
        """Tell whether the model that would answer now calls tools."""
        return self._ollama is not None

    async def complete(self, request: ChatRequest) -> Completion:
        """Return the whole answer; see `LanguageModel`."""
        model = await self._chosen()
        try:
            return await model.complete(request)
        except UpstreamFailed as error:
            await self._note(error)
            raise

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield the answer as it comes; see `LanguageModel`."""
        model = await self._chosen()
        try:
            async with aclosing(model.stream(request)) as pieces:
                async for piece in pieces:
                    yield piece
        except UpstreamFailed as error:
            await self._note(error)
            raise

    async def close(self) -> None:
        """Stop looking, and close the connections."""
        if self._look is not None:
            self._look.cancel()
        await self._forget()

    async def _chosen(self) -> LanguageModel:
        if self._ollama is not None:
            return self._ollama
        if self._look is None or (self._look.done() and time.monotonic() >= self._next):
            self._next = time.monotonic() + self._again
            self._look = asyncio.create_task(self._find())
        if not self._settled:
            await asyncio.shield(self._look)
        return self._ollama or self._offline

    async def _find(self) -> None:
        found = await discover_ollama(self._url)
        if found:
            self._ollama = OpenAIModel(self._url, model=self._wanted or found, timeout=self._timeout)
        self._settled = True

    async def _note(self, error: UpstreamFailed) -> None:
        """Forget an Ollama that is gone, so that the next message looks again."""
        if error.code == "model.unreachable":
            self._look, self._settled = None, False
            await self._forget()

    async def _forget(self) -> None:
        gone, self._ollama = self._ollama, None
        if gone is not None:
            await gone.close()


def open_model(settings: Settings) -> LanguageModel:
    """Return the model that the settings name; nothing is connected to yet.

    Raises:
        Invalid: `settings.invalid`, for a URL that is none; `settings.provider`, for an unknown provider.
    """
    name, url = settings.llm_provider, settings.llm_url
    key, model, timeout = settings.llm_key, settings.llm_model, settings.llm_timeout
    if name == "offline":
        return OfflineModel()
    if name == "anthropic" or (name == "auto" and is_anthropic(url)):
        return AnthropicModel(url, key=key, model=model, timeout=timeout)
    if name == "openai" or (name == "auto" and url):
        return OpenAIModel(url or "https://api.openai.com/v1", key=key, model=model, timeout=timeout)
    if name == "auto":
        return AutoModel(model=model, timeout=timeout)
    return _plugged(name, settings)


def _plugged(name: str, settings: Settings) -> LanguageModel:
    try:
        factory = cast("Callable[[Settings], LanguageModel]", plugins.find(plugins.MODELS, name))
    except LlmosError as error:
        raise Invalid(
            "settings.provider",
            f"LLMOS_LLM_PROVIDER={name!r} names no provider of models. {error.message}",
            hint="Use auto, offline, openai or anthropic, or install the package that adds it.",
        ) from error
    return factory(settings)
