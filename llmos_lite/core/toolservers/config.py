"""What is said of a tool server: where it is, who may use it, and which of its tools."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

import msgspec

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.engines.llm import Tool
from llmos_lite.engines.mcp_sessions import checked_endpoint
from llmos_lite.errors import Invalid

SEPARATOR = "__"
_NAMED = "Use lower-case letters, digits and single hyphens between them, at most 24 characters."
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LONGEST_NAME = 24
MOST_RULES = 256
LARGEST_HEADERS = 8000
LONGEST_OAUTH = 2000


class Rule(StrEnum):
    """Whether a tool is run: without asking, with the person's leave, or not at all."""

    ALWAYS = "always"
    ASK = "ask"
    NEVER = "never"


class OAuth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How we sign in to a server that wants it.

    Args:
        client_id: what its authorization server knows us by; empty lets us make ourselves known.
        client_secret: of that client.
        issuer: of that authorization server; a secret goes nowhere else.
        scope: what is asked for; empty for what the server asks for.
        as_itself: whether the client signs in as itself, without a person (client credentials).
        each: whether everybody signs in, and calls its tools as themselves; else one sign-in is for all.
    """

    client_id: str = ""
    client_secret: str = ""
    issuer: str = ""
    scope: str = ""
    as_itself: bool = False
    each: bool = False

    def __repr__(self) -> str:
        return f"OAuth({self.client_id!r})"

    def problem(self) -> str:
        """Return what makes no sense; empty when all does."""
        texts = (self.client_id, self.client_secret, self.issuer, self.scope)
        if any(len(text) > LONGEST_OAUTH or not text.isprintable() for text in texts):
            return "A client, an issuer or a scope is too long, or has characters that none has."
        if self.as_itself and not self.client_secret:
            return "Only a client with a secret signs in as itself."
        if self.as_itself and self.each:
            return "A client that signs in as itself does so once, for all."
        if self.client_secret and not (self.client_id and self.issuer):
            return (
                "A client's secret needs its id, and the issuer that it goes to: it would go wherever the server says."
            )
        if self.issuer and not checked_endpoint(self.issuer):
            return "An issuer is an http or https URL."
        return ""


class ToolServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server.

    Args:
        name: stands before the names of its tools.
        url: of its endpoint; empty for a program.
        headers: sent with each request, credentials too.
        tools: rules of its tools, by name.
        others: the rule of those that are not named.
        teams: whose chats may use it.
        users: who may use it; without teams and users everybody.
        seconds: that one call may take.
        command: the program, for one of a file on this machine.
        environment: its variables.
        oauth: how we sign in to it, when it wants that.
        owner: whose tokens are sent to it, where everybody has some; empty for those of all.
        seen: digests of the tools that are named `always`, as they were when an admin last named them.
    """

    name: str
    url: str = ""
    headers: dict[str, str] = {}
    tools: dict[str, Rule] = {}
    others: Rule = Rule.ASK
    teams: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    seconds: float = 30.0
    command: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    oauth: OAuth = OAuth()
    owner: str = ""
    seen: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"ToolServer({self.name})"

    def checked(self, *, local: bool = False) -> ToolServer:
        """Return this server if it makes sense; a program only when it comes from a file of this machine.

        Raises:
            Invalid: `tool_server.invalid`.
        """
        if not is_name(self.name):
            raise _invalid(f"{self.name[:64]!r} is no name of a tool server.", _NAMED)
        if self.command and not local:
            raise _invalid("A program can only be named in a file where the server runs, by LLMOS_TOOL_SERVERS.")
        if bool(self.command) == bool(checked_endpoint(self.url)):
            raise _invalid("A tool server has an http or https URL, without a user in it.")
        if not 0 < self.seconds <= 600:  # noqa: PLR2004 - as long as the longest chat
            raise _invalid("A call may take up to 600 seconds.")
        if len(self.tools) > MOST_RULES or sum(map(len, (*self.headers, *self.headers.values()))) > LARGEST_HEADERS:
            raise _invalid("There are too many rules or headers.")
        if any(not text.isprintable() or ":" in name for name, text in self.headers.items()):
            raise _invalid("A header has a character that headers cannot have.")
        if self.owner:
            raise _invalid("A tool server is nobody's.")
        if problem := self.oauth.problem():
            raise _invalid(problem)
        if self.oauth != OAuth() and not self.may_sign_in:
            raise _invalid("A program, or a server with a header Authorization, is not signed in to.")
        return self

    @property
    def may_sign_in(self) -> bool:
        """Tell whether we may sign in to it: it has a URL, and no credential in its headers."""
        return bool(self.url) and "authorization" not in map(str.lower, self.headers)

    def as_for(self, user_id: str) -> ToolServer:
        """Return it as somebody calls it."""
        return msgspec.structs.replace(self, owner=user_id) if self.oauth.each else self

    def is_ever_for(self, actor: Actor) -> bool:
        """Tell whether somebody may use it in some context."""
        return any(self.is_for(actor, team) for team in (None, *actor.teams))

    def rule(self, tool: Tool) -> Rule:
        """Return the rule of a tool; one that is not what it was when it was named `always` asks."""
        return Rule.ASK if self.has_changed(tool) else self.tools.get(tool.name, self.others)

    def has_changed(self, tool: Tool) -> bool:
        """Tell whether a tool is not what it was when it was named `always`."""
        seen = self.seen.get(tool.name) if self.tools.get(tool.name) is Rule.ALWAYS else None
        return seen is not None and seen != digest_of(tool)

    def having_seen(self, tools: Iterable[Tool]) -> ToolServer:
        """Return it with what the tools are that are named `always`."""
        named = [tool for tool in tools if self.tools.get(tool.name) is Rule.ALWAYS]
        return msgspec.structs.replace(self, seen={tool.name: digest_of(tool) for tool in named})

    def is_for(self, actor: Actor, team_id: str | None) -> bool:
        """Tell whether somebody's chat may use it: a server of teams only in a context of one of them."""
        if not (self.teams or self.users):
            return True
        return actor.user_id in self.users or (team_id is not None and team_id in self.teams and team_id in actor.teams)


def digest_of(tool: Tool) -> str:
    """Return a digest of what a tool says of itself."""
    said = json.dumps([tool.name, tool.description, tool.parameters], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    servers: dict[str, dict[str, object]] = {}


def read_servers(path: str) -> list[ToolServer]:
    """Read the file of servers; none when there is no path.

    Raises:
        Invalid: `settings.invalid`.
    """
    if not path:
        return []
    try:
        found = msgspec.convert(tomllib.loads(Path(path).read_text()), _File)
        return [
            msgspec.convert({"name": name, **fields}, ToolServer).checked(local=True)
            for name, fields in found.servers.items()
        ]
    except (OSError, ValueError, msgspec.ValidationError, Invalid) as error:
        raise Invalid("settings.invalid", f"LLMOS_TOOL_SERVERS={path}: {error}") from None


def is_name(text: str) -> bool:
    """Tell whether a tool server may be called this."""
    return len(text) <= LONGEST_NAME and _NAME.fullmatch(text) is not None


def _invalid(said: str, hint: str = "") -> Invalid:
    return Invalid("tool_server.invalid", said, hint=hint)
