"""kill -9 in the middle of whatever an instance does: what was acknowledged is there, and nobody's edit is invented."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pygit2
import pytest
from asgi_client import Client
from fork_server import ForkServer
from kill_points import EDITS, WORK, kill, ok, skill

from llmos_lite.api.app import create_app
from llmos_lite.bootstrap import Services, open_services
from llmos_lite.core.traces.segments import list_segments, read_segment
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import PLATFORM, VolumeRef

MINE, SRE = VolumeRef.user("alice"), VolumeRef.team("sre")
Acks = list[list[Any]]


async def all_is_there(data: Path, before: Acks, acks: Acks) -> None:
    settings = Settings(data=data, llm_provider="offline", fold_seconds=3600.0)
    async with open_services(settings, serve=False) as services:
        key = (data / "admin.key").read_text().strip()
        alice = Client(create_app(services), {"Authorization": f"Bearer {key}", "X-LLMOS-User": "alice"})
        await services.traces.fold()
        await services.archives.finish(MINE)
        for ref in services.volumes.refs():
            services.volumes.adopt(ref)
        await traces(alice, services, said(before + acks, "trace"))
        if said(before + acks, "edit"):
            edits(services, before, acks)
        if said(before, "proposal"):
            await proposals(alice, services, before, acks)
        many(services, acks)
        nobody_invented(services)
        await ok(alice.post("/skills", skill("afterwards", "going on")))
        services.volumes.maintain(MINE, always=True)
    sound(data)


def sound(data: Path) -> None:
    for gitdir in [*data.glob("volumes/*/*/.git"), *data.glob("volumes/*/*/traces.git")]:
        command = ["git", "-c", "safe.directory=*", f"--git-dir={gitdir}", "fsck", "--strict", "--no-dangling"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr


def said(acks: Acks, what: str) -> list[list[Any]]:
    return [rest for kind, *rest in acks if kind == what]


async def traces(alice: Client, services: Services, acknowledged: list[list[Any]]) -> None:
    if (await ok(alice.get("/archives")))["items"]:
        await ok(alice.post("/archives/restore", {"month": "2026-03"}))
    for (trace_id,) in acknowledged:
        await ok(alice.get(f"/traces/{trace_id}"))
    store = services.volumes.open(PLATFORM, MINE).traces
    found = Counter(
        placed.event.id
        for branch, head in store.branches().items()
        for _, blob in list_segments(store, head)
        for placed in read_segment(branch, blob, store.blob(blob))
    )
    assert {trace_id for (trace_id,) in acknowledged} <= found.keys()
    assert set(found.values()) <= {1}
    assert len(found) <= len(acknowledged) + 1, "one may have been on its way"


def edits(services: Services, before: Acks, acks: Acks) -> None:
    """The skills are as after the last acknowledged edit, or as after the one that was on its way."""
    volume = services.volumes.open(PLATFORM, MINE)
    have = {one.skill_id: volume.read_skill(one.skill_id) for one in volume.list_skills()}
    done = [(name, text) for name, text in said(before + acks, "edit")]
    coming = EDITS[len(done) : len(done) + 1] if not before else [("after", "packs")]
    nearly = []
    for edits_ in (done, done + coming):
        state: dict[str, str | None] = dict(edits_)
        nearly.append({name: text for name, text in state.items() if text is not None})
    assert have.keys() in [state.keys() for state in nearly]
    assert any(all(f"\n{state.get(name)}\n" in text for name, text in have.items()) for state in nearly)


async def proposals(alice: Client, services: Services, before: Acks, acks: Acks) -> None:
    volume = services.volumes.open(PLATFORM, SRE)
    have = {one.skill_id for one in volume.list_skills()}
    merged = [name for name, _ in said(acks, "merged")]
    assert have >= set(merged)
    assert len(have) <= len(merged) + 1
    bob = alice.acting_as("bob")
    for (proposal_id,) in said(before, "proposal"):
        found = await ok(bob.get(f"/proposals/{proposal_id}"))
        assert (found["state"] == "merged") == (found["skill_id"] in have), "rows and Git say the same"
        if [found["skill_id"], proposal_id] in said(acks, "approved"):
            assert [review["verdict"] for review in found["reviews"]] == ["approved"]
        if found["state"] == "open":
            await ok(bob.post(f"/proposals/{proposal_id}/reviews", {"verdict": "approve", "digest": found["digest"]}))
            await ok(bob.post(f"/proposals/{proposal_id}/merge", {"digest": found["digest"]}))
    assert {one.skill_id for one in volume.list_skills()} == {"zero", "one", "two"}


def many(services: Services, acks: Acks) -> None:
    volume = services.volumes.open(PLATFORM, MINE)
    turns = said(acks, "many")
    if turns:
        texts = {volume.read_skill(f"many{n}") for n in range(12) if volume.store.entry(f"skills/many{n}")}
        wanted = [{f"turn {turn} of {n}" for n in range(12)} if turn < 2 else set() for turn in range(3)]
        assert texts in wanted[turns[-1][0] : turns[-1][0] + 2]
    for (turn,) in said(acks, "dropped"):
        assert volume.read_skill(f"dropped-{turn}") == f"dropped {turn}"


def nobody_invented(services: Services) -> None:
    """The work trees say what HEAD says, and whatever `local-files` committed are the files that were dropped in."""
    for ref in services.volumes.refs():
        store = services.volumes.open(PLATFORM, ref).store
        root = services.volumes.folder(ref)
        repo = pygit2.Repository(str(root))
        assert repo.status() == {}, ref
        for commit in repo.walk(repo.head.target):
            assert commit.committer.name in {"llmos-lite", "local-files"}
            if commit.committer.name == "local-files":
                changed = repo.diff(commit.parents[0], commit).deltas
                assert all(delta.new_file.path.startswith("skills/dropped-") for delta in changed), commit.message
        repo.free()
        assert not [branch for branch in store.branches() if "local-files" in branch]
        assert not list((root / ".git").glob("llmos-tmp-*"))
        assert not list((root / ".git").rglob("*[!s].lock"))


async def kills(forks: ForkServer, place: Path, work: str, count: int, seed: int) -> int:
    """Kill at moments spread over the whole of the work."""
    prepared = place / "prepared" / "data"
    prepared.parent.mkdir()
    before = kill(forks, work, prepared, prepare=True)[:-1]
    shutil.copytree(prepared, place / "whole", symlinks=True)
    calls = int(kill(forks, work, place / "whole")[-1][1])
    killed = 0
    chance = random.Random(seed)  # noqa: S311 - chance, not secrets
    for number in range(count):
        at = 1 + (number * calls + chance.randrange(calls)) // count
        data = place / f"killed-{at}" / "data"
        shutil.copytree(prepared, data, symlinks=True)
        acks = kill(forks, work, data, at=at)
        killed += not said(acks, "calls")
        try:
            await all_is_there(data, before, acks)
        except BaseException as error:
            error.add_note(f"{work}: killed at call {at} of {calls}, after {acks}")
            raise
        shutil.rmtree(data.parent)
    assert killed >= count - 1, "only the last one may come too late"
    return count


@pytest.mark.parametrize("work", WORK)
async def test_a_kill_loses_nothing_and_invents_nothing(forks: ForkServer, tmp_path: Path, work: str) -> None:
    await kills(forks, tmp_path, work, 3, 1)


@pytest.mark.soak
@pytest.mark.parametrize("work", WORK)
async def test_thirty_kills_lose_nothing_and_invent_nothing(forks: ForkServer, tmp_path: Path, work: str) -> None:
    assert await kills(forks, tmp_path, work, 30, 2) == 30
