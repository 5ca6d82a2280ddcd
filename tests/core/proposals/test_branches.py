from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos_lite.core.proposals import branches
from llmos_lite.engines.git import LocalGitStore
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import Conflict
from llmos_lite.volumes.git_volume import author_of

ALICE = author_of("alice")
BRANCH = "pr/alice/x"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalGitStore]:
    store = LocalGitStore(tmp_path / "volume", signer=Signer.open(tmp_path / "keys"))
    store.commit({"skills/x.md": b"one\ntwo\n", "memory/notes.md": b"n\n", "skills/y/SKILL.md": b"y"}, "First", ALICE)
    store.create_branch(BRANCH)
    yield store
    store.close()


def test_a_diff_shows_what_is_new_changed_gone_and_binary(store: LocalGitStore) -> None:
    changes: dict[str, bytes | None] = {
        "skills/x.md": b"one\nthree",
        "memory/notes.md": None,
        "skills/z/data.bin": b"\0\1",
        "skills/z/SKILL.md": b"new\n",
    }
    store.commit(changes, "Propose", ALICE, branch=BRANCH)
    branch = branches.read(store, BRANCH)
    assert set(branch.changes) == set(changes)
    assert branch.conflicts == ()
    shown = branches.diff(store, branch.changes)
    assert "-two\n+three\n\\ No newline at end of file\n" in shown
    assert "+++ /dev/null" in shown
    assert "Binary files a/skills/z/data.bin and b/skills/z/data.bin differ" in shown
    assert "--- /dev/null\n+++ b/skills/z/SKILL.md" in shown


def test_a_file_that_becomes_a_folder_is_both_gone_and_new(store: LocalGitStore) -> None:
    store.commit({"memory/notes.md": None}, "Make room", ALICE, branch=BRANCH)
    store.commit({"memory/notes.md/one.md": b"1\n"}, "A folder", ALICE, branch=BRANCH)
    assert set(branches.read(store, BRANCH).changes) == {"memory/notes.md", "memory/notes.md/one.md"}


def test_a_very_long_diff_is_cut(store: LocalGitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branches, "LONGEST_DIFF", 100)
    store.commit({"skills/x.md": b"line\n" * 1000}, "Long", ALICE, branch=BRANCH)
    shown = branches.diff(store, branches.read(store, BRANCH).changes)
    assert len(shown) < 150
    assert "left out" in shown


def test_a_diff_of_many_lines_is_quick_and_one_of_a_large_file_left_out(store: LocalGitStore) -> None:
    mixed, again = (b"".join(b"%d\n" % (number * step % 110) for number in range(100_000)) for step in (7, 13))
    store.commit({"skills/y/a.txt": mixed, "skills/y/b.txt": b""}, "A", ALICE)
    store.delete_branch(BRANCH)
    store.create_branch(BRANCH)
    big = b"x\n" * branches.LARGEST
    changes: dict[str, bytes | None] = {"skills/y/a.txt": again, "skills/y/b.txt": big, "skills/y/c.txt": b""}
    store.commit(changes, "B", ALICE, branch=BRANCH)
    found = branches.read(store, BRANCH).changes
    shown = branches.diff(store, {path: found[path] for path in found if not path.endswith("a.txt")})
    assert "+++ b/skills/y/b.txt\nThe file is too large to compare: 0 bytes before, 1,048,576 after.\n" in shown
    assert shown.endswith("--- /dev/null\n+++ b/skills/y/c.txt\n")
    assert "@@ " in branches.diff(store, found)  # in seconds, not in hours


def test_only_a_line_feed_ends_a_line(store: LocalGitStore) -> None:
    store.commit({"skills/x.md": "one\rtwo\u2028\nend\n".encode()}, "Returns", ALICE, branch=BRANCH)
    shown = branches.diff(store, branches.read(store, BRANCH).changes)
    assert shown.endswith("@@ -1,2 +1,2 @@\n-one\n-two\n+one\rtwo\u2028\n+end\n")


@pytest.mark.parametrize(
    ("meanwhile", "conflicts"),
    [
        ({"skills/x.md": b"other\n"}, ("skills/x.md",)),
        ({"skills/x/SKILL.md": b"moved\n", "skills/x.md": None}, ("skills/x/SKILL.md",)),
        ({"skills/y/SKILL.md": b"y2"}, ()),
        ({"memory/notes.md": b"other\n"}, ()),
        ({"skills/x.md": b"proposed\n"}, ()),
    ],
)
def test_only_the_same_skill_changed_in_another_way_is_a_conflict(
    store: LocalGitStore, meanwhile: dict[str, bytes | None], conflicts: tuple[str, ...]
) -> None:
    store.commit({"skills/x.md": b"proposed\n"}, "Propose", ALICE, branch=BRANCH)
    store.commit(meanwhile, "Meanwhile", ALICE)
    assert branches.read(store, BRANCH).conflicts == conflicts


def test_a_branch_that_is_not_there_is_gone(store: LocalGitStore) -> None:
    with pytest.raises(Conflict, match="no longer there"):
        branches.read(store, "pr/alice/none")
