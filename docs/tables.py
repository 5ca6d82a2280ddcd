"""Write the generated parts of the docs: `python docs/tables.py`; `--check` only tells what is stale.

A page holds `<!-- table: NAME -->` or `<!-- file: PATH -->`, and `<!-- end -->`; what stands between them comes from
the code: a table that is made here, or a file of the repository, quoted.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from llmos_lite import errors
from llmos_lite.core.accounts.permissions import TABLE as RIGHTS
from llmos_lite.core.accounts.permissions import Standing, Verb
from llmos_lite.core.skills.lint.codes import CODES
from llmos_lite.core.skills.scanning.codes import codes
from llmos_lite.errors import LlmosError
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import TABLE, Access, PrincipalKind, VolumeKind

DOCS = Path(__file__).parent
ROOT = DOCS.parent
BLOCK = re.compile(r"(<!-- (table|file): (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
NOUNS = ("Chat", "Skills", "Proposals", "Traces", "Evolution", "Volumes", "Accounts", "Health")
"""The order of the nouns in docs/api.md; others come after them."""
LANGUAGES = {".py": "python", ".toml": "toml", ".md": "markdown", ".sh": "sh"}
READING = {
    Verb.READ_SKILLS: "skills",
    Verb.READ_TRACES: "traces, in lists",
    Verb.INSPECT_TRACES: "traces of a volume that is named",
    Verb.GIT_FETCH: "skills by git",
    Verb.GIT_TRACES: "traces by git",
    Verb.READ_TEAM: "who is in the team",
}
WHO = {
    Standing.OWNER: "the person",
    Standing.MEMBER: "members",
    Standing.TEAM_ADMIN: "its admins",
    Standing.CRON: "its cron",
    Standing.ANYBODY: "every credential",
    Standing.SYSTEM_ADMIN: "system admins",
}
MAY = {Access.NONE: "nothing", Access.READ: "read", Access.WRITE: "read, write"}


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def settings() -> str:
    """Return every setting with its variable, default and meaning."""
    return table(
        ("variable", "default", "meaning"),
        [(f"`{item.metadata['env']}`", _default(item.default), item.metadata["doc"]) for item in fields(Settings)],
    )


def _default(value: object) -> str:
    if isinstance(value, bool):
        return "`on`" if value else "`off`"
    return f"`{value}`" if str(value) else "(empty)"


def access() -> str:
    """Return who may do what to a volume."""
    return table(
        ("volume", *(kind.value.replace("-", " ") for kind in PrincipalKind)),
        [(kind.value, *(MAY[TABLE[kind, who]] for who in PrincipalKind)) for kind in VolumeKind],
    )


def readers() -> str:
    """Return who may read what, by kind of volume."""
    return table(
        ("what", "of a person", "of a team", "of the system", "scopes"),
        [
            (
                what,
                *map(_who, (right.user, right.team, right.system)),
                ", ".join(f"`{one}`" for one in sorted(right.scopes)),
            )
            for verb, what in READING.items()
            for right in (RIGHTS[verb],)
        ],
    )


def _who(standings: frozenset[Standing]) -> str:
    return ", ".join(name for standing, name in WHO.items() if standing in standings) or "nobody"


def kinds() -> str:
    """Return every kind of error with its status and exit code."""
    family = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LlmosError)]
    return table(
        ("kind", "status", "exit code", "meaning"),
        [
            (f"`{kind.__name__}`", str(kind.status), str(kind.exit_code), (kind.__doc__ or "").splitlines()[0])
            for kind in family
            if kind is not LlmosError
        ],
    )


def routes() -> str:
    """Return every route of docs/openapi.json, by noun, with its parameters and examples."""
    described = json.loads((DOCS / "openapi.json").read_text())
    nouns: dict[str, list[str]] = {}
    for path, item in described["paths"].items():
        for method, operation in item.items():
            route = _route(described, f"{method.upper()} {path}", operation)
            nouns.setdefault(operation["tags"][0].capitalize(), []).append(route)
    ordered = sorted(nouns, key=lambda noun: NOUNS.index(noun) if noun in NOUNS else len(NOUNS))
    return "\n".join(part for noun in ordered for part in (f"### {noun}\n", *nouns[noun]))


def _route(described: dict[str, Any], name: str, operation: dict[str, Any]) -> str:
    summary, told = operation["summary"].rstrip("."), operation.get("description", "").strip()
    parts = [f"#### {name}\n", f"{summary}.\n"]
    if told.rstrip(".") != summary and told:
        parts.append(f"{told}\n")
    if queries := [f"`{item['name']}`" for item in operation.get("parameters", ()) if item["in"] == "query"]:
        parts.append(f"Query: {', '.join(queries)}.\n")
    for content in operation.get("requestBody", {}).get("content", {}).values():
        parts += _example("Request", _sample(described, content))
    failures = [status for status in operation["responses"] if status[0] in "45"]
    for status in sorted(status for status in operation["responses"] if status.startswith("2")):
        for content in operation["responses"][status].get("content", {}).values():
            parts += _example(f"Answer {status}", _sample(described, content))
    return "\n".join([*parts, f"Errors: {', '.join(failures)}.\n"] if failures else parts)


def _sample(described: dict[str, Any], content: dict[str, Any]) -> object:
    """Return the example of a body: its own, the first of a named set, or the one of its schema."""
    if "example" in content:
        return content["example"]
    if examples := content.get("examples"):
        return next(iter(examples.values()))["value"]
    schema = content.get("schema", {})
    if reference := schema.get("$ref"):
        schema = described["components"]["schemas"][reference.rpartition("/")[2]]
    return schema.get("example", next(iter(schema.get("examples", ())), None))


def _example(title: str, sample: object) -> list[str]:
    if sample is None:
        return []
    text = sample if isinstance(sample, str) else json.dumps(sample, indent=2, ensure_ascii=False)
    kind = "text" if isinstance(sample, str) else "json"
    return [f"{title}:\n", f"```{kind}\n{text.rstrip()}\n```\n"]


def scan() -> str:
    """Return every code of the scanner."""
    rows = [(f"`{one.code}`", one.severity.value, one.category.value, one.message) for one in codes()]
    return table(("code", "severity", "category", "meaning"), rows)


def lint() -> str:
    """Return every code of the linter."""
    return table(
        ("code", "severity", "meaning"), [(f"`{code}`", one.severity.value, one.meaning) for code, one in CODES.items()]
    )


TABLES: dict[str, Callable[[], str]] = {
    "lint": lint,
    "scan": scan,
    "settings": settings,
    "access": access,
    "readers": readers,
    "errors": kinds,
    "routes": routes,
}


def filled(text: str) -> str:
    """Return a page with its generated parts written anew."""

    def part(found: re.Match[str]) -> str:
        made = TABLES[found[3]]() if found[2] == "table" else quote(ROOT / found[3])
        return f"{found[1]}\n{made}\n{found[4]}"

    return BLOCK.sub(part, text)


def quote(path: Path) -> str:
    """Return a file as a block of code."""
    return f"```{LANGUAGES[path.suffix]}\n{path.read_text()}```\n"


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with `--check` name those that are stale and return 1."""
    stale = [page for page in sorted(DOCS.rglob("*.md")) if filled(page.read_text()) != page.read_text()]
    for page in stale:
        if "--check" in arguments:
            print(f"{page.relative_to(ROOT)} is stale: run `make openapi`")
        else:
            page.write_text(filled(page.read_text()))
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
