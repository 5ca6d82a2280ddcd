"""`llmos skills templates | new`: skills from templates."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from llmos_lite.cli.client import Json, url
from llmos_lite.cli.command import Session, command
from llmos_lite.cli.output import one_line, printable
from llmos_lite.errors import Invalid
from llmos_lite.volumes.skill_paths import FILE

Team = Annotated[str, typer.Option("--team", metavar="ID", help="In the context of this team.")]


def add(skills: typer.Typer) -> None:
    """Add the commands to `llmos skills`."""

    @command(skills, "templates")
    def templates(
        session: Session,
        template_id: Annotated[str, typer.Argument(metavar="[ID]", help="Show what this one asks for.")] = "",
        team: Team = "",
    ) -> None:
        """List the templates that you see, or what one of them asks for."""
        if template_id:
            found = session.api.get(url("templates", template_id), {"team_id": team})
            columns = ["VALUE", "QUESTION", "WITHOUT AN ANSWER"]
            session.out.show(found, lambda: session.out.table(columns, map(_gap, _gaps(found)), "It asks for nothing."))
            return
        listed = list(session.api.items("/templates", {"team_id": team}))
        columns = ["TEMPLATE", "VOLUME", "WHAT", "VALUES"]
        session.out.show(listed, lambda: session.out.table(columns, map(_row, listed), "No templates."))

    @command(skills, "new")
    def new(
        session: Session,
        skill_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the new skill.")],
        template: Annotated[str, typer.Option("--template", "-t", metavar="ID", help="Template to begin with.")],
        values: Annotated[
            list[str] | None, typer.Option("--set", metavar="NAME=TEXT", help="Fill a gap; can be repeated.")
        ] = None,
        *,
        edit: Annotated[bool, typer.Option("--edit", help="Open it in $EDITOR before it is created.")] = False,
        volume: Annotated[str, typer.Option(help="system, team:ID or user:ID; empty for your own.")] = "",
        team: Team = "",
    ) -> None:
        """Create a skill from a template; on a terminal it asks for what was not given."""
        given = dict(map(_value, values or []))
        if sys.stdin.isatty() and not (session.out.as_json or edit):
            given = _answered(_gaps(session.api.get(url("templates", template), {"team_id": team})), given)
        body: Json = {"skill_id": skill_id, "values": given}
        if volume:
            body["volume"] = volume
        if edit:
            body["content"] = _edited(session.api.get(url("templates", template), {"team_id": team}), skill_id, given)
        made = session.api.post(url("templates", template, "skills"), body, {"team_id": team})
        said = f"{skill_id} was created in {made.get('volume')}. `llmos skills show {skill_id}` prints it."
        session.out.show(made, lambda: session.out.say(said))


def _answered(gaps: list[Json], given: dict[str, str]) -> dict[str, str]:
    """Return the answers of a person to what was not given; nothing said is what the template has for that."""
    asked = [one for one in gaps if str(one.get("key")) not in given]
    answers = {str(one["key"]): _ask(str(one.get("ask") or one["key"]), str(one.get("default") or "")) for one in asked}
    return {**{key: answer for key, answer in answers.items() if answer}, **given}


def _ask(question: str, default: str) -> str:
    said = typer.prompt(printable(question), default=printable(default), show_default=bool(default), err=True)
    return str(said).strip()


def _edited(found: Json, skill_id: str, given: dict[str, str]) -> str:
    """Return the filled text as the person wants it."""
    from llmos_lite.core.skills.templates import Question, Template  # noqa: PLC0415 - loads what only this needs

    values = {str(one["key"]): Question(str(one["ask"]), str(one["default"])) for one in _gaps(found)}
    template = Template(template_id=str(found["template_id"]), values=values, content=str(found["content"]))
    return edited(template.draft(skill_id, given).content)


def edited(text: str) -> str:
    """Return a text as the person leaves it in $VISUAL, $EDITOR or vi.

    Raises:
        Invalid: `edit.failed`, when the editor says so, or cannot be started.
    """
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, FILE)
        path.write_text(text, encoding="utf-8")
        try:
            code = subprocess.run([*editor, str(path)], check=False).returncode  # noqa: S603 - the person's own editor
        except OSError as error:
            raise Invalid(
                "edit.failed", f"{editor[0]} cannot be started: {error.strerror}.", hint="Set EDITOR."
            ) from error
        if code:
            raise Invalid("edit.failed", f"{editor[0]} ended with {code}; nothing was created.")
        return path.read_text(encoding="utf-8")


def _value(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise Invalid("cli.usage", f"{text!r} is not NAME=TEXT.", hint="As in --set service='the search service'.")
    return name.strip(), value.strip()


def _gaps(template: Json) -> list[Json]:
    values = template.get("values")
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


def _gap(one: Json) -> list[object]:
    return [one.get("key"), one.get("ask"), one.get("default")]


def _row(template: Json) -> list[object]:
    said = f"[{template['error']}]" if template.get("error") else one_line(template.get("description"))
    gaps = ", ".join(str(one["key"]) for one in _gaps(template))
    return [template.get("template_id"), template.get("volume"), said, gaps]
