"""`llmos skills edit | rename | delete`: changes of one skill."""

from __future__ import annotations

import os
import tempfile
from typing import Annotated

import typer

from llmos_lite.cli.client import Params, url
from llmos_lite.cli.command import Session, command
from llmos_lite.cli.output import held_note
from llmos_lite.errors import LlmosError

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the skill.")]
Volume = Annotated[str, typer.Option(help="system, team:ID or user:ID; empty for the one that you see.")]


def add(skills: typer.Typer) -> None:
    """Add the commands to `llmos skills`."""

    @command(skills, "edit")
    def edit(session: Session, skill_id: Id, volume: Volume = "") -> None:
        """Change a skill in $EDITOR; what somebody else changed meanwhile is not overwritten."""
        from llmos_lite.cli.templates import edited  # noqa: PLC0415 - most commands need no editor

        found = session.api.get(url("skills", skill_id), {"volume": volume})
        before, where = str(found.get("content", "")), str(found.get("volume"))
        after = edited(before)
        if after == before:
            session.out.show(found, lambda: session.out.say("Nothing was changed."))
            return
        try:
            body = {"content": after, "version": found.get("version")}
            done = session.api.call("PATCH", url("skills", skill_id), {"volume": where}, json_body=body)
        except LlmosError as error:
            error.hint = f"{error.hint} Your text is in {_kept(skill_id, after)}.".strip()
            raise
        session.out.show(done, lambda: session.out.say(f"{skill_id} was changed in {where}."))

    @command(skills, "rename")
    def rename(
        session: Session,
        skill_id: Id,
        new_id: Annotated[str, typer.Argument(metavar="NEW", help="Its id from now on.")],
        volume: Volume = "",
    ) -> None:
        """Give a skill another id; its files stay as they are, and its history goes on."""
        found = session.api.get(url("skills", skill_id), {"volume": volume})
        body = {"new_id": new_id, "volume": found.get("volume"), "expect": found.get("version")}
        done = session.api.post(url("skills", skill_id, "rename"), body)
        session.out.show(done, lambda: session.out.say(f"{skill_id} is {new_id} in {done.get('volume')} now."))
        if why := held_note(done):
            session.out.note(f"{new_id} is {why}: a sign-off holds for the folder as it was.")

    @command(skills, "delete")
    def delete(session: Session, skill_id: Id, volume: Volume = "") -> None:
        """Delete a skill; its history stays, and `llmos skills restore` brings it back."""
        where, version = volume, ""
        if not volume:  # say which one it was, and delete no other
            found = session.api.get(url("skills", skill_id))
            where, version = str(found.get("volume")), str(found.get("version"))
        params: Params = {"volume": where, "version": version}
        done = session.api.call("DELETE", url("skills", skill_id), params)
        back = f"llmos skills restore {skill_id} {version[:10] or 'VERSION'} --volume {where}"
        session.out.show(done, lambda: session.out.say(f"{skill_id} was deleted in {where}. `{back}` brings it back."))


def _kept(skill_id: str, text: str) -> str:
    """Write what a person wrote where they find it again, and return the path."""
    handle, path = tempfile.mkstemp(prefix=f"{skill_id[:64]}-", suffix=".md")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    return path
