"""`llmos skills add`: files, folders and archives of this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from llmos_lite.cli.client import BLOCK, Body, Json, Params, read_json
from llmos_lite.cli.command import Session, command
from llmos_lite.errors import Conflict

TAR = "application/x-tar"
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")


def add(skills: typer.Typer) -> None:
    """Add the command to `llmos skills`."""

    @command(skills, "add")
    def add_(
        session: Session,
        paths: Annotated[list[Path], typer.Argument(help="Files, skill folders, trees of them, or archives.")],
        volume: Annotated[str, typer.Option(help="system, team:ID or user:ID; empty for your own.")] = "",
        force: Annotated[bool, typer.Option("--force", help="Replace skills that are there.")] = False,  # noqa: FBT002 - typer's way
    ) -> int:
        """Add skills: a file, a skill folder, a tree of them, or an archive."""
        params: Params = {"volume": volume, "replace": force}
        done = [item for body in _bodies(paths) for item in _install(session, params, body)]
        return show(session, done)


def show(session: Session, done: list[Json]) -> int:
    """Say what came of each skill, and return the exit code."""
    rows = [[item.get("skill_id"), item.get("status"), item.get("detail", "")] for item in done]
    session.out.show(done, lambda: session.out.table(["SKILL", "STATUS", ""], rows, "No skill was found there."))
    refused = not done or any(item.get("status") == "refused" for item in done)
    return Conflict.exit_code if refused else 0


def _install(session: Session, params: Params, body: Body) -> list[Json]:
    found = read_json(session.api.send("POST", "/skills/install", params, body=body, content_type=TAR))
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
