"""The YAML block at the top of a skill: read leniently, written so that the strictest public reader accepts it.

Every scalar is text, as in the standard's own validator: no dates, no numbers, no tags that could build objects.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias, cast

import yaml

Value: TypeAlias = "str | list[Value] | dict[str, Value]"
Fields: TypeAlias = dict[str, Value]
Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

LARGEST = 64 << 10
"""Longest block, in characters; the standard's own fields come to less than 3,000."""

DEEPEST = 8

_OPENING = re.compile(r"\A---[ \t]*\r?\n")
_CLOSING = re.compile(r"^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.MULTILINE)
_LINE = re.compile(r"^([A-Za-z][\w-]*):[ \t]+(\S.*)$", re.MULTILINE)
_MARK = re.compile(r"[\[{][^\]}]*[\]}][ \t]*(?=[^\s#])")
_COLON = re.compile(r":[ \t]")
_SIGNS = frozenset("@`%*&!")
"""Characters that YAML gives a meaning when a value begins with them."""
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _./()-]*[A-Za-z0-9.)]|[A-Za-z0-9]")
_RESERVED = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_CONSTANTS: Mapping[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
LOADER: type[yaml.BaseLoader] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class BrokenFrontMatterError(ValueError):
    """The block cannot be read; the message says why, in words for the person who wrote it."""


def split(text: str) -> tuple[str | None, str]:
    """Return the block (None when there is none) and everything after it, unchanged.

    Raises:
        BrokenFrontMatterError: the block never ends, or is too long.
    """
    opening = _OPENING.match(text)
    if not opening:
        return None, text
    closing = _CLOSING.search(text, opening.end(), opening.end() + LARGEST + 8)
    if not closing:
        reason = "is longer than 64 KiB" if len(text) > LARGEST else "is never closed by a line with ---"
        raise BrokenFrontMatterError(f"The front matter {reason}.")
    return text[opening.end() : closing.start()], text[closing.end() :]


def load(block: str) -> Fields:
    """Return the fields of a block; a value with an unquoted colon is quoted and read again.

    Raises:
        BrokenFrontMatterError: it is no YAML mapping, or uses anchors and aliases.
    """
    try:
        return _load(block)
    except BrokenFrontMatterError:
        quoted = _LINE.sub(_quoted, block)
        if quoted == block:
            raise
        try:
            return _load(quoted)
        except BrokenFrontMatterError:
            pass
        raise


def load_json(block: str) -> dict[str, Json]:
    """Return the fields of a block as other tools read it: by the core schema of YAML 1.2, and nothing is mended.

    Raises:
        BrokenFrontMatterError: it is no YAML mapping, uses anchors or aliases, or has a key twice.
    """
    return _mapping_of(block, _core, unique=True)


def _core(event: yaml.ScalarEvent) -> Json:
    """Return what a plain scalar stands for; what JSON has no word for stays text."""
    text = str(event.value)
    if event.tag is not None or not event.implicit[0]:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    number = float(text) if _FLOAT.fullmatch(text) else math.inf
    return number if math.isfinite(number) else text


def _text(event: yaml.ScalarEvent) -> Json:
    return str(event.value)


def _quoted(line: re.Match[str]) -> str:
    """Return a line whose value YAML trips over and its writer did not mean as YAML: `description: Use when: ...`."""
    key, value = line.groups()
    mark = _MARK.match(value)
    plain = mark is not None or value[0] not in "\"'|>[{"
    if value[0] not in _SIGNS and not (plain and _COLON.search(value, (mark.end() if mark else 0) + 1)):
        return line[0]
    return f"{key}: {json.dumps(value.rstrip(), ensure_ascii=False)}"


def _load(block: str) -> Fields:
    return cast("Fields", _mapping_of(block, _text))


def _mapping_of(block: str, scalar: Callable[[yaml.ScalarEvent], Json], *, unique: bool = False) -> dict[str, Json]:
    try:
        fields = _Builder(yaml.parse(block, LOADER), scalar, unique=unique).document()
    except BrokenFrontMatterError:
        raise
    except (yaml.YAMLError, ValueError) as error:
        raise BrokenFrontMatterError(f"The front matter is no valid YAML: {_problem(error)}.") from error
    if fields in (None, ""):
        return {}
    if not isinstance(fields, dict):
        raise BrokenFrontMatterError("The front matter is no list of `key: value` lines.")
    return fields


class _Builder:
    """Builds values, lists and mappings from YAML events.

    The C loader's own builder recurses without a limit: 60,000 opening brackets end the process.
    """

    def __init__(
        self, events: Iterator[yaml.Event], scalar: Callable[[yaml.ScalarEvent], Json], *, unique: bool
    ) -> None:
        self._events, self._scalar, self._unique = events, scalar, unique

    def document(self) -> Json:
        """Return the first document, None when there is none."""
        for event in self._events:
            if not isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent):
                return None if isinstance(event, yaml.StreamEndEvent) else self._value(event, DEEPEST)
        return None

    def _value(self, event: yaml.Event, levels: int) -> Json:
        if getattr(event, "anchor", None):
            raise BrokenFrontMatterError("The front matter uses anchors or aliases, which skills may not.")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if not levels:
            raise BrokenFrontMatterError(f"The front matter is nested deeper than {DEEPEST} levels.")
        if isinstance(event, yaml.SequenceStartEvent):
            return [self._value(item, levels - 1) for item in self._until(yaml.SequenceEndEvent)]
        return self._mapping(levels - 1)

    def _mapping(self, levels: int) -> dict[str, Json]:
        built: dict[str, Json] = {}
        for event in self._until(yaml.MappingEndEvent):
            if getattr(event, "anchor", None) or not isinstance(event, yaml.ScalarEvent):
                raise BrokenFrontMatterError("The front matter has a key that is no text.")
            key = str(event.value)
            if self._unique and key in built:
                raise BrokenFrontMatterError(f"The front matter has the key {key[:100]!r} twice.")
            built[key] = self._value(next(self._events), levels)
        return built

    def _until(self, end: type[yaml.Event]) -> Iterator[yaml.Event]:
        for event in self._events:
            if isinstance(event, end):
                return
            yield event


def _problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    said = str(getattr(error, "problem", None) or "it cannot be read")
    return f"{said} (line {mark.line + 2})" if mark else said


def dump(fields: Mapping[str, str | Mapping[str, str]]) -> str:
    """Return the block with its two `---` lines: one level of nesting, text only, no `---` inside."""
    lines = ["---"]
    for key, value in fields.items():
        if isinstance(value, str):
            lines.append(f"{scalar(key)}: {scalar(value)}")
        else:
            lines.append(f"{scalar(key)}:")
            lines += [f"  {scalar(inner)}: {scalar(text)}" for inner, text in value.items()]
    return "\n".join([*lines, "---", ""])


def scalar(text: str) -> str:
    """Return a text as one value of a block."""
    if _PLAIN.fullmatch(text) and "--" not in text and text.lower() not in _RESERVED:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    quoted = _UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", quoted)
    return quoted.replace("---", "--\\x2d")
