"""What scanners say of the skills that a proposal would bring, and who has signed that off.

What counts is the folder as it would stand on main after the merge. A sign-off is bound to the Git id of exactly that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.proposals.branches import Branch
from llmos_lite.core.proposals.events import Event, Kind
from llmos_lite.core.proposals.log import ProposalLog
from llmos_lite.core.proposals.promoting import Carried
from llmos_lite.core.proposals.reviewing import require_unchanged, standing
from llmos_lite.core.proposals.rights import is_own, require_reviewer
from llmos_lite.core.skills.guard import Guard, refuses
from llmos_lite.core.skills.scan import Finding, high
from llmos_lite.core.skills.signoffs import SignOff, codes_of, encoded, path_of, signed_off, tree_id
from llmos_lite.core.skills.versions import Kept
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.errors import Conflict, Forbidden
from llmos_lite.records.proposals import ProposalRecord
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.skill_paths import FILE, FOLDER, flat_path, skill_of


@dataclass(frozen=True, slots=True)
class Examined:
    """A skill as it would stand after the merge.

    Args:
        skill_id: the skill.
        digest: Git id of its folder, or of its flat file.
        findings: what scanners say.
        signed: who signed this version off for the target; None for nobody.
    """

    skill_id: str
    digest: str
    findings: Sequence[Finding]
    signed: SignOff | None = None

    @property
    def blocking(self) -> list[Finding]:
        """Return what keeps it from being merged."""
        return [] if self.signed else high(self.findings)


def examine(volume: GitVolume, branch: Branch, guard: Guard) -> list[Examined]:
    """Return the skills that a branch changes, as they would stand on main, with what is found in them."""
    ids = sorted({skill_of(path) for path in branch.changes} - {"", "README"})
    return [one for skill_id in ids if (one := _examined(volume, branch, skill_id, guard)) is not None]


def _examined(volume: GitVolume, branch: Branch, skill_id: str, guard: Guard) -> Examined | None:
    files = _merged(volume, branch, skill_id)
    main = files.get(FILE)
    if main is None:
        return None  # it is deleted
    flat = list(files) == [FILE] and _is_flat(branch, volume, skill_id)
    digest = main.oid if flat else tree_id(files)
    found = guard.found(digest, skill_id, {path: kept.oid for path, kept in files.items()}, volume.store.blob)
    return Examined(skill_id, digest, found, signed_off(volume, digest) if high(found) else None)


def _is_flat(branch: Branch, volume: GitVolume, skill_id: str) -> bool:
    path = flat_path(skill_id)
    if path in branch.changes:
        return branch.changes[path][1] is not None
    return volume.store.head() is not None and any(entry.path == path for entry in volume.store.tree(FOLDER))


def _merged(volume: GitVolume, branch: Branch, skill_id: str) -> dict[str, Kept]:
    """Return the files of a skill's folder on main with the changes of a branch put in, by their paths in it."""
    lead, flat = f"{FOLDER}/{skill_id}/", flat_path(skill_id)
    there = volume.skill_entry(skill_id, at=branch.main) is not None
    files = volume.skill_files(skill_id, at=branch.main) if there else []
    found = {entry.path: Kept(entry.oid, entry.executable) for entry in files}
    for path, (_, after) in branch.changes.items():
        if path == flat or path.startswith(lead):
            found.pop(path, None)
            if after is not None:
                found[path] = Kept(after.oid, after.executable)
    if any(path.startswith(lead) for path in found):
        found.pop(flat, None)
    return {FILE if path == flat else path[len(lead) :]: kept for path, kept in found.items()}


def obstacle(volume: GitVolume, examined: Sequence[Examined]) -> list[Conflict]:
    """Return what keeps unsafe skills out of a volume of others, one error for all of them."""
    blocking = [(one.skill_id, finding) for one in examined for finding in one.blocking]
    if not blocking or not refuses(volume.ref):
        return []
    skill_id, first = blocking[0]
    more = f" There is more: {len(blocking)} findings in all." if len(blocking) > 1 else ""
    return [
        Conflict(
            "proposal.unsigned",
            f"A scanner holds {skill_id} back: {first.message}{more}",
            hint="Remove what was found; or an admin of the target who did not propose it signs it off, and says why.",
            findings=[str(finding) for _, finding in blocking],
        )
    ]


def sign_off(
    volume: GitVolume, actor: Actor, row: ProposalRecord, *, why: str, digest: str, guard: Guard
) -> list[Event]:
    """Sign off what scanners found in exactly what is proposed; nobody does that for their own.

    Args:
        volume: the target.
        actor: an admin of it.
        row: the proposal.
        why: why it is safe.
        digest: what the actor looked at.
        guard: knows the scanners.

    Raises:
        Forbidden: `role.missing`, `proposal.own`.
        Conflict: `proposal.decided`, `proposal.gone`, `proposal.changed`, `proposal.nothing_found`.
    """
    with volume.store.lock():
        found = standing(volume, row)
        require_reviewer(actor, found.row, "sign off")
        if is_own(actor, found.row):
            raise Forbidden(
                "proposal.own",
                "Somebody else than the author has to sign a proposal off.",
                hint=f"Ask another admin of {row.target}.",
            )
        branch = require_unchanged(found, digest)
        blocked = [one for one in examine(volume, branch, guard) if one.blocking]
        if not blocked:
            raise Conflict("proposal.nothing_found", "Nothing waits for a sign-off here.")
        event = Event(
            kind=Kind.SIGNED_OFF,
            at=now_ms(),
            by=actor.user_id,
            text=why,
            digest=branch.digest,
            versions=tuple(one.digest for one in blocked),
        )
        also = _files(blocked, event, row.proposal_id)
        return ProposalLog(volume).append(row.proposal_id, [event], also=also)


def _files(blocked: Sequence[Examined], event: Event, proposal_id: str) -> Mapping[str, bytes]:
    """Return the sign-offs; why they were given stands in the event."""
    return {
        path_of(one.digest): encoded(
            SignOff(
                digest=one.digest,
                skill_id=one.skill_id,
                by=event.by,
                at=event.at,
                codes=codes_of(one.blocking),
                proposal_id=proposal_id,
            )
        )
        for one in blocked
    }


def unsigned(volume: GitVolume, carried: Carried, guard: Guard) -> tuple[str, ...]:
    """Return the codes for which a skill of another volume has to wait for a sign-off before it comes to this one."""
    if not refuses(volume.ref):
        return ()
    digest, files = tree_id(carried.files), {path: kept.oid for path, kept in carried.files.items()}
    found = guard.found(digest, carried.skill_id, files, carried.blob)
    codes = codes_of(high(found))
    return codes if codes and signed_off(volume, digest) is None else ()
