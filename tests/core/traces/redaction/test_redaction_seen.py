"""Long texts that come again are not looked through again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.traces.redaction.base import Found
from llmos_lite.core.traces.redaction.finder import TextFinder
from llmos_lite.core.traces.redaction.seen import LEAST, MOST_PLACES, Seen

LONG = "You help with mail. Write to ada@example.org when in doubt. " + "Be brief. " * (LEAST // 10)


class Counting:
    """A finder that counts how often it looks."""

    def __init__(self, places: int = 1) -> None:
        self.looks, self._places = 0, places

    def find(self, text: str) -> list[Found]:
        """Find the beginning of a text."""
        self.looks += 1
        return [Found(at, at + 1, "email") for at in range(min(self._places, len(text)))]


def test_a_long_text_is_looked_through_once() -> None:
    finder = Counting()
    seen = Seen(finder.find)
    assert seen.find(LONG) == seen.find(LONG) == [Found(0, 1, "email")]
    assert finder.looks == 1


def test_what_is_handed_out_is_the_callers_own() -> None:
    seen = Seen(Counting().find)
    seen.find(LONG).clear()
    seen.find(LONG).clear()
    assert seen.find(LONG)


def test_a_short_text_and_one_full_of_finds_are_looked_through_every_time() -> None:
    finder = Counting(MOST_PLACES + 1)
    seen = Seen(finder.find)
    for text in ("short", "short", LONG, LONG):
        seen.find(text)
    assert finder.looks == 4


def test_the_texts_that_came_long_ago_are_forgotten() -> None:
    finder = Counting()
    seen = Seen(finder.find, most=2)
    texts = [f"{number} {LONG}" for number in range(3)]
    for text in (texts[0], texts[1], texts[0], texts[2], texts[0], texts[1]):
        seen.find(text)
    assert finder.looks == 4  # the second came again after the third had taken its place


@given(st.text(), st.text())
def test_a_text_that_was_seen_gives_what_it_gave(before: str, after: str) -> None:
    finder = TextFinder()
    seen = Seen(finder.find)
    text = before + LONG + after
    assert seen.find(text) == seen.find(text) == finder.find(text)
