"""What people and programs see: tables and sentences, or JSON; progress on the side."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from llmos_lite.errors import LlmosError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
WIDE = 240
_COLOURS = (("---", "\x1b[1m"), ("+++", "\x1b[1m"), ("@@", "\x1b[36m"), ("-", "\x1b[31m"), ("+", "\x1b[32m"))
_PLAIN = "\x1b[0m"
KIB = 1024

Step = Callable[[int, int], None]
"""Tells how far something is: done, in all."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where a command writes.

    Args:
        as_json: JSON for programs instead of tables for people.
    """

    as_json: bool = False

    def show(self, data: object, render: Callable[[], None]) -> None:
        """Write `data` as JSON, or let `render` write it for people."""
        if self.as_json:
            sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
        else:
            render()

    def say(self, *lines: str) -> None:
        """Write lines for people."""
        for line in lines:
            sys.stdout.write(printable(line) + "\n")

    def note(self, line: str) -> None:
        """Write a line about the work on the error stream, for people only."""
        if not self.as_json:
            sys.stderr.write(printable(line) + "\n")

    def diff(self, text: str) -> None:
        """Write a unified diff, in colours on a terminal."""
        colours = _COLOURS if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else ()
        for line in text.removesuffix("\n").split("\n"):  # a return begins no line: what follows is no context
            colour = next((code for start, code in colours if line.startswith(start)), "")
            sys.stdout.write(f"{colour}{printable(line)}{_PLAIN if colour else ''}\n")

    def write(self, text: str) -> None:
        """Write a piece of a stream at once."""
        sys.stdout.write(printable(text))
        sys.stdout.flush()

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
        """Write a table, or the sentence `empty` when it would have no rows."""
        found = [[printable(str(cell)) for cell in row] for row in rows]
        if not found:
            self.say(empty)
            return
        from rich.table import Table  # noqa: PLC0415 - slow to load

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in found:
            table.add_row(*(_plain(cell) for cell in row))
        console = _console()
        with console.capture() as written:
            console.print(table)
        text = written.get()
        sys.stdout.write(text if console.is_terminal else "".join(f"{line.rstrip()}\n" for line in text.splitlines()))

    @contextmanager
    def progress(self, label: str) -> Iterator[Step]:
        """Show a bar on the error stream while something long goes on; only on a terminal."""
        if not sys.stderr.isatty():
            yield lambda done, total: None  # noqa: ARG005 - nobody looks
            return
        from rich.console import Console  # noqa: PLC0415 - slow to load
        from rich.progress import Progress  # noqa: PLC0415 - slow to load

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(label, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total or None)


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415 - slow to load

    return Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)


def _plain(cell: str) -> Text:
    from rich.text import Text  # noqa: PLC0415 - slow to load

    return Text(cell)


def printable(text: str) -> str:
    """Return text that cannot steer the terminal: control characters become a mark."""
    return CONTROL.sub("\ufffd", text)


def one_line(text: object, length: int = 72) -> str:
    """Return a text as one line of at most `length` characters."""
    line = " ".join(str(text or "").split())
    return line if len(line) <= length else line[: length - 1] + "…"


def when(at: object) -> str:
    """Return a time in ms since the epoch as people write it, in the time zone of this machine."""
    if not isinstance(at, int | float) or not at:
        return ""
    return datetime.fromtimestamp(at / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def size(count: object) -> str:
    """Return a number of bytes as people write it."""
    value = float(count) if isinstance(count, int | float) else 0.0
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < KIB:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= KIB
    return f"{value:.1f} TiB"


def report(error: LlmosError, *, as_json: bool) -> None:
    """Say on the error stream what went wrong and what to do."""
    if as_json:
        sys.stderr.write(json.dumps(error.problem(), ensure_ascii=False) + "\n")
        return
    sys.stderr.write(f"llmos: {printable(error.message)}\n")
    if error.hint:
        sys.stderr.write(f"       {printable(error.hint)}\n")


def held_note(skill: Mapping[str, object]) -> str:
    """Return why a scanner holds a skill back, as a note beside it; empty for one that may be used."""
    codes = skill.get("held_for")
    return f"held back: {', '.join(map(str, codes))}" if isinstance(codes, list) and codes else ""
