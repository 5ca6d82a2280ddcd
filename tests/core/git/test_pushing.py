"""What a push is told when something of ours goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pygit2
import pytest

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.git.pushing import TO_MAIN, TO_REVIEW, Push, Pushes
from llmos_lite.core.git.repositories import Repository
from llmos_lite.core.skills.scrub import Scrubber
from llmos_lite.engines.git import Author
from llmos_lite.engines.git_hooks import MOST_UPDATES, Arrival, Update
from llmos_lite.engines.signing import Signer
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager
from llmos_lite.volumes.receiving import gitdir_of

ALICE, REF = Author("alice", "alice@localhost"), VolumeRef.user("alice")


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[VolumeManager]:
    volumes = VolumeManager(tmp_path, Signer.open(tmp_path / "keys"))
    volumes.create(REF)
    yield volumes
    volumes.close()


@pytest.fixture
def push(volumes: VolumeManager) -> Push:
    """Return a push of alice; there are no rows, so a proposal cannot be kept."""
    repository = Repository(REF, gitdir_of(volumes, REF), ("refs/heads",), writable=True)
    return Pushes(volumes, None, {}).by(Actor("alice"), repository)  # type: ignore[arg-type]


async def nothing(_ref: VolumeRef) -> list[str]:
    return []


def next_commit(volumes: VolumeManager) -> tuple[str, str]:
    """Return where main is, and a commit on top of it that is on no branch of a proposal."""
    store = volumes.open(PLATFORM, REF, write=True).store
    old = store.create_branch("aside")
    return old, store.commit({"memory/x.md": b"X"}, "X", ALICE, branch="aside").oid


async def test_an_accepted_push_moves_main(push: Push, volumes: VolumeManager) -> None:
    old, new = next_commit(volumes)
    arrival = Arrival(None, (Update(TO_MAIN, old, new),))
    assert await push.check(arrival) == []
    (moved,), said = await push.apply(arrival)
    assert (moved.problem, said) == ("", [])
    assert (volumes.folder(REF) / "memory/x.md").read_bytes() == b"X"


async def test_main_that_moves_between_the_two_hooks_is_not_moved_back(push: Push, volumes: VolumeManager) -> None:
    old, new = next_commit(volumes)
    arrival = Arrival(None, (Update(TO_MAIN, old, new),))
    assert await push.check(arrival) == []
    store = volumes.open(PLATFORM, REF, write=True).store
    head = store.commit({"memory/y.md": b"Y"}, "Y", ALICE).oid
    (moved,), said = await push.apply(arrival)
    assert "has moved meanwhile" in moved.problem
    assert said == ["Read it again, then repeat the change."]
    assert store.head() == head


async def test_an_edit_by_hand_between_the_two_hooks_wins(push: Push, volumes: VolumeManager) -> None:
    old, new = next_commit(volumes)
    arrival = Arrival(None, (Update(TO_MAIN, old, new),))
    assert await push.check(arrival) == []
    (volumes.folder(REF) / "memory/x.md").write_text("By hand")
    (moved,), _ = await push.apply(arrival)
    assert "has moved meanwhile" in moved.problem
    store = volumes.open(PLATFORM, REF).store
    assert store.read("memory/x.md") == b"By hand"


async def test_a_mistake_of_ours_refuses_and_tells_the_log(
    push: Push, volumes: VolumeManager, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = next_commit(volumes)
    arrival = Arrival(None, (Update(TO_REVIEW, "", new),))
    assert await push.check(arrival) == []
    (moved,), _ = await push.apply(arrival)
    assert moved.problem == "the server's log says why"
    assert "could not be stored" in caplog.text
    broken = Arrival(None, (Update(TO_MAIN, old, None),))  # type: ignore[arg-type]
    assert "cannot be deleted" in (await push.check(broken))[0]
    push._volumes = None  # type: ignore[assignment]
    assert await push.check(arrival) == ["The push could not be checked; the server's log says why."]


async def test_a_broken_volume_is_named(push: Push, volumes: VolumeManager) -> None:
    old, new = next_commit(volumes)
    (gitdir_of(volumes, REF) / "refs/heads/main").write_text("nothing\n")
    said = await push.check(Arrival(None, (Update(TO_MAIN, old, new),)))
    assert "is broken" in said[0]


async def test_a_push_of_very_many_refs_is_refused(push: Push, volumes: VolumeManager) -> None:
    old, new = next_commit(volumes)
    arrival = Arrival(None, (Update(TO_MAIN, old, new),) * (MOST_UPDATES + 1))
    assert await push.check(arrival) == ["One push may name 100 refs."]


async def test_a_link_in_the_middle_of_a_push_is_found_though_a_file_of_the_same_bytes_follows(
    push: Push, volumes: VolumeManager
) -> None:
    old = volumes.open(PLATFORM, REF).store.head() or ""
    repo = pygit2.Repository(str(gitdir_of(volumes, REF)))
    blob, me = repo.create_blob(b"../../../keys/signing"), pygit2.Signature("Alice", "alice@example.org")
    tip = repo[old].id
    for mode in (0o120000, 0o100644):
        memory = repo.TreeBuilder()
        memory.insert("x.md", blob, mode)
        root = repo.TreeBuilder(repo[old].peel(pygit2.Commit).tree)
        root.insert("memory", memory.write(), 0o040000)
        tip = repo.create_commit(None, me, me, "X", root.write(), [tip])
    repo.free()
    said = await push.check(Arrival(None, (Update(TO_MAIN, old, str(tip)),)))
    assert len(said) == 1
    assert "memory/x.md: is a symbolic link" in said[0]


async def test_a_commit_that_was_scrubbed_does_not_come_back_with_its_message(
    push: Push, volumes: VolumeManager, tmp_path: Path
) -> None:
    store = volumes.open(PLATFORM, REF, write=True).store
    said = store.commit({"memory/x.md": b"X"}, "The key is hunter2xyz", ALICE).oid
    after = store.commit({"memory/y.md": b"Y"}, "Y", ALICE).oid
    clone = pygit2.clone_repository(str(gitdir_of(volumes, REF)), str(tmp_path / "clone"), bare=True)
    await Scrubber(volumes, nothing, nothing).scrub(Actor("alice"), REF, texts=["hunter2xyz"])
    new = store.head() or ""
    repo, me = pygit2.Repository(str(gitdir_of(volumes, REF))), pygit2.Signature("Alice", "alice@example.org")
    repo.remotes.create_anonymous(clone.path).fetch(["refs/heads/main"])
    merge = repo.create_commit(None, me, me, "Merge", repo[new].peel(pygit2.Commit).tree.id, [new, after])
    told = await push.check(Arrival(None, (Update(TO_MAIN, new, str(merge)),)))
    assert {line.partition(":")[0] for line in told} == {f"commit {oid[:10]}" for oid in (said, after)}
    assert "clone again" in told[0]
