"""Keys and passwords that stand in a skill: found as in traces, by `core.traces.redaction`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from llmos_lite.core.skills.scan import Category, Finding, Severity
from llmos_lite.core.skills.scanning.files import TextFile
from llmos_lite.core.skills.scanning.rule import Effort
from llmos_lite.core.traces.redaction.base import SECRET, SECRETS, Finder
from llmos_lite.core.traces.redaction.finder import TextFinder

PIECE, OVERLAP = 1 << 14, 1 << 12
"""Characters that are searched at once, and those of them that the next piece begins with: a private key has fewer."""
_CERTAIN = re.compile(
    r"(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{30}|github_pat_\w{22}|glpat-|xox[abprs]-|[rs]k_live_|sk-(?:ant-|proj-)?[A-Za-z0-9_-]{20}|AIza[\w-]{30}|"
    r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY|SG\.[\w-]{20}|npm_[A-Za-z0-9]{30}|hf_[A-Za-z0-9]{30}|dop_v1_|eyJ[\w-]{15,500}\.eyJ"
)
"""Forms that nothing else has."""
_EXAMPLE = re.compile(
    r"example|x{4}|\*{3}|\.\.\.|your|placeholder|dummy|fake|sample|redacted|1234567|abcdef|changeme|<[a-z]|0{6}|test",
    re.IGNORECASE,
)


def secrets(file: TextFile, effort: Effort) -> Iterator[Finding]:
    """Yield the secrets in a text, piece by piece until the effort is spent; the message never repeats them."""
    for begin in range(0, max(1, len(file.text)), PIECE - OVERLAP):
        if effort.is_spent():
            return
        piece = file.text[begin : begin + PIECE]
        for found in _finder().find(piece):
            value = piece[found.start : found.end]
            if found.kind != SECRET or _EXAMPLE.search(value):
                continue
            severity = Severity.HIGH if _CERTAIN.search(value) else Severity.LOW
            line, message = file.lines.of(begin + found.start), "There is a key or a password in it."
            yield Finding("secret.key", severity, message, line, file=file.path, category=Category.SECRETS)


@lru_cache(maxsize=1)
def _finder() -> Finder:
    """Return the finder of traces; its patterns compile when it is first used."""
    return TextFinder([SECRETS])
