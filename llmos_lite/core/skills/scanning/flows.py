"""What is read and what is sent, close enough together to be one thing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from llmos_lite.core.skills.scan import Category, Finding, Severity
from llmos_lite.core.skills.scanning.files import TextFile
from llmos_lite.core.skills.scanning.programs import SINKS, SOURCES
from llmos_lite.core.skills.scanning.rule import Effort, Rules
from llmos_lite.core.skills.scanning.shown import Shown

NEAR = 4
"""Lines of a Markdown file within which a source and a sink belong together."""
FACTS = Rules((*SOURCES, *SINKS))
_STRONG = frozenset({"source.secrets", "source.environment"})


class Fact(NamedTuple):
    """A source of secrets or a way out, and where."""

    code: str
    file: str
    line: int
    is_program: bool

    @property
    def is_sink(self) -> bool:
        """Tell whether it sends something away."""
        return self.code.startswith("sink.")


def facts(file: TextFile, shown: Shown, effort: Effort) -> Iterator[Fact]:
    """Yield the sources and sinks in the code of a file."""
    for match in FACTS.matches(shown.low, effort):
        if shown.in_code(match.start):
            yield Fact(match.rule.code, file.path, shown.line(match.start), file.is_program)


def flows(found: list[Fact], *, about_attacks: bool) -> Iterator[Finding]:
    """Yield what reads secrets and sends something, and what only names a place of secrets, once for a file."""
    sinks, told = _Sinks(fact for fact in found if fact.is_sink), set[str]()
    for source in (fact for fact in found if not fact.is_sink):
        if source.file in told or not sinks.take(source):
            continue
        told.add(source.file)
        documented = about_attacks and not source.is_program
        severity = Severity.HIGH if source.code in _STRONG and not documented else Severity.MEDIUM
        message = "It reads secrets, or the whole environment, and sends something to another machine."
        yield Finding(
            "exfiltration.flow", severity, message, source.line, file=source.file, category=Category.EXFILTRATION
        )
    for fact in found:
        if fact.code == "source.secrets" and fact.file not in told:
            told.add(fact.file)
            severity = Severity.MEDIUM if fact.is_program else Severity.LOW
            message = "It names a place where secrets are kept."
            yield Finding(
                "credentials.read", severity, message, fact.line, file=fact.file, category=Category.CREDENTIALS
            )


class _Sinks:
    """Where something is sent, by file and line: found without comparing every source with every sink."""

    def __init__(self, sinks: Iterable[Fact]) -> None:
        self._lines: dict[str, list[int]] = {}
        self._programs: set[str] = set()
        for sink in sinks:
            self._lines.setdefault(sink.file, []).append(sink.line)
            if sink.is_program:
                self._programs.add(sink.file)
        for lines in self._lines.values():
            lines.sort()

    def take(self, source: Fact) -> bool:
        """Tell whether one takes what a source reads: a program of the same folder, or a line near by."""
        if source.is_program and (source.file in self._programs or (self._programs and source.code in _STRONG)):
            return True
        lines = self._lines.get(source.file, [])
        place = bisect_left(lines, source.line - NEAR)
        return place < len(lines) and lines[place] <= source.line + NEAR
