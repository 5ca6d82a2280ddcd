from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.permissions import Actor, Role
from llmos_lite.core.proposals.service import Promoted, Proposals
from llmos_lite.engines.database import Database
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import Conflict, Forbidden, Invalid, NotFound
from llmos_lite.records.accounts import AccountStore
from llmos_lite.records.proposals import TABLE, ProposalRows
from llmos_lite.records.schema import prepare
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import PLATFORM, SYSTEM, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume, author_of
from llmos_lite.volumes.manager import VolumeManager

KEY = "llmos_0123abcd_" + "5f" * 32
SRE = VolumeRef.team("sre")
SKILL = "---\nname: my-skill\ndescription: What it does.\n---\n\n# My skill\n"


class House:
    """Volumes, people and proposals, with alice and bob in the team sre; bob is its admin."""

    def __init__(self, data: Path, database: Database, settings: Settings) -> None:
        self.volumes = VolumeManager(data, Signer.open(data / "keys"))
        self.database = database
        self.accounts = Accounts(AccountStore(database), settings, KEY)
        self.proposals = Proposals(ProposalRows(database), self.volumes)

    async def actor(self, user_id: str = "") -> Actor:
        return await self.accounts.authenticate(KEY, user_id)

    def volume(self, ref: VolumeRef) -> GitVolume:
        return self.volumes.open(PLATFORM, ref, write=True)

    def write(self, ref: VolumeRef, text: str = SKILL, skill_id: str = "my-skill") -> None:
        self.volume(ref).write_skill(skill_id, text, author=author_of(ref.id or "admin"))

    async def promote(self, user_id: str = "alice", to: VolumeRef = SRE, source: VolumeRef | None = None) -> Promoted:
        return await self.proposals.promote(await self.actor(user_id), "my-skill", to, "Useful for team", source=source)

    def ask_for_reviews(self) -> None:
        self.volume(SRE).set_metadata({"policy": {"review": "required"}})


@pytest.fixture
async def house(tmp_path: Path, settings: Settings) -> AsyncIterator[House]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/rows.db")
    await prepare(database)
    house = House(tmp_path / "data", database, settings)
    boss = await house.actor()
    await house.accounts.create_team(boss, "sre")
    await house.accounts.ensure("alice")
    await house.accounts.set_member(boss, "sre", "alice")
    await house.accounts.ensure("bob")
    await house.accounts.set_member(boss, "sre", "bob", Role.TEAM_ADMIN)
    house.write(VolumeRef.user("alice"))
    yield house
    house.volumes.close()
    await database.close()


async def test_without_a_review_the_platform_commits_with_the_person_as_author(house: House) -> None:
    promoted = await house.promote()
    commit = house.volume(SRE).get_git_log(1)[0]
    assert (promoted.status, promoted.commit) == ("merged", commit.oid)
    assert commit.subject == "Promote 'my-skill' from user:alice - Reason: Useful for team"
    assert (commit.author, commit.committer) == ("alice", "llmos-lite")
    assert house.volume(SRE).read_skill("my-skill") == SKILL
    row = await house.proposals.get(await house.actor("bob"), promoted.proposal_id)
    assert (row.proposal.state, row.proposal.decided_by) == ("merged", "policy")
    assert "+# My skill" in row.diff


async def test_promoting_again_changes_nothing(house: House) -> None:
    first, second = await house.promote(), await house.promote()
    assert (second.status, second.proposal_id, second.commit) == ("unchanged", "", first.commit)
    assert (await house.proposals.page(await house.actor())).total == 1
    house.ask_for_reviews()
    head = house.volume(SRE).store.head()
    assert await house.promote() == Promoted("unchanged", "", head or "")
    assert list(house.volume(SRE).branches()) == ["main"]


async def test_promotion_to_a_team_asks_for_membership(house: House) -> None:
    house.write(VolumeRef.user("carol"))
    for user_id, to in (("carol", SRE), ("", SRE), ("alice", VolumeRef.team("none"))):
        with pytest.raises(NotFound) as refused:
            await house.promote(user_id, to)
        assert refused.value.code == "team.unknown"


async def test_a_skill_goes_upwards_and_only_from_where_one_may_read(house: House) -> None:
    for to, source in ((VolumeRef.user("bob"), None), (SRE, SYSTEM), (SRE, SRE)):
        with pytest.raises(Invalid, match="upwards"):
            await house.promote("alice", to, source)
    for source in (VolumeRef.user("bob"), VolumeRef.team("other")):
        with pytest.raises(NotFound) as refused:
            await house.promote("alice", SYSTEM, source)
        assert refused.value.code == "volume.unknown"


@pytest.mark.parametrize("reason", ["", " \n ", "x" * 2001])
async def test_a_promotion_needs_a_reason(house: House, reason: str) -> None:
    with pytest.raises(Invalid, match="reason"):
        await house.proposals.promote(await house.actor("alice"), "my-skill", SRE, reason)


async def test_what_cannot_be_read_is_not_brought_to_others(house: House) -> None:
    await house.promote()
    alices = house.volumes.open(PLATFORM, VolumeRef.user("alice"), write=True)
    alices.store.commit({"skills/my-skill/SKILL.md": b"\xff\0 no text"}, "Break it", author_of("alice"))
    with pytest.raises(Invalid) as refused:
        await house.promote()
    assert refused.value.code == "skill.unreadable"
    assert house.volume(SRE).read_skill("my-skill") == SKILL


async def test_an_unknown_skill_leaves_no_branch_behind(house: House) -> None:
    house.ask_for_reviews()
    with pytest.raises(NotFound) as refused:
        await house.proposals.promote(await house.actor("alice"), "no-skill", SRE, "why")
    assert refused.value.code == "skill.unknown"
    with pytest.raises(Invalid):
        await house.proposals.promote(await house.actor("alice"), "../x", SRE, "why")
    assert list(house.volume(SRE).branches()) == ["main"]


async def test_with_a_review_it_waits_on_a_branch_until_somebody_else_merges_it(house: House) -> None:
    house.ask_for_reviews()
    promoted = await house.promote()
    assert promoted.status == "open"
    assert "pr/alice/my-skill" in house.volume(SRE).branches()
    with pytest.raises(NotFound):
        house.volume(SRE).read_skill("my-skill")
    alice, bob = await house.actor("alice"), await house.actor("bob")
    view = await house.proposals.get(bob, promoted.proposal_id)
    assert "+++ b/skills/my-skill/SKILL.md" in view.diff
    assert "+# My skill" in view.diff
    assert not view.conflict
    with pytest.raises(Forbidden) as refused:
        await house.proposals.merge(alice, promoted.proposal_id)
    assert refused.value.code == "role.missing"
    merged = await house.proposals.merge(bob, promoted.proposal_id)
    assert (merged.proposal.state, merged.proposal.decided_by) == ("merged", "bob")
    assert house.volume(SRE).read_skill("my-skill") == SKILL
    assert list(house.volume(SRE).branches()) == ["main"]
    subjects = [commit.subject for commit in house.volume(SRE).get_git_log()]
    assert "Promote 'my-skill' from user:alice - Reason: Useful for team" in subjects
    with pytest.raises(Conflict, match="merged already"):
        await house.proposals.merge(bob, promoted.proposal_id)
    with pytest.raises(Conflict, match="merged already"):
        await house.proposals.close(alice, promoted.proposal_id)


async def test_an_admin_does_not_merge_what_is_his_own_but_the_admin_key_may(house: House) -> None:
    house.ask_for_reviews()
    house.write(VolumeRef.user("bob"))
    promoted = await house.promote("bob")
    with pytest.raises(Forbidden) as refused:
        await house.proposals.merge(await house.actor("bob"), promoted.proposal_id)
    assert refused.value.code == "proposal.own"
    assert (await house.proposals.merge(await house.actor(), promoted.proposal_id)).proposal.state == "merged"


async def test_the_system_asks_for_a_review_by_default(house: House) -> None:
    assert (await house.promote("alice", SYSTEM)).status == "open"
    await house.promote("alice")
    assert (await house.promote("alice", SYSTEM, SRE)).status == "open"


async def test_what_changed_meanwhile_is_a_conflict_and_nothing_is_lost(house: House) -> None:
    house.ask_for_reviews()
    promoted = await house.promote()
    other = SKILL + "\nFrom somebody else.\n"
    house.write(SRE, other)
    bob = await house.actor("bob")
    assert (await house.proposals.get(bob, promoted.proposal_id)).conflict
    with pytest.raises(Conflict) as refused:
        await house.proposals.merge(bob, promoted.proposal_id)
    assert refused.value.code == "proposal.conflict"
    assert house.volume(SRE).read_skill("my-skill") == other
    again = await house.promote()
    assert again.proposal_id == promoted.proposal_id
    assert not (await house.proposals.get(bob, promoted.proposal_id)).conflict
    await house.proposals.merge(bob, promoted.proposal_id)
    assert house.volume(SRE).read_skill("my-skill") == SKILL


async def test_another_skill_that_changed_meanwhile_is_no_conflict(house: House) -> None:
    house.ask_for_reviews()
    promoted = await house.promote()
    house.write(SRE, SKILL.replace("my-skill", "other"), "other")
    await house.proposals.merge(await house.actor("bob"), promoted.proposal_id)
    assert [entry.skill_id for entry in house.volume(SRE).list_skills()] == ["my-skill", "other"]


async def test_its_author_or_an_admin_closes_a_proposal(house: House) -> None:
    house.ask_for_reviews()
    promoted = await house.promote()
    await house.accounts.ensure("carol")
    await house.accounts.set_member(await house.actor(), "sre", "carol")
    with pytest.raises(Forbidden):
        await house.proposals.close(await house.actor("carol"), promoted.proposal_id)
    closed = await house.proposals.close(await house.actor("alice"), promoted.proposal_id)
    assert closed.proposal.state == "closed"
    assert list(house.volume(SRE).branches()) == ["main"]


async def test_a_branch_that_somebody_deleted_is_said_and_can_be_closed(house: House) -> None:
    house.ask_for_reviews()
    promoted = await house.promote()
    house.volume(SRE).delete_branch("pr/alice/my-skill")
    bob = await house.actor("bob")
    with pytest.raises(Conflict, match="no longer there"):
        await house.proposals.merge(bob, promoted.proposal_id)
    assert (await house.proposals.close(bob, promoted.proposal_id)).proposal.state == "closed"


async def test_proposals_are_seen_by_the_team_and_by_nobody_else(house: House) -> None:
    house.ask_for_reviews()
    promoted = await house.promote()
    for user_id, count in (("alice", 1), ("bob", 1), ("dave", 0), ("", 1)):
        actor = await house.actor(user_id)
        assert (await house.proposals.page(actor, state="open")).total == count
        if not count:
            with pytest.raises(NotFound):
                await house.proposals.get(actor, promoted.proposal_id)
    assert (await house.proposals.page(await house.actor(), state="merged")).total == 0


async def test_proposals_come_in_pages(house: House) -> None:
    for number in range(3):
        house.write(VolumeRef.user("alice"), f"{SKILL}{number}\n")
        await house.promote()
    bob = await house.actor("bob")
    first = await house.proposals.page(bob, limit=2)
    second = await house.proposals.page(bob, limit=2, cursor=first.next_cursor or "")
    assert (len(first.items), len(second.items), second.next_cursor, first.total) == (2, 1, None, 3)


async def test_the_rows_of_open_proposals_come_back_from_git_alone(house: House) -> None:
    house.ask_for_reviews()
    promoted = await house.promote()
    async with house.database.session() as session:
        await session.execute(TABLE.delete())
    assert await house.proposals.reindex() == 1
    assert await house.proposals.reindex() == 1
    view = (await house.proposals.page(await house.actor("bob"))).items[0].proposal
    assert (view.proposal_id, view.author, view.source) == (promoted.proposal_id, "alice", "user:alice")
    assert (view.reason, view.state, view.skill_id) == ("Useful for team", "open", "my-skill")


async def test_an_edit_by_hand_that_main_moved_away_from_is_a_proposal_of_ones_own(house: House) -> None:
    mine = VolumeRef.user("alice")
    volume = house.volume(mine)
    volume.create_branch("pr/alice/local-files-1234")
    volume.write_skill("my-skill", SKILL + "by hand\n", "By hand", branch="pr/alice/local-files-1234")
    assert await house.proposals.notice(mine) == 1
    alice = await house.actor("alice")
    found = (await house.proposals.page(alice)).items[0].proposal
    view = await house.proposals.get(alice, found.proposal_id)
    assert "+by hand" in view.diff
    await house.proposals.merge(alice, found.proposal_id)
    assert volume.read_skill("my-skill").endswith("by hand\n")
