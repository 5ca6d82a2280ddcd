"""Findings as SARIF 2.1.0, which code hosts and editors show beside the lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias
from urllib.parse import quote

from llmos_lite import __version__
from llmos_lite.core.skills.scan import Finding, Severity

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | None"

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
VERSION = "2.1.0"
_LEVELS = {Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note"}
_SCORES = {Severity.HIGH: "8.0", Severity.MEDIUM: "5.0", Severity.LOW: "2.0"}
"""`security-severity` of a rule: how code hosts sort what a scanner says."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What was found in one skill; `folder` is where its files are, seen from where code hosts look: the repository."""

    folder: str
    findings: Sequence[Finding]


class Meaning(NamedTuple):
    """What a code means, whatever was found."""

    severity: Severity
    text: str


def sarif(tool: str, reported: Iterable[Reported], meanings: Mapping[str, Meaning]) -> dict[str, Json]:
    """Return a log of one run.

    Args:
        tool: name of what looked, as in `llmos-scan`.
        reported: by skill.
        meanings: of the codes that are known; a package's own scanner may have others.
    """
    pairs = [(one.folder, finding) for one in reported for finding in one.findings]
    rules: dict[str, Finding] = {}
    for _, finding in pairs:
        rules.setdefault(finding.code, finding)
    places = {code: place for place, code in enumerate(rules)}
    driver: dict[str, Json] = {
        "name": tool,
        "version": __version__,
        "rules": [_rule(finding, meanings.get(finding.code)) for finding in rules.values()],
    }
    results: list[Json] = [_result(folder, finding, places[finding.code]) for folder, finding in pairs]
    return {"$schema": SCHEMA, "version": VERSION, "runs": [{"tool": {"driver": driver}, "results": results}]}


def _rule(finding: Finding, meaning: Meaning | None) -> Json:
    severity, text = meaning or Meaning(finding.severity, f"{finding.scanner or 'A scanner'}: {finding.code}")
    return {
        "id": finding.code,
        "shortDescription": {"text": text},
        "defaultConfiguration": {"level": _LEVELS[severity]},
        "properties": {"tags": [finding.category], "security-severity": _SCORES[severity]},
    }


def _result(folder: str, finding: Finding, place: int) -> Json:
    location: dict[str, Json] = {"artifactLocation": {"uri": _uri(f"{folder}{finding.file}")}}
    if finding.line:
        location["region"] = {"startLine": finding.line}
    return {
        "ruleId": finding.code,
        "ruleIndex": place,
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": location}] if finding.file else [],
    }


def _uri(path: str) -> str:
    return f"file://{quote(path)}" if path.startswith("/") else quote(path)
