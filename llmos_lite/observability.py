"""What an operator sees: logs written by structlog, and figures for Prometheus, both an instance's own.

Both libraries are loaded when they are first needed, at the first line and the first scrape, not at start.
"""

from __future__ import annotations

import logging
import sys
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from prometheus_client.core import Metric
    from structlog.stdlib import ProcessorFormatter

CHAT_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds of the buckets of `llmos_chat_seconds`."""

_COUNTERS = {
    "skills_injected": "Skills put into a context.",
    "chats_unrecorded": "Chats kept out of the traces.",
    "journal_appends": "Events made durable in the journal.",
    "folds": "Batches folded from the journal into Git.",
    "folded_events": "Events folded into Git.",
    "telemetry_traces": "Traces made from telemetry that came in.",
    "telemetry_passed_over": "Spans and log records of telemetry that are about nothing that is kept.",
    "telemetry_rejected": "Spans and log records of telemetry that could not be read.",
}


class Metrics:
    """The figures of one instance: plain additions on the hot path, rendered when somebody asks.

    Adding to them is for one thread, the event loop's.
    """

    def __init__(self) -> None:
        self._chats = dict.fromkeys(("complete", "aborted", "error"), 0)
        self._buckets = [0] * (len(CHAT_SECONDS) + 1)
        self._seconds = 0.0
        self._counts = dict.fromkeys(_COUNTERS, 0)

    def chat(self, ended: str, seconds: float, *, skills: int, recorded: bool) -> None:
        """Count one chat.

        Args:
            ended: `complete`, `aborted` or `error`.
            seconds: from the request to the durable end.
            skills: how many were put into the context.
            recorded: whether a trace was kept.
        """
        self._chats[ended] += 1
        self._buckets[bisect_left(CHAT_SECONDS, seconds)] += 1
        self._seconds += seconds
        self._counts["skills_injected"] += skills
        self._counts["chats_unrecorded"] += not recorded

    def appended(self, events: int = 1) -> None:
        """Count events that became durable in the journal."""
        self._counts["journal_appends"] += events

    def folded(self, events: int) -> None:
        """Count one batch that was folded into Git, and its events."""
        self._counts["folds"] += 1
        self._counts["folded_events"] += events

    def telemetry_in(self, *, traces: int, passed_over: int, rejected: int) -> None:
        """Count what one export of another program's telemetry held."""
        self._counts["telemetry_traces"] += traces
        self._counts["telemetry_passed_over"] += passed_over
        self._counts["telemetry_rejected"] += rejected

    def render_metrics(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - not before the first scrape
        from prometheus_client.registry import Collector  # noqa: PLC0415 - as above

        class Ours(Collector):
            def collect(_self) -> Iterator[Metric]:  # noqa: N805 - `self` is the metrics
                return self._collect()

        registry = CollectorRegistry(auto_describe=False)
        registry.register(Ours())
        return generate_latest(registry)

    def _collect(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily  # noqa: PLC0415 - as above

        chats = CounterMetricFamily("llmos_chats", "Chats by how they ended.", labels=["ended"])
        for ended, count in self._chats.items():
            chats.add_metric([ended], count)
        yield chats
        bounds = [*map(str, CHAT_SECONDS), "+Inf"]
        seconds = HistogramMetricFamily("llmos_chat_seconds", "Time from a chat's request to its durable end.")
        buckets = list(zip(bounds, accumulate(self._buckets), strict=True))
        seconds.add_metric([], buckets, sum_value=self._seconds)
        yield seconds
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"llmos_{name}", text, value=self._counts[name])


def configure_logging(level: str = "info", *, as_json: bool = False, stream: TextIO | None = None) -> None:
    """Send the logs under `llmos` to `stream` in one form.

    Args:
        level: `debug`, `info`, `warning` or `error`; anything else is `info`.
        as_json: one JSON object a line instead of text for people.
        stream: standard error by default.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Formatter(as_json=as_json, colors=(stream or sys.stderr).isatty()))
    logger = logging.getLogger("llmos")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.getLevelNamesMapping().get(level.upper(), logging.INFO))


class _Formatter(logging.Formatter):
    """structlog's formatter, made for the first line."""

    def __init__(self, *, as_json: bool, colors: bool) -> None:
        super().__init__()
        self._as_json, self._colors = as_json, colors
        self._made: ProcessorFormatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        """Return one line (and a traceback, as text or inside the JSON)."""
        self._made = self._made or self._make()
        return self._made.format(record)

    def _make(self) -> ProcessorFormatter:
        from structlog import contextvars, dev, processors, stdlib  # noqa: PLC0415 - not before the first line

        stamp = processors.TimeStamper(fmt="iso", utc=True)
        clean = stdlib.ProcessorFormatter.remove_processors_meta
        return stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                contextvars.merge_contextvars,
                stdlib.add_logger_name,
                stdlib.add_log_level,
                stdlib.ExtraAdder(),
                stamp,
            ],
            processors=[clean, processors.format_exc_info, processors.JSONRenderer()]
            if self._as_json
            else [clean, dev.ConsoleRenderer(colors=self._colors, exception_formatter=dev.plain_traceback)],
        )
