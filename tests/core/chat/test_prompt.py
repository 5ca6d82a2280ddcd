"""A system prompt is what its pieces say, and stands in JSON as its whole text would."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.chat.prompt import NOTHING, Prompt
from llmos_lite.core.gateway.asked import quoted

PIECES = st.lists(st.text(st.characters(exclude_categories=["Cs"]))).map(tuple)


@given(PIECES)
def test_it_is_its_pieces_one_behind_the_other(pieces: tuple[str, ...]) -> None:
    prompt = Prompt(pieces)
    assert (prompt.text, len(prompt)) == ("".join(pieces), len("".join(pieces)))
    for _ in range(2):  # made, and then remembered
        assert json.loads(quoted(prompt)) == prompt.text
        assert quoted(prompt) == quoted(prompt.text)


def test_one_of_no_pieces_is_nothing() -> None:
    assert not NOTHING
    assert Prompt(("x",))
    assert quoted(NOTHING) == b'""'


def test_equal_pieces_make_equal_prompts() -> None:
    assert len({Prompt(("a", "b")), Prompt(("a", "b")), Prompt(("ab",))}) == 2
