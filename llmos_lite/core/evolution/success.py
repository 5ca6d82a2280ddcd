"""Whether a conversation worked, as far as its turns tell.

What somebody said of it outright (feedback, a verifier) wins. Without that, a conversation that completed and was not
corrected counts as a success *for drafting only*: implicit signals may nominate a skill, never prove one ("thanks"
predicts success worse than chance on tau-bench, so thanks count for nothing here).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from llmos_lite.core.traces.trace import Ended, Outcome

LOOKED_AT = 300
"""Characters of a later turn that are searched: people correct first and explain after."""


class Turn(Protocol):
    """What is needed of one turn."""

    @property
    def goal(self) -> str:
        """What the person asked in this turn."""

    @property
    def ended(self) -> str:
        """How the model's answer ended."""

    @property
    def outcome(self) -> str:
        """What somebody said came of it."""


class Verdict(StrEnum):
    """What came of a conversation."""

    CONFIRMED = "confirmed"
    """Somebody said that it worked."""
    COMPLETED = "completed"
    """It ran to its end and nobody objected."""
    CORRECTED = "corrected"
    """The person had to say that the answer was not what was meant."""
    FAILED = "failed"
    """Somebody said that it did not work, or it broke off."""

    @property
    def is_success(self) -> bool:
        """Tell whether it counts as a success for drafting."""
        return self in {Verdict.CONFIRMED, Verdict.COMPLETED}


_NEGATED = r"(?:\s(?:is|was|does|did)\snot|\s?(?:isn|wasn|doesn|didn)'?t|'s\snot)"
_CORRECTION = re.compile(
    rf"""
      \A\W{{0,3}}no(?:pe)?\b(?!\s(?:problem|worries|need|rush|thanks|thank|doubt|one)\b)
    | \b(?:that|this|it){_NEGATED}\s(?:quite\s|really\s|at\sall\s)?(?:right|correct|true|what|it|working|work|help)\b
    | \bnot\s(?:quite\s|at\sall\s)?what\si\s(?:asked|meant|wanted|said|need)
    | \b(?:that|this|it|which|answer|result|code|output|you)(?:'s|'re|\sis|\sare|\swas|\sgot\sit|\slooks)?
        \s(?:still\s|completely\s|totally\s|just\s|all\s)?(?:wrong|incorrect|mistaken)\b
    | \A\W{{0,3}}wrong\b
    | \b(?:try|do\s(?:it|that))\s(?:it\s|that\s|this\s)?again\b | \bstart\sover\b
    | \bstill\s(?:not\s|doesn'?t\s|does\snot\s)?(?:work|fail|broken|compile|the\ssame\serror)
    | \byou\s(?:misunderst|misread|ignored|forgot|missed|made\sa\smistake)
    | \bi\s(?:said|asked\s(?:for|you)|told\syou|meant)\b
    | \b(?:undo|revert)\s(?:that|this|it|your)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)


def is_correction(text: str) -> bool:
    """Tell whether a later turn says that the answer before it was not right."""
    return _CORRECTION.search(text[:LOOKED_AT].replace("\u2019", "'")) is not None


def was_answered(turns: Sequence[Turn]) -> bool:
    """Tell whether a conversation says anything of its goal: no model answered when all that came were its failures."""
    return any(turn.ended != Ended.ERROR or turn.outcome != Outcome.UNKNOWN for turn in turns)


def judge(turns: Sequence[Turn]) -> Verdict:
    """Return what came of a conversation, given its turns in order."""
    said = [turn.outcome for turn in turns if turn.outcome != Outcome.UNKNOWN]
    if said:
        return Verdict.CONFIRMED if said[-1] == Outcome.SUCCESS else Verdict.FAILED
    if turns[-1].ended != Ended.COMPLETE:
        return Verdict.FAILED
    if any(is_correction(turn.goal) for turn in turns[1:]):
        return Verdict.CORRECTED
    return Verdict.COMPLETED
