"""Spans on their way to a collector: a bounded queue, batches, and nothing that a chat would ever wait for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from urllib.parse import urlsplit

from llmos_lite.core.telemetry.model_span import ModelSpan, encoded
from llmos_lite.engines.http_client import HttpClient, PlainClient
from llmos_lite.engines.http_tls import TlsClient
from llmos_lite.errors import Invalid
from llmos_lite.observability import Metrics

log = logging.getLogger("llmos.telemetry")

MOST = 4096
"""Spans that wait at most; what comes beyond is thrown away and counted."""
LONGEST = 300
"""Characters of what others make up: the names of models, the word for an end, and the client's own `traceparent`."""
BATCH = 512
EVERY = 5.0
"""Seconds between two batches, unless one is full before."""
PATIENCE = 10.0
LAST = 3.0
"""Seconds that the end of the server waits for the last batches."""
PAUSES = (1.0, 5.0, 20.0)
"""Seconds before each further try of a batch that the collector may yet take."""
AGAIN = frozenset({429, 502, 503, 504})
TAKEN = range(200, 300)
_OUT_OF_REACH = (OSError, TimeoutError)


class SpanExporter:
    """Sends spans to a collector by OTLP/HTTP, as JSON.

    Args:
        url: where the collector is, as in `http://127.0.0.1:4318`; `/v1/traces` is added.
        headers: sent along, as `name=value,name=value`.
        service: what this instance is called there.
        metrics: what is counted.
        pauses: between tries, in seconds.

    Raises:
        Invalid: `settings.invalid`.
    """

    def __init__(
        self,
        url: str,
        headers: str = "",
        *,
        service: str = "llmos-lite",
        metrics: Metrics | None = None,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self._client, self._headers = _client(url), _headers(headers)
        self._service, self._metrics, self._pauses = service, metrics or Metrics(), pauses
        self._waiting: list[ModelSpan] = []
        self._full = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._away = False

    def add(self, span: ModelSpan) -> None:
        """Keep a span to send it later; never waits and never fails."""
        if len(self._waiting) >= MOST:
            self._metrics.spans(dropped=1)
            return
        made_up = len(span.asked) + len(span.model) + len(span.finish) + len(span.traceparent)
        self._waiting.append(span if made_up <= LONGEST else _cut(span))
        if len(self._waiting) >= BATCH:
            self._full.set()

    def start(self) -> None:
        """Begin to send in the background."""
        self._task = asyncio.create_task(self._run(), name="spans")

    async def stop(self) -> None:
        """Send what waits, within a moment, and end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST):
                    await self._flush(())
        self._metrics.spans(failed=len(self._waiting))
        self._waiting.clear()
        await self._client.close()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), EVERY)
            self._full.clear()
            try:
                await self._flush(self._pauses)
            except Exception:
                log.exception("spans could not be sent")

    async def _flush(self, pauses: tuple[float, ...]) -> None:
        while self._waiting:
            batch = self._waiting[:BATCH]
            taken = await self._sent(batch, pauses)
            del self._waiting[: len(batch)]
            self._metrics.spans(exported=len(batch) if taken else 0, failed=0 if taken else len(batch))

    async def _sent(self, batch: list[ModelSpan], pauses: tuple[float, ...]) -> bool:
        """Send a batch, with some patience, and tell whether it was taken."""
        body = await asyncio.to_thread(encoded, batch, self._service)
        for pause in (*pauses, None):
            said = await self._post(body)
            if said in TAKEN:
                self._note(away=False, why="")
                return True
            if pause is None or (said and said not in AGAIN):
                break
            await asyncio.sleep(pause)
        self._note(away=True, why=f"it answers {said}" if said else "it does not answer")
        return False

    async def _post(self, body: bytes) -> int:
        """Return the status of the answer; 0 when there is none."""
        try:
            async with asyncio.timeout(PATIENCE):
                async with await self._client.send("POST", "/v1/traces", self._headers, body) as reply:
                    while await reply.chunk():
                        pass
                    return reply.status
        except _OUT_OF_REACH:
            return 0

    def _note(self, *, away: bool, why: str) -> None:
        """Log once that the collector is away, and once that it is back."""
        if away and not self._away:
            log.warning("the collector of LLMOS_OTLP_URL takes no spans: %s; they are thrown away", why)
        elif self._away and not away:
            log.info("the collector of LLMOS_OTLP_URL takes spans again")
        self._away = away


def _cut(span: ModelSpan) -> ModelSpan:
    return span._replace(
        asked=span.asked[:LONGEST],
        model=span.model[:LONGEST],
        finish=span.finish[:LONGEST],
        traceparent=span.traceparent[:LONGEST],
    )


def _client(url: str) -> HttpClient:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise Invalid(
            "settings.invalid",
            "LLMOS_OTLP_URL is not the address of a collector.",
            hint="Set it as in http://127.0.0.1:4318.",
        )
    base = url.rstrip("/").removesuffix("/v1/traces")
    return (
        PlainClient(urlsplit(base), timeout=PATIENCE) if parts.scheme == "http" else TlsClient(base, timeout=PATIENCE)
    )


def _headers(text: str) -> Mapping[str, str]:
    found = {"content-type": "application/json", "user-agent": "llmos-lite"}
    for pair in filter(None, map(str.strip, text.split(","))):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip() or not pair.isascii() or not pair.isprintable():
            raise Invalid(
                "settings.invalid",
                "LLMOS_OTLP_HEADERS cannot be read.",
                hint="Write name=value, with commas between them.",
            )
        found[name.strip().lower()] = value.strip()
    return found
