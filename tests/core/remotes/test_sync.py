"""What a look at a remote does, on real repositories: forward on both sides, and otherwise a proposal."""

from __future__ import annotations

from pathlib import Path

import pytest
from git_server import skill
from remote_people import ADMIN, ALICE, CHIEF, SRE
from remote_server import GitHost, bare, blob, commit, git, has

from llmos_lite.bootstrap import Services
from llmos_lite.core.remotes import mirrors
from llmos_lite.core.remotes.service import Secret
from llmos_lite.errors import Conflict
from llmos_lite.records.remotes import RemoteRecord
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.git_volume import GitVolume


async def added(services: Services, url: object, **values: str | bool) -> RemoteRecord:
    said = {"url": str(url), "timing": "manual"} | values
    services.volumes.create(SRE)
    return (await services.remotes.add(ADMIN, SRE, "origin", said)).row


async def synced(services: Services) -> RemoteRecord:
    return (await services.remotes.sync(CHIEF, SRE, "origin")).row


async def both(services: Services, disk: Path, **values: str | bool) -> None:
    """Add a remote that has what the volume has."""
    await added(services, f"file://{disk}", **({"direction": "both"} | values))
    assert (await synced(services)).state == "ok"


def skills(volume: GitVolume) -> set[str]:
    return {one.skill_id for one in volume.list_skills()}


# Forward


async def test_an_empty_remote_gets_everything_and_goes_forward(
    services: Services, volume: GitVolume, disk: Path
) -> None:
    await added(services, f"file://{disk}")
    row = await synced(services)
    assert (row.state, row.problem, row.failures) == ("ok", "", 0)
    assert git(disk, "rev-parse", "main") == volume.store.head() == row.theirs
    volume.write_skill("deploy", skill("deploy"))
    assert (await synced(services)).theirs == git(disk, "rev-parse", "main") == volume.store.head()
    assert git(disk, "fsck", "--strict") == ""
    assert git(disk, "for-each-ref", "--format=%(refname)") == "refs/heads/main"


async def test_what_is_new_there_is_pulled_with_the_work_tree(
    services: Services, volume: GitVolume, disk: Path
) -> None:
    await both(services, disk)
    made = commit(disk, {"skills/deploy/SKILL.md": skill("deploy")})
    row = await synced(services)
    assert (row.state, row.problem, row.head) == ("ok", "", made)
    assert volume.store.head() == made
    assert (services.volumes.folder(SRE) / "skills/deploy/SKILL.md").read_text() == skill("deploy")


async def test_another_branch_there_may_be_meant(services: Services, volume: GitVolume, disk: Path) -> None:
    await both(services, disk, branch="trunk")
    assert git(disk, "rev-parse", "trunk") == volume.store.head()


async def test_pulling_alone_pushes_nothing(services: Services, volume: GitVolume, disk: Path) -> None:
    await added(services, f"file://{disk}", direction="pull")
    row = await synced(services)
    assert (row.state, row.problem) == ("refused", "There is no branch main there to pull from.")
    git(disk, "fetch", "-q", str(services.volumes.folder(SRE)), "main:main")
    there = git(disk, "rev-parse", "main")
    volume.write_skill("ours", skill("ours"))
    row = await synced(services)
    assert (row.state, row.ahead, row.behind) == ("ok", 1, 0)
    assert git(disk, "rev-parse", "main") == there


# Not forward


async def test_diverged_histories_become_a_proposal(services: Services, volume: GitVolume, disk: Path) -> None:
    await both(services, disk)
    theirs = commit(disk, {"skills/theirs/SKILL.md": skill("theirs")}, "Their skill")
    volume.write_skill("ours", skill("ours"))
    row = await synced(services)
    assert (row.state, row.ahead, row.behind, row.proposed) == ("diverged", 1, 1, theirs)
    assert "nothing is forced. Merge the proposal of the branch pr/remote-origin/main" in row.problem
    assert git(disk, "rev-parse", "main") == theirs
    (view,) = (await services.proposals.page(CHIEF)).items
    assert (view.proposal.branch, view.proposal.reason) == ("pr/remote-origin/main", "Their skill")
    await services.proposals.merge(CHIEF, view.proposal.proposal_id)
    assert (await synced(services)).state == "ok"
    assert git(disk, "rev-parse", "main") == volume.store.head()
    assert {"ours", "theirs"} <= skills(volume)


async def test_a_proposal_is_renewed_and_one_that_was_closed_does_not_come_back(
    services: Services, volume: GitVolume, disk: Path
) -> None:
    await both(services, disk)
    commit(disk, {"skills/theirs/SKILL.md": skill("theirs")}, "One")
    volume.write_skill("ours", skill("ours"))
    await synced(services)
    commit(disk, {"skills/theirs/SKILL.md": skill("theirs", "Better.\n")}, "Two")
    await synced(services)
    (view,) = (await services.proposals.page(CHIEF, state="open")).items
    assert view.proposal.reason == "Two"
    await services.proposals.close(CHIEF, view.proposal.proposal_id)
    row = await synced(services)
    assert row.state == "diverged"
    assert "The proposal of 2 commits there was closed" in row.problem
    assert (await services.proposals.page(CHIEF, state="open")).total == 0
    commit(disk, {"skills/theirs/SKILL.md": skill("theirs", "Best.\n")}, "Three")
    assert "Merge the proposal" in (await synced(services)).problem
    assert (await services.proposals.page(CHIEF, state="open")).total == 1


async def test_a_mirror_that_only_pushes_proposes_what_somebody_pushed_there(
    services: Services, volume: GitVolume, disk: Path
) -> None:
    await both(services, disk, direction="push")
    commit(disk, {"skills/theirs/SKILL.md": skill("theirs")})
    row = await synced(services)
    assert (row.state, row.ahead, row.behind) == ("proposed", 0, 1)
    assert "theirs" not in skills(volume)


@pytest.mark.parametrize(("trust", "state"), [(False, "proposed"), (True, "ok")])
async def test_a_volume_that_asks_for_reviews_takes_a_pull_as_a_proposal(
    services: Services, volume: GitVolume, disk: Path, state: str, *, trust: bool
) -> None:
    await services.views.set_policy(CHIEF, SRE, review="required")
    await both(services, disk, trust=trust)
    commit(disk, {"skills/theirs/SKILL.md": skill("theirs")})
    assert (await synced(services)).state == state
    assert ("theirs" in skills(volume)) == trust


async def test_a_pull_does_not_change_how_reviews_are_done(services: Services, disk: Path) -> None:
    await services.views.set_policy(CHIEF, SRE, review="required")
    await both(services, disk)
    text = git(disk, "show", "main:metadata.json").replace("required", "none")
    commit(disk, {"metadata.json": text})
    row = await synced(services)
    assert row.state == "refused"
    assert "'policy' may not be changed" in row.problem


async def test_ones_own_remote_proposes_in_ones_own_name(services: Services, disk: Path) -> None:
    mine = VolumeRef.user("alice")
    said: dict[str, str | bool] = {"url": f"file://{disk}", "timing": "manual"}
    await services.remotes.add(ALICE, mine, "origin", said)
    await services.remotes.sync(ALICE, mine, "origin")
    commit(disk, {"skills/theirs/SKILL.md": skill("theirs")})
    view = await services.remotes.sync(ALICE, mine, "origin")
    assert (view.row.state, view.proposal) == ("proposed", "pr/alice/remote-origin")
    (found,) = (await services.proposals.page(ALICE)).items
    await services.proposals.merge(ALICE, found.proposal.proposal_id)
    assert (await services.remotes.sync(ALICE, mine, "origin")).row.state == "ok"


async def test_histories_that_have_nothing_in_common(services: Services, volume: GitVolume, disk: Path) -> None:
    before, made = volume.store.head(), commit(disk, {"README.md": "Theirs"})
    await added(services, f"file://{disk}", direction="both")
    row = await synced(services)
    assert (row.state, row.proposed) == ("diverged", "")
    assert "share no history" in row.problem
    assert (volume.store.head(), git(disk, "rev-parse", "main")) == (before, made)


async def test_commits_that_change_nothing_are_no_proposal(services: Services, volume: GitVolume, disk: Path) -> None:
    await both(services, disk)
    commit(disk, {})
    volume.write_skill("ours", skill("ours"))
    row = await synced(services)
    assert (row.state, row.proposed) == ("diverged", "")
    assert "they change no file" in row.problem


# What is there is checked


async def test_a_link_does_not_come_in(services: Services, volume: GitVolume, disk: Path) -> None:
    await both(services, disk)
    before = volume.store.head()
    oid = blob(disk, b"/etc/passwd")
    git(disk, "read-tree", "main")
    git(disk, "update-index", "--add", "--cacheinfo", f"120000,{oid},skills/evil/SKILL.md")
    made = git(disk, "commit-tree", git(disk, "write-tree"), "-p", "main", "-m", "Evil")
    git(disk, "update-ref", "refs/heads/main", made)
    row = await synced(services)
    assert row.state == "refused"
    assert "skills/evil/SKILL.md: is a symbolic link" in row.problem
    assert volume.store.head() == before
    assert not has(services.volumes.folder(SRE), made)


BAD: list[tuple[dict[str, str | None], str]] = [
    ({"src/main.py": "x"}, "does not belong into a volume"),
    ({"skills/bad/SKILL.md": "no front matter"}, "skills/bad/SKILL.md"),
    ({"metadata.json": None}, "may not be removed"),
    ({"skills/x/SKILL.md": skill("y")}, "The name is 'y'; it has to be 'x'"),
]


async def test_what_a_push_may_not_bring_a_remote_may_not_either(
    services: Services, volume: GitVolume, disk: Path
) -> None:
    await both(services, disk)
    before = volume.store.head() or ""
    for files, said in BAD:
        git(disk, "update-ref", "refs/heads/main", before)
        commit(disk, files)
        row = await synced(services)
        assert row.state == "refused"
        assert row.problem.startswith("What is there may not come in:\n")
        assert said in row.problem
        assert volume.store.head() == before


async def test_more_than_a_push_may_bring(services: Services, disk: Path) -> None:
    await both(services, disk)
    services.mirrors._sync._most = 1000
    commit(disk, {"memory/x.md": "".join(map(str, range(20_000)))})
    row = await synced(services)
    assert (row.state, row.failures) == ("failed", 1)
    assert "more than 1,000 bytes" in row.problem


# Others who write


async def test_an_edit_by_hand_of_the_same_file_is_kept(services: Services, volume: GitVolume, disk: Path) -> None:
    volume.write_skill("deploy", skill("deploy"))
    await both(services, disk)
    commit(disk, {"skills/deploy/SKILL.md": skill("deploy", "Theirs.\n")})
    (services.volumes.folder(SRE) / "skills/deploy/SKILL.md").write_text(skill("deploy", "By hand.\n"))
    row = await synced(services)
    assert (row.state, row.ahead, row.behind) == ("diverged", 1, 1)
    assert volume.store.read("skills/deploy/SKILL.md") == skill("deploy", "By hand.\n").encode()


async def test_an_edit_by_hand_of_another_file_is_not_in_the_way(
    services: Services, volume: GitVolume, disk: Path
) -> None:
    volume.write_skill("deploy", skill("deploy"))
    await both(services, disk)
    made = commit(disk, {"skills/other/SKILL.md": skill("other")})
    hand = services.volumes.folder(SRE) / "skills/deploy/SKILL.md"
    hand.write_text(skill("deploy", "By hand.\n"))
    assert (await synced(services)).state == "ok"
    assert volume.store.head() == made
    assert hand.read_text() == skill("deploy", "By hand.\n")


async def test_a_volume_that_never_stands_still_is_tried_again_later(
    services: Services, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await both(services, disk)
    looks = []

    def moved(*_: object) -> None:
        looks.append(1)
        raise Conflict("volume.moved", "main has moved meanwhile.")

    monkeypatch.setattr(services.mirrors._sync, "run", moved)
    row = await synced(services)
    assert (row.state, len(looks)) == ("failed", mirrors.AGAIN)


async def test_a_mistake_of_ours_is_told_to_the_log(
    services: Services, disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await both(services, disk)
    monkeypatch.setattr(services.mirrors._sync, "run", lambda *_: 1 / 0)
    row = await synced(services)
    assert (row.state, row.problem) == ("failed", "The server's log says why.")
    assert "ZeroDivisionError" in caplog.text


# Over HTTP


async def test_over_http_with_a_token(services: Services, volume: GitVolume, host: GitHost) -> None:
    there = bare(host.folder / "x.git")
    host.password = "t0ken"
    await added(services, host.url("x.git"), direction="both")
    assert (await synced(services)).state == "failed"
    await services.remotes.change(CHIEF, SRE, "origin", {}, secret=Secret(token="t0ken"))
    assert (await synced(services)).state == "ok"
    made = commit(there, {"skills/theirs/SKILL.md": skill("theirs")})
    assert (await synced(services)).head == made == volume.store.head()


async def test_a_push_that_is_refused_there_is_said(services: Services, volume: GitVolume, host: GitHost) -> None:
    there = bare(host.folder / "x.git")
    (there / "hooks").mkdir(exist_ok=True)
    (there / "hooks" / "update").write_text("#!/bin/sh\nexit 1\n")
    (there / "hooks" / "update").chmod(0o755)
    await added(services, host.url("x.git"))
    row = await synced(services)
    assert (row.state, row.failures) == ("refused", 0)
    assert "The other side did not take main: [remote rejected] (hook declined)" in row.problem
    assert row.ahead == volume.store.count()
