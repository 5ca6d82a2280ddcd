"""`llmos skills scan`, `lint` and `sign-off`: what would harm, and how well it is written, here or in a volume."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from llmos_lite.cli.client import Json, Where, connect, url
from llmos_lite.cli.command import AsJson, Data, Key, Session, Url, User, command
from llmos_lite.cli.output import Output
from llmos_lite.core.skills.scan import Finding, Severity
from llmos_lite.volumes.skill_paths import FILE

UNSAFE = 1
"""Exit code when something of high severity was found."""

Paths = Annotated[list[Path] | None, typer.Argument(metavar="[PATH]...", help="Files, skill folders, trees of them.")]
Volume = Annotated[str, typer.Option(help="Look at a volume instead: system, team:ID or user:ID.")]
Sarif = Annotated[bool, typer.Option("--sarif", help="SARIF 2.1.0, for editors and code hosts.")]


@dataclass(frozen=True, slots=True)
class Looked:
    """A skill and what was found in it."""

    skill_id: str
    findings: Sequence[Finding]


def add(skills: typer.Typer) -> None:
    """Add the commands to `llmos skills`."""

    @skills.command("scan")
    def scan(
        paths: Paths = None,
        *,
        volume: Volume = "",
        sarif: Sarif = False,
        data: Data = "",
        url: Url = "",
        key: Key = "",
        user: User = "",
        as_json: AsJson = False,
    ) -> None:
        """Look for what would harm: injection, exfiltration, hidden text, secrets, code from elsewhere."""
        where = Where(data=data, url=url, key=key, user=user)
        found = list(_of_volume(where, volume) if volume else _of_paths(paths or [Path()]))
        tell("llmos-scan", found, Output(as_json=as_json), as_sarif=sarif)
        if any(one.severity == Severity.HIGH for looked in found for one in looked.findings):
            raise typer.Exit(UNSAFE)

    @skills.command("lint")
    def lint(
        paths: Paths = None,
        *,
        volume: Volume = "",
        sarif: Sarif = False,
        data: Data = "",
        url: Url = "",
        key: Key = "",
        user: User = "",
        as_json: AsJson = False,
    ) -> None:
        """Say how well skills are written: the standard, size, descriptions, neighbours, what clients can list."""
        where = Where(data=data, url=url, key=key, user=user)
        found = list(_linted_volume(where, volume) if volume else _linted_paths(paths or [Path()]))
        tell("llmos-lint", found, Output(as_json=as_json), as_sarif=sarif)
        if any(one.severity == Severity.HIGH for looked in found for one in looked.findings):
            raise typer.Exit(UNSAFE)

    @command(skills, "sign-off")
    def sign_off(
        session: Session,
        skill_id: Annotated[str, typer.Argument(help="Id of the skill.")],
        reason: Annotated[str, typer.Option("--reason", "-m", help="Why it is safe.")],
        digest: Annotated[str, typer.Option(help="Version that you looked at, as `llmos skills scan --json` says it.")],
        volume: Annotated[str, typer.Option(help="system, team:ID or user:ID; empty for the one that you see.")] = "",
    ) -> None:
        """Stand for what a scanner found in exactly this version, so that it is used."""
        path = f"{_sign_off(skill_id)}?volume={volume}" if volume else _sign_off(skill_id)
        done = session.api.post(path, {"reason": reason, "digest": digest})
        session.out.show(done, lambda: session.out.say(f"Signed off: {skill_id} {digest}"))


def _sign_off(skill_id: str) -> str:
    return url("skills", skill_id, "sign-off")


def _of_paths(paths: Sequence[Path]) -> Iterator[Looked]:
    from llmos_lite.core.skills.local import links, local_skills  # noqa: PLC0415 - only here
    from llmos_lite.core.skills.scanning.pack import RulePack  # noqa: PLC0415 - compiles its patterns

    pack = RulePack()
    for one in local_skills(paths):
        yield Looked(one.skill.skill_id, list(pack.scan_folder(one.skill, one.files)))
    if found := links(paths):
        yield Looked("", found)


def _of_volume(where: Where, volume: str) -> Iterator[Looked]:
    with connect(where, os.environ) as api:
        for skill in api.items("/skills", {"volume": volume}):
            answer = api.get(url("skills", str(skill.get("skill_id")), "scan"), {"volume": volume})
            yield Looked(str(answer.get("skill_id")), [finding_of(one) for one in items_of(answer, "findings")])


def _linted_paths(paths: Sequence[Path]) -> Iterator[Looked]:
    from llmos_lite.core.skills.lint.budget import budgets, over_budget  # noqa: PLC0415 - only here
    from llmos_lite.core.skills.lint.rules import lint  # noqa: PLC0415
    from llmos_lite.core.skills.local import local_skills  # noqa: PLC0415

    found = local_skills(paths)
    for one in found:
        others = [path for path in one.files if path != FILE]
        yield Looked(one.skill.skill_id, lint(one.skill.skill_id, one.files[FILE], others))
    if over := over_budget(budgets(one.skill for one in found)):
        yield Looked("", over)


def _linted_volume(where: Where, volume: str) -> Iterator[Looked]:
    with connect(where, os.environ) as api:
        answer = api.get(url("volumes", volume, "lint"))
        for one in items_of(answer, "items"):
            yield Looked(str(one.get("skill_id")), [finding_of(item) for item in items_of(one, "findings")])
        if over := items_of(answer, "findings"):
            yield Looked("", [finding_of(item) for item in over])


def finding_of(item: Json) -> Finding:
    """Return a finding that the API told."""
    line = item.get("line")
    return Finding(
        str(item.get("code")),
        Severity(str(item.get("severity"))),
        str(item.get("message")),
        line if isinstance(line, int) else 0,
        str(item.get("scanner") or ""),
        str(item.get("file")),
        str(item.get("category")),
    )


def items_of(answer: Json, name: str) -> list[Json]:
    """Return a list of an answer."""
    found = answer.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def tell(tool: str, found: Sequence[Looked], out: Output, *, as_sarif: bool) -> None:
    """Write findings: as SARIF, as JSON, or as a line for each."""
    if as_sarif:
        from llmos_lite.core.skills.sarif import Reported, sarif  # noqa: PLC0415 - only here

        log = sarif(tool, [Reported(f"{one.skill_id}/" if one.skill_id else "", one.findings) for one in found])
        Output(as_json=True).show(log, lambda: None)
        return
    data = [{"skill_id": one.skill_id, "findings": [asdict(finding) for finding in one.findings]} for one in found]
    out.show(data, lambda: _say(found, out))


def _say(found: Sequence[Looked], out: Output) -> None:
    for looked in found:
        for one in looked.findings:
            place = "/".join(filter(None, (looked.skill_id, one.file))) + (f":{one.line}" if one.line else "")
            out.say(f"{one.severity:<6} {place}  {one.message} [{one.code}]")
    count = sum(len(looked.findings) for looked in found)
    sys.stdout.flush()
    out.note(f"{len(found)} skills, {count} findings.")
