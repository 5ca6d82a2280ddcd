from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import fsck, objects_of, traces_of

from llmos_lite.engines.git import Author, Commit, LocalGitStore
from llmos_lite.engines.git_history import History
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import NotFound, StorageFailed

ALICE = Author("alice", "alice@localhost")
SECRET = "the-secret-of-the-blue-harbour"


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.open(tmp_path / "keys")


@pytest.fixture
def store(tmp_path: Path, signer: Signer) -> LocalGitStore:
    return LocalGitStore(tmp_path / "traces.git", signer=signer, bare=True)


@pytest.fixture
def history(store: LocalGitStore, signer: Signer) -> History:
    return History(store.gitdir, signer)


def filled(store: LocalGitStore, count: int = 12, secret: int = 5, branch: str = "2026-11") -> list[Commit]:
    return [
        store.commit(
            {f"traces/2026/11/0{number // 5 + 1}/{number % 3:02}/{number}.jsonl": _content(number, secret)},
            f"Keep {number}",
            ALICE,
            branch=branch,
            at=1_793_500_000_000 + number * 60_000,
        )
        for number in range(count)
    ]


def _content(number: int, secret: int) -> bytes:
    lines = [f"line {number}.{part} of many words that repeat and repeat\n" for part in range(30)]
    return "".join(lines).encode() + (SECRET.encode() + b"\n" if number == secret else b"")


def without_secret(path: str, content: bytes) -> tuple[str, bytes]:
    kept = b"".join(line for line in content.splitlines(keepends=True) if SECRET.encode() not in line)
    return path.rpartition("/")[2].replace(".jsonl", "-new.jsonl"), kept


def test_a_file_is_replaced_in_every_commit_and_the_rest_stays(store: LocalGitStore, history: History) -> None:
    commits = filled(store)
    path = "traces/2026/11/02/02/5.jsonl"
    done = history.rewrite("2026-11", [path], without_secret)
    assert done.old == commits[-1].oid
    assert done.new == store.head("2026-11") != done.old
    log = store.log(branch="2026-11")[::-1]
    assert [commit.oid for commit in log[:5]] == [commit.oid for commit in commits[:5]]
    assert [(c.author, c.time, c.subject) for c in log] == [(c.author, c.time, c.subject) for c in commits]
    (file,) = done.files
    assert file.path == "traces/2026/11/02/02/5-new.jsonl"
    assert store.entry(file.path, at="2026-11").oid == file.oid  # type: ignore[union-attr]  # it is there
    assert store.entry(path, at="2026-11") is None
    assert SECRET.encode() not in store.read(file.path, at="2026-11")
    assert len(list(history.files("2026-11"))) == 12


def test_every_new_commit_is_signed(store: LocalGitStore, history: History, signer: Signer, tmp_path: Path) -> None:
    filled(store)
    history.rewrite("2026-11", ["traces/2026/11/02/02/5.jsonl"], without_secret)
    signer.write_allowed_signers(tmp_path / "allowed")
    for commit in store.log(branch="2026-11"):
        command = ["git", "-c", f"gpg.ssh.allowedSignersFile={tmp_path / 'allowed'}", "--git-dir", store.gitdir]
        subprocess.run([*command, "verify-commit", commit.oid], check=True, capture_output=True)


@pytest.mark.parametrize("packed", ["loose packs", "rolled up", "deltas"])
def test_pruning_leaves_no_copy(store: LocalGitStore, history: History, tmp_path: Path, packed: str) -> None:
    filled(store)
    git = ["git", "-c", "safe.directory=*", "--git-dir", store.gitdir]
    loose = subprocess.run(
        [*git, "hash-object", "-w", "--stdin"], input=SECRET.encode(), check=True, capture_output=True
    )
    if packed == "rolled up":
        subprocess.run([*git, "repack", "-q", "-d", "--geometric=2", "--write-midx"], check=True)
        subprocess.run([*git, "commit-graph", "write", "--reachable", "--changed-paths"], check=True)
    if packed == "deltas":
        subprocess.run([*git, "repack", "-q", "-a", "-d", "-f", "--depth=50"], check=True)
        subprocess.run([*git, "update-ref", "--create-reflog", "refs/heads/2026-12", "2026-11"], check=True)
        subprocess.run([*git, "branch", "-D", "2026-12"], check=True, capture_output=True)
    (store.gitdir / "objects" / "pack" / "tmp_pack_left").write_bytes(SECRET.encode())
    assert traces_of(tmp_path, SECRET)
    history.rewrite("2026-11", ["traces/2026/11/02/02/5.jsonl"], without_secret)
    assert history.prune() > 5
    assert traces_of(tmp_path, SECRET) == []
    assert loose.stdout.decode().strip() not in objects_of(store.gitdir)
    assert fsck(store.gitdir) == ""
    assert len(store.log(branch="2026-11")) == 12


def test_what_others_lead_to_is_not_pruned(store: LocalGitStore, history: History) -> None:
    filled(store)
    filled(store, 3, branch="2026-12")
    history.drop("2026-11")
    history.prune()
    assert len(store.log(branch="2026-12")) == 3
    assert fsck(store.gitdir) == ""


def test_a_pack_that_somebody_keeps_is_an_error(store: LocalGitStore, history: History) -> None:
    filled(store, 1)
    (pack,) = (store.gitdir / "objects" / "pack").glob("*.pack")
    pack.with_suffix(".keep").touch()
    history.drop("2026-11")
    with pytest.raises(StorageFailed) as caught:
        history.prune()
    assert caught.value.code == "storage.prune"
    pack.with_suffix(".keep").unlink()
    assert history.prune() > 0


def test_a_commit_that_changes_nothing_any_more_is_left_out(store: LocalGitStore, history: History) -> None:
    commits = filled(store)
    history.rewrite("2026-11", ["traces/2026/11/02/02/5.jsonl"], lambda path, content: None)  # noqa: ARG005
    subjects = [commit.subject for commit in store.log(branch="2026-11")]
    assert subjects == [commit.subject for commit in commits if commit.subject != "Keep 5"][::-1]


def test_a_branch_without_anything_left_is_gone(store: LocalGitStore, history: History) -> None:
    filled(store, 3)
    paths = [file.path for file in history.files("2026-11")]
    done = history.rewrite("2026-11", paths, lambda path, content: None)  # noqa: ARG005
    assert done.new is None
    assert store.branches() == {}
    assert history.prune() > 0
    assert objects_of(store.gitdir) == {}
    with pytest.raises(NotFound):
        history.rewrite("2026-11", paths, without_secret)
    with pytest.raises(NotFound):
        history.drop("2026-11")
    assert list(history.files("2026-11")) == []


def test_nothing_moves_when_nothing_is_to_be_replaced(store: LocalGitStore, history: History) -> None:
    filled(store, 3)
    head = store.head("2026-11")
    assert history.rewrite("2026-11", [], without_secret).new == head
    assert history.rewrite("2026-11", ["not/there"], without_secret).new == head


def test_a_bundle_brings_a_branch_back_byte_for_byte(store: LocalGitStore, history: History, tmp_path: Path) -> None:
    filled(store)
    filled(store, 2, branch="2026-12")
    before = objects_of(store.gitdir)
    bundle = io.BytesIO()
    tip = history.bundle("2026-11", bundle)
    history.drop("2026-11")
    history.prune()
    bundle.seek(0)
    history.unbundle(bundle, tip)
    history.point("2026-11", tip, None)
    assert objects_of(store.gitdir) == before
    (tmp_path / "a.bundle").write_bytes(bundle.getvalue())
    other = tmp_path / "cloned"
    subprocess.run(["git", "clone", "-q", "-b", "2026-11", tmp_path / "a.bundle", other], check=True)
    assert (other / "traces/2026/11/01/00/0.jsonl").read_bytes() == _content(0, 5)
    with pytest.raises(StorageFailed) as caught:
        history.unbundle(io.BytesIO(bundle.getvalue()[:-40]), tip)
    assert caught.value.code == "storage.bundle"
    with pytest.raises(StorageFailed):
        history.unbundle(io.BytesIO(b"nonsense\n\n"), tip)


def test_a_merge_keeps_its_parents(store: LocalGitStore, history: History) -> None:
    commits = filled(store, 4)
    filled(store, 2, branch="other")
    other = store.head("other")
    store.commit({"traces/2026/11/01/09/9.jsonl": b"9\n"}, "Join", ALICE, branch="2026-11", merges=[other or ""])
    history.rewrite("2026-11", ["traces/2026/11/01/02/2.jsonl"], lambda path, content: ("x", content))  # noqa: ARG005
    joined = store.log(branch="2026-11")[0]
    assert joined.parents[1] == other
    assert joined.parents[0] != commits[-1].oid
    assert history.prune() > 0
    assert fsck(store.gitdir) == ""


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_files_can_be_taken_out(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("history")
    signer = Signer.open(folder / "keys")
    store = LocalGitStore(folder / "traces.git", signer=signer, bare=True)
    names = [f"traces/{a}/{b}.jsonl" for a in "012" for b in "abc"]
    batches = data.draw(st.lists(st.sets(st.sampled_from(names), min_size=1, max_size=3), min_size=1, max_size=6))
    for number, batch in enumerate(batches):
        store.commit({name: name.encode() * 9 for name in batch}, f"Keep {number}", ALICE, branch="2026-11", at=number)
    there = {name for batch in batches for name in batch}
    gone = data.draw(st.sets(st.sampled_from(sorted(there))))
    history = History(store.gitdir, signer)
    history.rewrite("2026-11", gone, lambda path, content: None)  # noqa: ARG005
    history.prune()
    assert {file.path for file in history.files("2026-11")} == there - gone
    kept = {name.encode() * 9 for name in there - gone}
    assert {body for body in objects_of(store.gitdir).values() if body.startswith(b"traces/")} == kept
    assert fsck(store.gitdir) == ""
    store.close()
    history.close()
