"""Every code of the linter with its severity and what it means."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from llmos_lite.core.skills.scan import Finding, Severity
from llmos_lite.volumes.skill_paths import FILE

H, M, L = Severity.HIGH, Severity.MEDIUM, Severity.LOW
NAME = "lint"
"""The `scanner` of the linter's findings."""


class Topic(StrEnum):
    """What a code is about; the `category` of a finding."""

    STANDARD = "standard"
    SIZE = "size"
    TRIGGER = "trigger"
    OVERLAP = "overlap"
    REFERENCE = "reference"
    BODY = "body"
    BUDGET = "budget"


class Code(NamedTuple):
    """A code: how bad it is, and what it means."""

    severity: Severity
    meaning: str


CODES: dict[str, Code] = {
    "standard.front_matter": Code(H, "The front matter is not what the standard's own validator reads."),
    "standard.name": Code(H, "The name is missing, not an id, or not that of the folder."),
    "standard.description": Code(H, "The description is missing, no text, or longer than 1,024 characters."),
    "standard.compatibility": Code(H, "`compatibility` is no text, or longer than 500 characters."),
    "standard.keys": Code(H, "There are keys at the top that the standard does not know; put them under `metadata`."),
    "standard.metadata": Code(
        M, "`metadata` is no block of `key: value` lines; the standard asks for one, its validator does not look."
    ),
    "size.lines": Code(M, "The SKILL.md has 500 lines or more; move material to files beside it."),
    "size.tokens": Code(M, "The text has about 5,000 tokens or more; move material to files beside it."),
    "trigger.when": Code(M, "The description does not say when to use the skill."),
    "trigger.what": Code(L, "The description does not say what the skill does."),
    "trigger.vague": Code(M, "The description would fit nearly any skill."),
    "trigger.short": Code(M, "The description is too short to be chosen by."),
    "trigger.long": Code(L, "The description is long; every client pays for it in each conversation."),
    "trigger.opening": Code(L, "The first 57 characters, where some clients cut, say little."),
    "trigger.cut": Code(M, "Description and `when_to_use` together are cut at 1,536 characters by Claude Code."),
    "trigger.brackets": Code(M, "The description has < or >, which uploads to claude.ai refuse."),
    "overlap.wins": Code(M, "Another skill is found first by this one's own description."),
    "overlap.same": Code(M, "Another skill says nearly the same."),
    "reference.missing": Code(M, "The text names a file that is not in the folder."),
    "reference.outside": Code(M, "The text names a file outside the folder."),
    "reference.deep": Code(L, "A file beside the skill leads on to others; the standard advises one level."),
    "body.empty": Code(M, "The skill has no text, or next to none."),
    "body.unfinished": Code(M, "The text holds a place that was never filled in."),
    "budget.names": Code(M, "A client lists more than fits; some skills would be shown by name alone."),
    "budget.cut": Code(L, "A client lists more than fits; descriptions would be shortened."),
}


def finding(code: str, message: str, line: int = 0, file: str = FILE) -> Finding:
    """Return a finding of the linter."""
    return Finding(code, CODES[code].severity, message, line, NAME, file, Topic(code.partition(".")[0]))
