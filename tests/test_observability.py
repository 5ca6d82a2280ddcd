from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from llmos_lite.observability import LONGEST_MODEL, MOST_MODELS, Metrics, Seldom, Served, configure_logging


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    logger = logging.getLogger("llmos")
    before = (logger.handlers, logger.propagate, logger.level)
    yield logging.getLogger("llmos.test")
    logger.handlers, logger.propagate = before[0], before[1]
    logger.setLevel(before[2])


def lines(metrics: Metrics) -> dict[str, float]:
    text = metrics.render_metrics().decode()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in text.splitlines() if line[0] != "#")
    }


def test_every_figure_stands_in_the_text_from_the_start() -> None:
    found = lines(Metrics())
    assert found['llmos_chats_total{ended="error"}'] == 0
    assert found["llmos_chat_seconds_count"] == 0
    assert found["llmos_folds_total"] == 0


def test_chats_are_counted_by_end_and_time() -> None:
    metrics = Metrics()
    metrics.served(Served("chat", "gpt-9", "complete", 0.01, skills=2))
    metrics.served(Served("llmos", "gpt-9", "aborted", 500.0, recorded=False))
    found = lines(metrics)
    assert found['llmos_chats_total{ended="complete"}'] == 1
    assert found['llmos_chats_total{ended="aborted"}'] == 1
    assert found['llmos_chat_seconds_bucket{le="0.005"}'] == 0
    assert found['llmos_chat_seconds_bucket{le="0.02"}'] == 1
    assert found['llmos_chat_seconds_bucket{le="120.0"}'] == 1
    assert found['llmos_chat_seconds_bucket{le="+Inf"}'] == found["llmos_chat_seconds_count"] == 2
    assert found["llmos_chat_seconds_sum"] == pytest.approx(500.01)
    assert found["llmos_skills_injected_total"] == 2
    assert found["llmos_chats_unrecorded_total"] == 1


def test_requests_to_models_are_counted_by_dialect_model_and_outcome() -> None:
    metrics = Metrics()
    metrics.served(Served("messages", "claude-x", "complete", 0.3, 0.2, 900, 20, 2, 1))
    metrics.served(Served("messages", "claude-x", "error", 0.01, error="model.rate_limited"))
    metrics.served(Served("chat", "gpt-9", "complete", 40.0, 0.02, 5, 5, side=True))
    found = lines(metrics)
    assert found['llmos_model_requests_total{dialect="messages",model="claude-x",outcome="complete"}'] == 1
    assert found['llmos_model_requests_total{dialect="messages",model="claude-x",outcome="model.rate_limited"}'] == 1
    assert found['llmos_model_tokens_total{direction="in",model="claude-x"}'] == 900
    assert found['llmos_model_retries_total{dialect="messages"}'] == 1
    assert found['llmos_model_side_calls_total{dialect="chat"}'] == 1
    assert found['llmos_model_first_byte_seconds_bucket{dialect="messages",le="0.25"}'] == 1
    assert found['llmos_model_first_byte_seconds_count{dialect="messages"}'] == 1
    assert found['llmos_model_seconds_sum{dialect="chat"}'] == 40.0
    assert found['llmos_model_skills_bucket{dialect="messages",le="2.0"}'] == 2
    assert 'llmos_model_skills_count{dialect="chat"}' not in found


def test_names_that_clients_make_up_are_no_time_series() -> None:
    metrics = Metrics()
    for number in range(MOST_MODELS + 50):
        metrics.served(Served("chat", f"model-{number}", "complete", 0.1))
        metrics.served(Served("chat", f"nobody-has-{number}", "error", 0.1, error="model.unknown"))
    for name in ("", "x\n", "x" * (LONGEST_MODEL + 1), 'a"} 1\nb', "\ud800"):
        metrics.served(Served("chat", name, "complete", 0.1))
    found = [line for line in lines(metrics) if line.startswith("llmos_model_requests")]
    assert len(found) == MOST_MODELS + 2


def test_the_journal_and_its_folder_are_counted() -> None:
    metrics = Metrics()
    metrics.appended()
    metrics.appended(4)
    metrics.folded(5)
    found = lines(metrics)
    assert (found["llmos_journal_appends_total"], found["llmos_folds_total"], found["llmos_folded_events_total"]) == (
        5,
        1,
        5,
    )


def test_instances_do_not_share_figures() -> None:
    one, other = Metrics(), Metrics()
    one.appended()
    assert lines(other)["llmos_journal_appends_total"] == 0


def test_logs_are_one_json_object_a_line(log: logging.Logger) -> None:
    out = io.StringIO()
    configure_logging("info", as_json=True, stream=out)
    log.debug("not shown")
    log.info("request %s", 7, extra={"user": "alice"})
    try:
        int("bad")
    except ValueError:
        log.exception("failed")
    first, second = map(json.loads, out.getvalue().splitlines())
    assert (first["event"], first["level"], first["logger"], first["user"]) == (
        "request 7",
        "info",
        "llmos.test",
        "alice",
    )
    assert first["timestamp"].endswith("Z")
    assert "ValueError: invalid literal" in second["exception"]


def test_logs_for_people_are_plain_text(log: logging.Logger) -> None:
    out = io.StringIO()
    configure_logging("nonsense", stream=out)
    log.info("hello")
    log.debug("not shown")
    assert "hello" in out.getvalue()
    assert "\x1b" not in out.getvalue()
    assert "not shown" not in out.getvalue()


def test_what_is_said_seldom_is_said_once_of_each_subject(caplog: pytest.LogCaptureFixture) -> None:
    for seconds, times in ((60.0, 1), (0.0, 2)):
        caplog.clear()
        seldom = Seldom(logging.getLogger("llmos.seldom"), seconds)
        for subject in ("a", "b", "a"):
            seldom.warn(subject, "%s fails", subject)
        assert [caplog.messages.count(said) for said in ("a fails", "b fails")] == [times, 1]


def test_nothing_heavy_is_loaded_at_start() -> None:
    code = (
        "import sys; from llmos_lite.observability import *; m = Metrics(); configure_logging();"
        "print(sorted({'structlog', 'prometheus_client'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
