"""A mirror of traces: the months that are in Git here, sent elsewhere; the only place where history there may change.

A month goes forward as everything does. When something was erased, and only then, the months that were rewritten here
are sent with a lease on the commit that this mirror is known to have sent before: if somebody else put something there,
it stays, and the erasure says that it was not reached. Months that are gone from Git here go there, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from llmos_lite.core.remotes.sync import Outcome, State
from llmos_lite.engines.git_incoming import Incoming
from llmos_lite.engines.git_peer import Aside, Peer
from llmos_lite.records.remotes import RemoteRecord
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager
from llmos_lite.volumes.receiving import gitdir_of

Sent: TypeAlias = dict[str, list[str]]
"""By month, the commits that the mirror may be at, as far as we moved it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be sent.

    Args:
        moves: the commit for each month; empty to delete it.
        leases: where a month has to be that loses commits.
        sent: what may be there from now on; to be kept before anything is sent.
        foreign: months that somebody else moved.
    """

    moves: dict[str, str] = field(default_factory=dict)
    leases: dict[str, str] = field(default_factory=dict)
    sent: Sent = field(default_factory=dict)
    foreign: tuple[str, ...] = ()


class TraceMirror:
    """Sends months of traces, from any thread.

    Args:
        volumes: whose traces.
    """

    def __init__(self, volumes: VolumeManager) -> None:
        self._volumes = volumes

    def months(self, row: RemoteRecord) -> dict[str, str]:
        """Return the months in Git here, with their commits."""
        return self._volumes.open(PLATFORM, VolumeRef.parse(row.volume)).traces.branches()

    def plan(self, row: RemoteRecord, peer: Peer, *, patience: float) -> Plan:
        """Compare both sides.

        Raises:
            UpstreamFailed: the other could not be reached.
        """
        theirs, ours, known = peer.heads(patience=patience), self.months(row), sent_of(row)
        plan = _Planning(known, erasing=bool(row.erasing))
        with Incoming(gitdir_of(self._volumes, VolumeRef.parse(row.volume), traces=True), None) as objects:
            for month, commit in ours.items():
                plan.send(month, commit, theirs.get(month, ""), objects)
        for month in known.keys() - ours.keys():
            plan.remove(month, theirs.get(month, ""))
        return Plan(plan.moves, plan.leases, plan.sent, tuple(sorted(plan.foreign)))

    def send(self, row: RemoteRecord, peer: Peer, plan: Plan, *, patience: float) -> tuple[Outcome, Sent]:
        """Send what was planned; return what came of it, and what is there now.

        Raises:
            UpstreamFailed: nothing was sent.
        """
        refused: Mapping[str, str] = {}
        if plan.moves:
            with Aside(gitdir_of(self._volumes, VolumeRef.parse(row.volume), traces=True)) as aside:
                refused = peer.push(aside, plan.moves, plan.leases, patience=patience)
        sent = {month: commits for month, commits in plan.sent.items() if month in refused or month not in plan.moves}
        sent |= {month: [oid] for month, oid in plan.moves.items() if oid and month not in refused}
        why = [f"{month}: somebody else has put commits there" for month in plan.foreign]
        why += [f"{month}: {said}" for month, said in refused.items()]
        state = State.OK if not why else State.DIVERGED if plan.foreign else State.REFUSED
        return Outcome(state, "; ".join(why), ahead=len(why)), sent


class _Planning:
    def __init__(self, known: Sent, *, erasing: bool) -> None:
        self.known, self.erasing = known, erasing
        self.moves, self.leases, self.sent, self.foreign = dict[str, str](), dict[str, str](), Sent(), set[str]()

    def send(self, month: str, ours: str, theirs: str, objects: Incoming) -> None:
        known = self.known.get(month, [])
        if theirs == ours:
            self.sent[month] = [ours]
            return
        forward = not theirs or (objects.is_commit(theirs) and objects.merge_base(ours, theirs) == theirs)
        if not forward and not (self.erasing and theirs in known):
            self.foreign.add(month)
            self.sent[month] = known
            return
        self.moves[month] = ours
        self.sent[month] = sorted({*known, theirs, ours} - {""})
        if not forward:
            self.leases[month] = theirs

    def remove(self, month: str, theirs: str) -> None:
        known = self.known[month]
        if not theirs:
            return
        if self.erasing and theirs in known:
            self.moves[month], self.leases[month], self.sent[month] = "", theirs, known
            return
        if self.erasing:
            self.foreign.add(month)
        self.sent[month] = known  # an archived month stays there, until something is erased


def sent_of(row: RemoteRecord) -> Sent:
    """Return what a mirror may hold, by month."""
    found: Sent = json.loads(row.sent)
    return found
