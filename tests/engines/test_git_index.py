"""The index that a commit patches: stock git reads it as its own, whatever was done to the files before."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_lite.engines.git import Author, LocalGitStore
from llmos_lite.engines.git_index import Busy, IndexFile, Staged, Unreadable
from llmos_lite.engines.git_objects import blob_id
from llmos_lite.engines.signing import Signer

ALICE = Author("alice", "alice@localhost")
NAMES = st.sampled_from(["a", "b", "a-b", "a.md", "a/b", "a/b/c", "a/é", "b/x", "b/x.md", "z" * 70, "c/" + "n" * 60])
CONTENT = st.sampled_from([b"", b"1", b"2", b"22"])


@pytest.fixture
def store(tmp_path: Path) -> LocalGitStore:
    return LocalGitStore(tmp_path / "v", signer=Signer.open(tmp_path / "keys"))


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=eve", "-c", "user.email=eve@localhost", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.rstrip()


def listed(folder: Path) -> dict[str, str]:
    """Return what stock git finds in the index: the id of each path."""
    lines = git(folder, "ls-files", "-s", "-z").split("\0")
    return {path: facts.split()[1] for facts, _, path in (line.partition("\t") for line in lines if line)}


def staged(data: bytes) -> Staged:
    return Staged(0o100644, bytes.fromhex(blob_id(data)))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.dictionaries(NAMES, st.none() | CONTENT, min_size=1, max_size=5), min_size=1, max_size=6))
def test_it_holds_what_a_dictionary_holds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[dict[str, bytes | None]]
) -> None:
    """New entries push those away that they cannot stand beside, as `git add` does."""
    folder = tmp_path_factory.mktemp("repo")
    git(folder, "init", "-q")
    for data in (b"", b"1", b"2", b"22"):
        (folder / "data").write_bytes(data)
        git(folder, "hash-object", "-w", "data")
    index, model = IndexFile(folder / ".git", lambda *_: True), dict[str, bytes]()
    for step in steps:
        names = {name for name, data in step.items() if data is not None}
        if any(one.startswith(f"{other}/") for one in names for other in names):
            continue  # no tree has both
        index.update({name: None if data is None else staged(data) for name, data in step.items()})
        new = {name: data for name, data in step.items() if data is not None}
        beside = {name: data for name, data in model.items() if name not in step and not _collides(name, names)}
        model = beside | new
        assert listed(folder) == {name: blob_id(data) for name, data in model.items()}
        index = IndexFile(folder / ".git", lambda *_: True) if len(step) > 1 else index
    assert list(listed(folder)) == sorted(model, key=os.fsencode)
    git(folder, "fsck", "--strict")


def _collides(name: str, names: set[str]) -> bool:
    return any(name.startswith(f"{other}/") or other.startswith(f"{name}/") for other in names)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["commit", "edit", "add", "stash"]), st.integers(0, 5), CONTENT), max_size=8
    )
)
def test_status_is_clean_after_every_commit(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("volume")
    store = LocalGitStore(folder / "v", signer=Signer.open(folder / "keys"))
    store.commit({f"skills/s{n}/SKILL.md": b"0" for n in range(6)} | {"metadata.json": b"{}"}, "Start", ALICE)
    for turn, (what, n, data) in enumerate(steps):
        path = f"skills/s{n}/SKILL.md"
        if what == "commit":
            store.commit({path: data, f"skills/n{turn}.md": data, f"skills/n{turn - 1}.md": None}, "Change", ALICE)
        else:
            (store.path / path).write_bytes(data)
            if what == "add":
                git(store.path, "add", path)
            store.adopt()
            assert store.read(path) == data
        assert git(store.path, "status", "--porcelain") == ""
        git(store.path, "fsck", "--strict")
    assert store.adopt() is None


def test_a_change_of_the_same_size_at_the_same_time_is_seen(store: LocalGitStore) -> None:
    """Times of files have ticks: an entry that is as young as the index is compared before a new index hides it."""
    store.commit({"metadata.json": b"{}", "skills/a.md": b"1", "skills/b.md": b"1"}, "One", ALICE)
    for turn in range(20):
        store.commit({"skills/a.md": b"%d" % (turn % 10)}, "Two", ALICE)
        before = (store.path / "skills/a.md").stat()
        with (store.path / "skills/a.md").open("r+b") as file:
            file.write(b"x")
        os.utime(store.path / "skills/a.md", ns=(before.st_atime_ns, before.st_mtime_ns))
        index = (store.gitdir / "index").stat()
        if before.st_mtime_ns < index.st_mtime_ns:
            os.utime(store.gitdir / "index", ns=(before.st_atime_ns, before.st_mtime_ns))
            store.work_tree = type(store.work_tree)(store.path, store._objects)  # type: ignore[misc]  # a new process
        store.commit({"skills/b.md": b"%d" % turn}, "Three", ALICE)
        assert git(store.path, "status", "--porcelain") == " M skills/a.md"
        assert store.adopt() is not None
        assert store.read("skills/a.md") == b"x"


def test_a_person_who_holds_the_index_is_not_disturbed(store: LocalGitStore) -> None:
    store.commit({"metadata.json": b"{}", "skills/a.md": b"1"}, "One", ALICE)
    lock = store.gitdir / "index.lock"
    lock.touch()
    store.commit({"skills/a.md": b"2"}, "Two", ALICE)
    assert lock.exists()
    with pytest.raises(Busy):
        IndexFile(store.gitdir, lambda *_: True).update({"a": None})
    lock.unlink()
    assert store.adopt() is None
    assert git(store.path, "status", "--porcelain") == ""


def test_what_a_person_staged_elsewhere_stays(store: LocalGitStore) -> None:
    store.commit({"metadata.json": b"{}", "skills/a.md": b"1"}, "One", ALICE)
    (store.path / "other").write_text("mine")
    git(store.path, "add", "other")
    store.commit({"skills/a.md": b"2", "skills/b.md": b"1"}, "Two", ALICE)
    assert git(store.path, "status", "--porcelain") == "A  other"


@pytest.mark.parametrize("kind", ["version 3", "version 4", "split", "cache tree"])
def test_an_index_of_another_kind_is_kept_right(store: LocalGitStore, kind: str) -> None:
    store.commit({"metadata.json": b"{}"} | {f"skills/s{n}.md": b"1" for n in range(9)}, "One", ALICE)
    if kind == "version 3":
        (store.path / "later").write_text("x")
        git(store.path, "add", "--intent-to-add", "later")
    elif kind == "version 4":
        git(store.path, "update-index", "--index-version", "4")
    elif kind == "split":
        git(store.path, "update-index", "--split-index")
    else:
        git(store.path, "reset", "-q", "--hard")
    for turn in range(3):
        store.commit({"skills/s3.md": b"%d" % turn, f"skills/n{turn}.md": b"1", "skills/s4.md": None}, "Two", ALICE)
        left = git(store.path, "status", "--porcelain")
        assert left == (" A later" if kind == "version 3" else "")
    if kind == "version 3":
        store.commit({"later": b"ours"}, "Three", ALICE)
        assert git(store.path, "ls-files", "later") == "later"


@pytest.mark.parametrize("damage", ["torn", "empty", "short", "gone"])
def test_an_index_that_cannot_be_read_is_made_again(store: LocalGitStore, damage: str) -> None:
    store.commit({"metadata.json": b"{}"} | {f"skills/s{n}.md": b"1" for n in range(9)}, "One", ALICE)
    path = store.gitdir / "index"
    if damage == "gone":
        path.unlink()
        git(store.path, "read-tree", "HEAD")
    else:
        data = path.read_bytes()
        path.write_bytes({"torn": data[:-25], "empty": b"", "short": b"DIRC"}[damage])
        with pytest.raises(Unreadable):
            IndexFile(store.gitdir, lambda *_: True).update({"a": None})
        assert not (store.gitdir / "index.lock").exists()
    store.commit({"skills/s3.md": b"2"}, "Two", ALICE)
    assert git(store.path, "status", "--porcelain") == ""


def test_a_conflict_of_a_merge_is_resolved_by_a_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main", "r")
    folder = tmp_path / "r"
    (folder / "f").write_text("0")
    git(folder, "add", "f")
    git(folder, "commit", "-q", "-m", "0")
    git(folder, "checkout", "-q", "-b", "side")
    (folder / "f").write_text("1")
    git(folder, "commit", "-q", "-am", "1")
    git(folder, "checkout", "-q", "main")
    (folder / "f").write_text("2")
    git(folder, "commit", "-q", "-am", "2")
    subprocess.run(["git", "-C", folder, "merge", "side"], check=False, capture_output=True)
    assert len(git(folder, "ls-files", "-u").splitlines()) == 3
    IndexFile(folder / ".git", lambda *_: True).update({"f": staged(b"3")})
    assert git(folder, "ls-files", "-u") == ""
    assert listed(folder) == {"f": blob_id(b"3")}


def test_many_files_are_written_at_once(store: LocalGitStore) -> None:
    start = time.monotonic()
    store.commit({"metadata.json": b"{}"} | {f"skills/s{n:05}/SKILL.md": b"1" for n in range(1500)}, "One", ALICE)
    assert git(store.path, "status", "--porcelain") == ""
    store.commit({f"skills/s{n:05}/SKILL.md": b"2" for n in range(100)}, "Two", ALICE)
    assert git(store.path, "status", "--porcelain") == ""
    assert time.monotonic() - start < 20
