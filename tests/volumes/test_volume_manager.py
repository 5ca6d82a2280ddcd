"""VolumeManager: who gets in, what is made when, and what one broken volume does to the others."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from llmos_lite.engines.signing import Signer
from llmos_lite.errors import Forbidden, Invalid, LlmosError, NotFound, StorageFailed, Unavailable
from llmos_lite.volumes.access import (
    PLATFORM,
    SYSTEM,
    SYSTEM_CRON,
    Access,
    Principal,
    PrincipalKind,
    VolumeRef,
    access,
)
from llmos_lite.volumes.git_volume import author_of
from llmos_lite.volumes.manager import VolumeManager

USER, TEAM, OTHER = VolumeRef.user("alice"), VolumeRef.team("sre"), VolumeRef.user("bob")
ALICE = Principal(PrincipalKind.USER, "alice", teams=frozenset({"sre"}))
SRE_CRON = Principal(PrincipalKind.TEAM_CRON, "sre", users=frozenset({"alice"}))
WRITER = """
import sys
from pathlib import Path
from llmos_lite.engines.git import PLATFORM as AUTHOR
from llmos_lite.engines.signing import Signer
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager
data, name = Path(sys.argv[1]), sys.argv[2]
volume = VolumeManager(data, Signer.open(data / "keys")).open(PLATFORM, VolumeRef.user("carol"), write=True)
for turn in range(10):
    volume.write_skill(f"{name}-{turn}", "x")
    segment = {f"traces/{name}-{turn}.jsonl": b"x"}
    volume.traces.commit(segment, "Fold", AUTHOR, branch="2026-11")
"""


@pytest.fixture
def volumes(tmp_path: Path) -> VolumeManager:
    return VolumeManager(tmp_path, Signer.open(tmp_path / "keys"))


@pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
@pytest.mark.parametrize(
    ("who", "ref"),
    list(itertools.product([ALICE, SRE_CRON, SYSTEM_CRON, PLATFORM], [USER, TEAM, OTHER, SYSTEM])),
    ids=lambda value: getattr(value, "kind", None),
)
def test_the_table_is_enforced_at_every_open(
    volumes: VolumeManager, who: Principal, ref: VolumeRef, *, write: bool
) -> None:
    allowed = access(who, ref)
    if allowed is Access.WRITE or (allowed is Access.READ and not write):
        assert volumes.open(who, ref, write=write).writable is write
        return
    with pytest.raises(Forbidden if allowed else NotFound):
        volumes.open(who, ref, write=write)
    assert not volumes.exists(ref), "refused before anything is made"


def test_heads_are_for_whom_the_table_lets_in_and_make_nothing(volumes: VolumeManager) -> None:
    assert volumes.heads(ALICE, [USER, TEAM, SYSTEM]) == ["", "", ""]
    assert volumes.refs() == []
    written = volumes.open(PLATFORM, TEAM, write=True)
    assert volumes.heads(ALICE, [USER, TEAM]) == ["", written.store.head()]
    before = written.store.head()
    written.write_skill("tea", "x")
    assert volumes.heads(ALICE, [TEAM]) == [written.store.head()] != [before]
    volumes.close()
    assert volumes.heads(ALICE, [USER, TEAM]) == ["", written.store.head()]
    for who, refs in ((ALICE, [USER, OTHER]), (SRE_CRON, [OTHER]), (ALICE, [TEAM, OTHER])):
        volumes.close()
        with pytest.raises(NotFound) as caught:
            volumes.heads(who, refs)
        assert caught.value.code == "volume.unknown"


def test_a_volume_is_made_at_first_use_with_its_first_commit(tmp_path: Path, volumes: VolumeManager) -> None:
    assert volumes.refs() == []
    assert not volumes.exists(USER)
    for ref, name in ((USER, "users/alice"), (TEAM, "teams/sre"), (SYSTEM, "system")):
        volume = volumes.open(PLATFORM, ref)
        folder = tmp_path / "volumes" / name
        assert volumes.folder(ref) == folder
        assert sorted(path.name for path in folder.iterdir()) == [
            ".git",
            "memory",
            "metadata.json",
            "skills",
            "traces.git",
        ]
        assert [commit.subject for commit in volume.get_git_log()] == [f"Create volume: {ref}"]
        run = subprocess.run(["git", "-C", folder, "status", "--porcelain"], capture_output=True, check=True)
        assert run.stdout == b""
        allowed = f"gpg.ssh.allowedSignersFile={tmp_path / 'allowed_signers'}"
        subprocess.run(["git", "-C", folder, "-c", allowed, "verify-commit", "main"], check=True, capture_output=True)
    assert volumes.refs() == [SYSTEM, TEAM, USER]
    assert not list((tmp_path / "volumes").glob(".new-*"))
    volumes.create(USER)
    assert len(volumes.open(PLATFORM, USER).get_git_log()) == 1


def test_files_that_were_there_before_are_adopted(tmp_path: Path, volumes: VolumeManager) -> None:
    folder = tmp_path / "volumes/users/alice/skills"
    folder.mkdir(parents=True)
    (folder / "mine.md").write_text("mine")
    assert volumes.refs() == []
    volume = volumes.open(ALICE, USER)
    assert volume.list_skills() == []
    made = volumes.adopt(USER)
    assert made is not None
    assert (made.author, made.subject) == ("alice", "Create skill: mine")
    assert volume.read_skill("mine") == "mine"
    assert (folder.parent / "metadata.json").exists()


def test_only_real_names_are_volumes(tmp_path: Path, volumes: VolumeManager) -> None:
    volumes.create(USER)
    for name in ("users/Bad", "users/empty", "teams/.hidden", "users/" + "x" * 65):
        (tmp_path / "volumes" / name).mkdir(parents=True)
    (tmp_path / "volumes/users/Bad/metadata.json").write_text("{}")
    assert volumes.refs() == [USER]


def test_a_skill_is_promoted_with_all_its_files(volumes: VolumeManager) -> None:
    alice = author_of("alice")
    mine = volumes.open(ALICE, USER, write=True)
    mine.write_skill("my-skill", "# Mine", author=alice, files={"scripts/run.py": b"\xff\0"})
    made = volumes.promote_skill("my-skill", USER, TEAM, alice, "Useful for\nteam", trailers={"Proposal": "1"})
    assert made.subject == "Promote 'my-skill' from user:alice - Reason: Useful for team"
    assert (made.author, made.committer, made.trailers) == ("alice", "llmos-lite", {"Proposal": "1"})
    theirs = volumes.open(ALICE, TEAM)
    assert theirs.list_skills()[0].version == mine.list_skills()[0].version
    assert volumes.promote_skill("my-skill", USER, TEAM, alice, "Again") == made
    mine.write_skill("my-skill", "# Mine, 2", replace=True)
    volumes.promote_skill("my-skill", USER, TEAM, alice, "Without the script")
    assert [entry.path for entry in theirs.skill_files("my-skill")] == ["skills/my-skill/SKILL.md"]


def test_a_promotion_may_wait_on_a_branch(volumes: VolumeManager) -> None:
    alice = author_of("alice")
    volumes.open(ALICE, USER, write=True).write_skill("s", "1")
    volumes.promote_skill("s", USER, SYSTEM, alice, "Good", branch="pr/alice/s", content="edited")
    system = volumes.open(PLATFORM, SYSTEM, write=True)
    assert system.list_skills() == []
    assert system.read_skill("s", at="pr/alice/s") == "edited"
    system.merge_branch("pr/alice/s", "Merge", alice)
    assert system.read_skill("s") == "edited"


def test_a_flat_skill_is_promoted_into_a_folder(volumes: VolumeManager) -> None:
    volumes.open(ALICE, USER)
    (volumes.folder(USER) / "skills/flat.md").write_text("flat")
    volumes.adopt(USER)
    volumes.promote_skill("flat", USER, TEAM, author_of("alice"), "Good")
    assert [entry.path for entry in volumes.open(PLATFORM, TEAM).skill_files("flat")] == ["skills/flat/SKILL.md"]


def test_what_cannot_be_promoted(volumes: VolumeManager) -> None:
    with pytest.raises(NotFound):
        volumes.promote_skill("nothing", USER, TEAM, author_of("alice"), "x")
    with pytest.raises(Invalid):
        volumes.promote_skill("../x", USER, TEAM, author_of("alice"), "x")


def test_hand_edits_of_a_team_name_nobody(volumes: VolumeManager) -> None:
    volumes.open(PLATFORM, TEAM)
    volumes.adopt(TEAM)
    assert not volumes.touched(TEAM)
    (volumes.folder(TEAM) / "skills/a.md").write_text("x")
    (volumes.folder(TEAM) / "skills/b.md").symlink_to("/etc/passwd")
    assert volumes.touched(TEAM)
    made = volumes.adopt(TEAM)
    assert made is not None
    assert made.author == made.committer == "local-files"
    assert volumes.left_alone(TEAM) == {"skills/b.md": "it is a symbolic link"}


def break_head(folder: Path) -> None:
    (folder / ".git/refs/heads/main").write_text("garbage")


def break_no_head(folder: Path) -> None:
    (folder / ".git/refs/heads/main").unlink()


def break_no_git(folder: Path) -> None:
    shutil.rmtree(folder / ".git")


def break_empty_git(folder: Path) -> None:
    shutil.rmtree(folder / ".git")
    (folder / ".git").mkdir()


def break_file(folder: Path) -> None:
    shutil.rmtree(folder / ".git")
    (folder / ".git").write_text("garbage")


def break_objects(folder: Path) -> None:
    for path in (folder / ".git/objects/pack").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    "damage",
    [break_head, break_no_head, break_no_git, break_empty_git, break_file, break_objects],
    ids=lambda f: f.__name__,
)
def test_a_broken_volume_breaks_no_other(tmp_path: Path, damage: object) -> None:
    signer = Signer.open(tmp_path / "keys")
    first = VolumeManager(tmp_path, signer)
    for ref in (USER, OTHER):
        first.open(PLATFORM, ref, write=True).write_skill("a", "1")
    first.close()
    assert callable(damage)
    damage(first.folder(USER))
    volumes = VolumeManager(tmp_path, signer)
    found = volumes.check()
    assert set(found) == {USER, OTHER}
    assert found[OTHER] is None
    assert found[USER] is not None
    assert found[USER].code == "volume.broken"
    with pytest.raises(LlmosError) as caught:
        volumes.open(PLATFORM, USER).list_skills()
    assert isinstance(caught.value, Unavailable)
    assert volumes.open(PLATFORM, OTHER, write=True).write_skill("b", "1")
    assert (volumes.folder(USER) / "skills/a/SKILL.md").read_text() == "1", "nothing of it is touched"


def test_a_volume_that_was_made_halfway_is_finished(tmp_path: Path, volumes: VolumeManager) -> None:
    volumes.open(PLATFORM, USER)
    volumes.close()
    shutil.rmtree(volumes.folder(USER) / "traces.git")
    volume = VolumeManager(tmp_path, Signer.open(tmp_path / "keys")).open(PLATFORM, USER, write=True)
    assert volume.traces.head() is None


def test_a_data_folder_that_cannot_be(tmp_path: Path) -> None:
    signer = Signer.open(tmp_path / "keys")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageFailed):
        VolumeManager(tmp_path / "file", signer)
    volumes = VolumeManager(tmp_path / "data", signer)
    (tmp_path / "data/volumes/users").write_text("x")
    with pytest.raises(StorageFailed):
        volumes.open(PLATFORM, USER)


def test_many_volumes_share_few_files(volumes: VolumeManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmos_lite.volumes.manager._OPEN_VOLUMES", 2)
    opened = [volumes.open(PLATFORM, VolumeRef.user(f"u{i}"), write=True) for i in range(6)]
    for turn, volume in enumerate(opened):
        volume.write_skill("a", str(turn))
    assert [volume.read_skill("a") for volume in opened] == list("012345")
    assert len(volumes._opened) == 2


def test_upkeep_is_for_both_repositories(volumes: VolumeManager) -> None:
    volume = volumes.open(PLATFORM, USER, write=True)
    assert not volumes.maintain(USER)
    for turn in range(55):
        volume.traces.commit({f"{turn}": b"x"}, "Fold", author_of("alice"), branch="2026-11")
    assert volumes.maintain(USER)
    assert len(volume.traces.tree(at="2026-11")) == 55


def test_threads_open_and_write_at_once(volumes: VolumeManager) -> None:
    errors: list[Exception] = []

    def work(name: int) -> None:
        try:
            for turn in range(5):
                volumes.open(PLATFORM, USER, write=True).write_skill(f"s-{name}-{turn}", "x")
                volumes.open(PLATFORM, VolumeRef.user(f"u{turn}")).list_skills()
                volumes.adopt(USER)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test fails
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(volumes.open(PLATFORM, USER).list_skills()) == 30
    assert volumes.adopt(USER) is None


def test_processes_create_and_write_at_once(tmp_path: Path, volumes: VolumeManager) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, f"w{n}"]) for n in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    volume = volumes.open(PLATFORM, VolumeRef.user("carol"))
    assert len(volume.list_skills()) == 40
    assert len(volume.traces.tree("traces", at="2026-11")) == 40
    assert volumes.adopt(volume.ref) is None
    assert {commit.committer for commit in volume.get_git_log(100)} == {"llmos-lite"}
