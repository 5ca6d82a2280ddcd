"""Reviews, merges, conflicts; what a kill leaves behind; two people at once; what is left of somebody."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import msgspec
import pytest

from llmos_lite.core.proposals import branches, promoting, reviewing
from llmos_lite.core.proposals.events import Kind
from llmos_lite.core.proposals.log import ProposalLog
from llmos_lite.core.proposals.promoting import REASON_LENGTH
from llmos_lite.core.proposals.resolving import Resolution
from llmos_lite.core.proposals.service import Promoted
from llmos_lite.core.skills.scan import Finding, Severity
from llmos_lite.engines.git import Author
from llmos_lite.errors import Conflict, Forbidden, Invalid, LlmosError, NotFound, TooLarge, Unavailable
from llmos_lite.volumes.access import PLATFORM, SYSTEM
from llmos_lite.volumes.git_volume import author_of
from tests.proposing import ADMIN, ALICE, BOB, CAROL, EVE, HOME, MAIN, SKILL, SRE, Room

APPROVE, REQUEST = Kind.APPROVED, Kind.CHANGES_REQUESTED
BRANCH = "pr/alice/my-skill"


async def refused(call: object, code: str) -> LlmosError:
    with pytest.raises(LlmosError) as caught:
        await call  # type: ignore[misc]
    assert caught.value.code == code
    return caught.value


async def test_an_approval_survives_main_moving_and_falls_with_the_blobs(room: Room) -> None:
    promoted = await room.promote("one")
    view = await room.proposals.review(BOB, promoted.proposal_id, APPROVE)
    assert view.proposal.review == "approved"
    room.write(SRE, "elsewhere", "other")
    again = await room.promote("one", reason="Still useful")
    assert again.proposal_id == promoted.proposal_id
    view = await room.get(promoted)
    assert [one.valid for one in view.reviews] == [True]
    assert [event.kind for event in view.events] == [Kind.OPENED, APPROVE, Kind.RENEWED]
    assert view.proposal.reason == "Still useful"
    await room.promote("two")
    assert [one.valid for one in (await room.get(promoted)).reviews] == [False]
    await room.promote("one")
    assert [one.valid for one in (await room.get(promoted)).reviews] == [False]


async def test_a_branch_that_is_moved_by_hand_takes_no_approval_along(room: Room) -> None:
    promoted = await room.promote("one")
    await room.proposals.review(BOB, promoted.proposal_id, APPROVE)
    room.team.write_skill("my-skill", SKILL + "sneaked in", author=author_of("alice"), branch=BRANCH)
    assert not (await room.get(promoted)).reviews[0].valid
    assert (await room.all_rows())[0].review == "approved"
    assert await room.proposals.notice(SRE) == 1
    assert (await room.all_rows())[0].review == ""
    await refused(room.proposals.merge(EVE, promoted.proposal_id), "proposal.approval_fallen")


async def test_who_reviews_and_what_blocks_a_merge(room: Room) -> None:
    promoted = await room.promote("one", BOB)
    number = promoted.proposal_id
    await refused(room.proposals.review(BOB, number, APPROVE), "proposal.own")
    await refused(room.proposals.review(CAROL, number, APPROVE), "role.missing")
    await refused(room.proposals.merge(BOB, number), "proposal.own")
    await room.proposals.review(EVE, number, REQUEST, "Say more.")
    await refused(room.proposals.merge(ADMIN, number), "proposal.changes_requested")
    assert (await room.proposals.get(BOB, number)).obstacles == ["eve asked for changes."]
    await room.proposals.review(EVE, number, APPROVE)
    merged = await room.proposals.merge(BOB, number)
    commit = room.team.get_git_log(1)[0]
    assert commit.trailers == {"Proposal": number, "Approved-By": "eve", "Merged-By": "bob"}
    assert (merged.proposal.commit, commit.author, commit.committer) == (commit.oid, "bob", "llmos-lite")
    assert "+one" in merged.diff


async def test_who_asked_for_changes_may_merge_after_all_and_approves_by_that(room: Room) -> None:
    number = (await room.promote("one")).proposal_id
    await room.proposals.review(BOB, number, REQUEST, "Hm.")
    await room.proposals.merge(BOB, number)
    assert room.team.get_git_log(1)[0].trailers["Approved-By"] == "bob"


async def test_without_a_policy_an_admin_merges_what_is_his_own(room: Room) -> None:
    number = (await room.promote("one", BOB)).proposal_id
    room.team.set_metadata({"policy": {"review": "none"}})
    assert (await room.proposals.get(BOB, number)).mergeable
    await room.proposals.merge(BOB, number)
    assert "Approved-By" not in room.team.get_git_log(1)[0].trailers


async def test_a_merge_is_of_what_was_looked_at(room: Room) -> None:
    promoted = await room.promote("one")
    seen = (await room.get(promoted)).digest
    row = (await room.all_rows())[0]
    await room.promote("two")
    await refused(room.proposals.merge(BOB, promoted.proposal_id, digest=seen), "proposal.changed")
    with pytest.raises(Conflict, match="Something else"):  # as if it was renewed between the question and the lock
        await asyncio.to_thread(reviewing.merge, room.team, BOB, row, digest="", known=seen, unsafe=lambda _: [])
    fresh = (await room.get(promoted)).digest
    await room.proposals.merge(BOB, promoted.proposal_id, digest=fresh)
    assert room.team.read_skill("my-skill").endswith("two")


async def test_merging_and_renewing_at_once_merges_only_what_was_approved(room: Room) -> None:
    promoted = await room.promote("approved")
    await room.proposals.review(BOB, promoted.proposal_id, APPROVE)
    merging = room.proposals.merge(EVE, promoted.proposal_id)
    done = await asyncio.gather(merging, room.promote("renewed"), return_exceptions=True)
    if isinstance(done[0], LlmosError):
        assert done[0].code in {"proposal.approval_fallen", "proposal.changed"}
        assert room.team.skill_entry("my-skill") is None
    else:
        assert room.team.read_skill("my-skill").endswith("approved")
    before = await room.all_rows()
    await room.proposals.reindex()
    assert await room.all_rows() == before


async def test_many_merges_and_closes_at_once_decide_once(room: Room) -> None:
    number = (await room.promote("one")).proposal_id
    calls = [room.proposals.merge(BOB, number), room.proposals.merge(EVE, number), room.proposals.close(ALICE, number)]
    done = await asyncio.gather(*calls, return_exceptions=True)
    codes = [one.code for one in done if isinstance(one, LlmosError)]
    assert codes == ["proposal.decided"] * 2
    decided = [event for event in (await room.proposals.get(ALICE, number)).events if event.kind is not Kind.OPENED]
    assert len(decided) == 1


async def test_what_main_has_by_now_is_closed_not_merged(room: Room) -> None:
    number = (await room.promote("one")).proposal_id
    room.write(SRE, "one")
    await refused(room.proposals.merge(BOB, number), "proposal.empty")
    assert (await room.proposals.close(BOB, number)).proposal.state == "closed"


# Conflicts


async def test_conflicts_are_told_file_by_file_and_resolved(room: Room) -> None:
    room.team.store.commit({"memory/a.md": b"a", "memory/b.md": b"b", "memory/c.bin": b"\0"}, "First", Author("x", "x"))
    room.team.create_branch(BRANCH)
    theirs: dict[str, bytes | None] = {"memory/a.md": b"theirs", "memory/b.md": None}
    theirs |= {"memory/c.bin": b"\0t", "memory/d.md": b"d"}
    room.team.store.commit(theirs, "Change", author_of("alice"), branch=BRANCH)
    await room.proposals.notice(SRE)
    (row,) = await room.all_rows()
    ours = {"memory/a.md": b"ours", "memory/b.md": b"ours", "memory/c.bin": b"\0o", "memory/e.md": b"e"}
    room.team.store.commit(ours, "Ours", Author("y", "y"))
    view = await room.proposals.get(BOB, row.proposal_id)
    told = {one.path: (one.base, one.ours, one.theirs, one.binary) for one in view.conflicts}
    assert told == {
        "memory/a.md": ("a", "ours", "theirs", False),
        "memory/b.md": ("b", "ours", None, False),
        "memory/c.bin": (None, None, None, True),
    }
    chosen = [
        Resolution("memory/a.md", content="both"),
        Resolution("memory/b.md", "theirs"),
        Resolution("memory/c.bin", "ours"),
    ]
    done = await room.proposals.resolve(ALICE, row.proposal_id, chosen, seen=view.seen)
    assert (done.conflict, done.events[-1].paths) == (False, ("memory/a.md", "memory/b.md", "memory/c.bin"))
    commit = room.team.get_git_log(1, branch=BRANCH)[0]
    assert (commit.author, len(commit.parents), commit.trailers) == ("alice", 2, {"Proposal": row.proposal_id})
    await room.proposals.merge(BOB, row.proposal_id)
    store = room.team.store
    found = {entry.path: store.blob(entry.oid) for entry in store.tree("memory")}
    assert found == {"memory/a.md": b"both", "memory/c.bin": b"\0o", "memory/d.md": b"d", "memory/e.md": b"e"}


async def test_conflicts_that_changed_meanwhile_are_looked_at_again(room: Room) -> None:
    room.write(SRE, "base")
    promoted = await room.promote("theirs")
    room.write(SRE, "ours")
    seen = (await room.get(promoted)).seen
    room.write(SRE, "ours again")
    take = [Resolution(MAIN, "theirs")]
    await refused(room.proposals.resolve(ALICE, promoted.proposal_id, take, seen=seen), "proposal.changed")
    await room.proposals.resolve(ALICE, promoted.proposal_id, take)
    await refused(room.proposals.resolve(ALICE, promoted.proposal_id, take), "proposal.no_conflict")


async def test_a_resolution_is_checked_like_any_skill(room: Room) -> None:
    class Strict:
        def scan(self, skill: object) -> list[Finding]:
            return [Finding("no", Severity.HIGH, "No.")] if "evil" in getattr(skill, "body", "") else []

    room.write(SRE, "base")
    promoted = await room.promote("theirs")
    room.write(SRE, "ours")
    room.proposals._scanners["strict"] = Strict()

    async def resolve(text: str) -> None:
        await room.proposals.resolve(ALICE, promoted.proposal_id, [Resolution(MAIN, content=text)])

    with pytest.raises(TooLarge):
        await resolve(SKILL + "x" * (1 << 20))
    with pytest.raises(Invalid):
        await resolve("---\nname: [\n---\n")
    await resolve(SKILL + "evil")
    await refused(room.proposals.merge(BOB, promoted.proposal_id), "proposal.unsigned")


async def test_the_text_of_a_conflict_is_bounded(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branches, "LONGEST_TEXT", 10)
    monkeypatch.setattr(branches, "MOST_CONFLICTS", 1)
    room.write(SRE, "base")
    room.team.create_branch(BRANCH)
    for branch, text in ((BRANCH, b"t"), ("main", b"o")):
        changes = {MAIN: SKILL.encode() + text, "memory/x": text}
        room.team.store.commit(changes, "Change", author_of("alice"), branch=branch)
    await room.proposals.notice(SRE)
    view = await room.proposals.get(BOB, (await room.all_rows())[0].proposal_id)
    first, second = view.conflicts
    assert (first.path, first.ours, first.cut) == ("memory/x", "o", False)
    assert (second.path, second.ours, second.cut) == (MAIN, None, True)


# Crashes


async def test_what_a_kill_left_behind_is_finished(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    promoted = await room.promote("one")
    with monkeypatch.context() as patch:  # merged, and then killed
        patch.setattr(ProposalLog, "append", _killed)
        with pytest.raises(RuntimeError):
            await room.proposals.merge(BOB, promoted.proposal_id)
    assert room.team.read_skill("my-skill").endswith("one")
    view = await room.get(promoted)
    assert (view.proposal.state, view.proposal.decided_by) == ("merged", "bob")
    assert view.events[-1].approved_by == ("bob",)
    assert BRANCH not in room.team.branches()

    promoted = await room.promote("two")
    with monkeypatch.context() as patch:  # noted, and then killed
        patch.setattr(reviewing, "close_branch", _killed)
        with pytest.raises(RuntimeError):
            await room.proposals.close(ALICE, promoted.proposal_id)
    assert (await room.all_rows())[0].state == "open"
    await room.proposals.reindex()
    assert BRANCH not in room.team.branches()
    assert [row.state for row in await room.all_rows()] == ["closed", "merged"]

    with monkeypatch.context() as patch:  # the branch stands, and nobody knows
        patch.setattr(ProposalLog, "append", _killed)
        with pytest.raises(RuntimeError):
            await room.promote("three")
    assert await room.proposals.notice(SRE) == 1
    assert (await room.all_rows())[0].state == "open"
    assert not [name for name in room.team.branches() if name.endswith(".next")]


def _killed(*_: object, **__: object) -> None:
    raise RuntimeError


async def test_what_somebody_merged_with_git_is_merged(room: Room) -> None:
    promoted = await room.promote("one")
    room.team.merge_branch(BRANCH, "By hand", author_of("bob"))
    assert await room.proposals.notice(SRE) == 1
    (row,) = await room.all_rows()
    assert (row.state, row.decided_by, row.commit) == ("merged", "git", room.team.store.head())
    assert (await room.get(promoted)).diff.count("+one") == 1


async def test_a_draft_that_was_left_is_no_proposal_and_goes(room: Room) -> None:
    room.team.create_branch(f"{BRANCH}.next")
    room.team.create_branch("pr/alice/empty")
    assert await room.proposals.notice(SRE) == 0
    await room.promote("one")
    assert set(room.team.branches()) == {"main", "pr/alice/empty", BRANCH}
    with pytest.raises(Invalid):
        await room.proposals.pushed(SRE, "no/proposal")


async def test_the_same_commit_proposed_again_after_a_close_is_a_new_proposal(room: Room) -> None:
    promoted = await room.promote("one")
    head = room.team.store.head(BRANCH)
    await room.proposals.close(ALICE, promoted.proposal_id)
    room.team.create_branch(BRANCH, head)
    fresh = await room.proposals.pushed(SRE, BRANCH)
    assert (fresh.state, fresh.head) == ("open", head)
    assert fresh.proposal_id != promoted.proposal_id


async def test_an_event_that_cannot_be_read_is_said(room: Room) -> None:
    promoted = await room.promote("one")
    notes = room.team.notes
    (month,) = [entry for entry in notes.tree(at="proposals") if entry.path != "branches"]
    path = f"{month.path}/{promoted.proposal_id}/000002.json"
    notes.commit({path: b'{"kind": "sung"}'}, "From the future", author_of("x"), branch="proposals")
    with pytest.raises(Unavailable, match=r"000002\.json cannot be read"):
        await room.get(promoted)
    before = await room.all_rows()
    assert await room.proposals.reindex() == 0
    assert await room.all_rows() == before


# Who sees what, how much, and what is left


async def test_a_former_member_sees_nothing_and_the_owner_everything(room: Room) -> None:
    promoted = await room.promote("one")
    outside = type(ALICE)("alice")
    await refused(room.proposals.get(outside, promoted.proposal_id), "proposal.unknown")
    assert (await room.proposals.page(outside)).total == 0
    assert (await room.proposals.page(ALICE)).total == 1
    volume = room.volumes.open(PLATFORM, HOME, write=True)
    volume.write_skill("mine", SKILL, branch="pr/alice/mine", author=author_of("alice"))
    await room.proposals.notice(HOME)
    (mine,) = (await room.proposals.page(ALICE, target="user:alice")).items
    assert (await room.proposals.get(ALICE, mine.proposal.proposal_id)).mergeable
    with pytest.raises(NotFound):
        await room.proposals.get(BOB, mine.proposal.proposal_id)


async def test_comments_come_to_an_end(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviewing, "MOST_SAID", 2)
    number = (await room.promote("one")).proposal_id
    for _ in range(2):
        await room.proposals.comment(CAROL, number, "Hm.")
    await refused(room.proposals.comment(CAROL, number, "Hm."), "proposal.full")
    await refused(room.proposals.review(BOB, number, REQUEST, "Hm."), "proposal.full")
    assert (await room.proposals.merge(BOB, number)).proposal.state == "merged"


async def test_what_somebody_said_can_be_forgotten_and_no_copy_is_left(room: Room) -> None:
    number = (await room.promote("one")).proposal_id
    await room.proposals.comment(CAROL, number, "My secret is 4711-carol.")
    await room.proposals.comment(BOB, number, "Which secret?")
    before = await room.all_rows()
    assert await room.proposals.forget("carol") == 1
    assert await room.proposals.forget("carol") == 0
    view = await room.proposals.get(BOB, number)
    assert [(one.by, one.text, one.erased) for one in view.events[1:]] == [
        ("carol", "", True), ("bob", "Which secret?", False),
    ]  # fmt: skip
    gitdir = room.volumes.folder(SRE) / ".git"
    assert b"4711-carol" not in every_object(gitdir)
    assert b"Which secret?" in every_object(gitdir)
    await room.proposals.reindex()
    assert await room.all_rows() == before
    await room.proposals.comment(BOB, number, "Go on.")
    await room.proposals.merge(BOB, number)
    with pytest.raises(Invalid):
        await room.proposals.forget("../x")


def every_object(gitdir: Path) -> bytes:
    """Return the content of every object of a repository, decoded."""
    command = ["git", "-c", "safe.directory=*", "--git-dir", gitdir, "cat-file", "--batch-all-objects", "--batch"]
    return subprocess.run(command, capture_output=True, check=True).stdout


async def test_rows_of_volumes_that_are_gone_go(room: Room) -> None:
    promoted = await room.promote("one")
    (row,) = await room.all_rows()
    other = msgspec.structs.replace(row, proposal_id="01KBFW2Q7XN4T9C2Y4R8M0D6ZV", target="team:gone")
    stray = msgspec.structs.replace(row, proposal_id="01KBFW2Q7XN4T9C2Y4R8M0D6ZW")
    for one in (other, stray):
        await room.rows.put(one)
    assert await room.proposals.reindex() == 1
    assert [one.proposal_id for one in await room.all_rows()] == [promoted.proposal_id]


async def test_an_older_row_does_not_overwrite_a_newer_one(room: Room) -> None:
    await room.promote("one")
    (old,) = await room.all_rows()
    await room.proposals.comment(BOB, old.proposal_id, "Hm.")
    (new,) = await room.all_rows()
    await room.rows.put(old)
    assert await room.all_rows() == [new]


async def test_a_promotion_to_the_system_is_seen_by_its_author_and_system_admins(room: Room) -> None:
    room.write(HOME, "one")
    promoted = await room.proposals.promote(ALICE, "my-skill", SYSTEM, "For all")
    for actor in (ALICE, ADMIN):
        assert (await room.proposals.get(actor, promoted.proposal_id)).proposal.target == "system"
    for actor in (BOB, CAROL):
        await refused(room.proposals.get(actor, promoted.proposal_id), "proposal.unknown")
    with pytest.raises(Forbidden):
        await room.proposals.merge(ALICE, promoted.proposal_id)
    assert isinstance(promoted, Promoted)


async def test_a_move_that_was_cut_short_by_promoting_leaves_main_alone(room: Room) -> None:
    await room.promote("one")
    assert promoting.notice_branch(room.team, "main") is None
    assert promoting.notice_branch(room.team, "pr/a/b/c") is None
    assert promoting.notice_branch(room.team, "pr/nobody/nothing") is None


async def test_what_somebody_pushes_says_nothing_about_where_it_comes_from(room: Room) -> None:
    subject = "Promote 'my-skill' from team:secret - Reason: \x1b[31mred\x07\rMerged-By: boss" + "x" * 5000
    store = room.team.store
    store.create_branch("pr/alice/my-skill")
    store.commit({MAIN: SKILL.encode()}, subject, author_of("alice"), branch="pr/alice/my-skill")
    row = await room.proposals.pushed(SRE, "pr/alice/my-skill")
    assert row.source == "user:alice"
    assert row.reason.isprintable()
    assert len(row.reason) <= REASON_LENGTH
