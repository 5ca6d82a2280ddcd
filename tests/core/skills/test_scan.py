"""Plug-ins that can scan are taken, others are named."""

from __future__ import annotations

import pytest

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.scan import Finding, Severity, scan, scanners_from
from llmos_lite.errors import Invalid


class Quiet:
    """Says nothing."""

    def scan(self, skill: Skill) -> list[Finding]:
        assert skill.skill_id
        return []


def test_scanners_come_as_objects_or_classes() -> None:
    scanners = scanners_from({"one": Quiet, "two": Quiet()})
    assert set(scanners) == {"one", "two"}
    assert scan(scanners, Skill(skill_id="x", description="d")) == []


def test_what_cannot_scan_is_named() -> None:
    with pytest.raises(Invalid) as raised:
        scanners_from({"good": Quiet, "bad": 12})
    assert raised.value.code == "plugin.broken"
    assert "'bad'" in raised.value.message


def test_a_severity_may_come_as_text() -> None:
    class Plain:
        def scan(self, skill: Skill) -> list[Finding]:
            return [Finding("x", "low", skill.skill_id)]  # type: ignore[arg-type]  # what a plug-in may really do

    (found,) = scan({"plain": Plain()}, Skill(skill_id="x", description="d"))
    assert found.severity is Severity.LOW
