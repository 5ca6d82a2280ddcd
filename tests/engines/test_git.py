"""What the embedded store does on the disk: stock git agrees, nothing is lost, nothing is torn."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from llmos_lite.engines.git import Author, LocalGitStore
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import Conflict, StorageFailed, Unavailable

ALICE = Author("alice", "alice@localhost")
WRITER = """
import sys
from pathlib import Path
from llmos_lite.engines.git import Author, LocalGitStore
from llmos_lite.engines.signing import Signer
folder, name, bare, turns = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "bare", int(sys.argv[4])
store = LocalGitStore(folder / "store", signer=Signer.open(folder / "keys"), bare=bare)
for turn in range(turns):
    data = b"%d" % turn
    changes = {f"skills/{name}/SKILL.md": data, f"skills/{name}/{turn}": data * 3000, "skills/shared.md": data}
    print(store.commit(changes, f"{name} {turn}", Author(name, "x@localhost")).oid, flush=True)
"""


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.open(tmp_path / "keys")


@pytest.fixture
def store(tmp_path: Path, signer: Signer) -> LocalGitStore:
    return LocalGitStore(tmp_path / "store", signer=signer)


@pytest.fixture
def bare(tmp_path: Path, signer: Signer) -> LocalGitStore:
    return LocalGitStore(tmp_path / "traces.git", signer=signer, bare=True)


def git(store: LocalGitStore, *words: str) -> str:
    command = ["git", "-c", "user.name=eve", "-c", "user.email=eve@localhost", "-C", str(store.path), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def fsck(store: LocalGitStore) -> None:
    assert "error" not in git(store, "fsck", "--strict", "--no-dangling")


def test_stock_git_accepts_what_is_written(store: LocalGitStore) -> None:
    store.commit({f"skills/s{i}/SKILL.md": b"%d" % i for i in range(300)} | {"metadata.json": b"{}"}, "One", ALICE)
    store.commit({"skills/s3": None, "skills/s4.md": b"flat", "skills/s5/a/b/c": b"deep"}, "Two", ALICE)
    fsck(store)
    assert git(store, "status", "--porcelain") == ""
    assert git(store, "log", "--format=%s|%an|%cn") == "Two|alice|llmos-lite\nOne|alice|llmos-lite"
    assert (store.path / "skills/s5/a/b/c").read_text() == "deep"
    assert not (store.path / "skills/s3").exists()


def test_every_commit_is_signed(tmp_path: Path, store: LocalGitStore, signer: Signer) -> None:
    signer.write_allowed_signers(tmp_path / "allowed_signers")
    store.commit({"metadata.json": b"{}"}, "One", ALICE)
    store.commit({"skills/a.md": b"1"}, "Zwei: äöü ✅\n\nBody\n\nKey: value", ALICE)
    (store.path / "skills/a.md").write_text("edited")
    assert store.adopt() is not None
    allowed = f"gpg.ssh.allowedSignersFile={tmp_path / 'allowed_signers'}"
    for oid in git(store, "rev-list", "main").split():
        git(store, "-c", allowed, "verify-commit", oid)
    assert git(store, "-c", allowed, "log", "--format=%G?").split() == ["G", "G", "G"]


def test_a_fold_takes_five_fsyncs(bare: LocalGitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    bare.commit({"traces/2026/11/22/10/a.jsonl": b"x"}, "One", ALICE, branch="2026-11")
    calls, real = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append(handle), real(handle)))
    segments = {f"traces/2026/11/22/{hour}/b.jsonl": b"event\n" * 1000 for hour in range(11, 16)}
    bare.commit(segments, "Fold 1000 events", ALICE, branch="2026-11")
    assert len(calls) <= 5
    assert len(list((bare.gitdir / "objects/pack").glob("*.pack"))) == 2, "one pack a commit"
    assert not list((bare.gitdir / "objects").glob("??")), "no loose objects"


def test_the_system_calls_say_the_same(tmp_path: Path, bare: LocalGitStore) -> None:
    bare.commit({"a": b"1"}, "One", ALICE)
    tracer = tmp_path / "strace"
    code = WRITER.replace('folder / "store"', 'folder / "traces.git"')
    command = [sys.executable, "-c", code, str(tmp_path), "w", "bare", "3"]
    try:
        subprocess.run(["strace", "-f", "-e", "trace=fsync,fdatasync", "-o", tracer, *command], check=True, stdout=-3)
    except FileNotFoundError:
        pytest.skip("strace is not installed")
    assert tracer.read_text().count("sync(") <= 3 * 5


def test_a_new_blob_is_seen_by_a_repository_that_is_open(tmp_path: Path, signer: Signer) -> None:
    one, other = (LocalGitStore(tmp_path / "s", signer=signer, bare=True) for _ in range(2))
    one.commit({"a": b"1"}, "One", ALICE)
    assert other.read("a") == b"1"
    for turn in range(5):
        one.commit({"a": b"%d" % turn}, f"{turn}", ALICE)
        assert other.read("a") == b"%d" % turn
        assert other.head() == one.head()


def test_a_head_that_moves_at_once_is_never_stale(tmp_path: Path, signer: Signer) -> None:
    one, other = (LocalGitStore(tmp_path / "s", signer=signer, bare=True) for _ in range(2))
    for turn in range(60):
        made = one.commit({"a": b"%d" % turn}, f"{turn}", ALICE)
        assert other.head() == made.oid


def test_packed_branches_are_read_and_removed(bare: LocalGitStore) -> None:
    made = bare.commit({"a": b"1"}, "One", ALICE)
    for name in ("x", "pr/alice/b"):
        bare.create_branch(name)
    git(bare, "pack-refs", "--all")
    assert bare.branches() == {"main": made.oid, "pr/alice/b": made.oid, "x": made.oid}
    bare.delete_branch("x")
    assert bare.branches() == {"main": made.oid, "pr/alice/b": made.oid}
    assert bare.commit({"a": b"2"}, "Two", ALICE).parents == (made.oid,)
    fsck(bare)


def test_a_branch_cannot_stand_where_branches_are(bare: LocalGitStore) -> None:
    bare.commit({"a": b"1"}, "One", ALICE)
    bare.create_branch("pr/alice")
    with pytest.raises(Conflict):
        bare.create_branch("pr/alice/x")
    bare.delete_branch("pr/alice")
    bare.create_branch("pr/alice/x")
    with pytest.raises(Conflict):
        bare.create_branch("pr/alice")
    bare.delete_branch("pr/alice/x")
    bare.create_branch("pr/alice")


def test_stock_git_and_the_store_write_in_turns(store: LocalGitStore) -> None:
    store.commit({"metadata.json": b"{}", "skills/a.md": b"1"}, "One", ALICE)
    (store.path / "skills/a.md").write_text("by hand")
    git(store, "commit", "-q", "-am", "A person's own commit")
    assert store.adopt() is None
    assert store.read("skills/a.md") == b"by hand"
    store.commit({"skills/b.md": b"1"}, "Two", ALICE)
    assert git(store, "status", "--porcelain") == ""
    assert [commit.subject for commit in store.log()] == ["Two", "A person's own commit", "One"]


def test_upkeep_rolls_many_packs_up(bare: LocalGitStore) -> None:
    for turn in range(60):
        bare.commit({f"d/{turn}": b"%d" % turn}, f"{turn}", ALICE)
    reader = LocalGitStore(bare.path, signer=bare._signer, bare=True)
    assert reader.read("d/3") == b"3"
    assert bare.upkeep()
    assert len(list((bare.gitdir / "objects/pack").glob("*.pack"))) < 10
    assert not bare.upkeep()
    assert all(reader.read(f"d/{turn}") == b"%d" % turn for turn in range(60))
    fsck(bare)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO], ids=["full", "read-only", "broken"])
@pytest.mark.parametrize("nth", range(5))
def test_a_disk_that_fails_changes_nothing(
    bare: LocalGitStore, monkeypatch: pytest.MonkeyPatch, nth: int, code: int
) -> None:
    first = bare.commit({"a": b"1"}, "One", ALICE)
    left, real = [nth], os.fsync

    def fail(handle: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(code, os.strerror(code))
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StorageFailed) as caught:
            bare.commit({"a": b"2"}, "Two", ALICE)
    expected = {errno.ENOSPC: "storage.full", errno.EROFS: "storage.readonly", errno.EIO: "storage.failed"}
    assert caught.value.code == expected[code]
    assert bare.head() == first.oid or nth == 4, "the last fsync is of a ref that is written"
    assert not list(bare.gitdir.rglob("*.tmp"))
    assert not [path for path in bare.gitdir.rglob("*.lock") if path.name != "llmos.lock"]
    assert bare.commit({"a": b"3"}, "Three", ALICE).subject == "Three"
    fsck(bare)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(store: LocalGitStore) -> None:
    store.commit({"a": b"1"}, "One", ALICE)
    store.close()
    (store.gitdir / "objects/pack").chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(StorageFailed, match="cannot be written"):
        store.commit({"a": b"2"}, "Two", ALICE)
    (store.gitdir / "objects/pack").chmod(stat.S_IRWXU)


def test_a_folder_of_something_else_is_no_store(tmp_path: Path, signer: Signer) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/file").write_text("x")
    (tmp_path / "f").write_text("x")
    for name in ("s", "f"):
        with pytest.raises(Unavailable) as caught:
            LocalGitStore(tmp_path / name, signer=signer)
        assert caught.value.code == "volume.broken"
    assert (tmp_path / "s/file").read_text() == "x"


def test_a_broken_repository_says_so(store: LocalGitStore) -> None:
    store.commit({"a": b"1"}, "One", ALICE)
    (store.gitdir / "refs/heads/main").write_text("garbage\n")
    with pytest.raises(Unavailable) as caught:
        store.head()
    assert caught.value.code == "volume.broken"
    (store.gitdir / "refs/heads/main").write_text("1" * 40 + "\n")
    store.close()
    for use in (store.tree, store.log, lambda: store.commit({"a": b"2"}, "Two", ALICE)):
        with pytest.raises(Unavailable) as caught:
            use()
        assert caught.value.code == "volume.broken"


def test_missing_objects_are_a_broken_volume(store: LocalGitStore) -> None:
    store.commit({"a": b"1"}, "One", ALICE)
    store.close()
    for path in (store.gitdir / "objects/pack").iterdir():
        path.unlink()
    fresh = LocalGitStore(store.path, signer=store._signer)
    for use in (fresh.tree, lambda: fresh.commit({"a": b"2"}, "Two", ALICE), fresh.adopt, fresh.log):
        with pytest.raises(Unavailable) as caught:
            use()
        assert caught.value.code == "volume.broken"


def test_a_stale_lock_of_a_dead_writer_is_cleared(store: LocalGitStore) -> None:
    store.commit({"a": b"1"}, "One", ALICE)
    (store.gitdir / "llmos.lock").write_text(f"{1:>10} {time.time():017.6f}\n")
    left = ["refs/heads/main.lock", "index.lock", "packed-refs.lock", "objects/pack/tmp_1.pack.tmp", "llmos-tmp-1"]
    for name in left:
        (store.gitdir / name).write_text("")
    assert LocalGitStore(store.path, signer=store._signer).commit({"a": b"2"}, "Two", ALICE).subject == "Two"
    assert not [name for name in left if (store.gitdir / name).exists()]


def test_what_a_cut_of_power_left_is_cleared_though_nobody_is_named(store: LocalGitStore) -> None:
    store.commit({"a": b"1"}, "One", ALICE)
    old, young = store.gitdir / "index.lock", store.gitdir / "packed-refs.lock"
    old.write_text("")
    os.utime(old, (1, 1))
    young.write_text("")
    LocalGitStore(store.path, signer=store._signer).commit({"a": b"2"}, "Two", ALICE)
    assert not old.exists()
    assert young.exists(), "somebody's git may be at work"


def test_a_lock_of_a_living_program_is_respected(bare: LocalGitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmos_lite.engines.git_refs._PATIENCE", 0.05)
    first = bare.commit({"a": b"1"}, "One", ALICE)
    lock = bare.gitdir / "refs/heads/main.lock"
    lock.write_text("")
    with pytest.raises(Unavailable) as caught:
        bare.commit({"a": b"2"}, "Two", ALICE)
    assert caught.value.code == "volume.busy"
    assert bare.head() == first.oid
    assert lock.exists()
    os.utime(lock, (time.time() - 700,) * 2)
    assert bare.commit({"a": b"2"}, "Two", ALICE).subject == "Two"


def test_a_writer_that_never_ends_is_not_waited_for(bare: LocalGitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmos_lite.engines.git_lock._PATIENCE", 0.05)
    other = LocalGitStore(bare.path, signer=bare._signer, bare=True)
    with other.lock(), pytest.raises(Unavailable) as caught:
        bare.commit({"a": b"1"}, "One", ALICE)
    assert caught.value.code == "volume.busy"
    errors: list[str] = []

    def wait() -> None:
        try:
            bare.commit({"a": b"1"}, "One", ALICE)
        except Unavailable as error:
            errors.append(error.code)

    with bare.lock():
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
    assert errors == ["volume.busy"]


@pytest.mark.parametrize("kind", ["bare", "tree"])
def test_four_processes_lose_nothing(tmp_path: Path, signer: Signer, kind: str) -> None:
    LocalGitStore(tmp_path / "store", signer=signer, bare=kind == "bare").close()
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, f"w{n}", kind, "15"], stdout=subprocess.PIPE, text=True) for n in range(4)]
    acked = {line for writer in writers for line in writer.communicate(timeout=60)[0].split()}
    assert [writer.returncode for writer in writers] == [0] * 4
    store = LocalGitStore(tmp_path / "store", signer=signer, bare=kind == "bare")
    assert {commit.oid for commit in store.log(limit=1000)} == acked
    assert len(acked) == store.count() == 60
    assert all(store.read(f"skills/w{n}/{turn}") for n in range(4) for turn in range(15))
    fsck(store)
    if kind == "tree":
        assert store.adopt() is None
        assert git(store, "status", "--porcelain") == ""


def kill_rounds(data: Path, rounds: int, *, bare: bool) -> None:
    signer = Signer.open(data / "keys")
    LocalGitStore(data / "store", signer=signer, bare=bare).close()
    acked: list[str] = []
    for turn in range(rounds):
        command = [sys.executable, "-c", WRITER, str(data), f"w{turn}", "bare" if bare else "tree", "100000"]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        acked += [writer.stdout.readline().strip() for _ in range(turn % 4 + 1)]
        time.sleep((turn * 7 % 20) / 2000)  # where in a commit the kill falls
        writer.send_signal(signal.SIGKILL)
        acked += writer.communicate()[0].split("\n")[:-1]
        store = LocalGitStore(data / "store", signer=signer, bare=bare)
        store.adopt()
        store.commit({"metadata.json": b'{"turn": %d}' % turn}, f"after {turn}", ALICE)
        history = store.log(limit=100_000)
        assert not set(acked) - {commit.oid for commit in history}, "acknowledged and not there"
        assert {commit.committer for commit in history} == {"llmos-lite"}, "nobody edited anything"
        if not bare:
            assert git(store, "status", "--porcelain") == ""
            assert not list(store.gitdir.glob("llmos-tmp-*"))
        store.close()
    fsck(store)


@pytest.mark.parametrize("bare", [False, True], ids=["tree", "bare"])
def test_a_killed_writer_loses_nothing_and_blocks_nobody(tmp_path: Path, *, bare: bool) -> None:
    kill_rounds(tmp_path, 8, bare=bare)


@pytest.mark.soak
@pytest.mark.parametrize("bare", [False, True], ids=["tree", "bare"])
def test_a_hundred_kills(tmp_path: Path, *, bare: bool) -> None:
    kill_rounds(tmp_path, 100, bare=bare)


def test_notes_lie_in_the_same_repository_and_nobody_clones_them(bare: LocalGitStore, tmp_path: Path) -> None:
    main = bare.commit({"a": b"1"}, "One", ALICE)
    notes = bare.namespace("llmos")
    with bare.lock():
        made = notes.commit({"x": b"noted"}, "Note", ALICE, branch="events")
    assert (notes.branches(), bare.branches()) == ({"events": made.oid}, {"main": main.oid})
    assert (notes.read("x", at="events"), bare.head("events")) == (b"noted", None)
    assert git(bare, "for-each-ref", "--format=%(refname)").split() == ["refs/heads/main", "refs/llmos/events"]
    git(bare, "pack-refs", "--all")
    assert notes.head("events") == made.oid
    again = notes.commit({"x": b"noted again"}, "Note", ALICE, branch="events")
    assert again.parents == (made.oid,)
    git(bare, "clone", "-q", "--no-local", str(bare.path), str(tmp_path / "clone"))
    with pytest.raises(subprocess.CalledProcessError):
        git(bare, "--git-dir", str(tmp_path / "clone/.git"), "cat-file", "-e", made.oid)
    notes.delete_branch("events")
    assert notes.branches() == {}
    fsck(bare)
