"""Upkeep of a repository by stock git: packs rolled up, one index over them, a commit-graph with changed paths.

Each commit and each fold is one pack, so 50 of them come together in an hour of use. The repository lock is held,
and shared with git: it ends when git does, even when this process is killed in between. Readers go on: a pack that
they have open stays readable, and one that went away under them is looked for again (`Objects`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Self

from llmos_lite.engines.git_lock import RepositoryLock, temporary_files
from llmos_lite.engines.git_version import git_version
from llmos_lite.errors import StorageFailed, Unavailable

MANY_PACKS = 50
"""Packs after which reads get slow: 401 packs cost 768 us a miss, 15 after a geometric repack."""

PERIOD = 86_400.0
"""Seconds after which a repository that has changed is looked after, however few its packs are."""

NICENESS = 10
_STAMP = "llmos-upkeep"
_LONGEST = 3600.0
_GRAPH_STEP = 10_000
"""Commits that a commit-graph takes in while writers wait: about 2 s."""

_FILTERS = {"GIT_TEST_BLOOM_SETTINGS_BITS_PER_ENTRY": "56", "GIT_TEST_BLOOM_SETTINGS_NUM_HASHES": "6"}
"""Git's own 10 bits and 7 hashes make filters of 4 bytes for a commit of one skill. Where a path's second hash shares a
factor with their 32 bits, its bits fall together: they are wrong for 12 % of commits (simulated; for one path in 20,
for 45 %), and trees are compared each time: 60 to 780 ms on the way to the newest 20 of 100 versions in 1e5 commits.
These are wrong for 0.02 % (0.1 %), for 17 bytes more a commit; more hashes than 6 are no better in filters that
small. Git has no other way to set them (since 2.28). They stand in the header of the graph, so every reader goes by
them, and layers that are added keep to those of the layers below.
"""

_FACTOR = 2
_SQUEEZED = 16 << 20
"""Bytes of packs that are compressed anew while they are rolled up: a fold packs quickly, this one well (a trace
takes 1.02 instead of 1.14 of what zlib makes of 500). Larger ones are copied, since writers wait: 30,000 traces, half
of them compressed anew before, take 1.5 s CPU instead of 2.8, and 2 % more room."""

_SMALL, _WINDOW = 4 << 20, 2
"""Bytes of packs from which on an object is compared with so many others, and not with Git's ten: writers wait. 15,000
traces take 1.3 s CPU instead of 3.9, and 5.7 MB instead of 5.5 (11.2 before): most is shared by neighbours."""

_LARGE = 64 << 20
"""Bytes from which on a pack is left as it is: writers wait no longer however large the repository grows. Some 110,000
traces are 64 MiB. To roll up 14 MiB takes 1.4 s CPU, 57 MiB 2.1: with 8 MiB here each of six times took 1.4."""
_SPARES = (2, 39)
"""Git that leaves a pack alone which is named to it. One before 2.37 takes it for rolled up, and removes it."""

_DURABLE = ("-c", "core.fsync=all", "-c", "pack.threads=1", "-c", "gc.auto=0", "-c", "safe.directory=*")


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What upkeep did: packs, and bytes of objects, before and after."""

    packs_before: int = 0
    packs_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0

    def __add__(self, other: Self) -> Upkeep:
        return Upkeep(
            self.packs_before + other.packs_before,
            self.packs_after + other.packs_after,
            self.bytes_before + other.bytes_before,
            self.bytes_after + other.bytes_after,
        )


def count_packs(gitdir: Path) -> int:
    """Return the number of packs that upkeep may roll up; those with a `.keep` beside them stay, and large ones."""
    names = _pack_names(gitdir)
    kept = {name[:-5] for name in (*(one for one in names if one.endswith(".keep")), *large_packs(gitdir))}
    return sum(name.endswith(".pack") and name[:-5] not in kept for name in names)


def large_packs(gitdir: Path) -> list[str]:
    """Return the names of the packs that are large enough to be left alone; none where this git cannot do that."""
    found = []
    for name in _pack_names(gitdir):
        with contextlib.suppress(OSError):
            if name.endswith(".pack") and (gitdir / "objects" / "pack" / name).stat().st_size >= _LARGE:
                found.append(name)
    return sorted(found) if found and _can_spare() else []


@cache
def _can_spare() -> bool:
    return git_version() >= _SPARES


def is_due(gitdir: Path) -> bool:
    """Tell whether a repository needs upkeep: many packs, or changed and not looked after for a day. Cheap."""
    try:
        changed = (gitdir / "objects" / "pack").stat().st_mtime
        since = _last(gitdir)
    except OSError:
        return False
    if since >= changed:
        return False
    return time.time() - since > PERIOD or count_packs(gitdir) > MANY_PACKS


def maintain(gitdir: Path, lock: RepositoryLock) -> Upkeep:
    """Roll packs up, bring the commit-graph up to date, and collect what was left behind; durably.

    Raises:
        Unavailable: `git.missing`, `git.slow`.
        StorageFailed: `storage.upkeep`, with what git said; the repository is as good as before.
    """
    with lock:
        before = count_packs(gitdir), _size(gitdir)
        _collect(gitdir)
        if before[0]:
            words = ("repack", "-q", "-d", "-n", f"--geometric={_FACTOR}", "--write-midx")
            spared = [f"--keep-pack={name}" for name in large_packs(gitdir)]
            _git(gitdir, lock, *words, *spared, *_care(_rolled(gitdir)))
    for tip in _graph_tips(gitdir, lock):
        with lock:
            _write_graph(gitdir, lock, tip)
    with lock:
        (gitdir / _STAMP).touch()
        return Upkeep(before[0], count_packs(gitdir), before[1], _size(gitdir))


def has_graph(gitdir: Path) -> bool:
    """Tell whether stock git can walk this history quickly."""
    return graph_size(gitdir) > 0


def graph_size(gitdir: Path) -> int:
    """Return the bytes of the commit-graph, some 60 for each commit; 0 when there is none."""
    info = gitdir / "objects" / "info"
    files = [info / "commit-graph", *info.glob("commit-graphs/*.graph")]
    return sum(path.stat().st_size for path in files if path.exists())


def _graph_tips(gitdir: Path, lock: RepositoryLock) -> Iterator[str]:
    """Yield commits up to which the graph is to be written in turn; at last nothing, which means all branches.

    The first graph of a long history takes 0.2 ms for each commit, and writers do not wait that long.
    """
    if not has_graph(gitdir):
        oids = _git(gitdir, lock, "rev-list", "--reverse", "--topo-order", "--branches").split()
        yield from oids[_GRAPH_STEP::_GRAPH_STEP]
    yield ""


def _write_graph(gitdir: Path, lock: RepositoryLock, tip: str) -> None:
    source = "--stdin-commits" if tip else "--reachable"
    words = ("commit-graph", "write", source, "--changed-paths", "--split", "--no-progress")
    _git(gitdir, lock, *words, given=f"{tip}\n" if tip else "", more=_FILTERS)


def _care(size: int) -> list[str]:
    """Return how well git is to pack objects of so many bytes."""
    again = ["-F"] if size <= _SQUEEZED else []
    return [*again, f"--window={_WINDOW}"] if size > _SMALL else again


def _rolled(gitdir: Path) -> int:
    """Return the bytes of the packs that a geometric repack would roll up: builtin/repack.c, `split_pack_geometry`."""
    packs = sorted(_packs(gitdir))
    split = len(packs) - 1
    while split > 0 and packs[split][0] >= _FACTOR * packs[split - 1][0]:
        split -= 1
    split += split > 0
    total = sum(count for count, _ in packs[:split])
    while split < len(packs) and packs[split][0] < _FACTOR * total:
        total += packs[split][0]
        split += 1
    return sum(size for _, size in packs[:split])


def _packs(gitdir: Path) -> Iterator[tuple[int, int]]:
    """Yield the number of objects and the bytes of each pack that is not left alone."""
    spared = large_packs(gitdir)
    for path in (gitdir / "objects" / "pack").glob("*.pack"):
        if path.name in spared:
            continue
        with contextlib.suppress(OSError), path.open("rb") as file:
            yield int.from_bytes(file.read(12)[8:], "big"), path.stat().st_size


def _git(
    gitdir: Path, lock: RepositoryLock, *words: str, given: str = "", more: Mapping[str, str] = MappingProxyType({})
) -> str:
    nice = [found, "-n", str(NICENESS)] if (found := shutil.which("nice")) else []
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            [*nice, "git", *_DURABLE, "--git-dir", str(gitdir), *words],
            input=given,
            env={**os.environ, **more},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LONGEST,
            check=False,
            pass_fds=lock.shared(),
        )
    except FileNotFoundError as error:
        raise Unavailable("git.missing", "There is no git on this machine.", hint="Install git.") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable("git.slow", f"git {words[0]} of {gitdir} took more than {_LONGEST:.0f} s.") from error
    if done.returncode:
        said = done.stderr.strip()[-300:] or f"it ended with {done.returncode}"
        raise StorageFailed(
            "storage.upkeep",
            f"git {words[0]} of {gitdir} failed: {said}",
            hint="Free space, and run `llmos doctor`; nothing is lost.",
        )
    return done.stdout


def _collect(gitdir: Path) -> None:
    """Remove temporary files that are too old to be anybody's; the caller holds the repository lock."""
    for path in temporary_files(gitdir):
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime > PERIOD:
                _remover(path)(path)


def _remover(path: Path) -> Callable[[Path], None]:
    return shutil.rmtree if path.is_dir() and not path.is_symlink() else Path.unlink


def _last(gitdir: Path) -> float:
    """Return when upkeep was last done, or when the repository was made; in seconds since the epoch."""
    try:
        return (gitdir / _STAMP).stat().st_mtime
    except FileNotFoundError:
        return (gitdir / "HEAD").stat().st_mtime


def _pack_names(gitdir: Path) -> list[str]:
    try:
        return os.listdir(gitdir / "objects" / "pack")  # noqa: PTH208 - names are all that is needed
    except FileNotFoundError:
        return []


def _size(gitdir: Path) -> int:
    """Return the bytes below `objects`; what goes away meanwhile counts nothing."""
    total = 0
    for folder, _, names in os.walk(gitdir / "objects"):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(folder) / name).lstat().st_size
    return total
