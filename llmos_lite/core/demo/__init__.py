"""An example team, for `llmos serve --demo`: people, teams, skills, four weeks of traces, evolution and a proposal.

Nobody in it exists, and it says so: users are called `demo-…`, names begin with `Example:`, titles of skills end with
"(example data)", and the file `<data>/demo` marks the folder for good.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from contextlib import suppress
from importlib.resources import files
from typing import Any, Protocol

from llmos_lite.core.accounts.accounts import ADMIN, Accounts
from llmos_lite.core.accounts.permissions import EVERYTHING, Actor, Role
from llmos_lite.core.demo.story import Cast, load, tell
from llmos_lite.core.evolution.service import Evolution
from llmos_lite.core.proposals.service import Proposals
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.install import Package, install
from llmos_lite.core.traces.digest import digest_of
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.trace import Feedback, Outcome, SkillUse, Trace, now_ms
from llmos_lite.core.volumes import Volumes
from llmos_lite.engines.folder import DEMO, write_private
from llmos_lite.errors import Conflict
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.git_volume import author_of
from llmos_lite.volumes.manager import VolumeManager

__all__ = ["Stage", "fill"]

NOTED = 12
NOTES = {Outcome.SUCCESS: ("up", "Used it as it was."), Outcome.FAILURE: ("down", "Not what I asked for.")}
EVOLVED = ("demo-chloe", "demo-dev", "demo-finn")
LONGEST = 60.0
"""Seconds to wait for the evolution; it goes on by itself afterwards."""


class Stage(Protocol):
    """What of an instance the story is played on; `bootstrap.Services` is one."""

    @property
    def settings(self) -> Settings:
        """Return the settings."""

    @property
    def accounts(self) -> Accounts:
        """Return people and teams."""

    @property
    def volumes(self) -> VolumeManager:
        """Return the volumes."""

    @property
    def views(self) -> Volumes:
        """Return what sets a volume's policy."""

    @property
    def traces(self) -> TraceLog:
        """Return the log of traces."""

    @property
    def evolution(self) -> Evolution:
        """Return evolution."""

    @property
    def proposals(self) -> Proposals:
        """Return the proposals."""


async def fill(stage: Stage) -> bool:
    """Fill a fresh data folder; go on where a broken-off filling ended; False when there is nothing left to do.

    Raises:
        Conflict: `demo.not_fresh`, for a folder with people in it.
    """
    mark = await _mark(stage)
    if mark["done"]:
        return False
    await _Filling(stage, mark["now"]).run()
    write_private(stage.settings.data / DEMO, json.dumps(mark | {"done": True}) + "\n")
    return True


async def _mark(stage: Stage) -> dict[str, Any]:
    """Return the mark of the folder, made when it is fresh; `now` is the day that the story ends before."""
    path = stage.settings.data / DEMO
    if await asyncio.to_thread(path.exists):
        found: dict[str, Any] = json.loads(await asyncio.to_thread(path.read_text))
        return found
    if set(await stage.accounts.everybody()) - {ADMIN} or await stage.accounts.all_teams():
        raise Conflict(
            "demo.not_fresh",
            f"The data folder {stage.settings.data} has people in it; the example team needs a fresh one.",
            hint="Name another folder with --data, or leave out --demo.",
        )
    made = {"now": now_ms(), "done": False}
    write_private(path, json.dumps(made) + "\n")
    return made


class _Filling:
    """One filling; every step may be done again."""

    def __init__(self, stage: Stage, now: int) -> None:
        self._stage, self._now = stage, now
        self._team: dict[str, Any] = load("team.yaml")
        self._admin = Actor(ADMIN, Role.SYSTEM_ADMIN, scopes=EVERYTHING, credential="demo")

    async def run(self) -> None:
        await self._people()
        skills = await asyncio.to_thread(self._skills)
        await self._work(skills)
        await self._promise()
        await self._evolve()

    async def _people(self) -> None:
        accounts = self._stage.accounts
        for user_id, name in self._team["users"].items():
            with suppress(Conflict):
                await accounts.create_user(self._admin, user_id, name=f"Example: {name}")
        for team_id, team in self._team["teams"].items():
            with suppress(Conflict):
                await accounts.create_team(self._admin, team_id, f"Example: {team['name']}")
            for user_id, role in team["members"].items():
                await accounts.set_member(self._admin, team_id, user_id, Role(role))
            ref = VolumeRef.team(team_id)
            await asyncio.to_thread(self._stage.volumes.create, ref)
            await self._stage.views.set_policy(self._admin, ref, review=team["review"])

    def _skills(self) -> dict[str, SkillUse]:
        """Write the team's skills; return them as traces name them."""
        used: dict[str, SkillUse] = {}
        for item in self._team["skills"]:
            name, ref = item["file"], VolumeRef.parse(item["volume"])
            content = files("llmos_lite.core.demo").joinpath("skills", f"{name}.md").read_bytes()
            volume = self._stage.volumes.open(PLATFORM, ref, write=True)
            done = install(volume, [Package(name, content)], author_of(item["author"]), replace=False)[0]
            used[name] = SkillUse(name, Skill.parse(name, content).name, str(ref), done.version, 0.8)
        return used

    async def _work(self, skills: dict[str, SkillUse]) -> None:
        """Store the traces of everybody, and what their teams see of them."""
        teams = {user: team_id for team_id, team in self._team["teams"].items() for user in team["members"]}
        traces = await asyncio.to_thread(tell, self._now, Cast(teams, skills))
        shared = [digest for trace in traces if (digest := digest_of(trace)) is not None]
        by_volume: defaultdict[str, list[Trace]] = defaultdict(list)
        for trace in [*traces, *shared]:
            by_volume[trace.volume].append(trace)
        for volume, some in by_volume.items():
            await self._stage.traces.store_many(VolumeRef.parse(volume), some)
        rated = [trace for trace in traces if trace.outcome in NOTES]
        for trace in rated[:: max(1, len(rated) // NOTED)]:
            rating, note = NOTES[trace.outcome]
            actor = await self._stage.accounts.actor(trace.actor)
            await self._stage.traces.feedback(actor, trace.id, Feedback(rating, note))  # type: ignore[arg-type]  # up or down

    async def _promise(self) -> None:
        """Promote a skill to a team that reviews, so that a proposal is open."""
        given = self._team["promote"]
        actor = await self._stage.accounts.actor(given["by"])
        team = VolumeRef.team(given["team"])
        with suppress(Conflict):
            await self._stage.proposals.promote(actor, given["skill"], team, given["reason"])

    async def _evolve(self) -> None:
        """Let the night's evolution run for some, and the week's for a team."""
        evolution = self._stage.evolution
        runs = [evolution.run(await self._stage.accounts.actor(user), timeout=LONGEST) for user in EVOLVED]
        team = next(iter(self._team["teams"]))
        runs.append(evolution.run(self._admin, "team", team, timeout=LONGEST))
        await asyncio.gather(*runs)
