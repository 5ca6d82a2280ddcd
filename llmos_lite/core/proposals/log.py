"""Where the events of proposals are kept: in the volume's own repository, on `refs/llmos/proposals`.

    2026-11/<proposal id>/000001.json    an event; one commit each, whose author is the person
    branches/<user>/<name>               the id of the newest proposal on the branch `pr/<user>/<name>`

Stock git neither clones nor shows this ref. A proposal's branch goes when it is decided; its events stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from llmos_lite.core.proposals.branches import PREFIX
from llmos_lite.core.proposals.events import Event, record_of
from llmos_lite.core.skills.signoffs import REF, SIGNED
from llmos_lite.core.traces.trace import CROCKFORD
from llmos_lite.engines.git import Change, Commit, compose_message
from llmos_lite.errors import NotFound, Unavailable
from llmos_lite.records.proposals import ProposalRecord
from llmos_lite.volumes.git_volume import GitVolume, author_of

BRANCHES = "branches"
ULID = re.compile(rf"[0-7][{CROCKFORD}]{{25}}")


class ProposalLog:
    """The events of all proposals to one volume.

    Args:
        volume: opened for writing by whoever adds events, who holds the lock of its store meanwhile.
    """

    def __init__(self, volume: GitVolume) -> None:
        self.volume, self._notes = volume, volume.notes

    def events(self, proposal_id: str) -> list[Event]:
        """Return the events of a proposal, oldest first; none when there is no such proposal.

        Raises:
            Unavailable: `proposal.unreadable`.
        """
        return [event for _, event in self.files(proposal_id)]

    def files(self, proposal_id: str) -> Iterator[tuple[str, Event]]:
        """Yield the path of every event with the event."""
        head = self._notes.head(REF)
        for entry in self._notes.tree(_folder(proposal_id), at=head) if head else ():
            yield entry.path, decoded(entry.path, self._notes.blob(entry.oid))

    def record(self, proposal_id: str) -> ProposalRecord | None:
        """Return what a proposal's events come to."""
        events = self.events(proposal_id)
        return record_of(proposal_id, events) if events else None

    def on(self, branch: str) -> ProposalRecord | None:
        """Return the newest proposal on a branch, whatever its state."""
        try:
            proposal_id = self._notes.read(_index(branch), at=REF).decode()
        except NotFound:
            return None
        return self.record(proposal_id)

    def ids(self) -> Iterator[str]:
        """Yield the ids of all proposals, oldest first."""
        head = self._notes.head(REF)
        for month in self._notes.tree(at=head) if head else ():
            if month.path not in {BRANCHES, SIGNED}:
                yield from (entry.path.rpartition("/")[2] for entry in self._notes.tree(month.path, at=head))

    def append(
        self,
        proposal_id: str,
        events: Sequence[Event],
        *,
        branch: str = "",
        also: Mapping[str, bytes] | None = None,
    ) -> list[Event]:
        """Add events durably, and return all that the proposal has now; the caller holds the lock of the store.

        Args:
            proposal_id: of which.
            events: what happened, in order.
            branch: the branch of a proposal that begins.
            also: further files that are written in the same commit.
        """
        known = self.events(proposal_id)
        for event in events:
            known.append(event)
            path = f"{_folder(proposal_id)}/{len(known):06d}.json"
            changes: dict[str, Change] = {path: encoded(event), **(also or {})}
            if branch:
                changes[_index(branch)] = proposal_id.encode()
            self._commit(proposal_id, event, changes)
        return known

    def _commit(self, proposal_id: str, event: Event, changes: dict[str, Change]) -> Commit:
        # No text of a person stands in the message: an erasure replaces files alone.
        text = compose_message(
            f"Proposal {proposal_id}: {event.kind.replace('_', ' ')} by {event.by}",
            trailers={"Proposal": proposal_id, "Event": event.kind},
        )
        return self._notes.commit(changes, text, author_of(event.by), branch=REF, at=event.at)


def is_id(text: str) -> bool:
    """Tell whether a text may be the id of a proposal."""
    return ULID.fullmatch(text) is not None


def _folder(proposal_id: str) -> str:
    """Return the folder of a proposal's events: in that of the month in which it began."""
    at = 0
    for char in proposal_id[:10]:
        at = at << 5 | CROCKFORD.index(char)
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m}/{proposal_id}"


def _index(branch: str) -> str:
    return f"{BRANCHES}/{branch.removeprefix(PREFIX)}"


def encoded(event: Event) -> bytes:
    """Return an event as its file."""
    return msgspec.json.format(msgspec.json.encode(event), indent=2) + b"\n"


def decoded(path: str, data: bytes) -> Event:
    """Read the file of an event.

    Raises:
        Unavailable: `proposal.unreadable`.
    """
    try:
        return msgspec.json.decode(data, type=Event)
    except msgspec.MsgspecError as error:
        raise Unavailable(
            "proposal.unreadable",
            f"The event {path} cannot be read: {error}.",
            hint="Restore the volume from a backup.",
        ) from error
