"""What a route asks for: who acts, with which scope, and the services. A route without a `Permission` fails a test."""

from __future__ import annotations

from typing import Annotated, Generic, TypeAlias, TypeVar, cast

from fastapi import Depends, Query, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, ValidatorFunctionWrapHandler, field_validator

from llmos_lite.api.auth import Needs, actor_of, given_by
from llmos_lite.bootstrap import Services
from llmos_lite.core.accounts.permissions import Actor, Scope

T = TypeVar("T")


class Permission:
    """Lets a request in when its credential holds and is for this.

    Args:
        scope: the scope; None lets every credential in.
        admin: whether only a system admin may.
        delegates: whether somebody may whom a front end names by a key with `act-as`.
    """

    def __init__(self, scope: Scope | None, *, admin: bool = False, delegates: bool = False) -> None:
        self.needs = Needs(scope=scope, admin=admin, delegates=delegates)
        self.scope = scope

    async def __call__(self, request: Request) -> Actor:
        """Return whoever acts."""
        services = services_of(request)
        actor = await actor_of(services.accounts, request.scope)
        await services.limits.hit(actor)
        return self.needs.check(actor)


class Guest:
    """Lets everybody in, and says who it is when there is a credential that holds."""

    needs = Needs(open=True)

    async def __call__(self, request: Request) -> Actor | None:
        """Return whoever acts, or None without a credential."""
        given = given_by(request.scope)
        if not (given.key or given.session):
            return None
        return await actor_of(services_of(request).accounts, request.scope)


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
Admin: TypeAlias = Annotated[Actor, Depends(Permission(Scope.ADMIN, admin=True))]
"""A system admin."""
Steward: TypeAlias = Annotated[Actor, Depends(Permission(Scope.ADMIN))]
"""Whoever looks after a team or the instance; `core` knows which."""
Named: TypeAlias = Annotated[Actor, Depends(Permission(None, delegates=True))]
"""Anyone, also somebody whom a front end names."""
Visitor: TypeAlias = Annotated[Actor | None, Depends(Guest())]
"""Everybody; None without a credential."""

Limit: TypeAlias = Annotated[int, Query(ge=1, le=500, description="Most items in one answer.")]
Cursor: TypeAlias = Annotated[str, Query(max_length=512, description="`next_cursor` of the answer before.")]


class Body(BaseModel):
    """A request body: unknown fields are refused, so that a misspelt one is not silently ignored."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("*", mode="wrap")
    @classmethod
    def _no_switch_for_a_number(cls, value: object, handler: ValidatorFunctionWrapHandler) -> object:
        """Refuse `true` where a number is wanted: pydantic takes it for 1."""
        read: object = handler(value)
        if isinstance(value, bool) and not isinstance(read, bool):
            raise ValueError(f"a number is wanted, not {str(value).lower()}")  # noqa: TRY004 - what pydantic hears
        return read


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
