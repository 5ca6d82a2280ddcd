"""What every store of volumes must do. A person who adds one runs this suite on it:

    from volume_interface import VolumeInterfaceContract

    class TestMyStore(VolumeInterfaceContract):
        @pytest.fixture
        def store(self, tmp_path):
            store = MyStore(...)
            yield store
            store.close()

Every test gets a fresh, empty store.
"""

from __future__ import annotations

import threading

import pytest

from llmos_lite.engines.git import LOCAL_FILES, PLATFORM, Author, File, VolumeInterface
from llmos_lite.errors import Conflict, Invalid, NotFound

ALICE = Author("alice", "alice@localhost")
BAD_PATHS = [
    "", "/", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", ".", "a/./b", ".git/config", "a/.GIT/x", "a\0b", "a\nb",
    "a\\b", "x" * 300, "/".join(["a"] * 3000),
]  # fmt: skip
BAD_BRANCHES = [
    "",
    "a b",
    "../x",
    "-x",
    "a..b",
    "x.lock",
    "a/",
    "/a",
    "a//b",
    ".x",
    "a/.b",
    "x" * 300,
    "a\0",
    "a.",
    "é",
]


class VolumeInterfaceContract:
    """The suite; a subclass gives the fixture `store`."""

    def test_a_new_store_is_empty(self, store: VolumeInterface) -> None:
        assert store.head() is None
        assert store.branches() == {}
        assert store.tree() == []
        assert store.entry("skills") is None
        assert store.log() == []
        assert store.count() == 0

    def test_a_file_is_read_back(self, store: VolumeInterface) -> None:
        made = store.commit({"skills/a/SKILL.md": b"hello\n"}, "Create skill: a", ALICE)
        assert store.head() == made.oid
        assert store.read("skills/a/SKILL.md") == b"hello\n"
        entry = store.entry("skills/a/SKILL.md")
        assert entry is not None
        assert not entry.is_tree
        assert store.blob(entry.oid) == b"hello\n"

    def test_ids_are_those_of_git(self, store: VolumeInterface) -> None:
        store.commit({"hello": b"hello\n"}, "One", ALICE)
        entry = store.entry("hello")
        assert entry is not None
        assert entry.oid == "ce013625030ba8dba906f756967f9e9ca394464a"

    @pytest.mark.parametrize("data", [b"", b"\0\xff\xfe", b"x" * 300_000, "naïve ✅".encode()], ids=range(4))
    def test_any_bytes_are_kept(self, store: VolumeInterface, data: bytes) -> None:
        store.commit({"f": data}, "One", ALICE)
        assert store.read("f") == data

    @pytest.mark.parametrize("name", ["é.md", "a b.md", "-x", "#x#", "日本"])
    def test_any_plain_name_is_kept(self, store: VolumeInterface, name: str) -> None:
        store.commit({f"d/{name}": b"x"}, "One", ALICE)
        assert [entry.path for entry in store.tree("d")] == [f"d/{name}"]

    def test_a_commit_says_who_when_and_why(self, store: VolumeInterface) -> None:
        message = "Create skill: a\n\nBecause.\n\nSkill-Op: create\nEvidence-Count: 3"
        first = store.commit({"a": b"1"}, message, ALICE, at=1_700_000_000_000)
        second = store.commit({"a": b"2"}, "Update", ALICE, committer=LOCAL_FILES)
        assert (first.author, first.email, first.committer) == ("alice", "alice@localhost", PLATFORM.name)
        assert (first.subject, first.body) == ("Create skill: a", "Because.")
        assert first.trailers == {"Skill-Op": "create", "Evidence-Count": "3"}
        assert first.time == 1_700_000_000_000
        assert (second.parents, second.committer) == ((first.oid,), LOCAL_FILES.name)
        assert store.log() == [second, first]
        assert store.count() == 2

    def test_one_level_is_listed_in_order(self, store: VolumeInterface) -> None:
        store.commit({"b/x": b"", "a.md": b"", "a/x/y": b"", "b.x": b""}, "One", ALICE)
        assert [(e.path, e.is_tree) for e in store.tree()] == [
            ("a.md", False), ("a", True), ("b.x", False), ("b", True),
        ]  # fmt: skip
        assert [e.path for e in store.tree("a")] == ["a/x"]
        assert store.tree("a.md") == store.tree("nothing") == []

    def test_what_differs_of_one_level_is_told(self, store: VolumeInterface) -> None:
        old = store.commit({"s/a/x": b"1", "s/b.md": b"", "s/c/x": b"1", "other": b"1"}, "One", ALICE).oid
        store.commit({"s/a/x": b"2", "s/b.md": None, "s/d/x": b"1", "other": b"2"}, "Two", ALICE)
        gone, new = store.differing("s", old)
        assert [entry.path for entry in gone] == ["s/a", "s/b.md"]
        assert [entry.path for entry in new] == ["s/a", "s/d"]
        assert new[0] == store.entry("s/a")
        assert [list(side) for side in store.differing("s", old, at=old)] == [[], []]
        assert [len(side) for side in store.differing("nothing", old)] == [0, 0]
        with pytest.raises(NotFound):
            store.differing("s", "0" * 40)

    def test_a_folder_has_a_version(self, store: VolumeInterface) -> None:
        store.commit({"s/a/x": b"1", "s/b/x": b"1"}, "One", ALICE)
        a, b = store.entry("s/a"), store.entry("s/b")
        assert a is not None
        assert b is not None
        assert a.is_tree
        assert a.oid == b.oid
        store.commit({"s/a/x": b"2"}, "Two", ALICE)
        assert store.entry("s/a") != a
        assert store.entry("s/b") == b

    def test_what_is_not_there_is_not_found(self, store: VolumeInterface) -> None:
        store.commit({"d/f": b"x"}, "One", ALICE)
        for path in ("d", "d/g", "d/f/g", "x"):
            with pytest.raises(NotFound, match="no file"):
                store.read(path)
        for oid in ("0" * 40, "zz", "", "x" * 40):
            with pytest.raises(NotFound):
                store.blob(oid)
        tree = store.entry("d")
        assert tree is not None
        with pytest.raises(NotFound):
            store.blob(tree.oid)

    def test_the_past_can_be_read(self, store: VolumeInterface) -> None:
        first = store.commit({"d/f": b"1"}, "One", ALICE)
        folder = store.entry("d")
        store.commit({"d": None}, "Two", ALICE)
        assert folder is not None
        assert store.read("d/f", at=first.oid) == b"1"
        assert store.read("f", at=folder.oid) == b"1"
        assert store.entry("d") is None
        for at in ("0" * 40, "nothing"):
            with pytest.raises(NotFound):
                store.tree(at=at)

    def test_a_file_and_a_folder_are_removed(self, store: VolumeInterface) -> None:
        store.commit({"d/e/f": b"1", "d/g": b"2", "h": b"3"}, "One", ALICE)
        store.commit({"d/e/f": None}, "Two", ALICE)
        assert [entry.path for entry in store.tree("d")] == ["d/g"], "an empty folder is gone"
        store.commit({"d": None, "nothing/at/all": None}, "Three", ALICE)
        assert [entry.path for entry in store.tree()] == ["h"]
        store.commit({"h": None}, "Four", ALICE)
        assert store.tree() == []

    def test_a_file_that_may_be_run_stays_one(self, store: VolumeInterface) -> None:
        store.commit({"s/run": File(b"1", executable=True), "s/read": File(b"1"), "s/other": b"1"}, "One", ALICE)
        assert [entry.executable for entry in store.tree("s")] == [False, False, True]
        store.commit({"s/run": b"2", "s/read": b"2"}, "Content alone says nothing of it", ALICE)
        assert [entry.executable for entry in store.tree("s")] == [False, False, True]
        store.commit({"s": None, "s/run": b"3", "s/read": b"3"}, "Nor does a folder that is written anew", ALICE)
        assert [entry.executable for entry in store.tree("s")] == [False, True]
        run = store.entry("s/run")
        assert run is not None
        assert run.executable
        store.commit({"s/copy": run._replace(path="s/copy"), "s/run": File(b"3")}, "A file says it", ALICE)
        assert [entry.executable for entry in store.tree("s")] == [True, False, False]
        assert store.read("s/copy") == store.read("s/run") == b"3"

    def test_one_commit_may_replace_a_file_by_a_folder(self, store: VolumeInterface) -> None:
        store.commit({"x": b"1", "y/z": b"1"}, "One", ALICE)
        store.commit({"x": None, "x/a": b"2", "y": b"2", "y/z": None}, "Two", ALICE)
        assert (store.read("x/a"), store.read("y")) == (b"2", b"2")
        store.commit({"x": b"3", "x/a": None, "y": None, "y/z": b"3"}, "Three", ALICE)
        assert (store.read("x"), store.read("y/z")) == (b"3", b"3")

    def test_a_file_in_the_way_is_a_conflict(self, store: VolumeInterface) -> None:
        head = store.commit({"x": b"1", "y/z": b"1"}, "One", ALICE)
        for changes in ({"x/a": b"2"}, {"y": b"2"}):
            with pytest.raises(Conflict) as caught:
                store.commit(changes, "Two", ALICE)
            assert caught.value.code == "file.in_the_way"
        assert store.head() == head.oid

    def test_an_object_of_the_store_is_put_at_another_path(self, store: VolumeInterface) -> None:
        store.commit({"d/f": b"1", "g": b"2"}, "One", ALICE)
        folder, file = store.entry("d"), store.entry("g")
        store.commit({"e": folder, "h/i": file, "d": None}, "Two", ALICE)
        assert (store.read("e/f"), store.read("h/i")) == (b"1", b"2")

    def test_the_same_change_again_makes_no_commit(self, store: VolumeInterface) -> None:
        first = store.commit({"a": b"1"}, "One", ALICE)
        assert store.commit({"a": b"1", "b": None}, "Again", ALICE) == first
        assert store.commit({}, "Nothing", ALICE) == first
        assert store.count() == 1

    @pytest.mark.parametrize("path", BAD_PATHS, ids=range(len(BAD_PATHS)))
    def test_a_bad_path_is_refused(self, store: VolumeInterface, path: str) -> None:
        with pytest.raises(Invalid) as caught:
            store.commit({path: b"x"}, "One", ALICE)
        assert caught.value.code == "file.invalid_path"
        assert store.head() is None

    @pytest.mark.parametrize("name", BAD_BRANCHES, ids=range(len(BAD_BRANCHES)))
    def test_a_bad_branch_is_refused(self, store: VolumeInterface, name: str) -> None:
        with pytest.raises(Invalid) as caught:
            store.commit({"a": b"x"}, "One", ALICE, branch=name)
        assert caught.value.code == "branch.invalid"

    def test_a_writer_who_saw_an_older_head_is_told(self, store: VolumeInterface) -> None:
        first = store.commit({"a": b"1"}, "One", ALICE, expect="")
        second = store.commit({"a": b"2"}, "Two", ALICE, expect=first.oid)
        for expect in ("", first.oid):
            with pytest.raises(Conflict) as caught:
                store.commit({"a": b"3"}, "Three", ALICE, expect=expect)
            assert caught.value.code == "volume.moved"
        assert store.head() == second.oid

    def test_branches_go_their_own_ways(self, store: VolumeInterface) -> None:
        first = store.commit({"a": b"1"}, "One", ALICE)
        assert store.create_branch("pr/alice/a") == first.oid
        other = store.commit({"a": b"2"}, "Two", ALICE, branch="pr/alice/a")
        assert store.branches() == {"main": first.oid, "pr/alice/a": other.oid}
        assert store.read("a") == b"1"
        assert store.read("a", at="pr/alice/a") == b"2"
        assert store.log(branch="pr/alice/a") == [other, first]
        assert store.merge_base(first.oid, other.oid) == first.oid
        store.delete_branch("pr/alice/a")
        assert store.head("pr/alice/a") is None
        assert store.branches() == {"main": first.oid}

    def test_a_branch_starts_where_it_is_told(self, store: VolumeInterface) -> None:
        first = store.commit({"a": b"1"}, "One", ALICE)
        store.commit({"a": b"2"}, "Two", ALICE)
        assert store.create_branch("old", first.oid) == first.oid
        assert store.create_branch("older", "old") == first.oid

    def test_a_commit_makes_its_branch(self, store: VolumeInterface) -> None:
        made = store.commit({"a": b"1"}, "One", ALICE, branch="2026-11")
        assert store.branches() == {"2026-11": made.oid}
        assert made.parents == ()
        assert store.head() is None

    def test_branches_that_cannot_be_made_or_removed(self, store: VolumeInterface) -> None:
        with pytest.raises(NotFound):
            store.create_branch("x")
        store.commit({"a": b"1"}, "One", ALICE)
        store.create_branch("x")
        with pytest.raises(Conflict, match="already"):
            store.create_branch("x")
        with pytest.raises(Conflict):
            store.delete_branch("main")
        with pytest.raises(NotFound):
            store.delete_branch("nothing")
        with pytest.raises(NotFound):
            store.create_branch("y", "nothing")

    def test_a_merge_has_two_parents(self, store: VolumeInterface) -> None:
        store.commit({"a": b"1"}, "One", ALICE)
        store.create_branch("x")
        theirs = store.commit({"b": b"1"}, "Theirs", ALICE, branch="x")
        ours = store.commit({"c": b"1"}, "Ours", ALICE)
        merge = store.commit({"b": b"1"}, "Merge", ALICE, merges=(theirs.oid,))
        assert merge.parents == (ours.oid, theirs.oid)
        assert store.merge_base(merge.oid, theirs.oid) == theirs.oid
        assert store.count() == 4
        assert {commit.subject for commit in store.log()} == {"One", "Theirs", "Ours", "Merge"}

    def test_the_log_comes_in_pages(self, store: VolumeInterface) -> None:
        made = [store.commit({"a": b"%d" % i}, f"{i}", ALICE) for i in range(7)]
        pages, before = [], None
        while page := store.log(limit=3, before=before):
            pages.append(page)
            before = page[-1].oid
        assert [len(page) for page in pages] == [3, 3, 1]
        assert [commit for page in pages for commit in page] == made[::-1]
        with pytest.raises(NotFound):
            store.log(before="0" * 40)

    def test_the_log_of_a_path(self, store: VolumeInterface) -> None:
        one = store.commit({"s/a.md": b"1"}, "One", ALICE)
        store.commit({"s/b/x": b"1"}, "Two", ALICE)
        three = store.commit({"s/a.md": None, "s/a/x": b"1"}, "Three", ALICE)
        four = store.commit({"s/a/x": b"2"}, "Four", ALICE)
        assert store.log(path="s/a.md") == [three, one]
        assert store.log(path=("s/a", "s/a.md")) == [four, three, one]
        assert store.log(path=("s/a", "s/a.md"), before=three.oid) == [one]
        assert store.log(path="nothing") == []

    def test_threads_lose_nothing(self, store: VolumeInterface) -> None:
        def write(name: int) -> None:
            for turn in range(5):
                store.commit({f"d/{name}/{turn}": b"x"}, f"{name} {turn}", ALICE)

        threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.count() == 20
        assert sum(len(store.tree(f"d/{name}")) for name in range(4)) == 20

    def test_whoever_holds_the_lock_may_write_and_lock_again(self, store: VolumeInterface) -> None:
        with store.lock(), store.lock():
            store.commit({"a": b"1"}, "One", ALICE)
        assert store.read("a") == b"1"

    def test_the_lock_holds_others_off(self, store: VolumeInterface) -> None:
        done = threading.Event()

        def write() -> None:
            store.commit({"b": b"1"}, "Two", ALICE)
            done.set()

        thread = threading.Thread(target=write)
        with store.lock():
            thread.start()
            assert not done.wait(0.05)
            assert store.entry("b") is None
        thread.join()
        assert store.read("b") == b"1"

    def test_a_closed_store_opens_itself(self, store: VolumeInterface) -> None:
        store.commit({"a": b"1"}, "One", ALICE)
        store.close()
        assert store.read("a") == b"1"
        store.commit({"a": b"2"}, "Two", ALICE)
        assert store.read("a") == b"2"
        assert store.size() > 0

    @pytest.mark.parametrize(
        ("name", "email"), [("", ""), ("a\nb <x>", "a\nb>c"), ("Zoë", "zoë@x"), ("x" * 500, "y")], ids=range(4)
    )
    def test_any_name_of_an_author_is_kept_in_its_line(self, store: VolumeInterface, name: str, email: str) -> None:
        store.commit({"a": b"1"}, "\n\nOne\n\n", Author(name, email))
        (commit,) = store.log()
        assert commit.subject == "One"
        assert "\n" not in commit.author
        assert commit.parents == ()
