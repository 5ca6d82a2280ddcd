"""What an export holds, and the traces that it gives; loaded with the first one, a start need not wait for it."""

from __future__ import annotations

from collections.abc import Sequence

from llmos_lite.core.telemetry.events import EventReader, kind_of
from llmos_lite.core.telemetry.memory import Draft
from llmos_lite.core.telemetry.otlp import Received, read_request, unpacked
from llmos_lite.core.telemetry.said import is_said, late_words
from llmos_lite.core.telemetry.spans import SpanReader, is_known
from llmos_lite.core.traces.importers.base import Target
from llmos_lite.core.traces.trace import Trace


def read(body: bytes, message: str, *, as_json: bool, encoding: str) -> Received:
    """Return what an export holds; see `otlp.read_request`."""
    return read_request(unpacked(body, encoding), message, as_json=as_json)


def known(received: Received) -> int:
    """Return of how many spans and log records something is made."""
    logs = sum(bool(kind_of(record)) or is_said(record) for record in received.logs)
    return sum(map(is_known, received.spans)) + logs


def traces(received: Received, target: Target, draft: Draft) -> Sequence[Trace]:
    """Return the traces of an export."""
    spans = SpanReader(target, draft).traces([*received.spans, *late_words(received.logs, draft)])
    return [*spans, *EventReader(target, draft).traces(received.logs)]
