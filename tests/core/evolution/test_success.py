from __future__ import annotations

from dataclasses import dataclass

import pytest

from llmos_lite.core.evolution.success import Verdict, is_correction, judge


@dataclass
class Turn:
    goal: str = "parse a CSV"
    ended: str = "complete"
    outcome: str = "unknown"


@pytest.mark.parametrize(
    "text",
    [
        "no, that is wrong", "No.", "nope", "that's not what I asked", "that\u2019s not what I asked", "try again",
        "Please try it again", "It still doesn't work", "still failing", "you forgot it",
        "I meant the other file",
        "that isn't right", "this is not quite what I wanted", "it is wrong", "Not what I need",
        "The answer is incorrect",
        "wrong", "you misunderstood me", "start over", "I said metric units", "undo that", "that does not work",
    ],
)  # fmt: skip
def test_a_correction_is_heard(text: str) -> None:
    assert is_correction(text)


@pytest.mark.parametrize(
    "text",
    [
        "No problem, thanks", "that is right", "that's correct, thanks", "thanks!", "now add a header", "no worries",
        "what is wrong with this code?", "is it right that water boils at 100", "great, that works", "no one knows why",
        "find out what is wrong", "and again for the second file: sum the columns", "",
    ],
)  # fmt: skip
def test_going_on_is_no_correction(text: str) -> None:
    assert not is_correction(text)


def test_what_somebody_said_wins() -> None:
    assert judge([Turn(outcome="success", ended="error")]) is Verdict.CONFIRMED
    assert judge([Turn(outcome="failure")]) is Verdict.FAILED
    assert judge([Turn(outcome="failure"), Turn(goal="no, wrong", outcome="success")]) is Verdict.CONFIRMED
    assert judge([Turn(outcome="success"), Turn(outcome="failure"), Turn()]) is Verdict.FAILED


def test_without_a_word_it_counts_how_it_went() -> None:
    assert judge([Turn()]) is Verdict.COMPLETED
    assert judge([Turn(), Turn(goal="thanks, now sort it")]) is Verdict.COMPLETED
    assert judge([Turn(ended="error")]) is Verdict.FAILED
    assert judge([Turn(), Turn(ended="aborted")]) is Verdict.FAILED
    assert judge([Turn(), Turn(goal="no, that is wrong")]) is Verdict.CORRECTED


def test_a_first_turn_corrects_nothing() -> None:
    assert judge([Turn(goal="no, that is wrong: fix my essay")]) is Verdict.COMPLETED


def test_only_successes_are_successes() -> None:
    assert [verdict for verdict in Verdict if verdict.is_success] == [Verdict.CONFIRMED, Verdict.COMPLETED]
