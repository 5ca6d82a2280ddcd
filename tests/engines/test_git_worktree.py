"""Edits by hand: adopted when they are somebody's, never invented, never overwritten."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_lite.engines import git_odb
from llmos_lite.engines.git import Author, File, HandEdits, LocalGitStore
from llmos_lite.engines.git_objects import Lines, parse_tree
from llmos_lite.engines.git_worktree import LARGEST_EDIT, is_adopted
from llmos_lite.engines.signing import Signer

ALICE, BOB = Author("alice", "alice@localhost"), Author("bob", "bob@localhost")
A, B = "skills/a/SKILL.md", "skills/b.md"


@pytest.fixture
def store(tmp_path: Path) -> LocalGitStore:
    store = LocalGitStore(tmp_path / "v", signer=Signer.open(tmp_path / "keys"), hand_edits=HandEdits(ALICE))
    store.commit({"metadata.json": b"{}\n", A: b"1\n", B: b"1\n"}, "One", BOB)
    return store


def git(store: LocalGitStore, *words: str) -> str:
    command = ["git", "-c", "user.name=eve", "-c", "user.email=eve@localhost", "-C", str(store.path), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def subjects(store: LocalGitStore, branch: str = "main") -> list[str]:
    return [commit.subject for commit in store.log(branch=branch)]


def interrupt(store: LocalGitStore, changes: dict[str, bytes | None]) -> str:
    """Commit as a process does that is killed before the checkout."""
    tree, store.work_tree = store.work_tree, None
    made = store.commit(changes, "Interrupted", BOB)
    store.work_tree = tree
    return made.oid


def test_dropped_edited_and_deleted_files_become_one_commit(store: LocalGitStore) -> None:
    assert store.adopt() is None
    (store.path / "skills/new").mkdir()
    (store.path / "skills/new/SKILL.md").write_text("dropped")
    (store.path / "memory").mkdir()
    (store.path / "memory/notes.md").write_text("dropped")
    (store.path / A).write_text("edited")
    (store.path / B).unlink()
    made = store.adopt()
    assert made is not None
    assert (made.author, made.email, made.committer) == ("alice", "alice@localhost", "local-files")
    assert store.read("skills/new/SKILL.md") == store.read("memory/notes.md") == b"dropped"
    assert store.read(A) == b"edited"
    assert store.entry(B) is None
    assert git(store, "status", "--porcelain") == ""
    assert store.adopt() is None


def test_executable_bits_are_edits(store: LocalGitStore) -> None:
    run = store.path / "skills/a/run.sh"
    run.write_text("#!/bin/sh")
    for mode in (0o755, 0o644, 0o755):
        run.chmod(mode)
        assert store.adopt() is not None
        assert git(store, "status", "--porcelain") == ""
        assert git(store, "ls-tree", "main", "skills/a/run.sh").startswith(f"100{mode:o}")
        assert store.adopt() is None
    interrupt(store, {"skills/a/run.sh": b"#!/bin/bash"})
    assert store.adopt() is None, "an interrupted checkout is no edit"
    assert run.read_text() == "#!/bin/bash"
    assert run.stat().st_mode & 0o100


def test_a_file_system_without_executable_bits_takes_none_away(store: LocalGitStore) -> None:
    store.commit({"skills/a/run.sh": File(b"1", executable=True)}, "Two", BOB)
    git(store, "config", "core.fileMode", "false")
    fresh = LocalGitStore(store.path, signer=store._signer, hand_edits=HandEdits(ALICE))
    (store.path / A).chmod(0o755)
    (store.path / "skills/a/run.sh").chmod(0o644)
    assert fresh.adopt() is None
    (store.path / A).write_text("edited")
    (store.path / "skills/a/run.sh").write_text("edited")
    assert fresh.adopt() is not None
    assert [entry.executable for entry in fresh.tree("skills/a")] == [False, True]


def test_a_message_and_an_author_can_be_given(store: LocalGitStore) -> None:
    (store.path / A).write_text("edited")
    made = store.adopt("My words", BOB)
    assert made is not None
    assert (made.subject, made.author) == ("My words", "bob")


def test_metadata_is_adopted_even_when_broken(store: LocalGitStore) -> None:
    (store.path / "metadata.json").write_text("{broken")
    assert store.adopt() is not None
    assert store.read("metadata.json") == b"{broken"


@pytest.mark.parametrize("data", [b"\xff\xfe\0binary", b"---\nbroken: [yaml\n---\n", b""], ids=range(3))
def test_any_file_is_adopted(store: LocalGitStore, data: bytes) -> None:
    (store.path / A).write_bytes(data)
    assert store.adopt() is not None
    assert store.read(A) == data


@pytest.mark.parametrize(
    "name",
    ["skills/.x.md.swp", "skills/x.md~", "skills/.hidden/x.md", "skills/x.tmp", "skills/#x#", "README.md", "other/x.md",
     "traces.git/x", "skills/x.md.part"],
)  # fmt: skip
def test_what_is_not_somebodys_work_is_left_alone(store: LocalGitStore, name: str) -> None:
    path = store.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    assert not is_adopted(name)
    assert store.adopt() is None
    assert path.read_text() == "x"


def test_a_huge_file_is_left_and_reported(store: LocalGitStore) -> None:
    (store.path / "skills/big.md").write_bytes(b"x" * (LARGEST_EDIT + 1))
    assert store.adopt() is None
    assert store.left_alone == {"skills/big.md": "it is larger than 1 MiB"}
    (store.path / "skills/big.md").write_bytes(b"x" * LARGEST_EDIT)
    assert store.adopt() is not None
    assert store.left_alone == {}


def test_no_link_is_followed(tmp_path: Path, store: LocalGitStore) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "SKILL.md").write_text("secret")
    (store.path / "skills/linked").symlink_to(outside)
    (store.path / "skills/file.md").symlink_to(outside / "SKILL.md")
    assert store.adopt() is None
    assert set(store.left_alone.values()) == {"it is a symbolic link"}
    store.commit({"skills/linked/SKILL.md": b"ours", "skills/file.md": b"ours"}, "Two", BOB)
    assert (outside / "SKILL.md").read_text() == "secret"
    assert store.read("skills/linked/SKILL.md") == b"ours"
    assert sorted(path.name for path in outside.iterdir()) == ["SKILL.md"]


def test_a_link_in_place_of_a_skill_is_not_its_deletion(tmp_path: Path, store: LocalGitStore) -> None:
    shutil.move(store.path / "skills/a", tmp_path / "moved")
    (store.path / "skills/a").symlink_to(tmp_path / "moved")
    assert store.adopt() is None
    assert store.read(A) == b"1\n"
    assert A in store.left_alone


def test_a_link_that_somebody_committed_is_not_served(tmp_path: Path, store: LocalGitStore) -> None:
    (tmp_path / "secret").write_text("secret")
    (store.path / "skills/link.md").symlink_to(tmp_path / "secret")
    git(store, "add", "skills/link.md")
    git(store, "commit", "-q", "-m", "A link")
    assert store.adopt() is None
    assert store.entry("skills/link.md") is None
    assert "skills/link.md" not in [entry.path for entry in store.tree("skills")]
    store.commit({"skills/link.md": None}, "Remove it", BOB)
    assert git(store, "ls-tree", "-r", "--name-only", "main").split() == ["metadata.json", A, B]


def test_a_file_and_a_folder_change_places(store: LocalGitStore) -> None:
    store.commit({B: None, "skills/b.md/x": b"1", "skills/a": b"1", A: None}, "Two", BOB)
    assert git(store, "status", "--porcelain") == ""
    store.commit({"skills/b.md": b"2", "skills/b.md/x": None}, "Three", BOB)
    assert git(store, "status", "--porcelain") == ""
    assert (store.path / B).read_text() == "2"
    assert store.adopt() is None


def test_special_files_are_left_alone(store: LocalGitStore) -> None:
    os.mkfifo(store.path / "skills/pipe.md")
    (store.path / A).unlink()
    os.mkfifo(store.path / A)
    assert store.adopt() is None
    assert store.left_alone.get(A) == "it is not a regular file"


def test_names_that_no_volume_takes_are_reported(store: LocalGitStore) -> None:
    for name in ("a\nb.md", "a\\b.md"):
        (store.path / "skills" / name).write_text("x")
    (store.path / "skills/good.md").write_text("x")
    made = store.adopt()
    assert made is not None
    assert set(store.left_alone.values()) == {"its name is not one that a volume takes"}
    assert store.read("skills/good.md") == b"x"


def test_a_name_that_is_no_unicode_is_adopted(store: LocalGitStore) -> None:
    try:
        Path(os.fsdecode(bytes(store.path / "skills") + b"/caf\xe9.md")).write_text("x")
    except OSError:
        pytest.skip("this file system wants UTF-8")
    assert store.adopt() is not None
    assert store.adopt() is None
    assert len(store.tree("skills")) == 3


def test_a_repository_inside_is_left_alone(store: LocalGitStore) -> None:
    subprocess.run(["git", "init", "-q", store.path / "skills/cloned"], check=True)
    (store.path / "skills/cloned/SKILL.md").write_text("x")
    assert store.adopt() is None
    assert store.left_alone == {"skills/cloned/": "it is a repository of its own"}


def test_a_write_adopts_the_edit_of_the_same_file_first(store: LocalGitStore) -> None:
    (store.path / A).write_text("by hand")
    (store.path / B).write_text("by hand, elsewhere")
    store.commit({A: b"by the platform"}, "Two", BOB)
    assert [(commit.subject[:5], commit.author) for commit in store.log()] == [
        ("Two", "bob"), ("Adopt", "alice"), ("One", "bob"),
    ]  # fmt: skip
    assert store.read(A, at=store.log()[1].oid) == b"by hand"
    assert (store.path / A).read_text() == "by the platform"
    assert (store.path / B).read_text() == "by hand, elsewhere", "left for the next look"
    assert store.adopt() is not None


def test_deleting_a_folder_adopts_what_lies_in_it_first(store: LocalGitStore) -> None:
    (store.path / "skills/a/notes.txt").write_text("mine")
    store.commit({"skills/a": None}, "Delete", BOB)
    assert store.read("skills/a/notes.txt", at=store.log()[1].oid) == b"mine"
    assert not (store.path / "skills/a").exists()


def test_a_file_in_place_of_a_folder_is_adopted(store: LocalGitStore) -> None:
    shutil.rmtree(store.path / "skills/a")
    (store.path / "skills/a").write_text("now a file")
    assert store.adopt() is not None
    assert store.read("skills/a") == b"now a file"
    assert store.adopt() is None


@pytest.mark.parametrize("finished", range(4), ids=["nothing", "one file", "the files", "the index"])
def test_an_interrupted_checkout_is_finished_not_adopted(store: LocalGitStore, finished: int) -> None:
    interrupt(store, {A: b"2\n", B: None, "skills/c.md": b"new"})
    if finished >= 1:
        (store.path / A).write_text("2\n")
    if finished >= 2:
        (store.path / B).unlink()
        (store.path / "skills/c.md").write_text("new")
    if finished >= 3:
        git(store, "add", "-A", "skills")
    fresh = LocalGitStore(store.path, signer=store._signer)
    assert fresh.touched()
    assert fresh.adopt() is None
    assert subjects(fresh) == ["Interrupted", "One"]
    assert (store.path / A).read_text() == "2\n"
    assert (store.path / "skills/c.md").read_text() == "new"
    assert not (store.path / B).exists()
    assert git(store, "status", "--porcelain") == ""


def test_an_edit_beside_an_interrupted_checkout_is_kept(store: LocalGitStore) -> None:
    interrupt(store, {A: b"2\n"})
    (store.path / B).write_text("by hand")
    assert store.adopt() is not None
    assert (store.read(A), store.read(B)) == (b"2\n", b"by hand")
    assert (store.path / A).read_text() == "2\n"


@pytest.mark.parametrize("edit", ["by hand", None])
def test_an_edit_that_main_moved_away_from_is_proposed(store: LocalGitStore, edit: str | None) -> None:
    base = store.head()
    interrupt(store, {A: b"2\n"})
    (store.path / A).write_text(edit) if edit else (store.path / A).unlink()
    assert store.adopt() is None
    branch = f"pr/alice/local-files-{str(base)[:8]}"
    assert set(store.branches()) == {"main", branch}
    found = store.entry(A, at=branch)
    assert (found is None) == (edit is None)
    if edit:
        assert store.read(A, at=branch) == edit.encode()
    assert store.log(branch=branch)[0].parents == (base,)
    assert (store.path / A).read_text() == "2\n"
    assert git(store, "status", "--porcelain") == ""
    assert store.adopt() is None


def test_a_missing_work_tree_is_brought_back(store: LocalGitStore) -> None:
    for name in ("skills", "metadata.json"):
        path = store.path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert store.adopt() is None
    assert (store.path / A).read_text() == "1\n"
    assert git(store, "status", "--porcelain") == ""


def test_a_lost_or_broken_note_of_the_base_harms_nothing(store: LocalGitStore) -> None:
    for text in (None, "garbage", "0" * 40):
        note = store.gitdir / "llmos-checkout"
        note.unlink() if text is None else note.write_text(text)
        (store.path / A).write_text(f"edit {text}")
        assert store.adopt() is not None
        assert store.read(A) == f"edit {text}".encode()


def test_a_broken_index_is_made_again(store: LocalGitStore) -> None:
    (store.gitdir / "index").write_bytes(b"garbage")
    store.close()
    store.commit({A: b"2\n"}, "Two", BOB)
    assert git(store, "status", "--porcelain") == ""


def test_a_broken_index_hides_no_edit(store: LocalGitStore) -> None:
    (store.gitdir / "index").write_bytes(b"DIRC" + bytes(60))
    (store.path / A).write_text("edited")
    store.close()
    assert store.adopt() is not None
    assert store.read(A) == b"edited"
    assert git(store, "status", "--porcelain") == ""


def test_an_index_held_by_somebody_waits(store: LocalGitStore) -> None:
    (store.gitdir / "index.lock").write_text("")
    store.commit({A: b"2\n"}, "Two", BOB)
    assert (store.path / A).read_text() == "2\n"
    (store.gitdir / "index.lock").unlink()
    assert store.adopt() is None
    assert git(store, "status", "--porcelain") == ""


def test_what_a_person_staged_stays_staged(store: LocalGitStore) -> None:
    (store.path / B).write_text("staged")
    git(store, "add", B)
    store.commit({A: b"2\n"}, "Two", BOB)
    assert git(store, "diff", "--cached", "--name-only") == B
    assert store.adopt() is not None
    assert store.read(B) == b"staged", "a staged edit is somebody's, too"


@pytest.mark.parametrize("state", ["another branch", "detached", "a merge"])
def test_a_persons_own_git_work_is_left_alone(store: LocalGitStore, state: str) -> None:
    if state == "another branch":
        git(store, "checkout", "-q", "-b", "mine")
    elif state == "detached":
        git(store, "checkout", "-q", "--detach")
    else:
        (store.gitdir / "MERGE_HEAD").write_text(f"{store.head()}\n")
    (store.path / A).write_text("in the middle of something")
    assert store.adopt() is None
    store.commit({A: b"2\n"}, "Two", BOB)
    assert (store.path / A).read_text() == "in the middle of something"
    assert store.read(A) == b"2\n"
    assert not store.touched() or state


def test_executable_files_stay_executable(store: LocalGitStore) -> None:
    (store.path / "skills/a/run.sh").write_text("x")
    (store.path / "skills/a/run.sh").chmod(0o755)
    git(store, "add", "skills/a/run.sh")
    git(store, "commit", "-q", "-m", "A script")
    store.commit({"skills/a/run.sh": b"y"}, "Two", BOB)
    assert os.access(store.path / "skills/a/run.sh", os.X_OK)
    assert git(store, "status", "--porcelain") == ""


def test_many_files_are_brought_at_once(store: LocalGitStore) -> None:
    store.commit({f"skills/s{i}.md": b"x" for i in range(200)}, "Many", BOB)
    assert len(list((store.path / "skills").iterdir())) == 202
    assert git(store, "status", "--porcelain") == ""
    store.commit({f"skills/s{i}.md": None for i in range(200)}, "None", BOB)
    assert len(list((store.path / "skills").iterdir())) == 2


def test_a_poller_sees_each_change_and_nothing_else(store: LocalGitStore) -> None:
    store.adopt()
    assert not store.touched()
    store.commit({A: b"2\n"}, "Two", BOB)
    store.adopt()
    assert not store.touched()
    for change in (
        lambda: (store.path / A).write_text("edited"),
        lambda: (store.path / "skills/a/extra.md").write_text("x"),
        (store.path / "skills/a/extra.md").unlink,
        lambda: (store.path / "skills/dropped.md").write_text("x"),
        lambda: (store.path / "metadata.json").write_text('{"a": 1}'),
    ):
        change()
        assert store.touched()
        assert store.adopt() is not None
        assert not store.touched()


def test_a_poller_sees_a_commit_that_was_not_checked_out(tmp_path: Path, store: LocalGitStore) -> None:
    store.adopt()
    subprocess.run(["git", "clone", "-q", store.path, tmp_path / "clone"], check=True)
    (tmp_path / "clone" / A).write_text("pushed")
    run = ["git", "-c", "user.name=e", "-c", "user.email=e@x", "-C", tmp_path / "clone"]
    subprocess.run([*run, "commit", "-qam", "Pushed"], check=True)
    git(store, "config", "receive.denyCurrentBranch", "ignore")
    subprocess.run([*run, "push", "-q"], check=True)
    assert store.touched()
    assert store.adopt() is None
    assert (store.path / A).read_text() == "pushed"
    assert subjects(store) == ["Pushed", "One"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["edit", "delete", "commit", "remove", "interrupt", "adopt"]),
            st.sampled_from(["skills/p.md", "skills/q/SKILL.md", "skills/q/x", "memory/m.md"]),
            st.binary(min_size=1, max_size=4),
        ),
        max_size=12,
    )
)
def test_nothing_that_somebody_wrote_is_ever_lost(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, bytes]]
) -> None:
    """Every content that was ever in a file or a commit is found in some commit of some branch afterwards."""
    folder = tmp_path_factory.mktemp("v")
    store = LocalGitStore(folder / "v", signer=Signer.open(folder / "keys"), hand_edits=HandEdits(ALICE))
    store.commit({"metadata.json": b"{}"}, "One", BOB)
    on_disk: set[tuple[str, bytes]] = set()
    for action, path, data in steps:
        file = store.path / path
        if action == "edit":
            file.parent.mkdir(parents=True, exist_ok=True)
            on_disk.discard((path, file.read_bytes() if file.exists() else b""))
            file.write_bytes(b"hand" + data)
            on_disk.add((path, b"hand" + data))
        elif action == "delete":
            on_disk = {item for item in on_disk if item[0] != path}
            file.unlink(missing_ok=True)
        elif action == "commit":
            store.commit({path: b"platform" + data}, "Platform", BOB)
        elif action == "remove":
            store.commit({path: None}, "Remove", BOB)
        elif action == "interrupt":
            interrupt(store, {path: b"killed" + data})
        else:
            store.adopt()
    store.adopt()
    assert store.adopt() is None
    assert git(store, "status", "--porcelain") == ""
    kept = {
        (path, store.read(path, at=commit.oid))
        for branch in store.branches()
        for commit in store.log(branch=branch, limit=1000)
        for path, _ in on_disk
        if store.entry(path, at=commit.oid)
    }
    assert on_disk <= kept


def test_a_folder_of_very_many_skills_is_parsed_once_for_all_its_files(
    store: LocalGitStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []

    def counted(data: bytes) -> Lines:
        parsed.append(data)
        return parse_tree(data)

    monkeypatch.setattr(git_odb, "_LINES_KEPT", 10)
    monkeypatch.setattr(git_odb, "parse_tree", counted)
    interrupt(store, {f"skills/s{number:02}/SKILL.md": b"%d\n" % number for number in range(40)})
    store.close_objects()
    assert store.adopt() is None
    assert (store.path / "skills/s39/SKILL.md").read_bytes() == b"39\n"
    assert git(store, "status", "--porcelain") == ""
    longest = max(parsed, key=len)
    assert longest.count(b"40000 s") == 40
    assert parsed.count(longest) == 1
