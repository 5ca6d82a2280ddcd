"""A volume that nobody tampered with is sound; every way of tampering is told."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pygit2
import pytest
from planted import fsck

from llmos_lite.core.accounts.permissions import EVERYTHING, Actor, Role
from llmos_lite.core.verify import MOST_PROBLEMS, Integrity, Verified, verify
from llmos_lite.engines.git import PLATFORM as LLMOS
from llmos_lite.engines.git import Author, LocalGitStore
from llmos_lite.engines.git_audit import Missing, history, parse
from llmos_lite.engines.git_objects import COMMIT, Draft, new_object
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import Forbidden, NotFound, Unavailable
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

ALICE = VolumeRef.user("alice")
ADMIN = Actor("admin", Role.SYSTEM_ADMIN, scopes=EVERYTHING)
PERSON = Author("Alice", "alice@example.org")


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.open(tmp_path / "keys")


@pytest.fixture
def volumes(tmp_path: Path, signer: Signer) -> VolumeManager:
    return VolumeManager(tmp_path, signer)


@pytest.fixture
def volume(volumes: VolumeManager) -> GitVolume:
    volume = volumes.open(PLATFORM, ALICE, write=True)
    for number in range(3):
        volume.write_skill("deploy", f"---\nname: deploy\ndescription: How to deploy {number}.\n---\n", author=PERSON)
    volume.create_branch("pr/bob/deploy")
    volume.traces.commit({"traces/2026/11/01/00/a.jsonl": b"{}\n"}, "Keep 1 event", LLMOS, branch="2026-11")
    return volume


def gitdir(volume: GitVolume) -> Path:
    assert isinstance(volume.store, LocalGitStore)
    return volume.store.gitdir


def look(path: Path, signer: Signer, *, objects: bool = False, since: tuple[str, ...] = ()) -> Verified:
    return verify(path, signer, Verified("user:alice", "skills"), objects=objects, since=since)


def codes(found: Verified) -> set[str]:
    return {problem.code for problem in found.problems}


def add(path: Path, committer: Author, signature: str = "", *, seconds: int = 0, signer: Signer | None = None) -> str:
    """Put a commit on main past everybody, as somebody with access to the disk."""
    repo = pygit2.Repository(str(path))
    head = repo.references["refs/heads/main"].target
    tree = repo[head].peel(pygit2.Commit).tree_id
    at = seconds or int(time.time())
    draft = Draft(bytes.fromhex(str(tree)), [str(head)], PERSON, committer, at, "Planted")
    text = signer.sign(draft.payload()) if signer else signature
    data = draft.signed(text) if text else draft.payload()
    oid = str(repo.odb.write(pygit2.enums.ObjectType.COMMIT, data))
    repo.references.create("refs/heads/main", oid, force=True)
    repo.free()
    return oid


async def test_a_volume_is_sound(volumes: VolumeManager, volume: GitVolume, signer: Signer) -> None:
    heard: list[tuple[int, int]] = []
    skills, traces = await Integrity(volumes).verify(ADMIN, ALICE, progress=lambda *told: heard.append(told))
    assert (skills.sound, skills.commits, skills.platform, skills.persons) == (True, 4, 4, 0)
    assert (traces.sound, traces.commits, traces.platform) == (True, 1, 1)
    assert skills.keys == {signer.known()[0].fingerprint: 4}
    assert skills.heads == {name: volume.store.head() for name in ("refs/heads/main", "refs/heads/pr/bob/deploy")}
    assert (skills.strange, skills.problems) == ([], [])


async def test_only_an_admin_of_the_volume_may(volumes: VolumeManager, volume: GitVolume) -> None:
    assert volume.ref == ALICE
    team = VolumeRef.team("sre")
    volumes.create(team)
    for actor, ref, error in [
        (Actor("bob"), ALICE, NotFound),
        (Actor("bob"), team, NotFound),
        (Actor("bob", teams={"sre": Role.USER}), team, Forbidden),
        (Actor("bob"), VolumeRef.user("bob"), NotFound),
    ]:
        with pytest.raises(error):
            await Integrity(volumes).verify(actor, ref)
    assert len(await Integrity(volumes).verify(Actor("alice"), ALICE, objects=False)) == 2


def test_commits_of_people_are_counted(volume: GitVolume, signer: Signer, tmp_path: Path) -> None:
    add(gitdir(volume), PERSON)
    add(gitdir(volume), PERSON, "-----BEGIN PGP SIGNATURE-----\n\nnonsense\n-----END PGP SIGNATURE-----\n")
    add(gitdir(volume), PERSON, signer=Signer.open(tmp_path / "own"))
    found = look(gitdir(volume), signer)
    assert (found.sound, found.platform, found.persons) == (True, 4, 3)


@pytest.mark.parametrize("name", ["llmos-lite", "local-files"])
@pytest.mark.parametrize("signed", [False, True])
def test_nobody_passes_for_llmos(volume: GitVolume, signer: Signer, tmp_path: Path, name: str, signed: bool) -> None:  # noqa: FBT001
    stranger = Signer.open(tmp_path / "own") if signed else None
    forged = add(gitdir(volume), Author(name, "someone@example.org"), signer=stranger)
    found = look(gitdir(volume), signer)
    assert [(problem.where, problem.code) for problem in found.problems] == [(forged, "forged")]


def test_a_changed_commit_keeps_no_signature(volume: GitVolume, signer: Signer) -> None:
    """The object is a whole one, and only its signature tells."""
    store = volume.store
    assert isinstance(store, LocalGitStore)
    data = store._objects.raw(store.head() or "").replace(b"Update skill: deploy", b"Update skill: DEPLOY")
    repo = pygit2.Repository(str(store.gitdir))
    oid = repo.odb.write(pygit2.enums.ObjectType.COMMIT, data)
    repo.references.create("refs/heads/main", oid, force=True)
    assert fsck(store.gitdir) == ""
    found = look(store.gitdir, signer)
    assert [(problem.where, problem.code) for problem in found.problems] == [(str(oid), "signature.bad")]


def test_traces_are_written_by_llmos_alone(volume: GitVolume, signer: Signer) -> None:
    path = volume.traces.gitdir  # type: ignore[attr-defined]  # it is a folder
    repo = pygit2.Repository(str(path))
    tip = repo.references["refs/heads/2026-11"].target
    repo.create_commit(
        "refs/heads/2026-11",
        pygit2.Signature("Alice", "a@example.org"),
        pygit2.Signature("Alice", "a@example.org"),
        "Planted",
        repo[tip].peel(pygit2.Commit).tree_id,
        [tip],
    )
    found = verify(path, signer, Verified("user:alice", "traces"), people=False, objects=False)
    assert codes(found) == {"forged"}


@pytest.mark.parametrize("branch", ["", "pr/bob/aside"])
def test_what_happens_to_proposals_is_written_by_llmos_alone(volume: GitVolume, signer: Signer, branch: str) -> None:
    volume.notes.commit({"2026-11/x/000001.json": b"{}"}, "Proposal x: opened by bob", PERSON, branch="proposals")
    path = gitdir(volume)
    assert look(path, signer).sound
    repo, ref = pygit2.Repository(str(path)), "refs/llmos/proposals"
    tip = repo.references[ref].peel(pygit2.Commit)
    mallory = pygit2.Signature("Mallory", "mallory@example.org")
    forged = repo.create_commit(None, mallory, mallory, "Approved by boss", tip.tree.id, [tip.id])
    repo.references[ref].set_target(forged)
    if branch:  # where people's commits are, too
        repo.references.create(f"refs/heads/{branch}", forged)
    repo.free()
    assert [(one.code, one.where) for one in look(path, signer).problems] == [("forged", str(forged))]


@pytest.mark.parametrize("name", ["shallow", "info/grafts", "objects/info/alternates"])
def test_history_that_git_does_not_see_is_told(volume: GitVolume, signer: Signer, name: str) -> None:
    path = gitdir(volume)
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).write_text(f"{volume.store.head()}\n" if "objects" not in name else "/nowhere\n")
    assert ("hidden", name) in {(one.code, one.where) for one in look(path, signer).problems}


def test_a_retired_key_signs_nothing_new_and_a_revoked_one_nothing_after_its_time(
    volume: GitVolume, signer: Signer, tmp_path: Path
) -> None:
    thief_dir = tmp_path / "thief"
    subprocess.run(["cp", "-r", tmp_path / "keys", thief_dir], check=True)
    thief, path = Signer.open(thief_dir), gitdir(volume)
    fresh = signer.rotate()
    found = look(path, signer)
    assert found.sound
    now = int(time.time())
    late = add(path, LLMOS, seconds=now + 86_400, signer=thief)
    found = look(path, signer)
    assert [(problem.where, problem.code) for problem in found.problems] == [(late, "signature.retired")]
    signer.revoke(signer.known()[1].fingerprint, now - 86_400)
    found = look(path, signer)
    assert [problem.code for problem in found.problems] == ["signature.revoked"] * 5
    volume.write_skill("deploy", "---\nname: deploy\ndescription: Once more.\n---\n")
    assert look(path, signer).keys == {fresh.fingerprint: 1}


def test_only_what_is_new_is_looked_at(volume: GitVolume, signer: Signer) -> None:
    before = look(gitdir(volume), signer)
    volume.write_skill("deploy", "---\nname: deploy\ndescription: Once more.\n---\n")
    found = look(gitdir(volume), signer, since=tuple(before.heads.values()))
    assert (found.sound, found.commits) == (True, 1)


def test_history_that_was_cut_off_is_told(volume: GitVolume, signer: Signer) -> None:
    path, before = gitdir(volume), look(gitdir(volume), signer)
    first = volume.store.log()[-1].oid
    (path / "refs/heads/main").write_text(f"{first}\n")
    (path / "refs/heads/pr/bob/deploy").unlink()
    assert look(path, signer).sound
    found = look(path, signer, since=tuple(set(before.heads.values())))
    assert codes(found) == {"rewound"}


async def test_a_commit_that_is_nowhere_any_more_is_told(volumes: VolumeManager, volume: GitVolume) -> None:
    integrity = Integrity(volumes)
    heads = [oid for one in await integrity.verify(ADMIN, ALICE, objects=False) for oid in one.heads.values()]
    again = await integrity.verify(ADMIN, ALICE, objects=False, since=heads)
    assert [(one.sound, one.commits) for one in again] == [(True, 0), (True, 0)]
    assert volume.store.head() in heads
    skills, _ = await integrity.verify(ADMIN, ALICE, objects=False, since=[*heads, "0" * 39 + "1"])
    assert codes(skills) == {"rewound"}


@pytest.mark.parametrize("text", ["", "0" * 40, "nonsense", "ref: refs/heads/other"])
def test_a_ref_that_leads_nowhere_is_told(volume: GitVolume, signer: Signer, text: str) -> None:
    path = gitdir(volume)
    (path / "refs/heads/pr/bob/deploy").write_text(text)
    found = look(path, signer)
    assert codes(found) == ({"missing"} if text == "0" * 40 else {"ref.broken"})


def test_links_strange_refs_and_a_lost_main_are_told(volume: GitVolume, signer: Signer) -> None:
    path = gitdir(volume)
    head = (path / "refs/heads/main").read_text().strip()
    (path / "refs/heads/pr/bob/link").symlink_to("/etc/hostname")
    (path / "refs/tags/one").write_text(head)
    (path / "packed-refs").write_text(f"# pack-refs with: peeled\n{head} refs/stash\n^{head}\n")
    found = look(path, signer)
    assert found.strange == ["refs/stash", "refs/tags/one"]
    assert codes(found) == {"ref.broken"}
    (path / "refs/heads/main").unlink()
    assert codes(look(path, signer)) == {"ref.broken", "ref.missing"}


def test_a_missing_and_a_damaged_object_are_told(volume: GitVolume, signer: Signer) -> None:
    path = gitdir(volume)
    assert look(path, signer, objects=True).sound
    packs = sorted((path / "objects/pack").glob("*.pack"), key=os.path.getmtime)
    packs[1].chmod(0o600)
    data = packs[1].read_bytes()
    packs[1].write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    assert "object" in codes(look(path, signer, objects=True))
    packs[0].with_suffix(".idx").unlink()
    packs[0].unlink()
    assert {"missing", "object"} <= codes(look(path, signer, objects=True))


def test_what_is_no_repository_is_told(tmp_path: Path, signer: Signer) -> None:
    with pytest.raises(Unavailable):
        list(history(tmp_path, ["0" * 40]))
    LocalGitStore(tmp_path / "x.git", signer=signer, bare=True).close()
    with pytest.raises(Missing):
        list(history(tmp_path / "x.git", ["0" * 40]))


async def test_a_broken_volume_is_a_problem_of_its_own(volumes: VolumeManager, volume: GitVolume) -> None:
    (gitdir(volume) / "HEAD").unlink()
    skills, traces = await Integrity(volumes).verify(ADMIN, ALICE, objects=False)
    assert not skills.sound
    assert traces.sound


def test_problems_are_bounded(signer: Signer) -> None:
    found = Verified("user:alice", "skills")
    for number in range(MOST_PROBLEMS + 5):
        found.complain(str(number), "x", "Wrong.")
    assert (len(found.problems), found.more) == (MOST_PROBLEMS, 5)
    assert signer.known()


def verify_commit(tree: Path, rev: str) -> bool:
    """Ask stock git, without any options of ours."""
    command = ["git", "-c", "safe.directory=*", "-C", str(tree), "verify-commit", rev]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


async def test_keys_are_changed_by_a_system_admin_alone(volumes: VolumeManager, volume: GitVolume) -> None:
    integrity = Integrity(volumes)
    with pytest.raises(Forbidden):
        await integrity.rotate(Actor("alice"))
    with pytest.raises(Forbidden):
        await integrity.revoke(Actor("alice"), "x")
    (first,) = await integrity.keys()
    await integrity.rotate(ADMIN)
    volume.write_skill("deploy", "---\nname: deploy\ndescription: Once more.\n---\n")
    await integrity.revoke(ADMIN, first.fingerprint, int(time.time()) + 60)
    tree = volumes.folder(ALICE)
    for rev in ("HEAD", "HEAD~1", "HEAD~3"):
        assert verify_commit(tree, rev)
    lines = (tree.parents[2] / "allowed_signers").read_text().splitlines()
    assert len(lines) == 2
    assert "valid-before" in lines[1]
    assert [key.state for key in await integrity.keys()] == ["current", "revoked"]


def test_a_commit_is_split_as_git_signs_it(signer: Signer) -> None:
    draft = Draft(bytes(20), [], PERSON, LLMOS, 1_790_000_000, "Subject\n\ngpgsig stands in the text, too\n more")
    found = parse("0" * 40, draft.signed(signer.sign(draft.payload())))
    assert found.payload == draft.payload()
    assert signer.verify(found.payload, found.signature)
    assert (found.committer, found.email, found.time) == ("llmos-lite", "llmos@localhost", 1_790_000_000)
    twice = draft.signed("a\nb").replace(b"gpgsig a", b"gpgsig-sha256 c\n d\ngpgsig a")
    assert parse("0" * 40, twice)[4:] == (draft.payload(), "a\nb")
    assert parse("0" * 40, b"nonsense").payload == b"nonsense\n"
    assert new_object(COMMIT, draft.payload()).oid
