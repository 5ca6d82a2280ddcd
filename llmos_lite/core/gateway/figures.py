"""What a request was, in figures: for the metrics, and as a span."""

from __future__ import annotations

import time

from msgspec.structs import replace

from llmos_lite.core.gateway.turn import Turn
from llmos_lite.core.telemetry.model_span import ModelSpan, continued
from llmos_lite.core.traces.trace import Ended
from llmos_lite.engines.upstream import Wire
from llmos_lite.observability import Served

_PROVIDERS = {Wire.CHAT: "openai", Wire.RESPONSES: "openai", Wire.MESSAGES: "anthropic"}
"""What the conventions call whoever invented a dialect; the server's own name stands beside it."""


def go_on_in_its_trace(turn: Turn) -> None:
    """Let the spans of the model's server stand below ours, when the client has a trace at all."""
    turn.traceparent = turn.steering.passed.get("traceparent", "")
    if turn.traceparent:
        ours = {"traceparent": continued(turn.trace_id, turn.traceparent)}
        turn.steering = replace(turn.steering, passed=turn.steering.passed | ours)


def served_of(turn: Turn, ended: Ended, error: str) -> Served:
    """Return the figures of a request that came to its end now."""
    rounds = turn.rounds
    return Served(
        turn.dialect.wire,
        turn.asked.model,
        ended,
        time.perf_counter() - turn.clock,
        turn.first,
        turn.tokens_in,
        turn.tokens_out,
        len(turn.thread.skills if rounds is None or rounds.box is None else turn.skills),
        turn.retries + (turn.tries - 1 if turn.tries > 1 else 0),
        turn.side,
        error,
        turn.recorded,
    )


def span_of(turn: Turn, served: Served) -> ModelSpan:
    """Return the span of a request that came to its end."""
    done, route = turn.completion, turn.route
    return ModelSpan(
        turn.trace_id,
        turn.traceparent,
        turn.started,
        served.seconds,
        _PROVIDERS.get(route.wire, "") if route else "",
        route.upstream.name if route else "",
        turn.asked.model,
        done.model if done else "",
        served.tokens_in,
        served.tokens_out,
        done.finish if done else "",
        turn.thread.conversation,
        turn.skills,
        served.dialect,
        served.ended,
        served.error,
        turn.side,
        turn.estimated,
    )
