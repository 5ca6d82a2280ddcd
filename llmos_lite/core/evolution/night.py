"""One run over one volume: group, decide, draft, publish, and say why."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import msgspec

from llmos_lite.core.evolution.drafts import Material, shorten, unique_id
from llmos_lite.core.evolution.features import is_small_talk
from llmos_lite.core.evolution.generator import SkillGenerator
from llmos_lite.core.evolution.patterns import Conversation, Pattern, PatternDetector, thresholds
from llmos_lite.core.evolution.publishing import Evidence, Publisher
from llmos_lite.core.evolution.reading import TraceSource, background, read_accounts
from llmos_lite.core.evolution.report import Action, Detail, Tell
from llmos_lite.core.evolution.themes import ALIKE_SHARE, Theme, covers, evidence_root, group, telling_words
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.traces.trace import SkillUse
from llmos_lite.errors import Conflict
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.catalog_patterns import PatternRecord
from llmos_lite.volumes.access import SYSTEM, VolumeRef

SUCCESSES_READ, TROUBLES_READ = 16, 8
MORE_EVIDENCE = 1.5
"""A skill is rewritten when it stands on this many times the conversations of its last version, and 3 more at least."""
LEAST_MORE = 3
REASON_LENGTH = 200

_uses = msgspec.json.Decoder(tuple[SkillUse, ...]).decode


@dataclass(frozen=True, slots=True)
class Gate:
    """What a pattern needs before a skill is drafted.

    Args:
        count: conversations.
        users: people.
        success_rate: share of successes.
    """

    count: int
    users: int = 1
    success_rate: float = 0.7

    def refusal(self, pattern: Pattern) -> str:
        """Return why a pattern is left alone; empty when it is not."""
        if sum(is_small_talk(member.goal) for member in pattern.members) > pattern.count / 2:
            return "small talk needs no skill"
        if pattern.count < self.count:
            return f"too few conversations: {pattern.count} of {self.count}"
        if pattern.users < self.users:
            return f"the conversations of {_people(pattern.users)} only; a pattern of a team needs {self.users}"
        if pattern.success_rate < self.success_rate:
            return f"success rate {pattern.success_rate:.0%}, below {self.success_rate:.0%}"
        return ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a pattern."""

    action: Action
    skill_id: str
    reason: str


@dataclass(slots=True)
class Night:
    """One run over one volume.

    Args:
        ref: whose traces.
        publisher: writes that volume's skills.
        others: skills of other volumes that its conversations see, such as those of the person's teams.
        gate: what a pattern needs.
    """

    ref: VolumeRef
    catalog: Catalog
    source: TraceSource
    detector: PatternDetector
    generator: SkillGenerator
    publisher: Publisher
    others: Sequence[Skill]
    gate: Gate
    tell: Tell
    _skills: dict[str, Skill] = field(default_factory=dict)
    _rows: dict[str, PatternRecord] = field(default_factory=dict)
    _conversations: Sequence[Conversation] = ()
    _background: Counter[str] = field(default_factory=Counter)
    _served: dict[str, list[Pattern]] = field(default_factory=dict)
    """The patterns of each skill so far: what a skill gains within a run counts now, not as news of the next run."""

    async def run(self, conversations: Sequence[Conversation]) -> list[Detail]:
        """Return what became of every pattern of these conversations."""
        self._conversations = conversations
        self._rows = {row.pattern_id: row for row in await self.catalog.patterns.of(str(self.ref))}
        known = await self.catalog.patterns.members_of(str(self.ref))
        await self.tell("grouping", 0, len(conversations))
        patterns = await asyncio.to_thread(self._detect, known)
        self._skills = await asyncio.to_thread(self.publisher.skills)
        linked = await self._linked()
        threshold = ALIKE_SHARE * thresholds(len(conversations))[1]
        verdicts: dict[str, Verdict] = {}
        themes = group(
            patterns, {pattern.pattern_id: linked.get(pattern.pattern_id, "") for pattern in patterns}, threshold
        )
        for place, theme in enumerate(themes):
            await self.tell("drafting", place, len(themes))
            verdicts |= await self._theme(theme)
        await self._keep(patterns, verdicts, known)
        return [self._detail(pattern, verdicts[pattern.pattern_id]) for pattern in patterns]

    def _detect(self, known: Mapping[str, Sequence[str]]) -> list[Pattern]:
        self._background = background(self._conversations)
        return self.detector.analyze_traces(self._conversations, volume=str(self.ref), known=known)

    async def _linked(self) -> dict[str, str]:
        """Return the skill of each pattern, by what its row says, or the trailers of the skill's commits."""
        made = await self.catalog.skills.of(str(self.ref))
        linked = {row.pattern_id: row.skill_id for row in made.values() if row.pattern_id}
        return linked | {row.pattern_id: row.skill_id for row in self._rows.values() if row.skill_id}

    async def _theme(self, theme: Theme) -> dict[str, Verdict]:
        """Decide on the patterns of a theme: those that pass the gate together, the others one by one."""
        refused = {pattern.pattern_id: self.gate.refusal(pattern) for pattern in theme.patterns}
        passed = [pattern for pattern in theme.patterns if not refused[pattern.pattern_id]]
        verdicts = {
            pattern_id: Verdict(Action.SKIPPED, theme.skill_id, reason)
            for pattern_id, reason in refused.items()
            if reason
        }
        if passed:
            verdict = await self._decide(Theme(passed, theme.skill_id))
            verdicts |= {pattern.pattern_id: verdict for pattern in passed}
            self._served.setdefault(verdict.skill_id, []).extend(passed)
        return verdicts

    async def _decide(self, theme: Theme) -> Verdict:
        skill_id = theme.skill_id
        if skill_id and skill_id not in self._skills:
            skill_id = await asyncio.to_thread(self.publisher.now_called, skill_id)
        if skill_id and skill_id not in self._skills:
            waits = self.publisher.proposed(skill_id)
            reason = "its proposal waits for a review" if waits else "a person removed or refused its skill"
            return Verdict(Action.SKIPPED, skill_id, reason)
        skill = self._skills[skill_id] if skill_id else await self._covering(theme)
        if skill is None:
            return await self._create(theme)
        if skill.volume != str(self.ref):
            return Verdict(Action.SKIPPED, "", f"covered by the skill {skill.skill_id} of {skill.volume}")
        before = await asyncio.to_thread(self.publisher.evidence, skill)
        if before is None:
            return Verdict(
                Action.SKIPPED, skill.skill_id, f"covered by the skill {skill.skill_id}, which a person wrote"
            )
        served = self._served.get(skill.skill_id, [])
        return await self._update(Theme([*served, *theme.patterns], skill.skill_id), skill, before)

    async def _covering(self, theme: Theme) -> Skill | None:
        """Return the skill that does this already: most of these conversations used it, or it speaks of the same."""
        rows = await self.catalog.traces.many([member.trace_id for member in theme.members])
        used = Counter((use.volume, use.skill_id) for row in rows.values() for use in _uses(row.skills_used))
        skills = {(skill.volume, skill.skill_id): skill for skill in self._candidates()}
        for key, count in used.most_common():
            if key in skills and 2 * count > len(theme.members):
                return skills[key]
        goals = [member.goal for member in theme.members]
        telling = telling_words(goals, self._background, len(self._conversations))
        return next((skill for skill in skills.values() if covers(f"{skill.name} {skill.header}", telling)), None)

    def _candidates(self) -> Iterable[Skill]:
        """Yield the skills that may cover a pattern: a broad skill of the system never stands in for one's own."""
        return (
            skill
            for skill in [*self._skills.values(), *self.others]
            if skill.error is None and skill.volume != str(SYSTEM)
        )

    async def _create(self, theme: Theme) -> Verdict:
        draft = await self.generator.generate_skill_from_pattern(await self._material(theme))
        skill_id = unique_id(draft.title, lambda name: name in self._skills or self.publisher.proposed(name))
        pattern_id = theme.patterns[0].pattern_id
        action = await self.publisher.create(skill_id, draft, _evidence(theme), pattern_id)
        if action is Action.CREATED:
            self._skills = await asyncio.to_thread(self._with, skill_id)
        reason = "waits for a review, as the volume's policy asks" if action is Action.PROPOSED else ""
        return Verdict(action, skill_id, reason)

    def _with(self, skill_id: str) -> dict[str, Skill]:
        text = self.publisher.volume.read_skill(skill_id)
        entry = self.publisher.volume.skill_entry(skill_id)
        version = entry.version if entry else ""
        return self._skills | {skill_id: Skill.parse(skill_id, text, volume=str(self.ref), version=version)}

    async def _update(self, theme: Theme, skill: Skill, before: Evidence) -> Verdict:
        now = _evidence(theme)
        if now.root == before.root:
            return Verdict(Action.SKIPPED, skill.skill_id, f"covered by its skill {skill.skill_id}; nothing new")
        if now.count < max(before.count + LEAST_MORE, MORE_EVIDENCE * before.count):
            more = max(now.count - before.count, 0)
            reason = f"covered by its skill {skill.skill_id}; {more} more conversations are too few to rewrite it"
            return Verdict(Action.SKIPPED, skill.skill_id, reason)
        if self.publisher.proposed(skill.skill_id):
            return Verdict(Action.SKIPPED, skill.skill_id, "a proposal for its skill waits for a review")
        draft = await self.generator.generate_skill_from_pattern(await self._material(theme))
        draft = replace(draft, title=skill.name)
        try:
            action = await self.publisher.update(skill, draft, now, theme.patterns[0].pattern_id)
        except Conflict:
            return Verdict(Action.SKIPPED, skill.skill_id, "somebody changed its skill meanwhile")
        if action is Action.UPDATED:
            self._skills = await asyncio.to_thread(self._with, skill.skill_id)
        reason = "the draft says the same" if action is Action.SKIPPED else ""
        return Verdict(action, skill.skill_id, reason)

    async def _material(self, theme: Theme) -> Material:
        good = islice((one for one in theme.typical if one.verdict.is_success), SUCCESSES_READ)
        bad = islice((one for one in theme.typical if not one.verdict.is_success), TROUBLES_READ)
        accounts = await read_accounts(self.source, [*good, *bad])
        members = theme.members
        return Material(
            accounts=accounts,
            count=len(members),
            people=len({member.actor for member in members}),
            background=self._background,
            goals=len(self._conversations),
        )

    async def _keep(
        self, patterns: Sequence[Pattern], verdicts: Mapping[str, Verdict], known: Mapping[str, Sequence[str]]
    ) -> None:
        """Write the rows of the patterns, if anything changed."""
        rows = [self._row(pattern, verdicts[pattern.pattern_id]) for pattern in patterns]
        members = {pattern.pattern_id: pattern.trace_ids for pattern in patterns}
        if {row.pattern_id: row for row in rows} != self._rows or members != dict(known):
            await self.catalog.patterns.replace(str(self.ref), rows, members)

    def _row(self, pattern: Pattern, verdict: Verdict) -> PatternRecord:
        times = [member.time for member in pattern.members]
        return PatternRecord(
            pattern_id=pattern.pattern_id,
            volume=str(self.ref),
            goal=pattern.goal,
            count=pattern.count,
            users=pattern.users,
            success_rate=pattern.success_rate,
            examples=json.dumps(pattern.examples, ensure_ascii=False),
            skill_id=verdict.skill_id,
            reason=shorten(verdict.reason, REASON_LENGTH),
            first=min(times),
            last=max(times),
        )

    def _detail(self, pattern: Pattern, verdict: Verdict) -> Detail:
        return Detail(
            pattern_id=pattern.pattern_id,
            goal=shorten(pattern.goal, REASON_LENGTH),
            count=pattern.count,
            users=pattern.users,
            success_rate=round(pattern.success_rate, 4),
            action=verdict.action,
            skill_id=verdict.skill_id,
            reason=verdict.reason,
            volume=str(self.ref),
        )


def _evidence(theme: Theme) -> Evidence:
    members = theme.members
    return Evidence(len(members), evidence_root(members), len({member.actor for member in members}))


def _people(count: int) -> str:
    return "one person" if count == 1 else f"{count} people"
