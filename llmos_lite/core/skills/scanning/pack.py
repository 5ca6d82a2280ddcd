"""The scanner of the house: all rules over all files of a skill."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import NamedTuple

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.scan import Category, Finding, Severity
from llmos_lite.core.skills.scanning.folder import TEXT, is_binary, look
from llmos_lite.core.skills.scanning.programs import PROGRAMS, SINKS, SOURCES
from llmos_lite.core.skills.scanning.prose import PROSE
from llmos_lite.core.skills.scanning.rule import Rules
from llmos_lite.core.skills.scanning.secrets import secrets
from llmos_lite.core.skills.scanning.shell import SHELL
from llmos_lite.core.skills.scanning.shown import Shown
from llmos_lite.core.skills.scanning.talk import is_about_attacks, weighed
from llmos_lite.core.skills.scanning.unicode import hidden
from llmos_lite.volumes.skill_paths import FILE

LARGEST = 1 << 20
"""Characters of a file that are looked at."""
MOST = 8 << 20
"""Characters of a skill that are looked at, its Markdown and programs first."""
MOST_FINDINGS = 100
NEAR = 4
"""Lines of a Markdown file within which a source and a sink belong together."""

_RULES = Rules((*PROSE, *SHELL, *PROGRAMS))
_FACTS = Rules((*SOURCES, *SINKS))
_BLOB = re.compile(r"[A-Za-z0-9+/]{40,4000}={0,2}")
_HEX = re.compile(r"(?:\\x[0-9a-fA-F]{2}){12,1000}")
_COMMENT = re.compile(r"<!--(.{12,4000}?)-->|^\[//\]: # \((.{12,2000}?)\)$", re.DOTALL | re.MULTILINE)
_TO_A_MODEL = re.compile(
    r"\b(?:assistant|ai|agent|model|claude|gpt|llm|system)\b.{0,40}[:,]|\b(?:ignore|instead|you must|do not tell|always|before you|secretly|execute|run)\b",
    re.IGNORECASE,
)
_ALL_TOOLS = re.compile(
    r"\b(?:bash|shell|execute|computer)(?:\(\s{0,3}\*?\s{0,3}:?\*?\s{0,3}\))(?=\s|,|$)|^\*$", re.IGNORECASE
)
_STRONG = frozenset({"source.secrets", "source.environment"})
_PROGRAM = frozenset(
    {
        ".py",
        ".sh",
        ".bash",
        ".zsh",
        ".js",
        ".mjs",
        ".cjs",
        ".ts",
        ".rb",
        ".pl",
        ".php",
        ".ps1",
        ".bat",
        ".cmd",
        ".lua",
        ".go",
        ".rs",
        ".applescript",
    }
)


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


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    text: str

    @property
    def is_markdown(self) -> bool:
        return PurePosixPath(self.path).suffix.lower() in TEXT and not self.text.startswith("#!")

    @property
    def is_program(self) -> bool:
        return PurePosixPath(self.path).suffix.lower() in _PROGRAM or self.text.startswith("#!")


class RulePack:
    """Looks at a skill with the rules of the house; holds no state, so one serves all threads."""

    def scan(self, skill: Skill) -> Iterable[Finding]:
        """Return what there is to say about a skill's own text."""
        return self.scan_folder(skill, {FILE: _whole(skill).encode()})

    def scan_folder(self, skill: Skill, files: Mapping[str, bytes]) -> Iterable[Finding]:
        """Return what there is to say about a skill and its files, the gravest first."""
        found, facts = [*look(files), *_tools(skill)], list[Fact]()
        about_attacks = is_about_attacks(skill.description)
        texts, left_out = _texts(files)
        for file in texts:
            found += _look(file, about_attacks=about_attacks)
            facts += _facts(file)
        found += [*_flows(facts, about_attacks=about_attacks), *left_out]
        return _sorted(found)


def _whole(skill: Skill) -> str:
    """Return the text of a skill that was not read from a file, with the lines of its front matter."""
    return (
        skill.body
        if not skill.description
        else f"---\nname: {skill.skill_id}\ndescription: {' '.join(skill.description.split())}\n---\n{skill.body}"
    )


def _texts(files: Mapping[str, bytes]) -> tuple[list[_File], list[Finding]]:
    """Return the files that are text, within bounds, and a finding for what is beyond them."""
    found, cut, left = list[_File](), list[Finding](), MOST
    order = sorted(files, key=lambda path: (path != FILE, PurePosixPath(path).suffix.lower() not in _PROGRAM, path))
    for path in order:
        data = files[path]
        if is_binary(data):
            continue
        most = min(left, LARGEST)
        if len(data) > most:
            cut.append(_beyond(path))
        text = data[:most].decode("utf-8", "replace")
        left -= len(text)
        found.append(_File(path, text))
    return found, cut


def _beyond(path: str) -> Finding:
    program = PurePosixPath(path).suffix.lower() in _PROGRAM
    severity = Severity.HIGH if program else Severity.MEDIUM
    return Finding(
        "file.too_large", severity, "It is too large to be looked through.", file=path, category=Category.BINARY
    )


def _look(file: _File, *, about_attacks: bool) -> Iterator[Finding]:
    yield from hidden(file.text, file.path)
    yield from secrets(file.text, file.path)
    yield from _ruled(file, about_attacks=about_attacks)
    if file.is_markdown:
        yield from _comments(file)
    yield from _encoded(file)


def _ruled(file: _File, *, about_attacks: bool) -> Iterator[Finding]:
    shown = Shown(file.text, markdown=file.is_markdown)
    for match in _RULES.matches(shown.low):
        rule, severity = match.rule, weighed(match, shown, about_attacks=about_attacks)
        yield Finding(
            rule.code, severity, rule.message, shown.line(match.start), file=file.path, category=rule.category
        )


def _comments(file: _File) -> Iterator[Finding]:
    """Find what stands in a comment for a model, which a reader of the page never sees."""
    for comment in _COMMENT.finditer(file.text):
        text = comment.group(1) or comment.group(2)
        inside = [one for one in _ruled(_File(file.path, text), about_attacks=False) if one.severity != Severity.LOW]
        bad = [one for one in inside if one.severity == Severity.HIGH]
        if bad or (inside and _TO_A_MODEL.search(text)):
            line = file.text.count("\n", 0, comment.start()) + 1
            message = "A comment, which no reader of the page sees, gives the model orders."
            yield Finding(
                "concealment.comment", Severity.HIGH, message, line, file=file.path, category=Category.CONCEALMENT
            )


def _encoded(file: _File) -> Iterator[Finding]:
    """Look into what is encoded: what it hides counts as if it stood there."""
    for place, text in _decoded(file.text):
        inside = [one for one in _ruled(_File("x.sh", text), about_attacks=False) if one.severity == Severity.HIGH]
        if inside:
            line = file.text.count("\n", 0, place) + 1
            message = f"It is encoded, and hides something: {inside[0].message[0].lower()}{inside[0].message[1:]}"
            yield Finding(
                "obfuscation.hidden", Severity.HIGH, message, line, file=file.path, category=Category.OBFUSCATION
            )


def _decoded(text: str) -> Iterator[tuple[int, str]]:
    for blob in _BLOB.finditer(text):
        try:
            inside = base64.b64decode(blob.group() + "==="[: -len(blob.group()) % 4], validate=False).decode()
        except (binascii.Error, ValueError):
            continue
        if inside.isprintable() or "\n" in inside:
            yield blob.start(), inside
    for blob in _HEX.finditer(text):
        yield blob.start(), bytes.fromhex(blob.group().replace("\\x", "")).decode("latin-1")


def _facts(file: _File) -> Iterator[Fact]:
    shown = Shown(file.text, markdown=file.is_markdown)
    for match in _FACTS.matches(shown.low):
        if shown.in_code(match.start):
            yield Fact(match.rule.code, file.path, shown.line(match.start), file.is_program)


def _flows(facts: list[Fact], *, about_attacks: bool) -> Iterator[Finding]:
    """Find what is read and what is sent, close enough together to be one thing."""
    sinks = [fact for fact in facts if fact.is_sink]
    told: set[str] = set()
    for source in (fact for fact in facts if not fact.is_sink):
        if source.file in told or not any(_belong(source, sink) for sink in sinks):
            continue
        told.add(source.file)
        documented = about_attacks and not source.is_program
        severity = Severity.HIGH if source.code in _STRONG and not documented else Severity.MEDIUM
        message = "It reads secrets, or the whole environment, and sends something to another machine."
        yield Finding(
            "exfiltration.flow", severity, message, source.line, file=source.file, category=Category.EXFILTRATION
        )
    for fact in facts:
        if fact.code == "source.secrets" and fact.file not in told:
            told.add(fact.file)
            severity = Severity.MEDIUM if fact.is_program else Severity.LOW
            yield Finding(
                "credentials.read",
                severity,
                "It names a place where secrets are kept.",
                fact.line,
                file=fact.file,
                category=Category.CREDENTIALS,
            )


def _belong(source: Fact, sink: Fact) -> bool:
    if source.is_program and sink.is_program:
        return source.file == sink.file or source.code in _STRONG
    return source.file == sink.file and abs(source.line - sink.line) <= NEAR


def _tools(skill: Skill) -> Iterator[Finding]:
    if _ALL_TOOLS.search(skill.allowed_tools):
        message = "It asks for every command without a question; name the commands that it needs, as in Bash(git:*)."
        yield Finding("tools.all", Severity.MEDIUM, message, category=Category.TOOLS)


def _sorted(found: Iterable[Finding]) -> list[Finding]:
    """Return each finding once for a line, the gravest first, so many that a person can read them."""
    best: dict[tuple[str, str, int], Finding] = {}
    for one in found:
        key = (one.code, one.file, one.line)
        if key not in best or _RANK[one.severity] < _RANK[best[key].severity]:
            best[key] = one
    ordered = sorted(
        best.values(), key=lambda one: (_RANK[one.severity], one.file != FILE, one.file, one.line, one.code)
    )
    if len(ordered) > MOST_FINDINGS:
        rest = f"There are {len(ordered) - MOST_FINDINGS + 1} more findings."
        ordered = [*ordered[: MOST_FINDINGS - 1], replace(ordered[-1], code="scan.more", message=rest, line=0)]
    return ordered


_RANK = {Severity.HIGH: 0, Severity.MEDIUM: 1, Severity.LOW: 2}
