"""What a conversation held so far: the messages for the model, and the skills that were in its context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import msgspec

from llmos_lite.core.chat.calls import said_of
from llmos_lite.core.chat.disclosure import with_new
from llmos_lite.core.traces.trace import Ended, SkillUse, Trace
from llmos_lite.engines.llm import ChatMessage, ToolCall


class Conversation(msgspec.Struct, frozen=True):
    """A conversation before its next message.

    Args:
        id: its id.
        messages: what was said, oldest first; turns that failed or have no answer are left out.
        parent: id of the last trace; empty for a new conversation.
        skills: what was in the context of the last answer, or was loaded for it.
        offered: what was listed by name, in the order in which it came; see `Trace.offered`.
        goal: what the person wanted last.
        handed: calls of the last answer, for the caller; `messages` end with them.
        handed_by: the trace of that answer; empty without calls.
    """

    id: str
    messages: tuple[ChatMessage, ...] = ()
    parent: str = ""
    skills: tuple[SkillUse, ...] = ()
    offered: tuple[str, ...] = ()
    goal: str = ""
    handed: tuple[ToolCall, ...] = ()
    handed_by: str = ""

    @classmethod
    def of(cls, conversation_id: str, traces: Sequence[Trace]) -> Self:
        """Return the conversation that `traces`, oldest first, are the record of."""
        answered = [trace for trace in traces if leads_on(trace)]
        messages: list[ChatMessage] = []
        handed: tuple[ToolCall, ...] = ()
        for trace in answered:
            messages += said_of(handed, _results(trace))
            messages += _messages(trace)
            handed = _handed(trace)
        offered: tuple[str, ...] = ()
        for trace in traces:
            offered = with_new(offered, trace.offered) if trace.offered else offered
        last = traces[-1]
        handed_by = answered[-1].id if handed else ""
        return cls(conversation_id, tuple(messages), last.id, last.skills_used, offered, last.goal, handed, handed_by)


def leads_on(trace: Trace) -> bool:
    """Tell whether a conversation goes on from a trace; one without an answer is left out, and may be tried again."""
    return trace.ended is not Ended.ERROR and bool(trace.answer or _handed(trace))


def _messages(trace: Trace) -> list[ChatMessage]:
    """Return what the people and the model said; an imported system prompt is not ours to repeat.

    What tools said is left out: a skill that was loaded stands in the context of the next message anew, as it then is.
    """
    said: list[ChatMessage] = []
    for message in trace.messages:
        if message.role == "user" and message.content:
            said.append({"role": "user", "content": message.content})
        elif message.role == "assistant" and message.content:
            said.append({"role": "assistant", "content": message.content})
    if calls := _handed(trace):
        text = said.pop()["content"] if said and said[-1]["role"] == "assistant" else ""
        said.append({"role": "assistant", "content": text, "tool_calls": calls})
    return said


def _handed(trace: Trace) -> tuple[ToolCall, ...]:
    """Return the calls that a trace handed to the caller."""
    return tuple(ToolCall(call.id, call.name, call.arguments) for call in trace.tool_calls if call.handed)


def _results(trace: Trace) -> dict[str, tuple[str, bool]]:
    """Return what the caller answered with a trace's message, by the ids of the calls."""
    return {said.tool_call_id: (said.content, False) for said in trace.messages if said.role == "tool"}
