"""`llmos tool-servers`: the MCP servers whose tools a chat may call."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from llmos_lite.cli.client import Json, url
from llmos_lite.cli.command import Session, command, group
from llmos_lite.cli.output import one_line
from llmos_lite.cli.remotes import read_secret
from llmos_lite.core.wording import count_of
from llmos_lite.errors import LlmosError

SIGN_IN = "tool_server.sign_in"
_PROBLEM = 300
"""Characters of what is wrong with a server, and of what to do about it."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the tool server.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    servers = group(app, "tool-servers", "MCP servers whose tools a chat may call.")
    command(servers, "list")(list_)
    command(servers, "mine")(mine)
    command(servers, "set")(set_)
    command(servers, "tools")(tools)
    command(servers, "sign-in")(sign_in)
    command(servers, "sign-out")(sign_out)
    command(servers, "remove")(remove)


def list_(session: Session) -> None:
    """List the tool servers, as a system admin."""
    found = list(session.api.items("/tool-servers"))
    columns = ["NAME", "URL", "OTHERS", "TEAMS", "USERS", "FROM", "SIGN-IN", "PROBLEM"]
    session.out.show(found, lambda: session.out.table(columns, map(_row, found), "There is no tool server."))


def mine(session: Session) -> None:
    """List the tool servers that you may use, and which of them want you to sign in."""
    found = list(session.api.items("/me/tool-servers"))
    rows = [[one.get("name"), one.get("sign_in"), one_line(one.get("problem"), _PROBLEM)] for one in found]
    session.out.show(
        found, lambda: session.out.table(["NAME", "SIGN-IN", "PROBLEM"], rows, "There is no tool server for you.")
    )


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
    client_id: Annotated[str, typer.Option(metavar="ID", help="Of a client that its provider gave.")] = "",
    client_secret_file: Annotated[str, typer.Option(metavar="FILE", help="Its secret; - reads standard input.")] = "",
    issuer: Annotated[str, typer.Option(metavar="URL", help="The provider; a secret goes to nobody else.")] = "",
    scope: Annotated[str, typer.Option(help="What is asked for; else what the server asks for.")] = "",
    as_itself: Annotated[bool, typer.Option("--as-itself", help="Sign in without a person, as the client.")] = False,
    each: Annotated[
        bool, typer.Option("--each", help="Everybody signs in, and calls its tools as themselves.")
    ] = False,
) -> None:
    """Add or replace a tool server, and look at it; it holds from the next message on.

    What is not said is not kept: a server that is set again needs all of its options.
    """
    oauth: Json = {
        "client_id": client_id,
        "client_secret": read_secret(client_secret_file),
        "issuer": issuer,
        "scope": scope,
        "as_itself": as_itself,
        "each": each,
    }
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
    if any(oauth.values()):
        body["oauth"] = oauth
    done = session.api.call("PUT", url("tool-servers", name), json_body=body)
    count, problem = _looked(session, name)
    if problem is not None and problem.code == SIGN_IN:
        done["sign_in"] = done.get("sign_in") or "needed"
    session.out.show(done, lambda: _say(session, name, count, problem))


def tools(session: Session, name: Name) -> None:
    """Ask a tool server what it offers."""
    found = list(session.api.items(url("tool-servers", name, "tools")))
    rows = [[one.get("name"), one.get("rule"), one_line(one.get("description"))] for one in found]
    session.out.show(found, lambda: session.out.table(["TOOL", "RULE", "WHAT"], rows, "It offers no tools."))


def sign_in(
    session: Session,
    name: Name,
    *,
    by_hand: Annotated[
        bool, typer.Option("--by-hand", help="For a browser that does not reach the server of llmos.")
    ] = False,
    answer: Annotated[str, typer.Option(metavar="ADDRESS", help="Where the browser ended, by hand.")] = "",
) -> None:
    """Sign in to a tool server: for yourself, or as a system admin for everybody who may use it."""
    path = url("tool-servers", name, "sign-in")
    begun: Json = {} if answer else session.api.post(path, {})
    if begun.get("url"):
        by_hand = by_hand or "://" not in session.api.transport.address
        session.out.show(begun, lambda: _tell_way(session, begun, by_hand=by_hand))
        if session.out.as_json or not sys.stdin.isatty():
            return
        answer = sys.stdin.readline().strip()
    if answer:
        session.api.post(f"{path}/answer", {"address": answer})
    count, problem = _looked(session, name)
    if problem is not None:
        raise problem
    done = {"name": name, "sign_in": "done", "tools": count}
    session.out.show(done, lambda: session.out.say(f"{name} is signed in to. {_offers(count)}"))


def sign_out(
    session: Session,
    name: Name,
    *,
    person: Annotated[str, typer.Option(metavar="ID", help="Somebody else, as a system admin.")] = "",
) -> None:
    """Sign out of a tool server: its tokens are taken back and erased."""
    session.api.call("DELETE", url("tool-servers", name, "sign-in"), {"user_id": person})
    session.out.show({"signed_out": name}, lambda: session.out.say(f"{name} is not signed in to any more."))


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
        server.get("sign_in"),
        one_line(server.get("problem"), _PROBLEM),
    ]


def _names(found: object) -> str:
    return ", ".join(map(str, found)) if isinstance(found, list) else ""


def _tell_way(session: Session, begun: Json, *, by_hand: bool) -> None:
    """Say what to open, and what to do when the browser is there."""
    where = "a browser" if by_hand else "a browser in which you are signed in to llmos"
    session.out.say(f"{begun.get('issuer')} signs in. Open this in {where}, within ten minutes:")
    session.out.say(str(begun.get("address" if by_hand else "url")))
    if by_hand:
        session.out.note("It ends at a page that may not open. Hand in the address of that page, here or by --answer.")
    else:
        session.out.note("Press Enter when the browser says that it is done.")


def _offers(count: int) -> str:
    return f"It offers {count_of(count, 'tool')}."


def _looked(session: Session, name: str) -> tuple[int, LlmosError | None]:
    """Return how many tools a server offers, or what keeps it from saying so."""
    try:
        return len(list(session.api.items(url("tool-servers", name, "tools")))), None
    except LlmosError as error:
        return 0, error


def _say(session: Session, name: str, count: int, problem: LlmosError | None) -> None:
    if problem is None:
        session.out.say(f"{name} is a tool server. {_offers(count)}")
        return
    session.out.say(f"{name} is a tool server.")
    session.out.note(problem.message)
    if hint := f"Sign in to it: llmos tool-servers sign-in {name}" if problem.code == SIGN_IN else problem.hint:
        session.out.note(hint)
