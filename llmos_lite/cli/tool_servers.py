"""`llmos tool-servers`: the MCP servers whose tools a chat may call."""

from __future__ import annotations

from typing import Annotated

import typer

from llmos_lite.cli.client import Json, url
from llmos_lite.cli.command import Session, command, group
from llmos_lite.cli.output import one_line
from llmos_lite.cli.remotes import read_secret

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the tool server.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    servers = group(app, "tool-servers", "MCP servers whose tools a chat may call, for system admins.")
    command(servers, "list")(list_)
    command(servers, "set")(set_)
    command(servers, "tools")(tools)
    command(servers, "remove")(remove)


def list_(session: Session) -> None:
    """List the tool servers."""
    found = list(session.api.items("/tool-servers"))
    columns = ["NAME", "URL", "OTHERS", "TEAMS", "USERS", "FROM", "PROBLEM"]
    session.out.show(found, lambda: session.out.table(columns, map(_row, found), "There is no tool server."))


def set_(
    session: Session,
    name: Name,
    address: Annotated[str, typer.Argument(metavar="URL", help="Of its MCP endpoint.")],
    *,
    always: Annotated[list[str] | None, typer.Option(metavar="TOOL", help="Run without asking.")] = None,
    ask: Annotated[list[str] | None, typer.Option(metavar="TOOL", help="Run with the person's leave.")] = None,
    never: Annotated[list[str] | None, typer.Option(metavar="TOOL", help="Not offered.")] = None,
    others: Annotated[str, typer.Option(help="Rule of the other tools: always, ask or never.")] = "ask",
    team: Annotated[list[str] | None, typer.Option(help="Whose chats may use it; again for more.")] = None,
    person: Annotated[list[str] | None, typer.Option(help="Who may use it; again for more.")] = None,
    token_file: Annotated[str, typer.Option(metavar="FILE", help="A bearer token; - reads standard input.")] = "",
    seconds: Annotated[float, typer.Option(help="That one call may take.")] = 30.0,
) -> None:
    """Add or change a tool server; it holds from the next message on."""
    token = read_secret(token_file)
    rules = {tool: rule for rule, named in (("always", always), ("ask", ask), ("never", never)) for tool in named or ()}
    body: Json = {
        "url": address,
        "headers": {"Authorization": f"Bearer {token}"} if token else {},
        "tools": dict(rules),
        "others": others,
        "teams": list(team or ()),
        "users": list(person or ()),
        "seconds": seconds,
    }
    done = session.api.call("PUT", url("tool-servers", name), json_body=body)
    session.out.show(done, lambda: session.out.say(f"{name} is a tool server."))


def tools(session: Session, name: Name) -> None:
    """Ask a tool server what it offers."""
    found = list(session.api.items(url("tool-servers", name, "tools")))
    rows = [[one.get("name"), one.get("rule"), one_line(one.get("description"))] for one in found]
    session.out.show(found, lambda: session.out.table(["TOOL", "RULE", "WHAT"], rows, "It offers no tools."))


def remove(session: Session, name: Name) -> None:
    """Take a tool server away."""
    session.api.call("DELETE", url("tool-servers", name))
    session.out.show({"removed": name}, lambda: session.out.say(f"{name} is no tool server any more."))


def _row(server: Json) -> list[object]:
    return [
        server.get("name"),
        server.get("url") or "a program",
        server.get("others"),
        _names(server.get("teams")),
        _names(server.get("users")),
        server.get("source"),
        one_line(server.get("problem")),
    ]


def _names(found: object) -> str:
    return ", ".join(map(str, found)) if isinstance(found, list) else ""
