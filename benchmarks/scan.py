"""The scanner of skills: what it catches of invented hostile skills, false alarms, its time beside plain patterns.

And a library of 10,000 skills that is loaded for the first time and after a start, and how late the loop that answers
everybody is meanwhile: by processes of their own and by the loading thread alone.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import Row
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.guard import Guard
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.scan import Severity
from llmos_lite.core.skills.scan_pool import ScanPool
from llmos_lite.core.skills.scanning.house import with_house_rules
from llmos_lite.core.skills.scanning.pack import RulePack
from llmos_lite.engines.git import Author
from llmos_lite.engines.signing import Signer
from llmos_lite.volumes.access import PLATFORM, SYSTEM
from llmos_lite.volumes.manager import VolumeManager

ROOT = Path(__file__).parents[1]
PUBLIC = Path(os.environ.get("LLMOS_BENCH_DATA") or ROOT.parent / "shared" / "data") / "skills_2k.jsonl.gz"
"""Public skills, when there are some; the project holds only what it wrote."""
ROUNDS = 3
LOADED, TICK = 10_000, 0.001
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


def _corpus() -> Iterator[bytes]:
    """Yield texts of skills: public ones where there are some, else our own, each somewhat else than the others."""
    texts = [path.read_text() for path in sorted(ROOT.glob("llmos_lite/**/SKILL.md"))]
    if PUBLIC.exists():
        with gzip.open(PUBLIC, "rt") as lines:
            rows = [json.loads(line) for line in lines]
        texts = [f"---\ndescription: {json.dumps(row['description'] or 'x')}\n---\n{row['body']}" for row in rows]
    for number in range(LOADED):
        yield f"{texts[number % len(texts)]}\n{number}\n".encode()


@dataclass
class _Load:
    """How long a load took, in seconds, and how late the loop was meanwhile, in milliseconds, at most and for 1 %."""

    seconds: float
    longest: float
    late: float


async def _load(volumes: VolumeManager, guard: Guard) -> _Load:
    manager, late, loading = SkillsManager(volumes, watch=guard), list[float](), True

    async def tick() -> None:
        while loading:
            due = time.perf_counter() + TICK
            await asyncio.sleep(TICK)
            late.append((time.perf_counter() - due) * 1000)

    ticking = asyncio.create_task(tick())
    began = time.perf_counter()
    await asyncio.to_thread(manager.libraries, Actor("alice"))
    seconds, loading = time.perf_counter() - began, False
    await ticking
    return _Load(seconds, max(late), sorted(late)[int(len(late) * 0.99)])


def _loads(folder: Path) -> list[Row]:
    volumes, house = VolumeManager(folder, Signer.open(folder / "keys")), with_house_rules({})
    volume = volumes.open(PLATFORM, SYSTEM, write=True)
    texts = {f"skills/skill-{number}/SKILL.md": text for number, text in enumerate(_corpus())}
    volume.store.commit(texts, "All", Author("alice", "alice@localhost"))

    def load(guard: Guard) -> _Load:
        volumes.forget(SYSTEM)
        return asyncio.run(_load(volumes, guard))

    alone = load(Guard(volumes, house))
    first = load(Guard(volumes, house, folder=folder / "cache", pool=ScanPool()))
    again = load(Guard(volumes, house, folder=folder / "cache", pool=ScanPool()))
    volumes.close()
    what = f"{LOADED:,} skills, loaded"
    return [
        Row(f"{what} for the first time; by the loading thread alone", first.seconds, alone.seconds, unit="s"),
        Row(f"{what} after a start; the first time", again.seconds, first.seconds, unit="s", target="ratio <= 0.8"),
        Row("the loop is late meanwhile, 1 %; by the loading thread alone", first.late, alone.late, unit="ms"),
        Row("the loop is late meanwhile, at most; as above", first.longest, alone.longest, unit="ms"),
    ]


def _loaded() -> list[Row]:
    folder = Path(tempfile.mkdtemp())
    try:
        return _loads(folder)
    finally:
        shutil.rmtree(folder)


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
        *_loaded(),
    ]
