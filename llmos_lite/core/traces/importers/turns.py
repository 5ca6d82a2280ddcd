"""Where a session's log may be cut while it is still written: between two turns of the person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto

from llmos_lite.core.gateway.scaffolding import words_of
from llmos_lite.core.traces.importers.base import Json, as_text
from llmos_lite.core.traces.importers.claude_code import INTERRUPTED, NOISE
from llmos_lite.core.traces.importers.codex import CALLS


class Mark(Enum):
    """What a line is for the turns of a session."""

    HEAD = auto()
    """Says what the whole session is; a part of the log needs it, too."""
    OPENS = auto()
    """A turn begins, of whomever: what stands before it is done with."""
    BEGINS = auto()
    """A person says something: what stands before it is done with."""
    ANSWERS = auto()
    """The model says something."""
    ENDS = auto()
    """The turn is over, unless a line of the same answer follows at once."""
    OTHER = auto()


def claude_code(record: Json) -> Mark:
    """Return what a line of Claude Code is."""
    message = record.get("message")
    within = record.get("isSidechain") is True and "agentId" not in record  # older ones share the person's file
    if not isinstance(message, dict) or within:
        return Mark.OTHER
    if record.get("type") == "assistant":
        return Mark.ENDS if message.get("stop_reason") in {"end_turn", "stop_sequence", "refusal"} else Mark.ANSWERS
    if record.get("type") != "user" or record.get("isMeta") is True:
        return Mark.OTHER
    content = message.get("content")
    if isinstance(content, list) and any(isinstance(part, dict) and "tool_use_id" in part for part in content):
        return Mark.OTHER
    text = as_text(content).lstrip()
    if text.startswith(INTERRUPTED):
        return Mark.ENDS
    return Mark.BEGINS if not text.startswith(NOISE) and words_of(text) else Mark.OTHER


def codex(record: Json) -> Mark:
    """Return what a line of Codex is, today's or an old flat one."""
    kind, payload = record.get("type"), record.get("payload")
    if kind == "session_meta" or (kind is None and "id" in record):
        return Mark.HEAD
    item = payload if isinstance(payload, dict) else record
    what, role = item.get("type"), item.get("role")
    if kind == "event_msg" and what in {"task_started", "turn_started"}:
        return Mark.OPENS
    if kind == "event_msg":
        return Mark.ENDS if what in {"task_complete", "turn_complete", "turn_aborted", "error"} else Mark.OTHER
    if what == "message" and role == "user":
        return Mark.BEGINS if words_of(as_text(item.get("content"))) else Mark.OTHER
    answers = (what == "message" and role == "assistant") or (isinstance(what, str) and what in CALLS)
    return Mark.ANSWERS if answers else Mark.OTHER


MARKS: Mapping[str, Callable[[Json], Mark]] = {"claude-code": claude_code, "codex": codex}
"""How the lines of a format are marked; other formats are not followed."""
