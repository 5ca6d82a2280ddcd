"""What strangers send is read in linear time: four times as much takes four times as long, not sixteen."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import math
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from typing import Any

import pytest

import llmos_lite
from llmos_lite.api.auth import cookie_of, given_by
from llmos_lite.api.hosts import Hosts
from llmos_lite.core.accounts.identities import clean_email, id_like
from llmos_lite.core.audit.chain import clean
from llmos_lite.core.skills import frontmatter
from llmos_lite.core.skills.format import Skill
from llmos_lite.engines.git_objects import parse_commit
from llmos_lite.engines.remote_url import RemoteUrl
from llmos_lite.errors import LlmosError
from llmos_lite.volumes.access import check_id

SHORT, LONG = 1000, 4000
QUICK = 0.03
"""Seconds that are too few to tell anything: what is quadratic takes longer than that at `LONG`."""
WIDE = 11.0
"""Linear is 4, quadratic 16."""


def seconds(work: Callable[[], object]) -> float:
    begun = time.thread_time()
    with contextlib.suppress(LlmosError, ValueError):
        work()
    return time.thread_time() - begun


def is_linear(work: Callable[[int], object], short: int = SHORT, long: int = LONG) -> bool:
    """Tell whether `work(n)` grows with n; the least of some measures counts, since the machine is shared."""
    first = second = math.inf
    for _ in range(4):
        first = min(first, seconds(lambda: work(short)))
        if first > QUICK * 10:
            return False
        second = min(second, seconds(lambda: work(long)))
        if second < QUICK:
            return True
    return second < WIDE * first


def test_the_measure_itself_tells_them_apart() -> None:
    assert is_linear(lambda n: re.search(r"(a+)b", "a" * n + "b"))
    assert not is_linear(lambda n: re.fullmatch(r".*?.*?.*?=", "a" * n))
    assert not is_linear(lambda n: re.search(r"a+b", "a" * 5 * n))


# What people write


def scope(name: bytes, value: str) -> dict[str, object]:
    return {"headers": [(name, value.encode())], "method": "GET"}


TREE = f"tree {'0' * 40}"
WAYS: dict[str, Callable[[str], object]] = {
    "session": lambda text: given_by(scope(b"cookie", f'llmos_session="{text}"')),
    "cookies": lambda text: cookie_of(scope(b"cookie", f"{text}; llmos_way={text}"), "llmos_way"),
    "bearer": lambda text: given_by(scope(b"authorization", f"Bearer {text}")),
    "host": lambda text: Hosts("x").check(text.encode()),
    "email": lambda text: clean_email(f"{text}@{text}"),
    "id": lambda text: check_id(text, "user"),
    "id like": lambda text: id_like(text, 2),
    "remote": lambda text: RemoteUrl.parse(f"https://{text}", plain=True),
    "remote path": lambda text: RemoteUrl.parse(f"git@host:{text}", plain=True),
    "audit": lambda text: clean(text, 100_000),
    "value": lambda text: frontmatter.load(f"a: @{text}\nb: c: {text}\n"),
    "mark": lambda text: frontmatter.load(f"a: [x] {text}\nb: [{text}\n"),
    "key": lambda text: frontmatter.load(f"{text}: {text}\n"),
    "list": lambda text: frontmatter.load(f"a: [{text}"),
    "skill": lambda text: Skill.parse("x", f"---\ndescription: {text}\n---\n# {text}\x01\n{text}"),
    "no front matter": lambda text: Skill.parse("x", f"---\n{text}"),
    "heading": lambda text: Skill.parse("x", f"#  {text}\x01\n## x{text}#"),
    "tools": lambda text: Skill.parse("x", f"---\ndescription: x\nallowed-tools: {text}\n---\n"),
    "commit": lambda text: parse_commit(
        "0" * 40, f"tree {'0' * 40}\nauthor {text}\ncommitter {text}\n\n{text}".encode()
    ),
}
UNITS = ["a", " ", "\t", "#", "-", "a.", "a-", '"', '\\"', "\\", "[", "{", "(", "<", "> ", "a: ", ": ", "@", "/",
         "%", "- ", "? ", "&a ", "*a ", "|", "`", "\r", "a=b; ", "=", "//", "//a@", "llmos_", "\n", "\n ",
         "]", "x,"]  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
def test_what_people_write_is_read_in_linear_time(name: str) -> None:
    slow = [
        (unit, end)
        for unit in UNITS
        for end in ("", "\x01")
        if not is_linear(lambda n, unit=unit, end=end: WAYS[name](unit * (2 * n) + end))
    ]
    assert slow == []


# Every pattern of ours

WINDOWED = ("llmos_lite.core.traces.redaction.",)
"""Their patterns are bounded and begin where a prefilter points, and have tests of their own."""
SAMPLE = ["a", "A", "1", " ", "\n", "#", "-", "_", ".", "/", "<", "[", "(", "{", '"', "'", ":", "=", "@", "\\", "`",
          "&", "a ", "a.", "a-", "1.", "# ", ": ", "A=a ", "a: ", "\n ", "- ", "a\n", "a,"]  # fmt: skip


@dataclass(frozen=True)
class Ours:
    """A pattern, and whether it is looked for anywhere in a text; else it is held against the beginning alone."""

    pattern: re.Pattern[Any]
    anywhere: bool

    def tried(self, text: str) -> None:
        given = text if isinstance(self.pattern.pattern, str) else text.encode()
        if self.anywhere:
            for _ in self.pattern.finditer(given):
                pass
        else:
            self.pattern.match(given)
            self.pattern.fullmatch(given)


def patterns() -> Iterator[tuple[str, Ours]]:
    """Yield every pattern that a module of ours keeps."""
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(llmos_lite.__path__, "llmos_lite.")
        if not (".migrations" in found.name or found.name.endswith("__main__") or found.name.startswith(WINDOWED))
    ]
    for module in modules:
        if str(module.__file__).endswith(tuple(EXTENSION_SUFFIXES)):  # it is C
            continue
        source = inspect.getsource(module)
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                yield f"{module.__name__}.{name}", Ours(value, bool(re.search(rf"\b{name}\.{ANYWHERE}", source)))


OWN = {"llmos_lite.engines.git_level._LINE"}
"""Reads what git has checked before."""
ANYWHERE = r"(?:search|sub|subn|finditer|findall|split)\b"
ALL = {name: ours for name, ours in patterns() if name not in OWN}


def test_there_are_patterns() -> None:
    assert len(ALL) > 60


def words(source: str) -> list[str]:
    """Return what a pattern is literally about, so that a text gets past its beginning."""
    return re.findall(r"[A-Za-z<>\"/_-]{3,}", source)[:4]


@pytest.mark.parametrize("name", ALL)
def test_every_pattern_takes_linear_time(name: str) -> None:
    ours = ALL[name]
    source = str(ours.pattern.pattern)
    lead = ["", "# ", "a: ", *words(source)]
    slow = [
        (before, unit)
        for unit in [*SAMPLE, *words(source)]
        for before in lead
        if not is_linear(lambda n, unit=unit, before=before: ours.tried(before + unit * n + "\x01"))
    ]
    assert slow == []
