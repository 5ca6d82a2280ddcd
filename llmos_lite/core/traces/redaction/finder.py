"""Finding what is to be taken out of one text.

All words that call a rule are looked for at once by a native automaton (Aho-Corasick) in the small letters of the text;
a pattern runs only where its word stands. Every pattern is bounded, so that the time is linear in the text, whoever
wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

import ahocorasick_rs

from llmos_lite.core.traces.redaction.assigned import ASSIGNED
from llmos_lite.core.traces.redaction.base import CATEGORIES, PERSONAL, SECRET, SECRETS, Found
from llmos_lite.core.traces.redaction.keys import KEYS
from llmos_lite.core.traces.redaction.look import Look, Rule, Rules
from llmos_lite.core.traces.redaction.machines import machines
from llmos_lite.core.traces.redaction.mail import MAIL
from llmos_lite.core.traces.redaction.numbers import NUMBERS, numbers
from llmos_lite.core.traces.redaction.places import PLACES
from llmos_lite.core.traces.redaction.plain import plain
from llmos_lite.core.traces.redaction.sent import SENT
from llmos_lite.core.traces.redaction.tables import TABLES
from llmos_lite.core.traces.redaction.tokens import TOKENS, long_words


class TextFinder:
    """Finds secrets and personal data.

    Args:
        categories: some of `secrets` and `personal`.
    """

    def __init__(self, categories: Sequence[str] = CATEGORIES) -> None:
        chosen: list[Rules] = []
        self._scans: list[Callable[[Look], Iterable[Found]]] = []
        if SECRETS in categories:
            chosen += [*KEYS, *TOKENS, *SENT, *ASSIGNED, *TABLES]
            self._scans.append(long_words)
        if PERSONAL in categories:
            chosen += [*MAIL, *NUMBERS, *PLACES]
            self._scans += [numbers, machines]
        self._rules: dict[str, list[Rule]] = {}
        for words, rule in chosen:
            for word in words:
                self._rules.setdefault(word, []).append(rule)

    @cached_property
    def _automaton(self) -> tuple[ahocorasick_rs.AhoCorasick, list[tuple[Rule, ...]]]:
        words = sorted(self._rules)
        # a deterministic one takes half the time, a hundredth of a request's, and 6 MB more
        automaton = ahocorasick_rs.AhoCorasick(words, implementation=ahocorasick_rs.Implementation.ContiguousNFA)
        return automaton, [tuple(self._rules[word]) for word in words]

    def find(self, text: str) -> list[Found]:
        """Return what is to be taken out, in order, without overlaps."""
        shown = plain(text)
        look = Look(shown.text)
        found = _apart([*self._called(look), *(one for scan in self._scans for one in scan(look))])
        return [Found(shown.place(one.start), shown.place(one.end), one.kind) for one in found]

    def _called(self, look: Look) -> Iterator[Found]:
        automaton, rules = self._automaton
        for word, start, end in automaton.find_matches_as_indexes(look.low, overlapping=True):
            for rule in rules[word]:
                yield from rule(look, start, end)


def _apart(found: list[Found]) -> list[Found]:
    """Return what was found in order, without overlaps: secrets grow together, and go before anything else."""
    if len(found) < 2:
        return found
    apart: list[Found] = []
    for one in sorted(found, key=lambda one: (one.start, -one.end)):
        last = apart[-1] if apart else None
        if last is None or one.start >= last.end:
            apart.append(one)
        elif last.kind == SECRET == one.kind:
            apart[-1] = Found(last.start, max(last.end, one.end), SECRET)
        elif one.kind == SECRET or (last.kind != SECRET and one.end - one.start > last.end - last.start):
            apart[-1] = one
    return apart
