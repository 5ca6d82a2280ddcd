"""What goes into a chat and what comes out of it."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from llmos_lite.core.chat.calls import CallResult, HandedCall, OwnTool
from llmos_lite.core.chat.chosen import HeldSkill
from llmos_lite.core.chat.disclosure import Disclosure
from llmos_lite.core.toolservers.box import ToolProblem
from llmos_lite.core.traces.trace import SkillUse
from llmos_lite.errors import LlmosError

MOST_SKILLS = 20


class ChatInput(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One message of a person.

    Args:
        message: what the person says; some text that is not only space, unless results of tools are all there is.
        conversation_id: conversation to go on with; None begins one.
        team_id: team in whose context this happens; one of the person's own.
        max_skills: most skills in the context, 0 to 20; None takes the setting.
        record: False keeps the chat out of the traces.
        disclosure: whether the model gets texts of skills or a catalog; None takes the setting.
        traceparent: header of the request, by W3C Trace Context; empty for none.
        tools: what the caller runs itself.
        tool_choice: `auto`, `none`, `required`, or the name of one of them.
        tool_results: what the calls of the last answer gave.
    """

    message: str
    conversation_id: str | None = None
    team_id: str | None = None
    max_skills: int | None = None
    record: bool = True
    disclosure: Disclosure | None = None
    traceparent: str = ""
    tools: tuple[OwnTool, ...] = ()
    tool_choice: str = "auto"
    tool_results: tuple[CallResult, ...] = ()


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of all requests to the model, as the provider counts them; 0 when it does not."""

    input_tokens: int = 0
    output_tokens: int = 0


class ChatStarted(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The skills are chosen and the model is asked.

    Those that the model loads later are in the result. `trace_id` is None when nothing is recorded, and
    `conversation_id` then only names a conversation that was there.
    """

    conversation_id: str | None
    trace_id: str | None
    skills_used: tuple[SkillUse, ...]


class ChatDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the answer."""

    text: str


class ChatTool(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A tool that the model called, and that was answered; long arguments and results are cut."""

    id: str
    name: str
    arguments: str
    result: str
    is_error: bool


class ChatResult(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The whole answer, whose trace is durable (unless `recorded` is False).

    `tool_calls` are for the caller, who answers them with the next message of the conversation. `skills_held` would
    have been in the context, if no scanner held them back. `tool_problems` say which tool servers could not be used,
    and why.
    """

    response: str
    skills_used: tuple[SkillUse, ...]
    trace_id: str | None
    conversation_id: str | None
    usage: Usage
    model: str
    recorded: bool
    tool_calls: tuple[HandedCall, ...] = ()
    skills_held: tuple[HeldSkill, ...] = ()
    tool_problems: tuple[ToolProblem, ...] = ()


class ChatFailed(msgspec.Struct, frozen=True, kw_only=True):
    """The model failed; what came before stays valid, and the trace says so."""

    error: LlmosError
    conversation_id: str | None
    trace_id: str | None


ChatEvent: TypeAlias = ChatStarted | ChatDelta | ChatTool | ChatResult | ChatFailed
