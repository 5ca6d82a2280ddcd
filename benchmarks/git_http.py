"""Git over HTTP: a real `llmos serve` against the same repository by `file://`, with stock git as the client."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import Row
from benchmarks._server import Server, serving
from llmos_lite.engines.git import Author
from llmos_lite.engines.signing import Signer
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager

SKILLS, ROUNDS, AT_ONCE = 10_000, 5, 8
ALICE = Author("alice", "alice@localhost")
WORDS = 2000
"""Size of the vocabulary: the skills compress as prose does, and hardly against each other."""


def _text(number: int) -> bytes:
    dice = random.Random(number)  # noqa: S311 - made-up prose, no secret
    words = " ".join(f"word{dice.randrange(WORDS)}" for _ in range(400))
    return f"---\nname: s{number:05}\ndescription: What number {number} is for.\n---\n{words}\n".encode()


def _git(folder: Path, *arguments: str) -> None:
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    names = {f"GIT_{role}_{part}": "alice" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    safe = ["-c", "safe.directory=*"]
    subprocess.run(
        ["git", *safe, *arguments], cwd=folder, env=os.environ | quiet | names, check=True, capture_output=True
    )


def _milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def _fill(data: Path) -> Path:
    volumes = VolumeManager(data, Signer.open(data / "keys"))
    ref = VolumeRef.user("alice")
    volume = volumes.open(PLATFORM, ref, write=True)
    files = {f"skills/s{number:05}/SKILL.md": _text(number) for number in range(SKILLS)}
    volume.store.commit(files, "Many", ALICE)
    volumes.close()
    return volumes.folder(ref)


def _against(name: str, folder: Path, urls: tuple[str, str], *options: str, target: str = "") -> Row:
    """Measure a clone over HTTP and by file, in turns."""
    times: dict[str, list[float]] = {url: [] for url in urls}
    for _ in range(ROUNDS):
        for url in urls:
            times[url].append(_milliseconds(lambda url=url: _git(folder, "clone", "-q", *options, url, "clone")))  # type: ignore[misc]  # bound at once
            shutil.rmtree(folder / "clone")
    ours, reference = (statistics.median(times[url]) for url in urls)
    return Row(name, ours, reference, unit="ms", target=target)


def _push_rows(folder: Path, url: str, volume: Path) -> Iterator[Row]:
    """Compare a push with one to a bare copy, which checks nothing and keeps no work tree."""
    _git(folder, "clone", "-q", "--bare", str(volume), "bare")
    _git(folder, "clone", "-q", "--depth=1", url, "work")
    work, times = folder / "work", list[tuple[float, float]]()
    for number in range(ROUNDS):
        (work / "skills/s00001/SKILL.md").write_bytes(_text(1) + b"Round %d.\n" % number)
        _git(work, "commit", "-q", "-a", "-m", "Edit")
        by_file = _milliseconds(lambda: _git(work, "push", "-q", f"file://{folder}/bare", "HEAD:main"))
        times.append((_milliseconds(lambda: _git(work, "push", "-q", "origin", "HEAD:main")), by_file))
    ours, reference = (statistics.median(column) for column in zip(*times, strict=True))
    yield Row("push of one edit among 10,000 skills, checked, against file:// unchecked", ours, reference, unit="ms")


def _memory_row(folder: Path, url: str, server: Server) -> Row:
    def clone(number: int) -> None:
        _git(folder, "clone", "-q", "--bare", url, f"at-once-{number}")

    own = Path(f"/proc/{server.process.pid}/status")
    before = _resident(own)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [pool.submit(clone, number) for number in range(AT_ONCE)]
        peak = before
        while not all(job.done() for job in jobs):
            peak = max(peak, _resident(own))
            time.sleep(0.02)
        for job in jobs:
            job.result()
    return Row(f"memory that the server grows by in {AT_ONCE} clones at once", peak - before, unit="MB")


def _resident(status: Path) -> float:
    if not status.exists():
        return 0.0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def run() -> list[Row]:
    """Return the rows of this module."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        volume = _fill(folder / "data")
        with serving(folder / "data", LLMOS_LLM_PROVIDER="offline") as server:
            key = (server.data / "admin.key").read_text().strip()
            url = f"http://alice:{key}@127.0.0.1:{server.port}/git/users/alice.git"
            urls = (url, f"file://{volume}")
            _git(folder, "ls-remote", url)
            return [
                _against("clone of 10,000 skills, bare", folder, urls, "--bare", target="<= 1.2"),
                _against(
                    "the same, --depth=1 --filter=blob:none", folder, urls, "--bare", "--depth=1", "--filter=blob:none"
                ),
                *_push_rows(folder, url, volume),
                _memory_row(folder, url, server),
            ]
