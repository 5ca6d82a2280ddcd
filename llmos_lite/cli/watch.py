"""`llmos watch`: what Claude Code and Codex do becomes traces while they work."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmos_lite.cli.client import Params, read_json
from llmos_lite.cli.command import Session, command
from llmos_lite.errors import NotFound, RateLimited, StorageFailed, Unavailable, UpstreamFailed

if TYPE_CHECKING:
    from llmos_lite.cli.watching import Watch
    from llmos_lite.core.traces.importers.following import Part

TAR = "application/x-tar"
FIRST, LONGEST = 2.0, 300.0
"""Seconds between two tries at a server that does not answer: twice as many each time."""
PASSING = (RateLimited, StorageFailed, Unavailable, UpstreamFailed)
"""What a server may get over; anything else (a key that does not hold) ends the command."""


def add(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "watch")
    def watch(
        session: Session,
        folders: Annotated[
            list[Path] | None, typer.Argument(metavar="[FOLDER]...", help="Those of Claude Code and Codex if none.")
        ] = None,
        *,
        once: Annotated[bool, typer.Option("--once", help="Import what is new and end, for cron.")] = False,
        every: Annotated[float, typer.Option("--every", min=1, help="Seconds between two looks.")] = 15.0,
        state: Annotated[
            Path | None, typer.Option("--state", metavar="FILE", help="Where it notes how far it is.")
        ] = None,
    ) -> None:
        """Follow the logs of Claude Code and Codex, and import what is new as traces of --user."""
        from llmos_lite.cli.watching import Kept, Watch, usual_folders  # noqa: PLC0415 - slow to load

        places = [folder.resolve() for folder in folders or usual_folders(os.environ)]
        missing = next((place for place in places if not place.exists()), None)
        if missing or not places:
            said = f"There is no {missing}." if missing else "There are no logs of Claude Code or Codex here."
            raise NotFound("path.missing", said, hint="Name the folders that hold them.")
        total = dict.fromkeys(("traces", "duplicates"), 0)

        @cache
        def watching() -> Watch:
            kept = Kept.read(state or Kept.usual(os.environ), _whom(session))
            return Watch(places, kept, lambda parts: _send(session, parts, total))

        if once:
            watching().round(time.time())
            said = f"traces: {total['traces']} new, {total['duplicates']} there already"
            session.out.show(total, lambda: session.out.say(said))
            return
        session.out.note(f"Following {', '.join(map(str, places))}. Ctrl-C ends it.")
        follow_on(lambda: watching().round(time.time()), every, session.api.transport.wait, session.out.note)


def follow_on(
    look: Callable[[], object], every: float, wait: Callable[[float], None], note: Callable[[str], None]
) -> None:
    """Look again and again; a server that does not answer is said once, and tried less and less often."""
    pause = 0.0
    while True:
        try:
            look()
        except PASSING as error:
            if not pause:
                note(f"{error.message} It is tried again.")
            pause = min(max(FIRST, 2 * pause), LONGEST)
        else:
            if pause:
                note("The server answers again.")
            pause = 0.0
        wait(pause or every)


def _whom(session: Session) -> str:
    """Return who the traces are of, and on which server: it is told what another one was told already."""
    me = session.api.get("/me")
    return f"{session.api.transport.address} {me.get('user_id', '')}"


def _send(session: Session, parts: Sequence[Part], total: dict[str, int]) -> None:
    """Import parts of logs, and wait for the end of it.

    Raises:
        LlmosError: the server did not take them.
    """
    from llmos_lite.cli.archive import Member, tar_stream  # noqa: PLC0415 - slow to load

    members = [Member(part.path.name, part.path, part.size, part.start, part.head) for part in parts]
    params: Params = {"wait": True}
    done = read_json(session.api.send("POST", "/traces/import", params, body=tar_stream(members), content_type=TAR))
    for key in total:
        count = done.get(key)
        total[key] += count if isinstance(count, int) else 0
