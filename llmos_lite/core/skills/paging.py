"""Pages of skills: after a key where the list is sorted, at a place where it is ranked."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Sequence
from typing import Protocol, TypeVar

from llmos_lite.core.page import Page
from llmos_lite.core.skills.format import Skill
from llmos_lite.errors import Invalid


class HasSkill(Protocol):
    """Something listed under a skill's id and volume."""

    @property
    def skill(self) -> Skill:
        """Return the skill."""


Item = TypeVar("Item", bound=HasSkill)
Ranked = TypeVar("Ranked")


def keyset_page(items: Sequence[Item], limit: int, cursor: str) -> Page[Item]:
    """Return a page of a list; one that is removed or added meanwhile neither repeats nor hides another.

    Raises:
        Invalid: `cursor.invalid`.
    """
    keys = [f"{item.skill.skill_id}\n{item.skill.volume}" for item in items]
    order = sorted(range(len(items)), key=keys.__getitem__)
    start = bisect_right([keys[place] for place in order], _decode(cursor)) if cursor else 0
    shown = order[start : start + max(1, limit)]
    more = start + len(shown) < len(items)
    return Page([items[place] for place in shown], _encode(keys[shown[-1]]) if more else None, len(items))


def offset_page(items: Sequence[Ranked], limit: int, cursor: str) -> Page[Ranked]:
    """Return a page of a ranking.

    Raises:
        Invalid: `cursor.invalid`.
    """
    start = _place(cursor) if cursor else 0
    shown = items[start : start + max(1, limit)]
    more = start + len(shown) < len(items)
    return Page(list(shown), _encode(str(start + len(shown))) if more else None, len(items))


def _place(cursor: str) -> int:
    text = _decode(cursor)
    if not (text.isascii() and text.isdigit()):
        raise _invalid()
    return int(text[:9])


def _encode(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str) -> str:
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise _invalid() from None


def _invalid() -> Invalid:
    return Invalid("cursor.invalid", "The cursor is none of ours.", hint="Start again without a cursor.")
