"""`llmos reindex | maintain | backup | restore | doctor | openapi`: looking after an instance."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmos_lite.cli.client import Json, Where, connect, read_json, url
from llmos_lite.cli.command import AsJson, Data, Session, command
from llmos_lite.cli.output import Output, size
from llmos_lite.cli.runs import follow
from llmos_lite.cli.unwritten import unwritten
from llmos_lite.core.wording import count_of
from llmos_lite.engines.folder import held, holder
from llmos_lite.errors import Conflict, Invalid, LlmosError, NotFound
from llmos_lite.settings import Settings

if TYPE_CHECKING:
    from llmos_lite.core.doctor import Finding

File = Annotated[Path, typer.Argument(help="The archive.")]
SICK = 1
"""Exit code of a doctor who found something broken."""


def add(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "reindex")(reindex)
    command(app, "maintain")(maintain)
    command(app, "backup")(backup)
    app.command("restore")(restore)
    app.command("doctor")(doctor)
    app.command("openapi")(openapi)


def reindex(session: Session) -> None:
    """Build every row about skills and traces anew, from Git."""
    started = session.api.post("/reindex", {"wait": False})
    result = follow(session, url("runs", str(started.get("run_id", ""))), "Reindexing")
    session.out.show(result, lambda: session.out.say("The rows are as Git says."))


def maintain(
    session: Session,
    volume: Annotated[str, typer.Option(help="system, team:ID or user:ID; empty for all.")] = "",
) -> int:
    """Roll up the packs of the volumes' repositories, which the server does by itself from time to time."""
    found = session.api.post("/admin/maintain", {"volume": volume}).get("items")
    done = found if isinstance(found, list) else []
    columns = ["VOLUME", "PACKS", "NOW", "SIZE", "NOW", "PROBLEM"]
    session.out.show(done, lambda: session.out.table(columns, map(_maintained, done), "No volumes yet."))
    return SICK if any(one.get("problem") for one in done) else 0


def _maintained(one: Json) -> list[object]:
    packs = [one.get("packs_before"), one.get("packs_after")]
    return [
        one.get("volume"),
        *packs,
        size(one.get("bytes_before")),
        size(one.get("bytes_after")),
        one.get("problem") or "",
    ]


def backup(session: Session, file: File, *, force: Annotated[bool, typer.Option(help="Replace FILE.")] = False) -> None:
    """Write one consistent archive of an instance, running or not. It holds the keys: keep it like a password."""
    if file.exists() and not force:
        raise Conflict("backup.exists", f"{file} is there already.", hint="Choose another name, or use --force.")
    draft = file.with_name(f".{file.name}.part")
    size = 0
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
            reply = session.api.send("GET", "/backup", accept="application/gzip")
            with session.out.progress("Backing up") as step:
                for block in reply.chunks():
                    target.write(block)
                    size += len(block)
                    step(size, 0)
            target.flush()
            os.fsync(target.fileno())
        _check_whole(draft)
        draft.replace(file)
    except OSError as error:
        raise unwritten(file, error) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    session.out.show({"file": str(file), "bytes": size}, lambda: session.out.say(f"Wrote {file} ({size:,} bytes)."))


def _check_whole(path: Path) -> None:
    """Read the archive to its end: a stream that broke off is no backup."""
    with contextlib.suppress(EOFError, OSError), gzip.open(path) as archive:
        while archive.read(1 << 20):
            pass
        return
    raise Invalid(
        "backup.cut_off", "The backup broke off before its end.", hint="Look at the server's log, then try again."
    )


def restore(file: File, *, data: Data = "", as_json: AsJson = False) -> None:
    """Unpack an archive of `llmos backup` into a data folder that is empty or does not exist."""
    from llmos_lite.core.restore import leave_note  # noqa: PLC0415 - slow to load
    from llmos_lite.core.restore import restore as unpack  # noqa: PLC0415 - as above

    named = data or os.environ.get("LLMOS_DATA", "")
    if not named:
        raise Invalid("restore.where", "No data folder was named.", hint="Name one with --data DIR.")
    target = Path(named).absolute()
    with file.open("rb") as source:
        restored = unpack(source, target)
    leave_note(target, restored, file.name)
    out = Output(as_json=as_json)
    out.note("Unpacked and checked; building the rows.")
    with connect(Where(data=str(target)), {**os.environ, "LLMOS_USER": ""}) as api:
        session = Session(api, Output(as_json=as_json))
        started = api.post("/reindex", {"wait": False})
        follow(session, url("runs", str(started.get("run_id", ""))), "Reindexing")
    said = {"data": str(target), "files": restored.files, "bytes": restored.bytes, "events": restored.events}
    out.show(said, lambda: out.say(f"Restored {count_of(restored.files, 'file')} to {target}."))


def doctor(
    *,
    data: Data = "",
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended without losing anything.")] = False,
    as_json: AsJson = False,
) -> int:
    """Look at a data folder: format, disk, git, permissions, keys, rows, journal, and every repository.

    What --repair replaces in a repository is kept beside it, in `llmos-broken`.
    """
    from llmos_lite.core.doctor import Doctor  # noqa: PLC0415 - slow to load

    folder = Path(data or os.environ.get("LLMOS_DATA", "") or "data").absolute()
    if not folder.is_dir():
        raise NotFound("data.missing", f"There is no data folder {folder}.", hint="Name one with --data DIR.")
    if repair and (by := holder(folder)) is not None:
        raise held(folder, by)
    out = Output(as_json=as_json)
    served = holder(folder) is not None
    found = _settings(folder)
    with out.progress("Looking") as step:
        for finding in Doctor(folder, repair=repair, served=served).examine():
            found.append(finding)
            step(len(found), 0)
        if repair:
            found = _reindexed(folder, found)
    found += [*_models(folder), *_served(folder)]
    marks = {"ok": "ok", "repaired": "repaired", "warning": "WARNING", "broken": "BROKEN"}
    rows = [[marks[item.state], item.check, f"{item.message} {item.hint}".strip()] for item in found]
    out.show([item.as_dict() for item in found], lambda: out.table(["", "CHECK", ""], rows, "Nothing to look at."))
    return SICK if any(item.state == "broken" for item in found) else 0


def _settings(folder: Path) -> list[Finding]:
    """Tell whether a server would start with the settings of the environment."""
    from llmos_lite.bootstrap import warnings  # noqa: PLC0415 - slow to load
    from llmos_lite.core.doctor import Finding  # noqa: PLC0415 - as above

    try:
        said = warnings(Settings.parse(os.environ, data=folder), os.environ)
    except LlmosError as error:
        return [Finding("settings", "broken", error.message, error.hint)]
    fine = Finding("settings", "ok", "The settings of this environment can be read.")
    return [Finding("settings", "warning", line) for line in said] or [fine]


def _models(folder: Path) -> list[Finding]:
    """Tell whether the model servers of the environment can be reached."""
    from llmos_lite.bootstrap import reach  # noqa: PLC0415 - slow to load
    from llmos_lite.core.doctor import Finding  # noqa: PLC0415 - as above

    try:
        found = asyncio.run(reach(Settings.parse(os.environ, data=folder), os.environ))
    except LlmosError:  # the settings say it
        return []
    return [Finding(f"models {one.provider}", "ok" if one.fine else "warning", one.message, one.hint) for one in found]


def _reindexed(folder: Path, found: list[Finding]) -> list[Finding]:
    """Start the instance once where that mends what was found: it folds the journal, and rows are made anew."""
    from llmos_lite.core.doctor import ROWS, Doctor, Finding  # noqa: PLC0415 - slow to load

    wrong = [one for one in found if one.check.startswith(f"{ROWS} ") or (one.check == "journal" and one.state != "ok")]
    if not wrong:
        return found
    try:
        with connect(Where(data=str(folder)), {**os.environ, "LLMOS_USER": ""}) as api:
            api.post("/reindex", {"wait": True})
    except LlmosError as error:
        return [*found, Finding("reindex", "broken", error.message, error.hint)]
    left = {one.message for one in Doctor(folder).examine() if one.state in {"warning", "broken"}}
    return [
        replace(one, state="repaired", hint="The rows were made anew from Git.")
        if one in wrong and one.message not in left
        else one
        for one in found
    ]


def _served(folder: Path) -> list[Finding]:
    """Return what the folder's server says of its parts, when there is one."""
    by = holder(folder)
    if by is None or not by.url:
        return []
    from llmos_lite.core.doctor import Finding  # noqa: PLC0415 - slow to load

    try:
        with connect(Where(data=str(folder)), {}) as api:
            checks = read_json(api.send("GET", "/ready", refuse=False)).get("checks")
    except LlmosError as error:
        return [Finding("server", "broken", error.message, error.hint)]
    said = checks.items() if isinstance(checks, dict) else ()
    return [Finding(f"server: {name}", "ok" if text == "ok" else "broken", str(text)) for name, text in said]


def openapi(
    file: Annotated[Path | None, typer.Argument(help="File to write; empty for standard output.")] = None,
    *,
    check: Annotated[bool, typer.Option("--check", help="Only say whether FILE is up to date.")] = False,
) -> int:
    """Write the OpenAPI document of the HTTP interface."""
    from llmos_lite.api.openapi import render  # noqa: PLC0415 - slow to load
    from llmos_lite.api.routes import build  # noqa: PLC0415 - slow to load

    text = render(build())
    if file is None:
        sys.stdout.write(text)
        return 0
    if not check:
        file.write_text(text, encoding="utf-8")
        return 0
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return 0
    raise Conflict("openapi.stale", f"{file} is not up to date.", hint="Run `make openapi`.")
