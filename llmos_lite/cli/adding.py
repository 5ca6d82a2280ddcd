"""`llmos skills add`: what is on this machine is sent, what is elsewhere the server fetches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from llmos_lite.cli.client import BLOCK, Body, Json, Params, read_json
from llmos_lite.cli.command import Session, command
from llmos_lite.errors import Conflict

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
        only_list: Annotated[bool, typer.Option("--list", help="Only tell what is there, elsewhere.")] = False,
    ) -> int:
        """Add skills: from this machine, or from elsewhere by URL or owner/repo."""
        here, there = _told_apart(sources)
        params: Params = {"volume": volume, "replace": force}
        done = [item for body in _bodies(here) for item in _install(session, params, body)]
        asked: Json = {"volume": volume or None, "replace": force, "skills": skill or [], "ref": ref, "folder": folder}
        for source in there:
            found = session.api.post("/skills/import", {**asked, "source": source, "dry_run": only_list})
            done += _items(found)
        return show(session, done)


def _told_apart(sources: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Return what is on this machine, and what is elsewhere: an address, or `owner/repo` that is no path here."""
    here, there = list[Path](), list[str]()
    for source in sources:
        path = Path(source).expanduser()
        is_address = "://" in source or _SCP.match(source)
        if not is_address and (path.exists() or source.startswith((".", "/", "~")) or "/" not in source):
            here.append(path)
        else:
            there.append(source)
    return here, there


def show(session: Session, done: list[Json]) -> int:
    """Say what came of each skill, and return the exit code."""
    rows = [[item.get("skill_id"), item.get("status"), item.get("detail", "")] for item in done]
    session.out.show(done, lambda: session.out.table(["SKILL", "STATUS", ""], rows, "No skill was found there."))
    refused = not done or any(item.get("status") == "refused" for item in done)
    return Conflict.exit_code if refused else 0


def _install(session: Session, params: Params, body: Body) -> list[Json]:
    return _items(read_json(session.api.send("POST", "/skills/install", params, body=body, content_type=TAR)))


def _items(found: Json) -> list[Json]:
    items = found.get("items")
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


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
