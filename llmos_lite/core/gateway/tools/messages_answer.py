"""The blocks of a streamed message, put together again as they were, signatures with them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from llmos_lite.core.gateway.asked import Raw, encode
from llmos_lite.core.gateway.tools.events import events_of
from llmos_lite.engines.llm_calls import arguments_object
from llmos_lite.engines.llm_http import decoded


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    content_block: dict[str, object] | None = None
    delta: dict[str, object] | None = None


_event = msgspec.json.Decoder(_Event)
_PIECES = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


def content_of(pieces: Iterable[bytes]) -> list[Raw]:
    """Return the blocks that a stream holds; each of its pieces is whole events."""
    blocks: dict[int, dict[str, object]] = {}
    inputs: dict[int, list[str]] = {}
    for one in events_of(b"".join(pieces)):
        event = decoded(_event, one.data) if one.data else _Event()
        if event.content_block is not None:
            blocks[event.index] = event.content_block
        elif event.delta is not None and event.index in blocks:
            _grow(blocks[event.index], inputs.setdefault(event.index, []), event.delta)
    for at, said in inputs.items():
        if blocks[at].get("type") == "tool_use" and any(said):
            blocks[at]["input"] = Raw(arguments_object("".join(said)).encode())
    return [Raw(encode(blocks[at])) for at in sorted(blocks)]


def _grow(block: dict[str, object], inputs: list[str], delta: dict[str, object]) -> None:
    kind = delta.get("type")
    if kind == "input_json_delta":
        inputs.append(str(delta.get("partial_json", "")))
    elif kind == "citations_delta":
        cited = block.get("citations")
        block["citations"] = [*(cited if isinstance(cited, list) else ()), delta.get("citation")]
    elif name := _PIECES.get(str(kind)):
        block[name] = f"{block.get(name) or ''}{delta.get(name, '')}"
