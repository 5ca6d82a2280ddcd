"""A plug-in that never ends is waited for once, and is a finding like any other that fails."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping

import pytest

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.scan import FAILED, Finding, Scanner, Severity, findings
from llmos_lite.core.skills.watched import Watched, watched

TEA = Skill.parse("tea", b"# Tea\n")
FILES = {"SKILL.md": b"# Tea\n", "brew.sh": b"true\n"}


class Slow:
    """Waits for a sign that may never come, in the middle of what it says."""

    def __init__(self) -> None:
        self.sign, self.asked = threading.Event(), 0

    def scan(self, skill: Skill) -> Iterator[Finding]:
        self.asked += 1
        yield Finding("slow.first", Severity.LOW, skill.skill_id)
        self.sign.wait()


class OfFolders(Slow):
    def scan_folder(self, skill: Skill, files: Mapping[str, bytes]) -> Iterable[Finding]:
        return [Finding("folder", Severity.HIGH, " ".join([skill.skill_id, *sorted(files)]))]


@pytest.fixture
def slow() -> Iterator[Slow]:
    slow = Slow()
    yield slow
    slow.sign.set()


def test_one_that_does_not_end_in_time_is_a_finding_and_asked_nothing_more(slow: Slow) -> None:
    scanners: dict[str, Scanner] = {"slow": Watched(slow, 0.05), "folder": Watched(OfFolders())}
    for _ in range(3):
        late, other = findings(scanners, TEA, FILES)
        assert (late.code, late.severity, late.scanner) == (FAILED, Severity.MEDIUM, "slow")
        assert "did not end within 0.05 s" in late.message
        assert "until the next start" in late.message
        assert (other.code, other.message) == ("folder", "tea SKILL.md brew.sh")
    assert slow.asked == 1


def test_one_that_ends_says_what_it_says(slow: Slow) -> None:
    slow.sign.set()
    for files in (None, FILES):
        assert findings(watched({"slow": slow}), TEA, files) == findings({"slow": slow}, TEA, files)


@pytest.mark.parametrize("files", [None, FILES])
def test_one_that_fails_fails_as_before(files: Mapping[str, bytes] | None) -> None:
    class Failing:
        def scan(self, skill: Skill) -> Iterable[Finding]:
            raise RuntimeError(f"no data for {skill.skill_id}")

    assert findings(watched({"x": Failing()}), TEA, files) == findings({"x": Failing()}, TEA, files)
