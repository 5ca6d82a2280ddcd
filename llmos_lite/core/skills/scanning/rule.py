"""A rule: words that call it, a bounded pattern, and what to say.

All words are looked for at once by a native automaton (Aho-Corasick) in the small letters of a text; a pattern runs
only on a window around its word. So the time is linear in the text, whoever wrote it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

import ahocorasick_rs

from llmos_lite.core.skills.scan import Category, Severity

BEFORE, AFTER = 200, 600
"""Characters of a window on both sides of the word that calls a rule."""
COVERED = 200
"""Characters behind a word in vain within which the next one is taken as looked at; matches end within the rest."""
SECONDS, SECONDS_PER_MILLION = 0.2, 0.75
"""CPU time for a skill, and for each million characters of it; what people write takes a tenth of that."""
BESIDE = 400
"""Characters on both sides of a match within which `near` is looked for."""
_GAP = r"(?:[\s*_>#]{1,8})"
_CLASS = re.compile(r"\\.|\[(?:\\.|[^\]\\]){1,200}\]| ")


class Kind(StrEnum):
    """How a match is weighed against what stands around it; see `talk`."""

    ADVICE = "advice"
    """Words to a model: counted less where they are quoted, refused, or the subject."""
    COMMAND = "command"
    """Something to run: counted less in the text of a skill about attacks."""
    FACT = "fact"
    """As it stands, wherever it stands."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the pack.

    Args:
        code: stable name, as in `remote.pipe`.
        category: what it is about.
        severity: of a match in plain sight.
        message: one sentence for the author.
        words: in small letters; one of them stands in every match.
        pattern: matched against small letters; every quantifier is bounded.
        kind: how the text around it counts.
        known: what in a match makes it one that everybody knows: of medium severity at most.
        near: what has to stand beside a match, each within its line, the one before, or the one after.
        needs: one of these stands in every match, too: looked for before the pattern, since that is much cheaper.
    """

    code: str
    category: Category
    severity: Severity
    message: str
    words: tuple[str, ...]
    pattern: re.Pattern[str]
    kind: Kind = Kind.COMMAND
    known: re.Pattern[str] | None = None
    needs: tuple[str, ...] = ()
    near: tuple[re.Pattern[str], ...] = ()


class Effort:
    """CPU time that one skill may take, so that no text keeps a thread, whatever its author repeats in it.

    Args:
        characters: that are looked at.
    """

    def __init__(self, characters: int) -> None:
        self._until = time.thread_time() + SECONDS + SECONDS_PER_MILLION * characters / 1e6

    def is_spent(self) -> bool:
        """Tell whether it is used up; once it is, it stays so."""
        return time.thread_time() > self._until


class Match(NamedTuple):
    """Where a rule matched in a text."""

    rule: Rule
    start: int
    end: int


def bounded(source: str) -> re.Pattern[str]:
    """Compile a pattern for small letters; a space in it stands for up to 8 spaces, line ends or marks of Markdown."""
    return re.compile(_CLASS.sub(lambda found: _GAP if found.group() == " " else found.group(), source))


class Rules:
    """Rules that look through texts together."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)

    @cached_property
    def _automaton(self) -> tuple[ahocorasick_rs.AhoCorasick, list[tuple[int, ...]]]:
        called: dict[str, list[int]] = {}
        for place, rule in enumerate(self.rules):
            for word in rule.words:
                called.setdefault(word, []).append(place)
        words = sorted(called)
        automaton = ahocorasick_rs.AhoCorasick(words, implementation=ahocorasick_rs.Implementation.ContiguousNFA)
        return automaton, [tuple(called[word]) for word in words]

    def matches(self, low: str, effort: Effort | None = None) -> Iterator[Match]:
        """Yield the matches in a text of small letters, each stretch once for each rule, until the effort is spent."""
        done = [0] * len(self.rules)
        for place, start in self._calls(low):
            if start < done[place]:
                continue
            if effort is not None and effort.is_spent():
                return
            rule, begin, end = self.rules[place], max(0, start - BEFORE, done[place]), start + AFTER
            found = rule.pattern.search(low, begin, end) if _may_match(rule, low, begin, end) else None
            if found and _is_near(rule, low, found):
                done[place] = max(found.end(), start + 1)
                # A pattern may begin with the end of the line before.
                yield Match(rule, found.end() - len(found.group().lstrip()), found.end())
            else:
                done[place] = start + COVERED

    def _calls(self, low: str) -> Iterable[tuple[int, int]]:
        automaton, called = self._automaton
        for word, start, _ in automaton.find_matches_as_indexes(low, overlapping=True):
            for place in called[word]:
                yield place, start


def _may_match(rule: Rule, low: str, begin: int, end: int) -> bool:
    return not rule.needs or any(low.find(need, begin, end) >= 0 for need in rule.needs)


def _is_near(rule: Rule, low: str, found: re.Match[str]) -> bool:
    if not rule.near:
        return True
    begin, end = max(0, found.start() - BESIDE), min(len(low), found.end() + BESIDE)
    before, after = low.rfind("\n", begin, found.start()), low.find("\n", found.end(), end)
    if before >= 0:
        begin = max(begin, low.rfind("\n", begin, before) + 1)
    if after >= 0 and (stop := low.find("\n", after + 1, end)) >= 0:
        end = stop
    return all(pattern.search(low, begin, end) for pattern in rule.near)
