"""Tools of a caller as `POST /chat` takes them: as they are, or in the form of OpenAI or Anthropic."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from llmos_lite.core.chat.calls import OwnTool
from llmos_lite.errors import Invalid


class GivenTool(msgspec.Struct, frozen=True, gc=False):
    """A tool: by its name, with `parameters` or `input_schema`, or `{"type": "function", "function": {…}}`."""

    type: str | None = None
    name: str = ""
    description: str = ""
    parameters: dict[str, object] | msgspec.UnsetType = msgspec.UNSET
    input_schema: dict[str, object] | msgspec.UnsetType = msgspec.UNSET
    function: OwnTool | None = None


class _Named(msgspec.Struct, frozen=True, gc=False):
    name: str


class GivenChoice(msgspec.Struct, frozen=True, gc=False):
    """What is to be called, in the form of OpenAI (`function`) or of Anthropic (`type`, `name`)."""

    type: str = ""
    name: str = ""
    function: _Named | None = None


_CALLERS = frozenset({None, "", "function", "custom"})
"""Types of tools that whoever offers them runs; others, as `web_search_20250305`, a provider would."""
_WORDS = {"auto": "auto", "none": "none", "any": "required"}
"""What a model may call, in Anthropic's words and in ours."""


def own_tools(given: Iterable[GivenTool]) -> tuple[OwnTool, ...]:
    """Return the tools of a caller.

    Raises:
        Invalid: `chat.tools`, for one without a name, with two schemas, or that a provider would run.
    """
    return tuple(map(_own, given))


def _own(tool: GivenTool) -> OwnTool:
    if tool.function is not None:
        return tool.function
    is_theirs = tool.type in _CALLERS
    if not (tool.name and is_theirs):
        raise Invalid(
            "chat.tools",
            f"One of the tools {'has no name' if is_theirs else f'is of the type {str(tool.type)[:64]!r}'}.",
            hint='Send {"name", "description", "parameters"} of a function, or the same as "function" of '
            '{"type": "function"}. No other types of tools are run here.',
        )
    schema = _schema_of(tool)
    if isinstance(schema, msgspec.UnsetType):
        return OwnTool(name=tool.name, description=tool.description)
    return OwnTool(name=tool.name, description=tool.description, parameters=schema)


def _schema_of(tool: GivenTool) -> dict[str, object] | msgspec.UnsetType:
    """Return what a tool takes, whichever name that has."""
    if isinstance(tool.parameters, msgspec.UnsetType):
        return tool.input_schema
    if isinstance(tool.input_schema, msgspec.UnsetType):
        return tool.parameters
    said = f"The tool {tool.name[:64]!r} has both parameters and input_schema."
    raise Invalid("chat.tools", said, hint="Send one of them: they are the same under two names.")


def choice_of(given: str | GivenChoice) -> str:
    """Return what the model may call: a word, or the name of a tool; empty when an object says neither."""
    if isinstance(given, str):
        return given
    if given.function is not None:
        return given.function.name
    return given.name if given.type == "tool" else _WORDS.get(given.type, "")
