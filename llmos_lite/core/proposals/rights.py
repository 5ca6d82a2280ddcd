"""Who sees a proposal, and who may do what with it.

| | sees and comments | reviews, merges | resolves, closes |
|---|---|---|---|
| its author, while the target is one that they may read | yes | no | yes |
| an admin of the target | yes | yes | yes |
| a member of the target's team | yes | no | no |
| anybody else | no | no | no |

In one's own volume one is both: author and admin. The author of a proposal never reviews it elsewhere.
"""

from __future__ import annotations

from llmos_lite.core.accounts.permissions import Actor, may_administer
from llmos_lite.errors import Forbidden
from llmos_lite.records.proposals import ProposalRecord, Wanted
from llmos_lite.volumes.access import SYSTEM, VolumeKind, VolumeRef


def sees(actor: Actor, row: ProposalRecord) -> bool:
    """Tell whether an actor may know of a proposal."""
    target = VolumeRef.parse(row.target)
    if may_administer(actor, target) or (target.kind is VolumeKind.TEAM and target.id in actor.teams):
        return True
    return target == SYSTEM and row.author == actor.user_id


def seen_by(actor: Actor, *, state: str = "", target: str = "", author: str = "") -> Wanted:
    """Return the proposals that an actor sees, as a question to the rows."""
    volumes = [str(actor.volume), *(str(VolumeRef.team(team)) for team in actor.teams)]
    return Wanted(
        None if actor.is_admin else volumes, actor.user_id, [str(SYSTEM)], state=state, target=target, author=author
    )


def require_reviewer(actor: Actor, row: ProposalRecord, verb: str) -> None:
    """Raise unless an actor decides over the target.

    Args:
        actor: who.
        row: the proposal.
        verb: what is refused, as in "merge".

    Raises:
        Forbidden: `role.missing`.
    """
    if not may_administer(actor, VolumeRef.parse(row.target)):
        raise Forbidden(
            "role.missing",
            f"Only an admin of {row.target} may {verb} this proposal.",
            hint=f"Ask an admin of {row.target}.",
        )


def require_party(actor: Actor, row: ProposalRecord, verb: str) -> None:
    """Raise unless an actor is the author, or decides over the target.

    Raises:
        Forbidden: `role.missing`.
    """
    if row.author != actor.user_id and not may_administer(actor, VolumeRef.parse(row.target)):
        raise Forbidden(
            "role.missing",
            f"Only its author or an admin of {row.target} may {verb} this proposal.",
            hint=f"Ask its author, or an admin of {row.target}.",
        )


def is_own(actor: Actor, row: ProposalRecord) -> bool:
    """Tell whether an actor proposes this to somebody else's volume: such a person does not review it."""
    return row.author == actor.user_id and row.target != str(actor.volume)
