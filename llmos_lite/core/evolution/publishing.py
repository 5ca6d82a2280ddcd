"""Where a draft goes: a commit, or a proposal where the volume's policy asks for a review."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from llmos_lite.core.evolution.drafts import SkillDraft
from llmos_lite.core.evolution.report import Action
from llmos_lite.core.proposals.events import Event, Kind
from llmos_lite.core.proposals.promoting import Carried, note_branch
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.guard import is_unsafe, refuses
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.engines.git import MAIN, Author, Commit
from llmos_lite.errors import LlmosError
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.catalog_skills import SkillRecord, SkillUsage
from llmos_lite.records.proposals import ProposalRecord, ProposalRows
from llmos_lite.volumes.access import SYSTEM_CRON, VolumeRef
from llmos_lite.volumes.following import renamed_to
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager
from llmos_lite.volumes.skill_paths import FILE

EVOLUTION = "evolution"
AUTHOR = Author(EVOLUTION, f"{EVOLUTION}@localhost")
PAGE = 500
"""Commits that are read at a time."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a commit says of the conversations behind it."""

    count: int
    root: str
    users: int = 1


class Publisher:
    """Writes skills into one volume in the name of evolution.

    Args:
        volume: opened for writing.
        catalog: gets the rows of skills.
        proposals: gets the rows of proposals.
    """

    def __init__(self, volume: GitVolume, catalog: Catalog, proposals: ProposalRows) -> None:
        self.volume, self._catalog, self._proposals = volume, catalog, proposals
        self.review = volume.review_required
        self._branches = set(volume.branches())
        self._last: dict[str, tuple[Evidence | None, str]] = {}
        self._history = self._commits()

    def skills(self) -> dict[str, Skill]:
        """Return the skills of the volume, broken ones too, by id."""
        found: dict[str, Skill] = {}
        for entry in self.volume.list_skills():
            try:
                text = self.volume.read_skill(entry.skill_id)
            except LlmosError:  # a folder without SKILL.md takes the name, and nothing else
                text = ""
            found[entry.skill_id] = Skill.parse(
                entry.skill_id, text, volume=str(self.volume.ref), version=entry.version, path=entry.path
            )
        return found

    def evidence(self, skill: Skill) -> Evidence | None:
        """Return what a skill stands on; None for one that a person wrote, or edited after evolution did."""
        evidence, version = self._written(skill.skill_id)
        return evidence if version == skill.version else None

    def _written(self, skill_id: str) -> tuple[Evidence | None, str]:
        """Return what evolution's last commit for a skill says, and the version that it made."""
        while skill_id not in self._last:
            commit = next(self._history, None)
            if commit is None:
                return None, ""
            name, root = (commit.trailers.get(key, "") for key in ("Skill-Id", "Evidence-Root"))
            if root and name not in self._last:
                count = commit.trailers.get("Evidence-Count", "")
                entry = self.volume.skill_entry(name, at=commit.oid)
                evidence = Evidence(int(count) if count.isdigit() else 0, root)
                self._last[name] = evidence, entry.version if entry else ""
        return self._last[skill_id]

    def _commits(self) -> Iterator[Commit]:
        before: str | None = None
        while commits := self.volume.get_git_log(PAGE, before=before):
            yield from commits
            before = commits[-1].oid

    def now_called(self, skill_id: str) -> str:
        """Return the id that a skill has now, which a person may have renamed."""
        return renamed_to(self.volume.store, skill_id)

    def proposed(self, skill_id: str) -> bool:
        """Tell whether a proposal of evolution for this skill waits."""
        return branch_of(skill_id) in self._branches

    async def create(self, skill_id: str, draft: SkillDraft, evidence: Evidence, pattern_id: str) -> Action:
        """Write a new skill, or propose it."""
        return await self._publish(_change("create", skill_id, draft, evidence, pattern_id), "")

    async def update(self, old: Skill, draft: SkillDraft, evidence: Evidence, pattern_id: str) -> Action:
        """Write a new version of a skill that evolution wrote, or propose it; `SKIPPED` when it would be the same.

        Raises:
            Conflict: `skill.changed`, when somebody was quicker.
        """
        change = _change("update", old.skill_id, draft, evidence, pattern_id)
        if change.text == await asyncio.to_thread(self.volume.read_skill, old.skill_id):
            return Action.SKIPPED
        return await self._publish(change, old.version)

    async def _publish(self, change: _Change, expect: str) -> Action:
        if self.review or await asyncio.to_thread(self._is_unsafe, change):
            await self._propose(change)
            return Action.PROPOSED
        commit, version = await asyncio.to_thread(self._write, change, expect)
        stands_on = Evidence(int(change.trailers["Evidence-Count"]), change.trailers["Evidence-Root"])
        self._last[change.skill_id] = stands_on, version
        row = SkillRecord(
            volume=str(self.volume.ref),
            skill_id=change.skill_id,
            version=version,
            origin=EVOLUTION,
            author=EVOLUTION,
            pattern_id=change.trailers["Pattern-Id"],
            created=commit.time,
            updated=commit.time,
        )
        await self._catalog.skills.put([row], keep=("created", "origin"))
        return Action.UPDATED if expect else Action.CREATED

    def _is_unsafe(self, change: _Change) -> bool:
        """Tell whether a reviewer has to look at it first, whatever the policy says."""
        return refuses(self.volume.ref) and is_unsafe(change.skill_id, {FILE: change.text.encode()})

    def _write(self, change: _Change, expect: str) -> tuple[Commit, str]:
        commit = self.volume.write_skill(
            change.skill_id, change.text, change.message, AUTHOR, trailers=change.trailers, expect=expect
        )
        entry = self.volume.skill_entry(change.skill_id)
        return commit, entry.version if entry else ""

    async def _propose(self, change: _Change) -> None:
        branch = branch_of(change.skill_id)

        def write() -> ProposalRecord:
            self.volume.create_branch(branch, MAIN)
            self.volume.write_skill(
                change.skill_id, change.text, change.message, AUTHOR, trailers=change.trailers, branch=branch
            )
            return proposal(self.volume.ref, self.volume, change.skill_id, change.message)

        row = await asyncio.to_thread(write)
        self._branches.add(branch)
        await self._proposals.put(row)


@dataclass(frozen=True, slots=True)
class _Change:
    skill_id: str
    text: str
    message: str
    trailers: Mapping[str, str]


def _change(operation: str, skill_id: str, draft: SkillDraft, evidence: Evidence, pattern_id: str) -> _Change:
    trailers = {
        "Skill-Op": operation,
        "Skill-Id": skill_id,
        "Pattern-Id": pattern_id,
        "Evidence-Count": str(evidence.count),
        "Evidence-Users": str(evidence.users),
        "Evidence-Root": evidence.root,
        "Generator": draft.generator,
    }
    message = f"Evolution: {operation.capitalize()} skill {skill_id} from {evidence.count} traces"
    return _Change(skill_id, rendered(skill_id, draft), message, trailers)


def publish_promotion(volumes: VolumeManager, usage: SkillUsage, target: GitVolume, reason: str) -> tuple[Commit, bool]:
    """Copy a team's skill upwards, to main or, as the target's policy or the scanner says, to a proposal's branch.

    Returns the commit, and whether it waits for a review.

    Args:
        volumes: both are there.
        usage: the skill, and how much it was used.
        target: to where, opened for writing.
        reason: why.
    """
    trailers = {"Skill-Op": "promote", "Evidence-Count": str(usage.uses), "Evidence-Users": str(usage.users)}
    source = volumes.open(SYSTEM_CRON, VolumeRef.parse(usage.volume))
    carried = Carried.of(source, usage.skill_id, strict=False)
    files = {path: carried.blob(kept.oid) for path, kept in carried.files.items()}
    by_review = target.review_required or is_unsafe(usage.skill_id, files)
    branch = branch_of(usage.skill_id) if by_review else MAIN
    if branch != MAIN:
        target.create_branch(branch, MAIN)
    commit = volumes.promote_skill(
        usage.skill_id,
        source.ref,
        target.ref,
        AUTHOR,
        reason,
        branch=branch,
        content=carried.content.decode(),
        trailers=trailers,
        at=carried.head,
    )
    return commit, by_review


def proposal(source: VolumeRef, target: GitVolume, skill_id: str, reason: str) -> ProposalRecord:
    """Note that evolution wrote the branch of a proposal, and return its row."""
    opened = Event(
        kind=Kind.OPENED,
        at=now_ms(),
        by=EVOLUTION,
        target=str(target.ref),
        source=str(source),
        skill_id=skill_id,
        branch=branch_of(skill_id),
        author=EVOLUTION,
        reason=reason,
    )
    return note_branch(target, opened)


def rendered(skill_id: str, draft: SkillDraft) -> str:
    """Return a draft as a SKILL.md."""
    skill = Skill(
        skill_id=skill_id,
        name=draft.title,
        category=draft.category,
        description=draft.description,
        keywords=draft.keywords,
        body=draft.body,
    )
    return skill.render()


def branch_of(skill_id: str) -> str:
    """Return the branch of a proposal that evolution makes."""
    return f"pr/{EVOLUTION}/{skill_id}"
