"""`llmos skills search --explain`: each hit with its points, and why it would be used, or not."""

from __future__ import annotations

from collections.abc import Iterator

from llmos_lite.cli.client import Json
from llmos_lite.cli.command import Session


def show(session: Session, params: dict[str, str], limit: int) -> None:
    """Write the hits of a query, with their reasons."""
    found = list(session.api.items("/skills", params | {"explain": "true"}, limit=limit))
    lines = [line for item in found for line in _lines(item)]
    session.out.show(found, lambda: session.out.say(*(lines or ["Nothing matches a single word."])))


def _lines(item: Json) -> Iterator[str]:
    told = item.get("explanation")
    if not isinstance(told, dict):
        return
    mark = "used" if told.get("used") else f"not used: {told.get('reason')}"
    yield f"{item.get('skill_id')}  {item.get('volume')}  {told.get('total', 0):.2f}  {mark}"
    yield from (f"    {line}" for line in _points(told))
    if told.get("missing"):
        yield f"    missing   {', '.join(map(str, told['missing']))}"
    if told.get("total"):
        yield f"    coverage  {told.get('coverage', 0):.0%}, by name and description {told.get('header', 0):.0%}"
    if isinstance(told.get("evidence"), dict) and told["evidence"]:
        yield f"    evidence  {_evidence(told['evidence'])}; needed {told.get('needed')}"
    if told.get("cut") is not None:
        yield f"    cut       {told['cut']:.2f}"


def _points(told: Json) -> Iterator[str]:
    fields = told.get("fields")
    for name, words in fields.items() if isinstance(fields, dict) else ():
        if words:
            shown = ", ".join(f"{word} {points:.2f}" for word, points in words.items())
            yield f"{name:9} {sum(words.values()):.2f}  ({shown})"
    for name in ("pairs", "asked", "meaning"):
        points = told.get(name)
        if isinstance(points, int | float) and points:
            yield f"{name:9} {points:.2f}"


def _evidence(found: Json) -> str:
    features = ", ".join(f"{name} {value:+.2f}" for name, value in found.items() if name != "sum" and value)
    return f"{found.get('sum', 0):.2f} ({features})"
