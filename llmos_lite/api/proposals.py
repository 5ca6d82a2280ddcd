"""Promotion that waits for a review: list, look at, comment, review, resolve, merge or close."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query

from llmos_lite.api.deps import Cursor, Has, Limit, Listing, Paragraph, SkillReader, SkillWriter
from llmos_lite.api.openapi import answers
from llmos_lite.api.proposal_bodies import (
    MERGED,
    ROW,
    WHOLE,
    CloseIn,
    Comment,
    MergeIn,
    ProposalDetail,
    ProposalOut,
    Resolve,
    ReviewIn,
)
from llmos_lite.api.scan import SignOffIn
from llmos_lite.core.proposals.events import Kind
from llmos_lite.core.proposals.resolving import Resolution
from llmos_lite.volumes.access import VolumeRef, check_id

router = APIRouter(route_class=Paragraph, tags=["proposals"])

Id = Annotated[str, Path(max_length=64, description="`proposal_id` of a promotion.")]


@router.get("/proposals", responses=answers({"items": [ROW], "next_cursor": None, "total": 1}))
async def list_proposals(
    actor: SkillReader,
    services: Has,
    *,
    state: Annotated[Literal["", "open", "merged", "closed"], Query(description="Only those in this state.")] = "",
    target: Annotated[str, Query(max_length=80, description="Only those to this volume.")] = "",
    author: Annotated[str, Query(max_length=64, description="Only those by this person.")] = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Listing[ProposalOut]:
    """List the proposals that you see, newest first.

    These are your own to the system, all to your teams and to your volume, and to what you administer.
    """
    volume = str(VolumeRef.parse(target)) if target else ""
    person = check_id(author, "user") if author else ""
    page = await services.proposals.page(actor, state=state, target=volume, author=person, limit=limit, cursor=cursor)
    return Listing(items=[ProposalOut.of(item) for item in page.items], next_cursor=page.next_cursor, total=page.total)


@router.get("/proposals/{proposal_id}", responses=answers(WHOLE, 404))
async def get_proposal(actor: SkillReader, services: Has, proposal_id: Id) -> ProposalDetail:
    """Show a proposal: what it changes, conflicts, what was said, and whether you may merge it."""
    return ProposalDetail.whole(await services.proposals.get(actor, proposal_id))


@router.post("/proposals/{proposal_id}/comments", status_code=201, responses=answers(WHOLE, 404, 409, status=201))
async def comment_on_proposal(actor: SkillWriter, services: Has, proposal_id: Id, body: Comment) -> ProposalDetail:
    """Comment on a proposal that you see."""
    view = await services.proposals.comment(actor, proposal_id, body.text, path=body.path, line=body.line)
    return ProposalDetail.whole(view)


@router.post("/proposals/{proposal_id}/reviews", status_code=201, responses=answers(WHOLE, 404, 409, status=201))
async def review_proposal(actor: SkillWriter, services: Has, proposal_id: Id, body: ReviewIn) -> ProposalDetail:
    """Approve a proposal, or request changes, as an admin of its target who did not write it.

    A review is of exactly what is proposed now, and falls when something else is.
    """
    verdict = Kind.APPROVED if body.verdict == "approve" else Kind.CHANGES_REQUESTED
    view = await services.proposals.review(actor, proposal_id, verdict, body.text, digest=body.digest)
    return ProposalDetail.whole(view)


@router.post("/proposals/{proposal_id}/sign-off", responses=answers(WHOLE, 404, 409))
async def sign_proposal_off(actor: SkillWriter, services: Has, proposal_id: Id, body: SignOffIn) -> ProposalDetail:
    """Stand for what scanners found in exactly what is proposed, as an admin of its target who did not write it.

    Any change of any file of the skill revokes it.
    """
    return ProposalDetail.whole(await services.proposals.sign_off(actor, proposal_id, body.reason, digest=body.digest))


@router.post("/proposals/{proposal_id}/resolve", responses=answers(WHOLE, 404, 409, 413))
async def resolve_proposal(actor: SkillWriter, services: Has, proposal_id: Id, body: Resolve) -> ProposalDetail:
    """Decide about the conflicts of a proposal, as its author or an admin of its target.

    Main is merged into the proposal's branch, with your version of each file; reviews of the old one fall.
    """
    chosen = [Resolution(one.path, one.take, one.content) for one in body.files]
    return ProposalDetail.whole(await services.proposals.resolve(actor, proposal_id, chosen, seen=body.seen))


@router.post("/proposals/{proposal_id}/merge", responses=answers(MERGED, 404, 409))
async def merge_proposal(
    actor: SkillWriter, services: Has, proposal_id: Id, body: MergeIn | None = None
) -> ProposalDetail:
    """Merge a proposal, as an admin of its target; that approves what nobody else approved yet."""
    digest = body.digest if body else ""
    return ProposalDetail.whole(await services.proposals.merge(actor, proposal_id, digest=digest))


@router.post("/proposals/{proposal_id}/close", responses=answers(MERGED | {"state": "closed"}, 404, 409))
async def close_proposal(
    actor: SkillWriter, services: Has, proposal_id: Id, body: CloseIn | None = None
) -> ProposalDetail:
    """Close a proposal without merging it, as its author or an admin of its target."""
    reason = body.reason if body else ""
    return ProposalDetail.whole(await services.proposals.close(actor, proposal_id, reason))
