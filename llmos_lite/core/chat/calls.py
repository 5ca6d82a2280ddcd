"""Calls of tools that a chat hands back to its caller, and what the caller's next message says of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from llmos_lite.core.chat.skill_tools import LOAD, SEARCH
from llmos_lite.engines.llm import ChatMessage, Tool, ToolCall
from llmos_lite.errors import Invalid

MOST_TOOLS = 128
"""Tools of one caller; OpenAI's limit."""
LONGEST_RESULT = 100_000
"""Characters of one result."""
LONGEST_ID = 64
LARGEST_SCHEMA = 64 << 10
"""Bytes of what all parameters say."""
NOT_RUN = "This call was not run."
DECLINED = "The person did not allow this call."
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class OwnTool(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A tool that the caller runs itself.

    Args:
        name: letters, digits, `_` and `-`, at most 64.
        description: what it does and when to call it.
        parameters: JSON schema of an object.
    """

    name: str
    description: str = ""
    parameters: dict[str, object] = msgspec.field(default_factory=lambda: {"type": "object", "properties": {}})


class HandedCall(msgspec.Struct, frozen=True, gc=False):
    """A call for the caller; with `approval` it is not to be run there, but to be allowed."""

    id: str
    name: str
    arguments: str
    approval: bool = False


class CallResult(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a call of the caller's gave, or whether one that waits for leave has it.

    Args:
        id: of the call.
        content: what it gave.
        is_error: whether it failed.
        approved: for a call that waits for leave: whether it has it.
    """

    id: str
    content: str = ""
    is_error: bool = False
    approved: bool | None = None


def check_tools(tools: Sequence[OwnTool], choice: str) -> None:
    """Check the tools of a caller.

    Raises:
        Invalid: `chat.tools`.
    """
    names = [tool.name for tool in tools]
    if len(names) > MOST_TOOLS or len(set(names)) < len(names):
        raise Invalid("chat.tools", f"There are more than {MOST_TOOLS} tools, or two of one name.")
    if bad := next((name for name in names if not _NAME.fullmatch(name)), ""):
        raise Invalid(
            "chat.tools", f"{bad[:64]!r} is no name for a tool.", hint="Letters, digits, _ and -, at most 64."
        )
    if sum(len(msgspec.json.encode(tool.parameters)) for tool in tools) > LARGEST_SCHEMA:
        raise Invalid("chat.tools", f"The parameters of the tools are larger than {LARGEST_SCHEMA >> 10} KiB.")
    if choice not in {"auto", "none", "required", *names}:
        raise Invalid("chat.tools", "tool_choice is none of auto, none, required and the names of the tools.")


def names_ours(tools: Sequence[OwnTool]) -> bool:
    """Tell whether a caller has tools of our names: then ours step back."""
    return any(tool.name in {LOAD, SEARCH} for tool in tools)


def offered(tools: Sequence[OwnTool]) -> list[Tool]:
    """Return the tools of a caller as a model gets them."""
    return [Tool(tool.name, tool.description, tool.parameters) for tool in tools]


def told_apart(ids: Sequence[str]) -> list[str]:
    """Return ids as calls are handed back by them: short, and no two alike, so that leave for one is for no other."""
    found: list[str] = []
    for name in ids:
        kept, number = name[:LONGEST_ID], len(found)
        while kept in found:
            kept, number = f"{name[:40]}-{number}", number + 1
        found.append(kept)
    return found


def check_results(open_calls: Sequence[ToolCall], results: Sequence[CallResult]) -> None:
    """Check that results answer calls that were handed back, each once.

    Raises:
        Invalid: `chat.tool_results`.
    """
    ids = [result.id for result in results]
    if len(set(ids)) < len(ids) or not set(ids) <= {call.id for call in open_calls}:
        raise Invalid(
            "chat.tool_results",
            "The results do not answer the calls of the last answer, each once.",
            hint="Send the ids of its tool_calls, and its conversation_id.",
        )
    if any(len(result.content) > LONGEST_RESULT for result in results):
        raise Invalid("chat.tool_results", f"A result is longer than {LONGEST_RESULT:,} characters.")


def said_of(open_calls: Sequence[ToolCall], results: Mapping[str, tuple[str, bool]]) -> list[ChatMessage]:
    """Return what the model hears of calls that were handed back; of each something, since providers want that."""
    found: list[ChatMessage] = []
    for call in open_calls:
        content, is_error = results.get(call.id, (NOT_RUN, True))
        found.append({"role": "tool", "tool_call_id": call.id, "content": content, "is_error": is_error})
    return found
