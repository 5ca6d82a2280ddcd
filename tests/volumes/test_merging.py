"""What a merge would do, file by file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_lite.engines.git import Author, Entry, LocalGitStore
from llmos_lite.engines.git_objects import File, blob_id
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import Conflict
from llmos_lite.volumes.merging import merge_branch, plan_merge

ALICE = Author("alice", "alice@localhost")
Files = Mapping[str, bytes | None]
FIRST: Files = {"skills/x/SKILL.md": b"x", "skills/x/run.sh": b"run", "skills/flat.md": b"flat", "memory/a": b"a"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalGitStore]:
    store = LocalGitStore(tmp_path / "v.git", signer=Signer.open(tmp_path / "keys"), bare=True)
    yield store
    store.close()


def parted(store: LocalGitStore, ours: Files, theirs: Files, first: Files = FIRST) -> tuple[str, str]:
    """Return two commits that parted at the first one."""
    store.commit(first, "First", ALICE)
    store.create_branch("b")
    return store.commit(ours, "Ours", ALICE).oid, store.commit(theirs, "Theirs", ALICE, branch="b").oid


def files(store: LocalGitStore, prefix: str = "") -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for entry in store.tree(prefix):
        found |= files(store, entry.path) if entry.is_tree else {entry.path: store.blob(entry.oid)}
    return found


@pytest.mark.parametrize(
    ("ours", "theirs", "merged"),
    [
        ({"skills/x/run.sh": b"2"}, {"skills/x/SKILL.md": b"2"}, {"skills/x/run.sh": b"2", "skills/x/SKILL.md": b"2"}),
        ({"skills/x/SKILL.md": b"2"}, {"skills/x/SKILL.md": b"2"}, {"skills/x/SKILL.md": b"2"}),
        ({"memory/b": b"b"}, {"memory/a": None}, {"memory/b": b"b", "memory/a": None}),
        ({"memory/b": b"b"}, {"skills/flat.md": None, "skills/flat/SKILL.md": b"2"},
         {"memory/b": b"b", "skills/flat.md": None, "skills/flat/SKILL.md": b"2"}),
        ({"memory/b": b"b"}, {"memory/a": None, "memory/a/b": b"2"},
         {"memory/b": b"b", "memory/a": None, "memory/a/b": b"2"}),
        ({"memory/b": b"b"}, {"skills/x": None},
         {"memory/b": b"b", "skills/x/SKILL.md": None, "skills/x/run.sh": None}),
    ],
)  # fmt: skip
def test_both_sides_come_together(store: LocalGitStore, ours: Files, theirs: Files, merged: Files) -> None:
    parted(store, ours, theirs)
    merge_branch(store, "b", "Merge", ALICE)
    expected = {path: data for path, data in (dict(FIRST) | dict(merged)).items() if data is not None}
    assert files(store) == expected


@pytest.mark.parametrize(
    ("ours", "theirs", "path"),
    [
        ({"skills/x/SKILL.md": b"2"}, {"skills/x/SKILL.md": b"3"}, "skills/x/SKILL.md"),
        ({"skills/x/SKILL.md": b"2"}, {"skills/x": None}, "skills/x/SKILL.md"),
        ({"skills/x": None}, {"skills/x/run.sh": b"3"}, "skills/x/run.sh"),
        ({"skills/x": None}, {"skills/x/new.sh": b"3"}, "skills/x/SKILL.md"),
        ({"skills/x/new.sh": b"2"}, {"skills/x": None}, "skills/x/SKILL.md"),
        ({"skills/flat.md": None, "skills/flat/SKILL.md": b"flat"}, {"skills/flat.md": b"3"}, "skills/flat/SKILL.md"),
        ({"memory/n": b"file"}, {"memory/n/one": b"folder"}, "memory/n/one"),
        ({"memory/n/one": b"folder"}, {"memory/n": b"file"}, "memory/n"),
        ({"memory/a": None, "memory/a/b": b"2"}, {"memory/a": b"3"}, "memory/a"),
    ],
)
def test_what_both_changed_is_told(store: LocalGitStore, ours: Files, theirs: Files, path: str) -> None:
    here, there = parted(store, ours, theirs)
    assert [one.path for one in plan_merge(store, here, there).collisions] == [path]
    with pytest.raises(Conflict) as refused:
        merge_branch(store, "b", "Merge", ALICE)
    assert refused.value.detail["paths"] == [path]
    assert store.head() == here


def test_who_may_run_a_file_counts(store: LocalGitStore) -> None:
    parted(store, {"memory/b": b"b"}, {})
    store.commit({"skills/x/run.sh": File(b"run", executable=True)}, "Run it", ALICE, branch="b")
    merge_branch(store, "b", "Merge", ALICE)
    assert store.entry("skills/x/run.sh") == Entry("skills/x/run.sh", blob_id(b"run"), is_tree=False, executable=True)


SIDE = st.dictionaries(
    st.sampled_from(["skills/x/SKILL.md", "skills/x.md", "skills/x/a", "skills/x/a/b", "memory/m", "memory/m/n"]),
    st.sampled_from([None, b"1", b"2"]),
    max_size=4,
)


def test_a_merge_of_many_skills_costs_as_much_for_each_as_one_of_few(store: LocalGitStore) -> None:
    def calls(count: int) -> int:
        files = {f"skills/{count}-{number}/{name}": b"x" for number in range(count) for name in ("SKILL.md", "a")}
        store.create_branch(f"b{count}")
        theirs = store.commit(files, "Many", ALICE, branch=f"b{count}").oid
        made = 0

        def count_one(_frame: object, event: str, _value: object) -> None:
            nonlocal made
            made += event in {"call", "c_call"}

        sys.setprofile(count_one)
        try:
            assert len(plan_merge(store, store.head() or "", theirs).changes) == 2 * count
        finally:
            sys.setprofile(None)
        return made

    store.commit(FIRST, "First", ALICE)
    assert calls(200) < 6 * calls(50)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIDE, SIDE, SIDE)
def test_a_merge_takes_each_file_from_one_side_or_refuses(
    store: LocalGitStore, first: Files, ours: Files, theirs: Files
) -> None:
    for name in store.branches():
        if name != "main":
            store.delete_branch(name)
    store.commit({"skills": None, "memory": None, "top": b"%d" % store.count()}, "Empty", ALICE)
    try:
        here, _ = parted(store, ours, theirs, first)
    except Conflict:  # a file where a folder must be
        return
    sides = [files(store), _files_at(store, "b")]
    try:
        merge_branch(store, "b", "Merge", ALICE)
    except Conflict as error:
        assert (error.code, store.head()) == ("proposal.conflict", here)  # noqa: PT017 - either may happen
        return
    for path, data in files(store).items():
        assert data in {side.get(path) for side in sides}
    for path in sides[0].keys() & sides[1].keys():
        assert path in files(store)


def _files_at(store: LocalGitStore, branch: str, prefix: str = "") -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for entry in store.tree(prefix, at=branch):
        found |= _files_at(store, branch, entry.path) if entry.is_tree else {entry.path: store.blob(entry.oid)}
    return found
