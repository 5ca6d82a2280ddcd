"""Calls of tools, put together from the pieces in which a stream brings them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import msgspec

from llmos_lite.engines.llm import ToolCall
from llmos_lite.engines.llm_texts import MOST_TEXT
from llmos_lite.errors import UpstreamFailed

MOST_CALLS = 128
"""Calls in one answer; OpenAI's limit of tools."""


@dataclass(slots=True)
class _Call:
    id: str
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    is_text: bool = False

    @property
    def whole(self) -> str:
        """Return the arguments as JSON."""
        said = "".join(self.arguments)
        return msgspec.json.encode({"input": said}).decode() if self.is_text else said or "{}"


class Calls:
    """The calls of one answer.

    A piece belongs to the call of its index. Servers differ: some say no index, some say 0 for every call, some repeat
    id and name with each piece; so a piece with another id begins another call, and one without either goes on with
    the last. Arguments that are too long, all together, are cut; they are no JSON any more then.

    Args:
        most: characters of arguments that are kept.
    """

    def __init__(self, most: int = MOST_TEXT) -> None:
        self._left = most
        self._calls: list[_Call] = []
        self._at: dict[int | None, _Call] = {}

    def add(self, index: int | None, call_id: str, name: str, arguments: str, *, is_text: bool = False) -> None:
        """Take a piece; `is_text` says that the arguments are no JSON, but the one text that the tool takes.

        Raises:
            UpstreamFailed: `model.garbage`, past `MOST_CALLS`.
        """
        call = self._at.get(index)
        if call is None or (call_id and call.id and call_id != call.id):
            call = self._begin(call_id)
        call.id = call.id or call_id
        call.name, call.is_text = call.name or name, call.is_text or is_text
        if arguments:
            call.arguments.append(arguments[: self._left])
            self._left = max(0, self._left - len(arguments))
        self._at[index] = self._at[None] = call

    def _begin(self, call_id: str) -> _Call:
        if len(self._calls) >= MOST_CALLS:
            raise UpstreamFailed("model.garbage", f"The model asks for more than {MOST_CALLS} tools at once.")
        self._calls.append(call := _Call(call_id))
        return call

    def whole(self) -> tuple[ToolCall, ...]:
        """Return the calls in order; one that came without an id gets one, since its answer has to name it."""
        return tuple(ToolCall(call.id or f"call_{secrets.token_hex(8)}", call.name, call.whole) for call in self._calls)


def arguments_object(arguments: str) -> str:
    """Return the arguments of a call as they may be sent back: as they are when they are a JSON object, else `{}`."""
    try:
        msgspec.json.decode(arguments, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return "{}"
    return arguments
