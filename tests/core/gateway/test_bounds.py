"""Nobody keeps the others waiting with a request of a million tiny things."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.gateway import bounds
from llmos_lite.core.gateway.asked import Raw, fields_of, items_of
from llmos_lite.core.gateway.bounds import MOST_ITEMS, MOST_OBJECTS, MOST_VALUES, check_body
from llmos_lite.errors import TooLarge

LARGE = "x" * (600 << 10)
TEXT = st.text(st.sampled_from(list('{},"\\[]:a\n')), max_size=20)
JSON = st.recursive(TEXT | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)


def _check(body: object) -> None:
    check_body(json.dumps(body, separators=(",", ":")).encode())


@pytest.mark.parametrize(
    "many",
    [[{}] * (MOST_OBJECTS + 1), [1] * (MOST_VALUES + 2), [""] * (MOST_VALUES + 2), ["{"] * (MOST_VALUES + 2)],
    ids=["objects", "numbers", "empty strings", "strings of braces"],
)
def test_a_body_of_too_many_things_is_refused(many: list[object]) -> None:
    with pytest.raises(TooLarge) as refused:
        _check({"messages": many, "x": LARGE})
    assert refused.value.code == "request.too_many_parts"


@pytest.mark.parametrize(
    "text", ["{," * 1_000_000, '"' * 1_000_000, '\\"{' * 500_000, "\\" * 1_000_001 + '"{,', 'a"{,"b' * 200_000]
)
def test_what_stands_in_a_text_does_not_count(text: str) -> None:
    _check({"messages": [{"role": "user", "content": text}], "x": LARGE})


def test_as_much_as_may_be_is_taken() -> None:
    _check({"input": [1] * 300_000, "x": LARGE})
    _check({"messages": [{"role": "user"}] * (MOST_OBJECTS - 1), "x": LARGE})


@given(body=st.dictionaries(TEXT, JSON, min_size=1))
def test_objects_and_values_outside_of_texts_are_counted(body: dict[str, object]) -> None:
    written = json.dumps(body, ensure_ascii=False)
    marks = {"{": 0, ",": 0}
    _count(body, marks)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bounds, "_SMALL", 0)
        for name, count in (("MOST_OBJECTS", marks["{"]), ("MOST_VALUES", max(marks[","], written.count('"')))):
            patched.setattr(bounds, name, count)
        check_body(written.encode())
        patched.setattr(bounds, "MOST_OBJECTS", marks["{"] - 1)
        with pytest.raises(TooLarge):
            check_body(written.encode())


def _count(value: object, marks: dict[str, int]) -> None:
    """Count the braces and commas that JSON writes for a value outside of its strings."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict):
        marks["{"] += 1
    marks[","] += max(len(inner) - 1, 0)  # type: ignore[arg-type]  # all three have a length
    for one in inner:
        _count(one, marks)


def test_a_conversation_has_so_many_items_at_most() -> None:
    assert len(items_of(Raw(b"[" + b",".join([b"{}"] * MOST_ITEMS) + b"]"))) == MOST_ITEMS
    with pytest.raises(TooLarge, match="`input` has more than 20,000 items"):
        items_of(Raw(b"[" + b",".join([b"1"] * (MOST_ITEMS + 1)) + b"]"), "input")


def test_it_is_checked_before_a_body_is_read() -> None:
    with pytest.raises(TooLarge):
        fields_of(json.dumps({"messages": [{}] * 60_000, "x": LARGE}).encode())
