"""Whether a text that stands where a secret could stand is one: drawn at random, or made up by a person.

A random text changes the class of its characters (small, capital, digit) at every second step, a word hardly ever:
62 letters and digits at random do so at 0.45 of the steps (from a capital to a small letter aside, as words begin),
hexadecimal digits at 0.47, identifiers at 0.05 to 0.2.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from math import log2

from llmos_lite.core.traces.redaction.placeholders import is_code, is_file, is_placeholder

LONGEST, LONGEST_PASSWORD = 4096, 256
SURELY, MOSTLY, SELDOM = 0.3, 0.22, 0.15
"""Shares of changing steps: of a random text; of one, with a few digits; of one without words in it."""

_WEAK = frozenset(
    (
        "qwerty",
        "qwertz",
        "letmein",
        "iloveyou",
        "welcome",
        "monkey",
        "dragon",
        "football",
        "baseball",
        "sunshine",
        "superman",
        "swordfish",
        "princess",
        "starwars",
        "hunter",
        "shadow",
    )
)
"""Words that people do use as passwords."""
_OPEN = re.compile(r"^0x[0-9a-fA-F]{40}$|^0x[A-Z][a-z]|^(?:sha\d{1,3}|SHA\d{1,3}|md5|MD5)[-:]")
"""An account of a chain, and hashes: nobody has to hide them."""
_WORDS = re.compile(r"^[A-Za-z]+(?:[-_. /:][A-Za-z]+)*$")
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_HEX = re.compile(r"^[0-9a-fA-F]+$")
_UUID = re.compile(r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$")
_TOKEN = re.compile(r"^[\w+/=.~%:-]+$")
_SENTENCE = frozenset(
    (
        *(
            "your",
            "my",
            "the",
            "a",
            "an",
            "use",
            "enter",
            "change",
            "secure",
            "strong",
            "random",
            "long",
            "password",
            "pass",
        ),
        *(
            "secret",
            "token",
            "key",
            "here",
            "is",
            "are",
            "not",
            "must",
            "please",
            "from",
            "with",
            "for",
            "to",
            "in",
            "of",
        ),
        *(
            "and",
            "or",
            "default",
            "example",
            "test",
            "be",
            "at",
            "least",
            "this",
            "that",
            "you",
            "it",
            "if",
            "when",
            "no",
        ),
        *("new", "old"),
    )
)
_NAMED = re.compile(
    r"pass|pwd|secret|token|key|user|name|admin|root|test|demo|example|default|value|string|text|none|null|true|false"
    r"|required|optional|hidden|masked|input|field|data|type|file|postgres|mysql|maria|mongo|redis|rabbit|guest|wordpress"
    r"|airflow|grafana|keycloak|elastic|kafka|oracle|sqlserver|docker|minio|change|your|env|config|var|self|this|get|set"
    r"|credential|login|auth",
    re.IGNORECASE,
)
"""Words that stand for a password more often than they are one."""


def change(value: str) -> float:
    """Return at which share of its steps a text goes from one class of letters or digits to another."""
    kinds = ["a" if c.islower() else "A" if c.isupper() else "0" if c.isdigit() else "" for c in value[:256]]
    steps = [one + other for one, other in pairwise(kinds) if one and other]
    return sum(step[0] != step[1] and step != "Aa" for step in steps) / len(steps) if steps else 0.0


def entropy(value: str) -> float:
    """Return the bits that a character of a text says, by its own frequencies."""
    counts = Counter(value)
    return -sum(count / len(value) * log2(count / len(value)) for count in counts.values())


def classes(value: str, symbols: str = "") -> int:
    """Return how many kinds of characters a text has: small and capital letters, digits, others (or `symbols`)."""
    others = any(c in symbols if symbols else not c.isalnum() and c not in "_-./:," for c in value)
    return sum(any(map(test, value)) for test in (str.islower, str.isupper, str.isdigit)) + others


def is_random(value: str, *, least: int = 16) -> bool:
    """Tell whether a text looks drawn at random, of letters, digits and `_ - . + / = ~ : %`, or is a UUID."""
    if not least <= len(value) <= LONGEST or not _TOKEN.match(value) or _OPEN.match(value):
        return False
    if is_placeholder(value) or is_code(value):
        return False
    if _UUID.match(value):
        return True
    if _HEX.match(value):
        return entropy(value) >= 2.6 and 4 <= sum(map(str.isdigit, value)) <= len(value) - 4
    return entropy(value) >= 3.0 and _is_mixed(value)


def _is_mixed(value: str) -> bool:
    digits, letters = sum(map(str.isdigit, value)), sum(map(str.isalpha, value))
    steps = change(value)
    if not digits or not letters:
        alone = value.replace("+", "").replace("=", "").isalpha()
        return letters >= 16 and alone and steps >= (SURELY if letters < 20 else 0.24)
    if "." in value and _is_wordy(value):
        return False
    if steps >= SURELY or (steps >= MOSTLY and (digits >= 2 or len(value) >= 20)):
        return True
    return digits >= 2 and steps >= SELDOM and not _is_wordy(value)


def _is_wordy(value: str) -> bool:
    """Tell whether a text is made of words with numbers behind them, as in `my-app-prod-2024`."""
    pieces = _PIECE.findall(value)
    words = sum(len(piece) for piece in pieces if len(piece) > 3 and not piece.isdigit())
    return words >= 0.55 * sum(map(len, pieces))


def is_strong(value: str, *, least: int = 6) -> bool:
    """Tell whether a text looks like a password that somebody was told to make strong; sentences and names do not."""
    if not least <= len(value) <= LONGEST_PASSWORD or any(map(str.isspace, value)) or is_placeholder(value):
        return False
    if is_code(value) or is_file(value):
        return False
    kinds = classes(value)
    return kinds >= 3 or (kinds >= 2 and any(map(str.isdigit, value))) or is_random(value, least=12)


def is_weak(value: str) -> bool:
    """Tell whether a text is one of the passwords that everybody tries first."""
    return value.lower() in _WEAK or (value.isdigit() and 6 <= len(value) <= 12)


def is_phrase(value: str) -> bool:
    """Tell whether a text is a pass phrase: four to ten short words, and no sentence."""
    words = value.split(" ")
    if _SENTENCE.intersection(words):
        return False
    return 4 <= len(words) <= 10 and all(2 <= len(word) <= 12 and word.isalpha() and word.islower() for word in words)


def is_password(value: str, *, quoted: bool, firm: bool) -> bool:
    """Tell whether a text is a password, where the name before it says that one follows.

    Args:
        value: the text.
        quoted: it stands in quotation marks.
        firm: the place leaves no doubt, as in `DB_PASSWORD=`; then letters alone may be one.
    """
    if not 4 <= len(value) <= LONGEST_PASSWORD or any(map(str.isspace, value)) or is_placeholder(value):
        return False
    if _WORDS.match(value):
        return value.lower() in _WEAK or _is_made_of_letters(value, firm=firm)
    if value.isdigit():
        return quoted or firm or len(value) >= 6
    if not quoted and is_code(value):
        return False
    symbols = any(not c.isalnum() and c not in "_-./:,;=" for c in value.rstrip(":*!?.…"))
    return symbols or any(map(str.isdigit, value)) or _is_jumbled(value)


def _is_made_of_letters(value: str, *, firm: bool) -> bool:
    words = re.split(r"[-_. /:]", value)
    if len(words) >= 4:
        return value.islower() and len(value) >= 20 and not _SENTENCE.intersection(words)
    if len(words) > 1:
        return False
    return _is_jumbled(value) or (firm and len(value) >= 6 and not _NAMED.search(value))


def _is_jumbled(value: str) -> bool:
    """Tell whether letters are no words: `xQkTnvRpLm`, unlike `getUserName`, goes on for two letters at a time."""
    pieces = _PIECE.findall(value)
    return len(value) >= 8 and len(pieces) >= 4 and (change(value) >= 0.25 or len(value) <= 3 * len(pieces))
