"""How it was done: the steps that recur in answers that worked, and the tools that were called.

A step is a numbered line, a bullet, a heading or, where an answer has none of these, a sentence. Steps of different
conversations are one when their words overlap; what varies between them (names, numbers, files) becomes a slot.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from llmos_lite.core.evolution.features import is_function_word, stem, words

LEAST_SUPPORT = 2
MOST_STEPS = 9
SAME = 0.5
"""Jaccard overlap of their stems from which two steps are one."""
SHORTEST, LONGEST = 8, 220
"""Characters of a step."""
MOST_LINES = 400

_ITEM = re.compile(r"\s{0,12}(?:\d{1,3}[.)]|[-*+•]|step\s\d{1,3}[.:)])\s+(.+)", re.IGNORECASE)
_HEADING = re.compile(r"#{2,6}\s+(.+)")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'`(])")
_EMPHASIS = re.compile(r"\*\*|__|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)")
_LINK = re.compile(r"\[([^\]]{1,200})\]\([^)]{0,500}\)")
_VARYING = re.compile(
    r"""`[^`\n]{1,80}` | "[^"\n]{1,80}" | <[a-z_]{1,20}(?::\d{1,6})?> | \b[\w.-]{1,60}\.(?:[a-z]\w{1,4})\b
    | \b\d[\d.,:/-]{0,20}\b""",
    re.VERBOSE,
)
_FILLER = re.compile(
    r"(?:sure|certainly|of course|here (?:is|are|'s)|let me know|i hope|hope this|feel free|happy to)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Step:
    """A step that recurs: its wording with slots, and in how many conversations it stood."""

    text: str
    support: int


@dataclass(slots=True)
class _Group:
    stems: frozenset[str]
    texts: list[str] = field(default_factory=list)
    owners: set[int] = field(default_factory=set)
    places: list[float] = field(default_factory=list)


def recurring(answers: Sequence[str], *, least: int = LEAST_SUPPORT) -> list[Step]:
    """Return the steps that stand in at least `least` of the answers, in their usual order."""
    groups: list[_Group] = []
    for owner, answer in enumerate(answers):
        lines = steps_of(answer)
        for place, line in enumerate(lines):
            _put(groups, line, owner, place / len(lines))
    kept = sorted((group for group in groups if len(group.owners) >= least), key=lambda group: -len(group.owners))
    ordered = sorted(kept[:MOST_STEPS], key=lambda group: sum(group.places) / len(group.places))
    return [Step(_worded(group.texts), len(group.owners)) for group in ordered]


def steps_of(answer: str) -> list[str]:
    """Return the steps of one answer in order: its list items and headings, else its sentences."""
    prose = list(_outside_code(answer))
    marked = (match[1] for line in prose if (match := _ITEM.match(line) or _HEADING.match(line)))
    found = [step for text in marked if (step := _clean(text))]
    if len(found) > 1:
        return found[:MOST_LINES]
    sentences = (part for line in prose for part in _SENTENCE.split(line))
    return [step for sentence in sentences if (step := _clean(sentence))][:MOST_LINES]


def tools_in_order(calls: Sequence[Sequence[tuple[str, str]]], *, least: int = LEAST_SUPPORT) -> list[str]:
    """Return the tools that at least `least` conversations (and a third of them) called, by their usual place.

    Args:
        calls: name and arguments of each call, for each conversation.
        least: see above.
    """
    places: dict[str, list[float]] = {}
    for conversation in calls:
        names = list(dict.fromkeys(tool_name(*call) for call in conversation))
        for place, name in enumerate(names):
            places.setdefault(name, []).append(place / len(names))
    needed = max(least, len([one for one in calls if one]) / 3)
    kept = {name: sum(at) / len(at) for name, at in places.items() if len(at) >= needed}
    return sorted(kept, key=lambda name: (kept[name], name))[:MOST_STEPS]


def tool_name(name: str, arguments: str) -> str:
    """Return a tool's name, with the program that it ran where it ran one (`Bash: pytest`)."""
    try:
        given = json.loads(arguments[:20_000]) if arguments.startswith("{") else {}
    except ValueError:
        return name
    command = given.get("command") if isinstance(given, dict) else None
    first = re.match(r"\s*(?:[A-Z_]+=\S+\s+)*([\w./-]{1,40})", command) if isinstance(command, str) else None
    return f"{name}: {first[1].rsplit('/', 1)[-1]}" if first else name


def _outside_code(answer: str) -> Iterator[str]:
    fenced = False
    for line in answer.splitlines()[: 4 * MOST_LINES]:
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif not fenced and line.strip() and not line.lstrip().startswith("|"):
            yield line[:1_000]


def _clean(text: str) -> str:
    """Return a step without marks, or nothing for one that says nothing."""
    plain = _EMPHASIS.sub("", _LINK.sub(r"\1", text)).strip(" \t:;-\u2013\u2014")
    if len(plain) < SHORTEST or _FILLER.match(plain):
        return ""
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 1].rsplit(" ", 1)[0] + "…"


def _put(groups: list[_Group], line: str, owner: int, place: float) -> None:
    stems = frozenset(stem(word) for word in words(_VARYING.sub(" ", line)) if not is_function_word(word))
    stems = stems or frozenset(map(stem, words(line)))
    if not stems:
        return
    # two steps of one answer are two, unless they are the same words
    others = (group for group in groups if owner not in group.owners or group.stems == stems)
    best = max(others, key=lambda group: _overlap(stems, group.stems), default=None)
    if best is None or _overlap(stems, best.stems) < SAME:
        best = _Group(stems)
        groups.append(best)
    best.texts.append(line)
    best.owners.add(owner)
    best.places.append(place)


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)


def _worded(texts: Sequence[str]) -> str:
    """Return the wording that is nearest to all, with a slot for each part that most of the others do not have."""
    bags = [frozenset(map(stem, words(text))) for text in texts]
    common = Counter(word for bag in bags for word in bag)
    shares = [sum(common[word] for word in bag) / (len(bag) + 2) for bag in bags]
    typical = texts[shares.index(max(shares))]
    seen = Counter(part for text in texts for part in set(_VARYING.findall(text)))
    return _VARYING.sub(lambda match: match[0] if 2 * seen[match[0]] > len(texts) else _slot(match[0]), typical)


def _slot(part: str) -> str:
    if part.startswith("<"):
        return part
    if part[0].isdigit():
        return "<number>"
    return "<text>" if part.startswith('"') else "<file>" if re.search(r"\.\w{2,5}`?$", part) else "<name>"
