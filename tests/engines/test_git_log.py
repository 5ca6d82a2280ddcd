"""History by stock git and by libgit2: the same, page by page."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pytest

from llmos_lite.engines import git as engine
from llmos_lite.engines.git import Author, LocalGitStore
from llmos_lite.engines.git_log import GitFailed, PathLog
from llmos_lite.engines.git_odb import LongWalk
from llmos_lite.engines.git_upkeep import has_graph
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import NotFound

ALICE = Author("alice", "alice@localhost")
FOLDER, FLAT = "skills/a", "skills/a.md"
PATHS = [(), (FOLDER,), (FLAT,), (FOLDER, FLAT), (FLAT, FOLDER), ("skills/never", "skills/never.md"), ("skills/*",)]


@pytest.fixture
def store(tmp_path: Path) -> LocalGitStore:
    return LocalGitStore(tmp_path / "r", signer=Signer.open(tmp_path / "keys"), bare=True)


def grow(store: LocalGitStore, seed: int, *, merges: bool) -> None:
    """Make sixty commits, a second apart, about two forms of one skill and others; with branches that come together."""
    choose = random.Random(seed)  # noqa: S311 - a test that can be repeated
    files = {f"{FOLDER}/SKILL.md": 4, FLAT: 2, "skills/b.md": 4, f"{FOLDER}/x/y": 1, "skills/a-b/SKILL.md": 1}
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
    assert store.upkeep(always=True)
    assert has_graph(store.gitdir)


def path_log(store: LocalGitStore, paths: tuple[str, ...], start: str = "") -> PathLog:
    return PathLog(store.gitdir, start or store.head() or "", paths, partial(store._objects.touches, paths))


@pytest.mark.parametrize("merges", [False, True], ids=["line", "merges"])
@pytest.mark.parametrize("seed", range(2))
def test_both_give_the_same_pages(
    store: LocalGitStore, monkeypatch: pytest.MonkeyPatch, seed: int, *, merges: bool
) -> None:
    grow(store, seed, merges=merges)
    for paths in PATHS:
        whole = [commit.oid for commit in store._objects.walk(store.head() or "", paths)]
        asked = path_log(store, paths)
        for limit in (1, 4, 100):
            assert asked.page(limit) == whole[:limit]
            for place in range(0, len(whole), 9):
                assert asked.page(limit, whole[place]) == whole[place + 1 : place + 1 + limit]
        with pytest.raises(NotFound):
            asked.page(3, "0" * 40)
        monkeypatch.setattr(engine, "_LONG_WALK", 1)
        assert [commit.oid for commit in store.log(limit=9, path=paths or None)] == whole[:9]
    assert store.log(limit=2, branch=store.log()[3].oid)[0] == store.log()[3]


def test_a_walk_says_when_it_gets_long(store: LocalGitStore) -> None:
    grow(store, 1, merges=False)
    walk = store._objects.walk(store.head() or "", most=5)
    assert [next(walk).subject for _ in range(5)] == ["59", "58", "57", "56", "55"]
    with pytest.raises(LongWalk):
        next(walk)
    assert len(list(store._objects.walk(store.head() or "", most=60))) == 60


def test_without_git_the_walk_is_long_and_right(store: LocalGitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(store, 2, merges=True)
    whole = [commit.oid for commit in store._objects.walk(store.head() or "", (FOLDER, FLAT))]
    with pytest.raises(GitFailed):
        path_log(store, (FOLDER,), "1" * 40).page(5)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(GitFailed):
        path_log(store, (FOLDER,)).page(5)
    assert [commit.oid for commit in store.log(path=(FOLDER, FLAT))] == whole
