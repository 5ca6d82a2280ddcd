"""Tools of OpenAI's responses and the items of their calls: functions, free texts, shells, groups, searches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from llmos_lite.core.gateway.translation.neutral import Ask, Kind, Part, Raw, Result, ToolSpec, Use, resulted
from llmos_lite.core.gateway.translation.reading import schema_of, text_or_json
from llmos_lite.core.gateway.translation.tools import SHELL, allowed, custom, demanded, flat, named, object_in

CALLS: dict[str, Kind] = {
    "function_call": "function",
    "custom_tool_call": "custom",
    "local_shell_call": "local_shell",
    "tool_search_call": "tool_search",
}
OUTPUTS = frozenset({*(f"{call}_output" for call in CALLS), "tool_search_output"})
_TYPES = {kind: name for name, kind in CALLS.items()}
_encode = msgspec.json.Encoder().encode


class _Form(msgspec.Struct):
    type: str = ""
    syntax: str = ""
    definition: str = ""


class Offer(msgspec.Struct):
    """A tool of a request, or a group of them."""

    type: str = ""
    name: str = ""
    description: str | None = None
    parameters: Raw = Raw()
    strict: bool | None = None
    format: _Form | None = None
    tools: list[Offer] | None = None
    execution: str = ""


class Choice(msgspec.Struct):
    """Which tool is demanded."""

    type: str = ""
    name: str | None = None
    namespace: str | None = None
    mode: str = ""
    tools: list[Choice] = []


class CallItem(msgspec.Struct):
    """An item of a conversation, as far as calls go."""

    type: str | None = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: Raw = Raw(b'""')
    input: str = ""
    action: Raw = Raw(b"{}")
    output: Raw = Raw(b"null")
    tools: list[Offer] | None = None


def offered(tools: Iterable[Offer]) -> tuple[list[ToolSpec], list[str]]:
    """Return tools as functions, each name once, and the types of those that only OpenAI runs, fit for a header."""
    found: dict[str, ToolSpec] = {}
    left_out: list[str] = []
    for tool in tools:
        specs = list(_specs(tool))
        found |= {spec.name: spec for spec in specs if spec.name not in found}
        if not specs and tool.type != "namespace":
            left_out.append(tool.type)
    return list(found.values()), named(left_out)


def _specs(tool: Offer, group: str = "") -> Iterator[ToolSpec]:
    name = flat(group, tool.name)
    own = tool.name if name != tool.name else ""
    group = group if own else ""
    match tool.type:
        case "function":
            strict = bool(tool.strict)
            yield ToolSpec(name, tool.description or "", schema_of(tool.parameters), strict, group=group, own=own)
        case "custom":
            form = tool.format
            grammar = (form.syntax, form.definition) if form and form.type == "grammar" else None
            yield custom(name, tool.description or "", grammar, group=group, own=own)
        case "local_shell":
            yield SHELL
        case "tool_search" if tool.execution == "client":
            yield ToolSpec("tool_search", tool.description or "", schema_of(tool.parameters), kind="tool_search")
        case "namespace":
            for one in tool.tools or ():
                yield from _specs(one, tool.name)


def chosen(choice: str | Choice | None, tools: Sequence[ToolSpec]) -> tuple[str, Sequence[ToolSpec]]:
    """Return what is demanded (`auto`, `none`, `required`, or a name), and what may be called.

    Raises:
        Invalid: `request.invalid`, for a tool that only OpenAI runs.
    """
    if not isinstance(choice, Choice):
        return choice or "auto", tools
    if choice.type == "allowed_tools":
        return allowed(choice.mode, map(_flat, choice.tools), tools)
    name = _flat(choice)
    if not (choice.name or any(tool.name == name for tool in tools)):
        raise demanded(name)
    return name, tools


def _flat(choice: Choice) -> str:
    return flat(choice.namespace or "", choice.name) if choice.name else choice.type


def use_of(item: CallItem) -> Use:
    """Return a call; its name is that of the function that stands for the tool."""
    kind = CALLS[item.type or ""]
    name = flat(item.namespace or "", item.name) if item.name else kind
    match kind:
        case "custom":
            arguments = item.input
        case "local_shell":
            arguments = _encode(
                {key: one for key, one in object_in(text_or_json(item.action)).items() if key != "type"}
            ).decode()
        case _:
            arguments = text_or_json(item.arguments)
    return Use(item.call_id or item.id or "", name, arguments, kind)


def result_of(item: CallItem, parts: Sequence[Part]) -> Result:
    """Return the result of a call; a search tells the names of tools, which the model is given from now on."""
    if item.tools is not None:
        names = [spec.name for tool in item.tools for spec in _specs(tool)]
        return Result(item.call_id or item.id or "", f"Found: {', '.join(names)}." if names else "Nothing was found.")
    return resulted(item.call_id or item.id or "", parts)


def written_tool(tool: ToolSpec) -> dict[str, object]:
    """Write a tool."""
    found: dict[str, object] = {"name": tool.name, "description": tool.description}
    if tool.kind != "custom":
        return {"type": "function", **found, "parameters": tool.schema, "strict": tool.strict}
    if tool.form:
        found["format"] = {"type": "grammar", "syntax": tool.form[0], "definition": tool.form[1]}
    return {"type": "custom", **found}


def written_choice(ask: Ask) -> object:
    """Write which tool is demanded."""
    if ask.choice in {"auto", "none", "required"}:
        return ask.choice
    kind = next((tool.kind for tool in ask.tools if tool.name == ask.choice), "function")
    return {"type": "custom" if kind == "custom" else "function", "name": ask.choice}


def written_call(use: Use) -> dict[str, object]:
    """Write a call."""
    item: dict[str, object] = {"type": _TYPES[use.kind], "call_id": use.id}
    match use.kind:
        case "custom":
            item |= {"name": use.name, "input": use.arguments}
        case "local_shell":
            item |= {"action": {"type": "exec", "command": [], "env": {}} | object_in(use.arguments)}
        case "tool_search":
            item |= {"execution": "client", "arguments": object_in(use.arguments)}
        case _:
            item |= {"name": use.name, "arguments": use.arguments or "{}"}
    return item | ({"namespace": use.group} if use.group else {})
