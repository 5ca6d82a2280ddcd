"""The system's run: skills of teams that many people use travel up, by commit or by proposal."""

from __future__ import annotations

import asyncio
from typing import Protocol

from llmos_lite.core.evolution.publishing import AUTHOR, EVOLUTION, branch_of, proposal, publish_promotion
from llmos_lite.core.evolution.report import Action, Detail, EvolutionReport, Tell
from llmos_lite.errors import LlmosError
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.catalog_skills import SkillUsage
from llmos_lite.records.proposals import ProposalRows, Wanted
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import SYSTEM, SYSTEM_CRON, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

LEAST_USERS = 3
"""People who used it; in a smaller team all of them, two at least."""
FEWEST_USERS = 2
MOST_CLOSED = 1_000


class Teams(Protocol):
    """Who is in a team."""

    async def member_ids(self, team_id: str) -> frozenset[str]:
        """Return the members of a team."""


async def review_team_skills(
    volumes: VolumeManager,
    catalog: Catalog,
    proposals: ProposalRows,
    *,
    teams: Teams,
    settings: Settings,
    tell: Tell,
) -> EvolutionReport:
    """Review every skill of a team that was used, the most used first.

    Args:
        volumes: where the skills are; read and written as the system cron.
        catalog: knows which skills were used.
        proposals: gets a row where the system's policy asks for a review.
        teams: tells how many people a team has.
        settings: thresholds.
        tell: hears how far it is.
    """
    usages = await catalog.skills.usage()
    review = _Review(volumes, proposals, settings, await _refused(proposals))
    details: list[Detail] = []
    for place, usage in enumerate(usages):
        await tell("reviewing", place, len(usages))
        members = await teams.member_ids(VolumeRef.parse(usage.volume).id)
        action, reason = await review.decide(usage, max(FEWEST_USERS, min(LEAST_USERS, len(members))))
        details.append(_detail(usage, action, reason))
    return EvolutionReport.of("system", sum(usage.uses for usage in usages), details)


async def _refused(proposals: ProposalRows) -> dict[tuple[str, str], int]:
    """Return when proposals of evolution to the system were closed, by (source, skill), in milliseconds."""
    rows = await proposals.page(Wanted(author=EVOLUTION, state="closed"), limit=MOST_CLOSED)
    return {(row.source, row.skill_id): row.decided for row in reversed(rows.items) if row.target == str(SYSTEM)}


class _Review:
    def __init__(
        self,
        volumes: VolumeManager,
        proposals: ProposalRows,
        settings: Settings,
        refused: dict[tuple[str, str], int],
    ) -> None:
        self._volumes, self._proposals, self._settings, self._refused = volumes, proposals, settings, refused

    async def decide(self, usage: SkillUsage, users: int) -> tuple[Action, str]:
        """Return what is done about one skill, and why nothing."""
        reason = self._too_little(usage, users)
        if reason:
            return Action.SKIPPED, reason
        return await self._offer(usage, VolumeRef.parse(usage.volume))

    def _too_little(self, usage: SkillUsage, users: int) -> str:
        least = self._settings.min_team_pattern_count
        if usage.uses < least:
            return f"used {usage.uses} time{'s' * (usage.uses != 1)}; {least} are needed"
        if usage.users < users:
            return f"used by {usage.users} people; {users} are needed"
        rate = 1 - usage.failures / usage.uses
        if rate < self._settings.min_success_rate:
            return f"success rate {rate:.0%}, below {self._settings.min_success_rate:.0%}"
        return ""

    async def _offer(self, usage: SkillUsage, source: VolumeRef) -> tuple[Action, str]:
        target = await asyncio.to_thread(self._volumes.open, SYSTEM_CRON, SYSTEM, write=True)
        obstacle = await asyncio.to_thread(self._obstacle, usage, source, target)
        if obstacle:
            return Action.SKIPPED, obstacle
        reason = f"used {usage.uses} times by {usage.users} people of {source}"
        _, waits = await asyncio.to_thread(publish_promotion, self._volumes, usage, target, reason)
        if not waits:
            return Action.PROMOTED, reason
        await self._proposals.put(await asyncio.to_thread(proposal, source, target, usage.skill_id, reason))
        return Action.PROPOSED, reason

    def _obstacle(self, usage: SkillUsage, source: VolumeRef, target: GitVolume) -> str:
        """Return why a skill that is used enough is not offered; empty when it is."""
        if not self._volumes.exists(source):
            return "its team has no volume any more"
        origin = self._volumes.open(SYSTEM_CRON, source)
        mine = origin.skill_entry(usage.skill_id)
        if mine is None:
            return "the team has deleted it"
        if branch_of(usage.skill_id) in target.branches():
            return "its proposal waits for a review"
        if target.skill_entry(usage.skill_id) is not None:
            return self._rival(usage, source, target)
        last = origin.get_git_log(1, skill_id=usage.skill_id)
        refused = self._refused.get((usage.volume, usage.skill_id), 0)
        if last and refused >= last[0].time:
            return "its proposal was refused, and it has not changed since"
        return ""

    def _rival(self, usage: SkillUsage, source: VolumeRef, target: GitVolume) -> str:
        """Return why a skill whose name the system knows is not offered; empty for a newer version of it."""
        try:
            if target.read_skill(usage.skill_id) == self._volumes.open(SYSTEM_CRON, source).read_skill(usage.skill_id):
                return "the system has it already"
        except LlmosError as error:
            return error.message
        last = target.get_git_log(1, skill_id=usage.skill_id)
        ours = last and last[0].author == AUTHOR.name and f" from {source} " in last[0].subject
        return "" if ours else "the system has another skill of this name"


def _detail(usage: SkillUsage, action: Action, reason: str) -> Detail:
    return Detail(
        pattern_id="",
        goal=f"{usage.skill_id} of {usage.volume}",
        count=usage.uses,
        users=usage.users,
        success_rate=round(1 - usage.failures / usage.uses, 4),
        action=action,
        skill_id=usage.skill_id,
        reason=reason,
        volume=str(SYSTEM),
    )
