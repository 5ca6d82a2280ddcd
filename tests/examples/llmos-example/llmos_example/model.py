"""A model: `LLMOS_LLM_PROVIDER=parrot` answers every message with the message."""

import re
from collections.abc import AsyncGenerator

from llmos_lite.engines.llm import ChatRequest, Completion, Delta, Piece
from llmos_lite.settings import Settings


class Parrot:
    """Says again what it was told; `prefix` comes first."""

    name = "parrot"

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    async def complete(self, request: ChatRequest) -> Completion:
        """Return the whole answer."""
        return Completion(text=self.prefix + request.messages[-1]["content"], model=self.name)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield the answer word by word, then once as a whole."""
        completion = await self.complete(request)
        for word in re.findall(r"\s*\S+", completion.text):
            yield Delta(word)
        yield completion

    async def close(self) -> None:
        """Do nothing: there is no connection."""


def open_parrot(settings: Settings) -> Parrot:
    """Return the model; the entry point names this function, and llmos calls it with its settings."""
    return Parrot(prefix=settings.llm_model and f"{settings.llm_model}: ")
