"""What an operator sees: logs written by structlog, and figures for Prometheus, both an instance's own.

Both libraries are loaded when they are first needed, at the first line and the first scrape, not at start.
"""

from __future__ import annotations

import logging
import sys
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import add
from typing import TYPE_CHECKING, TextIO

import msgspec

if TYPE_CHECKING:
    from prometheus_client.core import Metric
    from structlog.stdlib import ProcessorFormatter

CHAT_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds of the buckets of `llmos_chat_seconds`."""

FIRST_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of `llmos_model_first_byte_seconds`."""
SKILLS = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0)
"""Upper bounds of the buckets of `llmos_model_skills`."""
MOST_MODELS = 100
"""Models that have figures of their own; clients write these names, and each is a time series. The rest is `other`."""
LONGEST_MODEL = 100
OTHER = "other"


class Served(msgspec.Struct, frozen=True, gc=False):
    """One request to a model that came to its end.

    Args:
        dialect: that the client speaks: `chat`, `responses`, `messages`, or `llmos` for `POST /chat`.
        model: as the client calls it.
        ended: `complete`, `aborted` or `error`.
        seconds: from the request to the durable end.
        first: from the request to the head of the model's answer; 0 when there was none, or nobody looked.
        tokens_in: as the provider counts them, or by length.
        tokens_out: likewise.
        skills: how many were in the context.
        retries: further tries that it took.
        side: whether the client asked for itself: a title, tags, a count.
        error: code of what went wrong; empty for nothing.
        recorded: whether a trace was kept.
    """

    dialect: str
    model: str
    ended: str
    seconds: float
    first: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    skills: int = 0
    retries: int = 0
    side: bool = False
    error: str = ""
    recorded: bool = True


class Seldom:
    """Says in a log what would be said with every request: of each subject once in a while.

    Args:
        log: where it is said.
        seconds: between one time and the next.
    """

    def __init__(self, log: logging.Logger, seconds: float = 60.0) -> None:
        self._log, self._seconds = log, seconds
        self._told: dict[str, float] = {}

    def warn(self, subject: str, text: str, *of: object) -> None:
        """Say it, unless it was said of the subject a while ago; there are few subjects."""
        now = time.monotonic()
        if now - self._told.get(subject, -self._seconds) >= self._seconds:
            self._told[subject] = now
            self._log.warning(text, *of)


class _Histogram:
    """How many values lie up to each bound, and the sum of all."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds, self.counts, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    def buckets(self) -> list[tuple[str, float]]:
        return list(zip([*map(str, self.bounds), "+Inf"], accumulate(self.counts), strict=True))


class _Dialect:
    """What was asked in one dialect."""

    __slots__ = ("first", "retries", "seconds", "side", "skills")

    def __init__(self) -> None:
        self.seconds, self.first = _Histogram(CHAT_SECONDS), _Histogram(FIRST_SECONDS)
        self.skills = _Histogram(SKILLS)
        self.retries = self.side = 0


_COUNTERS = {
    "skills_injected": "Skills put into a context.",
    "chats_unrecorded": "Chats kept out of the traces.",
    "chats_unstored": "Chats whose trace could not be stored.",
    "journal_appends": "Events made durable in the journal.",
    "folds": "Batches folded from the journal into Git.",
    "folded_events": "Events folded into Git.",
    "spans_exported": "Spans of ours that the collector took.",
    "spans_dropped": "Spans of ours that were thrown away since too many waited.",
    "spans_failed": "Spans of ours that the collector did not take.",
    "telemetry_traces": "Traces made from telemetry that came in.",
    "telemetry_passed_over": "Spans and log records of telemetry that are about nothing that is kept.",
    "telemetry_rejected": "Spans and log records of telemetry that could not be read.",
}


class Metrics:
    """The figures of one instance: plain additions on the hot path, rendered when somebody asks.

    Adding to them is for one thread, the event loop's.
    """

    def __init__(self) -> None:
        self.damaged: Callable[[], int] = int
        """Says how many events and stretches of the journal could not be read."""
        self._chats = dict.fromkeys(("complete", "aborted", "error"), 0)
        self._counts = dict.fromkeys(_COUNTERS, 0)
        self._models: set[str] = set()
        self._requests: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self._tokens: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        self._dialects: defaultdict[str, _Dialect] = defaultdict(_Dialect)

    def served(self, one: Served) -> None:
        """Count one request to a model."""
        model, seconds, first = one.model, one.seconds, one.first
        if model not in self._models:
            model = self._model(one)
        self._chats[one.ended] += 1
        if one.skills:
            self._counts["skills_injected"] += one.skills
        if not one.recorded:
            self._counts["chats_unrecorded"] += 1
        self._requests[one.dialect, model, one.error or one.ended] += 1
        if one.tokens_in or one.tokens_out:
            tokens = self._tokens[model]
            tokens[0] += one.tokens_in
            tokens[1] += one.tokens_out
        dialect = self._dialects[one.dialect]
        dialect.retries += one.retries
        dialect.seconds.counts[bisect_left(CHAT_SECONDS, seconds)] += 1
        dialect.seconds.sum += seconds
        if one.side:
            dialect.side += 1
        else:
            dialect.skills.counts[bisect_left(SKILLS, one.skills)] += 1
            dialect.skills.sum += one.skills
        if first:
            dialect.first.counts[bisect_left(FIRST_SECONDS, first)] += 1
            dialect.first.sum += first

    def used_later(self, model: str, tokens_in: int, tokens_out: int) -> None:
        """Count tokens that a request turned out to use after it was counted."""
        tokens = self._tokens[model if model in self._models else OTHER]
        tokens[0] += tokens_in
        tokens[1] += tokens_out

    def unstored(self, one: Served) -> None:
        """Count one request whose trace could not be stored."""
        self.served(one)
        self._counts["chats_unstored"] += 1

    def _model(self, one: Served) -> str:
        """Return the label of a model that has none yet; a name that no server answered to gets none."""
        known = one.ended == "complete" and len(self._models) < MOST_MODELS
        if not known or not one.model.isprintable() or not 0 < len(one.model) <= LONGEST_MODEL:
            return OTHER
        self._models.add(one.model)
        return one.model

    def spans(self, *, exported: int = 0, dropped: int = 0, failed: int = 0) -> None:
        """Count spans of our own: sent, not taken since the queue was full, and given up."""
        self._counts["spans_exported"] += exported
        self._counts["spans_dropped"] += dropped
        self._counts["spans_failed"] += failed

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
        seconds = HistogramMetricFamily("llmos_chat_seconds", "Time from a chat's request to its durable end.")
        all_of_them = _Histogram(CHAT_SECONDS)
        for dialect in self._dialects.values():
            all_of_them.counts = [*map(add, all_of_them.counts, dialect.seconds.counts)]
            all_of_them.sum += dialect.seconds.sum
        seconds.add_metric([], all_of_them.buckets(), sum_value=all_of_them.sum)
        yield seconds
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"llmos_{name}", text, value=self._counts[name])
        unread = "Events and stretches of the journal that could not be read since the start."
        yield CounterMetricFamily("llmos_journal_damaged", unread, value=self.damaged())
        yield from self._collect_models()

    def _collect_models(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415 - as above

        requests = CounterMetricFamily(
            "llmos_model_requests", "Requests to models.", labels=["dialect", "model", "outcome"]
        )
        for labels, count in self._requests.items():
            requests.add_metric(labels, count)
        tokens = CounterMetricFamily("llmos_model_tokens", "Tokens of models.", labels=["model", "direction"])
        for model, both in self._tokens.items():
            for direction, count in zip(("in", "out"), both, strict=True):
                tokens.add_metric([model, direction], count)
        retries = CounterMetricFamily("llmos_model_retries", "Further tries of requests.", labels=["dialect"])
        side = CounterMetricFamily("llmos_model_side_calls", "Requests of clients for themselves.", labels=["dialect"])
        for name, dialect in self._dialects.items():
            if dialect.retries:
                retries.add_metric([name], dialect.retries)
            if dialect.side:
                side.add_metric([name], dialect.side)
        yield from (requests, tokens, retries, side)
        every = self._dialects.items()
        yield _family(
            "llmos_model_seconds",
            "Time from a request to its durable end.",
            {name: dialect.seconds for name, dialect in every},
        )
        yield _family(
            "llmos_model_first_byte_seconds",
            "Time from a request to the model's first byte.",
            {name: dialect.first for name, dialect in every},
        )
        yield _family(
            "llmos_model_skills",
            "Skills in the context of a request.",
            {name: dialect.skills for name, dialect in every},
        )


def _family(name: str, text: str, histograms: Mapping[str, _Histogram]) -> Metric:
    """Return the histograms of dialects, but for those without a value."""
    from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415 - not before the first scrape

    family = HistogramMetricFamily(name, text, labels=["dialect"])
    for label, histogram in histograms.items():
        if any(histogram.counts):
            family.add_metric([label], histogram.buckets(), sum_value=histogram.sum)
    return family


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
