"""Findings as SARIF 2.1.0, which code hosts and editors show beside the lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

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
    """What was found in one skill; `folder` is where its files are, ending with `/`, or empty."""

    folder: str
    findings: Sequence[Finding]


def sarif(tool: str, reported: Iterable[Reported]) -> dict[str, Json]:
    """Return a log of one run.

    Args:
        tool: name of what looked, as in `llmos-scan`.
        reported: by skill.
    """
    pairs = [(one.folder, finding) for one in reported for finding in one.findings]
    rules: dict[str, Finding] = {}
    for _, finding in pairs:
        rules.setdefault(finding.code, finding)
    places = {code: place for place, code in enumerate(rules)}
    driver: dict[str, Json] = {
        "name": tool,
        "version": __version__,
        "rules": [_rule(finding) for finding in rules.values()],
    }
    results: list[Json] = [_result(folder, finding, places[finding.code]) for folder, finding in pairs]
    return {"$schema": SCHEMA, "version": VERSION, "runs": [{"tool": {"driver": driver}, "results": results}]}


def _rule(finding: Finding) -> Json:
    return {
        "id": finding.code,
        "shortDescription": {"text": finding.message},
        "defaultConfiguration": {"level": _LEVELS[finding.severity]},
        "properties": {"tags": [finding.category], "security-severity": _SCORES[finding.severity]},
    }


def _result(folder: str, finding: Finding, place: int) -> Json:
    location: dict[str, Json] = {"artifactLocation": {"uri": f"{folder}{finding.file}"}}
    if finding.line:
        location["region"] = {"startLine": finding.line}
    return {
        "ruleId": finding.code,
        "ruleIndex": place,
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": location}],
    }
