"""What holds for every request body."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

import llmos_lite.api.routes  # noqa: F401 - it knows all bodies
from llmos_lite.api.deps import Body


def bodies(model: type[Body] = Body) -> Iterator[type[Body]]:
    for one in model.__subclasses__():
        yield one
        yield from bodies(one)


def is_number(schema: dict[str, Any]) -> bool:
    kinds = [schema, *schema.get("anyOf", [])]
    return any(kind.get("type") in {"integer", "number"} for kind in kinds)


NUMBERS = [
    (model, name)
    for model in bodies()
    for name, schema in model.model_json_schema().get("properties", {}).items()
    if is_number(schema)
]


def test_there_are_numbers_in_bodies() -> None:
    assert {"expires_days", "retention_days", "requests", "money", "days"} <= {name for _, name in NUMBERS}


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize(("model", "name"), NUMBERS, ids=lambda item: getattr(item, "__name__", item))
def test_a_switch_is_no_number(model: type[Body], name: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate({name: value})
    said = [error["msg"] for error in caught.value.errors() if error["loc"][0] == name]
    assert any("a number is wanted" in one or "greater than" in one for one in said)
