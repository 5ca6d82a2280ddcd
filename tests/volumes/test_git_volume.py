"""GitVolume: the seed's methods, and what a handle may do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llmos_lite.engines.git import File
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import Conflict, Forbidden, Invalid, NotFound, UpstreamFailed
from llmos_lite.volumes.access import PLATFORM, SYSTEM, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume, author_of
from llmos_lite.volumes.manager import VolumeManager
from llmos_lite.volumes.skill_paths import SkillEntry, describe_edits

ALICE, BOB = author_of("alice"), author_of("bob")
USER, TEAM = VolumeRef.user("alice"), VolumeRef.team("sre")


@pytest.fixture
def volumes(tmp_path: Path) -> VolumeManager:
    return VolumeManager(tmp_path, Signer.open(tmp_path / "keys"))


@pytest.fixture
def volume(volumes: VolumeManager) -> GitVolume:
    return volumes.open(PLATFORM, USER, write=True)


@pytest.fixture
def files(volumes: VolumeManager, volume: GitVolume) -> Path:
    return volumes.folder(volume.ref)


def test_a_script_that_may_be_run_stays_one(volumes: VolumeManager, volume: GitVolume, files: Path) -> None:
    volume.write_skill("deploy", "1", files={"scripts/run.sh": File(b"#!/bin/sh\n", executable=True), "notes": b"1"})
    for replace in (False, True):
        volume.write_skill("deploy", "2", files={"scripts/run.sh": b"#!/bin/sh\n:\n", "notes": b"2"}, replace=replace)
        assert (files / "skills/deploy/scripts/run.sh").stat().st_mode & 0o100
        assert not (files / "skills/deploy/notes").stat().st_mode & 0o100
    volumes.promote_skill("deploy", USER, TEAM, ALICE, "Useful")
    there = volumes.folder(TEAM) / "skills/deploy"
    assert (there / "scripts/run.sh").stat().st_mode & 0o100
    (files / "skills/deploy/scripts/run.sh").chmod(0o644)
    assert volume.commit_changes() is not None
    volumes.promote_skill("deploy", USER, TEAM, ALICE, "A copy is a copy")
    assert not (there / "scripts/run.sh").stat().st_mode & 0o100
    assert volumes.adopt(TEAM) is None


def test_a_skill_is_written_and_read(volume: GitVolume) -> None:
    made = volume.write_skill("deploy", "# Deploy\n", author=ALICE, files={"scripts/run.py": b"print()"})
    assert made.subject == "Create skill: deploy"
    assert volume.read_skill("deploy") == "# Deploy\n"
    assert [entry.path for entry in volume.skill_files("deploy")] == [
        "skills/deploy/SKILL.md",
        "skills/deploy/scripts/run.py",
    ]
    entry = volume.store.entry("skills/deploy")
    assert entry is not None
    assert volume.list_skills() == [SkillEntry("deploy", entry.oid, "skills/deploy/SKILL.md", is_folder=True)]


def test_the_version_is_the_id_that_git_shows(volume: GitVolume, files: Path) -> None:
    (files / "skills/flat.md").write_text("flat")
    volume.commit_changes()
    volume.write_skill("deploy", "x")
    for skill, path in zip(volume.list_skills(), ("skills/deploy", "skills/flat.md"), strict=True):
        run = subprocess.run(
            ["git", "-C", files, "rev-parse", f"main:{path}"], capture_output=True, text=True, check=True
        )
        assert skill.version == run.stdout.strip()


def test_an_edit_says_so_and_keeps_the_other_files(volume: GitVolume) -> None:
    volume.write_skill("a", "1", files={"x": b"x", "y": b"y"})
    made = volume.write_skill(
        "a", "2", "Sharpen it", ALICE, files={"y": None}, trailers={"Skill-Op": "edit\nEvil: yes"}
    )
    assert (made.subject, made.trailers) == ("Sharpen it", {"Skill-Op": "edit Evil: yes"})
    assert [entry.path for entry in volume.skill_files("a")] == ["skills/a/SKILL.md", "skills/a/x"]
    volume.write_skill("a", "3", replace=True)
    assert [entry.path for entry in volume.skill_files("a")] == ["skills/a/SKILL.md"]
    assert volume.get_git_log(1)[0].subject == "Update skill: a"


def test_a_flat_skill_moves_to_the_folder_in_one_commit(volume: GitVolume, files: Path) -> None:
    (files / "skills/old.md").write_text("flat")
    adopted = volume.commit_changes()
    assert adopted is not None
    assert (adopted.subject, volume.read_skill("old")) == ("Create skill: old", "flat")
    assert not volume.list_skills()[0].is_folder
    assert [entry.path for entry in volume.skill_files("old")] == ["skills/old.md"]
    made = volume.write_skill("old", "folder", author=ALICE)
    assert made.subject == "Update skill: old"
    assert made.parents == (adopted.oid,)
    assert not (files / "skills/old.md").exists()
    assert [commit.oid for commit in volume.get_git_log(skill_id="old")] == [made.oid, adopted.oid]


def test_the_folder_beats_the_flat_file(volume: GitVolume, files: Path) -> None:
    volume.write_skill("a", "folder")
    (files / "skills/a.md").write_text("flat")
    volume.commit_changes()
    assert [(skill.path, skill.is_folder) for skill in volume.list_skills()] == [("skills/a/SKILL.md", True)]
    assert volume.read_skill("a") == "folder"
    volume.delete_skill("a")
    assert volume.list_skills() == [], "deleting takes both"


def test_earlier_versions_are_read_and_brought_back(volume: GitVolume, files: Path) -> None:
    (files / "skills/a.md").write_text("flat")
    volume.commit_changes()
    flat = volume.list_skills()[0].version
    first = volume.write_skill("a", "1", files={"x": b"x"})
    folder = volume.list_skills()[0].version
    volume.write_skill("a", "2", replace=True)
    assert volume.read_skill("a", version=flat) == "flat"
    assert volume.read_skill("a", version=folder) == volume.read_skill("a", at=first.oid) == "1"
    made = volume.restore_skill("a", folder, author=ALICE, trailers={"Skill-Op": "restore"})
    assert (made.subject, volume.list_skills()[0].version) == ("Restore skill: a", folder)
    volume.restore_skill("a", flat)
    assert volume.list_skills()[0].path == "skills/a.md"
    for version in ("0" * 40, "zz"):
        with pytest.raises(NotFound):
            volume.restore_skill("a", version)
        with pytest.raises(NotFound):
            volume.read_skill("a", version=version)


def test_a_writer_who_saw_another_version_is_told(volume: GitVolume, files: Path) -> None:
    volume.write_skill("a", "1", expect="")
    seen = volume.list_skills()[0].version
    with pytest.raises(Conflict) as caught:
        volume.write_skill("a", "2", expect="")
    assert caught.value.code == "skill.exists"
    (files / "skills/a/SKILL.md").write_text("by hand, a moment ago")
    for change in (lambda: volume.write_skill("a", "2", expect=seen), lambda: volume.delete_skill("a", expect=seen)):
        with pytest.raises(Conflict) as caught:
            change()
        assert caught.value.code == "skill.changed"
    assert volume.read_skill("a") == "by hand, a moment ago"


def test_a_skill_that_is_not_there(volume: GitVolume) -> None:
    for use in (volume.read_skill, volume.delete_skill, volume.skill_files):
        with pytest.raises(NotFound) as caught:
            use("nothing")
        assert caught.value.code == "skill.unknown"
    assert volume.skill_entry("nothing") is None
    assert volume.get_git_log(skill_id="nothing") == []


@pytest.mark.parametrize("skill_id", ["../x", "A", "a/b", "", "a.md", "x" * 300, "a\0", ".git", "a--b", "é"])
def test_a_bad_id_is_refused_before_any_path(volume: GitVolume, skill_id: str) -> None:
    uses: list[Callable[[str], object]] = [
        volume.read_skill, volume.delete_skill, volume.skill_files, lambda name: volume.write_skill(name, "x"),
        lambda name: volume.read_skill(name, version="0" * 40), lambda name: volume.restore_skill(name, "0" * 40),
        lambda name: volume.get_git_log(skill_id=name),
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(Invalid) as caught:
            use(skill_id)
        assert caught.value.code == "skill.invalid_id"


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../../x", "", ".git/config", "a\0"])
def test_a_file_never_leaves_its_skill(volume: GitVolume, name: str) -> None:
    with pytest.raises(Invalid):
        volume.write_skill("a", "x", files={name: b"x"})


def test_text_that_is_no_text(volume: GitVolume, files: Path) -> None:
    with pytest.raises(Invalid):
        volume.write_skill("a", "\ud800")
    (files / "skills/b.md").write_bytes(b"\xff\xfe")
    volume.commit_changes()
    assert volume.read_skill("b") == "\ufffd\ufffd"


def test_a_folder_without_its_file_is_listed(volume: GitVolume, files: Path) -> None:
    (files / "skills/a").mkdir()
    (files / "skills/a/notes.txt").write_text("x")
    (files / "skills/My Skill.md").write_text("x")
    (files / "skills/picture.png").write_text("x")
    volume.commit_changes()
    assert [skill.skill_id for skill in volume.list_skills()] == ["a"]
    assert volume.misnamed_skills() == ["skills/My Skill.md"]
    with pytest.raises(NotFound) as caught:
        volume.read_skill("a")
    assert caught.value.code == "skill.no_file"


def test_a_flat_skill_hides_no_misnamed_file_beside_it(volume: GitVolume, files: Path) -> None:
    for name in ("tea.md", "tea.md.md"):
        (files / "skills" / name).write_text("x")
    volume.commit_changes()
    assert [skill.skill_id for skill in volume.list_skills()] == ["tea"]
    assert volume.misnamed_skills() == ["skills/tea.md.md"]


def test_a_listing_is_the_callers_own(volume: GitVolume) -> None:
    volume.write_skill("a", "1")
    volume.list_skills().clear()
    assert len(volume.list_skills()) == 1
    assert len(volume.list_skills(at="main")) == 1
    first = volume.get_git_log()[-1]
    assert volume.list_skills(at=first.oid) == []


def test_a_reader_writes_nothing(volumes: VolumeManager, volume: GitVolume) -> None:
    volume.write_skill("a", "1")
    reader = volumes.open(PLATFORM, USER)
    head, version = volume.store.head(), volume.list_skills()[0].version
    uses: list[Callable[[], object]] = [
        lambda: reader.write_skill("a", "2"), lambda: reader.delete_skill("a"), reader.commit_changes,
        lambda: reader.restore_skill("a", version), lambda: reader.merge_branch("main", "m", ALICE),
        lambda: reader.set_metadata({}), lambda: reader.create_branch("x"), lambda: reader.delete_branch("x"),
        lambda: reader.push_to_remote("/nowhere"), lambda: reader.store.commit({"a": b"1"}, "m", ALICE),
        reader.store.lock,
        lambda: reader.traces.commit({"a": b"1"}, "m", ALICE), lambda: reader.traces.create_branch("x"),
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(Forbidden) as caught:
            use()
        assert caught.value.code == "volume.readonly"
    reader.store.close()
    assert (reader.store.head(), repr(reader), repr(volume)) == (
        head,
        "GitVolume(user:alice, r)",
        "GitVolume(user:alice, rw)",
    )


def test_a_reader_reads_everything(volumes: VolumeManager, volume: GitVolume) -> None:
    made = volume.write_skill("a", "1")
    reader = volumes.open(PLATFORM, USER)
    assert reader.list_skills() == volume.list_skills()
    assert reader.read_skill("a", version=reader.list_skills()[0].version) == "1"
    assert reader.get_git_log() == volume.get_git_log()
    assert reader.branches() == {"main": made.oid}
    assert reader.stats() == volume.stats()
    assert reader.metadata() == volume.metadata()
    assert reader.store.merge_base(made.oid, made.oid) == made.oid


def test_metadata_says_what_a_volume_is(volumes: VolumeManager, volume: GitVolume, files: Path) -> None:
    assert volume.metadata() == {"volume": "user:alice", "format": 1, "policy": {"review": "none"}}
    assert volumes.open(PLATFORM, SYSTEM).review_required
    assert not volumes.open(PLATFORM, TEAM).review_required
    volume.set_metadata({"policy": {"review": "required"}, "title": "Alice's"}, ALICE)
    assert volume.review_required
    assert json.loads((files / "metadata.json").read_text())["title"] == "Alice's"


@pytest.mark.parametrize("text", ["{broken", "[]", "", '{"policy": 3}', '{"policy": {"review": "maybe"}}', "\xff"])
def test_broken_metadata_falls_back_to_the_defaults(volumes: VolumeManager, text: str) -> None:
    for ref in (USER, SYSTEM):
        volume = volumes.open(PLATFORM, ref, write=True)
        (volumes.folder(ref) / "metadata.json").write_text(text, "latin-1")
        volume.commit_changes()
        assert volume.review_required == (ref == SYSTEM)
        assert volume.metadata()["volume"] == str(ref)


def test_counts(volume: GitVolume) -> None:
    volume.write_skill("a", "1")
    before = volume.stats()
    made = volume.write_skill("b", "1")
    stats = volume.stats()
    assert (stats["volume"], stats["skills"], stats["commits"], stats["head"]) == ("user:alice", 2, 3, made.oid)
    assert int(stats["bytes"]) > int(before["bytes"])


def test_a_branch_is_merged_file_by_file(volume: GitVolume, files: Path) -> None:
    (files / "skills/flat.md").write_text("1")
    volume.commit_changes()
    volume.write_skill("a", "1")
    volume.write_skill("b", "1")
    volume.create_branch("pr/bob/a")
    volume.write_skill("a", "2", author=BOB, branch="pr/bob/a")
    volume.write_skill("flat", "2", author=BOB, branch="pr/bob/a")
    theirs = volume.write_skill("new", "1", author=BOB, branch="pr/bob/a")
    ours = volume.write_skill("b", "2")
    merged = volume.merge_branch("pr/bob/a", "Merge it", ALICE, trailers={"Approved-by": "alice"})
    assert merged.parents == (ours.oid, theirs.oid)
    assert merged.trailers == {"Approved-by": "alice"}
    assert [volume.read_skill(name) for name in ("a", "b", "flat", "new")] == ["2", "2", "2", "1"]
    assert not (files / "skills/flat.md").exists()
    assert volume.merge_branch("pr/bob/a", "Again", ALICE) == merged
    volume.delete_branch("pr/bob/a")
    assert set(volume.branches()) == {"main"}


def test_a_deletion_is_merged(volume: GitVolume) -> None:
    volume.write_skill("a", "1")
    volume.create_branch("x")
    volume.store.commit({"skills/a": None}, "Delete", BOB, branch="x")
    volume.write_skill("b", "1")
    volume.merge_branch("x", "Merge", ALICE)
    assert [skill.skill_id for skill in volume.list_skills()] == ["b"]


@pytest.mark.parametrize("how", ["committed", "by hand", "deleted", "flat"])
def test_a_skill_that_both_changed_is_a_conflict(volume: GitVolume, files: Path, how: str) -> None:
    volume.write_skill("a", "1")
    volume.write_skill("a", "theirs", author=BOB, branch="x")
    if how == "committed":
        volume.write_skill("a", "ours")
    elif how == "by hand":
        (files / "skills/a/SKILL.md").write_text("ours")
    elif how == "deleted":
        volume.delete_skill("a")
    else:
        (files / "skills/a.md").write_text("ours")
    with pytest.raises(Conflict) as caught:
        volume.merge_branch("x", "Merge", ALICE)
    assert (caught.value.code, caught.value.detail["paths"]) == ("proposal.conflict", ["skills/a/SKILL.md"])


def test_both_sides_doing_the_same_is_no_conflict(volume: GitVolume) -> None:
    volume.write_skill("a", "1")
    volume.write_skill("a", "2", branch="x")
    volume.write_skill("a", "2", author=BOB)
    assert len(volume.merge_branch("x", "Merge", ALICE).parents) == 2


def test_a_branch_that_is_not_there(volume: GitVolume) -> None:
    with pytest.raises(NotFound):
        volume.merge_branch("nothing", "Merge", ALICE)


def test_a_volume_is_pushed(tmp_path: Path, volume: GitVolume) -> None:
    made = volume.write_skill("a", "1")
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "remote.git"], check=True)
    volume.push_to_remote(str(tmp_path / "remote.git"))
    run = ["git", "-C", tmp_path / "remote.git", "rev-parse", "main"]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip() == made.oid


def test_a_push_is_never_forced(tmp_path: Path, volumes: VolumeManager, volume: GitVolume) -> None:
    remote = str(tmp_path / "remote.git")
    subprocess.run(["git", "init", "-q", "--bare", remote], check=True)
    volumes.open(PLATFORM, TEAM, write=True).push_to_remote(remote)
    with pytest.raises(UpstreamFailed) as caught:
        volume.push_to_remote(remote)
    assert caught.value.code == "remote.refused"
    with pytest.raises(UpstreamFailed) as caught:
        volume.push_to_remote(f"file://user:secret@{tmp_path}/nowhere")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "--upload-pack=x", "ext::sh -c x", "-x", "relative/path", "a b"])
def test_what_is_no_address_is_not_pushed_to(volume: GitVolume, url: str) -> None:
    with pytest.raises(Invalid):
        volume.push_to_remote(url)


@pytest.mark.parametrize(
    ("changes", "existed", "expected"),
    [
        ({"skills/a/SKILL.md": b""}, [], "Create skill: a"),
        ({"skills/a.md": b""}, [], "Create skill: a"),
        ({"skills/a/SKILL.md": b"", "skills/a/x": b""}, ["skills/a/SKILL.md"], "Update skill: a"),
        ({"skills/a/x": b""}, [], "Update skill: a"),
        ({"skills/a/SKILL.md": None, "skills/a/x": None}, ["skills/a/SKILL.md"], "Delete skill: a"),
        ({"skills/a.md": b"", "skills/b.md": b""}, [], "Adopt hand edits: a, b"),
        ({"memory/x": b""}, [], "Adopt hand edits: memory/x"),
        ({f"skills/{i}.md": b"" for i in range(9)}, [], "Adopt hand edits: 0, 1, 2, 3, 4, ..."),
    ],
)  # fmt: skip
def test_the_message_of_a_hand_edit(changes: dict[str, bytes | None], existed: list[str], expected: str) -> None:
    assert describe_edits(changes, existed) == expected
