"""Promotion: a skill travels user -> team -> system, at once or by review, as the target's policy says.

The platform writes, with the person as author. A proposal is a branch `pr/<user>/<skill>` of the target with one
commit on top of the main it was made from; when main's copy of the skill has changed since, merging is a conflict.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from msgspec import structs

from llmos_lite.core.accounts.accounts import require_member
from llmos_lite.core.accounts.permissions import Actor, may_administer
from llmos_lite.core.page import Page
from llmos_lite.core.proposals import branches
from llmos_lite.core.proposals.branches import PREFIX
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.traces.trace import make_ulid, now_ms
from llmos_lite.engines.git import MAIN, Commit, VolumeInterface
from llmos_lite.errors import Conflict, Forbidden, Invalid, NotFound
from llmos_lite.records.proposals import ProposalRecord, ProposalRows
from llmos_lite.volumes.access import PLATFORM, SYSTEM, VolumeKind, VolumeRef, check_id
from llmos_lite.volumes.git_volume import GitVolume, author_of
from llmos_lite.volumes.manager import VolumeManager

UPWARD = {VolumeKind.USER: 0, VolumeKind.TEAM: 1, VolumeKind.SYSTEM: 2}
REASON_LENGTH = 2000


@dataclass(frozen=True, slots=True)
class Promoted:
    """What came of a promotion: `merged` (with the commit) or `open` (a proposal waits)."""

    status: str
    proposal_id: str
    commit: str


@dataclass(frozen=True, slots=True)
class ProposalView:
    """A proposal, and what it would change as a unified diff; lists leave the diff out."""

    proposal: ProposalRecord
    diff: str = ""
    conflict: bool = False


class Proposals:
    """Promotes skills and keeps the proposals that wait for a review."""

    def __init__(self, rows: ProposalRows, volumes: VolumeManager) -> None:
        self._rows, self._volumes = rows, volumes

    async def promote(
        self, actor: Actor, skill_id: str, target: VolumeRef, reason: str, *, source: VolumeRef | None = None
    ) -> Promoted:
        """Bring a skill into a volume above its own.

        Args:
            actor: the person; becomes the author.
            skill_id: the skill.
            target: a team that the person is in, or the system.
            reason: why; stands in the commit.
            source: where the skill is; the person's own volume when left out.

        Raises:
            Invalid: `promotion.direction`, or `promotion.reason`.
            NotFound: `skill.unknown`, `team.unknown`, `volume.unknown`.
        """
        check_id(skill_id, "skill")
        source = source or actor.volume
        reason = _reason(reason)
        require_member(actor, target)
        if UPWARD[source.kind] >= UPWARD[target.kind]:
            raise Invalid(
                "promotion.direction",
                f"A skill is promoted upwards, not from {source} to {target}.",
                hint="From a user to a team or the system, or from a team to the system.",
            )
        row = ProposalRecord(
            proposal_id=make_ulid(now_ms()),
            target=str(target),
            source=str(source),
            skill_id=skill_id,
            branch=f"{PREFIX}{actor.user_id}/{skill_id}",
            author=actor.user_id,
            reason=reason,
            created=now_ms(),
        )
        review = await asyncio.to_thread(self._review, actor, skill_id, source, target)
        return await (self._propose(row) if review else self._merge_now(row))

    async def page(self, actor: Actor, *, state: str = "", limit: int = 50, cursor: str = "") -> Page[ProposalView]:
        """List the actor's proposals and those to volumes that the actor may read; all for a system admin."""
        targets = None if actor.is_admin else [str(SYSTEM), *(str(VolumeRef.team(team)) for team in actor.teams)]
        rows = await self._rows.page(targets, actor.user_id, state=state, limit=limit, cursor=cursor)
        return Page([ProposalView(row) for row in rows.items], rows.next_cursor, rows.total)

    async def get(self, actor: Actor, proposal_id: str) -> ProposalView:
        """Return a proposal with what it would change.

        Raises:
            NotFound: `proposal.unknown`.
        """
        row = await self._row(actor, proposal_id)
        if row.state != "open":
            return ProposalView(row)
        return await asyncio.to_thread(self._view, row)

    async def merge(self, actor: Actor, proposal_id: str) -> ProposalView:
        """Merge a proposal of somebody else, as an admin of its target.

        Raises:
            Forbidden: `role.missing`, or `proposal.own`.
            Conflict: `proposal.conflict`, `proposal.decided`.
        """
        row = await self._row(actor, proposal_id)
        if not may_administer(actor, VolumeRef.parse(row.target)):
            raise Forbidden("role.missing", f"Only an admin of {row.target} may merge this.")
        if row.author == actor.user_id and row.target != str(actor.volume):
            raise Forbidden("proposal.own", "Somebody else than the author has to merge a proposal.")
        _require_open(row)
        await asyncio.to_thread(self._merge_branch, row, actor)
        return await self._decided(row, "merged", actor)

    async def close(self, actor: Actor, proposal_id: str) -> ProposalView:
        """Close a proposal without merging it, as its author or an admin of its target.

        Raises:
            Forbidden: `role.missing`.
            Conflict: `proposal.decided`.
        """
        row = await self._row(actor, proposal_id)
        if row.author != actor.user_id and not may_administer(actor, VolumeRef.parse(row.target)):
            raise Forbidden("role.missing", f"Only its author or an admin of {row.target} may close this.")
        _require_open(row)
        await asyncio.to_thread(self._delete_branch, row)
        return await self._decided(row, "closed", actor)

    async def reindex(self) -> int:
        """Make rows for branches `pr/*` that have none, and return how many; part of `llmos reindex`."""
        return sum([await self.notice(ref) for ref in await asyncio.to_thread(self._volumes.refs)])

    async def notice(self, ref: VolumeRef) -> int:
        """Make rows for those of one volume: edits by hand that main moved away from are proposed like that."""
        count = 0
        for row in await asyncio.to_thread(self._branches, ref):
            if await self._rows.open_on(row.target, row.branch) is None:
                await self._rows.put(row)
                count += 1
        return count

    async def pushed(self, ref: VolumeRef, branch: str) -> ProposalRecord:
        """Return the proposal of a branch that somebody pushed with git; one that is open already is renewed."""
        found = await asyncio.to_thread(lambda: _row_of(ref, branch, self._volumes.open(PLATFORM, ref).store))
        if found is None:
            raise Invalid("proposal.branch", f"{branch[:80]!r} is no branch of a proposal.")
        known = await self._rows.open_on(found.target, branch)
        if known is not None:
            found = structs.replace(found, proposal_id=known.proposal_id, created=known.created)
        await self._rows.put(found)
        return found

    # -- the ways of a promotion ------------------------------------------------------------------------------------

    async def _merge_now(self, row: ProposalRecord) -> Promoted:
        commit = await asyncio.to_thread(self._write, row, MAIN)
        await self._rows.put(structs.replace(row, branch="", state="merged", decided=now_ms(), decided_by="policy"))
        return Promoted("merged", row.proposal_id, commit.oid)

    async def _propose(self, row: ProposalRecord) -> Promoted:
        """Put the skill on a branch of its own; a proposal that is open already is renewed."""
        known = await self._rows.open_on(row.target, row.branch)
        commit = await asyncio.to_thread(self._write_branch, row)
        proposal_id = known.proposal_id if known else _id_of(row.target, row.branch, commit)
        row = structs.replace(row, proposal_id=proposal_id, created=known.created if known else commit.time)
        await self._rows.put(row)
        return Promoted("open", row.proposal_id, commit.oid)

    def _write_branch(self, row: ProposalRecord) -> Commit:
        store = self._open(row).store
        with store.lock():
            if row.branch in store.branches():
                store.delete_branch(row.branch)
            store.create_branch(row.branch)
            try:
                return self._write(row, row.branch)
            except BaseException:
                store.delete_branch(row.branch)
                raise

    def _write(self, row: ProposalRecord, branch: str) -> Commit:
        source, target = VolumeRef.parse(row.source), VolumeRef.parse(row.target)
        return self._volumes.promote_skill(
            row.skill_id, source, target, author_of(row.author), row.reason, branch=branch
        )

    def _merge_branch(self, row: ProposalRecord, actor: Actor) -> None:
        volume = self._open(row)
        trailers = {"Proposal": row.proposal_id, "Merged-By": actor.user_id}
        with volume.store.lock():
            branches.read(volume.store, row.branch)
            volume.merge_branch(
                row.branch, f"Merge {row.branch}: {row.reason}", author_of(row.author), trailers=trailers
            )
            volume.delete_branch(row.branch)

    def _delete_branch(self, row: ProposalRecord) -> None:
        store = self._open(row).store
        if row.branch in store.branches():
            store.delete_branch(row.branch)

    def _view(self, row: ProposalRecord) -> ProposalView:
        store = self._open(row).store
        branch = branches.read(store, row.branch)
        return ProposalView(row, branches.diff(store, branch), bool(branch.conflicts))

    # -- who, what and where ----------------------------------------------------------------------------------------

    def _review(self, actor: Actor, skill_id: str, source: VolumeRef, target: VolumeRef) -> bool:
        """Tell whether the target's policy asks for a review; the source must be one that the actor may read."""
        _require_readable(self._volumes.open(actor.principal, source), skill_id)
        return self._volumes.open(PLATFORM, target).review_required

    async def _row(self, actor: Actor, proposal_id: str) -> ProposalRecord:
        row = await self._rows.get(proposal_id)
        visible = row is not None and (
            actor.is_admin
            or row.author == actor.user_id
            or row.target == str(SYSTEM)
            or row.target.removeprefix("team:") in actor.teams
        )
        if row is None or not visible:
            raise NotFound("proposal.unknown", "There is no such proposal that you may see.")
        return row

    async def _decided(self, row: ProposalRecord, state: str, actor: Actor) -> ProposalView:
        at = now_ms()
        await self._rows.decide(row.proposal_id, state, at=at, by=actor.user_id)
        return ProposalView(structs.replace(row, state=state, decided=at, decided_by=actor.user_id))

    def _open(self, row: ProposalRecord) -> GitVolume:
        return self._volumes.open(PLATFORM, VolumeRef.parse(row.target), write=True)

    def _branches(self, ref: VolumeRef) -> list[ProposalRecord]:
        store = self._volumes.open(PLATFORM, ref).store
        rows = (_row_of(ref, branch, store) for branch in store.branches())
        return [row for row in rows if row is not None]


_SUBJECT = re.compile(r"Promote '[^']*' from (\S+) - Reason: (.*)", re.DOTALL)


def _row_of(ref: VolumeRef, branch: str, store: VolumeInterface) -> ProposalRecord | None:
    """Read a proposal back from its branch."""
    parts = branch.removeprefix(PREFIX).split("/")
    if not branch.startswith(PREFIX) or len(parts) != 2:  # noqa: PLR2004 - user and skill
        return None
    commit = store.log(limit=1, branch=branch)[0]
    said = _SUBJECT.match(commit.subject)
    return ProposalRecord(
        proposal_id=_id_of(str(ref), branch, commit),
        target=str(ref),
        source=said.group(1) if said else f"user:{parts[0]}",
        skill_id=parts[1],
        branch=branch,
        author=parts[0],
        reason=said.group(2) if said else _one_line(commit.subject)[:REASON_LENGTH],
        created=commit.time,
    )


def _id_of(target: str, branch: str, commit: Commit) -> str:
    """Return the id of a proposal: the same whenever it is read from Git."""
    return make_ulid(commit.time, f"{target} {branch}")


def _require_open(row: ProposalRecord) -> None:
    if row.state != "open":
        raise Conflict("proposal.decided", f"This proposal is {row.state} already.")


def _one_line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _require_readable(volume: GitVolume, skill_id: str) -> None:
    """Raise unless a skill can be read as one: what is broken would break it for everybody.

    Raises:
        Invalid: `skill.unreadable`.
        NotFound: `skill.unknown`.
    """
    skill = Skill.parse(skill_id, volume.read_skill(skill_id))
    if skill.error is not None:
        raise Invalid(
            "skill.unreadable", f"The skill {skill_id!r} cannot be read: {skill.error}", hint="Mend it first."
        )


def _reason(text: str) -> str:
    """Return a reason as one line of a commit."""
    clean = _one_line(text)
    if not clean:
        raise Invalid("promotion.reason", "A promotion needs a reason.", hint="Say why others should have the skill.")
    if len(clean) > REASON_LENGTH:
        raise Invalid("promotion.reason", f"A reason has at most {REASON_LENGTH} characters.")
    return clean
