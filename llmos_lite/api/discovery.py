"""Discovery of skills by stock clients: an index of each catalog at a well-known place, with what it names.

Format: Agent Skills Discovery RFC 0.2.0. A catalog is a volume's, or all that a token in the URL reads; see
`docs/discovery.md`.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response, StreamingResponse

from llmos_lite.api.auth import Needs, actor_of, client_of, given_by
from llmos_lite.api.deps import Has, Paragraph, services_of
from llmos_lite.api.links import linked_actor
from llmos_lite.api.openapi import Responses, refusals
from llmos_lite.bootstrap import Services
from llmos_lite.core.accounts.capabilities import Purpose
from llmos_lite.core.accounts.permissions import Actor, Scope
from llmos_lite.core.skills.catalog_index import ENDS
from llmos_lite.core.skills.catalogs import PUBLIC
from llmos_lite.core.skills.parcels import Parcel, Seal
from llmos_lite.core.skills.wellknown import SCHEMA
from llmos_lite.errors import NotFound, Unauthenticated
from llmos_lite.volumes.access import SYSTEM, VolumeRef

router = APIRouter(route_class=Paragraph, tags=["discovery"])

WELL_KNOWN = "/.well-known/agent-skills"
_PACKED = "-gzip"
"""Ends the tag of a packed index."""
_TYPES = {"archive": "application/gzip", "skill-md": "text/markdown; charset=utf-8"}
_FRESH, _PINNED = "max-age=60", "max-age=86400, immutable"
OPEN = {"access-control-allow-origin": "*", "cross-origin-resource-policy": "cross-origin"}
"""Pages of other sites may read what needs no header; a browser sends them no session of ours here."""

_VERSION = "4f1b0c9d2e7a5b8c3d6e9f0a1b2c3d4e5f6a7b8c"
_INDEX = {
    "$schema": SCHEMA,
    "skills": [
        {
            "name": "my-skill",
            "type": "archive",
            "description": "Use when a query is slow in Postgres.",
            "url": f"my-skill.tar.gz?version={_VERSION}",
            "digest": "sha256:" + "5f" * 32,
        }
    ],
}
_INDEXED: Responses = refusals(404) | {
    200: {"description": "The index.", "content": {"application/json": {"example": _INDEX}}},
    304: {"description": "It is the one that `If-None-Match` names."},
}
_SENT: Responses = refusals(404) | {
    200: {
        "description": "The bytes whose digest the index says.",
        "content": {
            "application/gzip": {"schema": {"type": "string", "format": "binary"}},
            "text/markdown": {"schema": {"type": "string"}, "example": "---\nname: my-skill\n---\n"},
        },
    },
    304: {"description": "It is the one that `If-None-Match` names."},
}

FOR_CLIENTS = (
    "This is the address of a catalog of skills, for clients: `npx skills add ADDRESS` and `llmos skills add ADDRESS` "
    f"install from it, and its list is at ADDRESS{WELL_KNOWN}/index.json.\n"
)
"""What a person reads who opens one in a browser, whatever the token in it is worth."""
_ADDRESS = re.compile(r"/c/llmos_[^/]{1,100}(?:/t/[^/]{1,64})?/?")


def is_address(path: str) -> bool:
    """Tell whether a path is what `llmos keys catalog` prints, below which clients look."""
    return _ADDRESS.fullmatch(path) is not None


@dataclass(frozen=True, slots=True)
class Shelf:
    """A catalog that somebody looks at: whose, of which volume (None: all that they read), and whether all may."""

    actor: Actor
    ref: VolumeRef | None
    public: bool = False
    shared: bool = False


class Shelves:
    """Finds out which catalog a request is about, and lets in who may see it.

    Without a token in the path a key in a header says who asks; the system's catalog may be public.

    Args:
        needs: of a credential in a header.
    """

    def __init__(self, needs: Needs) -> None:
        self.needs = needs

    async def __call__(self, request: Request) -> Shelf:
        """Return the catalog.

        Raises:
            Unauthenticated, Forbidden: as `Permission`.
            RateLimited: `limit.rate`, `limit.strangers`.
        """
        services, named = services_of(request), request.path_params
        team = VolumeRef.team(named["team_id"]) if "team_id" in named else None
        if "token" in named:
            actor = await linked_actor(services.capabilities, request.scope, Purpose.CATALOG)
            await services.limits.hit(actor)
            return Shelf(actor, team, shared=True)
        given = given_by(request.scope)
        if self.needs.open and not (given.key or given.session):
            if not services.settings.public_catalog:
                raise Unauthenticated("credential.missing", "This needs a credential.", hint=_HOW)
            await services.limits.stranger(client_of(request.scope))
            return Shelf(PUBLIC, SYSTEM, public=True, shared=True)
        actor = await actor_of(services.accounts, request.scope)
        await services.limits.hit(actor)
        return Shelf(_READS.check(actor), team or SYSTEM)


_HOW = "Send a key as Authorization: Bearer KEY, or make a URL with a token: llmos keys catalog."
_READS = Needs(scope=Scope.SKILLS_READ)
On = Annotated[Shelf, Depends(Shelves(Needs(open=True)))]
OnTeams = Annotated[Shelf, Depends(Shelves(_READS))]
Team = Annotated[str, Path(max_length=64, description="The team.")]
Token = Annotated[str, Path(max_length=100, description="What `llmos keys catalog` made.")]
Artifact = Annotated[str, Path(max_length=100, description="`ID.tar.gz`, or `ID/SKILL.md` for a skill of one file.")]
Version = Annotated[str, Query(max_length=40, pattern="^([0-9a-f]{40})?$", description="Git id of the version.")]


@router.get(f"{WELL_KNOWN}/index.json", responses=_INDEXED, operation_id="get_catalog")
async def get_catalog(request: Request, shelf: On, services: Has) -> Response:
    """List the system's skills in the form of the discovery RFC; without a key where `LLMOS_PUBLIC_CATALOG` is on."""
    return await _index(request, shelf, services)


@router.get("/t/{team_id}" + f"{WELL_KNOWN}/index.json", responses=_INDEXED, operation_id="get_team_catalog")
async def get_team_catalog(request: Request, shelf: OnTeams, services: Has, team_id: Team) -> Response:
    """List a team's skills in the form of the discovery RFC."""
    del team_id  # the shelf has it
    return await get_catalog(request, shelf, services)


@router.get("/c/{token}" + f"{WELL_KNOWN}/index.json", responses=_INDEXED, operation_id="get_linked_catalog")
async def get_linked_catalog(request: Request, shelf: On, services: Has, token: Token) -> Response:
    """List all that a token reads: the person's own skills over the teams' over the system's."""
    del token  # it was taken out of the path before anybody saw it
    return await get_catalog(request, shelf, services)


@router.get(
    "/c/{token}/t/{team_id}" + f"{WELL_KNOWN}/index.json", responses=_INDEXED, operation_id="get_linked_team_catalog"
)
async def get_linked_team_catalog(request: Request, shelf: On, services: Has, token: Token, team_id: Team) -> Response:
    """List the skills of a team that a token reads."""
    del token, team_id
    return await get_catalog(request, shelf, services)


@router.get(WELL_KNOWN + "/{artifact:path}", responses=_SENT, operation_id="get_artifact")
async def get_artifact(
    request: Request, shelf: On, services: Has, artifact: Artifact, version: Version = ""
) -> Response:
    """Send a skill that the index names: one file, or an archive of its folder."""
    skill_id, kind = _named(artifact)
    parcel = await services.catalogs.parcel(shelf.actor, skill_id, shelf.ref, version=version)
    if parcel.kind != kind:
        raise _nothing(artifact)
    return await _sent(request, shelf, parcel, pinned=bool(version))


@router.get("/t/{team_id}" + WELL_KNOWN + "/{artifact:path}", responses=_SENT, operation_id="get_team_artifact")
async def get_team_artifact(
    request: Request, shelf: OnTeams, services: Has, team_id: Team, artifact: Artifact, *, version: Version = ""
) -> Response:
    """Send a skill of a team."""
    del team_id
    return await get_artifact(request, shelf, services, artifact, version)


@router.get("/c/{token}" + WELL_KNOWN + "/{artifact:path}", responses=_SENT, operation_id="get_linked_artifact")
async def get_linked_artifact(
    request: Request, shelf: On, services: Has, token: Token, artifact: Artifact, *, version: Version = ""
) -> Response:
    """Send a skill that a token reads."""
    del token
    return await get_artifact(request, shelf, services, artifact, version)


@router.get(
    "/c/{token}/t/{team_id}" + WELL_KNOWN + "/{artifact:path}",
    responses=_SENT,
    operation_id="get_linked_team_artifact",
)
async def get_linked_team_artifact(
    request: Request,
    shelf: On,
    services: Has,
    *,
    token: Token,
    team_id: Team,
    artifact: Artifact,
    version: Version = "",
) -> Response:
    """Send a skill of a team that a token reads."""
    del token, team_id
    return await get_artifact(request, shelf, services, artifact, version)


async def _index(request: Request, shelf: Shelf, services: Services) -> Response:
    packed = takes_gzip(request.headers.get("accept-encoding", ""))
    index = await services.catalogs.index(shelf.actor, shelf.ref, packed=packed)
    # Other bytes have another tag; whoever knows one of them knows all.
    headers = _headers(shelf, f"{index.digest}{_PACKED if packed else ''}", pinned=False, vary="Accept-Encoding")
    if _is_known(request, index.digest):
        return Response(status_code=304, headers=headers)
    headers |= {"content-encoding": "gzip"} if packed else {}
    return Response(index.packed if packed else index.body, headers=headers, media_type="application/json")


def takes_gzip(accepted: str) -> bool:
    """Tell whether a client takes gzip, by its `Accept-Encoding` (RFC 9110, 12.5.3)."""
    weights = dict[str, str]()
    for said in accepted.lower().split(","):
        name, _, rest = said.partition(";")
        weights[name.strip()] = rest.strip().removeprefix("q=").strip()
    said = weights.get("gzip", weights.get("*", "0"))
    return not re.fullmatch(r"0(\.0*)?", said)


async def _sent(request: Request, shelf: Shelf, parcel: Parcel, *, pinned: bool) -> Response:
    seal = await asyncio.to_thread(Seal.of, parcel)
    headers = _headers(shelf, seal.digest, pinned=pinned)
    if _is_known(request, seal.digest):
        return Response(status_code=304, headers=headers)
    headers |= {"content-length": str(seal.size)}
    return StreamingResponse(parcel.sent(), headers=headers, media_type=_TYPES[parcel.kind])


def _headers(shelf: Shelf, digest: str, *, pinned: bool, vary: str = "") -> dict[str, str]:
    whose = "public" if shelf.public else "private"
    said = {"etag": f'"sha256:{digest}"', "cache-control": f"{whose}, {_PINNED if pinned else _FRESH}"}
    varies = ", ".join(filter(None, ("" if shelf.shared else "Authorization, X-API-Key", vary)))
    return said | (OPEN if shelf.shared else {}) | ({"vary": varies} if varies else {})


def _is_known(request: Request, digest: str) -> bool:
    asked = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    return "*" in asked or any(f'"sha256:{digest}{end}"' in asked for end in ("", _PACKED))


def _named(artifact: str) -> tuple[str, str]:
    """Return the skill that an artifact is of, and as what it is sent."""
    for kind, end in ENDS.items():
        if artifact.endswith(end):
            return artifact.removesuffix(end), kind
    raise _nothing(artifact)


def _nothing(artifact: str) -> NotFound:
    return NotFound("skill.unknown", f"There is no {artifact[:100]!r} in this catalog.")
