"""What an erasure did, volume by volume."""

from __future__ import annotations

import msgspec

from llmos_lite.core.traces.skill_quotes import QuotingSkill


class VolumeErasure(msgspec.Struct, frozen=True, kw_only=True):
    """What was done in one volume.

    `branches` are the months that were rewritten, `archives` those that had to be packed anew; `objects` counts what
    was removed from the repository.
    """

    volume: str
    traces: int = 0
    branches: list[str] = []
    archives: list[str] = []
    objects: int = 0


class ErasureReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased, and what could not be reached.

    `unreached` names mirrors that keep a copy; `unfinished` says, by volume, what could not be erased yet: it is tried
    again at the next start.
    """

    erasure_id: str
    traces: int
    volumes: list[VolumeErasure] = []
    skills: list[QuotingSkill] = []
    unreached: list[str] = []
    unfinished: dict[str, str] = {}
