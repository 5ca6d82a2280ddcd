"""Spans of our own: what is in them, where they stand, and a collector that is slow, away or never there."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.telemetry import exporter
from llmos_lite.core.telemetry.exporter import SpanExporter
from llmos_lite.core.telemetry.memory import Draft, Memory
from llmos_lite.core.telemetry.model_span import ModelSpan, context_of, continued, encoded
from llmos_lite.core.telemetry.otlp import read_request
from llmos_lite.core.telemetry.spans import SpanReader
from llmos_lite.core.traces.importers.base import Target
from llmos_lite.core.traces.trace import SkillUse, make_ulid
from llmos_lite.errors import Invalid
from llmos_lite.observability import Metrics
from tests.finding import finding

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
GIT = SkillUse("git-workflow", "Git workflow", "user:alice", "a" * 40, 1.0)
STARTED = 1_790_000_000_000


def span(**more: object) -> ModelSpan:
    made = ModelSpan(
        trace_id=make_ulid(STARTED, "x"),
        traceparent="",
        started=STARTED,
        seconds=1.5,
        provider="openai",
        server="main",
        asked="gpt-9",
        model="gpt-9-2026",
        tokens_in=100,
        tokens_out=20,
        finish="stop",
        conversation="c1",
        skills=(GIT,),
        dialect="chat",
        ended="complete",
    )
    return made._replace(**more)  # type: ignore[arg-type]


def sent(*spans: ModelSpan) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(encoded(spans, "here"))["resourceSpans"][0]["scopeSpans"][0]["spans"]
    return found


def test_a_span_has_the_attributes_of_the_conventions_and_no_content() -> None:
    body = encoded([span()], "here")
    [read] = read_request(body, "Traces", as_json=True).spans
    assert read.name == "chat gpt-9-2026"
    assert (read.start, read.end) == (STARTED, STARTED + 1500)
    assert read.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-9",
        "gen_ai.response.model": "gpt-9-2026",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.conversation.id": "c1",
        "gen_ai.skill.name": ["git-workflow"],
        "gen_ai.skill.source.uri": ["llmos:user:alice/git-workflow@" + "a" * 40],
        "llmos.trace.id": make_ulid(STARTED, "x"),
        "llmos.dialect": "chat",
        "llmos.server": "main",
        "llmos.ended": "complete",
    }
    resource = json.loads(body)["resourceSpans"][0]["resource"]["attributes"]
    assert resource[0] == {"key": "service.name", "value": {"stringValue": "here"}}


def test_a_span_says_that_its_tokens_are_estimated() -> None:
    [made] = read_request(encoded([span(estimated=True)], "here"), "Traces", as_json=True).spans
    assert made.attributes["llmos.usage.estimated"] is True


def test_another_instance_reads_our_spans_with_the_exact_versions() -> None:
    spans = read_request(encoded([span()], "here"), "Traces", as_json=True).spans
    newer = SkillUse("git-workflow", "Git workflow", "user:alice", "b" * 40, 1.0)
    reader = SpanReader(Target("alice", "user:alice", finding(newer)), Draft(Memory(), "user:alice"))
    [trace] = reader.traces(spans)
    assert [one.version for one in trace.exposures] == ["a" * 40]


def test_an_error_is_one() -> None:
    [made] = sent(span(error="model.cut", ended="error", model="", finish="", skills=()))
    assert made["status"] == {"code": 2, "message": "model.cut"}
    assert made["name"] == "chat gpt-9"


def test_a_clients_trace_is_gone_on_with() -> None:
    [made] = sent(span(traceparent=PARENT))
    assert (made["traceId"], made["parentSpanId"]) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    further = continued(span().trace_id, PARENT)
    assert further == f"00-{made['traceId']}-{made['spanId']}-01"
    assert sent(span(traceparent=PARENT[:-1] + "0")) == []


def test_without_one_it_is_a_trace_of_its_own_with_our_id() -> None:
    [made] = sent(span())
    assert "parentSpanId" not in made
    assert int(made["traceId"], 16) >> 80 == STARTED
    assert len(made["traceId"]) == 32


@given(
    st.text(max_size=80)
    | st.sampled_from(
        [PARENT, PARENT.upper(), "ff" + PARENT[2:], PARENT.replace("4", "0"), "00-" + "0" * 32 + PARENT[35:]]
    )
)
def test_a_header_that_is_none_begins_a_trace(header: str) -> None:
    place = context_of(make_ulid(STARTED), header)
    assert len(place.trace) == 32
    assert len(place.span) == 16
    assert place.parent in {"", PARENT[36:52], PARENT.replace("4", "0")[36:52]}
    assert isinstance(continued(make_ulid(STARTED), header), str)


class Collector:
    """Takes spans over HTTP, and answers as it is told."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.heads: list[bytes] = []
        self.statuses: list[int] = []
        self.hangs = False
        self.url = ""

    @property
    def spans(self) -> list[str]:
        return [one.trace_id for body in self.bodies for one in read_request(body, "Traces", as_json=True).spans]

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            size = next(int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: "))
            body = await reader.readexactly(size)
            if self.hangs:
                await asyncio.Event().wait()
            status = self.statuses.pop(0) if self.statuses else 200
            if status == 200:
                self.bodies.append(body)
                self.heads.append(head)
            writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\n{{}}".encode())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Collector]:
        tasks: set[asyncio.Task[None]] = set()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(cast("asyncio.Task[None]", asyncio.current_task()))
            try:
                with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                    await self._answer(reader, writer)
            finally:
                writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector().running() as running:
        yield running


def count(metrics: Metrics, what: str) -> int:
    text = metrics.render_metrics().decode()
    return int(
        float(next(line for line in text.splitlines() if line.startswith(f"llmos_spans_{what}_total ")).split()[1])
    )


async def until(said: Any) -> None:  # noqa: ANN401
    async with asyncio.timeout(5):
        while not said():  # noqa: ASYNC110 - what is waited for is at the other end of a socket
            await asyncio.sleep(0.005)


async def test_what_waits_is_sent_at_the_end(collector: Collector) -> None:
    metrics = Metrics()
    sending = SpanExporter(collector.url + "/v1/traces", "Authorization=Bearer k=, x-team=sre", metrics=metrics)
    sending.start()
    for number in range(exporter.BATCH + 3):
        sending.add(span(trace_id=make_ulid(STARTED, f"{number}")))
    await sending.stop()
    assert len(set(collector.spans)) == exporter.BATCH + 3
    assert count(metrics, "exported") == exporter.BATCH + 3
    assert b"POST /v1/traces HTTP/1.1" in collector.heads[0]
    assert b"authorization: Bearer k=\r\nx-team: sre" in collector.heads[0]


async def test_a_full_batch_goes_at_once(collector: Collector) -> None:
    sending = SpanExporter(collector.url)
    sending.start()
    for number in range(exporter.BATCH):
        sending.add(span(trace_id=make_ulid(STARTED, f"{number}")))
    await until(lambda: len(collector.spans) == exporter.BATCH)
    await sending.stop()


async def test_a_collector_that_is_busy_is_tried_again(collector: Collector) -> None:
    metrics = Metrics()
    collector.statuses = [503, 429]
    sending = SpanExporter(collector.url, metrics=metrics, pauses=(0.0, 0.0, 0.0))
    sending.add(span())
    await sending._flush(sending._pauses)
    assert (len(collector.spans), count(metrics, "exported")) == (1, 1)
    collector.statuses = [400]
    sending.add(span())
    await sending._flush(sending._pauses)
    assert (count(metrics, "failed"), collector.statuses) == (1, [])
    await sending.stop()


async def test_what_others_make_up_fills_no_memory_while_the_collector_is_away() -> None:
    waiting, long = SpanExporter("http://127.0.0.1:9"), "x" * 1_000_000
    waiting.add(span(asked=long, model=long, finish=long, traceparent=long))
    waiting.add(span(traceparent=PARENT))
    first, second = waiting._waiting
    assert max(map(len, (first.asked, first.model, first.finish, first.traceparent))) == exporter.LONGEST
    assert second == span(traceparent=PARENT)
    assert sent(first)[0].keys() == sent(span())[0].keys()


async def test_a_collector_that_is_away_costs_spans_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    sending = SpanExporter("http://127.0.0.1:9", metrics=metrics, pauses=(0.0,))
    for _ in range(exporter.MOST + 7):
        sending.add(span())
    assert count(metrics, "dropped") == 7
    with caplog.at_level("WARNING", "llmos.telemetry"):
        await sending._flush(sending._pauses)
    assert count(metrics, "failed") == exporter.MOST
    assert len(caplog.records) == 1
    await sending.stop()


async def test_a_collector_that_hangs_holds_no_server_up(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "LAST", 0.05)
    collector.hangs = True
    metrics = Metrics()
    sending = SpanExporter(collector.url, metrics=metrics)
    sending.start()
    sending.add(span())
    await asyncio.wait_for(sending.stop(), 2)
    assert count(metrics, "failed") == 1


@pytest.mark.parametrize("url", ["localhost:4318", "ftp://x", "http://", "http://x/?a=b"])
def test_an_address_that_is_none_is_said(url: str) -> None:
    with pytest.raises(Invalid):
        SpanExporter(url)


@pytest.mark.parametrize("headers", ["x", "=y", "a=b\r\nc: d", "ä=b"])
def test_headers_that_are_none_are_said(headers: str) -> None:
    with pytest.raises(Invalid):
        SpanExporter("http://127.0.0.1:9", headers)
