"""Rewriting the history of a volume's skills without a text."""

from __future__ import annotations

from typing import Self

from fastapi import APIRouter
from pydantic import BaseModel, Field, JsonValue

from llmos_lite.api.deps import Body, Has, Paragraph, SkillWriter
from llmos_lite.api.openapi import answers
from llmos_lite.core.skills.scrub import LONGEST, MOST_TEXTS, REASON_LENGTH, ScrubReport
from llmos_lite.volumes.access import VolumeRef

router = APIRouter(route_class=Paragraph, tags=["skills"])

OUT_OF_REACH = (
    "Clones, backups and mirrors that were made before keep the old history: have every clone deleted and made again, "
    "and change the secret if it was one."
)
_SCRUBBED = {
    "volume": "team:sre",
    "scrub_id": "01KAKE3VX5N8Q2R7T9W4Y6Z1BD",
    "commits": 41,
    "objects": 96,
    "resigned": 2,
    "branches": ["main", "pr/bob/deploy"],
    "files": [],
    "remotes": [],
    "out_of_reach": OUT_OF_REACH,
}
_EXAMPLE: dict[str, JsonValue] = {
    "volume": "team:sre",
    "texts": ["sk-live-1234567890"],
    "reason": "A key that was pushed by mistake",
}


class ScrubIn(Body):
    """What goes from which volume."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [_EXAMPLE]}}
    volume: str = Field("", max_length=80, description="`system`, `team:ID` or `user:ID`; empty for your own.")
    texts: list[str] = Field([], max_length=MOST_TEXTS, description=f"6 to {LONGEST:,} characters each.")
    quoted: bool = Field(default=False, description="Instead, what skills quoted from erased traces.")
    reason: str = Field("", max_length=REASON_LENGTH, description="Why, for the tombstone; without the text.")
    diverge: bool = Field(default=False, description="Do it though remotes keep the old history.")


class ScrubOut(BaseModel):
    """What was done: `commits` are new, `objects` are gone, `resigned` commits of people lost their own signature.

    `files` of the volume's folder that are not in Git still hold the text; `remotes` and what `out_of_reach` says keep
    the old history.
    """

    volume: str
    scrub_id: str
    commits: int
    objects: int
    resigned: int
    branches: list[str]
    files: list[str]
    remotes: list[str]
    out_of_reach: str

    @classmethod
    def of(cls, report: ScrubReport) -> Self:
        """Show a report."""
        names = ScrubReport.__struct_fields__
        return cls(**{name: getattr(report, name) for name in names}, out_of_reach=OUT_OF_REACH)


@router.post("/skills/scrub", responses=answers(_SCRUBBED, 404, 409, 503, 507))
async def scrub_history(actor: SkillWriter, services: Has, body: ScrubIn) -> ScrubOut:
    """Take texts out of every commit of a volume's skills, as an admin of it; it cannot be undone.

    Commits keep authors and dates, and get new ids; a last commit says who did it, when and why.
    """
    ref = VolumeRef.parse(body.volume) if body.volume else actor.volume
    report = await services.scrubber.scrub(
        actor, ref, texts=body.texts, quoted=body.quoted, reason=body.reason, diverge=body.diverge
    )
    return ScrubOut.of(report)
