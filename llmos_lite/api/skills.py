"""Skills: list, search, read, create, change, delete, install, promote."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter
from pydantic import BaseModel, Field, model_validator

from llmos_lite.api.deps import Body, Cursor, Has, Limit, Listing, Paragraph, SkillReader, SkillWriter
from llmos_lite.api.explanations import EXAMPLE, ExplanationOut
from llmos_lite.api.openapi import answers
from llmos_lite.api.spool import spooled
from llmos_lite.api.volumes import CommitOut, Volume
from llmos_lite.core.skills.draft import SkillChange, SkillDraft
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.install import Installed, Package, unpack
from llmos_lite.core.skills.lint.rules import lint
from llmos_lite.core.skills.views import ListedSkill, SkillView
from llmos_lite.volumes.access import VolumeRef

router = APIRouter(route_class=Paragraph, tags=["skills"])

_ROW = {
    "skill_id": "my-skill",
    "name": "My Skill",
    "category": "coding",
    "description": "Use when a query is slow in Postgres.",
    "keywords": ["postgres", "slow"],
    "volume": "user:alice",
    "version": "4f1b0c9d2e7a5b8c3d6e9f0a1b2c3d4e5f6a7b8c",
    "tree": "4f1b0c9d2e7a5b8c3d6e9f0a1b2c3d4e5f6a7b8c",
    "path": "skills/my-skill/SKILL.md",
    "score": 7.31,
    "shadowed_by": None,
    "error": None,
    "held": False,
    "held_for": [],
    "origin": "person",
    "explanation": None,
}
SKILL = _ROW | {
    "score": None,
    "content": "---\nname: my-skill\ndescription: Use when a query is slow in Postgres.\n---\n\n# My Skill\n",
    "files": ["scripts/explain.sql"],
    "findings": [],
    "lint": [],
}
_COMMIT = {
    "commit": "5f0c3c8f1f6a2e0d3b7a9c4e8d1b2a3f4c5d6e7f",
    "parents": ["1b2a3f4c5d6e7f5f0c3c8f1f6a2e0d3b7a9c4e8d"],
    "author": "alice",
    "committer": "llmos-lite",
    "time": 1764720000000,
    "subject": "Create skill: My Skill",
    "body": "",
    "trailers": {},
    "signed": True,
}

Id = Annotated[str, PathParameter(description="Id of the skill: lower-case letters, digits and single hyphens.")]
Team = Annotated[str, Query(max_length=64, description="Team in whose context this is; one of your own.")]
Version = Annotated[str, Query(max_length=64, description="Git id of the version of the skill.")]


class SkillRow(BaseModel):
    """A skill in a list.

    `score` stands only in the answer to a query, `explanation` where it was asked for; `origin` is `person`,
    `evolution`, `import` or `system`.
    `tree` is the Git id of the skill's folder, as `git rev-parse HEAD:skills/my-skill` and lock files have it; null for
    a flat file, which has none. `held` says that a scanner holds it back, so that it is given to no model, and
    `held_for` the codes of what it found; see `/skills/{skill_id}/scan`.
    """

    skill_id: str
    name: str
    category: str
    description: str
    keywords: list[str]
    volume: str
    version: str
    tree: str | None
    path: str
    score: float | None
    shadowed_by: str | None
    error: str | None
    held: bool
    held_for: list[str]
    origin: str | None
    explanation: ExplanationOut | None = None

    @classmethod
    def of(cls, listed: ListedSkill, origin: str | None) -> SkillRow:
        """Show a skill of a list."""
        shown = ExplanationOut.of(listed.explanation)
        return cls(**_fields(listed.skill), score=listed.score, origin=origin, explanation=shown)


class FindingOut(BaseModel):
    """What a scanner said when the skill was written."""

    code: str
    severity: str
    message: str
    line: int
    scanner: str
    file: str
    category: str


class SkillOut(SkillRow):
    """A skill with its SKILL.md and the further files of its folder.

    `findings` is what scanners said when it was written, `lint` how well its text keeps to the standard.
    """

    content: str
    files: list[str]
    findings: list[FindingOut]
    lint: list[FindingOut]

    @classmethod
    def whole(cls, view: SkillView, origin: str | None) -> SkillOut:
        """Show a skill."""
        findings = [FindingOut.model_validate(finding, from_attributes=True) for finding in view.findings]
        return cls(
            **_fields(view.skill),
            score=None,
            origin=origin,
            content=view.content,
            files=list(view.files),
            findings=findings,
            lint=[
                FindingOut.model_validate(one, from_attributes=True)
                for one in lint(view.skill.skill_id, view.content.encode(), view.files)
            ],
        )


class NewSkill(Body):
    """A skill to be created; front matter in `content` counts where a field is left out."""

    model_config = Body.model_config | {
        "json_schema_extra": {
            "examples": [
                {
                    "skill_id": "my-skill",
                    "name": "My Skill",
                    "category": "coding",
                    "description": "Use when a query is slow in Postgres.",
                    "keywords": ["postgres", "slow"],
                    "content": "# My Skill\n\n## Approach\n\n1. Run EXPLAIN ANALYZE.\n",
                }
            ]
        }
    }
    skill_id: str
    name: str = ""
    category: str = ""
    description: str = ""
    keywords: list[str] = Field(default_factory=list)
    content: str
    volume: str | None = Field(None, description="`system`, `team:ID` or `user:ID`; your own when left out.")


class SkillEdit(Body):
    """What changes in a skill; what is left out stays. Front matter in `content` replaces all fields."""

    model_config = Body.model_config | {
        "json_schema_extra": {"examples": [{"content": "# My Skill\n\n## Approach\n\n1. Look at the plan first.\n"}]}
    }
    name: str | None = None
    category: str | None = None
    description: str | None = None
    keywords: list[str] | None = None
    content: str | None = None
    version: str | None = Field(None, description="The version that you saw; a change meanwhile is then a conflict.")


class InstalledOut(BaseModel):
    """What came of one skill of an archive."""

    skill_id: str
    status: Literal["created", "updated", "unchanged", "refused", "available"]
    detail: str
    version: str

    @classmethod
    def of(cls, one: Installed) -> InstalledOut:
        """Show it."""
        return cls(skill_id=one.skill_id, status=one.status, detail=one.detail, version=one.version)


class Promotion(Body):
    """A skill on its way up; `team_id` is the same as `to: team:ID`."""

    model_config = Body.model_config | {
        "json_schema_extra": {"examples": [{"skill_id": "my-skill", "team_id": "sre", "reason": "Useful for team"}]}
    }
    skill_id: str
    team_id: str | None = None
    to: str | None = Field(None, description="`team:ID` or `system`.")
    source: str | None = Field(None, alias="from", description="`user:ID` or `team:ID`; your own when left out.")
    reason: str

    @model_validator(mode="after")
    def _one_target(self) -> Promotion:
        if (self.team_id is None) == (self.to is None):
            raise ValueError("name the target with team_id or with to")
        return self

    @property
    def target(self) -> VolumeRef:
        """Return where the skill goes."""
        return VolumeRef.team(self.team_id) if self.team_id is not None else VolumeRef.parse(self.to or "")


class Promoted(BaseModel):
    """What came of a promotion: `merged`, or `open` until somebody merges the proposal.

    `unchanged` when the target has exactly this already; there is no proposal then.
    """

    status: Literal["merged", "open", "unchanged"]
    proposal_id: str
    commit: str
    held_for: list[str]


@router.get(
    "/skills", responses=answers({"items": [_ROW | {"explanation": EXAMPLE}], "next_cursor": None, "total": 1}, 404)
)
async def list_skills(
    actor: SkillReader,
    services: Has,
    *,
    query: Annotated[
        str, Query(max_length=4000, description="What it should be about; the best fit comes first.")
    ] = "",
    volume: Volume = "",
    team_id: Team = "",
    category: Annotated[str, Query(max_length=64, description="Only this category.")] = "",
    explain: Annotated[
        bool, Query(description="Say of each hit why it would be used; list also those that would not, and why.")
    ] = False,
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Listing[SkillRow]:
    """List the skills that you see: yours over the team's over the system's, by id or best first for a query."""
    page = await services.skills.page(
        actor,
        query=query,
        team_id=team_id or None,
        volume=VolumeRef.parse(volume) if volume else None,
        category=category,
        limit=limit,
        cursor=cursor,
        explained=explain,
    )
    known = await services.origins.of(item.skill for item in page.items)
    origins = {key: record.origin for key, record in known.items()}
    rows = [SkillRow.of(item, origins.get((item.skill.volume, item.skill.skill_id))) for item in page.items]
    return Listing(items=rows, next_cursor=page.next_cursor, total=page.total)


@router.post("/skills", status_code=201, responses=answers(SKILL, 404, 409, status=201))
async def create_skill(actor: SkillWriter, services: Has, body: NewSkill) -> SkillOut:
    """Create a skill."""
    ref = VolumeRef.parse(body.volume) if body.volume is not None else None
    draft = SkillDraft(**body.model_dump(exclude={"volume"}), volume=ref)
    return await shown(services, await services.skills.create(actor, draft))


@router.post(
    "/skills/promote",
    responses=answers(
        {"status": "merged", "proposal_id": "01KBFW2Q7XN4T9C2Y4R8M0D6ZV", "commit": "5f0c…", "held_for": []}, 404, 409
    ),
)
async def promote_skill(actor: SkillWriter, services: Has, body: Promotion) -> Promoted:
    """Promote a skill to a team that you are in, or to the system; where a review is asked for, propose it."""
    source = VolumeRef.parse(body.source) if body.source is not None else None
    done = await services.proposals.promote(actor, body.skill_id, body.target, body.reason, source=source)
    return Promoted.model_validate(done, from_attributes=True)


@router.post(
    "/skills/install",
    responses=answers(
        {
            "items": [{"skill_id": "my-skill", "status": "created", "detail": "", "version": "4f1b…"}],
            "next_cursor": None,
            "total": 1,
        },
        404,
        413,
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/x-tar": {"schema": {"type": "string", "contentMediaType": "application/x-tar"}}},
        }
    },
)
async def install_skills(
    actor: SkillWriter,
    services: Has,
    request: Request,
    *,
    volume: Volume = "",
    replace: Annotated[bool, Query(description="Replace skills that are there and differ.")] = False,
) -> Listing[InstalledOut]:
    """Install the skills of a tar archive: files, skill folders, or a tree of them, as one commit."""
    ref = VolumeRef.parse(volume) if volume else None
    async with spooled(request, services.settings.data) as path:
        packages = await asyncio.to_thread(_unpack, path)
    done = await services.skills.install(actor, packages, volume=ref, replace=replace)
    return Listing(items=[InstalledOut.of(one) for one in done], next_cursor=None, total=len(done))


@router.get("/skills/{skill_id}", responses=answers(SKILL, 404))
async def get_skill(
    actor: SkillReader,
    services: Has,
    skill_id: Id,
    *,
    volume: Volume = "",
    team_id: Team = "",
    version: Version = "",
) -> SkillOut:
    """Show a skill, as you see it, of a volume, or an earlier version."""
    view = await services.skills.get(
        actor,
        skill_id,
        volume=VolumeRef.parse(volume) if volume else None,
        team_id=team_id or None,
        version=version or None,
        history=0,
    )
    return await shown(services, view)


@router.put("/skills/{skill_id}", responses=answers(SKILL, 404, 409), operation_id="put_skill")
@router.patch("/skills/{skill_id}", responses=answers(SKILL, 404, 409), operation_id="patch_skill")
async def change_skill(
    actor: SkillWriter, services: Has, skill_id: Id, body: SkillEdit, *, volume: Volume = ""
) -> SkillOut:
    """Change a skill."""
    change = SkillChange(**body.model_dump(exclude={"version"}))
    ref = VolumeRef.parse(volume) if volume else None
    return await shown(services, await services.skills.update(actor, skill_id, change, volume=ref, expect=body.version))


@router.delete("/skills/{skill_id}", responses=answers(_COMMIT | {"subject": "Delete skill: my-skill"}, 404, 409))
async def delete_skill(
    actor: SkillWriter, services: Has, skill_id: Id, *, volume: Volume = "", version: Version = ""
) -> CommitOut:
    """Delete a skill; its history stays, and the answer is the commit that did it."""
    ref = VolumeRef.parse(volume) if volume else None
    return CommitOut.of(await services.skills.delete(actor, skill_id, volume=ref, expect=version or None))


async def shown(services: Has, view: SkillView) -> SkillOut:
    """Return a skill as it is shown, with where it came from."""
    found = await services.origins.of([view.skill])
    record = found.get((view.skill.volume, view.skill.skill_id))
    return SkillOut.whole(view, record.origin if record else None)


def _unpack(path: Path) -> list[Package]:
    with path.open("rb") as file:
        return unpack(file)


def _fields(skill: Skill) -> dict[str, Any]:
    return {
        "skill_id": skill.skill_id,
        "name": skill.name,
        "category": skill.category,
        "description": skill.description,
        "keywords": list(skill.keywords),
        "volume": skill.volume,
        "version": skill.version,
        "tree": skill.tree or None,
        "path": skill.path,
        "shadowed_by": skill.shadowed_by or None,
        "error": skill.error,
        "held": bool(skill.held),
        "held_for": list(skill.held),
    }
