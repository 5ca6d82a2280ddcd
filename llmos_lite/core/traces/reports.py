"""What an agent says came of its work with a skill: of a trace that there is, or as an honest trace of that use.

A report is the word of a program, so it weighs less than what a person, a verifier or a judge says, and proves nothing
by itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.permissions import Actor, Verb, permit
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.traces.importers.base import Known
from llmos_lite.core.traces.importers.skill_use import exposures, used
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.trace import GOAL_LENGTH, Outcome, Share, SkillUse, Trace, make_ulid, now_ms
from llmos_lite.errors import Invalid

SOURCE = "agent"
"""Who says so, among the sources of an outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an agent says; it names a trace, a conversation of the person, or a skill and what it was used for.

    Args:
        outcome: success or failure.
        note: in a sentence, why.
        trace_id: a trace that llmos made.
        conversation_id: a conversation; its last trace is meant.
        skill: id of the skill that was used, when llmos saw nothing of it.
        version: the version that was used; the current one when empty.
        goal: what the person wanted, in their words.
    """

    outcome: Outcome
    note: str = ""
    trace_id: str = ""
    conversation_id: str = ""
    skill: str = ""
    version: str = ""
    goal: str = ""


class Reports:
    """Keeps reports.

    Args:
        traces: where they go.
        skills: knows what was used.
        accounts: knows who wants nothing recorded.
    """

    def __init__(self, traces: TraceLog, skills: SkillService, accounts: Accounts) -> None:
        self._traces, self._skills, self._accounts = traces, skills, accounts

    async def record(self, actor: Actor, report: Report, team_id: str | None = None) -> str:
        """Keep a report and return the id of its trace; empty when the person wants nothing recorded.

        Raises:
            Invalid: `report.nothing`, `report.no_goal`.
            NotFound: `trace.unknown`, `conversation.unknown`, `skill.unknown`, `skill.unknown_version`.
            Forbidden: `scope.missing`, `trace.not_yours`.
        """
        permit(actor, Verb.WRITE_TRACES, actor.volume)
        trace_id = await self._named(actor, report) or await self._made(actor, report, team_id)
        if trace_id:
            await self._traces.report(actor, trace_id, report.outcome, SOURCE, report.note)
        return trace_id

    async def _named(self, actor: Actor, report: Report) -> str:
        if report.trace_id or not report.conversation_id:
            return report.trace_id
        return (await self._traces.conversation(actor, report.conversation_id))[-1].id

    async def _made(self, actor: Actor, report: Report, team_id: str | None) -> str:
        """Record the use of a skill that llmos saw nothing of: what is known of it, and not a word more."""
        if not report.skill:
            raise Invalid("report.nothing", "The report names no trace, conversation or skill.", hint="Name one.")
        if not report.goal.strip():
            raise Invalid("report.no_goal", "The report does not say what was wanted.", hint="Give a goal.")
        known, commit = await self._used(actor, report, team_id)
        account = await self._accounts.account(actor.user_id)
        if not account.record:
            return ""
        now = now_ms()
        trace = Trace(
            id=make_ulid(now),
            actor=actor.user_id,
            volume=str(actor.volume),
            conversation=make_ulid(now),
            time=now,
            goal=report.goal.strip()[:GOAL_LENGTH],
            skills_used=used([known]),
            exposures=exposures([known] if known.held else []),
            commits={known.use.volume: commit} if commit else {},
            source="mcp",
            team=team_id or "",
            share=Share(account.share) if team_id else Share.NONE,
        )
        await self._traces.record(trace)
        return trace.id

    async def _used(self, actor: Actor, report: Report, team_id: str | None) -> tuple[Known, str]:
        """Return the skill in the version that was used, and the commit of its volume."""
        ref = await self._skills.seen(actor, report.skill, team_id)
        view = await self._skills.get(actor, report.skill, volume=ref, version=report.version or None, history=0)
        libraries = await asyncio.to_thread(self._skills.manager.libraries, actor, team_id)
        commit = next((one.commit for one in libraries if one.ref == ref), "")
        use = SkillUse(report.skill, view.skill.name, str(ref), view.skill.version, 0.0)
        return Known(use, bool(view.skill.held)), commit
