"""From traces to what evolution works with: conversations by their rows, accounts by their text."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from llmos_lite.core.evolution.drafts import Account
from llmos_lite.core.evolution.features import content_words, stem
from llmos_lite.core.evolution.patterns import Conversation
from llmos_lite.core.evolution.success import is_correction, judge, was_answered
from llmos_lite.core.traces.state import TraceState
from llmos_lite.core.traces.trace import Trace
from llmos_lite.core.traces.view import ConversationSummary, conversations_of
from llmos_lite.engines.llm import OFFLINE
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.catalog_traces import Location
from llmos_lite.volumes.access import VolumeRef

TURNS_READ = 6
"""Turns read from the beginning of a conversation, and as many from its end."""
ANSWER_LENGTH = 8_000
MOST_CALLS = 200


class TraceSource(Protocol):
    """Where traces are read from; `core.traces.reader.TraceReader` is one."""

    async def states(self, trace_ids: Sequence[str]) -> Mapping[str, tuple[TraceState, Location | None]]:
        """Return what is known of each trace."""


async def read_conversations(catalog: Catalog, ref: VolumeRef) -> tuple[list[Conversation], int]:
    """Return the conversations of a volume in which anything was answered, and how many traces there are in all."""
    summaries = await conversations_of(catalog.traces.turns(str(ref)))
    found = await asyncio.to_thread(lambda: [_conversation(one) for one in summaries if was_answered(one.turns)])
    return found, sum(len(one.turns) for one in summaries)


def _conversation(summary: ConversationSummary) -> Conversation:
    goals = (turn.goal for turn in summary.turns)
    return Conversation(
        trace_id=summary.trace_id,
        # people who begin with "hi" say what they want in their second message
        goal=next((goal for goal in goals if content_words(goal)), summary.goal),
        actor=summary.actor,
        time=summary.time,
        verdict=judge(summary.turns),
        turns=summary.trace_ids,
    )


def background(conversations: Iterable[Conversation]) -> Counter[str]:
    """Return in how many goals each stem stands."""
    return Counter(word for one in conversations for word in {stem(word) for word in content_words(one.goal)})


async def read_accounts(source: TraceSource, conversations: Sequence[Conversation]) -> list[Account]:
    """Return what these conversations tell, in their order; those that cannot be read are left out."""
    wanted = {one.trace_id: _chosen(one.turns or (one.trace_id,)) for one in conversations}
    states = await source.states([trace_id for turns in wanted.values() for trace_id in turns])
    found: list[Account] = []
    for one in conversations:
        turns = [states[trace_id][0] for trace_id in wanted[one.trace_id] if trace_id in states]
        if turns:
            found.append(_account(one, turns))
    return found


def _chosen(turns: Sequence[str]) -> Sequence[str]:
    return turns if len(turns) <= 2 * TURNS_READ else [*turns[:TURNS_READ], *turns[-TURNS_READ:]]


def _account(one: Conversation, turns: Sequence[TraceState]) -> Account:
    traces = [turn.trace for turn in turns]
    answers = [_answer(trace) for trace in traces]
    notes = (given.note for turn in turns for given in turn.feedback if given.rating == "down" and given.note)
    calls = [call for trace in traces for call in trace.tool_calls][:MOST_CALLS]
    return Account(
        goal=next((trace.goal for trace in traces if content_words(trace.goal)), traces[0].goal),
        answer=max(answers, key=len)[:ANSWER_LENGTH],
        verdict=one.verdict,
        calls=tuple((call.name, call.arguments) for call in calls),
        objections=(*(trace.goal for trace in traces[1:] if is_correction(trace.goal)), *notes),
        errors=tuple(_errors(traces)),
    )


def _answer(trace: Trace) -> str:
    """Return the answer, unless our own offline model gave it: that one only quotes skills."""
    return "" if trace.model == OFFLINE else trace.answer


def _errors(traces: Sequence[Trace]) -> Iterable[str]:
    for trace in traces:
        if trace.error:
            yield trace.error
        yield from (f"{call.name}: {call.result[:300]}" for call in trace.tool_calls if call.is_error)
