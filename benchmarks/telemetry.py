"""What telemetry costs: CPU of the figures and the span of a request, of reading OTLP, and of a session's log.

The reference of a span's JSON is what msgspec takes to decode and encode it once, objects included.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks import Row
from llmos_lite.core.telemetry.model_span import ModelSpan, encoded
from llmos_lite.core.telemetry.otlp import read_request
from llmos_lite.core.traces.importers import Source, Target
from llmos_lite.core.traces.importers.codex import Codex
from llmos_lite.core.traces.trace import SkillUse, Trace, make_ulid
from llmos_lite.observability import Metrics, Served

STARTED = 1_790_000_000_000
SPANS, TURNS, ROUNDS = 512, 2000, 7


def _cpu(work: Callable[[], object], count: int) -> float:
    """Return the median CPU of one of `count` things, in microseconds."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        found.append((time.process_time() - began) / count * 1e6)
    return statistics.median(found)


def _span(number: int) -> ModelSpan:
    skills = [SkillUse(f"skill-{one}", "A skill", "user:alice", "a" * 40, 1.0) for one in range(3)]
    trace_id = make_ulid(STARTED + number, str(number))
    facts = ("openai", "main", "gpt-9", "gpt-9-2026", 900, 120, "stop", "conversation", skills, "chat", "complete")
    return ModelSpan(trace_id, "", STARTED + number, 1.5, *facts)


def _served() -> Served:
    return Served("chat", "gpt-9", "complete", 1.5, 0.2, 900, 120, 3)


def _session(path: Path) -> None:
    """Write a session of Codex: a question, a call, its result and an answer for each turn."""

    def item(number: int, kind: str, **more: object) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(STARTED / 1000 + number))
        return json.dumps({"timestamp": at, "type": "response_item", "payload": {"type": kind} | more})

    with path.open("w") as file:
        for turn in range(TURNS):
            place, text = 4 * turn, "word " * 40
            question, answer = ([{"type": kind, "text": text}] for kind in ("input_text", "output_text"))
            print(item(place, "message", role="user", content=question), file=file)
            print(item(place + 1, "function_call", name="exec", arguments="{}", call_id=f"c{turn}"), file=file)
            print(item(place + 2, "function_call_output", call_id=f"c{turn}", output=text * 5), file=file)
            print(item(place + 3, "message", role="assistant", content=answer), file=file)


def run() -> list[Row]:
    """Measure each alone, on made-up spans and a made-up session."""
    metrics, spans = Metrics(), [_span(number) for number in range(SPANS)]
    figures = _cpu(lambda: [metrics.served(_served()) for _ in spans], SPANS)
    kept = _cpu(lambda: [_span(number) for number in range(SPANS)], SPANS)
    body = encoded(spans, "bench")
    made = _cpu(lambda: encoded(spans, "bench"), SPANS)
    objects = json.loads(body)
    plain = _cpu(lambda: msgspec.json.encode(msgspec.json.decode(msgspec.json.encode(objects))), SPANS)
    read = _cpu(lambda: read_request(body, "Traces", as_json=True), SPANS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rollout.jsonl")
        _session(path)
        log = _cpu(lambda: _traces(path), 2 * TURNS)
    return [
        Row("figures of a request", figures, unit="us CPU", target="value <= 5"),
        Row("facts of a span, kept in the request", kept, unit="us CPU", target="value <= 20"),
        Row("span in its batch / its JSON decoded and encoded once", made, plain, unit="us CPU", target="value <= 40"),
        Row("span of OTLP, read", read, unit="us CPU"),
        Row("trace of a Codex session, read", log, unit="us CPU"),
    ]


def _traces(path: Path) -> list[Trace]:
    target = Target("alice", "user:alice")
    return [one for one in Codex().read(Source(path), target) if isinstance(one, Trace)]
