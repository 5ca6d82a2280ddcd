"""Promotion that waits for a review: list, read with its diff, merge or close."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from llmos_lite.api.deps import Cursor, Has, Limit, Listing, Paragraph, SkillReader, SkillWriter
from llmos_lite.api.openapi import answers
from llmos_lite.core.proposals.service import ProposalView

router = APIRouter(route_class=Paragraph, tags=["proposals"])

_ROW = {
    "proposal_id": "01KBFW2Q7XN4T9C2Y4R8M0D6ZV",
    "target": "team:sre",
    "source": "user:alice",
    "skill_id": "my-skill",
    "branch": "pr/alice/my-skill",
    "author": "alice",
    "reason": "Useful for team",
    "state": "open",
    "created": 1764720000000,
    "decided": 0,
    "decided_by": "",
}
_DIFF = "--- a/skills/my-skill/SKILL.md\n+++ b/skills/my-skill/SKILL.md\n@@ -0,0 +1 @@\n+# My skill\n"

Id = Annotated[str, Path(max_length=64, description="`proposal_id` of a promotion.")]


class ProposalOut(BaseModel):
    """A proposed change to a volume; times are in ms since the epoch, 0 for not yet."""

    proposal_id: str
    target: str
    source: str
    skill_id: str
    branch: str
    author: str
    reason: str
    state: Literal["open", "merged", "closed"]
    created: int
    decided: int
    decided_by: str

    @classmethod
    def of(cls, view: ProposalView) -> ProposalOut:
        """Show a proposal."""
        return cls.model_validate(view.proposal, from_attributes=True)


class ProposalDiff(ProposalOut):
    """A proposal with what it would change, as a unified diff; `conflict` says that it can no longer be merged."""

    diff: str
    conflict: bool

    @classmethod
    def whole(cls, view: ProposalView) -> ProposalDiff:
        """Show a proposal with its diff."""
        row = ProposalOut.of(view).model_dump()
        return cls(**row, diff=view.diff, conflict=view.conflict)


@router.get("/proposals", responses=answers({"items": [_ROW], "next_cursor": None, "total": 1}))
async def list_proposals(
    actor: SkillReader,
    services: Has,
    state: Annotated[Literal["", "open", "merged", "closed"], Query(description="Only those in this state.")] = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Listing[ProposalOut]:
    """List your proposals and those to volumes that you may read, newest first."""
    page = await services.proposals.page(actor, state=state, limit=limit, cursor=cursor)
    return Listing(items=[ProposalOut.of(item) for item in page.items], next_cursor=page.next_cursor, total=page.total)


@router.get("/proposals/{proposal_id}", responses=answers(_ROW | {"diff": _DIFF, "conflict": False}, 404))
async def get_proposal(actor: SkillReader, services: Has, proposal_id: Id) -> ProposalDiff:
    """Show a proposal and what it would change."""
    return ProposalDiff.whole(await services.proposals.get(actor, proposal_id))


@router.post("/proposals/{proposal_id}/merge", responses=answers(_ROW | {"state": "merged"}, 404, 409))
async def merge_proposal(actor: SkillWriter, services: Has, proposal_id: Id) -> ProposalOut:
    """Merge a proposal, as an admin of its target who did not write it."""
    return ProposalOut.of(await services.proposals.merge(actor, proposal_id))


@router.post("/proposals/{proposal_id}/close", responses=answers(_ROW | {"state": "closed"}, 404, 409))
async def close_proposal(actor: SkillWriter, services: Has, proposal_id: Id) -> ProposalOut:
    """Close a proposal without merging it, as its author or an admin of its target."""
    return ProposalOut.of(await services.proposals.close(actor, proposal_id))
