"""Why a skill was found, and why it would not be used, as the API shows it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from llmos_lite.core.skills.explain import Explanation

EXAMPLE = {
    "total": 7.31,
    "fields": {"name": {}, "header": {"queri": 3.2, "slow": 2.9}, "body": {"slow": 1.21}},
    "pairs": 0.0,
    "asked": 0.0,
    "meaning": 0.0,
    "missing": ["tuesday"],
    "coverage": 0.64,
    "header": 0.64,
    "cut": 3.65,
    "evidence": {"score": 1.99, "header": 1.34, "terms": 0.83, "named": 0, "whole": 0, "library": -0.77, "sum": 3.39},
    "needed": 3.5,
    "used": True,
    "code": "",
    "reason": "",
    "by": "",
}


class ExplanationOut(BaseModel):
    """Why a hit would be put into a context, or not.

    The points of `fields` (stemmed words of the query by `name`, `header` and `body`), `pairs` (neighbouring words),
    `asked` (what was asked where it helped) and `meaning` (what it means, with an embedder) add up to `total`, but for
    rounding. `cut` is the score that a hit needs beside the best one; null when none is used, as when no sum of
    `evidence` among the first three reaches `needed`.
    """

    model_config = ConfigDict(from_attributes=True)
    total: float
    fields: dict[str, dict[str, float]]
    pairs: float
    asked: float
    meaning: float
    missing: list[str]
    coverage: float
    header: float
    cut: float | None
    evidence: dict[str, float]
    needed: float
    used: bool
    code: Literal["", "shadowed", "repeats", "side_request", "too_little", "below_cut", "unsafe", "broken"]
    reason: str
    by: str

    @classmethod
    def of(cls, explanation: Explanation | None) -> ExplanationOut | None:
        """Show an explanation, when there is one."""
        return None if explanation is None else cls.model_validate(explanation)
