"""How common words are at large is known, and a small library profits from it."""

from __future__ import annotations

import numpy as np
import pytest

from llmos_lite.core.skills.commonness import BACKGROUND, RARE, in_background
from llmos_lite.core.skills.fields import Document
from llmos_lite.core.skills.index import SkillIndex
from llmos_lite.core.skills.search import search
from llmos_lite.core.skills.text import Analyzer


def shares(text: str) -> list[float]:
    found = in_background(np.array(Analyzer().hashes(text), dtype=np.uint32))
    return [float(value) / BACKGROUND for value in found]


def test_common_stems_are_known_in_every_form() -> None:
    assert shares("require requires requirement") == pytest.approx([0.7] * 3, rel=0.01)
    assert shares("zebra quinoa") == pytest.approx([RARE] * 2, rel=0.01)
    assert shares("") == []


def test_a_rare_word_decides_where_a_small_library_holds_both_once() -> None:
    library = [Document("users", "", "", "user data one"), Document("zoo", "", "", "zebra quinoa one")]
    found = search([SkillIndex(Analyzer()).updated(library)], "a user with a zebra", 2)
    assert [hit.key for hit in found] == ["zoo", "users"]
    assert found[0].score > 2 * found[1].score
    assert found[0].coverage > 0.5 > found[1].coverage


def test_what_a_large_library_says_itself_counts_more() -> None:
    zebras = [Document(f"z{number}", "", "", f"zebra {number}") for number in range(3000)]
    library = SkillIndex(Analyzer()).updated([*zebras, Document("users", "", "", "user")])
    assert search([library], "zebra user", 1)[0].key == "users"
