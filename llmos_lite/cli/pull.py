"""`llmos pull` and `llmos skills export`: skills into folders and archives, byte for byte."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmos_lite.cli.command import Session, command
from llmos_lite.errors import Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from llmos_lite.cli.in_step import Step
    from llmos_lite.engines.git_objects import File

ARCHIVES = (".tar.gz", ".tgz", ".zip")

Team = Annotated[str, typer.Option("--team", metavar="ID", help="In the context of this team.")]
Volume = Annotated[str, typer.Option(help="Only what system, team:ID or user:ID holds.")]


def add(app: typer.Typer) -> None:
    """Add `llmos pull`."""

    @command(app, "pull")
    def pull(
        session: Session,
        to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="As in .claude/skills or .agents/skills.")],
        *,
        team: Team = "",
        volume: Volume = "",
        check: Annotated[
            bool, typer.Option("--check", help="Write nothing; fail when something would change.")
        ] = False,
        force: Annotated[bool, typer.Option("--force", help="Overwrite what was edited there.")] = False,
    ) -> int:
        """Keep a project's folder of skills in step with what you see; what was edited there is left alone."""
        from llmos_lite.cli.archives import fetch, offered  # noqa: PLC0415 - loads what only this needs
        from llmos_lite.cli.in_step import LEFT, Folder  # noqa: PLC0415 - as above

        folder = Folder(to.resolve())
        steps = folder.plan(offered(session.api, team=team, volume=volume), force=force)
        steps = steps if force else folder.wary(steps)
        if not check:
            steps = list(folder.apply(steps, lambda skill: fetch(session.api, skill)))
        rows = [[step.skill_id, _said(step.status, check=check), step.detail] for step in steps]
        shown = [row for row, step in zip(rows, steps, strict=True) if step.status != "unchanged"]
        data = [{"skill_id": step.skill_id, "status": step.status, "detail": step.detail} for step in steps]
        done = f"{to} is in step: {len(steps)} skills."
        session.out.show(data, lambda: session.out.table(["SKILL", "", ""], shown, done))
        wrong = [step for step in steps if step.status in LEFT or (check and step.status != "unchanged")]
        if wrong and not check:
            for line in _left(steps):
                session.out.note(line)
        return Conflict.exit_code if wrong else 0


def add_export(skills: typer.Typer) -> None:
    """Add `llmos skills export`."""

    @command(skills, "export")
    def export(
        session: Session,
        to: Annotated[Path, typer.Option("--to", metavar="PATH", help="A folder, or a file .tar.gz or .zip.")],
        skill_ids: Annotated[
            list[str] | None, typer.Argument(metavar="[ID]...", help="All that you see if none.")
        ] = None,
        *,
        team: Team = "",
        volume: Volume = "",
        force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    ) -> None:
        """Write skills to a folder or an archive, byte for byte."""
        from llmos_lite.cli.archives import fetch, offered, one_offered  # noqa: PLC0415 - loads what only this needs

        if skill_ids:
            wanted = [one_offered(session.api, one, team=team, volume=volume) for one in dict.fromkeys(skill_ids)]
        else:
            wanted = [one for one in offered(session.api, team=team, volume=volume) if not one.problem]
        if not wanted:
            raise NotFound("skill.unknown", "There is no skill to export.")
        found = {skill.skill_id: fetch(session.api, skill) for skill in wanted}
        _write(to, found, force=force)
        data = [{"skill_id": one.skill_id, "volume": one.volume, "version": one.version} for one in wanted]
        session.out.show(data, lambda: session.out.say(f"{len(found)} skills are in {to}."))


def _left(steps: list[Step]) -> Iterator[str]:
    """Yield what a person may do about what was left alone."""
    counts = Counter(step.status for step in steps)
    if counts["edited"]:
        yield f"{counts['edited']} edited: left alone. --force overwrites them."
    if counts["foreign"]:
        yield f"{counts['foreign']} not written by a pull: never touched. Move or remove them to have the server's."
    if counts["broken"]:
        yield f"{counts['broken']} broken on the server: left alone."
    if counts["gone"]:
        yield f"{counts['gone']} gone on the server: left alone, since most would go. --force removes them."


def _said(status: str, *, check: bool) -> str:
    would = {"added": "would be added", "updated": "would be updated", "removed": "would be removed"}
    return would.get(status, status) if check else status


def _write(to: Path, skills: dict[str, dict[str, File]], *, force: bool) -> None:
    from llmos_lite.cli.archives import remove, write_file, write_folder  # noqa: PLC0415 - as above
    from llmos_lite.core.skills.packing import below, pack, pack_zip  # noqa: PLC0415 - as above

    packed = to.name.endswith(ARCHIVES)
    if not packed and to.suffix in {".tar", ".gz", ".rar", ".7z"}:
        raise Invalid("export.form", f"{to.suffix} is not a form that is written here.", hint="Use .tar.gz or .zip.")
    taken = [path for path in ([to] if packed else [to / skill_id for skill_id in skills]) if os.path.lexists(path)]
    if taken and not force:
        raise Conflict("export.exists", f"{taken[0]} is there already.", hint="--force replaces it.")
    if packed:
        files = {name: file for skill_id, inner in skills.items() for name, file in below(skill_id, inner).items()}
        write_file(to, pack_zip(files) if to.name.endswith(".zip") else pack(files))
        return
    for skill_id, inner in skills.items():
        remove(to / skill_id)
        write_folder(to / skill_id, inner)
