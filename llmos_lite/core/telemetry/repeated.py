"""One request that is told twice: by an exporter that sends it again, or by two libraries at two levels.

Anthropic's SDK has spans of its own, which stand below those of an instrumentation. Two spans are of one request when
they have the same `gen_ai.response.id`, or one is the other's parent, and the one lies within the time of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from llmos_lite.core.telemetry.memory import Answered, Draft
from llmos_lite.core.telemetry.otlp import Span

WORDS = ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.prompt.0.content", "gen_ai.completion.0.content")
USAGE = "gen_ai.usage."


def once(spans: Iterable[Span], is_request: Callable[[Span], bool]) -> list[Span]:
    """Return each span once, and each request as one span that says what all of its spans say."""
    found: dict[tuple[str, str], Span] = {}
    answers: dict[tuple[str, str], tuple[str, str]] = {}
    for span in sorted(spans, key=lambda span: (span.start, -span.end, span.place)):  # the outer before the inner
        key = (span.trace_id, span.span_id)
        if key in found:
            continue
        answer = (span.trace_id, answer_of(span))
        other = answers.get(answer) if answer[1] else None
        same = found.get(other or (span.trace_id, span.parent_id))
        if same is not None and is_request(span) and is_request(same) and _is_one(span, same):
            found[same.trace_id, same.span_id] = _joined(span, same)
            continue
        found[key] = span
        if is_request(span) and answer[1]:
            answers[answer] = key
    return list(found.values())


def untold(spans: Iterable[Span], is_request: Callable[[Span], bool], draft: Draft) -> Iterator[Span]:
    """Yield what no earlier export told; of a request that it told without words, the words and no tokens again."""
    for span in spans:
        answer = answer_of(span) if is_request(span) else ""
        before = draft.answered(span.trace_id, answer) if answer else None
        if before is None or before.span_id == span.span_id or not _within(span, before):
            if answer:
                draft.answers(
                    span.trace_id, answer, Answered(span.span_id, span.start, span.end, worded=is_worded(span))
                )
            yield span
        elif is_worded(span) and not before.worded:
            attributes = {key: value for key, value in span.attributes.items() if not key.startswith(USAGE)}
            yield span._replace(attributes=attributes)


def answer_of(span: Span) -> str:
    """Return what the provider calls its answer; empty when the span does not say."""
    found = span.attributes.get("gen_ai.response.id")
    return found[:200] if isinstance(found, str) else ""


def _is_one(span: Span, other: Span) -> bool:
    answers = {answer_of(span), answer_of(other)} - {""}
    return len(answers) < 2 and _within(span, other)  # noqa: PLR2004 - both say the same, or one says nothing


def _within(span: Span, other: Span | Answered) -> bool:
    first, last = sorted(((span.start, -span.end), (other.start, -other.end)))
    return first[0] <= last[0] and -last[1] <= -first[1]


def _joined(span: Span, other: Span) -> Span:
    """Return the span that was there, with what the other one says beside it."""
    return other._replace(attributes=span.attributes | other.attributes, error=other.error or span.error)


def is_worded(span: Span) -> bool:
    """Tell whether a span says what was said."""
    return any(span.attributes.get(key) for key in WORDS)
