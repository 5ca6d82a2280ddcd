"""A backup carries what happened to proposals, and Git alone brings every row back."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from llmos_lite.core.backup import instance_of, write_archive
from llmos_lite.core.proposals.events import Kind
from llmos_lite.core.proposals.resolving import Resolution
from llmos_lite.core.proposals.service import Proposals
from llmos_lite.core.restore import restore
from llmos_lite.core.skills.scrub import Scrubber
from llmos_lite.engines.journal import NoJournal
from llmos_lite.engines.signing import Signer
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.manager import VolumeManager
from tests.proposing import ALICE, BOB, CAROL, EVE, MAIN, SRE, Room, furnished


async def test_a_restored_backup_knows_every_proposal(room: Room, tmp_path: Path) -> None:
    number = (await room.promote("one")).proposal_id
    await room.proposals.comment(CAROL, number, "Fine?\nYes.", path=MAIN, line=2)
    await room.proposals.merge(BOB, number)
    number = (await room.promote("two")).proposal_id
    await room.proposals.review(BOB, number, Kind.CHANGES_REQUESTED, "No.")
    await room.proposals.close(ALICE, number, "So be it.")
    number = (await room.promote("three")).proposal_id
    room.write(SRE, "ours")
    await room.proposals.resolve(ALICE, number, [Resolution(MAIN, "theirs")])
    before = await room.all_rows()
    assert [row.state for row in before] == ["open", "closed", "merged"]

    kept = io.BytesIO()
    data = tmp_path / "data"
    write_archive(instance_of(data, NoJournal(), room.volumes), kept)
    kept.seek(0)
    await asyncio.to_thread(restore, kept, tmp_path / "again")
    async with furnished(tmp_path / "again") as other:
        volumes = VolumeManager(tmp_path / "again", Signer.open(tmp_path / "again" / "keys"))
        proposals = Proposals(other.rows, volumes)
        assert await proposals.reindex() == 3
        assert await other.all_rows() == before
        for row in before:
            assert (await proposals.get(BOB, row.proposal_id)).events == (
                await room.proposals.get(BOB, row.proposal_id)
            ).events
        volumes.close()


async def test_what_was_merged_is_shown_after_the_history_was_scrubbed(room: Room) -> None:
    number = (await room.promote("hunter2xyz and more")).proposal_id
    await room.proposals.merge(BOB, number)
    second = (await room.promote("hunter2xyz and less")).proposal_id
    await room.proposals.review(BOB, second, Kind.APPROVED)

    async def nothing(_ref: VolumeRef) -> list[str]:
        return []

    scrubber = Scrubber(room.volumes, nothing, nothing)
    for text in ("hunter2xyz", "and more"):
        await scrubber.scrub(BOB, SRE, texts=[text])
    view = await room.proposals.get(BOB, number)
    assert (view.proposal.state, "+(removed) (removed)" in view.diff) == ("merged", True)
    view = await room.proposals.get(BOB, second)
    assert [one.valid for one in view.reviews] == [False]  # other blobs are proposed
    assert (await room.proposals.merge(EVE, second, digest=view.digest)).proposal.state == "merged"
    (room.volumes.folder(SRE) / ".git/llmos-scrubs").rename(room.volumes.folder(SRE) / ".git/gone")
    assert (await room.proposals.get(BOB, number)).diff == ""
