"""History by the commit-graph and without it: the same as stock git's, page by page."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.engines import git_graph
from llmos_lite.engines.git import Author, LocalGitStore
from llmos_lite.engines.git_graph import (
    GRAPH_ERRORS,
    CommitGraph,
    DamagedGraph,
    OpenGraph,
    PathKeys,
    graph_files,
    murmur3,
)
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


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make even short histories ask all filters at once."""
    monkeypatch.setattr(git_graph, "_LEAPS_COST", 1 << 30)
    monkeypatch.setattr(git_graph, "_NUMPY_COST", 0)


def changers(graph: CommitGraph, paths: tuple[str, ...]) -> list[int]:
    """Return the changer of each commit of a graph, -1 for those that find damage."""
    found = []
    for place in range(graph.count):
        try:
            found.append(graph.changer(place, PathKeys(paths)))
        except GRAPH_ERRORS:
            found.append(-1)
    return found


def both_ways(store: LocalGitStore, paths: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Tell whether all filters asked at once say what each says by itself."""
    found = []
    for cost in (1, 1 << 30):
        monkeypatch.setattr(git_graph, "_LEAPS_COST", cost)
        with OpenGraph(store.gitdir) as graph:
            found.append(None if graph is None else changers(graph, paths))
    return found[0] == found[1]


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
@pytest.mark.usefixtures("at_once")
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


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("seed", range(4))
def test_all_filters_at_once_say_what_each_says(
    store: LocalGitStore, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In several files, with merges, filters of all sizes, and bytes that are no longer what they were."""
    many = {f"skills/many/{number}": b"%d" % number for number in range(600 if seed else 40)}
    store.commit(many, "many", ALICE, at=1_699_999_000_000)
    grow(store, seed, merges=seed % 2 == 1, upkeep=(40, 55))
    files = graph_files(store.gitdir)
    assert len(files) == 2
    with OpenGraph(store.gitdir) as graph:
        assert graph is not None
        assert changers(graph, (FLAT,))
        assert any(any(leaps) for layer in graph._layers for leaps in layer._leaps.values())
    for paths in (*PATHS, ("é",), ("skills/many/7",)):
        assert both_ways(store, paths, monkeypatch)
    choose = random.Random(seed)  # noqa: S311 - a test that can be repeated
    for _ in range(40):
        path = choose.choice(files)
        data = path.read_bytes()
        torn = bytearray(data)
        for _ in range(choose.choice([1, 8, 60])):
            torn[choose.randrange(1100, len(torn))] = choose.choice([0, 1, 255, choose.randrange(256)])
        path.chmod(0o600)
        path.write_bytes(torn)
        assert both_ways(store, choose.choice(PATHS[1:]), monkeypatch)
        path.write_bytes(data)


@pytest.mark.usefixtures("at_once")
def test_a_commit_that_is_its_own_parent_ends_the_walk(store: LocalGitStore) -> None:
    for turn in range(4):
        store.commit({FLAT: b"%d" % turn}, "x", ALICE, at=(1_700_000_000 + turn) * 1000)
    store.upkeep(always=True)
    whole = by_git(store, (FLAT,))
    [path] = graph_files(store.gitdir)
    with OpenGraph(store.gitdir) as graph:
        assert graph is not None
        place = graph.find(bytes.fromhex(whole[1]))
        assert place is not None
        line = graph._layers[0]._commits + 36 * place + 20
    data = bytearray(path.read_bytes())
    data[line : line + 4] = struct.pack(">I", place)
    path.chmod(0o600)
    path.write_bytes(data)
    assert [commit.oid for commit in store.log(path=FLAT)] == whole


def test_short_walks_do_not_load_numpy(store: LocalGitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(store, 0, merges=False, upkeep=(50,))
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    with OpenGraph(store.gitdir) as graph:
        assert graph is not None
        assert changers(graph, ("skills/never",))
        assert not graph._layers[0]._leaps


def settings(path: Path) -> tuple[int, int]:
    """Return the hashes of a filter and its bits for an entry, as the header of a graph's filters says."""
    data = path.read_bytes()
    chunks = {data[at : at + 4]: int.from_bytes(data[at + 4 : at + 12], "big") for at in range(8, 8 + 12 * data[6], 12)}
    return struct.unpack_from(">II", data, chunks[b"BDAT"] + 4)


def git(store: LocalGitStore, *words: str) -> str:
    command = ["git", "-C", str(store.gitdir), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("stock", [False, True], ids=["ours", "begun by git"])
def test_stock_git_uses_our_graph_and_we_go_on_with_one_of_git(
    store: LocalGitStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, stock: bool
) -> None:
    grow(store, 2, merges=True, upkeep=() if stock else (45,))
    if stock:
        git(store, "commit-graph", "write", "--reachable", "--changed-paths", "--split")
    for turn in range(3):
        store.commit({FLAT: b"%d" % turn, "skills/z.md": b"%d" % turn}, "x", ALICE, at=(1_700_001_000 + turn) * 1000)
    store.upkeep(always=True)
    files = graph_files(store.gitdir)
    assert len(files) == 2
    assert {settings(path) for path in files} == {(7, 10) if stock else (6, 56)}
    git(store, "commit-graph", "verify")
    whole = by_git(store, (FLAT,))
    assert [commit.oid for commit in store.log(limit=99, path=FLAT)] == whole
    monkeypatch.setenv("GIT_TRACE2_PERF", str(tmp_path / "trace"))
    plain = git(store, "rev-list", "main", "--", FLAT)
    assert '"definitely_not":' in (said := (tmp_path / "trace").read_text())
    assert '"definitely_not":0' not in said
    assert plain == git(store, "-c", "core.commitGraph=false", "rev-list", "main", "--", FLAT)


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
