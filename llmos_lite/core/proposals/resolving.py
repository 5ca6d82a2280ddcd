"""Deciding about conflicts: main is merged into the proposal's branch, with the files that somebody decided on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.proposals import branches
from llmos_lite.core.proposals.branches import Branch
from llmos_lite.core.proposals.events import Event, Kind
from llmos_lite.core.proposals.log import ProposalLog
from llmos_lite.core.proposals.reviewing import require_unchanged, standing
from llmos_lite.core.skills.format import LARGEST_FILE, Skill
from llmos_lite.core.skills.scan import Scanner, scan
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.engines.git import Change
from llmos_lite.errors import Conflict, Invalid, TooLarge
from llmos_lite.records.proposals import ProposalRecord
from llmos_lite.volumes.git_volume import GitVolume, author_of
from llmos_lite.volumes.merging import Collision, plan_merge
from llmos_lite.volumes.skill_paths import FILE, FOLDER, skill_of

OURS, THEIRS = "ours", "theirs"


@dataclass(frozen=True, slots=True)
class Resolution:
    """What becomes of a file in conflict.

    Args:
        path: the file, as the conflict names it.
        take: `ours` (as main has it) or `theirs` (as it was proposed); empty when `content` says it.
        content: its text.
    """

    path: str
    take: str = ""
    content: str | None = None


def resolve(
    volume: GitVolume,
    actor: Actor,
    row: ProposalRecord,
    *,
    chosen: Sequence[Resolution],
    seen: str,
    scanners: Mapping[str, Scanner],
) -> list[Event]:
    """Merge main into a proposal's branch.

    Args:
        volume: the target.
        actor: its author, or an admin of the target; becomes the author of the commit.
        row: the proposal.
        chosen: one for each conflict.
        seen: the conflicts that the actor looked at, as `Branch.seen`; empty when that is not known.
        scanners: look at every skill.

    Raises:
        Conflict: `proposal.no_conflict`; `proposal.changed`, when these are other conflicts by now.
        Invalid: `resolve.missing`, `resolve.unknown`, `skill.unreadable`, `skill.unsafe`.
        TooLarge: `skill.too_large`.
    """
    with volume.store.lock():
        branch = require_unchanged(standing(volume, row), "")
        _require_seen(branch, seen)
        picked = _picked(branch, chosen)
        plan = plan_merge(volume.store, branch.head.oid, branch.main)
        changes = dict(plan.changes)
        for one in branch.collisions:
            changes |= _change(one, picked[one.path], scanners)
        paths = tuple(picked)
        message = f"Merge main into {row.branch}: resolve {', '.join(paths[:5])}"
        commit = volume.store.commit(
            changes,
            f"{message}\n\nProposal: {row.proposal_id}",
            author_of(actor.user_id),
            branch=row.branch,
            expect=branch.head.oid,
            merges=(branch.main,),
        )
        digest = branches.read(volume.store, row.branch).digest
        event = Event(kind=Kind.RESOLVED, at=now_ms(), by=actor.user_id, head=commit.oid, digest=digest, paths=paths)
        return ProposalLog(volume).append(row.proposal_id, [event])


def _require_seen(branch: Branch, seen: str) -> None:
    if not branch.collisions:
        raise Conflict("proposal.no_conflict", "There is no conflict to resolve.")
    if seen and seen != branch.seen:
        raise Conflict(
            "proposal.changed",
            "The files in conflict have changed since you looked at them.",
            hint="Look at the conflicts again.",
        )


def _picked(branch: Branch, chosen: Sequence[Resolution]) -> dict[str, Resolution]:
    """Return the resolution of every conflict, by path."""
    picked = {one.path: one for one in chosen}
    missing = [path for path in branch.conflicts if path not in picked]
    unknown = sorted(picked.keys() - set(branch.conflicts))
    if unknown:
        raise Invalid("resolve.unknown", f"There is no conflict in {unknown[0][:200]!r}.")
    if missing:
        raise Invalid("resolve.missing", f"Say what becomes of {', '.join(missing[:5])}, too.", paths=missing)
    return picked


def _change(one: Collision, chosen: Resolution, scanners: Mapping[str, Scanner]) -> dict[str, Change]:
    """Return what a resolution does; `ours` of the collision is main's side."""
    if chosen.content is None:
        side = one.ours if chosen.take == OURS else one.theirs
        return dict(zip(one.paths, side, strict=True))
    data = chosen.content.encode()
    if len(data) > LARGEST_FILE:
        raise TooLarge("skill.too_large", f"The file {one.path} has at most {LARGEST_FILE:,} bytes.")
    if one.path.startswith(f"{FOLDER}/") and one.path in {f"{FOLDER}/{skill_of(one.path)}/{FILE}", *one.paths[1:]}:
        _require_readable(skill_of(one.path), chosen.content, scanners)
    return dict.fromkeys(one.paths) | {one.path: data}


def _require_readable(skill_id: str, content: str, scanners: Mapping[str, Scanner]) -> None:
    skill = Skill.parse(skill_id, content)
    if skill.error is not None:
        raise Invalid("skill.unreadable", f"The skill {skill_id!r} cannot be read: {skill.error}")
    scan(scanners, skill, {FILE: content.encode()}, refuse=False)  # a merge waits for a sign-off
