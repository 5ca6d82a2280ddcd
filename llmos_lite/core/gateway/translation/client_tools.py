"""Anthropic's own tools that the client runs, as functions: their models know them without a schema, others do not.

What they take is in Anthropic's pages on tool use and in the types of its SDK (2.14).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from llmos_lite.core.gateway.translation.neutral import Raw

_WORD: Mapping[str, object] = {"type": "string"}
_NUMBER: Mapping[str, object] = {"type": "integer"}
_POINT: Mapping[str, object] = {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}


class ClientTool(NamedTuple):
    """A tool of Anthropic that the client runs.

    Args:
        begins: of the names of its types, one for each version.
        description: what it does.
        schema: JSON schema of its arguments.
    """

    begins: str
    description: str
    schema: Raw


def _tool(begins: str, description: str, required: tuple[str, ...], **properties: Mapping[str, object]) -> ClientTool:
    schema = {"type": "object", "properties": properties, "required": required}
    return ClientTool(begins, description, Raw(json.dumps(schema).encode()))


def _one_of(*names: str) -> Mapping[str, object]:
    return {"type": "string", "enum": names}


def _told(kind: Mapping[str, object], about: str) -> Mapping[str, object]:
    return {**kind, "description": about}


_RANGE = _told(_POINT, "First and last line for `view`, counted from 1; -1 is the end.")
_OLD = _told(_WORD, "For `str_replace`: what goes, exactly as it stands there, and only once.")
_NEW = _told(_WORD, "For `str_replace`: what comes instead.")
_LINE = _told(_NUMBER, "For `insert`: the line after which it goes; 0 is the beginning.")
_TEXT = _told(_WORD, "For `create`: the whole file.")
_ADDED = _told(_WORD, "For `insert`: the text.")
_BOTH = _told(_WORD, "For `str_replace`: what comes instead; for `insert`: the text.")
_EDITS = ("view", "create", "str_replace", "insert")


def _editor(begins: str, *more: str, **texts: Mapping[str, object]) -> ClientTool:
    return _tool(
        begins,
        "View, create and edit text files on the computer of the person.",
        ("command", "path"),
        command=_one_of(*_EDITS, *more),
        path=_WORD,
        file_text=_TEXT,
        view_range=_RANGE,
        old_str=_OLD,
        insert_line=_LINE,
        **texts,
    )


CLIENT_TOOLS = (
    _tool(
        "bash_",
        "Run a command in a shell on the computer of the person that stays open between calls.",
        (),
        command=_told(_WORD, "What to run; needed unless the shell is restarted."),
        restart=_told({"type": "boolean"}, "Start the shell anew instead."),
    ),
    _editor("text_editor_2024", "undo_edit", new_str=_BOTH),
    _editor("text_editor_20250124", "undo_edit", new_str=_BOTH),
    _editor("text_editor_", new_str=_NEW, insert_text=_ADDED),
    _tool(
        "memory_",
        "Keep notes in files below /memories, which outlive this conversation. Look there before you begin.",
        ("command",),
        command=_one_of(*_EDITS, "delete", "rename"),
        path=_told(_WORD, "Below /memories; for all but `rename`."),
        file_text=_TEXT,
        view_range=_RANGE,
        old_str=_OLD,
        new_str=_NEW,
        insert_line=_LINE,
        insert_text=_ADDED,
        old_path=_told(_WORD, "For `rename`."),
        new_path=_told(_WORD, "For `rename`."),
    ),
    _tool(
        "computer_2",
        "See the screen of a computer, and use its mouse and keyboard.",
        ("action",),
        action=_one_of(
            *("screenshot", "cursor_position", "mouse_move", "left_click", "right_click", "middle_click"),
            *("double_click", "triple_click", "left_click_drag", "left_mouse_down", "left_mouse_up"),
            *("scroll", "key", "hold_key", "type", "wait", "zoom"),
        ),
        coordinate=_told(_POINT, "x and y in pixels, from the upper left."),
        start_coordinate=_told(_POINT, "For `left_click_drag`: where it begins."),
        region=_told({"type": "array", "items": _NUMBER, "minItems": 4, "maxItems": 4}, "For `zoom`: x0, y0, x1, y1."),
        text=_told(_WORD, "For `type`: the text; for `key`: the keys, as in ctrl+s."),
        scroll_direction=_one_of("up", "down", "left", "right"),
        scroll_amount=_NUMBER,
        duration=_told({"type": "number"}, "Seconds, for `wait` and `hold_key`."),
    ),
)


def client_tool(kind: str) -> ClientTool | None:
    """Return the tool that a type of a request names; None for one that the client does not run."""
    return next((tool for tool in CLIENT_TOOLS if kind.startswith(tool.begins)), None)
