"""Embeddings by an API that speaks OpenAI's `/v1/embeddings`: OpenAI, Ollama, vLLM, llama.cpp and most others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

import msgspec

from llmos_lite.engines.embedder import LONGEST, checked
from llmos_lite.engines.llm_http import ModelServer, decoded
from llmos_lite.errors import UpstreamFailed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats: TypeAlias = npt.NDArray[np.float32]

BATCH = 64
BATCH_CHARACTERS = 100_000
"""Of one request; models refuse more than some 300,000 tokens at once, and a batch has to come within the timeout."""
ATTEMPTS = 3
PAUSE = 0.5
"""Seconds before the second attempt, doubled before the third; a server that names a time is waited for."""
LONGEST_PAUSE = 10.0
NAMES = ("LLMOS_EMBEDDER", "LLMOS_EMBED_KEY")
_PASSING = frozenset({"model.unreachable", "model.cut", "model.timeout", "model.failed", "model.rate_limited"})


class _Body(msgspec.Struct):
    model: str
    input: list[str]
    encoding_format: str = "float"


class _Row(msgspec.Struct):
    embedding: list[float]
    index: int = -1


class _Rows(msgspec.Struct):
    data: list[_Row]


class _Listed(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Listed] | None = None


_encode = msgspec.json.Encoder().encode
_rows = msgspec.json.Decoder(_Rows)
_list = msgspec.json.Decoder(_List)


class HttpEmbedder:
    """A model behind HTTP. Requests run on an event loop of their own, in one thread that is started with the first.

    Args:
        base_url: as in `http://127.0.0.1:11434/v1`; a bare host gets `/v1`.
        key: sent as a bearer token when not empty; never logged.
        model: name; empty takes the first that the API lists and that has `embed` in its name, else the first.
        timeout: longest silence, in seconds.
        pause: seconds before the second attempt.

    Raises:
        Invalid: `settings.invalid`, when the URL is none.
    """

    quick = False
    latin = False
    sentences = True

    def __init__(
        self, base_url: str, *, key: str = "", model: str = "", timeout: float = 30.0, pause: float = PAUSE
    ) -> None:
        base_url = base_url.rstrip("/") + ("" if urlsplit(base_url).path.strip("/") else "/v1")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._server = ModelServer(base_url, headers=headers, secret=key, timeout=timeout, named=NAMES, name="embedder")
        self._model, self._pause = model, pause
        self.name = f"{self._server.host}:{model}"
        self.dimension = 0
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return one row for each text; see `Embedder`. What passes, as a busy server, is tried three times."""
        import numpy as np  # noqa: PLC0415 - slow to load, and not every server needs it at its start

        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        work = asyncio.run_coroutine_threadsafe(self._embed(texts), self._running())
        rows = checked(work.result(), len(texts), self.dimension)
        self.dimension = rows.shape[1]
        return rows

    def close(self) -> None:
        """Close the connections and end the thread; an `embed` under way fails."""
        with self._starting:
            loop, self._loop = self._loop, None
        if loop is not None:
            asyncio.run_coroutine_threadsafe(self._server.close(), loop).result()
            loop.call_soon_threadsafe(_end, loop)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_run, args=(self._loop,), name="embedder", daemon=True).start()
            return self._loop

    async def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        found: list[list[float]] = []
        for batch in _batches(texts):
            found += await self._patiently(batch)
        return found

    async def _patiently(self, batch: list[str]) -> list[list[float]]:
        pause = self._pause
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._once(batch)
            except UpstreamFailed as error:
                if error.code not in _PASSING:
                    raise
                await asyncio.sleep(min(max(pause, _asked_pause(error)), LONGEST_PAUSE))
                pause *= 2
        return await self._once(batch)

    async def _once(self, batch: list[str]) -> list[list[float]]:
        self._model = self._model or await self._first()
        async with await self._server.request("POST", "/embeddings", _encode(_Body(self._model, batch))) as answer:
            rows = decoded(_rows, await answer.read()).data
        if all(row.index >= 0 for row in rows):
            rows.sort(key=lambda row: row.index)
        if len(rows) != len(batch):
            raise UpstreamFailed("embedder.garbage", f"The embedder answered {len(rows)} rows for {len(batch)} texts.")
        return [row.embedding for row in rows]

    async def _first(self) -> str:
        async with await self._server.request("GET", "/models") as answer:
            names = [item.id for item in decoded(_list, await answer.read()).data or ()]
        named = [name for name in names if "embed" in name.lower()] or names
        if not named:
            raise UpstreamFailed("model.rejected", "The embedder's API lists no model.", hint="Set LLMOS_EMBED_MODEL.")
        return named[0]


def _asked_pause(error: UpstreamFailed) -> float:
    """Return the seconds that a server asked us to wait."""
    asked = error.detail.get("retry_after")
    return float(asked) if isinstance(asked, (int, float)) else 0.0


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield lists of texts that fit into a request; an empty text becomes a space, since most servers refuse it."""
    batch: list[str] = []
    size = 0
    for text in texts:
        cut = text[:LONGEST] or " "
        if batch and (len(batch) == BATCH or size + len(cut) > BATCH_CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(cut)
        size += len(cut)
    yield batch


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.close()


def _end(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.call_soon(loop.stop)
