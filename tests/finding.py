"""What finds the skills of a person, for readers of logs."""

from __future__ import annotations

from llmos_lite.core.traces.importers.base import Find, Known
from llmos_lite.core.traces.trace import SkillUse


def finding(*uses: SkillUse, held: bool = False) -> Find:
    """Find these skills; `held` says that a scanner holds them back."""

    def find(skill_id: str, volume: str = "") -> Known | None:
        found = (use for use in uses if use.skill_id == skill_id and volume in {"", use.volume})
        return next((Known(use, held) for use in found), None)

    return find
