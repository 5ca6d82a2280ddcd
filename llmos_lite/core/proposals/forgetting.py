"""Taking what somebody said about proposals out of the history of the events, and out of the repository."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from msgspec import structs

from llmos_lite.core.proposals.log import ProposalLog, decoded, encoded
from llmos_lite.core.skills import signoffs
from llmos_lite.core.skills.signoffs import REF as EVENTS
from llmos_lite.records.proposals import ProposalRecord
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many events lost their text, and the rows that follow from what is left."""

    events: int = 0
    rows: list[ProposalRecord] = field(default_factory=list)


def forget_comments(volumes: VolumeManager, ref: VolumeRef, user_id: str) -> Forgotten:
    """Blank the text of a person's comments, reviews and reasons to close, in every commit; blocks.

    Raises:
        StorageFailed: `storage.prune`, when git could not remove the old text.
    """
    log = ProposalLog(volumes.open(PLATFORM, ref))
    found = (file for proposal_id in log.ids() for file in log.files(proposal_id))
    said = {path for path, event in found if event.by == user_id and event.text}
    stood = {path for path, signed in signoffs.all_signed(log.volume) if signed.by == user_id and signed.why}
    if not said | stood:
        return Forgotten()

    def blanked(path: str, data: bytes) -> tuple[str, bytes]:
        if path in stood:
            signed = structs.replace(signoffs.decoded(data), why="", erased=True)
            return path.rpartition("/")[2], signoffs.encoded(signed)
        event = structs.replace(decoded(path, data), text="", erased=True)
        return path.rpartition("/")[2], encoded(event)

    with contextlib.closing(volumes.notes_history(ref)) as history:
        history.rewrite(EVENTS, said | stood, blanked)
        volumes.forget(ref)
        history.prune()
    ids = sorted({path.split("/")[1] for path in said})
    return Forgotten(len(said | stood), [row for one in ids if (row := log.record(one)) is not None])
