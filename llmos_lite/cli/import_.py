"""`llmos import`: other tools' logs become traces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmos_lite.cli.client import Json, Params, read_json, url
from llmos_lite.cli.command import Session, command
from llmos_lite.cli.runs import follow
from llmos_lite.errors import Invalid

if TYPE_CHECKING:
    from llmos_lite.cli.archive import Member

UPLOAD = 256 << 20
TAR = "application/x-tar"
COUNTS = ("files", "lines", "traces", "duplicates")
TALLIES = ("skipped", "formats")
UNKNOWN = "file of no known format"


def add(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "import")
    def import_(
        session: Session,
        paths: Annotated[list[Path], typer.Argument(help="Logs, or folders of them, as ~/.claude/projects.")],
        log_format: Annotated[str, typer.Option("--format", help="Name of the format; empty looks at each file.")] = "",
    ) -> None:
        """Import logs of Claude Code and Codex, OpenAI chat JSONL, and what plug-ins read, as traces of --user."""
        from llmos_lite.cli.archive import links_left_out, members  # noqa: PLC0415 - slow to load

        total: Json = dict.fromkeys(COUNTS, 0) | {key: {} for key in TALLIES}
        for upload in _uploads(_known(members(paths), log_format, total)):
            _merge(total, _send(session, upload, log_format))
        session.out.show(total, lambda: _report(session, total))
        if left_out := links_left_out(paths):
            session.out.note(left_out)
        _check_known(total)


def _check_known(total: Json) -> None:
    """Raise when nothing that was named is a log.

    Raises:
        Invalid: `import.unknown_format`.
    """
    from llmos_lite.core.traces.importers import importers  # noqa: PLC0415 - slow to load

    skipped = total["skipped"]
    if isinstance(skipped, dict) and total["files"] and skipped.get(UNKNOWN) == total["files"]:
        known = ", ".join(sorted(importers()))
        raise Invalid("import.unknown_format", "None of it is a log that can be read.", hint=f"What can: {known}.")


def _send(session: Session, upload: list[Member], log_format: str) -> Json:
    from llmos_lite.cli.archive import tar_stream  # noqa: PLC0415 - slow to load

    params: Params = {"format": log_format, "wait": False}
    reply = session.api.send("POST", "/traces/import", params, body=tar_stream(upload), content_type=TAR)
    return follow(session, url("runs", str(read_json(reply).get("run_id", ""))), "Importing")


def _known(files: Iterable[Member], log_format: str, total: Json) -> Iterator[Member]:
    """Leave out what no importer on this machine knows, so that nothing else is sent."""
    from llmos_lite.core.traces.importers import Source, choose, importers  # noqa: PLC0415 - slow to load

    known = importers()
    for member in files:
        if choose(Source(member.path), known, log_format) is None:
            _merge(total, {"files": 1, "skipped": {UNKNOWN: 1}})
        else:
            yield member


def _uploads(files: Iterable[Member]) -> Iterator[list[Member]]:
    """Put files together, so that each upload is of a handy size."""
    group: list[Member] = []
    for member in files:
        if group and sum(item.size for item in group) + member.size > UPLOAD:
            yield group
            group = []
        group.append(member)
    if group:
        yield group


def _merge(total: Json, part: Json) -> None:
    for key in COUNTS:
        total[key] = _int(total[key]) + _int(part.get(key))
    for key in TALLIES:
        tally, more = total[key], part.get(key)
        if isinstance(tally, dict) and isinstance(more, dict):
            tally.update({name: _int(tally.get(name)) + _int(count) for name, count in more.items()})


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _report(session: Session, total: Json) -> None:
    session.out.say(
        f"traces: {total['traces']} new, {total['duplicates']} there already (files: {total['files']}, "
        f"lines: {total['lines']})"
    )
    skipped = total["skipped"]
    for reason, count in skipped.items() if isinstance(skipped, dict) else ():
        session.out.say(f"  skipped: {count} {reason}")
