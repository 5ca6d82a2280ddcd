from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.traces.quotes import MOST_MARKS, PER_TRACE, PHRASE, Marks, phrases
from llmos_lite.core.traces.skill_quotes import TAKEN_OUT, without

WORDS = st.lists(st.sampled_from([f"w{number}" for number in range(40)]), max_size=60)


def marked(*texts: str) -> Marks:
    marks = Marks()
    for text in texts:
        marks.add(text)
    return Marks.unpack(marks.pack())


def test_six_words_in_a_row_are_found_whatever_is_between_them() -> None:
    marks = marked("Please, deploy the blue whale\nto Zürich on Monday. Thanks!")
    assert marks.quoted("> Deploy the BLUE whale to zürich") == ["deploy the blue whale to zürich"]
    assert marks.quoted("deploy the blue whale to paris") == []
    assert marks.quoted("Thanks!") == []
    assert not Marks()


def test_a_short_line_counts_as_a_whole() -> None:
    marks = marked("Hello there\n\nmy pin is 4711")
    assert marks.quoted("My pin is 4711.") == ["my pin is 4711"]
    assert marks.quoted("my pin") == []
    assert marks.quoted("") == []


@given(WORDS, WORDS, WORDS)
def test_a_text_is_quoted_when_it_shares_a_phrase(before: list[str], shared: list[str], after: list[str]) -> None:
    marks = marked(" ".join([*before, *shared]))
    if len(shared) >= PHRASE:
        assert marks.quoted(" ".join([*shared, *after]))
    found = set(marks.quoted(" ".join(after)))
    assert found <= set(phrases(" ".join([*before, *shared])))


def test_of_a_very_large_erasure_a_passage_is_still_found() -> None:
    marks = Marks(traces=20 * MOST_MARKS // PER_TRACE)
    text = " ".join(f"word{number}" for number in range(2000))
    marks.add(text, every=marks._every)
    assert len(marks._hashes) < 200
    passage = " ".join(f"word{number}" for number in range(700, 900))
    assert marks.quoted(passage)


def test_only_what_quotes_is_taken_out_of_a_skill() -> None:
    body = "# T\n\n## When to Use\n\n- one two three\n- four five six\n\n"
    body += "## Example\n\nAsked: q\n\n> an answer\n\n## More\n\nend\n"
    skill = Skill(skill_id="t", name="T", description='Asked for "one two three" or "four five six".', body=body)
    mended = without(skill, ["one two three"])
    assert "one two three" not in mended.render()
    assert "> an answer" in mended.body
    assert "four five six" in mended.description
    mended = without(skill, ["> an answer"])
    assert "an answer" not in mended.body
    assert TAKEN_OUT in mended.body
    assert mended.body.endswith("## More\n\nend\n")
    assert without(Skill(skill_id="t", name="a b c", description="a b c", body=""), ["a b c"]).description
