"""Pages neither repeat nor hide, while the list changes."""

from __future__ import annotations

from dataclasses import dataclass

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.paging import keyset_page, offset_page


@dataclass(frozen=True)
class Item:
    skill: Skill


def items(*ids: str) -> list[Item]:
    return [Item(Skill(skill_id=one, volume="system")) for one in ids]


def test_a_removed_item_hides_no_other() -> None:
    first = keyset_page(items("a", "b", "c", "d"), 2, "")
    rest = keyset_page(items("b", "c", "d"), 2, first.next_cursor or "")
    assert [item.skill.skill_id for item in rest.items] == ["c", "d"]
    assert rest.next_cursor is None


def test_empty_lists_have_one_empty_page() -> None:
    assert keyset_page([], 5, "").items == []
    assert offset_page([], 5, "").next_cursor is None
    assert offset_page([1, 2, 3], 0, "").items == [1]
