"""Skills from elsewhere: import, update, pin."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from fastapi import Path as PathParameter
from pydantic import BaseModel, Field

from llmos_lite.api.deps import Body, Has, Listing, Paragraph, SkillWriter
from llmos_lite.api.openapi import answers
from llmos_lite.api.skills import InstalledOut
from llmos_lite.api.volumes import Volume
from llmos_lite.core.skills.following import Followed
from llmos_lite.core.skills.importing import read_source
from llmos_lite.volumes.access import VolumeRef

router = APIRouter(route_class=Paragraph, tags=["skills"])

_FOLLOWED = {
    "skill_id": "deploy",
    "state": "updated",
    "source": "acme/skills",
    "ref": "v2",
    "detail": "",
    "diff": "",
    "version": "4f1b0c9d2e7a5b8c3d6e9f0a1b2c3d4e5f6a7b8c",
}
Id = Annotated[str, PathParameter(description="Id of the skill: lower-case letters, digits and single hyphens.")]
Names = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=500)]


class ImportIn(Body):
    """Skills to be imported from elsewhere."""

    model_config = Body.model_config | {
        "json_schema_extra": {"examples": [{"source": "https://git.example.org/skills.git@v2", "skills": ["deploy"]}]}
    }
    source: str = Field(
        description="A Git repository, an archive, a marketplace or a host; `owner/repo` is one on GitHub.",
        max_length=2000,
    )
    volume: str | None = Field(None, description="`system`, `team:ID` or `user:ID`; your own when left out.")
    skills: Names = Field(default_factory=list, description="Names of skills or plugins; all when left out.")
    ref: str = Field("", max_length=200, description="Branch, tag or commit.")
    folder: str = Field("", max_length=1000, description="Only what lies below this folder of the source.")
    replace: bool = Field(False, description="Replace skills that are there and differ.")  # noqa: FBT003 - the default
    dry_run: bool = Field(False, description="Only tell what would come in.")  # noqa: FBT003 - as above


class UpdateIn(Body):
    """Which imported skills to follow to their sources."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"skills": ["deploy"], "dry_run": True}]}}
    volume: str | None = Field(None, description="`system`, `team:ID` or `user:ID`; your own when left out.")
    skills: Names = Field(default_factory=list, description="Ids of skills; all when left out.")
    force: bool = Field(False, description="Overwrite what was edited here.")  # noqa: FBT003 - the default
    dry_run: bool = Field(False, description="Only tell what is new there, with diffs.")  # noqa: FBT003 - as above


class PinIn(Body):
    """Whether an imported skill stays as it is."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"pinned": True, "ref": "v2"}]}}
    pinned: bool
    ref: str = Field("", max_length=200, description="Branch, tag or commit to pin it at; as it is when left out.")


class FollowedOut(BaseModel):
    """An imported skill and what became of it; see docs/import-export.md for the states."""

    skill_id: str
    state: Literal["current", "available", "updated", "edited", "pinned", "gone", "removed", "refused", "failed"]
    source: str
    ref: str
    detail: str
    diff: str
    version: str

    @classmethod
    def of(cls, one: Followed) -> FollowedOut:
        """Show it."""
        return cls.model_validate(one, from_attributes=True)


@router.post(
    "/skills/import",
    responses=answers(
        {
            "items": [{"skill_id": "deploy", "status": "created", "detail": "", "version": "4f1b…"}],
            "next_cursor": None,
            "total": 1,
        },
        404,
        413,
        502,
        504,
    ),
)
async def import_skills(actor: SkillWriter, services: Has, body: ImportIn) -> Listing[InstalledOut]:
    """Import skills from elsewhere as one commit, with a lock file; the server fetches them itself."""
    done = await services.skill_imports.take(
        actor,
        read_source(body.source, ref=body.ref, folder=body.folder),
        volume=_volume(body.volume),
        wanted=body.skills,
        replace_there=body.replace,
        only_look=body.dry_run,
    )
    return Listing(items=[InstalledOut.of(one) for one in done], next_cursor=None, total=len(done))


@router.post(
    "/skills/update", responses=answers({"items": [_FOLLOWED], "next_cursor": None, "total": 1}, 404, 413, 502, 504)
)
async def update_skills(actor: SkillWriter, services: Has, body: UpdateIn) -> Listing[FollowedOut]:
    """Follow imported skills to where they come from; what was edited here is left alone."""
    done = await services.skill_imports.follow(
        actor, volume=_volume(body.volume), wanted=body.skills, force=body.force, only_look=body.dry_run
    )
    return Listing(items=[FollowedOut.of(one) for one in done], next_cursor=None, total=len(done))


@router.put("/skills/{skill_id}/pin", responses=answers(_FOLLOWED | {"state": "pinned"}, 404))
async def pin_skill(
    actor: SkillWriter, services: Has, skill_id: Id, body: PinIn, *, volume: Volume = ""
) -> FollowedOut:
    """Pin an imported skill as it is or at a version, or let it follow its source again."""
    ref = VolumeRef.parse(volume) if volume else None
    if body.pinned:
        return FollowedOut.of(await services.skill_imports.pin(actor, skill_id, volume=ref, at=body.ref))
    return FollowedOut.of(await services.skill_imports.unpin(actor, skill_id, volume=ref))


def _volume(text: str | None) -> VolumeRef | None:
    return VolumeRef.parse(text) if text else None
