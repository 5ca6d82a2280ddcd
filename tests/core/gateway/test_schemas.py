"""Schemas for Anthropic: what its own library makes of them, and nothing for those that would mean another one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic import transform_schema
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.gateway.translation.neutral import Raw
from llmos_lite.core.gateway.translation.schemas import closed

NAMES = st.sampled_from(["a", "b", "c"])
TOLD = st.fixed_dictionaries({}, optional={"description": st.text(max_size=9), "title": st.just("T")})
LEAVES = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={
            "format": st.sampled_from(["date", "regex"]),
            "minLength": st.integers(0, 3),
            "enum": st.just(["x", 1, None]),
            "pattern": st.just("^x$"),
        },
    ),
    st.fixed_dictionaries({"type": st.sampled_from(["integer", "number"])}, optional={"minimum": st.integers()}),
    st.fixed_dictionaries({"type": st.sampled_from(["boolean", "null"])}),
    st.fixed_dictionaries({"const": st.sampled_from(["x", 1, True, None])}),
)


def _around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    objects = st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(NAMES, inner, max_size=3)},
        optional={"required": st.lists(NAMES, max_size=2), "additionalProperties": st.booleans()},
    )
    arrays = st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"minItems": st.integers(0, 3)})
    choices = st.sampled_from(["anyOf", "oneOf", "allOf"]).flatmap(lambda name: st.fixed_dictionaries({name: several}))
    return st.tuples(objects | arrays | choices, TOLD).map(lambda both: both[0] | both[1])


SCHEMAS = st.recursive(LEAVES, _around, max_leaves=8)


def made(schema: object) -> dict[str, Any] | None:
    return closed(Raw(json.dumps(schema).encode()))


@given(SCHEMAS)
def test_it_is_what_anthropics_own_library_makes_of_it(schema: dict[str, Any]) -> None:
    assert made(schema) == transform_schema(schema)


def test_objects_are_closed_and_references_stay() -> None:
    person = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}}
    schema = {"type": "object", "properties": {"one": {"$ref": "#/$defs/P"}}, "$defs": {"P": person}}
    assert made(schema) == {
        "$defs": {
            "P": {
                "type": "object",
                "properties": {"age": {"type": "integer", "description": "{minimum: 0}"}},
                "additionalProperties": False,
            }
        },
        "type": "object",
        "properties": {"one": {"$ref": "#/$defs/P"}},
        "additionalProperties": False,
    }


def test_a_list_of_types_becomes_alternatives() -> None:
    found = made({"type": ["string", "null"], "description": "D", "format": "date"})
    assert found == {
        "anyOf": [{"type": "string", "format": "date"}, {"type": "null", "description": "{format: date}"}],
        "description": "D",
    }


def test_a_type_that_goes_without_saying_is_said() -> None:
    assert made({"properties": {"a": {"type": "null"}}}) == {
        "type": "object",
        "properties": {"a": {"type": "null"}},
        "additionalProperties": False,
    }


NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/N"}}}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "patternProperties": {"^x": {"type": "string"}}},
        {"type": "object", "properties": {"any": {}}},
        {"type": "object", "properties": {"any": True}},
        {"type": "object", "properties": []},
        {"type": "array", "items": [{"type": "string"}]},
        {"type": "tuple"},
        {"type": {}},
        {"anyOf": [{"type": "null"}], "allOf": [{"type": "null"}]},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#"},
        {"$ref": "#/$defs/none"},
        {"$ref": "#/$defs/N", "$defs": {"N": NODE}},
        {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}},
        [],
        "x",
        None,
    ],
)
def test_what_would_mean_another_one_is_none(schema: object) -> None:
    assert made(schema) is None


@pytest.mark.parametrize("raw", [b"{", b'{"a":"\xff"}', b'{"items":' * 100_000])
def test_what_is_no_schema_is_none(raw: bytes) -> None:
    assert closed(Raw(raw)) is None


@given(st.recursive(st.none() | st.booleans() | st.text(max_size=3), lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(["type", "$ref", "$defs", "properties", "items", "enum", "anyOf", "format", "minItems", "x"]), inner
)))  # fmt: skip
def test_nothing_breaks_it(schema: object) -> None:
    made(schema)
