"""`llmos skills update | outdated | pin | unpin`: imported skills and where they come from."""

from __future__ import annotations

from typing import Annotated

import typer

from llmos_lite.cli.client import Json, Params, url
from llmos_lite.cli.command import Session, command
from llmos_lite.errors import Conflict

Volume = Annotated[str, typer.Option(help="system, team:ID or user:ID; empty for your own.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Which; all that were imported if none.")]
LEFT = frozenset({"edited", "gone", "refused", "failed"})
"""States that a person has to look at."""
NOTHING = "Nothing was imported. `llmos skills add SOURCE` does that, from elsewhere."


def add(skills: typer.Typer) -> None:
    """Add the commands to `llmos skills`."""

    @command(skills, "update")
    def update(
        session: Session,
        skill_ids: Ids = None,
        *,
        volume: Volume = "",
        diff: Annotated[bool, typer.Option("--diff", help="Write nothing; show what would change.")] = False,
        force: Annotated[bool, typer.Option("--force", help="Overwrite what was edited here.")] = False,
    ) -> int:
        """Bring imported skills up to date; what was edited here is left alone."""
        found = _followed(session, skill_ids, volume, force=force, dry_run=diff)
        if diff and not session.out.as_json:
            for one in found:
                if one.get("diff"):
                    session.out.diff(str(one["diff"]))
        _show(session, found, NOTHING)
        return Conflict.exit_code if any(one.get("state") in LEFT for one in found) else 0

    @command(skills, "outdated")
    def outdated(session: Session, skill_ids: Ids = None, *, volume: Volume = "") -> None:
        """List imported skills of which there is something new, or nothing any more."""
        found = _followed(session, skill_ids, volume, dry_run=True)
        shown = [one for one in found if one.get("state") != "current"]
        _show(session, shown, "All imported skills are up to date." if found else NOTHING)

    @command(skills, "pin")
    def pin(
        session: Session,
        skill_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the skill.")],
        ref: Annotated[str, typer.Argument(metavar="[@REF]", help="Branch, tag or commit; empty for as it is.")] = "",
        *,
        volume: Volume = "",
    ) -> int:
        """Keep an imported skill as it is, or at a version, whatever an update finds."""
        return _pin(session, skill_id, volume, {"pinned": True, "ref": ref.removeprefix("@")})

    @command(skills, "unpin")
    def unpin(
        session: Session,
        skill_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the skill.")],
        *,
        volume: Volume = "",
    ) -> int:
        """Let an imported skill follow its source again."""
        return _pin(session, skill_id, volume, {"pinned": False})


def _followed(
    session: Session, skill_ids: list[str] | None, volume: str, *, force: bool = False, dry_run: bool = False
) -> list[Json]:
    body: Json = {"skills": skill_ids or [], "force": force, "dry_run": dry_run, "volume": volume or None}
    items = session.api.post("/skills/update", body).get("items")
    return [one for one in items if isinstance(one, dict)] if isinstance(items, list) else []


def _show(session: Session, found: list[Json], empty: str) -> None:
    columns = ["SKILL", "STATE", "FROM", "AT", ""]
    rows = [[one.get(key, "") for key in ("skill_id", "state", "source", "ref", "detail")] for one in found]
    session.out.show(found, lambda: session.out.table(columns, rows, empty))


def _pin(session: Session, skill_id: str, volume: str, body: Json) -> int:
    params: Params = {"volume": volume}
    done = session.api.call("PUT", url("skills", skill_id, "pin"), params, json_body=body)
    _show(session, [done], "")
    return Conflict.exit_code if done.get("state") in LEFT else 0
