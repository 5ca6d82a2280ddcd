"""MCP servers of others: sessions that are kept open while they are used, and what a server may do with them.

The `mcp` package is imported with the first session. A session lives in a task of its own, since its streams must end
where they began; whoever calls only waits for its answer, and never longer than it wants to. A server gets no more
bytes into this process than are bounded here, and over HTTP it is called at the addresses that its name had when
these were looked at (`engines/addresses.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from llmos_lite.engines.llm import Tool
from llmos_lite.errors import LlmosError, UpstreamFailed, UpstreamTimeout

if TYPE_CHECKING:
    from mcp import Client

    from llmos_lite.engines.oauth import Bearer

T = TypeVar("T")
log = logging.getLogger("llmos.tools")

MOST_TOOLS = 128
LARGEST_ANSWER = 4 << 20
"""Bytes of one HTTP answer, a stream's too."""
LONGEST_TEXT = 40_000
"""Characters of a result that a model gets; some 10,000 tokens."""
LONGEST_DESCRIPTION = 1024
CONNECT_SECONDS = 5.0
IDLE_SECONDS = 300.0
DOWN_SECONDS = 60.0
"""For which a server that could not be reached is left alone."""
LEAVE_SECONDS = 30.0
"""For which a session that the server has forgotten may still bring answers."""
FORGOTTEN = -32097
"""Code of the error of a request whose session the server does not know, and of which it did nothing; it is ours."""
_CHECK = "Check its address, which is that of its MCP endpoint, and its credential."


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where a server is: at a URL, or a program of this machine.

    Args:
        url: of its endpoint; empty for a program.
        headers: sent with each request.
        command: the program and its arguments.
        environment: its variables; it sees no others but those that every program needs.
        private: whether addresses that are not public may be called.
        bearer: gives each request its token; None when the headers have what there is.
    """

    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    private: bool = False
    bearer: Bearer | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call gave: its text, cut, and whether the server calls it an error."""

    text: str
    is_error: bool = False


class _GoneError(UpstreamFailed):
    """The server has forgotten the session, as after a restart, and so did nothing of what it was asked."""


class McpSession:
    """One server, connected when it is first needed.

    Args:
        name: what people call it.
        where: it is.
        clock: seconds.
    """

    def __init__(self, name: str, where: Where, clock: Callable[[], float] | None = None) -> None:
        self.name, self.where = name, where
        self._clock = clock or asyncio.get_running_loop().time
        self._client: asyncio.Future[Client] | None = None
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._left: set[asyncio.Task[None]] = set()
        """Sessions that the server has forgotten, in which somebody may still wait for an answer."""
        self._tools: tuple[float, list[Tool]] | None = None
        self._down_until = self._used = 0.0
        self._why: LlmosError | None = None

    @property
    def problem(self) -> LlmosError | None:
        """What keeps the server from taking a token, as far as it was called."""
        return self.where.bearer.problem if self.where.bearer is not None else None

    @property
    def is_idle(self) -> bool:
        """Tell whether there is no connection, so that nothing is lost with it."""
        return self._task is None or self._task.done()

    async def tools(self, *, anew: bool = False) -> list[Tool]:
        """Return what the server offers, asked at most once in `IDLE_SECONDS`, or now.

        Raises:
            UpstreamFailed: `tool_server.unreachable`, `tool_server.failed`, `tool_server.sign_in`.
            UpstreamTimeout: `tool_server.timeout`.
        """
        if anew or self._tools is None or self._clock() - self._tools[0] > IDLE_SECONDS:
            self._tools = self._clock(), await self._answer(_listed, CONNECT_SECONDS)
        return self._tools[1]

    async def call(self, tool: str, arguments: Mapping[str, object], seconds: float) -> Outcome:
        """Call a tool.

        Raises:
            UpstreamFailed: `tool_server.unreachable`, `tool_server.failed`, `tool_server.sign_in`.
            UpstreamTimeout: `tool_server.timeout`.
        """
        result = await self._answer(lambda client: client.call_tool(tool, dict(arguments)), seconds)
        parts = [_text(block) for block in result.content]
        if not parts and result.structured_content is not None:
            parts = [json.dumps(result.structured_content, ensure_ascii=False)]
        text = "\n".join(parts)
        cut = text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "\u2026"
        return Outcome(cut, bool(result.is_error))

    async def close(self) -> None:
        """End the session."""
        tasks = [*self._left, *([self._task] if self._task is not None else ())]
        self._task = self._client = None
        self._stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- the session ------------------------------------------------------------------------------------------------

    async def _answer(self, ask: Callable[[Client], Awaitable[T]], seconds: float) -> T:
        """Return what a server answers, asked once more where it had forgotten the session."""
        try:
            async with self._asked(seconds) as client:
                return await ask(client)
        except _GoneError:
            async with self._asked(seconds) as client:
                return await ask(client)

    @contextlib.asynccontextmanager
    async def _asked(self, seconds: float) -> AsyncIterator[Client]:
        """Hand out the connection for one request; one that fails is made anew by the next."""
        task = self._task
        try:
            async with asyncio.timeout(seconds):
                self._check_up(await self._token())
                client = await self._connected()
                task = self._task
                yield client
        except TimeoutError:
            problem = self._refusal()
            await self._dropped()
            raise (problem and problem.fresh()) or UpstreamTimeout(
                "tool_server.timeout",
                f"The tool server {self.name} did not answer in {seconds:.0f} s.",
                hint="Try again, and then look at the server.",
            ) from None
        except (LlmosError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a server makes of its side
            if getattr(error, "code", None) == FORGOTTEN:
                self._leave(task)
                said = f"The tool server {self.name} forgets its sessions."
                raise _GoneError("tool_server.failed", said, hint="Look at the server.") from None
            log.warning("the tool server %s failed: %s", self.name, type(error).__name__)
            problem = self._refusal()
            await self._dropped()
            raise (problem and problem.fresh()) or UpstreamFailed(
                "tool_server.failed",
                f"The tool server {self.name} failed: {type(error).__name__}.",
                hint="Try again, and then look at what the server says itself.",
            ) from None

    async def _token(self) -> str:
        """Return the token of the server, renewed when it is due; empty when it has none.

        Raises:
            LlmosError: it could not be renewed.
        """
        bearer = self.where.bearer
        if bearer is None:
            return ""
        bearer.problem = None
        token = await bearer.token()
        if (problem := self._refusal()) is not None:
            raise problem.fresh()
        return token

    def _refusal(self) -> LlmosError | None:
        """Return what keeps the server from taking a token; what it offers is not known then."""
        if self.problem is not None:
            self._tools = None
        return self.problem

    def _check_up(self, token: str) -> None:
        """Raise while a server is left alone; one that only wanted a token is not, as soon as there is one."""
        left = self._down_until - self._clock()
        if left <= 0 or (self._why is not None and token):
            return
        if self._why is not None:
            raise self._why.fresh()
        raise UpstreamFailed(
            "tool_server.unreachable",
            f"The tool server {self.name} was not reached; it is tried again in {left:.0f} s.",
            hint=_CHECK,
        )

    async def _connected(self) -> Client:
        if self._task is None or self._task.done():
            self._stop = asyncio.Event()
            self._client = asyncio.get_running_loop().create_future()
            self._task = asyncio.ensure_future(self._lived(self._client, self._stop))
        assert self._client is not None  # noqa: S101 - made with the task
        self._used = self._clock()
        return await asyncio.shield(self._client)

    async def _lived(self, ready: asyncio.Future[Client], stop: asyncio.Event) -> None:
        """Keep a session open until nobody has used it for a while."""
        try:
            async with _open(self.where) as client:
                ready.set_result(client)
                while (left := self._used + IDLE_SECONDS - self._clock()) > 0:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), left)
                        return
        except asyncio.CancelledError:
            if not ready.done():
                ready.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - whatever a server makes of its side
            if not ready.done():
                self._down_until = self._clock() + DOWN_SECONDS
                self._why = self.problem
                ready.set_exception(self._why or _unreachable(self.name, error))
                ready.exception()

    def _leave(self, task: asyncio.Task[None] | None) -> None:
        """Begin anew with the next request, unless somebody has; what is on its way in the old one may still end."""
        if task is None or task is not self._task:
            return
        self._left.add(task)
        task.add_done_callback(self._left.discard)
        asyncio.get_running_loop().call_later(LEAVE_SECONDS, self._stop.set)
        self._task = self._client = None

    async def _dropped(self) -> None:
        """Give a connection up; a server that did not even let itself be connected to is left alone for a while."""
        if self._client is not None and not self._client.done():
            self._down_until = self._clock() + DOWN_SECONDS
        await self.close()


def _unreachable(name: str, error: BaseException) -> LlmosError:
    inner = error
    while isinstance(inner, BaseExceptionGroup) and inner.exceptions:
        inner = inner.exceptions[0]
    if isinstance(inner, LlmosError):
        return inner
    spoke = type(inner).__module__.partition(".")[0] == "mcp"  # its errors are of what was answered
    why = "it answers, but not as a server of MCP" if spoke else type(inner).__name__
    return UpstreamFailed("tool_server.unreachable", f"The tool server {name} was not reached: {why}.", hint=_CHECK)


@contextlib.asynccontextmanager
async def _open(where: Where) -> AsyncGenerator[Client, None]:
    from mcp import Client  # noqa: PLC0415 - slow to import, and few have servers
    from mcp.client.stdio import StdioServerParameters  # noqa: PLC0415
    from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415

    if where.command:
        program, *arguments = where.command
        parameters = StdioServerParameters(command=program, args=arguments, env=dict(where.environment))
        async with Client(parameters) as client:
            yield client
        return
    from llmos_lite.engines.mcp_http import open_http  # noqa: PLC0415

    async with (
        open_http(private=where.private, most=LARGEST_ANSWER, headers=where.headers, bearer=where.bearer) as http,
        Client(streamable_http_client(where.url, http_client=http)) as client,
    ):
        yield client


async def _listed(client: Client) -> list[Tool]:
    found: list[Tool] = []
    cursor: str | None = None
    while len(found) < MOST_TOOLS:
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            description = " ".join((tool.description or "").split())[:LONGEST_DESCRIPTION]
            found.append(Tool(tool.name, description, dict(tool.input_schema)))
        cursor = page.next_cursor
        if not cursor:
            break
    return found[:MOST_TOOLS]


def _text(block: object) -> str:
    """Return what a block says: its text, that of the resource in it, or what it is and where."""
    for holder in (block, getattr(block, "resource", None)):
        text = getattr(holder, "text", None)
        if isinstance(text, str):
            return text
    about = (getattr(block, name, None) for name in ("type", "name", "uri", "description"))
    return f"[{' '.join(str(one) for one in about if one)}]"


def checked_endpoint(url: str) -> str:
    """Return the URL of a server if it can be called over HTTP at all; empty otherwise."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    plain = parts.scheme in {"http", "https"} and parts.hostname and not parts.username and not parts.fragment
    return url if plain and port != 0 else ""
