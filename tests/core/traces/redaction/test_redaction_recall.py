"""How much is found, and how much is found where nothing is; `benchmarks/redaction.py` prints the same of more text."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import pytest
from planted_secrets import Planter

from llmos_lite.core.traces.redaction import Redaction
from llmos_lite.core.traces.redaction.finder import TextFinder

ROOT = Path(__file__).parents[4]
LIBRARY = Path(argparse.__file__).parent
MODULES = (
    *("argparse", "ast", "base64", "configparser", "csv", "datetime", "difflib", "dis", "doctest", "enum", "ftplib"),
    *("functools", "getpass", "hashlib", "hmac", "imaplib", "inspect", "mailbox", "netrc", "optparse", "os", "pathlib"),
    *("pdb", "pickle", "platform", "poplib", "pydoc", "random", "secrets", "shutil", "smtplib", "socket", "ssl"),
    *("statistics", "subprocess", "tarfile", "threading", "tokenize", "turtle", "typing", "uuid", "zipfile"),
)


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_planted_is_found(seed: int) -> None:
    redaction = Redaction()
    there, left = Counter[str](), Counter[str]()
    for planted in Planter(seed).all():
        there[planted.kind] += 1
        redacted = redaction.text(planted.text)
        inside = planted.secret.split("\n")[1:-1] or [planted.secret]
        left[planted.kind] += any(line in redacted for line in inside)
    assert 1 - left.total() / there.total() >= 0.98, left
    assert {kind: count for kind, count in left.items() if count > 0.1 * there[kind]} == {}


def test_ordinary_code_and_prose_stay_as_they_are() -> None:
    finder = TextFinder()
    code = [path for name in MODULES if (path := LIBRARY / f"{name}.py").exists()]
    assert len(code) > 35
    prose = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("llmos_lite/**/*.md")]
    prose = [path for path in prose if path.name != "api.md"]  # shows keys, as answers do
    for paths in (code, prose):
        texts = [path.read_text() for path in paths]
        found = Counter(one.kind for text in texts for one in finder.find(text))
        del found["email"]  # those of authors are what they look like
        assert found.total() <= 2 * sum(map(len, texts)) / 100_000, found
