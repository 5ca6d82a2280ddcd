"""Numbers in sentences: one thing is no plural."""

from __future__ import annotations

import pytest

from llmos_lite.core.wording import count_of


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 chats"), (1, "1 chat"), (2, "2 chats"), (12_345, "12,345 chats"), (None, "0 chats")]
)
def test_a_number_has_the_noun_that_fits(number: object, said: str) -> None:
    assert count_of(number, "chat") == said


def test_a_verb_goes_with_it() -> None:
    assert count_of(1, "event waits", "events wait") == "1 event waits"
    assert count_of(2, "event waits", "events wait") == "2 events wait"
