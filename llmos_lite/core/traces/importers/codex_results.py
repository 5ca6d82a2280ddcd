"""What tools gave back, in each of the forms in which Codex writes it down."""

from __future__ import annotations

import re
from typing import NamedTuple

from llmos_lite.core.traces.importers.base import Json, as_text, clean, parse_json

_EXIT = re.compile(r"(?:Process exited with code|Exit code:)\s{1,3}(-?\d{1,5})\b")
_REFUSED = ("unsupported call: ", "unsupported custom tool call: ", "failed to parse function arguments: ")
"""What Codex says of a call that it could not make."""
_HEAD = 400


class Result(NamedTuple):
    """What a tool gave back; `whole` when the tool itself said it, not what the model was shown of it."""

    text: str
    failed: bool
    whole: bool = False


def result_of_output(output: object) -> Result:
    """Return what the model was shown: a text, a text with JSON in it, parts, or an object."""
    if isinstance(output, str):
        return _from_text(output)
    if isinstance(output, dict):
        failed = output.get("success") is False or _exit_code(output) != 0
        inner = output.get("content", output.get("output"))
        return Result(as_text(inner), failed)
    return Result(as_text(output), failed=False)


def result_of_command(event: Json) -> Result:
    """Return what an event says of a command, a patch, or a call of an MCP server that ended."""
    said = event.get("result")
    if isinstance(said, dict):
        answer = said.get("Ok")
        if isinstance(answer, dict):
            failed = answer.get("isError") is True or answer.get("is_error") is True
            return Result(as_text(answer.get("content")), failed, whole=True)
        return Result(as_text(said.get("Err")), "Err" in said, whole=True)
    parts = [event.get(key) for key in ("stdout", "stderr")]
    text = event.get("aggregated_output") or "\n".join(part for part in parts if isinstance(part, str) and part)
    failed = event.get("success") is False or _exit_code(event) != 0
    return Result(as_text(text), failed, whole=True)


def _from_text(output: str) -> Result:
    if output.startswith('{"output"'):
        try:
            said = parse_json(output.encode())
        except (ValueError, RecursionError):
            said = None
        if isinstance(said, dict) and isinstance(text := said.get("output"), str):
            return Result(clean(text), _exit_code(said.get("metadata")) != 0)
    found = _EXIT.search(output[:_HEAD])
    return Result(clean(output), bool(found and found[1] != "0") or output.startswith(_REFUSED))


def _exit_code(record: object) -> int:
    code = record.get("exit_code") if isinstance(record, dict) else 0
    return code if isinstance(code, int) else 0
