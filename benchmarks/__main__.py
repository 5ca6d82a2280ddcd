"""`python -m benchmarks [--markdown] [NAME…]`: run the benchmarks and print one table."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import platform
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import benchmarks
from benchmarks import Row

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
START, END = "<!-- figures: start -->\n", "<!-- figures: end -->\n"
HEADER = ("what", "ours", "reference", "ratio", "unit", "target", "")


def names() -> list[str]:
    """Return the benchmark modules, those that start with `_` aside."""
    found = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    return sorted(name for name in found if not name.startswith("_"))


def measure(name: str) -> list[Row]:
    """Run one module and return its rows; none when it has no `run`."""
    run = getattr(importlib.import_module(f"benchmarks.{name}"), "run", None)
    return list(run()) if run else []


def machine() -> str:
    """Describe where and when: the date, the system, its processors and its Python."""
    cores = os.cpu_count()
    load = os.getloadavg()[0]
    return (
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, {platform.system()} {platform.machine()}, {cores} cores, "
        f"Python {platform.python_version()}, load {load:.1f} at the start"
    )


def number(value: float | None) -> str:
    """Write a number with three digits that mean something."""
    if value is None:
        return ""
    if value and abs(value) < 0.01:
        return f"{value:.1g}"
    digits = max(0, 2 - len(str(int(abs(value)))) + 1)
    return f"{value:,.{digits}f}"


def cells(row: Row) -> tuple[str, ...]:
    """Return the cells of one line."""
    verdict = {True: "ok", False: "MISSED", None: ""}[row.met]
    times = f"{number(row.times)}x" if row.times is not None else ""
    return (row.name, number(row.value), number(row.reference), times, row.unit, row.target, verdict)


def text_table(rows: Sequence[Row]) -> str:
    """Return the table for a terminal."""
    lines = [HEADER, *map(cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    aligned = (
        [
            cell.rjust(width) if 0 < column < 4 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    )
    return "\n".join("  ".join(line).rstrip() for line in aligned)


def markdown_table(rows: Sequence[Row]) -> str:
    """Return the table for the page in the docs."""
    lines = [HEADER, ("---", "---:", "---:", "---:", "---", "---", "---"), *map(cells, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def write_page(rows: Sequence[Row], where: str) -> None:
    """Replace the figures in `docs/benchmarks.md`."""
    head, _, rest = PAGE.read_text().partition(START)
    tail = rest.partition(END)[2]
    PAGE.write_text(f"{head}{START}\nTaken {where}.\n\n{markdown_table(rows)}\n{END}{tail}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 when a benchmark broke or a target was missed."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(names())}")
    parser.add_argument("--markdown", action="store_true", help="also write docs/benchmarks.md")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(names()):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    where, rows, broken = machine(), [], []
    for name in options.names or names():
        print(f"... {name}", file=sys.stderr, flush=True)
        try:
            rows += measure(name)
        except Exception:  # noqa: BLE001 - one broken benchmark must not hide the figures of the others
            broken.append(name)
            traceback.print_exc()
    print(f"{where}\n\n{text_table(rows)}")
    if options.markdown and not broken:
        write_page(rows, where)
    return 1 if broken or any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
