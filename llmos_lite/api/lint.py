"""How well skills are written: a draft, a skill, a whole volume."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from pydantic import BaseModel, Field

from llmos_lite.api.deps import Body, Has, Paragraph, SkillReader
from llmos_lite.api.openapi import answers
from llmos_lite.api.skills import FindingOut, Id
from llmos_lite.api.volumes import Volume
from llmos_lite.core.skills.format import LARGEST_FILE
from llmos_lite.core.skills.lint.budget import Budget
from llmos_lite.core.skills.lint.linter import Linted, LintedVolume
from llmos_lite.core.skills.scan import Finding
from llmos_lite.volumes.access import VolumeRef

router = APIRouter(route_class=Paragraph, tags=["skills"])

_FOUND = {
    "code": "trigger.when",
    "severity": "medium",
    "message": 'The description does not say when to use it: add "Use when …".',
    "line": 3,
    "scanner": "lint",
    "file": "SKILL.md",
    "category": "trigger",
}
_LINTED = {"skill_id": "my-skill", "findings": [_FOUND]}
_BUDGET = {
    "client": "Claude Code",
    "budget": 8000,
    "used": 1240,
    "skills": 9,
    "fits": True,
    "name_only": [],
    "shortened": 0,
}


class LintedOut(BaseModel):
    """What there is to say about a skill."""

    skill_id: str
    findings: list[FindingOut]

    @classmethod
    def of(cls, one: Linted) -> LintedOut:
        """Show it."""
        return cls(skill_id=one.skill_id, findings=_shown(one.findings))


class BudgetOut(BaseModel):
    """What a client makes of a catalog: characters, and what does not fit.

    `name_only` are at least so many skills, the longest first, that are shown by name alone when all are used alike;
    `shortened` is what is left of each description, 0 when all fit; a `budget` of 0 is none.
    """

    client: str
    budget: int
    used: int
    skills: int
    fits: bool
    name_only: list[str]
    shortened: int

    @classmethod
    def of(cls, one: Budget) -> BudgetOut:
        """Show it."""
        return cls(
            client=one.client.name,
            budget=one.client.budget,
            used=one.used,
            skills=one.skills,
            fits=one.fits,
            name_only=list(one.name_only),
            shortened=one.shortened,
        )


class LintedVolumeOut(BaseModel):
    """What there is to say about a volume: each skill, each client's list, and what does not fit there."""

    items: list[LintedOut]
    budgets: list[BudgetOut]
    findings: list[FindingOut]

    @classmethod
    def of(cls, found: LintedVolume) -> LintedVolumeOut:
        """Show it."""
        return cls(
            items=[LintedOut.of(one) for one in found.skills],
            budgets=[BudgetOut.of(one) for one in found.budgets],
            findings=_shown(found.findings),
        )


class Draft(Body):
    """A text that is not saved yet; `files` are the paths of what lies beside it."""

    model_config = Body.model_config | {
        "json_schema_extra": {
            "examples": [{"skill_id": "my-skill", "content": "---\nname: my-skill\ndescription: SQL.\n---\n\n# SQL\n"}]
        }
    }
    skill_id: str = Field(max_length=64)
    content: str = Field(max_length=LARGEST_FILE)
    files: list[str] = Field(default_factory=list, max_length=512)
    team_id: str | None = Field(None, max_length=64)


@router.post("/skills/lint", responses=answers(_LINTED, 404))
async def lint_draft(actor: SkillReader, services: Has, body: Draft) -> LintedOut:
    """Say how well a text is written, as an editor asks while somebody types; nothing is kept."""
    found = await services.linter.draft(actor, body.skill_id, body.content, body.files, team_id=body.team_id)
    return LintedOut(skill_id=body.skill_id, findings=_shown(found))


@router.get("/skills/{skill_id}/lint", responses=answers(_LINTED, 404))
async def lint_skill(actor: SkillReader, services: Has, skill_id: Id, *, volume: Volume = "") -> LintedOut:
    """Say how well a skill is written, and which neighbours take its place."""
    ref = VolumeRef.parse(volume) if volume else None
    return LintedOut.of(await services.linter.skill(actor, skill_id, volume=ref))


@router.get(
    "/volumes/{volume}/lint", responses=answers({"items": [_LINTED], "budgets": [_BUDGET], "findings": []}, 404)
)
async def lint_volume(actor: SkillReader, services: Has, volume: str) -> LintedVolumeOut:
    """Say how well the skills of a volume are written, and whether each client can list them all."""
    return LintedVolumeOut.of(await services.linter.volume(actor, VolumeRef.parse(volume)))


def _shown(found: Sequence[Finding]) -> list[FindingOut]:

    return [FindingOut.model_validate(one, from_attributes=True) for one in found]
