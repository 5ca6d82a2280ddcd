"""`llmos skills scrub`: a text goes from the whole history of a volume's skills."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from llmos_lite.cli.client import Json
from llmos_lite.cli.command import Session, command
from llmos_lite.core.wording import count_of
from llmos_lite.errors import Invalid, NotFound

STDIN = "-"


def add_to(skills: typer.Typer) -> None:
    """Add the command to a group."""
    command(skills, "scrub")(scrub)


def scrub(
    session: Session,
    file: Annotated[str, typer.Option(help="File that holds the text; - for standard input; empty asks.")] = "",
    *,
    volume: Annotated[str, typer.Option(help="system, team:ID or user:ID; empty for your own.")] = "",
    quoted: Annotated[bool, typer.Option("--quoted", help="What skills quoted from erased traces, instead.")] = False,
    reason: Annotated[str, typer.Option(help="Why; it stays in the history, so without the text.")] = "",
    diverge: Annotated[bool, typer.Option("--diverge", help="Do it though remotes keep the old history.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it: it cannot be undone, and every clone is to be made again.")
    ] = False,
) -> None:
    """Take a text (a secret, a quotation) out of every commit of a volume's skills.

    The text is never an argument: others can see those, and the shell remembers them.
    """
    if not yes:
        raise Invalid(
            "scrub.unsure",
            "Rewriting the history cannot be undone, and everybody who has a clone must make it again.",
            hint="Add --yes to do it.",
        )
    texts = [] if quoted else [_text(file)]
    asked = {"volume": volume, "texts": texts, "quoted": quoted, "reason": reason, "diverge": diverge}
    done = session.api.post("/skills/scrub", asked)
    session.out.show(done, lambda: _say(session, done))


def _text(file: str) -> str:
    if file == STDIN:
        return sys.stdin.read().strip("\n")
    if file:
        path = Path(file)
        if not path.is_file():
            raise NotFound("path.missing", f"There is no file {file}.", hint="Correct the path.")
        try:
            return path.read_text(encoding="utf-8").strip("\n")
        except UnicodeDecodeError:
            raise Invalid("scrub.text", f"{file} is no text.") from None
    return str(typer.prompt("The text that is to go", hide_input=True, err=True))


def _say(session: Session, done: Json) -> None:
    if not done.get("commits"):
        gone = count_of(done.get("objects"), "object was", "objects were")
        session.out.say(f"No commit of {done.get('volume')} holds it; {gone} removed.")
    else:
        of, gone = f"of {done.get('volume')}", count_of(done.get("objects"), "object is", "objects are")
        session.out.say(f"{count_of(done.get('commits'), f'commit {of} is', f'commits {of} are')} new, {gone} gone.")
    if done.get("resigned"):
        signed = count_of(done["resigned"], "commit of people is", "commits of people are")
        session.out.say(f"{signed} signed by llmos now, since what people signed is gone.")
    for name, text in (("files", "It still stands in the file"), ("remotes", "The old history is kept by")):
        found = done.get(name)
        for one in found if isinstance(found, list) else []:
            session.out.say(f"{text} {one}.")
    session.out.say(str(done.get("out_of_reach")))
