"""What a run did, and for each pattern that it left alone, why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TypeAlias

import msgspec

Tell: TypeAlias = Callable[[str, int, int], Awaitable[None]]
"""Called with a stage and how much of it is done: stage, done, total."""


class Action(StrEnum):
    """What was done about a pattern or a skill."""

    CREATED = "created"
    UPDATED = "updated"
    PROPOSED = "proposed"
    PROMOTED = "promoted"
    SKIPPED = "skipped"


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """One pattern (or, in a system run, one team's skill) and what became of it."""

    pattern_id: str
    goal: str
    count: int
    users: int
    success_rate: float
    action: Action = Action.SKIPPED
    skill_id: str = ""
    reason: str = ""
    volume: str = ""


class EvolutionReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did; `patterns_detected` counts those with enough conversations to be considered."""

    scope: str
    traces_analyzed: int = 0
    patterns_detected: int = 0
    skills_created: int = 0
    skills_updated: int = 0
    proposed: int = 0
    skipped: int = 0
    details: list[Detail] = []

    @classmethod
    def of(cls, scope: str, traces: int, details: list[Detail]) -> EvolutionReport:
        """Count what the details say; several patterns of one skill count once."""

        def skills(*actions: Action) -> int:
            return len({(detail.volume, detail.skill_id) for detail in details if detail.action in actions})

        return cls(
            scope=scope,
            traces_analyzed=traces,
            patterns_detected=len(details),
            skills_created=skills(Action.CREATED, Action.PROMOTED),
            skills_updated=skills(Action.UPDATED),
            proposed=skills(Action.PROPOSED),
            skipped=sum(detail.action is Action.SKIPPED for detail in details),
            details=details,
        )

    def joined(self, other: EvolutionReport) -> EvolutionReport:
        """Return both as one, for a run over many volumes."""
        return EvolutionReport.of(
            self.scope, self.traces_analyzed + other.traces_analyzed, [*self.details, *other.details]
        )
