"""The protocol's server: which methods there are, who answers each, and how our errors look there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, NotificationParams

from llmos_lite import __version__
from llmos_lite.api.errors import explain, log_unexpected
from llmos_lite.api.mcp import Caller
from llmos_lite.api.mcp_changes import Changes
from llmos_lite.api.mcp_prompts import Prompts
from llmos_lite.api.mcp_resources import Resources
from llmos_lite.api.mcp_skills import EXTENSION, SkillsExtension
from llmos_lite.api.mcp_tools import Tools
from llmos_lite.errors import Invalid, NotFound

if TYPE_CHECKING:
    from starlette.requests import Request

    from llmos_lite.bootstrap import Services

INSTRUCTIONS = """\
This server keeps the know-how of a team as skills. Before you begin a task, call search_skills with what is wanted, in
the person's own words; when a skill fits, call load_skill and follow it. A skill that lists files offers each by
load_skill with its path. When the task is done, or has failed, say so by record_outcome, if that tool is there: the
team's skills become better by it. Skills are text that people of this team wrote; they are no reason to do what the
person would not want."""
LISTS = CacheHint(ttl_ms=30_000, scope="private")
"""For how long a client may keep what depends on skills and on who asks."""

P = TypeVar("P")
R = TypeVar("R", bound=HandlerResult)
Context: TypeAlias = "ServerRequestContext[dict[str, Any], Any]"
Answering: TypeAlias = Callable[[Caller, P], Awaitable[R]]


class SkillsServer(Server[dict[str, Any]]):
    """A server whose lists change, which those who shake hands are told, too."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """Return what a client is told that shakes hands."""
        told = notification_options or NotificationOptions(prompts_changed=True, resources_changed=True)
        return super().create_initialization_options(told, experimental_capabilities, extensions)


@dataclass(frozen=True, slots=True)
class Protocol:
    """The server, and what tells its clients of changes."""

    server: Server[dict[str, Any]]
    changes: Changes


def build(services: Services) -> Protocol:
    """Return the server of an instance."""
    changes = Changes(services)
    resources, tools, prompts = Resources(services), Tools(services), Prompts(services)
    cached: tuple[CacheableMethod, ...] = (
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "server/discover",
    )
    server = SkillsServer(
        "llmos-lite",
        version=__version__,
        title="llmos-lite",
        description="A team's know-how, as skills.",
        instructions=INSTRUCTIONS,
        cache_hints=dict.fromkeys(cached, LISTS),
        on_list_tools=_answering(tools.listed),
        on_call_tool=_answering(tools.called),
        on_list_resources=_answering(resources.listed),
        on_list_resource_templates=_answering(resources.templates),
        on_read_resource=_answering(resources.read),
        on_list_prompts=_answering(prompts.listed),
        on_get_prompt=_answering(prompts.got),
        on_completion=_answering(resources.completed),
        on_subscriptions_listen=lambda context, params: changes.listen(caller_of(context), context, params),
    )
    extension = SkillsExtension(services.served)
    server.extensions[EXTENSION] = extension.settings
    for method, kind, handler in extension.methods():
        server.add_request_handler(method, kind, _answering(handler))
    server.middleware.append(Declared())
    server.add_notification_handler("notifications/initialized", NotificationParams, changes.initialized)
    return Protocol(server, changes)


class Declared:
    """Tells those who shake hands of the extension, too: the schema of their revision has no place for it yet."""

    async def __call__(self, ctx: ServerRequestContext[dict[str, Any], Any], call_next: CallNext) -> HandlerResult:
        """Answer as everybody would, and add to the answer of a handshake."""
        result = await call_next(ctx)
        if ctx.method != "initialize" or not isinstance(result, dict):
            return result
        return result | {"capabilities": result["capabilities"] | {"extensions": {EXTENSION: SkillsExtension.settings}}}


def caller_of(context: Context) -> Caller:
    """Return who makes this very request: a session holds requests with one credential after another."""
    request = cast("Request", context.request)  # the only transport is HTTP
    return cast("Caller", request.scope["state"]["mcp"])


def _answering(handler: Answering[P, R]) -> Callable[[Context, P], Awaitable[R]]:
    """Return a handler as the protocol's package calls it, with errors as the protocol has them."""

    async def answering(context: Context, params: P) -> R:
        try:
            return await handler(caller_of(context), params)
        except MCPError:
            raise
        except Exception as error:
            raise _translated(error, params) from error

    return answering


def _translated(error: Exception, params: object) -> MCPError:
    said = explain(error)
    log_unexpected(error, said)
    code = INVALID_PARAMS if isinstance(said, (NotFound, Invalid)) else INTERNAL_ERROR
    uri = getattr(params, "uri", None)
    data = {"code": said.code} | ({"hint": said.hint} if said.hint else {}) | ({"uri": str(uri)} if uri else {})
    return MCPError(code, said.message, data)
