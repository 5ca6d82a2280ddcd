"""What a conversation held so far: the messages for the model, and the skills that were in its context."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from llmos_lite.core.traces.trace import Ended, SkillUse, Trace
from llmos_lite.engines.llm import ChatMessage

ID_LENGTH = 128
MOST_RECENT = 512
MOST_CHARACTERS = 16 << 20


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation before its next message.

    Args:
        id: its id.
        messages: what was said, oldest first; turns that failed or have no answer are left out.
        parent: id of the last trace; empty for a new conversation.
        skills: what was in the context of the last answer.
        size: characters of the messages.
    """

    id: str
    messages: tuple[ChatMessage, ...] = ()
    parent: str = ""
    skills: tuple[SkillUse, ...] = ()
    size: int = 0

    @classmethod
    def of(cls, conversation_id: str, traces: Iterable[Trace]) -> Conversation:
        """Return the conversation that `traces`, oldest first, are the record of."""
        talk = cls(conversation_id)
        for trace in traces:
            talk = talk.after(trace)
        return talk

    def after(self, trace: Trace) -> Conversation:
        """Return the conversation with one more turn."""
        said = _messages(trace) if trace.ended is not Ended.ERROR and trace.answer else []
        size = self.size + sum(len(message["content"]) for message in said)
        return Conversation(self.id, (*self.messages, *said), trace.id, trace.skills_used, size)


def _messages(trace: Trace) -> list[ChatMessage]:
    """Return what the people and the model said, without tools; an imported system prompt is not ours to repeat."""
    said: list[ChatMessage] = []
    for message in trace.messages:
        if message.role == "user" and message.content:
            said.append({"role": "user", "content": message.content})
        elif message.role == "assistant" and message.content:
            said.append({"role": "assistant", "content": message.content})
    return said


class RecentConversations:
    """The conversations that were spoken in last, in memory, word for word.

    What is stored is redacted, so without this the model would soon not know the address that it was told a minute ago,
    and its prompt cache would end where the redaction begins.
    """

    def __init__(self, most: int = MOST_RECENT, most_characters: int = MOST_CHARACTERS) -> None:
        self._most, self._most_characters = most, most_characters
        self._kept: OrderedDict[tuple[str, str], Conversation] = OrderedDict()
        self._characters = 0

    def get(self, user_id: str, conversation_id: str) -> Conversation | None:
        """Return a conversation of a person, if it is still here."""
        return self._kept.get((user_id, conversation_id))

    def put(self, user_id: str, talk: Conversation) -> None:
        """Keep a conversation as it is now; the ones that were quiet longest make room."""
        before = self._kept.pop((user_id, talk.id), None)
        self._kept[user_id, talk.id] = talk
        self._characters += talk.size - (before.size if before else 0)
        while len(self._kept) > self._most or self._characters > self._most_characters:
            _, gone = self._kept.popitem(last=False)
            self._characters -= gone.size
