"""What differs between two contents of a file, by libgit2: quick, and as `git diff` and `git blame` see it."""

from __future__ import annotations

from typing import NamedTuple

import pygit2
from pygit2.enums import DiffOption

_NUL_WITHIN = 8000
"""Bytes at whose beginning a file with a NUL is no text, as Git has it."""


class Patch(NamedTuple):
    """A unified diff of one file; `text` says of a binary file only that it differs."""

    text: str
    binary: bool
    added: int
    removed: int


class Same(NamedTuple):
    """Lines that two contents share: where they begin in each (from 0), and how many."""

    old: int
    new: int
    size: int


def is_binary(data: bytes) -> bool:
    """Tell whether Git takes a content as no text."""
    return b"\0" in data[:_NUL_WITHIN]


def unified(old: bytes | None, new: bytes | None, old_path: str, new_path: str) -> Patch:
    """Return the diff of two contents; None is no file."""
    made = pygit2.Patch.create_from(
        old, new, old_as_path=old_path, new_as_path=new_path, flag=DiffOption.INDENT_HEURISTIC
    )
    _, added, removed = made.line_stats
    return Patch(made.data.decode("utf-8", "replace"), bool(made.delta.is_binary), added, removed)


def lines_of(data: bytes) -> list[bytes]:
    """Split a content as Git does: at line feeds only."""
    lines = data.split(b"\n")
    return lines[:-1] if lines[-1] == b"" else lines


def shared(old: bytes, new: bytes) -> list[Same]:
    """Return the lines that stayed from one content to the next."""
    made = pygit2.Patch.create_from(
        old, new, context_lines=0, interhunk_lines=0, flag=DiffOption.INDENT_HEURISTIC | DiffOption.FORCE_TEXT
    )
    found, at_old, at_new = list[Same](), 0, 0
    for hunk in made.hunks:
        # a hunk without lines on one side names the line before it there
        start = hunk.new_start - 1 if hunk.new_lines else hunk.new_start
        if start > at_new:
            found.append(Same(at_old, at_new, start - at_new))
        at_old = hunk.old_start - 1 + hunk.old_lines if hunk.old_lines else hunk.old_start
        at_new = start + hunk.new_lines
    rest = len(lines_of(new)) - at_new
    return [*found, Same(at_old, at_new, rest)] if rest > 0 else found
