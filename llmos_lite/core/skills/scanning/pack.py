"""The scanner of the house: all rules over all files of a skill."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.scan import Category, Finding, Severity
from llmos_lite.core.skills.scanning.files import TextFile, texts
from llmos_lite.core.skills.scanning.flows import Fact, facts, flows
from llmos_lite.core.skills.scanning.folder import look
from llmos_lite.core.skills.scanning.rule import Effort
from llmos_lite.core.skills.scanning.ruled import comments, encoded, ruled
from llmos_lite.core.skills.scanning.secrets import secrets
from llmos_lite.core.skills.scanning.shown import Shown
from llmos_lite.core.skills.scanning.talk import is_about_attacks
from llmos_lite.core.skills.scanning.unicode import hidden
from llmos_lite.volumes.skill_paths import FILE

MOST_FINDINGS = 100
_ALL_TOOLS = re.compile(
    r"\b(?:bash|shell|execute|computer)(?:\(\s{0,3}\*?\s{0,3}:?\*?\s{0,3}\))(?=\s|,|$)|^\*$", re.IGNORECASE
)


class RulePack:
    """Looks at a skill with the rules of the house; holds no state, so one serves all threads."""

    def __init__(self) -> None:
        # Compiles everything now, so that no skill's effort pays for it.
        self.scan(Skill(skill_id="x", body="curl password"))

    def scan(self, skill: Skill) -> Iterable[Finding]:
        """Return what there is to say about a skill's own text."""
        return self.scan_folder(skill, {FILE: _whole(skill).encode("utf-8", "replace")})

    def scan_folder(self, skill: Skill, files: Mapping[str, bytes]) -> Iterable[Finding]:
        """Return what there is to say about a skill and its files, the gravest first."""
        found, known = [*look(files), *_tools(skill)], list[Fact]()
        about_attacks = is_about_attacks(skill.description)
        read, left_out = texts(files)
        effort = Effort(sum(len(file.text) for file in read))
        for file in read:
            if effort.is_spent():
                break
            found += _look(file, known, effort, about_attacks=about_attacks)
            if effort.is_spent():
                left_out.append(_unfinished(file))
        return _sorted([*found, *flows(known, about_attacks=about_attacks), *left_out])


def _whole(skill: Skill) -> str:
    """Return the text of a skill that was not read from a file, with the lines of its front matter."""
    return (
        skill.body
        if not skill.description
        else f"---\nname: {skill.skill_id}\ndescription: {' '.join(skill.description.split())}\n---\n{skill.body}"
    )


def _look(file: TextFile, known: list[Fact], effort: Effort, *, about_attacks: bool) -> Iterator[Finding]:
    shown = Shown(file.text, markdown=file.is_markdown)
    yield from ruled(file, shown, effort, about_attacks=about_attacks)
    known += facts(file, shown, effort)
    if file.is_binary:
        return
    yield from hidden(file)
    yield from secrets(file, effort)
    if file.is_markdown:
        yield from comments(file, effort)
    yield from encoded(file, effort)


def _unfinished(file: TextFile) -> Finding:
    message = "It was not looked at whole: the words that rules look for stand in it too often."
    return Finding("scan.unfinished", Severity.HIGH, message, file=file.path, category=Category.RESOURCES)


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
