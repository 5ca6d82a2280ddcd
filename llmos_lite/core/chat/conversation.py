"""What a conversation held so far: the messages for the model, and the skills that were in its context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from llmos_lite.core.chat.disclosure import with_new
from llmos_lite.core.traces.trace import Ended, SkillUse, Trace
from llmos_lite.engines.llm import ChatMessage


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation before its next message.

    Args:
        id: its id.
        messages: what was said, oldest first; turns that failed or have no answer are left out.
        parent: id of the last trace; empty for a new conversation.
        skills: what was in the context of the last answer, or was loaded for it.
        offered: what was listed by name, in the order in which it came; see `Trace.offered`.
    """

    id: str
    messages: tuple[ChatMessage, ...] = ()
    parent: str = ""
    skills: tuple[SkillUse, ...] = ()
    offered: tuple[str, ...] = ()

    @classmethod
    def of(cls, conversation_id: str, traces: Sequence[Trace]) -> Self:
        """Return the conversation that `traces`, oldest first, are the record of."""
        answered = [trace for trace in traces if trace.ended is not Ended.ERROR and trace.answer]
        messages = tuple(message for trace in answered for message in _messages(trace))
        offered: tuple[str, ...] = ()
        for trace in traces:
            offered = with_new(offered, trace.offered) if trace.offered else offered
        return cls(conversation_id, messages, traces[-1].id, traces[-1].skills_used, offered)


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
    return said
