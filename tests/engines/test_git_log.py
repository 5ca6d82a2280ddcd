"""History by the commit-graph and without it: the same as stock git's, page by page."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.engines.git import Author, LocalGitStore
from llmos_lite.engines.git_graph import DamagedGraph, OpenGraph, graph_files, murmur3
from llmos_lite.engines.git_log import History
from llmos_lite.engines.git_upkeep import has_graph
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import NotFound

ALICE = Author("alice", "alice@localhost")
FOLDER, FLAT = "skills/a", "skills/a.md"
PATHS = [(), (FOLDER,), (FLAT,), (FOLDER, FLAT), (FLAT, FOLDER), ("skills/never", "skills/never.md"), ("skills/é",)]


@pytest.fixture
def store(tmp_path: Path) -> LocalGitStore:
    return LocalGitStore(tmp_path / "r", signer=Signer.open(tmp_path / "keys"), bare=True)


def grow(store: LocalGitStore, seed: int, *, merges: bool, upkeep: tuple[int, ...] = (25, 44)) -> None:
    """Make sixty commits, a second apart, about two forms of one skill and others; with branches that come together."""
    choose = random.Random(seed)  # noqa: S311 - a test that can be repeated
    files = {f"{FOLDER}/SKILL.md": 4, FLAT: 2, "skills/b.md": 4, f"{FOLDER}/x/y": 1, "skills/é": 1, "skills/o.md": 9}
    for turn in range(60):
        branch = choose.choice(["main", "side"]) if merges and turn else "main"
        path = choose.choices(list(files), list(files.values()))[0]
        if branch == "side" and store.head("side") is None:
            store.create_branch("side")
        join = (
            [store.head("side") or ""] if merges and branch == "main" and turn % 9 == 8 and store.head("side") else []
        )
        data = None if choose.random() < 0.15 and store.entry(path, at=store.head(branch)) else b"%d" % turn
        at = (1_700_000_000 + turn) * 1000
        store.commit({path: data}, f"{turn}", ALICE, branch=branch, at=at, merges=join)
        if turn in upkeep:
            store.upkeep(always=True)


def by_git(store: LocalGitStore, paths: tuple[str, ...]) -> list[str]:
    """Return the history that stock git tells: every commit that differs at a path from all of its parents."""
    words = ["git", "-C", str(store.gitdir), "-c", "core.commitGraph=false", "rev-list", "--full-history"]
    found = subprocess.run([*words, "--date-order", "main"], check=True, capture_output=True, text=True)
    return [oid for oid in found.stdout.split() if not paths or changed(store, oid, paths)]


def changed(store: LocalGitStore, oid: str, paths: tuple[str, ...]) -> bool:
    mine = [store.entry(path, at=oid) for path in paths]
    parents = store.log(limit=1, branch=oid)[0].parents
    theirs = [[store.entry(path, at=parent) for path in paths] for parent in parents]
    return any(all(one[i] != mine[i] for one in theirs) and (parents or mine[i]) for i in range(len(paths)))


@pytest.mark.parametrize("merges", [False, True], ids=["line", "merges"])
@pytest.mark.parametrize("seed", range(3))
def test_every_page_is_the_one_of_stock_git(store: LocalGitStore, seed: int, *, merges: bool) -> None:
    """A part of the history is in no graph yet, another in the second layer of one."""
    grow(store, seed, merges=merges)
    assert len(graph_files(store.gitdir)) in {1, 2}
    for paths in PATHS:
        whole = by_git(store, paths)
        assert list(History(store._objects, store.head() or "", paths)) == whole
        assert [commit.oid for commit in store.log(limit=99, path=paths or None)] == whole
        for limit in (1, 4):
            for place in range(0, len(whole), 9):
                page = store.log(limit=limit, path=paths or None, before=whole[place])
                assert [commit.oid for commit in page] == whole[place + 1 : place + 1 + limit]
        with pytest.raises(NotFound):
            store.log(path=paths or None, before="0" * 40)
    others = set(by_git(store, ())) - set(by_git(store, (FOLDER,)))
    with pytest.raises(NotFound):
        store.log(path=FOLDER, before=others.pop())


def test_a_commit_is_asked_for_its_own_history(store: LocalGitStore) -> None:
    grow(store, 1, merges=True)
    middle = store.log()[30]
    assert store.log(limit=2, branch=middle.oid)[0] == middle
    with pytest.raises(NotFound):
        store.log(branch="1" * 40)
    with pytest.raises(NotFound):
        store.log(branch=store._objects.root(middle.oid).hex())


def test_times_that_run_backwards_put_no_parent_before_its_child(store: LocalGitStore) -> None:
    for turn in range(12):
        at = (1_700_000_000 - turn * 86_400) * 1000
        join = [store.head("side") or ""] if turn % 4 == 3 else []
        store.commit({"skills/a.md": b"%d" % turn}, "x", ALICE, at=at, merges=join)
        if turn % 4 == 1:
            store.create_branch("side") if turn == 1 else None
            store.commit({f"skills/b{turn}.md": b"%d" % turn}, "y", ALICE, branch="side", at=at + 5000)
        if turn == 6:
            store.upkeep(always=True)
    found = [commit.oid for commit in store.log(limit=99)]
    assert len(found) == len(set(found)) == store.count()
    parents = {commit.oid: commit.parents for commit in store.log(limit=99)}
    assert all(found.index(oid) < found.index(parent) for oid in found for parent in parents[oid])
    assert found == list(History(store._objects, store.head() or ""))


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_graph_never_breaks_a_history(store: LocalGitStore, seed: int) -> None:
    """Whatever bytes it holds: the answer comes, or comes without it."""
    grow(store, seed, merges=seed % 2 == 0, upkeep=(50,))
    whole = by_git(store, ())
    [path] = graph_files(store.gitdir)
    data, choose = path.read_bytes(), random.Random(seed)  # noqa: S311 - a test that can be repeated
    path.chmod(0o600)
    for _ in range(60):
        torn = bytearray(data[: choose.choice([len(data), len(data) // 2, 20, 0])])
        for _ in range(choose.choice([1, 4, 30])):
            if torn:
                torn[choose.randrange(len(torn))] = choose.randrange(256)
        path.write_bytes(torn)
        for paths in ((), (FOLDER, FLAT)):
            assert len(store.log(limit=5, path=paths or None)) <= 5
    path.write_bytes(data[: len(data) // 2])
    assert [commit.oid for commit in store.log(limit=99)] == whole


def test_a_graph_that_is_not_there_or_not_to_be_used_is_none(store: LocalGitStore) -> None:
    with OpenGraph(store.gitdir) as graph:
        assert graph is None
    grow(store, 1, merges=False)
    assert has_graph(store.gitdir)
    with OpenGraph(store.gitdir) as graph:
        assert graph is not None
        assert graph.find(b"\0" * 20) is None
        assert graph.find(b"\xff" * 20) is None
        for place in (-1, 1 << 20):
            with pytest.raises(DamagedGraph):
                graph.oid(place)
    (store.gitdir / "shallow").touch()
    assert graph_files(store.gitdir) == []


@given(st.binary(max_size=20))
def test_the_hash_spreads(data: bytes) -> None:
    assert 0 <= murmur3(data, 7) < 1 << 32


def test_the_hash_is_that_of_gits_own_tests() -> None:
    """t/t0095-bloom.sh of git."""
    assert murmur3(b"", 0) == 0
    assert murmur3(b"Hello world!", 0) == 0x627B0C2C
    assert murmur3(b"The quick brown fox jumps over the lazy dog", 0) == 0x2E4FF723
