"""`llmos proposals`: what waits for a review, and how one is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

from llmos_lite.cli.client import Json, items_of, url
from llmos_lite.cli.command import Session, command, group
from llmos_lite.cli.output import one_line, when
from llmos_lite.errors import Invalid, NotFound

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the proposal.")]
Text = Annotated[str, typer.Option("--text", "-m", help="What to say.")]
Digest = Annotated[str, typer.Option(help="Digest that `show` printed: refuse when something else is proposed by now.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="Most rows.")]

_SAID = {
    "opened": "proposed it",
    "promoted": "promoted it",
    "renewed": "renewed it",
    "resolved": "resolved conflicts in",
    "commented": "said",
    "approved": "approved it",
    "changes_requested": "asked for changes",
    "signed_off": "signed off what a scanner found in it",
    "merged": "merged it",
    "closed": "closed it",
}


def add(app: typer.Typer) -> None:
    """Add the commands."""
    proposals = group(app, "proposals", "List, review, merge and close proposals.")
    _look(proposals)
    _say(proposals)
    _decide(proposals)


def _look(app: typer.Typer) -> None:
    @command(app, "list")
    def list_(
        session: Session,
        *,
        state: Annotated[str, typer.Option(help="open, merged or closed; `all` for any.")] = "open",
        to: Annotated[str, typer.Option(metavar="VOLUME", help="Only to this volume.")] = "",
        author: Annotated[str, typer.Option(metavar="ID", help="Only by this person.")] = "",
        limit: Limit = 100,
    ) -> None:
        """List the proposals that you see, newest first."""
        wanted = {"state": "" if state == "all" else state, "target": to, "author": author}
        found = list(session.api.items("/proposals", wanted, limit=limit))
        columns = ["ID", "STATE", "REVIEW", "TO", "SKILL", "AUTHOR", "UPDATED", "REASON"]
        session.out.show(found, lambda: session.out.table(columns, map(_row, found), "No proposals."))

    @command(app, "show")
    def show(session: Session, proposal_id: Id) -> None:
        """Show a proposal: what was said, what it changes, and whether you may merge it."""
        found = session.api.get(url("proposals", proposal_id))
        session.out.show(found, lambda: _show(session, found))


def _say(app: typer.Typer) -> None:
    @command(app, "comment")
    def comment(
        session: Session,
        proposal_id: Id,
        text: Annotated[str, typer.Argument(help="What to say.")],
        *,
        file: Annotated[
            str, typer.Option(metavar="PATH[:LINE]", help="About a file that is proposed, or a line.")
        ] = "",
    ) -> None:
        """Comment on a proposal."""
        path, line = _place(file)
        done = session.api.post(url("proposals", proposal_id, "comments"), {"text": text, "path": path, "line": line})
        session.out.show(done, lambda: session.out.say("Noted."))

    @command(app, "approve")
    def approve(session: Session, proposal_id: Id, *, text: Text = "", digest: Digest = "") -> None:
        """Approve exactly what is proposed now."""
        done = _review(session, proposal_id, "approve", text, digest)
        session.out.show(done, lambda: session.out.say("Approved."))

    @command(app, "request-changes")
    def request_changes(
        session: Session,
        proposal_id: Id,
        text: Annotated[str, typer.Argument(help="Which changes.")],
        *,
        digest: Digest = "",
    ) -> None:
        """Ask for changes; until then it is not merged where a review is required."""
        done = _review(session, proposal_id, "request_changes", text, digest)
        session.out.show(done, lambda: session.out.say("Noted."))


def _decide(app: typer.Typer) -> None:
    @command(app, "sign-off")
    def sign_off(
        session: Session,
        proposal_id: Id,
        reason: Annotated[str, typer.Option("--reason", "-m", help="Why it is safe.")],
        digest: Annotated[str, typer.Option(help="Digest that `show` printed; any change since revokes it.")],
    ) -> None:
        """Stand for what scanners found in exactly what is proposed."""
        body = {"reason": reason, "digest": digest}
        done = session.api.post(url("proposals", proposal_id, "sign-off"), body)
        session.out.show(done, lambda: session.out.say("Signed off."))

    @command(app, "merge")
    def merge(session: Session, proposal_id: Id, *, digest: Digest = "") -> None:
        """Merge a proposal; that approves what nobody else approved yet."""
        done = session.api.post(url("proposals", proposal_id, "merge"), {"digest": digest})
        session.out.show(done, lambda: session.out.say(f"Merged as {done.get('commit')}."))

    @command(app, "close")
    def close(
        session: Session, proposal_id: Id, *, reason: Annotated[str, typer.Option("--reason", "-m", help="Why.")] = ""
    ) -> None:
        """Close a proposal without merging it."""
        done = session.api.post(url("proposals", proposal_id, "close"), {"reason": reason})
        session.out.show(done, lambda: session.out.say("Closed."))

    @command(app, "resolve")
    def resolve(
        session: Session,
        proposal_id: Id,
        *,
        take: Annotated[str, typer.Option(help="ours (main's) or theirs (the proposed) for files not named.")] = "",
        file: Annotated[
            list[str] | None, typer.Option(metavar="PATH=FILE", help="Take the text of a local file for PATH.")
        ] = None,
    ) -> None:
        """Decide about every conflict; main is merged into the proposal."""
        seen = session.api.get(url("proposals", proposal_id))
        chosen = dict(map(_local, file or ()))
        files = [{"path": path, "content": text} for path, text in chosen.items()]
        paths = [str(one.get("path")) for one in items_of(seen, "conflicts")]
        files += [{"path": path, "take": take} for path in paths if take and path not in chosen]
        body = {"files": files, "seen": seen.get("seen", "")}
        done = session.api.post(url("proposals", proposal_id, "resolve"), body)
        session.out.show(done, lambda: session.out.say(f"Resolved {', '.join(paths)}. It needs another review."))


def _review(session: Session, proposal_id: str, verdict: str, text: str, digest: str) -> Json:
    return session.api.post(
        url("proposals", proposal_id, "reviews"), {"verdict": verdict, "text": text, "digest": digest}
    )


def _row(found: Json) -> Sequence[object]:
    names = ("proposal_id", "state", "review", "target", "skill_id", "author")
    return [*(found.get(name) for name in names), when(found.get("updated")), one_line(found.get("reason"), 48)]


def _show(session: Session, found: Json) -> None:
    out = session.out
    out.say(
        f"{found.get('skill_id')}: from {found.get('source')} to {found.get('target')}, by {found.get('author')}",
        str(found.get("reason")),
        f"{found.get('state')}, {found.get('branch') or 'promoted at once'}, digest {found.get('digest')}",
        "",
    )
    out.say(*(line for event in items_of(found, "timeline") for line in _event(event)), "")
    for conflict in items_of(found, "conflicts"):
        out.say(f"Conflict: main has changed {conflict.get('path')} in another way.")
        for side in ("base", "ours", "theirs"):
            out.say(*_side(side, conflict.get(side)))
    for one in items_of(found, "examined"):
        out.say(*_examined(one))
    out.diff(str(found.get("diff")))
    if found.get("state") == "open":
        out.say("", "You may merge it." if found.get("mergeable") else "You may not merge it:")
        out.say(*(f"  {sentence}" for sentence in cast("list[str]", found.get("obstacles") or [])))


def _event(event: Json) -> Iterator[str]:
    place = (
        f" about {event.get('path')}{':' + str(event['line']) if event.get('line') else ''}" if event["path"] else ""
    )
    paths = f" {', '.join(cast('list[str]', event.get('paths')))}" if event.get("paths") else ""
    old = " (about an earlier version)" if event.get("outdated") else ""
    text = "(erased)" if event.get("erased") else str(event.get("text") or "")
    yield f"{when(event.get('at'))}  {event.get('by')} {_SAID.get(str(event.get('kind')), '')}{place}{paths}{old}"
    yield from (f"    {line}" for line in text.splitlines())


def _examined(one: Json) -> Iterator[str]:
    for finding in items_of(one, "findings"):
        place = f"{one.get('skill_id')}/{finding.get('file')}:{finding.get('line')}"
        yield f"{finding.get('severity')!s:<6} {place}  {finding.get('message')} [{finding.get('code')}]"
    signed = one.get("signed_off")
    if isinstance(signed, dict):
        yield f"Signed off by {signed.get('by')}, {when(signed.get('at'))}."


def _side(name: str, text: object) -> Iterator[str]:
    yield f"  {name}:"
    yield from (f"    {line}" for line in (str(text).splitlines() if text is not None else ["(no text)"]))


def _place(text: str) -> tuple[str, int]:
    """Split `PATH:LINE`; a path may itself hold colons."""
    path, colon, line = text.rpartition(":")
    return (path, int(line)) if colon and line.isdecimal() else (text, 0)


def _local(text: str) -> tuple[str, str]:
    """Return the path of a conflict, and the text of a local file for it."""
    path, equals, name = text.partition("=")
    if not equals:
        raise Invalid("cli.usage", f"{text!r} is not PATH=FILE.")
    try:
        return path, Path(name).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound("path.unknown", f"There is no file {name}.") from None
    except UnicodeDecodeError:
        raise Invalid("file.no_text", f"{name} is no UTF-8 text.") from None
