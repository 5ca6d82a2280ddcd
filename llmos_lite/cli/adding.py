"""`llmos skills add`: what is on this machine is sent, what is elsewhere the server fetches."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from llmos_lite.cli.client import BLOCK, Body, Json, Params, items_of, read_json
from llmos_lite.cli.command import Session, command
from llmos_lite.errors import Conflict, Invalid, LlmosError

TAR = "application/x-tar"
_SCP = re.compile(r"[\w.-]+@[\w.-]+:")
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")


def add(skills: typer.Typer) -> None:
    """Add the command to `llmos skills`."""

    @command(skills, "add")
    def add_(
        session: Session,
        sources: Annotated[
            list[str],
            typer.Argument(help="Files, folders, archives; or a repository, archive, marketplace or host by URL."),
        ],
        *,
        volume: Annotated[str, typer.Option(help="system, team:ID or user:ID; empty for your own.")] = "",
        force: Annotated[bool, typer.Option("--force", help="Replace skills that are there.")] = False,
        skill: Annotated[
            list[str] | None,
            typer.Option("--skill", metavar="NAME", help="Only this skill or plugin."),
        ] = None,
        ref: Annotated[str, typer.Option(help="Branch, tag or commit of a repository.")] = "",
        folder: Annotated[str, typer.Option(help="Only what lies below this folder of it.")] = "",
        only_list: Annotated[bool, typer.Option("--list", help="Write nothing; only tell what is there.")] = False,
    ) -> int:
        """Add skills: from this machine, or from elsewhere by URL or owner/repo."""
        here, there = _told_apart(sources)
        if here and (ref or folder):
            option = "--ref" if ref else "--folder"
            hint = "Check it out there first." if ref else f"Name the folder itself, as in {here[0] / folder}."
            raise Invalid(
                "cli.usage", f"{option} is for a repository elsewhere; {here[0]} is on this machine.", hint=hint
            )
        done = list[Json]()
        if here:
            done = _listed(here, skill or []) if only_list else _sent(session, here, skill or [], volume, force=force)
        asked: Json = {"volume": volume or None, "replace": force, "skills": skill or [], "ref": ref, "folder": folder}
        for source in there:
            done += _imported(session, source, {**asked, "source": source, "dry_run": only_list})
        return show(session, done)


def _told_apart(sources: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Return what is on this machine, and what is elsewhere: an address, or `owner/repo` that is no path here."""
    here, there = list[Path](), list[str]()
    for source in sources:
        path = Path(source).expanduser()
        is_address = "://" in source or _SCP.match(source)
        is_path = source.startswith((".", "/", "~")) or source.endswith("/") or "/" not in source
        if not is_address and (path.exists() or is_path):
            here.append(path)
        else:
            there.append(source)
    return here, there


def show(session: Session, done: list[Json]) -> int:
    """Say what came of each skill, and return the exit code."""
    rows = [[item.get("skill_id"), item.get("status"), item.get("detail", "")] for item in done]
    about = "DESCRIPTION" if any(item.get("status") == "available" for item in done) else ""
    session.out.show(done, lambda: session.out.table(["SKILL", "STATUS", about], rows, "No skill was found there."))
    refused = not done or any(item.get("status") == "refused" for item in done)
    return Conflict.exit_code if refused else 0


# Elsewhere


def _imported(session: Session, source: str, asked: Json) -> list[Json]:
    try:
        return items_of(session.api.post("/skills/import", asked))
    except LlmosError as error:
        if source.startswith("file://"):
            error.hint = f"A path without file:// is sent from this machine. On the server: {error.hint}"
        elif "://" not in source and not _SCP.match(source):
            session.out.note(f"There is no {source} on this machine: it was looked for on GitHub.")
        raise


# On this machine


def _sent(session: Session, paths: list[Path], wanted: Collection[str], volume: str, *, force: bool) -> list[Json]:
    """Send what is here; what is left out on the way, and that nothing follows it, is said."""
    from llmos_lite.cli.archive import links_left_out  # noqa: PLC0415 - tarfile is slow to load

    params: Params = {"volume": volume, "replace": force}
    bodies, missing = _chosen(paths, wanted) if wanted else (_bodies(paths), [])
    done = [item for body in bodies for item in _install(session, params, body)]
    if left_out := links_left_out(paths):
        session.out.note(left_out)
    if any(item.get("status") in {"created", "updated"} for item in done):
        session.out.note("What is sent from this machine gets no entry in the lock file: no update follows it.")
    return done + missing


def _install(session: Session, params: Params, body: Body) -> list[Json]:
    return items_of(read_json(session.api.send("POST", "/skills/install", params, body=body, content_type=TAR)))


def _listed(paths: list[Path], wanted: Collection[str]) -> list[Json]:
    """Return the skills that are here, as the server tells of those elsewhere."""
    from llmos_lite.cli.on_disk import chosen, described, found_at  # noqa: PLC0415 - loads what only this needs

    found, missing = chosen(found_at(paths, ARCHIVES), wanted)
    return [described(one) for one in found] + missing


def _chosen(paths: list[Path], wanted: Collection[str]) -> tuple[list[Body], list[Json]]:
    """Return some of the skills that are here as one archive, and those that are not here."""
    from llmos_lite.cli.on_disk import chosen, found_at, packed  # noqa: PLC0415 - as above

    found, missing = chosen(found_at(paths, ARCHIVES), wanted)
    return [packed(found)] if found else [], missing


def _bodies(paths: Iterable[Path]) -> Iterator[Body]:
    """Yield what is sent: each archive as it is, all else as one tar."""
    from llmos_lite.cli.archive import members, tar_stream  # noqa: PLC0415 - tarfile is slow to load

    paths = list(paths)
    packed = [path for path in paths if path.name.lower().endswith(ARCHIVES) and path.is_file()]
    yield from (_read(path) for path in packed)
    if rest := [path for path in paths if path not in packed]:
        yield tar_stream(members(rest))


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block
