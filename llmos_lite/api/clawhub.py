"""The reading half of the ClawHub registry protocol, version 1: what `clawhub --registry URL` asks for.

Errors are plain text here, as these clients expect it; see `routes`.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from llmos_lite.api.deps import Has, Paragraph, SkillReader, Visitor
from llmos_lite.api.openapi import Responses, answers, refusals
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.skills.parcels import Parcel
from llmos_lite.core.skills.registry import LATEST, Entry, Release, owner_of

router = APIRouter(route_class=Paragraph, tags=["clawhub"])

PREFIX = "/api/v1"
Answer: TypeAlias = dict[str, object]
_PRIVATE = {"cache-control": "private, no-cache", "vary": "Authorization, X-API-Key"}
_RELEASE = {
    "version": "1.0.3",
    "createdAt": 1764720000000,
    "changelog": "Update skill: My Skill",
    "license": None,
}
_SKILL = {
    "slug": "my-skill",
    "displayName": "My Skill",
    "summary": "Use when a query is slow in Postgres.",
    "tags": {"latest": "1.0.3"},
    "stats": {},
    "createdAt": 1764000000000,
    "updatedAt": 1764720000000,
}
_HIT = {
    "score": 7.31,
    "slug": "my-skill",
    "displayName": "My Skill",
    "summary": "Use when a query is slow in Postgres.",
    "version": "1.0.3",
    "updatedAt": 1764720000000,
    "ownerHandle": "sre",
}
_FILE = {"path": "SKILL.md", "size": 1204, "sha256": "5f" * 32, "contentType": "text/markdown"}
_FILED: Responses = refusals(404) | {
    200: {"description": "The file.", "content": {"application/octet-stream": {"example": "# My Skill\n"}}}
}
_ZIPPED: Responses = refusals(404) | {
    200: {
        "description": "A zip of the folder; the same bytes for the same version.",
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}, "example": "PK…"}},
    }
}

Slug = Annotated[str, Path(max_length=130, description="Id of a skill as you see it, or `team--id`.")]
Named = Annotated[str, Query(max_length=130, description="Id of a skill as you see it, or `team--id`.")]
Owner = Annotated[
    str, Query(alias="ownerHandle", max_length=64, description="`system`, a team or yourself: whose skill it is.")
]
Version = Annotated[str, Query(max_length=40, description="As in 1.0.3; the newest when empty.")]
Tag = Annotated[str, Query(max_length=40, pattern="^(latest)?$", description="`latest` is the only one.")]
Limit = Annotated[int, Query(ge=1, le=200, description="Most items.")]


@router.get("/.well-known/clawhub.json", responses=answers({"apiBase": "https://llmos.example.org"}))
async def discover_registry(_actor: Visitor, services: Has) -> Answer:
    """Say where the registry is."""
    return {"apiBase": services.url}


@router.get(f"{PREFIX}/whoami", responses=answers({"user": {"handle": "alice", "displayName": "alice", "image": None}}))
async def registry_whoami(actor: SkillReader) -> Answer:
    """Say whose key this is."""
    return {"user": {"handle": actor.user_id, "displayName": actor.user_id, "image": None, "role": None}}


@router.get(f"{PREFIX}/search", responses=answers({"results": [_HIT]}))
async def search_registry(
    actor: SkillReader,
    services: Has,
    *,
    q: Annotated[str, Query(max_length=4000, description="What it should be about.")] = "",
    limit: Limit = 25,
    mode: Annotated[str, Query(max_length=20, description="`exact` takes the query as a slug.")] = "",
) -> Answer:
    """Search the skills that you see, best first."""
    found = await services.registry.search(actor, q, limit=limit, exact=mode == "exact") if q.strip() else []
    return {"results": [_hit(entry, score) for entry, score in found]}


@router.get(
    f"{PREFIX}/skills", responses=answers({"items": [_SKILL | {"latestVersion": _RELEASE}], "nextCursor": None})
)
async def list_registry(
    actor: SkillReader,
    services: Has,
    *,
    limit: Limit = 25,
    cursor: Annotated[str, Query(max_length=64, description="`nextCursor` of the answer before.")] = "",
    prefix: Annotated[str, Query(max_length=64, description="Slugs that begin with this.")] = "",
) -> Answer:
    """List the skills that you see, by slug."""
    items, more = await services.registry.page(actor, prefix=prefix, limit=limit, cursor=cursor)
    shown = [_skill(entry) | {"latestVersion": _release(entry.latest)} for entry in items]
    return {"items": shown, "nextCursor": more}


@router.get(
    f"{PREFIX}/skills/{{slug}}",
    responses=answers({"skill": _SKILL, "latestVersion": _RELEASE, "owner": {"handle": "sre"}}, 404),
)
async def show_registered(actor: SkillReader, services: Has, slug: Slug, owner: Owner = "") -> Answer:
    """Show a skill and its newest version."""
    entry = await services.registry.find(actor, slug, owner)
    return {
        "skill": _skill(entry),
        "latestVersion": _release(entry.latest),
        "owner": {"handle": entry.owner, "displayName": entry.skill.volume, "image": None},
        "metadata": None,
        "moderation": None,
    }


@router.get(f"{PREFIX}/skills/{{slug}}/versions", responses=answers({"items": [_RELEASE], "nextCursor": None}, 404))
async def list_releases(
    actor: SkillReader,
    services: Has,
    slug: Slug,
    *,
    owner: Owner = "",
    limit: Limit = 25,
    cursor: Annotated[str, Query(max_length=40, description="`nextCursor` of the answer before.")] = "",
) -> Answer:
    """List the versions of a skill, newest first."""
    entry = await services.registry.find(actor, slug, owner)
    start = entry.latest.number - entry.release(cursor).number + 1 if cursor else 0
    page = entry.releases[start : start + limit]
    more = page[-1].name if start + limit < len(entry.releases) else None
    return {"items": [_release(one) for one in page], "nextCursor": more}


@router.get(
    f"{PREFIX}/skills/{{slug}}/versions/{{version}}",
    responses=answers({"version": _RELEASE | {"files": [_FILE]}, "skill": {"slug": "my-skill"}}, 404),
)
async def show_release(
    actor: SkillReader,
    services: Has,
    slug: Slug,
    version: Annotated[str, Path(max_length=40, description="As in 1.0.3.")],
    *,
    owner: Owner = "",
) -> Answer:
    """Show a version of a skill with its files."""
    entry, release, parcel = await _found(actor, services, slug, owner, version)
    files = await asyncio.to_thread(_files, parcel)
    return {
        "version": _release(release) | {"files": files, "gitVersion": release.version},
        "skill": {"slug": entry.slug, "displayName": entry.skill.name},
    }


@router.get(f"{PREFIX}/skills/{{slug}}/file", response_class=Response, responses=_FILED)
async def read_registered(
    actor: SkillReader,
    services: Has,
    slug: Slug,
    *,
    path: Annotated[str, Query(max_length=1000, description="Of the file, in the skill's folder.")] = "SKILL.md",
    version: Version = "",
    tag: Tag = "",
    owner: Owner = "",
) -> Response:
    """Send a file of a skill."""
    _, _, parcel = await _found(actor, services, slug, owner, version or tag)
    data = await asyncio.to_thread(parcel.read, path)
    return Response(data, media_type="application/octet-stream", headers=_PRIVATE)


@router.get(
    f"{PREFIX}/resolve", responses=answers({"match": {"version": "1.0.2"}, "latestVersion": {"version": "1.0.3"}}, 404)
)
async def resolve_release(
    actor: SkillReader,
    services: Has,
    slug: Named,
    *,
    hash: Annotated[str, Query(max_length=64, description="Fingerprint of the files, as the client makes it.")] = "",  # noqa: A002 - the protocol's word
    owner: Owner = "",
) -> Answer:
    """Say which version somebody has on the disk."""
    entry = await services.registry.find(actor, slug, owner)
    match = await services.registry.resolve(actor, entry, hash) if hash else None
    return {"match": {"version": match.name} if match else None, "latestVersion": {"version": entry.latest.name}}


@router.get(f"{PREFIX}/download", response_class=Response, responses=_ZIPPED)
async def download_release(
    actor: SkillReader, services: Has, slug: Named, *, version: Version = "", tag: Tag = "", owner: Owner = ""
) -> Response:
    """Send a version of a skill as a zip."""
    entry, release, parcel = await _found(actor, services, slug, owner, version or tag)
    data = await asyncio.to_thread(parcel.zipped)
    headers = _PRIVATE | {
        "content-disposition": f'attachment; filename="{entry.skill.skill_id}-{release.name}.zip"',
        "etag": f'"sha256:{hashlib.sha256(data).hexdigest()}"',
    }
    return Response(data, media_type="application/zip", headers=headers)


async def _found(actor: Actor, services: Has, slug: str, owner: str, version: str) -> tuple[Entry, Release, Parcel]:
    entry = await services.registry.find(actor, slug, owner)
    release = entry.release(version)
    return entry, release, await services.registry.parcel(actor, entry, release)


def _skill(entry: Entry) -> Answer:
    return {
        "slug": entry.slug,
        "displayName": entry.skill.name,
        "summary": entry.skill.description,
        "tags": {LATEST: entry.latest.name},
        "stats": {},
        "createdAt": entry.releases[-1].time,
        "updatedAt": entry.latest.time,
    }


def _hit(entry: Entry, score: float) -> Answer:
    return {
        "score": score,
        "slug": entry.slug,
        "displayName": entry.skill.name,
        "summary": entry.skill.description,
        "version": entry.latest.name,
        "updatedAt": entry.latest.time,
        "ownerHandle": owner_of(entry.skill),
    }


def _release(release: Release) -> Answer:
    return {"version": release.name, "createdAt": release.time, "changelog": release.subject, "license": None}


def _files(parcel: Parcel) -> list[Answer]:
    return [_file(path, parcel.read(path)) for path in parcel.files]


def _file(path: str, data: bytes) -> Answer:
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    return {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "contentType": kind}
