"""What a route asks for: who acts, with which scope, and the services. A route without a `Permission` fails a test."""

from __future__ import annotations

from typing import Annotated, Generic, TypeAlias, TypeVar, cast

from fastapi import Depends, Query, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict

from llmos_lite.api.auth import actor_of
from llmos_lite.bootstrap import Services
from llmos_lite.core.accounts.permissions import Actor, Scope, require

T = TypeVar("T")


class Permission:
    """Lets a request in when its credential holds and has a scope.

    Args:
        scope: the scope; None lets every credential in.
    """

    def __init__(self, scope: Scope | None) -> None:
        self.scope = scope

    async def __call__(self, request: Request) -> Actor:
        """Return whoever acts."""
        actor = await actor_of(services_of(request).accounts, request.scope)
        if self.scope is not None:
            require(actor, self.scope)
        return actor


def services_of(request: Request) -> Services:
    """Return the services that the app was made with."""
    return cast("Services", request.app.state.services)


async def _services(request: Request) -> Services:
    return services_of(request)


Has: TypeAlias = Annotated[Services, Depends(_services)]
Anyone: TypeAlias = Annotated[Actor, Depends(Permission(None))]
Chatter: TypeAlias = Annotated[Actor, Depends(Permission(Scope.CHAT))]
SkillReader: TypeAlias = Annotated[Actor, Depends(Permission(Scope.SKILLS_READ))]
SkillWriter: TypeAlias = Annotated[Actor, Depends(Permission(Scope.SKILLS_WRITE))]
TraceReader: TypeAlias = Annotated[Actor, Depends(Permission(Scope.TRACES_READ))]
Evolver: TypeAlias = Annotated[Actor, Depends(Permission(Scope.EVOLVE))]
Admin: TypeAlias = Annotated[Actor, Depends(Permission(Scope.ADMIN))]

Limit: TypeAlias = Annotated[int, Query(ge=1, le=500, description="Most items in one answer.")]
Cursor: TypeAlias = Annotated[str, Query(max_length=512, description="`next_cursor` of the answer before.")]


class Body(BaseModel):
    """A request body: unknown fields are refused, so that a misspelt one is not silently ignored."""

    model_config = ConfigDict(extra="forbid")


class Listing(BaseModel, Generic[T]):
    """One page of a list; `total` counts all that match."""

    items: list[T]
    next_cursor: str | None
    total: int


class Paragraph(APIRoute):
    """A route whose summary is the first line of its docstring, and whose description is the rest."""

    def __init__(self, path: str, endpoint: object, **options: object) -> None:
        first, _, rest = (getattr(endpoint, "__doc__", None) or "").partition("\n")
        options["summary"] = options.get("summary") or first.strip().rstrip(".")
        options["description"] = options.get("description") or rest.strip() or first.strip()
        super().__init__(path, endpoint, **options)  # type: ignore[arg-type]  # FastAPI's own thirty options pass through
