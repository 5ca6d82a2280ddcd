"""When to put no skill into a context: small talk, what no skill is about, and what clients ask on the side.

The rule is a logistic regression over facts about the best matches, fitted on 342 eval prompts in libraries of 50, 200
and 2,000 public skills and on short requests in the starter library, against 1,200 requests of CLINC150 (half of its
intents) and 54 sentences of small talk; its weights are rounded. Measured: recall@5 falls by 4 points (.79 to .75) with
2,000 skills and by none in the starter library, and it abstains on 84 to 96 % of what needs no skill.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmos_lite.core.skills.search import Hit

HEADER_GAIN = 2.1
TERMS_GAIN = 1.2
LIBRARY_COST = 0.24
NAMED_GAIN = 1.0
WHOLE_GAIN = 1.0
WHOLE = 0.99
WHOLE_TERMS = 2
WHOLE_LIBRARY = 200
"""A skill that holds every word of a request of two words or more is about it, even when only its body says so. Among
many skills one holds them by accident: with 2,000 it would cost 7 points of abstaining and gain 1 of recall."""

THRESHOLD = 3.5
CLOSE = 0.5
"""Once the best match is good enough, others with this share of its score go along."""

_SIDE_REQUEST = re.compile(
    r"(?:###\s*task:?\s*)?(?:please\s+)?"
    r"(?:generate|suggest|write|create|provide|give|produce)\s(?:me\s|a\s|an\s|the\s|\S{0,12}\s){0,4}?"
    r"(?:\S{1,12}\s){0,6}?(?:titles?|tags?|follow[- ]?up\s(?:questions|prompts)|emojis?|search\squer(?:y|ies))\b"
    r".{0,200}?\b(?:chat|conversation|dialogue?|discussion|chat_history|user\smight)\b",
    re.IGNORECASE | re.DOTALL,
)
_LOOKED_AT = 600


def evidence(hit: Hit, *, named: bool = False) -> float:
    """Return how much speaks for a match: log score, more for its name and description, less in a large library.

    The best of many documents matches something by accident, so the bar rises with the library.

    Args:
        hit: the match.
        named: whether the query holds every word of the skill's name.
    """
    return sum(parts(hit, named=named).values())


def parts(hit: Hit, *, named: bool = False) -> dict[str, float]:
    """Return the evidence of a match by feature; see `evidence`."""
    return {
        "score": math.log(max(hit.score, 1e-9)),
        "header": HEADER_GAIN * hit.header,
        "terms": TERMS_GAIN * math.log(max(hit.terms, 1)),
        "named": NAMED_GAIN * named,
        "whole": WHOLE_GAIN * _holds_all(hit),
        "library": -LIBRARY_COST * math.log(hit.searched + 15),
    }


def _holds_all(hit: Hit) -> bool:
    return hit.coverage >= WHOLE and hit.terms >= WHOLE_TERMS and hit.searched <= WHOLE_LIBRARY


def is_side_request(query: str) -> bool:
    """Tell whether a client asks for something about the conversation itself: a title, tags, follow-up questions."""
    return _SIDE_REQUEST.match(query.lstrip()[:_LOOKED_AT]) is not None
