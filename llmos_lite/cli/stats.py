"""`llmos stats` and `llmos history`: what the volumes hold, and how it came there."""

from __future__ import annotations

from typing import Annotated

import typer

from llmos_lite.cli.client import Json
from llmos_lite.cli.command import Session, command
from llmos_lite.cli.output import one_line, size, when


def add(app: typer.Typer) -> None:
    """Add the commands."""

    @command(app, "stats")
    def stats(session: Session) -> None:
        """Say what the volumes hold that you see."""
        found = list(session.api.items("/volumes/stats"))
        columns = ["VOLUME", "SKILLS", "TRACES", "COMMITS", "SIZE", "HEAD"]
        session.out.show(found, lambda: session.out.table(columns, map(_volume, found), "No volumes yet."))

    @command(app, "history")
    def history(
        session: Session,
        volume: Annotated[str, typer.Option(help="system, team:ID or user:ID; empty for your own.")] = "",
        skill: Annotated[str, typer.Option(metavar="ID", help="Only commits of this skill.")] = "",
        limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most rows.")] = 20,
    ) -> None:
        """List the commits of a volume, newest first."""
        params = {"volume": volume, "skill_id": skill}
        found = list(session.api.items("/volumes/history", params, limit=limit))
        columns = ["COMMIT", "TIME", "AUTHOR", "SUBJECT"]
        session.out.show(found, lambda: session.out.table(columns, map(_commit, found), "No commits yet."))


def _volume(volume: Json) -> list[object]:
    return [
        volume.get("volume"),
        volume.get("skills"),
        volume.get("traces"),
        volume.get("commits"),
        size(volume.get("bytes")),
        str(volume.get("head") or "")[:10],
    ]


def _commit(commit: Json) -> list[object]:
    at = commit.get("time")
    return [
        str(commit.get("commit") or "")[:10],
        when(at),
        commit.get("author"),
        one_line(commit.get("subject")),
    ]
