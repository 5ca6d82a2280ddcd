"""`llmos skills log | diff | blame | restore`: the versions of a skill."""

from __future__ import annotations

from typing import Annotated

import typer

from llmos_lite.cli.client import Json, Params, url
from llmos_lite.cli.command import Session, command
from llmos_lite.cli.output import one_line, when

SHORT = 10

Id = Annotated[str, typer.Argument(help="Id of the skill.")]
Volume = Annotated[str, typer.Option(help="system, team:ID or user:ID; empty for the one that you see.")]


def add(skills: typer.Typer) -> None:
    """Add the commands to `llmos skills`."""

    @command(skills, "log")
    def log(
        session: Session,
        skill_id: Id,
        volume: Volume = "",
        limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most rows.")] = 20,
    ) -> None:
        """List the versions of a skill, newest first, beyond its renames."""
        found = list(session.api.items(url("skills", skill_id, "history"), {"volume": volume}, limit=limit))
        columns = ["VERSION", "COMMIT", "TIME", "AUTHOR", "WHAT", "SUBJECT"]
        session.out.show(found, lambda: session.out.table(columns, map(_row, found), "No versions."))

    @command(skills, "diff")
    def diff(
        session: Session,
        skill_id: Id,
        old: Annotated[str, typer.Argument(metavar="[FROM]", help="Version or commit; empty for the one before.")] = "",
        new: Annotated[str, typer.Argument(metavar="[TO]", help="Version or commit; empty for what stands now.")] = "",
        *,
        volume: Volume = "",
        from_volume: Annotated[str, typer.Option(help="Volume of FROM, when it is another.")] = "",
    ) -> None:
        """Show what differs between two versions, or between the copies of two volumes."""
        params: Params = {"volume": volume, "from": old, "to": new, "from_volume": from_volume}
        found = session.api.get(url("skills", skill_id, "diff"), params)
        session.out.show(found, lambda: session.out.say(*_diff(found)))

    @command(skills, "blame")
    def blame(
        session: Session,
        skill_id: Id,
        *,
        path: Annotated[str, typer.Option(help="File in the skill's folder.")] = "SKILL.md",
        version: Annotated[str, typer.Option(help="Version or commit; empty for what stands now.")] = "",
        volume: Volume = "",
    ) -> None:
        """Show who wrote each line of a skill, and when."""
        params: Params = {"volume": volume, "version": version, "path": path}
        found = session.api.get(url("skills", skill_id, "blame"), params)
        session.out.show(found, lambda: session.out.say(*map(_line, _items(found, "lines"))))
        if found.get("complete") is False:
            session.out.note("The search took too long: lines without a commit are older than the others.")

    @command(skills, "restore")
    def restore(
        session: Session,
        skill_id: Id,
        version: Annotated[str, typer.Argument(help="Version or commit, as `llmos skills log` shows them.")],
        volume: Volume = "",
    ) -> None:
        """Bring a version back as a new commit; also of a skill that was deleted."""
        body = {"version": version, "volume": volume} if volume else {"version": version}
        done = session.api.post(url("skills", skill_id, "restore"), body)
        short = str(done.get("version") or "")[:SHORT]
        said = "restored to" if done.get("status") == "restored" else "is at"
        session.out.show(done, lambda: session.out.say(f"{skill_id} {said} {short} in {done.get('volume')}."))


def _items(found: Json, name: str) -> list[Json]:
    items = found.get(name)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _row(change: Json) -> list[object]:
    renamed = change.get("renamed_from")
    return [
        str(change.get("version") or "")[:SHORT],
        str(change.get("commit") or "")[:SHORT],
        when(change.get("time")),
        change.get("author"),
        f"renamed from {renamed}" if renamed else change.get("change"),
        one_line(change.get("subject")),
    ]


def _diff(found: Json) -> list[str]:
    files = _items(found, "files")
    left_out = [f"# {file.get('path')}: {file.get('status')}, {_why(file)}" for file in files if not file.get("diff")]
    text = str(found.get("diff") or "")
    lines = [*(text.removesuffix("\n").split("\n") if text else []), *left_out]
    return lines or ["Nothing differs."]


def _why(file: Json) -> str:
    if file.get("binary"):
        return "not text"
    if file.get("truncated"):
        return "too large to show"
    return f"executable: {file.get('old_executable')} -> {file.get('new_executable')}"


def _line(line: Json) -> str:
    commit, author = str(line.get("commit") or "")[:SHORT], str(line.get("author") or "")[:16]
    return f"{commit:{SHORT}}  {author:16}  {when(line.get('time')) if commit else '':16}  {line.get('text', '')}"
