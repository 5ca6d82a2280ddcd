"""All rules over one text, and over what hides in it: in comments, and encoded."""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from llmos_lite.core.skills.scan import Category, Finding, Severity
from llmos_lite.core.skills.scanning.files import TextFile
from llmos_lite.core.skills.scanning.programs import PROGRAMS
from llmos_lite.core.skills.scanning.prose import PROSE
from llmos_lite.core.skills.scanning.rule import Effort, Match, Rules
from llmos_lite.core.skills.scanning.shell import SHELL
from llmos_lite.core.skills.scanning.shown import Shown
from llmos_lite.core.skills.scanning.talk import weighed

RULES = Rules((*PROSE, *SHELL, *PROGRAMS))
OPENING = 2000
"""Characters of a comment in which it may speak to a model."""
_BLOB = re.compile(r"[A-Za-z0-9+/]{40,4000}={0,2}")
_HEX = re.compile(r"(?:\\x[0-9a-fA-F]{2}){12,1000}")
_LABEL = re.compile(r"^\[//\]: # \((.{12,2000})\)$", re.MULTILINE)
_TO_A_MODEL = re.compile(
    r"\b(?:assistant|ai|agent|model|claude|gpt|llm|system)\b.{0,40}[:,]|\b(?:ignore|instead|you must|do not tell|always|before you|secretly|execute|run)\b"
)
_ADDRESSED = re.compile(
    r"^[\s!*#-]{0,20}(?:(?:hidden |secret |important |system |internal ){0,2}(?:notes?|messages?|instructions?|orders?|hints?|prompts?) (?:to|for) )?(?:the |all |any |dear |hey |attention,? ){0,3}"
    r"(?:ai|llms?|assistants?|agents?|claude|chatgpt|gpt|codex|copilot|gemini|language models?|coding agents?|models?)(?: (?:agents?|assistants?|models?|code|tools?|systems?|readers?)){0,2}\s{0,3}(?:[:,!-]|\u2014|must|should|when|if|please)|"
    r"\bif you are (?:an? )?(?:ai|llm|assistant|language model|agent)\b"
)
_ACTS = re.compile(
    r"https?://|\b(?:send|upload|post|run|execute|curl|wget|fetch|download|install|delete|read|append|add|include|write|ignore|never|do not|don't|always|must|silently|secret|token|password|credentials|key)\b"
)


def ruled(file: TextFile, shown: Shown, effort: Effort, *, about_attacks: bool) -> Iterator[Finding]:
    """Yield what the rules say of a text."""
    for match in RULES.matches(shown.low, effort):
        rule, severity = match.rule, weighed(match, shown, about_attacks=about_attacks)
        line = shown.line(match.start)
        yield Finding(rule.code, severity, rule.message, line, file=file.path, category=rule.category)


class _Comment(NamedTuple):
    text: str
    place: int


def comments(file: TextFile, effort: Effort) -> Iterator[Finding]:
    """Find what stands in comments for a model, which a reader of the page never sees."""
    found = list(_comments(file.text))
    yield from _addressed(file, found, effort)
    # One text, so that a thousand empty comments cost what one long one does.
    shown = [Shown(one.text, markdown=True).low for one in found]
    starts, place = list[int](), 0
    for text in shown:
        starts.append(place)
        place += len(text) + 2
    whole = Shown("", markdown=True)
    whole.low = "\n\n".join(shown)
    told: set[int] = set()
    for match in RULES.matches(whole.low, effort):
        number = bisect_right(starts, match.start) - 1
        if number in told or not _orders(match, whole, shown[number]):
            continue
        told.add(number)
        message = "A comment, which no reader of the page sees, gives the model orders."
        line = file.lines.of(found[number].place)
        yield Finding(
            "concealment.comment", Severity.HIGH, message, line, file=file.path, category=Category.CONCEALMENT
        )


def _addressed(file: TextFile, found: list[_Comment], effort: Effort) -> Iterator[Finding]:
    """Find comments that speak to a model by name, whatever they want of it."""
    for one in found:
        if effort.is_spent():
            return
        text = one.text[:OPENING].lower()
        if _ADDRESSED.search(text):
            severity = Severity.HIGH if _ACTS.search(text) else Severity.MEDIUM
            message = "A comment, which no reader of the page sees, gives the model orders."
            line = file.lines.of(one.place)
            yield Finding("concealment.comment", severity, message, line, file=file.path, category=Category.CONCEALMENT)


def _orders(match: Match, shown: Shown, comment: str) -> bool:
    severity = weighed(match, shown, about_attacks=False)
    return severity == Severity.HIGH or (severity == Severity.MEDIUM and _TO_A_MODEL.search(comment) is not None)


def _comments(text: str) -> Iterator[_Comment]:
    """Yield the comments of a page; one that is not closed goes to its end."""
    start = text.find("<!--")
    while start >= 0:
        end = text.find("-->", start + 4)
        yield _Comment(text[start + 4 : len(text) if end < 0 else end], start)
        start = text.find("<!--", end + 3) if end >= 0 else -1
    if "[//]: # (" in text:
        yield from (_Comment(found.group(1), found.start()) for found in _LABEL.finditer(text))


def encoded(file: TextFile, effort: Effort) -> Iterator[Finding]:
    """Look into what is encoded: what it hides counts as if it stood there."""
    for place, text in _decoded(file.text):
        if effort.is_spent():
            return
        hidden = TextFile("x.sh", text)
        inside = ruled(hidden, Shown(text, markdown=False), effort, about_attacks=False)
        first = next((one for one in inside if one.severity == Severity.HIGH), None)
        if first is not None:
            message = f"It is encoded, and hides something: {first.message[0].lower()}{first.message[1:]}"
            yield Finding(
                "obfuscation.hidden",
                Severity.HIGH,
                message,
                file.lines.of(place),
                file=file.path,
                category=Category.OBFUSCATION,
            )


def _decoded(text: str) -> Iterator[tuple[int, str]]:
    for blob in _BLOB.finditer(text):
        try:
            inside = base64.b64decode(blob.group() + "==="[: -len(blob.group()) % 4], validate=False).decode()
        except (binascii.Error, ValueError):
            continue
        if inside.isprintable() or "\n" in inside:
            yield blob.start(), inside
    for blob in _HEX.finditer(text):
        yield blob.start(), bytes.fromhex(blob.group().replace("\\x", "")).decode("latin-1")
