"""The power goes at any moment of a fold or an edit of a skill: what was acknowledged is there afterwards, once.

`Recorder` keeps what a program did to its folder, with each sync. A state that a cut may leave is written to the disk,
opened as at the next start, and looked through. That the model finds what it should is shown too: without any one of
the syncs it reports a loss.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pygit2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from power_cut_folder import Recorder, Step, build
from pygit2.enums import FileStatus
from trace_instance import Instance, trace

from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.segments import list_segments, read_segment
from llmos_lite.core.traces.trace import Share
from llmos_lite.engines.durable import sync_folder
from llmos_lite.engines.git import File, LocalGitStore
from llmos_lite.engines.journal_local import LocalJournal
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import LlmosError
from llmos_lite.records import schema
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.git_volume import author_of
from llmos_lite.volumes.manager import VolumeManager

MINE = VolumeRef.user("alice")
QUICK = Path("/dev/shm") if Path("/dev/shm").is_dir() else None  # noqa: S108 - where a disk is not the point
SEGMENT = 1 << 14
Lost = (AssertionError, LlmosError, OSError, KeyError, pygit2.GitError)


@dataclass
class Scenario:
    """What was recorded, and how a state after a cut is looked through."""

    recorder: Recorder
    check: Callable[[Path, list[object], list[object]], None]

    def try_(
        self, upto: int, choose: Callable[[Step], float], forget: Callable[[Step], bool] = lambda _: False
    ) -> None:
        """Cut the power before a step; fail when something is lost."""
        state = self.recorder.after(upto, choose, forget=forget)
        said = [step.said for step in self.recorder.steps if step.kind == "said"]
        heard = [step.said for step in self.recorder.steps[:upto] if step.kind == "said"]
        folder = Path(tempfile.mkdtemp(dir=QUICK)) / "data"
        try:
            build(state, folder)
            self.check(folder, heard, said)
        finally:
            shutil.rmtree(folder.parent)


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def hear_of_repositories(recorder: Recorder, patch: pytest.MonkeyPatch) -> None:
    """libgit2 makes repositories past the recorder, and syncs nothing."""
    make = pygit2.init_repository

    def making(path: str, **given: object) -> pygit2.Repository:
        made = make(path, **given)
        recorder.found(Path(path))
        return made

    patch.setattr(pygit2, "init_repository", making)


# Folding


def opened(data: Path) -> Instance:
    """Return an instance with a small journal."""
    instance = Instance(data)
    instance.journal.close()
    instance.journal = LocalJournal(data / "journal", segment=SEGMENT)
    instance.log = TraceLog(instance.volumes, instance.journal, instance.catalog)
    return instance


async def folding(data: Path, recorder: Recorder) -> None:
    """Record and fold, three times: the first makes the volumes, the last has two months."""
    instance = opened(data)
    await schema.prepare(instance.database)
    for turn in range(3):
        for number in range(turn * 10, turn * 10 + 4):
            one = trace(number * (8000 if turn == 2 else 1), team="sre" if turn else "", share=Share.DIGEST)
            await instance.log.record(one)
            recorder.said(("user:alice", one.id))
        await instance.log.fold()
        recorder.said("folded")
    await instance.close()


def in_git(volumes: VolumeManager, ref: VolumeRef) -> Counter[str]:
    store = volumes.open(PLATFORM, ref).traces
    return Counter(
        placed.event.id
        for branch, head in store.branches().items()
        for _, blob in list_segments(store, head)
        for placed in read_segment(branch, blob, store.blob(blob))
    )


def sound(gitdir: Path) -> None:
    """Read all that the refs reach; libgit2 compares each object with its hash."""
    repo = pygit2.Repository(str(gitdir))
    assert Path(repo.path, "HEAD").read_text() == "ref: refs/heads/main\n", "stock git needs it"
    todo = [repo.references[name].target for name in repo.references]
    seen: set[pygit2.Oid] = set()
    while todo:
        oid = todo.pop()
        if oid in seen:
            continue
        seen.add(oid)
        found = repo[oid]
        if isinstance(found, pygit2.Commit):
            todo += [found.tree_id, *found.parent_ids]
        elif isinstance(found, pygit2.Tree):
            todo += [entry.id for entry in found]
    repo.free()


def check_fold(data: Path, heard: list[object], said: list[object]) -> None:
    instance = opened(data)
    journal, log = instance.journal, instance.log
    try:
        for volume in journal.backlog():
            while (batch := log._folder._commit(volume)[0]) is not None:
                journal.finish(batch)
        assert journal.pending() == []
        refs = instance.volumes.refs()
        found = sum((in_git(instance.volumes, ref) for ref in refs), Counter[str]())
        acknowledged = {one[1] for one in heard if isinstance(one, tuple)}
        every = {one[1] for one in said if isinstance(one, tuple)}
        assert acknowledged <= found.keys(), "acknowledged and not there"
        assert set(found.values()) <= {1}, "there twice"
        mine = in_git(instance.volumes, MINE) if MINE in refs else Counter[str]()
        assert mine.keys() <= every, "nobody wrote this"
        for ref in refs:
            assert instance.volumes.open(PLATFORM, ref).store.log(limit=1)
            sound(data / "volumes" / _folder(ref) / "traces.git")
            sound(data / "volumes" / _folder(ref))
    finally:
        journal.close()
        instance.volumes.close()


def _folder(ref: VolumeRef) -> str:
    return f"{'users' if ref == MINE else 'teams'}/{ref.id}"


@pytest.fixture(scope="module")
def fold(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Scenario:
    data = tmp_path_factory.mktemp("fold") / "data"
    data.mkdir()
    recorder = Recorder(data, ignored=("rows.db",))
    with recorder.recording(patch):
        hear_of_repositories(recorder, patch)
        asyncio.run(folding(data, recorder))
    recorder.check()
    return Scenario(recorder, check_fold)


# Editing skills

Heads = dict[str, str]


def put_by_hand(path: Path, text: str) -> None:
    """Write a file as a careful editor does: what somebody has on the disk is not our promise."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    for folder in (path.parent, path.parent.parent):
        sync_folder(folder)


def editing(data: Path, recorder: Recorder) -> None:
    """Write, change, run, drop in, move, propose and delete skills, with the branches said after each step."""
    volumes = VolumeManager(data, Signer.open(data / "keys"))
    volume = volumes.open(PLATFORM, MINE, write=True)
    store, root = volume.store, volumes.folder(MINE)
    alice = author_of("alice")

    def said() -> None:
        recorder.said(store.branches())

    said()
    for name, text in [("a", "One"), ("b", "Two"), ("a", "Three"), ("a", "Four")]:
        volume.write_skill(name, f"---\nname: {name}\ndescription: {text}.\n---\n", author=alice)
        said()
    store.commit({"skills/b/run.sh": File(b"echo", executable=True)}, "A script", alice)
    said()
    put_by_hand(root / "skills" / "c.md", "Dropped in")
    put_by_hand(root / "skills" / "a" / "SKILL.md", "Edited by hand")
    store.adopt()
    said()
    volume.write_skill("c", "---\nname: c\ndescription: Moved.\n---\n", author=alice)
    said()
    store.create_branch("pr/alice/a")
    said()
    store.commit({"skills/a/SKILL.md": b"Proposed"}, "Propose", alice, branch="pr/alice/a")
    said()
    volume.delete_skill("b")
    said()
    store.delete_branch("pr/alice/a")
    said()
    volumes.close()


def check_edits(data: Path, heard: list[object], said: list[object]) -> None:
    volumes = VolumeManager(data, Signer.open(data / "keys"))
    try:
        if not heard and not volumes.exists(MINE):
            return
        store = volumes.open(PLATFORM, MINE, write=True).store
        known = [one for one in said if isinstance(one, dict)]
        found = store.branches()
        nearly = known[max(len(heard) - 1, 0) : len(heard) + 1]
        assert found in nearly, "the branches are neither as acknowledged nor as after the next step"
        root = volumes.folder(MINE)
        sound(root)
        if len(heard) != HAND and len(heard) != HAND - 1:  # there somebody's edit may be found
            assert volumes.adopt(MINE) is None, "an edit that nobody made"
            assert store.branches() == found, "a conflict that nobody made"
        volumes.adopt(MINE)
        repo = pygit2.Repository(str(root))
        # A new file in the index that is nowhere else may be somebody's `git add`, which stays.
        assert set(repo.status().values()) <= {FileStatus.INDEX_NEW | FileStatus.WT_DELETED}
        repo.free()
        on_disk = {str(path.relative_to(root)): path.read_bytes() for path in (root / "skills").rglob("*.*")}
        in_head = {path: store.read(path) for path in on_disk}
        assert on_disk == in_head
        assert len(on_disk) == sum(1 for entry in _all(store, "skills") if entry)
        store.commit({"skills/z/SKILL.md": b"z"}, "It goes on", author_of("alice"))
    finally:
        volumes.close()


HAND = 7
"""Heard when the edits by hand were adopted."""


def _all(store: LocalGitStore, prefix: str) -> Iterator[str]:
    for entry in store.tree(prefix):
        if entry.is_tree:
            yield from _all(store, entry.path)
        else:
            yield entry.path


@pytest.fixture(scope="module")
def edits(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Scenario:
    data = tmp_path_factory.mktemp("edits") / "data"
    data.mkdir()
    recorder = Recorder(data)
    with recorder.recording(patch):
        hear_of_repositories(recorder, patch)
        editing(data, recorder)
    recorder.check()
    return Scenario(recorder, check_edits)


# Cutting

Chance = Callable[[random.Random, Step], float]
CHANCES: dict[str, Chance] = {
    "nothing": lambda _chance, _step: 0.0,
    "everything": lambda _chance, _step: 1.0,
    "names alone": lambda _chance, step: float(step.kind == "names"),
    "content alone": lambda _chance, step: float(step.kind != "names"),
    "anything": lambda chance, _step: chance.choice([0.0, 1.0, chance.random()]),
}
"""What is there of that which nobody synced."""

SCENARIOS = ["fold", "edits"]


def cut(scenario: Scenario, upto: int, what: str, seed: int, forget: Callable[[Step], bool] = lambda _: False) -> None:
    chance = random.Random(seed)  # noqa: S311 - chance, not secrets
    scenario.try_(upto, lambda step: CHANCES[what](chance, step), forget)


@pytest.mark.parametrize("name", SCENARIOS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.floats(0, 1), what=st.sampled_from(sorted(CHANCES)), seed=st.integers(0, 2**32))
def test_a_cut_of_power_at_any_moment_loses_nothing(
    request: pytest.FixtureRequest, name: str, part: float, what: str, seed: int
) -> None:
    scenario: Scenario = request.getfixturevalue(name)
    cut(scenario, round(part * len(scenario.recorder.steps)), what, seed)


@pytest.mark.soak
@pytest.mark.parametrize("what", CHANCES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_cut_of_power_at_every_moment_loses_nothing(request: pytest.FixtureRequest, name: str, what: str) -> None:
    scenario: Scenario = request.getfixturevalue(name)
    for upto in range(len(scenario.recorder.steps) + 1):
        for seed in range(4 if what == "anything" else 1):
            cut(scenario, upto, what, seed)


NEEDED = [
    ("fold", r"/journal/\d+\.seg$"),
    ("fold", r"/journal$"),
    ("fold", r"^$"),  # the data folder itself
    ("fold", r"/volumes$"),
    ("fold", r"/users$"),
    ("fold", r"traces\.git$"),
    ("fold", r"traces\.git/HEAD$"),
    ("fold", r"objects/pack$"),
    ("fold", r"\.pack$"),
    ("fold", r"\.idx$"),
    ("fold", r"refs/heads$"),
    ("fold", r"refs/heads/\d{4}-\d\d$"),
    ("edits", r"objects/pack$"),
    ("edits", r"\.pack$"),
    ("edits", r"\.idx$"),
    ("edits", r"refs/heads/main$"),
    ("edits", r"refs/heads$"),
    ("edits", r"refs/heads/pr$"),
    ("edits", r"refs/heads/pr/alice$"),
    ("edits", r"/SKILL\.md$"),
    ("edits", r"/skills/a$"),
    ("edits", r"/skills$"),
    ("edits", r"/llmos-checkout$"),
]


@pytest.mark.parametrize(("name", "which"), NEEDED)
def test_without_any_one_sync_the_model_reports_a_loss(request: pytest.FixtureRequest, name: str, which: str) -> None:
    scenario: Scenario = request.getfixturevalue(name)
    steps = scenario.recorder.steps
    assert reports(scenario, lambda step: step.node is not None and re.search(which, step.node.where) is not None), (
        which,
        {step.node.where for step in steps if step.kind == "sync" and step.node},
    )


def reports(scenario: Scenario, forgotten: Callable[[Step], bool]) -> bool:
    """Tell whether a loss is found when some syncs are taken as never called."""
    steps = scenario.recorder.steps
    said = [at for at, step in enumerate(steps, 1) if step.kind == "said"]

    def unlucky(step: Step) -> float:
        """Lose what those syncs are for, and nothing else."""
        nodes = [folder for folder, _, _ in step.names] if step.kind == "names" else [step.node]
        return float(not any(forgotten(Step("", node)) for node in nodes))

    moments = [*reversed(said), *range(len(steps), 0, -1)]
    for upto in moments:
        try:
            scenario.try_(upto, unlucky, forgotten)
            cut(scenario, upto, "nothing", upto, forgotten)
            cut(scenario, upto, "anything", upto, forgotten)
        except Lost:
            return True
    return False
