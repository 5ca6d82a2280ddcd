"""`EvolutionCron`: the seed's three runs, each with the rights that the seed's table gives its cron."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llmos_lite.core.evolution.generator import SkillGenerator
from llmos_lite.core.evolution.night import Gate, Night
from llmos_lite.core.evolution.patterns import PatternDetector
from llmos_lite.core.evolution.publishing import Publisher
from llmos_lite.core.evolution.reading import TraceSource, read_conversations
from llmos_lite.core.evolution.report import EvolutionReport, Tell
from llmos_lite.core.evolution.review import review_team_skills
from llmos_lite.core.runs import no_progress
from llmos_lite.core.skills.format import Skill
from llmos_lite.engines.embedder import Embedder
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.proposals import ProposalRows
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import SYSTEM_CRON, Principal, PrincipalKind, VolumeKind, VolumeRef
from llmos_lite.volumes.manager import VolumeManager

LEAST = 3
"""Conversations that the detector calls a pattern, whatever a scope's threshold for a skill is."""
TEAM_USERS = 2
"""People whose conversations a team's pattern needs: one person's habit is no pattern of a team."""


class People(Protocol):
    """Who is in which team; `core.accounts.Accounts` is one."""

    async def member_ids(self, team_id: str) -> frozenset[str]:
        """Return the members of a team."""

    async def all_teams(self) -> list[str]:
        """Return every team."""


@dataclass(frozen=True, slots=True)
class EvolutionCron:
    """Analyses traces and turns patterns into skills.

    Args:
        volumes: where skills are written.
        catalog: rows of traces, patterns and skills.
        source: where the text of traces is read; folded ones are enough.
        people: who is in which team.
        proposals: rows of proposals.
        settings: thresholds.
        detector: groups the goals.
        generator: writes the drafts.
    """

    volumes: VolumeManager
    catalog: Catalog
    source: TraceSource
    people: People
    proposals: ProposalRows
    settings: Settings
    detector: PatternDetector
    generator: SkillGenerator

    async def run_user_evolution(self, user_id: str, tell: Tell = no_progress) -> EvolutionReport:
        """Draft skills from a person's conversations into the person's volume, as the system cron."""
        ref = VolumeRef.user(user_id)
        teams = [team for team in await self.people.all_teams() if user_id in await self.people.member_ids(team)]
        refs = [VolumeRef.team(team) for team in teams]
        others = await asyncio.to_thread(lambda: [skill for team in refs for skill in self._skills(team)])
        gate = Gate(self.settings.min_pattern_count, success_rate=self.settings.min_success_rate)
        return await self._run(ref, SYSTEM_CRON, gate, tell, others)

    async def run_team_evolution(self, team_id: str, tell: Tell = no_progress) -> EvolutionReport:
        """Draft skills from what people share with a team into the team's volume, as the team's cron."""
        ref = VolumeRef.team(team_id)
        principal = Principal(PrincipalKind.TEAM_CRON, team_id, users=await self.people.member_ids(team_id))
        gate = Gate(self.settings.min_team_pattern_count, TEAM_USERS, self.settings.min_success_rate)
        return await self._run(ref, principal, gate, tell)

    async def run_system_evolution(self, tell: Tell = no_progress) -> EvolutionReport:
        """Promote highly used skills of teams to the system, or propose them, as the system's policy says."""
        return await review_team_skills(
            self.volumes, self.catalog, self.proposals, teams=self.people, settings=self.settings, tell=tell
        )

    async def run_all_users(self, tell: Tell = no_progress) -> EvolutionReport:
        """Run the evolution of everybody who has traces; the night's run."""
        return await self._run_many(VolumeKind.USER, tell)

    async def run_all_teams(self, tell: Tell = no_progress) -> EvolutionReport:
        """Run the evolution of every team that has traces; the week's run."""
        return await self._run_many(VolumeKind.TEAM, tell)

    async def _run_many(self, kind: VolumeKind, tell: Tell) -> EvolutionReport:
        refs = [ref for name in await self.catalog.traces.volumes() if (ref := VolumeRef.parse(name)).kind is kind]
        total = EvolutionReport(scope=f"{kind.value}s")
        for place, ref in enumerate(refs):
            await tell(str(ref), place, len(refs))
            run = self.run_user_evolution if kind is VolumeKind.USER else self.run_team_evolution
            total = total.joined(await run(ref.id))
        return total

    async def _run(
        self, ref: VolumeRef, principal: Principal, gate: Gate, tell: Tell, others: Sequence[Skill] = ()
    ) -> EvolutionReport:
        await tell("reading", 0, 0)
        volume = await asyncio.to_thread(self.volumes.open, principal, ref, write=True)
        conversations, traces = await read_conversations(self.catalog, ref)
        publisher = await asyncio.to_thread(Publisher, volume, self.catalog, self.proposals)
        self.generator.begin_run()
        night = Night(
            ref=ref,
            catalog=self.catalog,
            source=self.source,
            detector=self.detector,
            generator=self.generator,
            publisher=publisher,
            others=others,
            gate=gate,
            tell=tell,
        )
        return EvolutionReport.of(ref.kind.value, traces, await night.run(conversations))

    def _skills(self, ref: VolumeRef) -> list[Skill]:
        if not self.volumes.exists(ref):
            return []
        volume = self.volumes.open(SYSTEM_CRON, ref)
        return [
            Skill.parse(entry.skill_id, volume.read_skill(entry.skill_id), volume=str(ref), version=entry.version)
            for entry in volume.list_skills()
        ]


def detector_for(settings: Settings, embedder: Embedder | None = None) -> PatternDetector:
    """Return the detector that the settings ask for; with an embedder it compares meanings beside words."""
    return PatternDetector(embedder, least=min(LEAST, settings.min_pattern_count, settings.min_team_pattern_count))
