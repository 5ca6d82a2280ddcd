"""The starter skills that a new system volume holds, so that the first chat already has something to use."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[2] / "starter_skills"


def starter_skills() -> dict[str, str]:
    """Return the text of each starter skill's `SKILL.md`, by skill id."""
    return {path.parent.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*/SKILL.md"))}
