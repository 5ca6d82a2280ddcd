"""What is known of conversations whose telemetry comes in pieces: bounded, and changed only by what was stored."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from llmos_lite.core.telemetry.otlp import Span

T = TypeVar("T")

MOST = 20_000
"""Runs, conversations and names that are remembered, each; the ones that were quiet for longest are forgotten."""
WAITING = 2000
"""Spans without words that events may still bring."""
WAITING_BYTES = 32 << 20
"""Of words that wait for their spans."""


class Run(NamedTuple):
    """One trace of OpenTelemetry: the conversation that it belongs to, and the last request of its models."""

    conversation: str
    last: str = ""


class Answered(NamedTuple):
    """A request that was told: by which span, from when to when (milliseconds), and whether with its words."""

    span_id: str
    start: int
    end: int
    worded: bool


class Words(NamedTuple):
    """What was said in a request whose span has not come.

    Args:
        attributes: lists by the attribute that the span would have.
        size: their bytes.
        records: hashes of the records that said it.
    """

    attributes: Mapping[str, list[object]] = {}
    size: int = 0
    records: frozenset[int] = frozenset()


class Talk(NamedTuple):
    """A conversation: its last trace, the hash of its messages so far and how many, its goal, its system prompt.

    `place` is when the last trace began, in nanoseconds.
    """

    last: str = ""
    link: str = ""
    length: int = 0
    goal: str = ""
    system: str = ""
    place: int = 0


class Memory:
    """Remembers."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self.runs: OrderedDict[str, Run] = OrderedDict()
        self.talks: OrderedDict[str, Talk] = OrderedDict()
        self.names: OrderedDict[str, str] = OrderedDict()
        self.answers: OrderedDict[str, Answered] = OrderedDict()
        self.words: OrderedDict[str, Words] = OrderedDict()
        self.wordless: OrderedDict[str, Span] = OrderedDict()
        self._waiting = 0

    def keep(self, draft: Draft) -> None:
        """Take over what a draft found, now that it is stored."""
        _put(self.runs, draft.runs, self._most)
        _put(self.talks, draft.talks, self._most)
        _put(self.names, draft.names, self._most)
        _put(self.answers, draft.told, self._most)
        _put(self.wordless, draft.waiting, min(WAITING, self._most))
        self._hold(draft.held)

    def _hold(self, held: Mapping[str, Words | None]) -> None:
        for key, words in held.items():
            self._waiting -= self.words.pop(key, Words()).size
            if words is not None:
                self.words[key] = words
                self._waiting += words.size
        while self._waiting > WAITING_BYTES or len(self.words) > self._most:
            self._waiting -= self.words.popitem(last=False)[1].size


def _put(kept: OrderedDict[str, T], new: Mapping[str, T], most: int) -> None:
    for key, value in new.items():
        kept[key] = value
        kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)


class Draft:
    """Memory as one request changes it; thrown away when that is not stored.

    Args:
        memory: as it is.
        volume: whose conversations.
    """

    def __init__(self, memory: Memory, volume: str) -> None:
        self._memory, self._volume = memory, volume
        self.runs: dict[str, Run] = {}
        self.talks: dict[str, Talk] = {}
        self.names: dict[str, str] = {}
        self.told: dict[str, Answered] = {}
        self.held: dict[str, Words | None] = {}
        self.waiting: dict[str, Span] = {}

    def run(self, trace_id: str, named: str = "") -> Run:
        """Return what is known of a trace of OpenTelemetry.

        All of it is one conversation, whichever of its spans names that, and in whichever order they come.
        """
        key = f"{self._volume}\0{trace_id}"
        known = self.runs.get(key) or self._memory.runs.get(key)
        name_key = f"{self._volume}\0{named}"
        if known is None:
            other = self.names.get(name_key) or self._memory.names.get(name_key) if named else None
            known = self.runs[key] = Run(other or named or f"otel-{trace_id}")
        if named and named != known.conversation:
            self.names[name_key] = known.conversation
        return known

    def went_on(self, trace_id: str, last: str) -> None:
        """Note the last request of a trace of OpenTelemetry."""
        self.runs[f"{self._volume}\0{trace_id}"] = self.run(trace_id)._replace(last=last)

    def talk(self, conversation: str) -> Talk:
        """Return what is known of a conversation."""
        key = f"{self._volume}\0{conversation}"
        return self.talks.get(key) or self._memory.talks.get(key) or Talk()

    def said(self, conversation: str, talk: Talk) -> None:
        """Note what a conversation is now."""
        self.talks[f"{self._volume}\0{conversation}"] = talk

    def answered(self, trace_id: str, answer: str) -> Answered | None:
        """Return what is known of the request that a provider gave this answer to."""
        key = f"{self._volume}\0{trace_id}\0{answer}"
        return self.told.get(key) or self._memory.answers.get(key)

    def answers(self, trace_id: str, answer: str, told: Answered) -> None:
        """Note that a request was told."""
        self.told[f"{self._volume}\0{trace_id}\0{answer}"] = told

    def words(self, trace_id: str, span_id: str) -> Words | None:
        """Return what was said in the request of a span that has not come."""
        key = f"{self._volume}\0{trace_id}\0{span_id}"
        return self.held[key] if key in self.held else self._memory.words.get(key)

    def hold(self, trace_id: str, span_id: str, words: Words | None) -> None:
        """Keep what was said until the span comes; None when it has come."""
        self.held[f"{self._volume}\0{trace_id}\0{span_id}"] = words

    def wordless(self, trace_id: str, span_id: str) -> Span | None:
        """Return a span of a request that came without words."""
        key = f"{self._volume}\0{trace_id}\0{span_id}"
        return self.waiting.get(key) or self._memory.wordless.get(key)

    def wait(self, span: Span) -> None:
        """Note that a span came without words."""
        self.waiting[f"{self._volume}\0{span.trace_id}\0{span.span_id}"] = span
