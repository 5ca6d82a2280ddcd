"""The seam for checks of a skill's text: whatever packages add in the entry point group `llmos_lite.scanners`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from llmos_lite.core.skills.format import Skill
from llmos_lite.errors import Invalid


class Severity(StrEnum):
    """How bad a finding is; `high` refuses the write."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a scanner found.

    Args:
        code: stable name of the rule, as in `secret.aws_key`.
        severity: how bad it is.
        message: one sentence for the author.
        line: in the SKILL.md, from 1; 0 when it is about the whole.
        scanner: name of the scanner; filled in by `scan`.
    """

    code: str
    severity: Severity
    message: str
    line: int = 0
    scanner: str = ""


@runtime_checkable
class Scanner(Protocol):
    """Looks at a skill before it is written: quickly, since it runs at every write, and from any thread."""

    def scan(self, skill: Skill) -> Iterable[Finding]:
        """Return what there is to say about the skill, nothing for a clean one."""


def scanners_from(plugins: Mapping[str, object]) -> dict[str, Scanner]:
    """Return the scanners among what entry points loaded: scanner objects, or classes that make them without arguments.

    Raises:
        Invalid: `plugin.broken`, for something that cannot scan.
    """
    made = {name: plugin() if isinstance(plugin, type) else plugin for name, plugin in plugins.items()}
    scanners = {name: plugin for name, plugin in made.items() if isinstance(plugin, Scanner)}
    if wrong := sorted(made.keys() - scanners.keys()):
        raise Invalid(
            "plugin.broken",
            f"The scanner {wrong[0]!r} has no method `scan(skill)`.",
            hint="Mend or uninstall the package that adds it.",
        )
    return scanners


def findings(scanners: Mapping[str, Scanner], skill: Skill) -> list[Finding]:
    """Return what every scanner says of a skill; one that fails is a finding of its own, and stops nobody's work."""
    return [finding for name, scanner in scanners.items() for finding in _run(name, scanner, skill)]


def scan(scanners: Mapping[str, Scanner], skill: Skill) -> list[Finding]:
    """Run every scanner over a skill; see `findings`.

    Raises:
        Invalid: `skill.unsafe`, when a finding is of high severity; `findings` lists all of them.
    """
    found = findings(scanners, skill)
    high = [finding for finding in found if finding.severity == Severity.HIGH]
    if high:
        raise Invalid(
            "skill.unsafe",
            f"The skill {skill.skill_id} was refused: {high[0].message}",
            hint="Remove what was found, then save it again.",
            findings=[
                f"{one.severity} {one.code}{f' (line {one.line})' if one.line else ''}: {one.message}" for one in found
            ],
        )
    return found


def _run(name: str, scanner: Scanner, skill: Skill) -> list[Finding]:
    try:
        return [
            Finding(one.code, Severity(one.severity), one.message, one.line, one.scanner or name)
            for one in scanner.scan(skill)
        ]
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
        message = f"The scanner {name!r} failed: {type(error).__name__}: {error}"
        return [Finding("scanner.failed", Severity.MEDIUM, message, scanner=name)]
