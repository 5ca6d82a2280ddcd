"""A skill as a model gets it that asked for it by name: its text, and what else lies in its folder."""

from __future__ import annotations

import html
from collections.abc import Iterable

from llmos_lite.core.skills.format import Skill

_END = "</skill_content"


def activation(skill: Skill, folder: str, files: Iterable[str]) -> str:
    """Return the block that the client guide of the standard describes.

    Args:
        skill: the skill.
        folder: its address, against which the paths in its text resolve.
        files: paths of its further files; they are named, not read.
    """
    named = {"name": skill.skill_id, "version": skill.version, "volume": skill.volume}
    attributes = " ".join(f'{key}="{html.escape(value)}"' for key, value in named.items() if value)
    body = skill.body.strip().replace(_END, "<\\/skill_content")
    listed = "".join(f"\n  <file>{html.escape(path, quote=False)}</file>" for path in files)
    resources = f"\n<skill_resources>{listed}\n</skill_resources>" if listed else ""
    return f"<skill_content {attributes}>\n{body}\n\nSkill directory: {folder}{resources}\n{_END}>"
