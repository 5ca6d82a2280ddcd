"""`llmos verify` and `llmos signing`: whether volumes are what was written, and the keys that sign."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from llmos_lite.cli.client import Json, read_json
from llmos_lite.cli.command import Session, command, group
from llmos_lite.cli.output import when
from llmos_lite.errors import Invalid

WRONG = 1
"""Exit code when something is wrong."""
MOST = 200
"""Commits that one request may name."""


def add(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "verify")(verify)
    signing = group(app, "signing", "The keys that sign llmos's commits.")
    command(signing, "list")(list_keys)
    command(signing, "rotate")(rotate)
    command(signing, "revoke")(revoke)


def verify(
    session: Session,
    volumes: Annotated[
        list[str] | None, typer.Argument(metavar="[VOLUME]...", help="system, team:ID, user:ID; none for all of yours.")
    ] = None,
    since: Annotated[
        str, typer.Option(metavar="FILE|COMMIT", help="The --json of an earlier time, or a commit: only what is new.")
    ] = "",
    *,
    fast: Annotated[bool, typer.Option("--fast", help="Commits and refs alone, not every object.")] = False,
) -> int:
    """Verify volumes: that each commit is signed by llmos or a person's own, and each object what its name says."""
    named = volumes or [str(one.get("volume")) for one in session.api.items("/volumes/stats")]
    found: list[Json] = []
    with session.out.progress("Verifying") as step:
        for number, volume in enumerate(named):
            params = [("volume", volume), *(("since", oid) for oid in _heads(since, volume))]
            query = "&".join(f"{key}={value}" for key, value in params)
            objects = "false" if fast else "true"
            items = read_json(session.api.send("GET", f"/volumes/verify?{query}&objects={objects}")).get("items")
            found += items if isinstance(items, list) else []
            step(number + 1, len(named))
    session.out.show(found, lambda: _say(session, found))
    return 0 if all(one.get("sound") for one in found) else WRONG


def _heads(since: str, volume: str) -> list[str]:
    """Return the commits of a volume that were verified before, `main` first."""
    if not since:
        return []
    path = Path(since)
    if not path.is_file():
        return [since]
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        heads = [one["heads"].items() for one in before if one["volume"] == volume]
        names = sorted((name.startswith("refs/heads/pr/"), name, oid) for some in heads for name, oid in some)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid("verify.since", f"{since} is not what `llmos verify --json` writes.") from error
    return [str(oid) for _, _, oid in names][:MOST]


def _say(session: Session, found: list[Json]) -> None:
    columns = ["", "VOLUME", "", "COMMITS", "BY LLMOS", "BY PEOPLE", "KEYS"]
    session.out.table(columns, map(_row, found), "There are no volumes.")
    for one in found:
        problems = one.get("problems")
        lines = problems if isinstance(problems, list) else []
        for line in lines:
            session.out.say(f"{one.get('volume')} {one.get('repository')}: {line['where']}: {line['message']}")
        if one.get("more"):
            session.out.say(f"{one.get('volume')} {one.get('repository')}: and {one['more']} more.")


def _row(one: Json) -> list[object]:
    keys = one.get("keys")
    counts = [one.get(name) for name in ("commits", "platform", "persons")]
    state = "ok" if one.get("sound") else "WRONG"
    return [state, one.get("volume"), one.get("repository"), *counts, len(keys) if isinstance(keys, dict) else 0]


def list_keys(
    session: Session,
    *,
    signers: Annotated[bool, typer.Option("--signers", help="As git's file of allowed signers.")] = False,
) -> None:
    """List the keys, the one that signs now first."""
    found = session.api.get("/signing/keys")
    if signers:
        items = found.get("items")
        session.out.say(*(line for one in (items if isinstance(items, list) else []) if (line := _signer(one))))
    else:
        _show(session, found)


def _signer(one: Json) -> str:
    public, revoked = str(one.get("public")), one.get("revoked")
    if not public.startswith("ssh-"):
        return ""
    options = 'namespaces="git"'
    if isinstance(revoked, int) and revoked:
        options += f',valid-before="{datetime.fromtimestamp(revoked // 1000, UTC):%Y%m%d%H%M%SZ}"'
    return f"llmos@localhost {options} {public}"


def rotate(session: Session) -> None:
    """Sign with a new key from now on; what the old one signed stays verifiable."""
    _show(session, session.api.post("/signing/rotate", None))


def revoke(
    session: Session,
    fingerprint: Annotated[str, typer.Argument(help="As in `llmos signing list`.")],
    since: Annotated[
        str, typer.Option(metavar="TIME", help="When it was stolen, as in 2026-11-22T09:30 (UTC); empty for now.")
    ] = "",
) -> None:
    """Say that a retired key was stolen: what it signed after that time counts as forged."""
    _show(session, session.api.post("/signing/revoke", {"fingerprint": fingerprint, "at": _moment(since)}))


def _moment(text: str) -> int | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid("cli.time", f"{text!r} is not a time.", hint="Write it as in 2026-11-22T09:30.") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _show(session: Session, found: Json) -> None:
    items = found.get("items")
    keys = items if isinstance(items, list) else []
    columns = ["KEY", "", "SINCE", "UNTIL", "REVOKED"]
    rows = [
        [key["fingerprint"], key["state"], *(when(key[name]) for name in ("since", "until", "revoked"))] for key in keys
    ]
    session.out.show(keys, lambda: session.out.table(columns, rows, "There are no keys."))
