"""Upkeep by stock git: fewer packs, nothing lost, beside readers and writers of this and other processes."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llmos_lite.engines import git_upkeep
from llmos_lite.engines.git import Author, LocalGitStore
from llmos_lite.engines.git_lock import RepositoryLock
from llmos_lite.engines.git_upkeep import PERIOD, count_packs, has_graph, is_due
from llmos_lite.engines.git_version import git_version
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import StorageFailed, Unavailable

ALICE = Author("alice", "alice@localhost")
OPEN = """
import itertools, sys
from pathlib import Path
from llmos_lite.engines.git import Author, LocalGitStore
from llmos_lite.engines.signing import Signer
folder, name = Path(sys.argv[1]), sys.argv[2]
store = LocalGitStore(folder / "store", signer=Signer.open(folder / "keys"), bare=True)
"""
WRITER = (
    OPEN
    + """
for turn in range(int(sys.argv[3])):
    print(store.commit({f"{name}/{turn}": b"%d" % turn * 500}, f"{turn}", Author(name, "x@x")).oid, flush=True)
"""
)
READER = (
    OPEN
    + """
print("ready", flush=True)
while True:
    at = store.head()
    assert all(store.read(entry.path) for folder in store.tree(at=at) for entry in store.tree(folder.path, at=at))
    assert len(store.log(limit=1000)) >= 60
    print("read", flush=True)
"""
)
KEEPER = (
    OPEN
    + """
for turn in itertools.count():
    store.commit({f"k/{turn}": b"%d" % turn * 5000}, f"{turn}", Author(name, "x@x"))
    print("begin", flush=True)
    store.upkeep(always=True)
    print("end", flush=True)
"""
)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., LocalGitStore]:
    signer = Signer.open(tmp_path / "keys")
    return lambda *, bare=True: LocalGitStore(tmp_path / "store", signer=signer, bare=bare)


@pytest.fixture
def store(make: Callable[..., LocalGitStore]) -> LocalGitStore:
    made = make()
    for turn in range(60):
        made.commit({f"d/{turn}": b"%d" % turn * 500}, f"{turn}", ALICE)
    return made


def git(store: LocalGitStore, *words: str) -> str:
    command = ["git", "-c", "user.name=eve", "-c", "user.email=e@x", "-C", str(store.path), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def fsck(store: LocalGitStore) -> None:
    assert "error" not in git(store, "fsck", "--strict", "--no-dangling")
    git(store, "commit-graph", "verify")


def start(code: str, folder: Path, name: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, str(folder), name, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def leftovers(store: LocalGitStore) -> list[Path]:
    return [path for path in (store.gitdir / "objects").rglob("*") if path.name.startswith(("tmp_", ".tmp"))]


def age(store: LocalGitStore, seconds: float) -> None:
    """Make a repository look as if it was last looked after so long ago."""
    path = store.gitdir / ("llmos-upkeep" if (store.gitdir / "llmos-upkeep").exists() else "HEAD")
    os.utime(path, (time.time() - seconds,) * 2)


def test_many_packs_become_few_with_an_index_and_a_graph(store: LocalGitStore) -> None:
    assert store.upkeep_due()
    done = store.upkeep()
    assert done is not None
    assert (done.packs_before, done.packs_after) == (60, 1)
    assert 0 < done.bytes_after < done.bytes_before
    assert (store.gitdir / "objects/pack/multi-pack-index").exists()
    assert has_graph(store.gitdir)
    assert not store.upkeep_due()
    assert store.upkeep() is None
    assert [store.read(f"d/{turn}") for turn in range(60)] == [b"%d" % turn * 500 for turn in range(60)]
    fsck(store)


@pytest.mark.skipif(git_version() < git_upkeep._SPARES, reason="this git leaves no pack alone")
def test_large_packs_are_left_alone_and_nothing_is_lost(store: LocalGitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.upkeep()
    packs = store.gitdir / "objects" / "pack"
    (large,) = packs.glob("*.pack")
    monkeypatch.setattr(git_upkeep, "_LARGE", large.stat().st_size)
    monkeypatch.setattr(git_upkeep, "MANY_PACKS", 3)
    for turn in range(9):
        store.commit({f"e/{turn}": b"1"}, f"e{turn}", ALICE)
        done = store.upkeep(always=turn % 4 == 2)
        assert large.exists()
        assert done is None or done.packs_after <= 3
    assert count_packs(store.gitdir) < len([*packs.glob("*.pack")]) < 6
    assert store.upkeep(always=True)
    assert not store.upkeep_due(), "a pack that is left alone is none too many"
    assert large.stem.encode() in (packs / "multi-pack-index").read_bytes()
    assert [store.read(f"d/{turn}") for turn in range(60)] == [b"%d" % turn * 500 for turn in range(60)]
    assert len(store.log(limit=100)) == 69
    fsck(store)


def test_a_git_that_cannot_leave_packs_alone_rolls_all_of_them_up(
    store: LocalGitStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_upkeep, "_LARGE", 1)
    monkeypatch.setattr(git_upkeep, "_can_spare", lambda: False)
    assert git_upkeep.large_packs(store.gitdir) == []
    assert store.upkeep()
    assert count_packs(store.gitdir) == 1
    fsck(store)


def test_upkeep_again_adds_what_is_new(store: LocalGitStore) -> None:
    assert store.upkeep()
    for turn in range(10):
        store.commit({f"e/{turn}": b"1"}, f"e{turn}", ALICE)
    assert store.upkeep() is None, "nothing is due"
    done = store.upkeep(always=True)
    assert done is not None
    assert done.packs_before == 11
    assert done.packs_after <= 3
    assert len(store.log(limit=100)) == 70
    fsck(store)


def test_a_changed_repository_is_looked_after_daily_and_a_still_one_never(make: Callable[..., LocalGitStore]) -> None:
    store = make()
    store.commit({"a": b"1"}, "One", ALICE)
    assert not store.upkeep_due()
    age(store, PERIOD + 10)
    assert store.upkeep_due()
    assert store.upkeep()
    for path in (store.gitdir / "objects/pack", store.gitdir / "llmos-upkeep"):
        os.utime(path, (time.time() - 2 * PERIOD,) * 2)
    assert not store.upkeep_due(), "nothing was written since"
    assert not is_due(store.path / "nowhere")


def test_a_repository_without_a_commit_is_looked_after(make: Callable[..., LocalGitStore]) -> None:
    store = make()
    done = store.upkeep(always=True)
    assert done is not None
    assert done.packs_after == 0
    (store.gitdir / "objects/pack").rmdir()
    assert store.upkeep(always=True)


def test_loose_objects_of_a_person_are_packed_and_kept_packs_stay(make: Callable[..., LocalGitStore]) -> None:
    store = make(bare=False)
    store.commit({"metadata.json": b"{}"}, "One", ALICE)
    pack = next((store.gitdir / "objects/pack").glob("*.pack"))
    pack.with_suffix(".keep").touch()
    assert count_packs(store.gitdir) == 0
    (store.path / "metadata.json").write_text("by hand")
    git(store, "commit", "-q", "-am", "By hand")
    store.commit({"skills/a.md": b"1"}, "Two", ALICE)
    assert store.upkeep(always=True)
    assert pack.exists()
    assert not list((store.gitdir / "objects").glob("[0-9a-f][0-9a-f]/*"))
    assert [commit.subject for commit in store.log()] == ["Two", "By hand", "One"]
    fsck(store)


def test_a_long_history_gets_its_graph_in_steps(store: LocalGitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_upkeep, "_GRAPH_STEP", 25)
    steps, real = list[str](), git_upkeep._write_graph

    def write(gitdir: Path, lock: RepositoryLock, tip: str) -> None:
        steps.append(tip)
        real(gitdir, lock, tip)

    monkeypatch.setattr(git_upkeep, "_write_graph", write)
    assert store.upkeep()
    oids = [commit.oid for commit in reversed(store.log(limit=100))]
    assert steps == [oids[25], oids[50], ""]
    fsck(store)


def test_what_killed_programs_left_is_collected_when_it_is_old(store: LocalGitStore) -> None:
    objects = store.gitdir / "objects"
    old = [objects / "pack/tmp_pack_x", objects / "pack/.tmp-1-pack-y", objects / "tmp_objdir-incoming-z"]
    (objects / "tmp_objdir-incoming-z").mkdir()
    for path in old[:2]:
        path.touch()
    young = objects / "pack/tmp_idx_young"
    young.touch()
    for path in old:
        os.utime(path, (time.time() - PERIOD - 10,) * 2)
    assert store.upkeep()
    assert leftovers(store) == [young], "a program that is alive may have it open"


def test_a_reader_whose_packs_went_away_looks_again(make: Callable[..., LocalGitStore], store: LocalGitStore) -> None:
    readers = [make() for _ in range(3)]
    walk = readers[2]._objects.walk(store.head() or "")
    assert next(walk).subject == "59"
    assert readers[0].read("d/3"), "has some packs open, and knows the names of all"
    assert store.upkeep()
    assert [readers[0].read(f"d/{turn}") for turn in range(60)] == [b"%d" % turn * 500 for turn in range(60)]
    assert readers[1].count() == 60
    assert [commit.subject for commit in walk] == [str(turn) for turn in range(58, -1, -1)]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux shows what a process has mapped")
def test_packs_that_are_rolled_up_are_let_go_of(store: LocalGitStore) -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count(f"{store.gitdir}/objects/pack/")

    for commit in store.log(limit=60, branch=store.head() or ""):
        store.entry("d/0", at=commit.oid)
    assert mapped() >= 60
    gc.disable()
    try:
        store.upkeep(always=True)
        assert mapped() == 0
    finally:
        gc.enable()


def test_a_walk_goes_on_after_packs_went_away(store: LocalGitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever libgit2 says once, the walk is taken up where it was; said twice, the volume is broken."""
    objects = store._objects
    walk = objects.walk(store.head() or "")
    seen = [next(walk).subject for _ in range(5)]
    with monkeypatch.context() as patch:
        real, failures = objects.repository, [Unavailable("volume.broken", "gone")]
        patch.setattr(objects, "repository", lambda: real() if not failures else _raise(failures.pop()))
        seen += [commit.subject for commit in walk]
    assert seen == [str(turn) for turn in range(59, -1, -1)]
    walk = objects.walk(store.head() or "")
    next(walk)
    monkeypatch.setattr(objects, "repository", lambda: _raise(Unavailable("volume.broken", "gone")))
    with pytest.raises(Unavailable):
        next(walk)


def _raise(error: Exception) -> None:
    raise error


def test_readers_and_writers_of_other_processes_go_on(tmp_path: Path, store: LocalGitStore) -> None:
    readers = [start(READER, tmp_path, f"r{n}") for n in range(2)]
    writers = [start(WRITER, tmp_path, f"w{n}", "25") for n in range(2)]
    errors: list[Exception] = []

    def read() -> None:
        try:
            while any(writer.poll() is None for writer in writers):
                assert all(store.read(entry.path) for entry in store.tree("d"))
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(error)

    beside = threading.Thread(target=read)
    beside.start()
    while any(writer.poll() is None for writer in writers):
        assert store.upkeep(always=True)
    acked = {line for writer in writers for line in writer.communicate()[0].split()}
    beside.join()
    assert errors == []
    for reader in readers:
        assert reader.poll() is None, "a reader ended"
        reader.kill()
        assert "read" in reader.communicate()[0]
    assert len(acked) == 50
    assert acked < {commit.oid for commit in store.log(limit=1000)}
    assert store.upkeep(always=True)
    fsck(store)


def kill_rounds(tmp_path: Path, make: Callable[..., LocalGitStore], rounds: int) -> None:
    for turn in range(rounds):
        keeper = start(KEEPER, tmp_path, f"k{turn}")
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == "begin\n"
        time.sleep(turn * 37 % 60 / 1000)  # where in the upkeep the kill falls
        keeper.send_signal(signal.SIGKILL)
        keeper.communicate()
        store = make()
        before = store.count()
        store.commit({f"after/{turn}": b"x"}, "after", ALICE)
        assert store.count() == before + 1
        assert leftovers(store) == []
        assert not list((store.gitdir / "objects").rglob("*.lock"))
        store.close()
    store = make()
    assert store.upkeep(always=True)
    assert [store.read(f"d/{turn}") for turn in range(60)] == [b"%d" % turn * 500 for turn in range(60)]
    fsck(store)


def test_upkeep_that_is_killed_leaves_a_clean_repository(
    tmp_path: Path, store: LocalGitStore, make: Callable[..., LocalGitStore]
) -> None:
    store.close()
    kill_rounds(tmp_path, make, 6)


@pytest.mark.soak
def test_fifty_kills_of_upkeep(tmp_path: Path, store: LocalGitStore, make: Callable[..., LocalGitStore]) -> None:
    store.close()
    kill_rounds(tmp_path, make, 50)


def test_a_machine_without_git_says_so(store: LocalGitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable) as caught:
        store.upkeep()
    assert caught.value.code == "git.missing"


def test_git_that_fails_or_hangs_is_told_of(store: LocalGitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_upkeep, "_LONGEST", 0.0)
    with pytest.raises(Unavailable) as slow:
        store.upkeep()
    assert slow.value.code == "git.slow"
    monkeypatch.undo()
    pack = next((store.gitdir / "objects/pack").glob("*.pack"))
    pack.chmod(0o644)
    pack.write_bytes(b"PACK")
    with pytest.raises(StorageFailed) as failed:
        store.upkeep()
    assert failed.value.code == "storage.upkeep"
    assert store.upkeep_due(), "it is tried again"


def test_what_a_repack_rolls_up_is_known_before(store: LocalGitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes say whether it is compressed anew; the packs that are left alone are those that git leaves."""
    for turn in range(12):
        store.commit({f"e/{number}": b"%d" % turn * 9 for number in range(4 ** (turn % 4))}, f"{turn}", ALICE)
        if turn == 8:
            monkeypatch.setattr(git_upkeep, "_LARGE", 3000)
        packs = {path: path.stat().st_size for path in (store.gitdir / "objects" / "pack").glob("*.pack")}
        rolled = git_upkeep._rolled(store.gitdir)
        monkeypatch.setattr(git_upkeep, "_SQUEEZED", 0 if turn % 2 else 1 << 30)
        assert store.upkeep(always=True)
        assert sum(size for path, size in packs.items() if not path.exists()) == rolled
