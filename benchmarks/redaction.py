"""Redaction: its time beside 23 plain regular expressions on the same text, what it finds, and what it should not."""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import Row
from llmos_lite.core.traces.redaction import Redaction
from llmos_lite.core.traces.redaction.finder import TextFinder

ROOT = Path(__file__).parents[1]
TEXT, ROUNDS = 10_000, 9
PAGES = ("quickstart", "concepts", "git", "engines", "benchmarks", "proposals")
SEEDS = range(100, 105)
PLAIN = tuple(
    re.compile(pattern)
    for pattern in (
        r"[\w.+-]+@[\w-]+\.[\w.-]+",
        r"(?:\+?\d{1,3}[ .-]?)?\(?\d{3}\)?[ .-]?\d{3}[ .-]?\d{4}",
        r"\b(?:\d[ -]*?){13,16}\b",
        r"\b[A-Z]{2}\d{2}[ ]?(?:[A-Z0-9]{4}[ ]?){2,7}[A-Z0-9]{1,4}\b",
        r"\b\d{3}-\d{2}-\d{4}\b",
        r"\b(?:\d{1,3}\.){3}\d{1,3}\b",
        r"\b(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}\b",
        r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
        r"(?i)aws.{0,20}['\"][0-9a-zA-Z/+]{40}['\"]",
        r"\bgh[pousr]_[A-Za-z0-9]{36}\b",
        r"\bgithub_pat_\w{82}\b",
        r"\bglpat-[\w-]{20}\b",
        r"\bxox[abprs]-[\w-]{10,}\b",
        r"\b[rs]k_live_[0-9a-zA-Z]{24,}\b",
        r"\bsk-[A-Za-z0-9_-]{20,}\b",
        r"\bAIza[\w-]{35}\b",
        r"\bya29\.[\w-]+\b",
        r"\beyJ[\w-]+\.eyJ[\w-]+\.[\w-]+\b",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----",
        r"\w+://[^\s:/]+:[^\s@/]+@[^\s/]+",
        r"(?i)bearer\s+[\w.~+/-]+=*",
        r"(?i)(?:password|passwd|pwd)\s*[:=]\s*\S+",
        r"(?i)(?:api[_-]?key|secret|token)\s*[:=]\s*['\"]?[\w-]{16,}",
    )
)


def _plain(text: str) -> int:
    return sum(len(pattern.findall(text)) for pattern in PLAIN)


def _ordinary() -> list[str]:
    """Return texts as people and models write them: our own skills and first pages."""
    pages = [*sorted(ROOT.glob("llmos_lite/**/*.md")), *(ROOT / "docs" / f"{name}.md" for name in PAGES)]
    whole = "\n\n".join(path.read_text() for path in pages)
    return [whole[start : start + TEXT] for start in range(0, len(whole) - TEXT, TEXT)]


def _milliseconds(look: Callable[[str], object], texts: list[str]) -> float:
    """Return the processor time of a text, in the round that the machine disturbed least."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for text in texts:
            look(text)
        rounds.append((time.process_time() - start) * 1000 / len(texts))
    return min(rounds)


def _recall() -> float:
    sys.path.append(str(ROOT / "tests"))
    from planted_secrets import Planter  # noqa: PLC0415 - lies with the tests

    redaction, found = Redaction(), []
    for seed in SEEDS:
        found += [planted.secret not in redaction.text(planted.text) for planted in Planter(seed).all()]
    return statistics.mean(found)


def _false_hits() -> float:
    """Return what is found in 100 KB of Python's library, e-mail addresses of its authors aside."""
    library = Path(argparse.__file__).parent
    texts = [path.read_text(errors="replace") for path in sorted(library.glob("*.py"))]
    finder = TextFinder()
    found = sum(one.kind != "email" for text in texts for one in finder.find(text))
    return found * 100_000 / sum(map(len, texts))


def run() -> list[Row]:
    """Return the rows."""
    texts, redaction = _ordinary(), Redaction(remembered=0)  # every text as if for the first time
    redaction.text(texts[0])  # compiles what it needs
    ours, plain = _milliseconds(redaction.text, texts), _milliseconds(_plain, texts)
    return [
        Row(
            "redaction of 10 KB of ordinary text (CPU), against 23 plain patterns",
            ours,
            plain,
            unit="ms",
            target="value <= 1",
        ),
        Row("share of planted secrets and personal data that is found", _recall(), target="value >= 0.95"),
        Row("wrong finds in 100 KB of Python's library", _false_hits(), target="value <= 2"),
    ]
