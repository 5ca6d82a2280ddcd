"""Commits against `git fast-import`, in CPU time (own and children's), since walls and disks differ.

fast-import makes nothing durable before its end. So each commit is measured twice: without fsync, which is like for
like and how the study behind the bounds measured it; and durable, as the product does it, where the kernel's work for
5 fsyncs (8 with a work tree) counts too.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import Row
from llmos_lite.engines.git import Author, LocalGitStore
from llmos_lite.engines.signing import Signer
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager

ALICE = Author("alice", "alice@localhost")
SKILLS, COMMITS, ROUNDS = 1000, 200, 3
TEXT = (
    b"---\nname: a skill\ndescription: what it is for\n---\n\n" + b"A line of advice that somebody wrote down.\n" * 60
)


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _milliseconds(work: Callable[[], object], count: int) -> float:
    """Return the CPU milliseconds of one of `count` pieces of work."""
    start = _cpu()
    work()
    return (_cpu() - start) * 1000 / count


def _skills() -> dict[str, bytes]:
    return {f"skills/s{i:05}/SKILL.md": TEXT + b"%d\n" % i for i in range(SKILLS)}


def _edit(turn: int) -> tuple[str, bytes]:
    return f"skills/s{turn * 37 % SKILLS:05}/SKILL.md", TEXT + b"turn %d\n" % turn


def _stream() -> Iterator[bytes]:
    for turn in range(COMMITS):
        path, data = _edit(turn)
        parent = b"from refs/heads/main^0\n" if turn == 0 else b""
        yield b"commit refs/heads/main\ncommitter a <a@x> %d +0000\ndata 6\nUpdate\n%s" % (1_700_000_000 + turn, parent)
        yield b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data)


@contextmanager
def _no_fsync() -> Iterator[None]:
    real, os.fsync = os.fsync, lambda _: None
    try:
        yield
    finally:
        os.fsync = real


def _fast_import(store: LocalGitStore) -> float:
    stream = b"".join(_stream())
    command = ["git", "-C", str(store.path), "fast-import", "--quiet", "--force"]
    return _milliseconds(lambda: subprocess.run(command, input=stream, check=True), COMMITS)


def _commits(store: LocalGitStore) -> float:
    def work() -> None:
        for turn in range(COMMITS):
            store.commit(dict([_edit(turn)]), "Update", ALICE)

    return _milliseconds(work, COMMITS)


def _folds(store: LocalGitStore) -> float:
    events = b"".join(b'{"v":1,"kind":"trace","id":"%d"}' % i + TEXT.replace(b"\n", b" ") + b"\n" for i in range(100))

    def work() -> None:
        for turn in range(20):
            path = f"traces/2026/11/22/{turn:02}/segment.jsonl"
            store.commit({path: events + b"%d\n" % turn}, "Fold 100 events", ALICE, branch="2026-11")

    return _milliseconds(work, 20 * 100)


@contextmanager
def _stores() -> Iterator[tuple[Signer, Callable[..., LocalGitStore]]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        signer = Signer.open(folder / "keys")
        count = iter(range(1000))

        def make(*, bare: bool) -> LocalGitStore:
            store = LocalGitStore(folder / f"store{next(count)}", signer=signer, bare=bare)
            store.commit(_skills(), "Start", ALICE)
            return store

        yield signer, make


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _commit_rows() -> Iterator[Row]:
    with _stores() as (_, make):
        imports, folds = [], []
        plain, tree, durable, durable_tree = [], [], [], []
        for _ in range(ROUNDS):  # in turns, so that all see the same load
            imports.append(_fast_import(make(bare=True)))
            with _no_fsync():
                plain.append(_commits(make(bare=True)))
                tree.append(_commits(make(bare=False)))
            durable.append(_commits(make(bare=True)))
            durable_tree.append(_commits(make(bare=False)))
            folds.append(_folds(make(bare=True)))
    reference = _median(imports)
    for name, values, target in (
        ("signed commit among 1,000 skills, no fsync, against git fast-import (CPU)", plain, "<= 2"),
        ("the same with work tree and index, no fsync", tree, "<= 6"),
        ("the same, durable (5 fsyncs), against fast-import without", durable, ""),
        ("the same, durable, with work tree and index", durable_tree, ""),
        ("one trace of a durable fold of 100, against a commit of fast-import (CPU)", folds, "<= 0.15"),
    ):
        yield Row(name, _median(values), reference, unit="ms", target=target)


def _read_rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        volumes = VolumeManager(Path(name), Signer.open(Path(name) / "keys"))
        volume = volumes.open(PLATFORM, VolumeRef.user("alice"), write=True)
        volume.store.commit({f"skills/s{i:05}/SKILL.md": b"%d\n" % i for i in range(10_000)}, "Many", ALICE)
        times = []
        for _ in range(7):
            volumes.close()  # nothing is kept: neither the tree nor the listing
            fresh = volumes.open(PLATFORM, volume.ref)
            fresh.store.head()
            times.append(_milliseconds(fresh.list_skills, 1))
            found = len(fresh.list_skills())
        if found != 10_000:
            raise RuntimeError("not all skills were listed")
        yield Row(
            "10,000 skills listed, nothing cached: the store was just opened (CPU)",
            _median(times),
            unit="ms",
            target="value <= 10",
        )
        again = _milliseconds(fresh.list_skills, 1)
        yield Row("10,000 skills listed again (CPU)", again, unit="ms", target="value <= 10")
        yield _head_row(fresh.store.head, volumes.folder(volume.ref) / ".git/refs/heads/main")


def _head_row(head: Callable[[], object], ref: Path) -> Row:
    def microseconds(call: Callable[[], object]) -> float:
        start = time.perf_counter()
        for _ in range(100_000):
            call()
        return (time.perf_counter() - start) * 10

    time.sleep(0.1)  # a ref that has just moved is read again, so that it is never stale
    return Row("head of a volume, against a stat of its ref", microseconds(head), microseconds(ref.stat), unit="us")


def run() -> list[Row]:
    """Return the rows of this module."""
    return [*_commit_rows(), *_read_rows()]
