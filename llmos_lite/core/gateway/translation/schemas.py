"""JSON schemas of answers as Anthropic's structured outputs take them.

The rules are those of `transform_schema` in Anthropic's own library (1.x), which the tests compare: objects are closed,
and what the API has no word for is said in the description, so that the model may follow it. Two things go further: a
list of types becomes alternatives, and a schema that would mean another one is not sent at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import msgspec

from llmos_lite.core.gateway.translation.neutral import Raw

Schema: TypeAlias = dict[str, object]

_DEFINITIONS = "$defs"
_PREFIX = f"#/{_DEFINITIONS}/"
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_WORDS = {"string": (("format", _FORMATS),), "array": (("minItems", frozenset({"0", "1"})),)}
"""What a type may say of what is in it, and which of that there is a word for."""
_schema = msgspec.json.Decoder(Schema)


class _InexpressibleError(Exception):
    """A schema that has no equal there: maps, values of any type, references that lead out or in a circle."""


def closed(raw: Raw) -> Schema | None:
    """Return a schema of an answer for Anthropic, or None for one that only words can ask for."""
    try:
        made = _made(_schema.decode(raw))
        return None if _goes_in_circles(made) else made
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, _InexpressibleError):
        return None


def _made(schema: object) -> Schema:
    if not isinstance(schema, dict):
        raise _InexpressibleError
    rest, made = dict(schema), Schema()
    if isinstance(definitions := rest.pop(_DEFINITIONS, None), dict):
        made[_DEFINITIONS] = {name: _made(one) for name, one in definitions.items()}
    if (place := rest.pop("$ref", None)) is not None:
        if not isinstance(place, str) or not place.startswith(_PREFIX):
            raise _InexpressibleError
        return made | {"$ref": place}
    kind = rest.pop("type", None)
    if isinstance(kind, list):
        kept = {name: rest.pop(name) for name in ("title", "description") if name in rest}
        return made | {"anyOf": [_made({**rest, "type": one}) for one in kind]} | kept
    return made | _of_kind(kind, rest)


def _of_kind(kind: object, rest: Schema) -> Schema:
    """Return a schema of one type, of alternatives, or of literals; `rest` is what else it says."""
    made = _literals(rest)
    alternatives = _alternatives(rest)
    if alternatives or not made:
        made |= alternatives or {"type": _type(kind, rest)}
    for name in ("description", "title"):
        if (said := rest.pop(name, None)) is not None:
            made[name] = said
    made |= _inside(made.get("type"), rest)
    if rest:
        extra = "{" + ", ".join(f"{name}: {value}" for name, value in rest.items()) + "}"
        made["description"] = f"{made['description']}\n\n{extra}" if "description" in made else extra
    return made


def _literals(rest: Schema) -> Schema:
    made: Schema = {}
    values = rest.get("enum")
    if isinstance(values, list) and values and all(map(_is_plain, values)):
        made["enum"] = rest.pop("enum")
    if "const" in rest and _is_plain(rest["const"]):
        made["const"] = rest.pop("const")
    return made


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _alternatives(rest: Schema) -> Schema:
    """Return the alternatives, exclusive ones as any other, or what has to hold at once."""
    found = [(name, rest.pop(name)) for name in ("anyOf", "oneOf", "allOf") if isinstance(rest.get(name), list)]
    if len(found) > 1:
        raise _InexpressibleError
    for name, several in found:
        if isinstance(several, list):
            return {"allOf" if name == "allOf" else "anyOf": list(map(_made, several))}
    return {}


def _type(kind: object, rest: Schema) -> str:
    if kind is None:
        kind = "object" if "properties" in rest else "array" if "items" in rest else None
    if not isinstance(kind, str) or kind not in _TYPES:
        raise _InexpressibleError
    return kind


def _inside(kind: object, rest: Schema) -> Schema:
    """Return what a type says of what is in it, as far as there is a word for it; that is taken out of `rest`."""
    if kind == "object":
        return _properties(rest)
    made: Schema = {}
    if kind == "array" and "items" in rest:
        made["items"] = _made(rest.pop("items"))
    for name, known in _WORDS.get(str(kind), ()):
        if (said := rest.pop(name, None)) is not None:
            (made if str(said) in known else rest)[name] = said
    return made


def _properties(rest: Schema) -> Schema:
    if isinstance(rest.pop("additionalProperties", None), dict) or "patternProperties" in rest:
        raise _InexpressibleError  # a map: closed, it would always be empty
    properties = rest.pop("properties", {})
    if not isinstance(properties, dict):
        raise _InexpressibleError
    made: Schema = {"properties": {name: _made(one) for name, one in properties.items()}, "additionalProperties": False}
    return made | ({"required": rest.pop("required")} if "required" in rest else {})


def _goes_in_circles(made: Mapping[str, object]) -> bool:
    """Tell whether a definition leads to itself, or one that is named is not there."""
    definitions = made.get(_DEFINITIONS, {})
    if not isinstance(definitions, dict):
        return True
    leads = {name: set(_references(one)) for name, one in definitions.items()}
    left = set(_references(made)) | set().union(*leads.values())
    if not left <= leads.keys():
        return True
    while ends := {name for name, others in leads.items() if not others}:
        leads = {name: others - ends for name, others in leads.items() if name not in ends}
    return bool(leads)


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        place = node.get("$ref")
        if isinstance(place, str):
            yield place.removeprefix(_PREFIX)
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for one in inner:
        yield from _references(one)
