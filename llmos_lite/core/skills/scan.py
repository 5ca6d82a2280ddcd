"""The seam for checks of a skill: the rules of the house, and what packages add as `llmos_lite.scanners`.

A finding never stops anybody from keeping a skill in their own volume. One of high severity keeps it out of chats, and
out of the volumes of others, until somebody else has signed exactly that version off (`core.proposals.signing`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, runtime_checkable

from llmos_lite.core.skills.format import Skill
from llmos_lite.errors import Invalid
from llmos_lite.volumes.skill_paths import FILE

FAILED = "scanner.failed"
"""Code of the finding that a scanner failed: it may say something else the next time."""


class Severity(StrEnum):
    """How bad a finding is; `high` blocks promotion and use."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Category(StrEnum):
    """What a finding of the house is about; plug-ins may have others."""

    INJECTION = "injection"
    CONCEALMENT = "concealment"
    EXFILTRATION = "exfiltration"
    UNICODE = "unicode"
    SECRETS = "secrets"
    COMMAND = "command"
    REMOTE_CODE = "remote-code"
    OBFUSCATION = "obfuscation"
    CREDENTIALS = "credentials"
    DESTRUCTIVE = "destructive"
    PERSISTENCE = "persistence"
    SHELL = "shell"
    RESOURCES = "resources"
    BINARY = "binary"
    CODE = "code"
    TOOLS = "tools"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a scanner found.

    Args:
        code: stable name of the rule, as in `secret.key`.
        severity: how bad it is.
        message: one sentence for the author.
        line: in the file, from 1; 0 when it is about the whole.
        scanner: name of the scanner; filled in by `scan`.
        file: path in the skill's folder.
        category: see `Category`.
    """

    code: str
    severity: Severity
    message: str
    line: int = 0
    scanner: str = ""
    file: str = FILE
    category: str = Category.OTHER

    def __str__(self) -> str:
        file = "" if self.file == FILE else f"{self.file}: "
        return f"{self.severity} {self.code}{f' (line {self.line})' if self.line else ''}: {file}{self.message}"


@runtime_checkable
class Scanner(Protocol):
    """Looks at a skill: quickly, since it runs at every write, and from any thread."""

    def scan(self, skill: Skill) -> Iterable[Finding]:
        """Return what there is to say about the skill, nothing for a clean one."""


@runtime_checkable
class FolderScanner(Scanner, Protocol):
    """A scanner that looks at all files of a skill; `scan` is what it says of one that has no others."""

    def scan_folder(self, skill: Skill, files: Mapping[str, bytes]) -> Iterable[Finding]:
        """Return what there is to say about the skill and its files, by their paths, `SKILL.md` among them."""


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


def findings(scanners: Mapping[str, Scanner], skill: Skill, files: Mapping[str, bytes] | None = None) -> list[Finding]:
    """Return what every scanner says of a skill; one that fails is a finding of its own, and stops nobody's work.

    Args:
        scanners: by name.
        skill: the skill.
        files: what is in its folder, `SKILL.md` too; None for its text alone.
    """
    return [finding for name, scanner in scanners.items() for finding in _run(name, scanner, skill, files)]


def high(found: Iterable[Finding]) -> list[Finding]:
    """Return the findings of high severity."""
    return [finding for finding in found if finding.severity == Severity.HIGH]


def scan(
    scanners: Mapping[str, Scanner],
    skill: Skill,
    files: Mapping[str, bytes] | None = None,
    *,
    refuse: bool = True,
) -> list[Finding]:
    """Run every scanner over a skill; see `findings`. Whoever writes to a volume of others refuses what is unsafe.

    Raises:
        Invalid: `skill.unsafe`, when a finding is of high severity; `findings` lists all of them.
    """
    found = findings(scanners, skill, files)
    bad = high(found)
    if bad and refuse:
        raise Invalid(
            "skill.unsafe",
            f"The skill {skill.skill_id} was refused: {bad[0].message}",
            hint="Remove what was found; or keep it in your own volume and promote it: a reviewer may sign it off.",
            findings=[str(one) for one in found],
        )
    return found


def _run(name: str, scanner: Scanner, skill: Skill, files: Mapping[str, bytes] | None) -> list[Finding]:
    try:
        if files is not None and isinstance(scanner, FolderScanner):
            found = scanner.scan_folder(skill, files)
        else:
            found = scanner.scan(skill)
        return [replace(one, severity=Severity(one.severity), scanner=one.scanner or name) for one in found]
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
        message = f"The scanner {name!r} failed: {type(error).__name__}: {error}"
        return [Finding(FAILED, Severity.MEDIUM, message, scanner=name)]
