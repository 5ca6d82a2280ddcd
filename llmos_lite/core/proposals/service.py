"""Promotion and review: a skill travels user -> team -> system, at once or by review, as the target's policy says.

The platform writes, with the person as author. A proposal is a branch `pr/<user>/<skill>` of the target; what happens
to it are events in the target's repository (`log`), and its row is what they come to (`events`).
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from llmos_lite.core.accounts.accounts import require_member
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.page import Page
from llmos_lite.core.proposals import branches, promoting, resolving, reviewing, signing
from llmos_lite.core.proposals.branches import PREFIX, Branch, ConflictText
from llmos_lite.core.proposals.events import Event, Kind, Review
from llmos_lite.core.proposals.forgetting import forget_comments
from llmos_lite.core.proposals.log import ProposalLog, is_id
from llmos_lite.core.proposals.promoting import REASON_LENGTH, Carried
from llmos_lite.core.proposals.resolving import Resolution
from llmos_lite.core.proposals.reviewing import TEXT_LENGTH, Standing
from llmos_lite.core.proposals.rights import require_party, seen_by, sees
from llmos_lite.core.proposals.signing import Examined
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.guard import Guard
from llmos_lite.core.skills.scan import Scanner
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.errors import Conflict, Invalid, LlmosError, NotFound
from llmos_lite.records.proposals import ProposalRecord, ProposalRows
from llmos_lite.volumes.access import PLATFORM, VolumeKind, VolumeRef, check_id
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

UPWARD = {VolumeKind.USER: 0, VolumeKind.TEAM: 1, VolumeKind.SYSTEM: 2}
UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Promoted:
    """What came of a promotion.

    Args:
        status: `merged`, `open` (a proposal waits), or `unchanged` (the target has exactly this already).
        proposal_id: of the proposal; empty when nothing changed.
        commit: on main, or on the proposal's branch.
        held_for: codes of what a scanner holds it back for; such a one waits for a sign-off, whatever the policy says.
    """

    status: str
    proposal_id: str
    commit: str
    held_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProposalView:
    """A proposal; lists leave out all but the row.

    Args:
        proposal: its row.
        digest: names exactly what is proposed; a review or a merge may be bound to it.
        diff: what it would change, or has changed, as a unified diff.
        conflicts: files that main has changed since, in another way.
        seen: names exactly these conflicts; a resolution may be bound to it.
        events: what happened, oldest first.
        reviews: the last one of everybody.
        mergeable: whether the actor may merge it now.
        obstacles: why not, as sentences.
        may: what the actor may do: `comment`, `review`, `sign_off`, `merge`, `resolve`, `close`.
        examined: the skills as they would stand after the merge, with what scanners say of them.
    """

    proposal: ProposalRecord
    digest: str = ""
    diff: str = ""
    conflicts: Sequence[ConflictText] = ()
    seen: str = ""
    events: Sequence[Event] = ()
    reviews: Sequence[Review] = ()
    mergeable: bool = False
    obstacles: Sequence[str] = ()
    may: Sequence[str] = field(default_factory=tuple)
    examined: Sequence[Examined] = ()

    @property
    def conflict(self) -> bool:
        """Tell whether somebody has to decide about a file."""
        return bool(self.seen)


class Proposals:
    """Promotes skills and keeps the proposals that wait for a review.

    Args:
        rows: the rows.
        volumes: where everything else is.
        scanners: look at what is proposed, and at what resolves a conflict.
    """

    def __init__(
        self, rows: ProposalRows, volumes: VolumeManager, scanners: Mapping[str, Scanner] | None = None
    ) -> None:
        self._rows, self._volumes, self._scanners = rows, volumes, dict(scanners or {})
        self._guard = Guard(volumes, self._scanners)

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
        wanted = Event(
            kind=Kind.OPENED,
            at=now_ms(),
            by=actor.user_id,
            target=str(target),
            source=str(source),
            skill_id=skill_id,
            branch=f"{PREFIX}{actor.user_id}/{skill_id}",
            author=actor.user_id,
            reason=reason,
        )
        row, commit, held = await asyncio.to_thread(self._promote, actor, wanted, source, target)
        if row is None:
            return Promoted(UNCHANGED, "", commit)
        await self._rows.put(row)
        return Promoted(row.state, row.proposal_id, commit, held)

    async def page(
        self, actor: Actor, *, state: str = "", target: str = "", author: str = "", limit: int = 50, cursor: str = ""
    ) -> Page[ProposalView]:
        """List the proposals that the actor sees, newest first; `rights` says which these are."""
        wanted = seen_by(actor, state=state, target=target, author=author)
        rows = await self._rows.page(wanted, limit=limit, cursor=cursor)
        return Page([ProposalView(row) for row in rows.items], rows.next_cursor, rows.total)

    async def get(self, actor: Actor, proposal_id: str) -> ProposalView:
        """Return a proposal with all that there is to say about it.

        Raises:
            NotFound: `proposal.unknown`.
        """
        row = await self._row(actor, proposal_id)
        view = await asyncio.to_thread(self._view, actor, row)
        if view.proposal != row:  # an event whose row was cut short
            await self._rows.put(view.proposal)
        return view

    async def comment(
        self, actor: Actor, proposal_id: str, text: str, *, path: str = "", line: int = 0
    ) -> ProposalView:
        """Comment on a proposal, or on a file (and line) that it changes.

        Raises:
            NotFound: `proposal.unknown`.
            Invalid: `comment.empty`, `comment.too_long`, `comment.path`, `comment.line`.
            Conflict: `proposal.full`.
        """
        row = await self._row(actor, proposal_id)
        said = _text(text, needed=True)
        return await self._do(actor, row, partial(reviewing.add_comment, text=said, path=path, line=line))

    async def review(
        self, actor: Actor, proposal_id: str, verdict: str, text: str = "", *, digest: str = ""
    ) -> ProposalView:
        """Approve a proposal, or request changes, as an admin of its target who did not write it.

        Args:
            actor: who.
            proposal_id: the proposal.
            verdict: `approved` or `changes_requested`.
            text: what to say; needed for a request.
            digest: what the actor looked at; refused when something else is proposed by now.

        Raises:
            NotFound: `proposal.unknown`.
            Forbidden: `role.missing`, `proposal.own`.
            Conflict: `proposal.decided`, `proposal.gone`, `proposal.changed`, `proposal.full`.
        """
        row = await self._row(actor, proposal_id)
        kind = Kind(verdict)
        said = _text(text, needed=kind is Kind.CHANGES_REQUESTED)
        return await self._do(actor, row, partial(reviewing.add_review, verdict=kind, text=said, digest=digest))

    async def merge(self, actor: Actor, proposal_id: str, *, digest: str = "") -> ProposalView:
        """Merge a proposal, as an admin of its target; that approves what nobody else approved yet.

        Raises:
            NotFound: `proposal.unknown`.
            Forbidden: `role.missing`, or `proposal.own`.
            Conflict: `proposal.conflict`, `proposal.decided`, `proposal.gone`, `proposal.changed`, `proposal.empty`,
                `proposal.changes_requested`, `proposal.approval_fallen`, `proposal.unsigned`.
        """
        row = await self._row(actor, proposal_id)
        target = await asyncio.to_thread(self._target, VolumeRef.parse(row.target))

        def unsafe(branch: Branch) -> list[Conflict]:
            return signing.obstacle(target, signing.examine(target, branch, self._guard))

        return await self._do(actor, row, partial(reviewing.merge, digest=digest, known=row.digest, unsafe=unsafe))

    async def sign_off(self, actor: Actor, proposal_id: str, why: str, *, digest: str) -> ProposalView:
        """Stand for what scanners found in exactly what is proposed, as an admin of its target who did not write it.

        Args:
            actor: who.
            proposal_id: the proposal.
            why: why it is safe.
            digest: what the actor looked at; any change since revokes it.

        Raises:
            NotFound: `proposal.unknown`.
            Invalid: `comment.empty`, `comment.too_long`.
            Forbidden: `role.missing`, `proposal.own`.
            Conflict: `proposal.decided`, `proposal.gone`, `proposal.changed`, `proposal.nothing_found`.
        """
        row = await self._row(actor, proposal_id)
        said = _text(why, needed=True)
        return await self._do(actor, row, partial(signing.sign_off, why=said, digest=digest, guard=self._guard))

    async def close(self, actor: Actor, proposal_id: str, reason: str = "") -> ProposalView:
        """Close a proposal without merging it, as its author or an admin of its target.

        Raises:
            NotFound: `proposal.unknown`.
            Forbidden: `role.missing`.
            Conflict: `proposal.decided`.
        """
        row = await self._row(actor, proposal_id)
        require_party(actor, row, "close")
        return await self._do(actor, row, partial(reviewing.close, reason=_text(reason, needed=False)))

    async def resolve(
        self, actor: Actor, proposal_id: str, chosen: Sequence[Resolution], *, seen: str = ""
    ) -> ProposalView:
        """Decide about the conflicts of a proposal, as its author or an admin of its target; see `resolving.resolve`.

        Raises:
            NotFound: `proposal.unknown`.
            Forbidden: `role.missing`.
        """
        row = await self._row(actor, proposal_id)
        require_party(actor, row, "resolve")
        return await self._do(actor, row, partial(resolving.resolve, chosen=chosen, seen=seen, scanners=self._scanners))

    # -- rows ---------------------------------------------------------------------------------------------------------

    async def reindex(self) -> int:
        """Make every row anew from Git, and return how many there are; part of `llmos reindex`.

        The rows of a volume that cannot be read stay as they are.
        """
        refs = await asyncio.to_thread(self._volumes.refs)
        for gone in await self._rows.targets() - {str(ref) for ref in refs}:
            await self._rows.remove(await self._rows.ids(gone))
        return sum([await self._reindex(ref) for ref in refs])

    async def _reindex(self, ref: VolumeRef) -> int:
        known = await self._rows.ids(str(ref))
        try:
            found = await asyncio.to_thread(self._records, ref)
        except LlmosError:
            return 0
        await self._rows.rebuild(found)
        await self._rows.remove(known - {row.proposal_id for row in found})
        return len(found)

    def _records(self, ref: VolumeRef) -> list[ProposalRecord]:
        volume = self._target(ref)
        promoting.tidy(volume)
        promoting.notice_all(volume)
        log = ProposalLog(volume)
        return [row for proposal_id in log.ids() if (row := log.record(proposal_id)) is not None]

    async def notice(self, ref: VolumeRef) -> int:
        """Bring branches and rows of one volume together: edits by hand that main moved away from are proposals.

        Returns how many rows were made or changed.
        """
        count = 0
        for row in await asyncio.to_thread(lambda: promoting.notice_all(self._target(ref))):
            if await self._rows.get(row.proposal_id) != row:
                await self._rows.put(row)
                count += 1
        return count

    async def pushed(self, ref: VolumeRef, branch: str) -> ProposalRecord:
        """Return the proposal of a branch that somebody pushed with git; one that is open already is renewed.

        Raises:
            Invalid: `proposal.branch`.
        """
        row = await asyncio.to_thread(lambda: promoting.notice_branch(self._target(ref), branch, pushed=True))
        if row is None:
            raise Invalid("proposal.branch", f"{branch[:80]!r} is no branch of a proposal.")
        await self._rows.put(row)
        return row

    async def forget(self, user_id: str) -> int:
        """Take the text of everything that somebody said about proposals out of all histories; return how much it was.

        That somebody commented, reviewed or proposed, and why they proposed it, stays.

        Raises:
            Invalid: `user.invalid_id`.
        """
        check_id(user_id, "user")
        count = 0
        for ref in await asyncio.to_thread(self._volumes.refs):
            changed = await asyncio.to_thread(forget_comments, self._volumes, ref, user_id)
            await self._rows.rebuild(changed.rows)
            count += changed.events
        return count

    # -- below --------------------------------------------------------------------------------------------------------

    def _promote(
        self, actor: Actor, wanted: Event, source: VolumeRef, target: VolumeRef
    ) -> tuple[ProposalRecord | None, str, tuple[str, ...]]:
        """Write a promotion; the source must be one that the actor may read."""
        origin = self._volumes.open(actor.principal, source)
        _require_readable(origin, wanted.skill_id)
        volume, carried = self._target(target), Carried.of(origin, wanted.skill_id)
        held = signing.unsigned(volume, carried, self._guard)
        way = promoting.promote_by_review if volume.review_required or held else promoting.promote_now
        return *way(self._volumes, wanted, volume, carried), held

    async def _do(self, actor: Actor, row: ProposalRecord, what: Callable[..., list[Event]]) -> ProposalView:
        """Write an event, then the row; return the proposal as it is now."""

        def work() -> ProposalView:
            volume = self._target(VolumeRef.parse(row.target))
            what(volume, actor, row)
            return self._view(actor, row)

        view = await asyncio.to_thread(work)
        await self._rows.put(view.proposal)
        return view

    def _view(self, actor: Actor, row: ProposalRecord) -> ProposalView:
        volume = self._target(VolumeRef.parse(row.target))
        try:
            found = reviewing.standing(volume, row)
        except Conflict:  # decided while it was read
            found = reviewing.standing(volume, row)
        if found.landed:
            found = reviewing.standing(volume, promoting.land(volume, found.row))
        examined = signing.examine(volume, found.branch, self._guard) if found.branch and not found.landed else []
        return _view_of(actor, volume, found, examined)

    async def _row(self, actor: Actor, proposal_id: str) -> ProposalRecord:
        row = await self._rows.get(proposal_id) if is_id(proposal_id) else None
        if row is None or not sees(actor, row):
            raise NotFound(
                "proposal.unknown",
                "There is no such proposal that you may see.",
                hint="`llmos proposals list` shows all.",
            )
        return row

    def _target(self, ref: VolumeRef) -> GitVolume:
        return self._volumes.open(PLATFORM, ref, write=True)


def _view_of(actor: Actor, volume: GitVolume, found: Standing, examined: Sequence[Examined]) -> ProposalView:
    row, branch = found.row, found.branch
    unsafe = signing.obstacle(volume, examined)
    problems = reviewing.obstacles(actor, found, looked=True, unsafe=unsafe)
    changes = branch.changes if branch else branches.brought(volume.store, row.commit) if row.commit else {}
    return ProposalView(
        row,
        digest=found.digest,
        diff=branches.diff(volume.store, changes),
        conflicts=branches.conflict_texts(volume.store, branch) if branch else (),
        seen=branch.seen if branch else "",
        events=found.events,
        reviews=found.reviews,
        mergeable=not problems,
        obstacles=[problem.message for problem in problems],
        may=reviewing.may(actor, found, unsafe=unsafe),
        examined=examined,
    )


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
    clean = promoting.one_line(text)
    if not clean:
        raise Invalid("promotion.reason", "A promotion needs a reason.", hint="Say why others should have the skill.")
    if len(clean) > REASON_LENGTH:
        raise Invalid("promotion.reason", f"A reason has at most {REASON_LENGTH} characters.")
    return clean


def _text(text: str, *, needed: bool) -> str:
    """Return what somebody says without what would steer a terminal; lines and tabs stay.

    Raises:
        Invalid: `comment.empty`, `comment.too_long`.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    clean = "".join(char for char in lines if char in "\n\t" or not _steers(char)).strip()
    if needed and not clean:
        raise Invalid("comment.empty", "There is no text.", hint="Say what you think.")
    if len(clean) > TEXT_LENGTH:
        raise Invalid("comment.too_long", f"A comment has at most {TEXT_LENGTH:,} characters.")
    return clean


def _steers(char: str) -> bool:
    """Tell whether a character is none of a text: a control character, one that turns the direction, half of one."""
    return unicodedata.category(char) in {"Cc", "Cs"} or unicodedata.bidirectional(char) in _TURNS


_TURNS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
