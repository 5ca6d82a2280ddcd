"""When to put no skill into a context: small talk, what no skill is about, and what clients ask on the side.

The rule is linear in facts about the best matches. It was chosen by cross-validation (half of the repositories and half
of the intents against the other half) on 342 eval prompts in libraries of 30 to 2,000 public skills and on phrases that
descriptions quote, against requests of CLINC150 (half of its intents) there, among the starter skills and what the
templates make; its weights are rounded. With 2,000 skills: recall@5 falls by 5 points (.80 to .75); it abstains on 90 %
of CLINC150, 93 % of its out-of-scope requests. `make bench` measures it, on small talk and what clients send, too.
"""

from __future__ import annotations

import math
import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from llmos_lite.core.skills.text import REMEMBERED

if TYPE_CHECKING:
    from collections.abc import Callable

    import ahocorasick_rs

    from llmos_lite.core.skills.search import Hit

HEADER_GAIN = 1.2
"""Of the square: a name and description that hold all of a request say more than twice what half of it says. At equal
silence, of phrases quoted in descriptions (and taken out there) 3 to 5 in 100 more get their skill in libraries of 30
and of 2,000, and as many eval prompts as before. A logistic fit of all weights gains 1, loses 2 eval prompts."""
TERMS_GAIN = 1.4
LIBRARY_COST = 0.335
NAMED_GAIN, NAMED_GAIN_AMONG_MANY = 1.7, 1.2
"""A request that holds a skill's whole name; among many skills, some names are everyday words."""
WHOLE_GAIN = 0.75
WHOLE = 0.99
WHOLE_TERMS = 2
SMALL_LIBRARY = 200
"""A skill that holds every word of a request of two words or more is about it, even when only its body says so. Among
many skills one holds them by accident: with 2,000 it would cost 7 points of abstaining and gain 1 of recall."""

MEANING_GAIN = 0.2
USUAL_SURPRISE = 0.8
MOST_SURPRISE = 4.0
"""A match that is nearer in meaning than is usual speaks for itself, and one that is farther against itself. With
MiniLM it abstains on 93 instead of 90 % of CLINC150, and keeps recall@5. Of a table the surprise is not asked: whatever
gain and usual value half of the prompts and intents chose, the other half was no better for it than by words."""
ALONE_SURPRISE, ALONE_COVERAGE = 2.5, 0.2
"""A skill that is this near needs no words in common: it holds less than a fifth of them, as in another language."""

_LEAST = 1e-9
"""Points of a match that has none, as their logarithm is taken."""
THRESHOLD = 2.86
LOOKED_AT = 3
"""Matches that may speak for using skills: the best one need not be the first."""
CLOSE = 0.5
"""Once the best match is good enough, others with this share of its score go along."""

_NO_THING = (
    r"(?![\s_-](?:apps?|applications?|bots?|views?|pages?|widgets?|windows?|products?|platforms?|components?)\b)"
)
"""What follows on no word for the conversation: somebody who builds a chat app means no conversation of theirs."""
_ABOUT_THE_TALK = re.compile(
    r"\b(?:this|the|our|your|above|following|current|partial|whole|new)\s(?:\w{1,12}\s)?"
    r"(?:chat(?:[\s_-]history|\sbox)?|conversations?|dialog(?:ue)?|discussion|session|exchange|messages|"
    r"context\swindow)\b" + _NO_THING + r"|"
    r"\buser(?:'s|s')?\s(?:\w{1,12}\s){0,2}?"
    r"(?:messages?|prompts?|questions?|inputs?|types?|ask|send|say|might|may|could)\b|"
    r"\bof\sthe\suser\b|\babout\sthe\suser\b|\b(?:chat|message|conversation)[\s_-]history\b|"
    r"\bfollow[- ]up\squestion\b|\b(?:last|latest|next)\s(?:user\s)?(?:message|question)\b|"
    r"\b(?:name|title)s?\sconversations\b|\bthis\smessage\b|\bsession\stitle\b|\binto\sa\schat\b",
)
_MADE_OF_IT = re.compile(
    r"\b(?:titles?|headline|short\sname|tags?|topics?|themes|keywords|follow[- ]?ups?|emojis?|quer(?:y|ies)|"
    r"continu(?:es?|ation)|complet(?:e|ion)|unfinished|standalone|understood\swithout|next\suser\smessage|"
    r"(?:questions|prompts)\s(?:that\s)?the\suser|memor(?:y|ies)|worth\sremembering|preferences|"
    r"summar(?:y|i[sz]e)|condense|compact|brief)\b",
)
_ONLY_THAT = re.compile(
    r"\b(?:only|just|nothing\selse|no\sexplanation|do\snot\sanswer|without\squot\w{1,8}|not\suse\squot\w{1,8}|"
    r"json|one\sper\sline|comma\sseparated|(?:in\s|at\smost\s|under\s|up\sto\s|max\s|than\s|\d\s?-\s?)\w{1,6}[\s-]"
    r"(?:words?|characters|keywords)|\d-word|a\s(?:short\s|brief\s)?title|so\sfar|up\sto\sthis\spoint|another\sagent|"
    r"messages\sabove|conversation\sabove|older\sparts|\d(?:-\d)?\s(?:\w{1,10}\s)?(?:tags|questions|follow\S{1,6})|"
    r"standalone)\b",
)
"""A side request names the conversation, what to make of it, and the form of the answer. Somebody who wants help with
conversations of their own names two of the three at most."""

_SIDE_TASK = re.compile(
    r"(?:please\s)?(?:generate|suggest|write|create|provide|give)\s.{0,60}\b"
    r"(?:titles?|tags?|follow[- ]?ups?|emojis?)\b.{0,40}"
    r"\b(?:chat\shistory|(?:this|the|our)\s(?:chat|conversation|dialogue))\b" + _NO_THING + r"|"
    r"#{1,6}\stask:\s.{0,80}\b(?:user|person)\s(?:might|may|could)\s(?:\w{1,12}\s)?(?:send|ask|say|type)\b|"
    r"\W{0,3}suggestion\smode\b|the\suser\sstepped\saway\b.{0,40}\b(?:back|recap)\b|"
    r".{0,60}\bautocomplet\w{1,5}\ssystem\b|.{0,60}\bcontext\scheckpoint\b|"
    r"(?:determine|extract)\sthe\s(?:file\spaths|command\sprefix)\b|"
    r"please\sanalyze\sthe\sconversation\shistory\sabove\sand\sgenerate\b|generate\sthe\ssession\stitle\snow\b|"
    r"summarize\sthis\ssession\sfor\scontinuation\.|summarize\sconversation\schunk\s\d|"
    r".{0,60}\bfacial\sexpression\b.{0,40}\bemoji\b",
    re.IGNORECASE | re.DOTALL,
)
_TOOL_RESULT = re.compile(
    r"\[?(?:tool|function|command)[\s_-](?:results?|outputs?|responses?)\b\s{0,3}[\]:]|observation:\s", re.IGNORECASE
)
_WRAPPED = re.compile(
    r"<(?:tool_|function_|system[-_]reminder|local-command|command-|bash-|environment_context|user_instructions)",
    re.IGNORECASE,
)
_HEAD, _TAIL = 600, 300
_HINTS = (
    "conversation",
    "chat",
    "user",
    "message",
    "session",
    "dialog",
    "discussion",
    "exchange",
    "question",
    "context",
    "task:",
    "suggestion mode",
    "autocomplet",
    "file",
    "command",
    "emoji",
)
"""Most requests hold none of these, and need no closer look."""


def is_enough(hit: Hit, named: Callable[[], bool]) -> bool:
    """Tell whether a match speaks for using skills; `named` is asked only where it decides."""
    plain = evidence(hit)
    return plain >= THRESHOLD or (plain + _named_gain(hit) >= THRESHOLD and named())


def evidence(hit: Hit, *, named: bool = False) -> float:
    """Return how much speaks for a match: log score, more for its name and description, less in a large library.

    The best of many documents matches something by accident, so the bar rises with the library.

    Args:
        hit: the match.
        named: whether the query holds every word of the skill's name.
    """
    score = hit.score - hit.meaning
    words = (
        math.log(max(score, _LEAST))
        + HEADER_GAIN * hit.header**2
        + TERMS_GAIN * math.log(hit.terms or 1)
        + (_named_gain(hit) if named else 0.0)
        + (WHOLE_GAIN if _holds_all(hit) else 0.0)
        - LIBRARY_COST * math.log(hit.searched + 15)
    )
    if hit.surprise is None:
        return words
    words += MEANING_GAIN * (_bounded(hit.surprise) - USUAL_SURPRISE)
    return max(words, THRESHOLD) if _means_it(hit) else words


def parts(hit: Hit, *, named: bool = False) -> dict[str, float]:
    """Return the evidence of a match by feature, as people want it explained; `evidence` is their sum."""
    return {
        "score": math.log(max(hit.score - hit.meaning, _LEAST)),
        "header": HEADER_GAIN * hit.header**2,
        "terms": TERMS_GAIN * math.log(max(hit.terms, 1)),
        "named": _named_gain(hit) * named,
        "whole": WHOLE_GAIN * _holds_all(hit),
        "library": -LIBRARY_COST * math.log(hit.searched + 15),
        "meaning": 0.0 if hit.surprise is None else MEANING_GAIN * (_bounded(hit.surprise) - USUAL_SURPRISE),
    }


def _named_gain(hit: Hit) -> float:
    return NAMED_GAIN if hit.searched <= SMALL_LIBRARY else NAMED_GAIN_AMONG_MANY


def _bounded(surprise: float) -> float:
    return min(max(surprise, -MOST_SURPRISE), MOST_SURPRISE)


def _means_it(hit: Hit) -> bool:
    return hit.surprise is not None and hit.surprise >= ALONE_SURPRISE and hit.coverage <= ALONE_COVERAGE


def _holds_all(hit: Hit) -> bool:
    return hit.coverage >= WHOLE and hit.terms >= WHOLE_TERMS and hit.searched <= SMALL_LIBRARY


def is_side_request(query: str) -> bool:
    """Tell whether a client speaks and no person; the last answer is kept, as whoever chooses skills asks again.

    It asks for something about the conversation itself (a title, tags, what the user might ask next, a summary), or
    hands in what a tool returned.
    """
    return _told(query) if len(query) <= REMEMBERED else _is_side_request(query)


@lru_cache(maxsize=1)
def _told(query: str) -> bool:
    return _is_side_request(query)


def _is_side_request(query: str) -> bool:
    text = query.strip()
    if is_output(text):
        return True
    if len(text) <= _HEAD + _TAIL:
        head, tail = text.lower(), ""
    else:
        head, tail = text[:_HEAD].lower(), text[-_TAIL:].lower()
    if not _hints().find_matches_as_indexes(f"{head}\n{tail}".encode(errors="replace")):
        return False
    return _SIDE_TASK.match(text) is not None or _is_about_the_talk(head) or _is_about_the_talk(tail)


@cache
def _hints() -> ahocorasick_rs.BytesAhoCorasick:
    """Return what finds the hints in one pass, over bytes: a text of a client may hold half characters."""
    import ahocorasick_rs  # noqa: PLC0415 - a start need not wait for it

    words = [hint.encode() for hint in _HINTS]
    return ahocorasick_rs.BytesAhoCorasick(words, implementation=ahocorasick_rs.Implementation.DFA)


def _is_about_the_talk(lower: str) -> bool:
    return all(cue.search(lower) for cue in (_ABOUT_THE_TALK, _MADE_OF_IT, _ONLY_THAT))


def is_output(text: str) -> bool:
    """Tell whether a text, without blanks around it, is the result of a tool and nothing else."""
    if text[:1] == "<":
        return _WRAPPED.match(text) is not None and text.endswith(">")
    if text[:1] in {"{", "["} and text[-1] in {"}", "]"} and '"' in text[:_HEAD]:
        return True
    return _TOOL_RESULT.match(text) is not None
