"""Providers: the model servers that the gateway asks, for system admins."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field, JsonValue

from llmos_lite.api.deps import Admin, Body, Has, Listing, Paragraph
from llmos_lite.api.openapi import answers
from llmos_lite.core.providers.config import LONGEST_KEY, MOST, Provider
from llmos_lite.core.providers.service import ProviderView
from llmos_lite.engines.upstream import Wire
from llmos_lite.engines.upstream_kinds import Kind

router = APIRouter(route_class=Paragraph, tags=["providers"])

_NEW: dict[str, JsonValue] = {
    "kind": "anthropic",
    "key": "env:LLMOS_PROVIDER_CLAUDE",
    "models": ["claude-*"],
}
_SHOWN = {
    "name": "claude",
    "kind": "anthropic",
    "url": "",
    "key": "env:LLMOS_PROVIDER_CLAUDE",
    "models": ["claude-*"],
    "dialects": [],
    "headers": {},
    "timeout": 120.0,
    "api_version": "",
    "region": "",
    "project": "",
    "source": "api",
    "resting": 0.0,
    "problem": "",
}

Name = Annotated[str, Path(max_length=64, description="Name of the provider.")]
Text = Annotated[str, Field(max_length=200)]


class NewProvider(Body):
    """A model server."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [_NEW]}}
    kind: Kind = Field("openai", description="`openai` for whatever speaks OpenAI's API.")
    url: str = Field("", max_length=1000, description="Base URL; empty takes the usual one of the kind.")
    key: str = Field(
        "", max_length=LONGEST_KEY, description="The key, kept sealed; or `env:NAME` of the server. Empty keeps it."
    )
    models: list[Text] = Field(default_factory=list, max_length=MOST, description="Names and patterns, as `claude-*`.")
    dialects: list[Wire] = Field(default_factory=list, description="What it speaks; empty takes what the kind does.")
    headers: dict[str, Text] = Field(default_factory=dict, max_length=20, description="Sent with every request.")
    timeout: float = Field(120.0, gt=0, le=3600, description="Longest silence, in seconds.")
    api_version: str = Field("", max_length=64, description="Of Azure's deployments.")
    region: str = Field("", max_length=64, description="Of Bedrock and Vertex.")
    project: str = Field("", max_length=100, description="Of Vertex.")

    def __repr__(self) -> str:
        return "NewProvider(…)"


class ProviderOut(BaseModel):
    """A provider; `key` says where its key is, `resting` for how many seconds it is left alone since it failed."""

    name: str
    kind: str
    url: str
    key: str
    models: list[str]
    dialects: list[str]
    headers: dict[str, str]
    timeout: float
    api_version: str
    region: str
    project: str
    source: Literal["settings", "file", "api"]
    resting: float
    problem: str

    @classmethod
    def of(cls, view: ProviderView) -> ProviderOut:
        """Show a provider."""
        fields = {name: getattr(view.provider, name) for name in cls.model_fields if hasattr(view.provider, name)}
        own = {"key": view.key, "source": view.source, "resting": round(view.left, 1), "problem": view.problem}
        return cls.model_validate(fields | own)


@router.get("/providers", responses=answers({"items": [_SHOWN], "next_cursor": None, "total": 1}))
async def list_providers(actor: Admin, services: Has) -> Listing[ProviderOut]:
    """List the model servers, that of the settings (`default`) first, without their keys, as a system admin."""
    found = await services.providers.listed(actor)
    return Listing(items=[ProviderOut.of(one) for one in found], next_cursor=None, total=len(found))


@router.put("/providers/{name}", responses=answers(_SHOWN, 409))
async def put_provider(actor: Admin, services: Has, name: Name, body: NewProvider) -> ProviderOut:
    """Add or change a model server, as a system admin; it holds from the next request on."""
    return ProviderOut.of(await services.providers.put(actor, Provider(name=name, **body.model_dump())))


@router.delete("/providers/{name}", status_code=204, responses=answers(None, 404, 409, status=204, description="Gone."))
async def remove_provider(actor: Admin, services: Has, name: Name) -> None:
    """Take a model server away, as a system admin."""
    await services.providers.remove(actor, name)
