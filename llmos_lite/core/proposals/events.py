"""What happens to a proposal, and what it all comes to: its state, its reviews, its row.

An event is a file that never changes. Rows and answers are folded from the events of a proposal, in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import msgspec

from llmos_lite.records.proposals import ProposalRecord


class Kind(StrEnum):
    """What happened."""

    OPENED = "opened"
    PROMOTED = "promoted"
    """Brought to main at once, since the policy asked for no review."""
    RENEWED = "renewed"
    """The branch moved; `digest` says whether something else is proposed now."""
    RESOLVED = "resolved"
    """Somebody decided about conflicts, and main was merged into the branch."""
    COMMENTED = "commented"
    APPROVED = "approved"
    CHANGES_REQUESTED = "changes_requested"
    SIGNED_OFF = "signed_off"
    """Somebody stands for what scanners found in exactly these `versions`."""
    MERGED = "merged"
    CLOSED = "closed"


POLICY = "policy"
"""Who decides where no review is asked for."""
VERDICTS = frozenset({Kind.APPROVED, Kind.CHANGES_REQUESTED})
BEGINNINGS = frozenset({Kind.OPENED, Kind.PROMOTED})


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event, as its file holds it.

    Args:
        kind: what.
        at: when, in ms since the epoch.
        by: who.
        target: volume; of a beginning, as are `source`, `skill_id`, `branch` and `author`.
        reason: why it is proposed; of a beginning or a renewal.
        head: commit of the branch.
        digest: what was proposed at that moment, see `branches.digest_of`.
        text: of a comment or review, or why it was closed.
        path: the file that a comment is about.
        line: its line, from 1; 0 for all of it.
        paths: files that were decided about.
        commit: the commit on main.
        approved_by: who had approved what was merged.
        versions: Git ids of the skills that were signed off.
        erased: whether the text was taken out at its author's wish.
    """

    kind: Kind
    at: int
    by: str
    target: str = ""
    source: str = ""
    skill_id: str = ""
    branch: str = ""
    author: str = ""
    reason: str = ""
    head: str = ""
    digest: str = ""
    text: str = ""
    path: str = ""
    line: int = 0
    paths: tuple[str, ...] = ()
    commit: str = ""
    approved_by: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    erased: bool = False


@dataclass(frozen=True, slots=True)
class Review:
    """The last thing that a reviewer said.

    Args:
        user_id: who.
        verdict: `approved` or `changes_requested`.
        at: when.
        digest: what was proposed then.
        valid: whether exactly that is still proposed, and was all the time.
    """

    user_id: str
    verdict: Kind
    at: int
    digest: str
    valid: bool


def reviews(events: Sequence[Event], digest: str) -> list[Review]:
    """Return the last review of everybody, as it stands now that `digest` is proposed.

    A review falls for good when something else is proposed; it stays when only main moved.
    """
    found: dict[str, Review] = {}
    current = ""
    for event in events:
        if event.kind in VERDICTS:
            found.pop(event.by, None)
            found[event.by] = Review(event.by, event.kind, event.at, event.digest, valid=True)
            moved = event.digest
        else:
            moved = event.digest if event.head else current
        if moved != current:
            found = {user: _as_of(one, moved) for user, one in found.items()}
            current = moved
    return [_as_of(one, digest) for one in found.values()]


def _as_of(review: Review, digest: str) -> Review:
    return review if review.digest == digest else replace(review, valid=False)


def record_of(proposal_id: str, events: Sequence[Event]) -> ProposalRecord:
    """Return the row that events come to; the first of them is a beginning."""
    first, last = events[0], events[-1]
    moves = [event for event in events if event.head]
    decided = next((event for event in reversed(events) if event.kind in _STATES), None)
    digest = moves[-1].digest if moves else ""
    return ProposalRecord(
        proposal_id=proposal_id,
        target=first.target,
        source=first.source,
        skill_id=first.skill_id,
        branch=first.branch,
        author=first.author,
        reason=next((event.reason for event in reversed(events) if event.reason), ""),
        state=_STATES[decided.kind] if decided else "open",
        created=first.at,
        decided=decided.at if decided else 0,
        decided_by=POLICY if decided is first else decided.by if decided else "",
        decision=decided.text if decided else "",
        commit=decided.commit if decided else "",
        head=moves[-1].head if moves else "",
        digest=digest,
        review=_summary(reviews(events, digest)),
        comments=sum(1 for event in events if event.kind is Kind.COMMENTED),
        events=len(events),
        updated=last.at,
    )


_STATES = {Kind.MERGED: "merged", Kind.CLOSED: "closed", Kind.PROMOTED: "merged"}


def _summary(found: Sequence[Review]) -> str:
    verdicts = {one.verdict for one in found if one.valid}
    order = (Kind.CHANGES_REQUESTED, Kind.APPROVED)
    return next((verdict.value for verdict in order if verdict in verdicts), "")
