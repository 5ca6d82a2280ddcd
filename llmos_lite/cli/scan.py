"""`llmos skills scan`, `lint` and `sign-off`: what would harm, and how well it is written, here or in a volume."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmos_lite.cli.client import Json, Where, connect, items_of, url
from llmos_lite.cli.command import AsJson, Data, Key, Session, Url, User, command
from llmos_lite.cli.output import Output
from llmos_lite.core.skills.scan import Finding, Severity
from llmos_lite.core.wording import count_of
from llmos_lite.errors import Invalid, NotFound

if TYPE_CHECKING:
    from llmos_lite.core.skills.sarif import Meaning

UNSAFE = 1
"""Exit code when something of high severity was found."""

Paths = Annotated[
    list[Path] | None, typer.Argument(metavar="[PATH]...", help="Files, skill folders, trees of them, archives.")
]
Volume = Annotated[str, typer.Option(help="Look at a volume instead: system, team:ID or user:ID.")]
Sarif = Annotated[bool, typer.Option("--sarif", help="SARIF 2.1.0, for editors and code hosts.")]


@dataclass(frozen=True, slots=True)
class Looked:
    """A skill and what was found in it.

    Args:
        skill_id: its id; empty for what is about no skill.
        findings: what was found.
        folder: where its files are, as places are told; its id and a slash when empty.
        digest: of what was looked at, as a sign-off names it; empty for what is in no volume.
        signed: who stands for exactly this version; None for nobody.
    """

    skill_id: str
    findings: Sequence[Finding]
    folder: str | None = None
    digest: str = ""
    signed: Json | None = None

    @property
    def is_unsafe(self) -> bool:
        """Tell whether something of high severity was found that nobody stands for."""
        return self.signed is None and any(one.severity == Severity.HIGH for one in self.findings)

    def place(self, finding: Finding) -> str:
        """Return the file of a finding as it is told; the skill's id when it is about none."""
        lead = f"{self.skill_id}/" if self.folder is None and self.skill_id else self.folder or ""
        return f"{lead}{finding.file}" if finding.file else self.skill_id


def add(skills: typer.Typer) -> None:
    """Add the commands to `llmos skills`."""
    _looking(
        skills,
        "scan",
        "Look for what would harm: injection, exfiltration, hidden text, secrets, code from elsewhere.",
        _scanned_paths,
        _scanned_volume,
    )
    _looking(
        skills,
        "lint",
        "Say how well skills are written: the standard, size, descriptions, neighbours, what clients can list.",
        _linted_paths,
        _linted_volume,
    )

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


def _looking(
    skills: typer.Typer,
    name: str,
    about: str,
    here: Callable[[Sequence[Path]], Iterable[Looked]],
    there: Callable[[Where, str], Iterable[Looked]],
) -> None:
    """Add a command that looks at what lies here, or in a volume."""

    @skills.command(name, help=about)
    def look(
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
        where = Where(data=data, url=url, key=key, user=user)
        found = list(there(where, volume) if volume else here(paths or [Path()]))
        tell(f"llmos-{name}", found, Output(as_json=as_json), as_sarif=sarif)
        if any(one.is_unsafe for one in found):
            raise typer.Exit(UNSAFE)


def _sign_off(skill_id: str) -> str:
    return url("skills", skill_id, "sign-off")


def _scanned_paths(paths: Sequence[Path]) -> Iterator[Looked]:
    from llmos_lite.core.skills.local import links, look_at  # noqa: PLC0415 - only here
    from llmos_lite.core.skills.scanning.pack import RulePack  # noqa: PLC0415 - compiles its patterns

    pack = RulePack()
    for path in paths:
        found = look_at(path, Path.cwd())
        for one in found.skills:
            yield Looked(one.skill.skill_id, list(pack.scan_folder(one.skill, one.files)), one.folder)
        if found.loose.files and found.skills:
            _say_left_out(path, len(found.loose.files))
        elif found.loose.files:
            yield Looked("", list(pack.scan_folder(found.loose.skill, found.loose.files)), found.loose.folder)
        elif not found.skills:
            raise NotFound("path.nothing", f"There is nothing to look at in {path}.", hint="Name files or folders.")
    if found_links := links(paths):
        yield Looked("", found_links)


def _say_left_out(path: Path, count: int) -> None:
    Output().note(f"Not looked at, since they belong to no skill: {count_of(count, 'file')} below {path}. Name them.")


def _scanned_volume(where: Where, volume: str) -> Iterator[Looked]:
    with connect(where, os.environ) as api:
        for skill in api.items("/skills", {"volume": volume}):
            skill_id = str(skill.get("skill_id"))
            try:
                answer = api.get(url("skills", skill_id, "scan"), {"volume": volume})
            except (Invalid, NotFound) as error:
                yield Looked(skill_id, [_unread(str(skill.get("error") or error.message))])
                continue
            signed, found = answer.get("signed_off"), [finding_of(one) for one in items_of(answer, "findings")]
            yield Looked(skill_id, found, None, str(answer.get("digest")), signed if isinstance(signed, dict) else None)


def _unread(why: str) -> Finding:
    return Finding("scan.unread", Severity.MEDIUM, f"It was not looked at, and is given to nobody: {why}", file="")


def _linted_paths(paths: Sequence[Path]) -> Iterator[Looked]:
    from llmos_lite.core.skills.lint.budget import budgets, over_budget  # noqa: PLC0415 - only here
    from llmos_lite.core.skills.lint.rules import lint  # noqa: PLC0415
    from llmos_lite.core.skills.local import local_skills  # noqa: PLC0415

    found = local_skills(paths, Path.cwd())
    for one in found:
        others = [path for path in one.files if path != one.main]
        said = lint(one.skill.skill_id, one.files[one.main], others)
        yield Looked(one.skill.skill_id, [replace(each, file=one.main) for each in said], one.folder)
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


def tell(tool: str, found: Sequence[Looked], out: Output, *, as_sarif: bool) -> None:
    """Write findings: as SARIF, as JSON, or as a line for each."""
    if as_sarif:
        from llmos_lite.core.skills.sarif import Reported, sarif  # noqa: PLC0415 - only here

        reported = [Reported("", [replace(each, file=one.place(each)) for each in one.findings]) for one in found]
        log = sarif(tool, reported, _meanings())
        Output(as_json=True).show(log, lambda: None)
        return
    out.show([_data(one) for one in found], lambda: _say(found, out))


def _meanings() -> dict[str, Meaning]:
    from llmos_lite.core.skills.lint.codes import CODES  # noqa: PLC0415 - only here
    from llmos_lite.core.skills.sarif import Meaning  # noqa: PLC0415
    from llmos_lite.core.skills.scanning.codes import codes  # noqa: PLC0415

    linted = {code: Meaning(one.severity, one.meaning) for code, one in CODES.items()}
    return linted | {one.code: Meaning(one.severity, one.message) for one in codes()}


def _data(one: Looked) -> dict[str, object]:
    found = [asdict(finding) for finding in one.findings]
    return {"skill_id": one.skill_id, "digest": one.digest, "signed_off": one.signed, "findings": found}


def _say(found: Sequence[Looked], out: Output) -> None:
    for looked in found:
        signed = f" (signed off by {looked.signed.get('by')})" if looked.signed else ""
        for one in looked.findings:
            place = looked.place(one) + (f":{one.line}" if one.line else "")
            said = signed if one.severity == Severity.HIGH else ""
            out.say(
                "  ".join(filter(None, [f"{one.severity:<6} {place}".rstrip(), f"{one.message} [{one.code}]{said}"]))
            )
        if looked.digest and looked.is_unsafe:
            out.say(f"       Sign off: llmos skills sign-off {looked.skill_id} --digest {looked.digest} --reason …")
    skills = count_of(sum(bool(looked.skill_id) for looked in found), "skill")
    sys.stdout.flush()
    out.note(f"{skills}, {count_of(sum(len(looked.findings) for looked in found), 'finding')}.")
