"""Long histories and large repositories, in CPU time (own and children's).

*Nothing cached*: the store has just been opened, so no object, tree or listing is in memory; the files are in the
page cache of the system. Histories come from `git fast-import`, their graph from our own upkeep.
"""

from __future__ import annotations

import itertools
import random
import resource
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np  # noqa: F401 - a server has it loaded, and goes on long walks with it sooner

from benchmarks import Row
from llmos_lite.core.skills.blame import blame
from llmos_lite.engines.git import Author, LocalGitStore
from llmos_lite.engines.git_upkeep import maintain
from llmos_lite.engines.signing import Signer
from llmos_lite.volumes.following import Place

ALICE = Author("alice", "alice@localhost")
COMMITS, SKILLS, SELDOM = 100_000, 100, 1000
BLAMED = 10_000
ROUNDS = 5
_LINES = [b"---", b"name: a skill", b"description: what it is for", b"---", *(b"Advice %d." % n for n in range(60))]


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _milliseconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the median CPU milliseconds of a piece of work."""
    times = []
    for _ in range(rounds):
        start = _cpu()
        work()
        times.append((_cpu() - start) * 1000)
    return sorted(times)[rounds // 2]


def _git(store: LocalGitStore, *words: str) -> None:
    subprocess.run(["git", "-C", str(store.gitdir), *words], check=True, stdout=subprocess.DEVNULL)


def _import(store: LocalGitStore, stream: Iterator[bytes]) -> None:
    command = ["git", "-C", str(store.gitdir), "fast-import", "--quiet", "--force"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        for piece in stream:
            process.stdin.write(piece)
        process.stdin.close()
    store.close()


def _commit(turn: int, files: Iterator[tuple[str, bytes]]) -> Iterator[bytes]:
    yield b"commit refs/heads/main\ncommitter a <a@x> %d +0000\ndata 6\nUpdate\n" % (1_600_000_000 + turn)
    for path, data in files:
        yield b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data)


def _edits(commits: int, skills: int) -> Iterator[bytes]:
    """Yield a history in which each skill is changed in turn, a line at a time."""
    texts = [list(_LINES) for _ in range(skills)]
    paths = [f"skills/s{place:05}/SKILL.md" for place in range(skills)]
    yield from _commit(0, ((path, b"\n".join(_LINES) + b"\n") for path in paths))
    for turn in range(1, commits):
        place = turn * 37 % skills
        texts[place][4 + turn % 60] = b"Advice of turn %d." % turn
        yield from _commit(turn, iter([(paths[place], b"\n".join(texts[place]) + b"\n")]))


def _history_rows(folder: Path, signer: Signer) -> Iterator[Row]:
    store = LocalGitStore(folder / "long", signer=signer, bare=True)
    _import(store, _edits(COMMITS, SKILLS))
    maintain(store.gitdir, store.lock())  # type: ignore[arg-type]  # the store's own lock
    paths = "skills/s00005", "skills/s00005.md"

    def newest() -> None:
        store.close()
        if len(store.log(limit=20, path=paths)) != 20:
            raise RuntimeError("there are too few")

    def every() -> None:
        store.close()
        store.log(limit=COMMITS, path=paths)

    path = "skills/s00005/SKILL.md"
    yield Row(
        "newest 20 of a skill's history at 1e5 commits, nothing cached, against git log -20 (CPU)",
        _milliseconds(newest),
        _milliseconds(lambda: _git(store, "log", "-20", "main", "--", path)),
        unit="ms",
        target="value <= 20",
    )
    yield Row(
        "all 1,000 of them, against git log (CPU)",
        _milliseconds(every, 3),
        _milliseconds(lambda: _git(store, "log", "main", "--", path), 3),
        unit="ms",
    )
    store.close()


def _seldom_row(folder: Path, signer: Signer) -> Row:
    """Say what it costs where a skill has few of many commits; another one each time, since filters favour some."""
    store = LocalGitStore(folder / "seldom", signer=signer, bare=True)
    _import(store, _edits(COMMITS, SELDOM))
    maintain(store.gitdir, store.lock())  # type: ignore[arg-type]  # the store's own lock
    ours, theirs = (itertools.cycle(range(5, SELDOM, SELDOM // 10)) for _ in range(2))

    def newest() -> None:
        store.close()
        name = f"skills/s{next(ours):05}"
        if len(store.log(limit=20, path=(name, f"{name}.md"))) != 20:
            raise RuntimeError("there are too few")

    value = _milliseconds(newest, 9)
    reference = _milliseconds(lambda: _git(store, "log", "-20", "main", "--", f"skills/s{next(theirs):05}/SKILL.md"))
    store.close()
    title = "newest 20 of a skill with 100 of 1e5 commits, nothing cached, against git log -20 (CPU)"
    return Row(title, value, reference, unit="ms", target="value <= 20")


def _blame_row(folder: Path, signer: Signer) -> Row:
    store = LocalGitStore(folder / "blamed", signer=signer, bare=True)
    _import(store, _edits(BLAMED, SKILLS))
    maintain(store.gitdir, store.lock())  # type: ignore[arg-type]  # the store's own lock

    def ours() -> None:
        store.close()
        if not blame(store, Place("s00005", store.head() or "")).complete:
            raise RuntimeError("not every line was found")

    value = _milliseconds(ours)
    reference = _milliseconds(lambda: _git(store, "blame", "main", "--", "skills/s00005/SKILL.md"))
    store.close()
    return Row("blame at 1e4 commits, 100 of the file, against git blame (CPU)", value, reference, unit="ms")


def _hour(number: int, count: int) -> str:
    """Return the path of one of `count` segments that are spread over a year."""
    hour = number * 365 * 24 // count
    month, day = hour // 730 + 1, hour // 24 % 30 + 1
    return f"traces/2026/{month:02}/{day:02}/{hour % 24:02}/{number:07}.jsonl"


def _commit_cost(folder: Path, signer: Signer, files: int) -> float:
    store = LocalGitStore(folder / f"files{files}", signer=signer, bare=True)

    def stream() -> Iterator[bytes]:
        yield b"blob\nmark :1\ndata 1\nx\n"
        yield b"commit refs/heads/main\ncommitter a <a@x> 1600000000 +0000\ndata 5\nStart\n"
        for number in range(files):
            yield b"M 100644 :1 %s\n" % _hour(number, files).encode()

    _import(store, stream())
    count, numbers = 100, itertools.count()

    def commits() -> None:
        for turn in range(count):
            path = _hour(turn * files // count, files)
            store.commit({f"{path}.{next(numbers)}": b"%d" % turn * 500}, "Fold", ALICE)

    commits()
    value = _milliseconds(commits, 3) / count
    store.close()
    return value


def _size_row(folder: Path, signer: Signer) -> Row:
    """Say what a trace takes: 20,000 of 4 KB, 100 to a segment, words drawn as often as in a language."""
    choose = random.Random(1)  # noqa: S311 - the same each time
    words = ["".join(choose.choices("etaoinshrdlu", k=choose.randint(2, 9))) for _ in range(8000)]
    odds = [1 / (rank + 10) for rank in range(len(words))]
    store = LocalGitStore(folder / "sizes", signer=signer, bare=True)
    joined = []
    for fold in range(50):
        lines = [" ".join(choose.choices(words, odds, k=600)) for _ in range(100)]
        data = "".join(f'{{"v":1,"kind":"trace","id":"{fold}-{n}","text":"{line}"}}\n' for n, line in enumerate(lines))
        joined.append(data.encode())
        store.commit({f"traces/2026/11/{fold // 24 + 1:02}/{fold % 24:02}/{fold}.jsonl": joined[-1]}, "Fold", ALICE)
    maintain(store.gitdir, store.lock())  # type: ignore[arg-type]  # the store's own lock
    packs = sum(path.stat().st_size for path in (store.gitdir / "objects" / "pack").glob("*.pack"))
    best = sum(len(zlib.compress(b"".join(joined[start : start + 5]))) for start in range(0, len(joined), 5))
    store.close()
    count = len(joined) * 100
    return Row(
        "bytes of a trace after upkeep, against zlib of 500 joined",
        packs / count,
        best / count,
        unit="B",
        target="<= 1.1",
    )


def run() -> list[Row]:
    """Return the rows of this module."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        signer = Signer.open(folder / "keys")
        rows = [*_history_rows(folder, signer), _seldom_row(folder, signer)]
        rows += [_blame_row(folder, signer), _size_row(folder, signer)]
        few, many = (_commit_cost(folder, signer, count) for count in (1000, 1_000_000))
        title = "a commit among 1e6 files in folders by the hour, against one among 1e3 (CPU)"
        return [*rows, Row(title, many, few, unit="ms", target="<= 1.5")]
