"""A very large volume through Git: read and indexed, searched, changed, checked out. CPU times.

10,000 skills; `LLMOS_BENCH_VOLUME=100000` makes it as large as the issue wants, which takes some minutes and 1.5 GB.
One commit of `git fast-import` holds them all, as after a push; what follows is ours.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import Row
from benchmarks._skill_data import LIMIT, Query, data_folder, grown, public_queries, public_skills, starters
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.engines.git import Author
from llmos_lite.engines.signing import Signer
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

TEAM = VolumeRef.team("large")
ALICE = Author("alice", "alice@localhost")
CHANGES = 3
ZEBRAFISH = "Hatch zebrafish eggs over quartz in the aquarium of the laboratory"
PAGE = 4096


def run() -> Iterator[Row]:
    """Measure."""
    data = data_folder()
    skills = list(public_skills(data)) or starters()
    asked = [query.text for query in list(public_queries(data)) or [Query(skill.description) for skill in skills]]
    size = int(os.environ.get("LLMOS_BENCH_VOLUME") or 10_000)
    with tempfile.TemporaryDirectory() as folder:
        volumes = VolumeManager(Path(folder), Signer.open(Path(folder) / "keys"))
        volume = volumes.open(PLATFORM, TEAM, write=True)
        _import(volume, volumes.folder(TEAM), grown(skills, size))
        yield from _rows(volumes, volume, size, asked)
        volumes.close()


def _rows(volumes: VolumeManager, volume: GitVolume, size: int, asked: Sequence[str]) -> Iterator[Row]:
    manager, before = SkillsManager(volumes), _resident()
    seconds = _seconds(lambda: manager.library_of(volume))
    library = manager.library_of(volume)
    yield Row(f"read and index {size:,} skills from Git", seconds, unit="s CPU")
    yield Row(f"memory of {size:,} skills, texts and all", (_resident() - before) / size / 1024, unit="KB a skill")
    yield _searched(manager, library, asked)
    seconds = _seconds(lambda: volumes.adopt(TEAM))
    work_tree = volumes.folder(TEAM)
    again = f"--prefix={work_tree.parent / 'again'}/"
    theirs = _seconds(lambda: _git(work_tree, "checkout-index", "--all", again))
    yield Row(f"check {size:,} skills out (reference: git checkout-index)", seconds, theirs, unit="s CPU")
    yield from _changed(manager, volume, size)


def _searched(manager: SkillsManager, library: Library, asked: Sequence[str]) -> Row:
    def once(query: str) -> float:
        return 1000 * _seconds(lambda: manager.context([library], query, LIMIT))

    times = sorted(once(query) for query in (*asked, *asked))
    name = f"p99 of a selection among {library.index.count:,} skills from Git (reference: p50)"
    p99 = times[int(len(times) * 0.99)]
    return Row(name, p99, statistics.median(times), unit="ms CPU", target="value <= 30")


def _changed(manager: SkillsManager, volume: GitVolume, size: int) -> Iterator[Row]:
    """Say what one changed skill costs: its commit with its file, and to follow it until it is found."""
    commits, follows = [], []
    for number in range(CHANGES):
        skill_id = f"skill-{size // 2 + number}"
        text = f"---\nname: {skill_id}\ndescription: {ZEBRAFISH} {number}\n---\n{ZEBRAFISH}\n"
        commits.append(_seconds(lambda: volume.write_skill(skill_id, text, "Update", ALICE, replace=True)))  # noqa: B023
        follows.append(_seconds(lambda: manager.library_of(volume)))
        used = manager.context([manager.library_of(volume)], f"{ZEBRAFISH} {number}", LIMIT).used
        if skill_id not in [scored.skill.skill_id for scored in used]:
            raise RuntimeError("the changed skill is not found")
    for what, times in (("commit one of {:,} skills", commits), ("follow a commit of one of {:,} skills", follows)):
        name = what.format(size)
        yield Row(name, 1000 * statistics.median(times), unit="ms CPU", target="value <= 1000")


def _import(volume: GitVolume, work_tree: Path, skills: Sequence[Skill]) -> None:
    command = ["git", "-C", str(work_tree), "fast-import", "--quiet", "--force"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        head = str(volume.store.head()).encode()
        process.stdin.write(
            b"commit refs/heads/main\ncommitter a <a@x> 1700000000 +0000\ndata 6\nImport\nfrom %s\n" % head
        )
        for skill in skills:
            front = f"---\nname: {skill.skill_id}\ndescription: {json.dumps(skill.description[:1000])}\n---\n"
            data = f"{front}{skill.body}\n".encode()
            path = f"skills/{skill.skill_id}/SKILL.md".encode()
            process.stdin.write(b"M 100644 inline %s\ndata %d\n%s\n" % (path, len(data), data))
        process.stdin.close()
    volume.store.close()


def _git(work_tree: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(work_tree), *words], check=True, stdout=subprocess.DEVNULL)


def _seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a piece of work, those of its children too."""
    start = _cpu()
    work()
    return _cpu() - start


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _resident() -> int:
    """Return the bytes of memory that this process takes now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
