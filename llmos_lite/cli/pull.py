"""`llmos pull` and `llmos skills export`: skills into folders and archives, byte for byte."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmos_lite.cli.command import Session, command
from llmos_lite.core.wording import count_of
from llmos_lite.errors import Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from llmos_lite.cli.archives import Offered
    from llmos_lite.cli.in_step import Step
    from llmos_lite.engines.git_objects import File

ARCHIVES = (".tar.gz", ".tgz", ".zip")

Team = Annotated[str, typer.Option("--team", metavar="ID", help="In the context of this team.")]
Held = Annotated[bool, typer.Option("--held", help="Also what a scanner holds back.")]
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
        held: Held = False,
    ) -> int:
        """Keep a project's folder of skills in step with what you see; what was edited there is left alone."""
        from llmos_lite.cli.archives import fetch, offered, parted  # noqa: PLC0415 - loads what only this needs
        from llmos_lite.cli.in_step import LEFT, Folder  # noqa: PLC0415 - as above

        folder = Folder(to.resolve())
        wanted, left = parted(offered(session.api, team=team, volume=volume), held=held)
        steps = folder.plan(wanted, force=force)
        steps = steps if force else folder.wary(steps)
        if not check:
            steps = list(folder.apply(steps, lambda skill: fetch(session.api, skill, held=held)))
        rows = [[step.skill_id, _said(step.status, check=check), step.detail] for step in steps]
        shown = [row for row, step in zip(rows, steps, strict=True) if step.status != "unchanged"]
        data = [{"skill_id": step.skill_id, "status": step.status, "detail": step.detail} for step in steps]
        data += [{"skill_id": one.skill_id, "status": "held", "detail": ", ".join(one.held)} for one in left]
        done = f"{to} is in step: {count_of(len(steps), 'skill')}."
        session.out.show(data, lambda: session.out.table(["SKILL", "", ""], shown, done))
        _warn(session, wanted, left)
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
        held: Held = False,
    ) -> None:
        """Write skills to a folder or an archive, byte for byte."""
        from llmos_lite.cli.archives import fetch, offered, one_offered, parted  # noqa: PLC0415 - as above

        if skill_ids:
            wanted = [one_offered(session.api, one, team=team, volume=volume) for one in dict.fromkeys(skill_ids)]
            left: Sequence[Offered] = ()
        else:
            good = (one for one in offered(session.api, team=team, volume=volume) if not one.problem)
            wanted, left = parted(good, held=held)
        if not wanted and not left:
            raise NotFound("skill.unknown", "There is no skill to export.")
        found = {skill.skill_id: fetch(session.api, skill, held=held) for skill in wanted}
        _warn(session, wanted, left)
        _write(to, found, force=force)
        data = [{"skill_id": one.skill_id, "volume": one.volume, "version": one.version} for one in wanted]
        session.out.show(data, lambda: session.out.say(f"{_count(len(found))} in {to}."))


def _count(number: int) -> str:
    return count_of(number, "skill is", "skills are")


def _warn(session: Session, taken: Sequence[Offered], left: Sequence[Offered]) -> None:
    """Say which skills a scanner holds back."""
    for skill in (*left, *(skill for skill in taken if skill.held)):
        done = "left out" if skill in left else "taken all the same"
        why = ", ".join(skill.held)
        session.out.note(f"{skill.skill_id} of {skill.volume}: {done}; a scanner holds it back ({why}).")
    if left:
        session.out.note("`llmos skills scan --volume VOLUME` says why. --held takes what is held back.")


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
