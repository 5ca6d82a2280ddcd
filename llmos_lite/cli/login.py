"""`llmos login`, `llmos logout`, `llmos password`: this person at a server."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Annotated

import typer

from llmos_lite.cli.client import Client
from llmos_lite.cli.command import Session, command
from llmos_lite.cli.output import Output
from llmos_lite.cli.signed_in import Places, SignedIn
from llmos_lite.errors import Invalid, LlmosError

Address = Annotated[str, typer.Argument(metavar="URL", help="Address of the server; LLMOS_URL when left out.")]
ByLink = Annotated[bool, typer.Option("--link", help="By the token of a sign-in link, instead of a password.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command("login")
    def login(
        address: Address = "",
        name: Annotated[str, typer.Option("--name", help="User id or e-mail address; asked for when left out.")] = "",
        link: ByLink = False,  # noqa: FBT002 - typer's way
        as_json: AsJson = False,  # noqa: FBT002 - as above
    ) -> None:
        """Sign in to a server; what is secret is asked for, or read from standard input."""
        place = _address(address)
        client = _client(place)
        if link:
            given = client.post("/sign-in/link", {"token": _token(_ask("Link"))})
        else:
            user = name or _ask("User")
            given = client.post("/sign-in/password", {"user": user, "password": _secret("Password")})
        made = SignedIn.of(given)
        Places(os.environ).put(place, made)
        out = Output(as_json=as_json)
        out.show({"url": place, "user_id": made.user_id}, lambda: out.say(f"Signed in to {place} as {made.user_id}."))

    @app.command("logout")
    def logout(address: Address = "", as_json: AsJson = False) -> None:  # noqa: FBT002 - as above
        """Sign out of a server, there and here."""
        places = Places(os.environ)
        place = address or os.environ.get("LLMOS_URL", "") or places.default()
        ended = places.drop(place)
        try:
            _client(place).post("/sign-in/end", {"refresh_token": ended.refresh_token})
        except LlmosError as error:
            sys.stderr.write(f"The server could not be told ({error.message}) The sign-in ends there by itself.\n")
        out = Output(as_json=as_json)
        out.show({"url": place}, lambda: out.say(f"Signed out of {place}."))

    @command(app, "password")
    def password(session: Session) -> None:
        """Set your password; every other session of yours ends.

        Without a terminal it reads two lines: the password of now, empty for none, and the new one.
        """
        current, new = _secret("Current password (empty for none)"), _secret("New password")
        if sys.stdin.isatty() and new != _secret("New password again"):
            raise Invalid("password.differs", "That is not the same password twice.")
        session.api.call("PUT", "/me/password", json_body={"current": current, "new": new})
        session.out.show({}, lambda: session.out.say("Your password is set."))


def _address(given: str) -> str:
    place = given or os.environ.get("LLMOS_URL", "")
    if not place:
        raise Invalid("cli.where", "No server was named.", hint="llmos login http://host:8420")
    return place.rstrip("/")


def _client(address: str) -> Client:
    from llmos_lite.cli.remote import HttpTransport  # noqa: PLC0415 - not needed by other commands

    return Client(HttpTransport(address))


def _token(text: str) -> str:
    """Return the token of a link, or what was given when it is no link."""
    return text.rpartition("token=")[2].strip()


def _ask(what: str) -> str:
    if sys.stdin.isatty():
        return input(f"{what}: ")
    return sys.stdin.readline().rstrip("\n")


def _secret(what: str) -> str:
    if sys.stdin.isatty():
        return getpass.getpass(f"{what}: ")
    return sys.stdin.readline().rstrip("\n")
