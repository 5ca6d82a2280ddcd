"""Tools of a caller as `POST /chat` takes them: as they are, or in the form of OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from llmos_lite.core.chat.calls import OwnTool
from llmos_lite.errors import Invalid


class GivenTool(msgspec.Struct, frozen=True, gc=False):
    """A tool: by its name, or `{"type": "function", "function": {…}}`."""

    name: str = ""
    description: str = ""
    parameters: dict[str, object] | msgspec.UnsetType = msgspec.UNSET
    function: OwnTool | None = None


class _Named(msgspec.Struct, frozen=True, gc=False):
    name: str


class GivenChoice(msgspec.Struct, frozen=True, gc=False):
    """One function that is to be called, in OpenAI's form."""

    function: _Named


def own_tools(given: Iterable[GivenTool]) -> tuple[OwnTool, ...]:
    """Return the tools of a caller.

    Raises:
        Invalid: `chat.tools`, for one without a name.
    """
    return tuple(map(_own, given))


def _own(tool: GivenTool) -> OwnTool:
    if tool.function is not None:
        return tool.function
    if not tool.name:
        raise Invalid(
            "chat.tools",
            "One of the tools has no name.",
            hint='Send {"name", "description", "parameters"} of a function, or the same as "function" of '
            '{"type": "function"}. No other types of tools are run here.',
        )
    if isinstance(tool.parameters, msgspec.UnsetType):
        return OwnTool(name=tool.name, description=tool.description)
    return OwnTool(name=tool.name, description=tool.description, parameters=tool.parameters)


def choice_of(given: str | GivenChoice) -> str:
    """Return what the model may call: a word, or the name of a tool."""
    return given if isinstance(given, str) else given.function.name
