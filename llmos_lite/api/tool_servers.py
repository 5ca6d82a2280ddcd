"""Tool servers: MCP servers whose tools a chat may call, for system admins."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field, JsonValue

from llmos_lite.api.deps import Admin, Anyone, Body, Chatter, Has, Listing, Paragraph
from llmos_lite.api.openapi import answers
from llmos_lite.core.toolservers.config import MOST_RULES, OAuth, Rule, ToolServer
from llmos_lite.core.toolservers.service import OfferedTool, ServerView

router = APIRouter(route_class=Paragraph, tags=["tool servers"])

_NEW: dict[str, JsonValue] = {
    "url": "https://tools.example.com/mcp",
    "headers": {"Authorization": "Bearer ..."},
    "tools": {"search": "always", "delete": "never"},
    "others": "ask",
    "teams": ["sre"],
}
_SHOWN = {
    "name": "wiki",
    "url": "https://tools.example.com/mcp",
    "headers": ["Authorization"],
    "tools": {"search": "always", "delete": "never"},
    "others": "ask",
    "teams": ["sre"],
    "users": [],
    "seconds": 30.0,
    "program": False,
    "oauth": {"client_id": "", "issuer": "", "scope": "", "as_itself": False, "each": False},
    "source": "api",
    "sign_in": "done",
    "problem": "",
}
_MINE = {
    "name": "wiki",
    "own": True,
    "sign_in": "needed",
    "problem": "The tool server wiki wants to be signed in to. Sign in: llmos tool-servers sign-in wiki",
}
_TOOL = {"name": "search", "description": "Searches the wiki.", "rule": "always", "parameters": {"type": "object"}}

Name = Annotated[str, Path(max_length=64, description="Name of the tool server.")]
Text = Annotated[str, Field(max_length=4000)]
Id = Annotated[str, Field(max_length=64)]
SignInState = Annotated[
    Literal["", "needed", "done", "again"],
    Field(description="Whether somebody signed in to it; empty for a server that did not ask for it."),
]


class NewOAuth(Body):
    """How to sign in to a tool server that wants it; leave it out where this instance may make itself known."""

    client_id: Text = Field("", description="What its provider knows this instance by.")
    client_secret: Annotated[str, Field(max_length=2000, repr=False)] = Field("", description="Of that client. Sealed.")
    issuer: Text = Field("", description="The provider; needed with a secret, which goes to nobody else.")
    scope: Text = Field("", description="What is asked for; empty for what the server asks for.")
    as_itself: bool = Field(default=False, description="Sign in without a person, by client credentials.")
    each: bool = Field(default=False, description="Everybody signs in, and calls its tools as themselves.")


class OAuthOut(BaseModel):
    """How a tool server is signed in to; the secret is not shown."""

    client_id: str
    issuer: str
    scope: str
    as_itself: bool
    each: bool


class NewToolServer(Body):
    """A tool server at a URL; a program can only be named in a file where the server runs."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [_NEW]}}
    url: str = Field(max_length=1000, description="Of its MCP endpoint (streamable HTTP).")
    headers: dict[str, Text] = Field(
        default_factory=dict, max_length=20, description="Sent with each request, kept sealed. None keeps those there."
    )
    tools: dict[str, Rule] = Field(default_factory=dict, max_length=MOST_RULES, description="Rules of tools, by name.")
    others: Rule = Field(Rule.ASK, description="The rule of tools that are not named.")
    teams: list[Id] = Field(default_factory=list, max_length=100, description="Whose chats may use it.")
    users: list[Id] = Field(
        default_factory=list, max_length=1000, description="Who may use it; without teams and users everybody."
    )
    seconds: float = Field(30.0, gt=0, le=600, description="That one call may take.")
    oauth: NewOAuth | None = Field(None, description="How to sign in to it. None keeps what there is.")

    def __repr__(self) -> str:
        return "NewToolServer(…)"


class ToolServerOut(BaseModel):
    """A tool server; of its headers the names."""

    name: str
    url: str
    headers: list[str]
    tools: dict[str, Rule]
    others: Rule
    teams: list[str]
    users: list[str]
    seconds: float
    program: bool
    oauth: OAuthOut
    source: Literal["file", "api"]
    sign_in: SignInState
    problem: str

    @classmethod
    def of(cls, view: ServerView) -> ToolServerOut:
        """Show a server."""
        server = view.server
        fields = {name: getattr(server, name) for name in ("name", "url", "tools", "others", "seconds")}
        own = {"teams": list(server.teams), "users": list(server.users), "headers": list(server.headers)}
        oauth = {"oauth": {name: getattr(server.oauth, name) for name in OAuthOut.model_fields}}
        state = {"source": view.source, "sign_in": view.sign_in, "problem": view.problem}
        return cls.model_validate(fields | own | oauth | state | {"program": bool(server.command)})


class MyToolServerOut(BaseModel):
    """A tool server that you may use; `own` when you sign in to it for yourself."""

    name: str
    own: bool
    sign_in: SignInState
    problem: str

    @classmethod
    def of(cls, view: ServerView) -> MyToolServerOut:
        """Show a server."""
        own = view.server.oauth.each
        return cls.model_validate(
            {"name": view.server.name, "own": own, "sign_in": view.sign_in, "problem": view.problem}
        )


class OfferedToolOut(BaseModel):
    """A tool that a server offers, and whether it is run."""

    name: str
    description: str
    rule: Rule
    parameters: dict[str, JsonValue]

    @classmethod
    def of(cls, found: OfferedTool) -> OfferedToolOut:
        """Show a tool."""
        tool = found.tool
        shown = {"name": tool.name, "description": tool.description, "rule": found.rule, "parameters": tool.parameters}
        return cls.model_validate(shown)


@router.get("/tool-servers", responses=answers({"items": [_SHOWN], "next_cursor": None, "total": 1}))
async def list_tool_servers(actor: Admin, services: Has) -> Listing[ToolServerOut]:
    """List the tool servers, without what their headers say, as a system admin."""
    found = await services.tool_servers.listed(actor)
    return Listing(items=[ToolServerOut.of(one) for one in found], next_cursor=None, total=len(found))


@router.get("/me/tool-servers", responses=answers({"items": [_MINE], "next_cursor": None, "total": 1}))
async def list_my_tool_servers(actor: Chatter, services: Has) -> Listing[MyToolServerOut]:
    """List the tool servers that you may use, and which of them want you to sign in."""
    found = await services.tool_servers.usable(actor)
    return Listing(items=[MyToolServerOut.of(one) for one in found], next_cursor=None, total=len(found))


@router.get(
    "/tool-servers/{name}/tools",
    responses=answers({"items": [_TOOL], "next_cursor": None, "total": 1}, 404, 502, 504),
)
async def list_tools(actor: Anyone, services: Has, name: Name) -> Listing[OfferedToolOut]:
    """Ask a tool server what it offers, and show the rules that hold, as whoever may use it, or as a system admin."""
    found = await services.tool_servers.offered(actor, name)
    return Listing(items=[OfferedToolOut.of(one) for one in found], next_cursor=None, total=len(found))


@router.put("/tool-servers/{name}", responses=answers(_SHOWN, 409))
async def put_tool_server(actor: Admin, services: Has, name: Name, body: NewToolServer) -> ToolServerOut:
    """Add or change a tool server, as a system admin; it holds from the next message on."""
    oauth = OAuth(**body.oauth.model_dump()) if body.oauth is not None else OAuth()
    given = body.model_dump() | {"teams": tuple(body.teams), "users": tuple(body.users), "oauth": oauth}
    server = ToolServer(name=name, **given)
    return ToolServerOut.of(await services.tool_servers.put(actor, server, keep_client=body.oauth is None))


@router.delete(
    "/tool-servers/{name}", status_code=204, responses=answers(None, 404, 409, status=204, description="Gone.")
)
async def remove_tool_server(actor: Admin, services: Has, name: Name) -> None:
    """Take a tool server away, as a system admin."""
    await services.tool_servers.remove(actor, name)
