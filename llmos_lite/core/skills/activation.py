"""What a model reads below the text of a skill that it asked for by name: where its folder is, and what lies in it."""

from __future__ import annotations

import html
from collections.abc import Sequence

MOST_FILES = 40
"""Files of a folder that are listed."""


def resources(paths: Sequence[str], folder: str = "", *, most: int = MOST_FILES) -> str:
    """Return the list of a folder's files, as the client guide of the standard describes it; nothing for none.

    Args:
        paths: of the further files; they are named, not read.
        folder: its address, against which the paths in the text resolve; empty where it has none.
        most: that are listed.
    """
    lines = [f"<file>{html.escape(path, quote=False)}</file>" for path in paths[:most]]
    more = [f"<!-- and {len(paths) - most} more -->"] if len(paths) > most else []
    listed = ["<skill_resources>", *lines, *more, "</skill_resources>"] if paths else []
    said = "\n".join([*([f"Skill directory: {folder}"] if folder else []), *listed])
    return f"\n\n{said}" if said else ""
