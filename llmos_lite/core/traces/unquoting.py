"""Texts of patterns and runs without what they quote of erased traces."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from llmos_lite.core.traces.quotes import Marks
from llmos_lite.core.traces.skill_quotes import LEAST_WORDS
from llmos_lite.records.catalog_patterns import PatternRecord

GONE = "(erased)"


def pattern_without(pattern: PatternRecord, left: int, marks: Marks) -> PatternRecord | None:
    """Return a pattern without what is quoted; None when nothing is left to call it by."""
    examples = [text for text in json.loads(pattern.examples) if not marks.quoted(text)]
    goal = pattern.goal if not marks.quoted(pattern.goal) else next(iter(examples), "")
    if not goal:
        return None
    count = min(pattern.count, left) or pattern.count
    return msgspec.structs.replace(
        pattern,
        goal=goal,
        count=count,
        users=min(pattern.users, count),
        examples=pattern.examples if examples == json.loads(pattern.examples) else json.dumps(examples),
    )


def json_without(text: str, marks: Marks) -> str:
    """Return JSON whose strings quote nothing."""
    value = json.loads(text)
    clean = _each("", value, marks)
    return text if clean == value else json.dumps(clean, ensure_ascii=False)


def _each(key: str, value: object, marks: Marks) -> object:
    if isinstance(value, str):
        told = key == "goal" or len(value.split()) >= LEAST_WORDS  # a single word may be a state, or an id
        return GONE if told and any(map(marks.quoted, [value, *value.splitlines()])) else value
    if isinstance(value, list):
        return [_each(key, item, marks) for item in value]
    if isinstance(value, Mapping):
        return {name: _each(name, item, marks) for name, item in value.items()}
    return value


def lines_without(text: str, marks: Marks) -> str:
    """Return a text without the lines that quote."""
    return "\n".join(GONE if marks.quoted(line) else line for line in text.split("\n"))
