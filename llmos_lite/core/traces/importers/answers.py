"""The answers of a session's log: each is gathered from several lines and its tools' results, and becomes a trace."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from llmos_lite.core.traces.importers.base import Json, Skipped, Source, Target, clean
from llmos_lite.core.traces.importers.skill_use import exposures, named, used
from llmos_lite.core.traces.trace import Ended, Message, ToolCall, Trace

OPEN = 64
"""Answers that may still get lines; the oldest leave."""
HOUR = 3_600_000
"""Milliseconds; an answer that took longer than that waited for a person."""


@dataclass(slots=True)
class Answer:
    """One answer of the model, as far as it has come.

    Args:
        trace_id: of its trace.
        conversation: that it stands in.
        parent: trace of the answer before.
        time: when it began, in milliseconds since the epoch.
        goal: what the person wanted.
        asked: when that was asked, or the last result came.
        messages: what was said since the answer before.
        model: what answered.
        skills: names of what was used.
        copied: whether it was given in another session, of which this one began as a copy.
        forked_from: conversation of that session, in the first answer that this one gave itself.
    """

    trace_id: str
    conversation: str
    parent: str
    time: int
    goal: str
    asked: int
    messages: tuple[Message, ...]
    model: str
    skills: list[str]
    texts: list[str] = field(default_factory=list)
    calls: dict[str, ToolCall] = field(default_factory=dict)
    tokens: tuple[int, int] = (0, 0)
    ended: Ended = Ended.COMPLETE
    error: str = ""
    copied: bool = False
    forked_from: str = ""

    def fail(self, error: str) -> None:
        """Note that the model failed."""
        self.ended, self.error = Ended.ERROR, error[:1000]


class Answers:
    """The answers that may still get lines, the oldest first.

    Args:
        target: whose work it was.
        source: what their traces say that they come from.
    """

    def __init__(self, target: Target, source: str) -> None:
        self._target, self._source = target, source
        self.open: OrderedDict[str, Answer] = OrderedDict()
        self._by_call: dict[str, Answer] = {}

    def called(self, answer: Answer, call: ToolCall) -> bool:
        """Note a call of a tool; False when it is known already."""
        self._by_call[call.id] = answer
        return answer.calls.setdefault(call.id, call) is call

    def asking(self, call_id: str) -> Answer | None:
        """Return the answer that a call is of."""
        return self._by_call.get(call_id)

    def drop(self, answer: Answer) -> None:
        """Let go of an answer that another log tells; what follows it hangs below the one before."""
        for key in [key for key, one in self.open.items() if one is answer]:
            del self.open[key]
        for call_id in answer.calls:
            self._by_call.pop(call_id, None)
        answer.trace_id = answer.parent

    def close(self) -> Trace:
        """Return the oldest answer as a trace and forget it."""
        _, answer = self.open.popitem(last=False)
        for call_id in answer.calls:
            self._by_call.pop(call_id, None)
        return self._trace(answer)

    def _trace(self, answer: Answer) -> Trace:
        known = named(self._target, answer.skills)
        text = clean("\n\n".join(filter(None, answer.texts)))
        waited = answer.time - answer.asked
        return Trace(
            id=answer.trace_id,
            actor=self._target.actor,
            volume=self._target.volume,
            conversation=answer.conversation,
            parent=answer.parent,
            time=answer.time,
            goal=answer.goal,
            messages=(*answer.messages, *([Message("assistant", text)] if text else [])),
            tool_calls=tuple(answer.calls.values()),
            model=answer.model,
            tokens_in=answer.tokens[0],
            tokens_out=answer.tokens[1],
            latency_ms=waited if 0 < waited < HOUR else 0,
            ended=answer.ended,
            error=answer.error,
            skills_used=used(known),
            exposures=exposures(known),
            source=self._source,
            forked_from=answer.forked_from,
        )


def with_result(call: ToolCall, result: str, *, failed: bool) -> ToolCall:
    """Return a call with what it gave."""
    return ToolCall(call.name, call.arguments, result, failed, call.id)


def traces_of(source: Source, answers: Answers, add: Callable[[Json], Skipped | None]) -> Iterator[Trace | Skipped]:
    """Yield one trace for each answer, in the order in which they began; `add` takes a line, or says why not."""
    for record in source.records():
        skipped = record if isinstance(record, Skipped) else add(record)
        if skipped is not None:
            yield skipped
        while len(answers.open) > OPEN:
            yield answers.close()
    while answers.open:
        yield answers.close()
