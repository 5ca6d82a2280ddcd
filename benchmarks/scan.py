"""The scanner of skills: what it catches of invented hostile skills, false alarms, its time beside plain patterns."""

from __future__ import annotations

import gzip
import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import Row
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.scan import Severity
from llmos_lite.core.skills.scanning.pack import RulePack

ROOT = Path(__file__).parents[1]
PUBLIC = Path(os.environ.get("LLMOS_BENCH_DATA") or ROOT.parent / "shared" / "data") / "skills_2k.jsonl.gz"
"""Public skills, when there are some; the project holds only what it wrote."""
ROUNDS = 3
PLAIN = [re.compile(pattern, re.IGNORECASE) for pattern in (
    r"ignore\s+(?:all\s+)?previous\s+instructions", r"curl[^\n]*\|\s*(?:ba)?sh", r"wget[^\n]*\|\s*(?:ba)?sh",
    r"base64\s+-d[^\n]*\|", r"eval\s*\(", r"exec\s*\(", r"os\.environ", r"\.ssh/", r"\.aws/", r"/dev/tcp/",
    r"rm\s+-rf\s+/", r"crontab", r"do\s+not\s+(?:tell|mention)", r"system\s+prompt", r"[\u200b-\u200f]",
    r"AKIA[0-9A-Z]{16}", r"ghp_[A-Za-z0-9]{36}", r"sk-[A-Za-z0-9]{20,}", r"requests\.post", r"subprocess\.",
)]  # fmt: skip


def _unsafe(pack: RulePack, skill: Skill, files: dict[str, bytes]) -> bool:
    return any(one.severity == Severity.HIGH for one in pack.scan_folder(skill, files))


def _share(pack: RulePack, samples: Sequence[object]) -> float:
    """Return the share of samples that are unsafe, of those that are expected to be of high severity."""
    chosen = [one for one in samples if getattr(one, "severity", "") == "high"]
    return sum(_unsafe(pack, one.skill, dict(one.files)) for one in chosen) / len(chosen)  # type: ignore[attr-defined]  # of the tests


def _milliseconds(look: Callable[[str], object], texts: Sequence[str]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.process_time()
        for text in texts:
            look(text)
        best = min(best, (time.process_time() - begun) * 1000 / len(texts))
    return best


def _public(pack: RulePack) -> list[Row]:
    if not PUBLIC.exists():
        return []
    with gzip.open(PUBLIC, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    skills = [Skill(skill_id=row["id"], description=row["description"] or "", body=row["body"]) for row in rows]
    unsafe = sum(any(one.severity == Severity.HIGH for one in pack.scan(skill)) for skill in skills)
    return [Row("share of public skills with a finding of high severity", unsafe / len(skills), target="value <= 0.02")]


def run() -> list[Row]:
    """Return the rows."""
    sys.path.append(str(ROOT))
    from tests.hostile.harmless import HARMLESS  # noqa: PLC0415 - lie with the tests
    from tests.hostile.held_out import HELD_OUT  # noqa: PLC0415
    from tests.hostile.samples import SAMPLES  # noqa: PLC0415

    pack = RulePack()
    texts = [path.read_text() for path in sorted(ROOT.glob("llmos_lite/**/SKILL.md"))]
    ours = _milliseconds(
        lambda text: list(pack.scan_folder(Skill.parse("x", text), {"SKILL.md": text.encode()})), texts
    )
    plain = _milliseconds(lambda text: [pattern.search(text) for pattern in PLAIN], texts)
    return [
        Row(
            "share of hostile skills, written before the rules, that is caught",
            _share(pack, HELD_OUT),
            target="value >= 0.9",
        ),
        Row("share of other hostile skills that is caught", _share(pack, SAMPLES), target="value >= 0.95"),
        Row("share of harmless look-alikes that is called unsafe", _share(pack, HARMLESS), target="value <= 0.05"),
        Row("scan of a skill (CPU), against 20 plain patterns", ours, plain, unit="ms", target="value <= 5"),
        *_public(pack),
    ]
