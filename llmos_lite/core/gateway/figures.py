"""What a request was, in figures: for the metrics, and as a span."""

from __future__ import annotations

import time

from llmos_lite.core.gateway.turn import Turn
from llmos_lite.core.telemetry.model_span import ModelSpan, continued
from llmos_lite.core.traces.trace import Ended
from llmos_lite.engines.upstream import Wire
from llmos_lite.engines.upstreams import Route
from llmos_lite.observability import Served

_PROVIDERS = {Wire.CHAT: "openai", Wire.RESPONSES: "openai", Wire.MESSAGES: "anthropic"}
"""What the conventions call whoever invented a dialect; the server's own name stands beside it."""


def note_try(turn: Turn, route: Route) -> None:
    """Note that a request is sent, and where."""
    turn.route, turn.tries = route, turn.tries + 1


def note_answer(turn: Turn) -> None:
    """Note that the head of an answer is there."""
    turn.first = turn.first or time.perf_counter() - turn.clock
    turn.retries, turn.tries = _retries(turn), 0


def go_on_in_its_trace(turn: Turn) -> None:
    """Let the spans of the model's server stand below ours, when the client has a trace at all."""
    turn.traceparent = turn.steering.passed.get("traceparent", "")
    if turn.traceparent:
        turn.steering.passed["traceparent"] = continued(turn.trace_id, turn.traceparent)


def served_of(turn: Turn, ended: Ended, error: str, seconds: float) -> Served:
    """Return the figures of a request that came to its end."""
    tokens_in, tokens_out = _tokens(turn)
    return Served(
        turn.dialect.wire.value,
        turn.asked.model,
        error or ended.value,
        seconds,
        turn.first,
        tokens_in,
        tokens_out,
        len(turn.skills),
        _retries(turn),
        turn.side,
    )


def span_of(turn: Turn, ended: Ended, error: str, seconds: float) -> ModelSpan:
    """Return the span of a request that came to its end."""
    done, route = turn.completion, turn.route
    tokens_in, tokens_out = _tokens(turn)
    return ModelSpan(
        turn.trace_id,
        turn.traceparent,
        turn.started,
        seconds,
        _PROVIDERS.get(route.wire, "") if route else "",
        route.upstream.name if route else "",
        turn.asked.model,
        done.model if done else "",
        tokens_in,
        tokens_out,
        done.finish if done else "",
        turn.thread.conversation,
        () if turn.side else turn.skills,
        turn.dialect.wire.value,
        ended.value,
        error,
        turn.side,
    )


def _retries(turn: Turn) -> int:
    return turn.retries + max(0, turn.tries - 1)


def _tokens(turn: Turn) -> tuple[int, int]:
    """Return the tokens of all requests behind the answer."""
    done, rounds = turn.completion, turn.rounds
    here = (done.tokens_in, done.tokens_out) if done else (0, 0)
    return (here[0] + rounds.tokens_in, here[1] + rounds.tokens_out) if rounds else here
