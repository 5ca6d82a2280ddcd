"""Four weeks of the example team's work, made from `goals.yaml`: always the same, at times that end yesterday."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import yaml

from llmos_lite.core.traces.trace import (
    Ended,
    Exposure,
    Message,
    Outcome,
    Share,
    SkillUse,
    ToolCall,
    Trace,
    make_ulid,
)
from llmos_lite.volumes.access import VolumeRef

SEED = 20_261_122
DAYS = 28
CONVERSATIONS = 20
"""Conversations of one goal in the four weeks."""
RATED = 0.35
FOLLOWED_UP = 0.4
BROKEN = 0.03
SKILL_DAY = 10
"""Day from which the skill that helps with a goal is there."""
MODEL = "example-model"
SOURCE = "demo"
MINUTE = 60_000


def load(name: str) -> Any:  # noqa: ANN401 - as YAML has it
    """Return one of the package's YAML files."""
    return yaml.safe_load(files("llmos_lite.core.demo").joinpath(name).read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays.

    Args:
        teams: the team of each person.
        skills: the skills that are in use, by id.
    """

    teams: Mapping[str, str]
    skills: Mapping[str, SkillUse]


def tell(now: int, cast: Cast) -> list[Trace]:
    """Return the traces of four weeks before the day of `now` (ms since the epoch), in order of time."""
    chance = random.Random(SEED)  # noqa: S311 - a story, no secret
    today = datetime.fromtimestamp(now / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    traces: list[Trace] = []
    for number, goal in enumerate(load("goals.yaml")):
        wordings = goal["wordings"]
        count = len(wordings) if goal.get("once") else CONVERSATIONS
        for index in range(count):
            traces.extend(_Conversation(goal, f"demo-{number:02d}-{index:02d}", index, chance).play(today, cast))
    return sorted(traces, key=lambda trace: trace.id)


class _Conversation:
    """One conversation about one goal."""

    def __init__(self, goal: Mapping[str, Any], name: str, index: int, chance: random.Random) -> None:
        self._goal, self._name, self._chance = goal, name, chance
        self._who: str = chance.choice(goal["who"])
        self._filled = {key: chance.choice(values) for key, values in goal.get("fill", {}).items()}
        wordings = goal["wordings"]
        self._wording: str = wordings[index % len(wordings)]
        self._day = chance.randrange(DAYS)
        self._works = chance.random() < goal["success"]
        self._rated = chance.random() < RATED
        self._broke = chance.random() < BROKEN
        self._goes_on = chance.random() < FOLLOWED_UP or not self._works

    def play(self, today: datetime, cast: Cast) -> Iterator[Trace]:
        at = self._begin(today)
        asked = [self._wording]
        if self._goes_on and self._goal.get("follow_ups"):
            asked.append(self._chance.choice(self._goal["follow_ups"]))
        parent = ""
        for turn, text in enumerate(asked):
            trace = self._turn(self._fill(text), at, parent, turn, last=turn == len(asked) - 1, cast=cast)
            yield trace
            parent, at = trace.id, at + self._chance.randrange(2, 9) * MINUTE

    def _begin(self, today: datetime) -> int:
        moment = today - timedelta(days=DAYS - self._day)
        if moment.weekday() > 4:  # noqa: PLR2004 - Saturday and Sunday
            moment -= timedelta(days=2)
        moment += timedelta(hours=self._chance.randrange(8, 18), seconds=self._chance.randrange(3600))
        return int(moment.timestamp() * 1000)

    def _fill(self, text: str) -> str:
        for key, value in self._filled.items():
            text = text.replace("{" + key + "}", value)
        return text

    def _turn(self, asked: str, at: int, parent: str, turn: int, *, last: bool, cast: Cast) -> Trace:
        answer = self._fill(self._goal["answer"]).strip()
        broke = last and self._broke
        used = self._skill(cast)
        return Trace(
            id=make_ulid(at, f"{self._name} {turn}"),
            actor=self._who,
            volume=str(VolumeRef.user(self._who)),
            conversation=self._name,
            parent=parent,
            time=at,
            goal=asked,
            messages=(Message("user", asked), *([] if broke else [Message("assistant", answer)])),
            tool_calls=tuple(self._calls()) if turn == 0 else (),
            model=MODEL,
            tokens_in=350 + len(asked) // 4 + 400 * len(used),
            tokens_out=0 if broke else len(answer) // 4,
            latency_ms=self._chance.randrange(900, 6000),
            ended=Ended.ERROR if broke else Ended.COMPLETE,
            error="The model did not answer in time." if broke else "",
            skills_used=used,
            exposures=tuple(Exposure(skill.volume, skill.skill_id, skill.version, score=skill.score) for skill in used),
            source=SOURCE,
            team=cast.teams[self._who],
            share=Share.DIGEST,
            **self._outcome(last=last),
        )

    def _outcome(self, *, last: bool) -> dict[str, Any]:
        if not (last and self._rated):
            return {}
        return {"outcome": Outcome.SUCCESS if self._works else Outcome.FAILURE, "outcome_sources": ("feedback",)}

    def _skill(self, cast: Cast) -> tuple[SkillUse, ...]:
        used = cast.skills.get(self._goal.get("skill", ""))
        mine = used is not None and used.volume in {f"user:{self._who}", f"team:{cast.teams[self._who]}"}
        return (used,) if used is not None and mine and self._day >= SKILL_DAY else ()

    def _calls(self) -> Iterator[ToolCall]:
        for name, arguments, result in self._goal.get("tools", []):
            yield ToolCall(name, self._fill(arguments), self._fill(result), id=f"{self._name}-call")
