"""Values of the types in the official libraries, made by chance: dictionaries for requests, models for answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from os import PathLike
from random import Random
from types import UnionType
from typing import IO, Annotated, Any, Literal, Required, Union, get_args, get_origin

from pydantic import BaseModel
from typing_extensions import get_type_hints, is_typeddict

DEEPEST = 6
_LISTS = frozenset({list, Iterable, Sequence})
_PLAIN: dict[object, Callable[[Random], object]] = {
    str: lambda luck: luck.choice(["", "x", "é"]),
    int: lambda luck: luck.randint(0, 3),
    float: lambda luck: luck.random(),
    bool: lambda luck: luck.random() < 0.5,
    object: lambda luck: luck.choice([{"a": 1}, {}]),
    IO[bytes]: lambda _: "JVBERi0x",
    PathLike: lambda _: "JVBERi0x",
}


def made(kind: object, luck: Random, depth: int = 0) -> object:
    """Something that has this type; deep inside, nothing that may be missing."""
    origin, inner = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and (is_typeddict(kind) or issubclass(kind, BaseModel)):
        return _fields(kind, luck, depth)
    if origin in (Union, UnionType):
        return made(_chosen(inner, luck, depth), luck, depth)
    if origin in _LISTS or getattr(origin, "__name__", "") == "SequenceNotStr":
        return [made(inner[0], luck, depth + 1) for _ in range(0 if depth > DEEPEST else luck.randint(0, 2))]
    if origin is dict:
        return {"k": made(inner[1], luck, depth + 1)}
    if origin is Literal:
        return luck.choice(inner)
    same = inner[0] if origin is Annotated else getattr(kind, "__value__", None)
    return made(same, luck, depth) if same else _PLAIN.get(kind, lambda _: None)(luck)


def _fields(kind: type, luck: Random, depth: int) -> dict[str, object]:
    return {
        name: made(inner, luck, depth + 1)
        for name, (inner, required) in fields_of(kind).items()
        if required or luck.random() < (0.6 if depth <= DEEPEST else 0.1)
    }


@cache
def fields_of(kind: type[Any]) -> dict[str, tuple[object, bool]]:
    """The fields of a type, each with its own type and whether it must be there."""
    if issubclass(kind, BaseModel):
        found = kind.model_fields.items()
        return {field.alias or name: (field.annotation, field.is_required()) for name, field in found}
    needed = get_type_hints(kind, include_extras=True)
    return {name: (one, get_origin(needed[name]) is Required) for name, one in get_type_hints(kind).items()}


def _chosen(kinds: Sequence[object], luck: Random, depth: int) -> object:
    if type(None) in kinds and (depth > DEEPEST or luck.random() < 0.5):
        return None
    return luck.choice([one for one in kinds if one is not type(None)])
