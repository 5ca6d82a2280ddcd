"""SARIF 2.1.0 as the standard's schema wants it: what is required is there, and points where it should."""

from __future__ import annotations

import json

from llmos_lite.core.skills.sarif import Meaning, Reported, sarif
from llmos_lite.core.skills.scan import Finding, Severity

FOUND = [
    Finding("remote.pipe", Severity.HIGH, "It runs.", 3, "llmos", "scripts/a.sh", "remote-code"),
    Finding("tools.all", Severity.MEDIUM, "Every tool.", category="tools"),
]
MEANT = {"remote.pipe": Meaning(Severity.HIGH, "What such a line does.")}


def test_results_point_to_rules_files_and_lines() -> None:
    log = json.loads(json.dumps(sarif("llmos-scan", [Reported("skills/x/", FOUND), Reported("y/", FOUND[:1])], MEANT)))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["remote.pipe", "tools.all"]
    assert all(rules[one["ruleIndex"]]["id"] == one["ruleId"] for one in run["results"])
    assert [one["level"] for one in run["results"]] == ["error", "warning", "error"]
    places = [one["locations"][0]["physicalLocation"] for one in run["results"]]
    assert places[0] == {"artifactLocation": {"uri": "skills/x/scripts/a.sh"}, "region": {"startLine": 3}}
    assert places[1] == {"artifactLocation": {"uri": "skills/x/SKILL.md"}}
    assert all(one["message"]["text"] for one in run["results"])
    # A rule says what it means, not what it found first.
    assert [rule["shortDescription"]["text"] for rule in rules] == ["What such a line does.", "A scanner: tools.all"]


def test_what_is_about_no_file_points_nowhere_and_what_lies_outside_has_a_whole_address() -> None:
    whole = Finding("budget.cut", Severity.LOW, "Too much.", file="")
    outside = Finding("tools.all", Severity.LOW, "Every tool.", file="a b.md")
    log = json.loads(json.dumps(sarif("llmos-lint", [Reported("", [whole]), Reported("/srv/x/", [outside])], {})))
    places = [one["locations"] for one in log["runs"][0]["results"]]
    assert places[0] == []
    assert places[1][0]["physicalLocation"]["artifactLocation"]["uri"] == "file:///srv/x/a%20b.md"


def test_a_clean_run_is_a_run() -> None:
    log = json.loads(json.dumps(sarif("llmos-lint", [], {})))
    assert log["runs"] == [{"tool": {"driver": {"name": "llmos-lint", "version": "0.1.0", "rules": []}}, "results": []}]
