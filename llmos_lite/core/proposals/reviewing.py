"""Reviews and the merge: what stands in the way, and what is written when nothing does.

Everything that decides is compared under the lock of the repository, so what is merged is what was approved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmos_lite.core.accounts.permissions import Actor, may_administer
from llmos_lite.core.proposals import branches
from llmos_lite.core.proposals.branches import Branch
from llmos_lite.core.proposals.events import Event, Kind, Review, record_of, reviews
from llmos_lite.core.proposals.log import ProposalLog
from llmos_lite.core.proposals.promoting import close_branch, merged_as
from llmos_lite.core.proposals.rights import is_own, require_reviewer
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.engines.git import Commit
from llmos_lite.errors import Conflict, Forbidden, Invalid, LlmosError
from llmos_lite.records.proposals import ProposalRecord
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.git_volume import GitVolume, author_of
from llmos_lite.volumes.merging import conflict

MOST_SAID = 500
"""Comments and reviews of one proposal."""
TEXT_LENGTH = 10_000
"""Characters of a comment, a review, or why something is closed."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A proposal as it stands, read under the lock.

    Args:
        row: what its events come to.
        events: these.
        branch: its branch; None when that is gone.
        reviews: the last one of everybody.
        required: whether the target's policy asks for a review.
    """

    row: ProposalRecord
    events: list[Event]
    branch: Branch | None
    reviews: list[Review]
    required: bool

    @property
    def landed(self) -> bool:
        """Tell whether main has what was proposed already: merged with git, or before a kill."""
        return self.branch is not None and self.branch.contained and self.branch.head.oid == self.row.head

    @property
    def digest(self) -> str:
        """Return what names exactly what is proposed now."""
        return self.branch.digest if self.branch else self.row.digest


def standing(volume: GitVolume, row: ProposalRecord) -> Standing:
    """Read how a proposal stands; without the lock, its branch may go meanwhile.

    Raises:
        Conflict: `proposal.gone`, when it just did.
    """
    events = ProposalLog(volume).events(row.proposal_id)
    row = record_of(row.proposal_id, events) if events else row
    there = row.state == "open" and volume.store.head(row.branch) is not None
    branch = branches.read(volume.store, row.branch) if there else None
    found = reviews(events, branch.digest if branch else row.digest)
    return Standing(row, events, branch, found, volume.review_required)


def require_open(row: ProposalRecord) -> None:
    """Raise when a proposal is decided.

    Raises:
        Conflict: `proposal.decided`.
    """
    if row.state != "open":
        raise Conflict("proposal.decided", f"This proposal is {row.state} already.")


def require_unchanged(found: Standing, digest: str) -> Branch:
    """Return the branch when it proposes what somebody looked at (`digest`; empty: whatever it is).

    Raises:
        Conflict: `proposal.decided`, `proposal.gone`, `proposal.changed`.
    """
    require_open(found.row)
    if found.branch is None:
        name = found.row.branch
        raise Conflict("proposal.gone", f"The branch {name} is no longer there.", hint="Close the proposal.")
    if digest and digest != found.branch.digest:
        raise Conflict(
            "proposal.changed",
            "Something else is proposed by now than what you looked at.",
            hint="Look at it again.",
            digest=found.branch.digest,
        )
    return found.branch


def obstacles(actor: Actor, found: Standing, *, looked: bool, unsafe: Sequence[LlmosError] = ()) -> list[LlmosError]:
    """Return what keeps somebody from merging, the gravest first.

    Args:
        actor: who would merge.
        found: the proposal.
        looked: whether the actor names what is proposed now; else a merge does not approve what changed unseen.
        unsafe: what scanners hold against it, see `signing.obstacle`.
    """
    row, branch = found.row, found.branch
    try:
        require_reviewer(actor, row, "merge")
        branch = require_unchanged(found, "")
    except LlmosError as error:
        return [error]
    if found.landed:
        return []
    problems: list[LlmosError] = [*unsafe]
    if branch.collisions:
        problems.append(conflict(list(branch.conflicts)))
    elif not branch.pending:
        problems.append(Conflict("proposal.empty", "Main has all of this already.", hint="Close the proposal."))
    if found.required and row.target != str(actor.volume):
        problems += _unapproved(actor, found, looked=looked)
    return problems


def _unapproved(actor: Actor, found: Standing, *, looked: bool) -> list[LlmosError]:
    against = [
        one.user_id for one in found.reviews if one.valid and one.verdict is Kind.CHANGES_REQUESTED
        and one.user_id != actor.user_id
    ]  # fmt: skip
    if against:
        hint = "Change what is proposed, or ask for another look."
        return [Conflict("proposal.changes_requested", f"{', '.join(against)} asked for changes.", hint=hint)]
    if approvers(found):
        return []
    if is_own(actor, found.row):
        return [Forbidden("proposal.own", "Somebody else than the author has to approve a proposal.")]
    fallen = [one.user_id for one in found.reviews if one.verdict is Kind.APPROVED and not one.valid]
    if fallen and not looked:
        names = ", ".join(fallen)
        hint = "Look at it again, then approve it, or merge it with the digest that you saw."
        return [Conflict("proposal.approval_fallen", f"It has changed since {names} approved it.", hint=hint)]
    return []


def approvers(found: Standing) -> list[str]:
    """Return who approved exactly what is proposed now, other than its author."""
    said = [one for one in found.reviews if one.valid and one.verdict is Kind.APPROVED]
    return [one.user_id for one in said if one.user_id != found.row.author]


# Writing


def add_comment(
    volume: GitVolume, actor: Actor, row: ProposalRecord, *, text: str, path: str, line: int
) -> list[Event]:
    """Note a comment, on the whole or on a line of a file that is proposed.

    Raises:
        Invalid: `comment.path`, `comment.line`.
        Conflict: `proposal.full`.
    """
    with volume.store.lock():
        found = standing(volume, row)
        if path or line:
            _require_line(volume, found, path, line)
        event = Event(
            kind=Kind.COMMENTED, at=now_ms(), by=actor.user_id, text=text, path=path, line=line, digest=found.digest
        )
        return _say(volume, found, event)


def add_review(
    volume: GitVolume, actor: Actor, row: ProposalRecord, *, verdict: Kind, text: str, digest: str
) -> list[Event]:
    """Note a review of what is proposed now.

    Raises:
        Forbidden: `role.missing`, `proposal.own`.
        Conflict: `proposal.decided`, `proposal.gone`, `proposal.changed`, `proposal.full`.
    """
    with volume.store.lock():
        found = standing(volume, row)
        require_reviewer(actor, found.row, "review")
        if is_own(actor, found.row):
            raise Forbidden(
                "proposal.own",
                "Somebody else than the author has to review a proposal.",
                hint=f"Ask another admin of {found.row.target}.",
            )
        branch = require_unchanged(found, digest)
        event = Event(kind=verdict, at=now_ms(), by=actor.user_id, text=text, digest=branch.digest)
        return _say(volume, found, event)


def merge(
    volume: GitVolume,
    actor: Actor,
    row: ProposalRecord,
    *,
    digest: str,
    known: str,
    unsafe: Callable[[Branch], Sequence[LlmosError]],
) -> list[Event]:
    """Merge a proposal into main, as the platform, in the name of its author.

    Args:
        volume: the target.
        actor: an admin of it, whose merge approves what nobody approved yet.
        row: the proposal.
        digest: what the actor looked at; empty when that is not known.
        known: what was proposed when the actor asked.
        unsafe: says what scanners hold against a branch.

    Raises:
        Forbidden: `role.missing`, `proposal.own`.
        Conflict: see `obstacles`.
    """
    with volume.store.lock():
        found = standing(volume, row)
        require_reviewer(actor, found.row, "merge")
        branch = require_unchanged(found, digest or known)
        held = () if found.landed else unsafe(branch)
        for problem in obstacles(actor, found, looked=bool(digest), unsafe=held):
            raise problem
        approved = approvers(found)
        if found.row.author != actor.user_id and actor.user_id not in approved:
            approved.append(actor.user_id)
        merged = merged_as(volume, branch.head.oid) if found.landed else None
        commit = merged or _merge(volume, actor, found.row, approved)
        event = Event(
            kind=Kind.MERGED,
            at=now_ms(),
            by=actor.user_id,
            head=branch.head.oid,
            digest=branch.digest,
            commit=commit.oid,
            approved_by=tuple(approved),
        )
        events = ProposalLog(volume).append(row.proposal_id, [event])
        close_branch(volume, found.row.branch)
        return events


def _merge(volume: GitVolume, actor: Actor, row: ProposalRecord, approved: Sequence[str]) -> Commit:
    said = [("Proposal", row.proposal_id), *(("Approved-By", one) for one in approved), ("Merged-By", actor.user_id)]
    trailers = "\n".join(f"{key}: {value}" for key, value in said)
    message = f"Merge {row.branch}: {row.reason}".strip()
    return volume.merge_branch(row.branch, f"{message}\n\n{trailers}", author_of(row.author))


def close(volume: GitVolume, actor: Actor, row: ProposalRecord, *, reason: str) -> list[Event]:
    """Close a proposal; its branch goes.

    Raises:
        Conflict: `proposal.decided`.
    """
    with volume.store.lock():
        found = standing(volume, row)
        require_open(found.row)
        head = found.branch.head.oid if found.branch else ""
        event = Event(
            kind=Kind.CLOSED, at=now_ms(), by=actor.user_id, text=reason, head=head, digest=found.digest if head else ""
        )
        events = ProposalLog(volume).append(row.proposal_id, [event])
        close_branch(volume, found.row.branch)
        return events


def _say(volume: GitVolume, found: Standing, event: Event) -> list[Event]:
    if sum(bool(one.text) or one.kind is Kind.COMMENTED for one in found.events) >= MOST_SAID:
        raise Conflict("proposal.full", f"A proposal takes {MOST_SAID} comments.", hint="Close it and open another.")
    return ProposalLog(volume).append(found.row.proposal_id, [event])


def _require_line(volume: GitVolume, found: Standing, path: str, line: int) -> None:
    pair = found.branch.changes.get(path) if found.branch else None
    if pair is None:
        raise Invalid("comment.path", f"The proposal does not change the file {path[:200]!r}.")
    most = branches.lines_of(volume.store, pair)
    if line > most:
        raise Invalid("comment.line", f"The file {path[:200]!r} has {most} lines.")


def may(actor: Actor, found: Standing, *, unsafe: Sequence[LlmosError] = ()) -> list[str]:
    """Return what an actor may do with a proposal that it sees."""
    row = found.row
    if row.state != "open":
        return ["comment"]
    decides = may_administer(actor, VolumeRef.parse(row.target))
    party = decides or row.author == actor.user_id
    rights = {
        "comment": True,
        "review": decides and found.branch is not None and not is_own(actor, row),
        "sign_off": decides and bool(unsafe) and not is_own(actor, row),
        "merge": not obstacles(actor, found, looked=True, unsafe=unsafe),
        "resolve": party and found.branch is not None and bool(found.branch.collisions),
        "close": party,
    }
    return [name for name, given in rights.items() if given]
