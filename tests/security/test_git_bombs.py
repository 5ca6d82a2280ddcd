"""A push of a few hundred bytes that has no end of files or folders is refused before it is looked through."""

from __future__ import annotations

import time
from pathlib import Path

import pygit2
import pytest

from llmos_lite.engines import git_incoming
from llmos_lite.engines.git_incoming import Incoming
from llmos_lite.errors import TooLarge

WHO = pygit2.Signature("mallory", "mallory@example.org", 1764720000, 0)


def commit(repo: pygit2.Repository, tree: pygit2.Oid) -> str:
    return str(repo.create_commit(None, WHO, WHO, "x", tree, []))


def nested(repo: pygit2.Repository, *, wide: int, deep: int, files: bool) -> pygit2.Oid:
    """Return a tree with `wide` names of the same tree in it, `deep` times over."""
    inner, mode = repo.TreeBuilder().write(), pygit2.GIT_FILEMODE_TREE
    if files:
        inner, mode = repo.create_blob(b"x"), pygit2.GIT_FILEMODE_BLOB
    for _ in range(deep):
        tree = repo.TreeBuilder()
        for number in range(wide):
            tree.insert(f"f{number}", inner, mode)
        inner, mode = tree.write(), pygit2.GIT_FILEMODE_TREE
    return inner


@pytest.fixture
def repo(tmp_path: Path) -> pygit2.Repository:
    return pygit2.init_repository(str(tmp_path / "repo.git"), bare=True)


@pytest.mark.parametrize("files", [True, False])
def test_equal_folders_in_one_another_are_too_many(
    repo: pygit2.Repository, monkeypatch: pytest.MonkeyPatch, *, files: bool
) -> None:
    monkeypatch.setattr(git_incoming, "MOST_CHANGED", 5_000)
    bomb = commit(repo, nested(repo, wide=10, deep=12, files=files))
    begun = time.thread_time()
    with Incoming(Path(repo.path), None) as incoming, pytest.raises(TooLarge) as refused:
        incoming.changed("", bomb)
    assert refused.value.code == "push.too_many_files"
    assert time.thread_time() - begun < 5


@pytest.mark.parametrize("files", [True, False])
def test_folders_lie_only_so_deep(repo: pygit2.Repository, *, files: bool) -> None:
    bomb = commit(repo, nested(repo, wide=1, deep=3_000, files=files))
    with Incoming(Path(repo.path), None) as incoming, pytest.raises(TooLarge) as refused:
        incoming.changed("", bomb)
    assert refused.value.code == "push.too_deep"


def test_many_commits_count_together(repo: pygit2.Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_incoming, "MOST_CHANGED", 1_000)
    one = commit(repo, nested(repo, wide=4, deep=4, files=True))
    with Incoming(Path(repo.path), None) as incoming:
        assert len(incoming.changed("", one)) == len(incoming.changed("", one)) == 4**4
        with pytest.raises(TooLarge):
            incoming.changed("", one)
