"""Tools that only one dialect knows: to every other server they are functions, and their calls are turned back."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence

from llmos_lite.core.gateway.translation.neutral import Argued, Called, Raw, Said, ToolSpec, Use
from llmos_lite.errors import Invalid

TEXT = Raw(
    b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}'
)
"""What stands for a tool that takes a free text."""
SHELL = ToolSpec(
    "local_shell",
    "Run a command on the computer of the person, and see what it prints.",
    Raw(
        b'{"type":"object","properties":{"command":{"type":"array","items":{"type":"string"},'
        b'"description":"The program and its arguments."},"working_directory":{"type":"string"},'
        b'"timeout_ms":{"type":"integer"},"env":{"type":"object","additionalProperties":{"type":"string"}}},'
        b'"required":["command"]}'
    ),
    kind="local_shell",
)
LONGEST_NAME = 64
"""Characters of a function's name that OpenAI and Anthropic take."""
_ODD = re.compile(r"[^a-zA-Z0-9_-]")
_MOST_NAMED = 16
_OPENED = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_CHARACTERS = re.compile(
    r'(?:[^"\\]|\\["\\/bfnrt]|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+'
)
"""As much of a JSON text as is whole: no escape is cut, and no pair of surrogates."""


def named(types: Iterable[str]) -> list[str]:
    """Return types of tools and parts that are left out, each once, fit for a header."""
    return list(dict.fromkeys(_ODD.sub("_", one)[:64] or "untyped" for one in types))[:_MOST_NAMED]


def demanded(name: str) -> Invalid:
    """Return the error for a request that demands a tool that is left out."""
    return Invalid(
        "request.invalid",
        f"The request demands the tool {name[:64]!r}, which the model's server cannot be given.",
        hint="Demand one of your functions, or send `tool_choice` as `auto`.",
    )


def allowed(mode: str, names: Iterable[str], tools: Sequence[ToolSpec]) -> tuple[str, Sequence[ToolSpec]]:
    """Return what a choice of `allowed_tools` demands, and what may be called: elsewhere only what is offered may.

    Raises:
        Invalid: `request.invalid`, when one must be called and all of them are left out.
    """
    known = dict.fromkeys(names)
    found = [tool for tool in tools if tool.name in known]
    if known and not found:
        if mode == "required":
            raise demanded(next(iter(known)))
        return "none", tools
    return mode or "auto", found or tools


def custom(name: str, description: str, form: tuple[str, str] | None, *, group: str = "", own: str = "") -> ToolSpec:
    """Return a tool that takes a free text.

    Args:
        name: of the function that stands for it.
        description: what it does.
        form: syntax and definition of the grammar that its input has; None for any text.
        group: of tools that it is in.
        own: its name in that group.
    """
    return ToolSpec(name, description, TEXT, kind="custom", form=form, group=group, own=own)


def described(tool: ToolSpec) -> str:
    """Return what a function says about the tool that it stands for."""
    if tool.kind != "custom":
        return tool.description
    rule = f" It has this grammar ({tool.form[0]}):\n\n{tool.form[1]}" if tool.form else ""
    return f"{tool.description}\n\nThe text goes into `input`, whole and as it is.{rule}".strip()


def flat(group: str, name: str) -> str:
    """Return the name of a function for a tool of a group; OpenAI's own group of functions has no name of its own."""
    if group in {"", "functions"}:
        return name
    joined = _ODD.sub("_", f"{group.rstrip('_')}__{name}")
    if len(joined) <= LONGEST_NAME:
        return joined
    return f"{joined[: LONGEST_NAME - 9]}_{hashlib.sha256(joined.encode()).hexdigest()[:8]}"


def arguments_of(use: Use) -> str:
    """Return the arguments of a call as those of a function."""
    return json.dumps({"input": use.arguments}, ensure_ascii=False) if use.kind == "custom" else use.arguments


def object_in(arguments: str) -> dict[str, object]:
    """Return arguments as an object; what is none is an empty one."""
    try:
        found = json.loads(arguments or "{}", strict=False)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


class AsAsked:
    """Turns calls of functions back into calls of the tools that they stand for.

    Args:
        tools: of the request.
    """

    def __init__(self, tools: Sequence[ToolSpec]) -> None:
        self._tools = {tool.name: tool for tool in tools if tool.kind != "function" or tool.group}
        self._text: _FreeText | None = None
        self._at = -1

    @property
    def is_open(self) -> bool:
        """Tell whether a call is on its way whose end is seen by what comes after it."""
        return self._text is not None

    def take(self, said: Said) -> Iterator[Said]:
        """Take a piece of an answer whose calls come one after the other, and return what it is to the client."""
        if isinstance(said, Argued) and self._text is not None:
            if text := self._text.feed(said.text):
                yield said._replace(text=text)
            return
        if self._text is not None and (rest := self._text.rest()):
            yield Argued(self._at, rest)
        self._text = None
        spec = self._tools.get(said.name) if isinstance(said, Called) and said.kind == "function" else None
        if isinstance(said, Called) and spec is not None:
            self._at, self._text = said.at, _FreeText() if spec.kind == "custom" else None
            said = said._replace(name=spec.own or spec.name, kind=spec.kind, group=spec.group)
        yield said


class _FreeText:
    """The one text in the arguments of a function, as far as it has come."""

    def __init__(self) -> None:
        self._raw, self._at, self._shown = "", 0, ""

    def feed(self, piece: str) -> str:
        """Take a piece of the arguments, cut anywhere, and return what it adds to the text."""
        self._raw += piece
        if not self._at:
            opened = _OPENED.match(self._raw)
            self._at = opened.end() if opened else 0
        found = _CHARACTERS.match(self._raw, self._at) if self._at else None
        if found is None or not found[0]:
            return ""
        self._at = found.end()
        text = str(json.loads(f'"{found[0]}"', strict=False))
        self._shown += text
        return text

    def rest(self) -> str:
        """Return what is left of the text at the end, also where the model wrote something else than was asked."""
        text = _text_in(self._raw)
        return text[len(self._shown) :] if text.startswith(self._shown) else ""


def _text_in(arguments: str) -> str:
    try:
        found = json.loads(arguments, strict=False)
    except (ValueError, RecursionError):
        return arguments
    if found == {}:
        return ""
    if isinstance(found, dict):
        found = found.get("input", next(iter(found.values())) if len(found) == 1 else None)
    text = found if isinstance(found, str) else arguments
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
