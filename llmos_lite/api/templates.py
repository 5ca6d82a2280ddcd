"""Templates: list, read, and make a skill from one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter
from pydantic import BaseModel, Field

from llmos_lite.api.deps import Body, Has, Listing, Paragraph, SkillReader, SkillWriter
from llmos_lite.api.openapi import answers
from llmos_lite.api.skills import SKILL, SkillOut, Team, shown
from llmos_lite.api.volumes import Volume
from llmos_lite.core.skills.templates import Template
from llmos_lite.volumes.access import VolumeRef

router = APIRouter(route_class=Paragraph, tags=["templates"])

_ROW = {
    "template_id": "runbook",
    "title": "Runbook",
    "description": "Steps to bring one service back.",
    "category": "coding",
    "values": [{"key": "service", "ask": "Which service is this for?", "default": "the service"}],
    "volume": "system",
    "version": "4f1b0c9d2e7a5b8c3d6e9f0a1b2c3d4e5f6a7b8c",
    "error": None,
}
_TEMPLATE = _ROW | {
    "content": '---\nname: runbook\ndescription: "Use when {{service}} is down."\n---\n\n# Runbook: {{service}}\n',
    "files": [],
}

Id = Annotated[str, PathParameter(description="Id of the template: lower-case letters, digits and single hyphens.")]


class GapOut(BaseModel):
    """A gap of a template: its name, what to ask a person, and what stands there without an answer."""

    key: str
    ask: str
    default: str


class TemplateRow(BaseModel):
    """A template in a list."""

    template_id: str
    title: str
    description: str
    category: str
    values: list[GapOut]
    volume: str
    version: str
    error: str | None

    @classmethod
    def of(cls, template: Template) -> TemplateRow:
        """Show a template in a list."""
        return cls(**_fields(template))


class TemplateOut(TemplateRow):
    """A template with its SKILL.md, gaps and all, and the paths of its further files."""

    content: str
    files: list[str]

    @classmethod
    def whole(cls, template: Template) -> TemplateOut:
        """Show a template."""
        return cls(**_fields(template), content=template.content, files=sorted(template.files))


class FromTemplate(Body):
    """A skill to be made from a template; a gap that is left out takes its default."""

    model_config = Body.model_config | {
        "json_schema_extra": {"examples": [{"skill_id": "search-runbook", "values": {"service": "the search service"}}]}
    }
    skill_id: str
    values: dict[str, str] = Field(default_factory=dict, max_length=64)
    content: str | None = Field(None, description="The filled text as somebody edited it.")
    volume: str | None = Field(None, description="`system`, `team:ID` or `user:ID`; your own when left out.")


@router.get("/templates", responses=answers({"items": [_ROW], "next_cursor": None, "total": 1}, 404))
async def list_templates(actor: SkillReader, services: Has, *, team_id: Team = "") -> Listing[TemplateRow]:
    """List the templates that you see: yours over your teams' over the system's."""
    found = await services.templates.listed(actor, team_id or None)
    return Listing(items=[TemplateRow.of(one) for one in found], next_cursor=None, total=len(found))


@router.get("/templates/{template_id}", responses=answers(_TEMPLATE, 404))
async def get_template(
    actor: SkillReader, services: Has, template_id: Id, *, volume: Volume = "", team_id: Team = ""
) -> TemplateOut:
    """Show a template, as you see it or of a volume."""
    ref = VolumeRef.parse(volume) if volume else None
    return TemplateOut.whole(await services.templates.get(actor, template_id, volume=ref, team_id=team_id or None))


@router.post("/templates/{template_id}/skills", status_code=201, responses=answers(SKILL, 404, 409, status=201))
async def create_from_template(
    actor: SkillWriter,
    services: Has,
    template_id: Id,
    body: FromTemplate,
    *,
    source: Annotated[str, Query(max_length=80, description="Volume of the template; the one that you see.")] = "",
    team_id: Team = "",
) -> SkillOut:
    """Create a skill from a template."""
    view = await services.templates.create(
        actor,
        template_id,
        body.skill_id,
        body.values,
        volume=VolumeRef.parse(body.volume) if body.volume is not None else None,
        source=VolumeRef.parse(source) if source else None,
        team_id=team_id or None,
        content=body.content,
    )
    return await shown(services, view)


def _fields(template: Template) -> dict[str, Any]:
    gaps = [GapOut(key=key, ask=one.ask, default=one.default) for key, one in template.values.items()]
    return {
        "template_id": template.template_id,
        "title": template.title,
        "description": template.description,
        "category": template.category,
        "values": gaps,
        "volume": template.volume,
        "version": template.version,
        "error": template.error,
    }
