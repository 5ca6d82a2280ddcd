"""How proposals come to be: by promotion, by a push, by evolution, by an edit that main moved away from.

Everything here blocks, and holds the lock of the target's repository while it compares and writes.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from msgspec import structs

from llmos_lite.core.proposals import branches
from llmos_lite.core.proposals.branches import PREFIX
from llmos_lite.core.proposals.events import Event, Kind, record_of
from llmos_lite.core.proposals.log import ProposalLog
from llmos_lite.core.skills.standard import conforming
from llmos_lite.core.skills.versions import Kept
from llmos_lite.core.traces.trace import make_ulid, now_ms
from llmos_lite.engines.git import LOCAL_FILES, MAIN, PLATFORM, Commit
from llmos_lite.engines.git_objects import blob_id
from llmos_lite.engines.volume_interface import VolumeInterface
from llmos_lite.errors import Conflict
from llmos_lite.records.proposals import ProposalRecord
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.git_volume import GitVolume, author_of
from llmos_lite.volumes.manager import VolumeManager
from llmos_lite.volumes.receiving import move_branch
from llmos_lite.volumes.skill_paths import FILE, folder_path

REASON_LENGTH = 2000
GIT = "git"
"""Who merged, when nothing but Git knows."""
FAR = 200
"""Commits of main among which the merge of a proposal is looked for."""
_DRAFT = ".next"
"""End of the name of a branch that is being written; no skill and no topic has a dot."""
_SUBJECT = re.compile(r"Promote '[^']*' from (\S+) - Reason: (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Carried:
    """A skill on its way, as one commit of its volume has it: what is scanned is what is written.

    Args:
        skill_id: the skill.
        head: the commit.
        content: its SKILL.md as it will be written.
        files: all files as they will stand in the target, by their paths in the folder.
        store: holds the others.
    """

    skill_id: str
    head: str
    content: bytes
    files: Mapping[str, Kept]
    store: VolumeInterface

    @classmethod
    def of(cls, source: GitVolume, skill_id: str, *, strict: bool = True) -> Self:
        """Read a skill.

        Args:
            source: where it is.
            skill_id: the skill.
            strict: one that came in outside the standard is written in its form: what we publish others can read.

        Raises:
            NotFound: `skill.unknown`, `skill.no_file`.
            Invalid: as `conforming`.
        """
        head = source.store.head()
        text = source.read_skill(skill_id, at=head).encode()
        content = conforming(skill_id, text) if strict else text
        lead = folder_path(skill_id) + "/"
        files = {
            entry.path[len(lead) :]: Kept(entry.oid, entry.executable)
            for entry in source.skill_files(skill_id, at=head)
            if entry.path.startswith(lead)
        }
        return cls(skill_id, head or "", content, files | {FILE: Kept(blob_id(content))}, source.store)

    def blob(self, oid: str) -> bytes:
        """Return the content of a file."""
        return self.content if oid == self.files[FILE].oid else self.store.blob(oid)


def promote_now(
    volumes: VolumeManager, wanted: Event, target: GitVolume, carried: Carried
) -> tuple[ProposalRecord | None, str]:
    """Bring a skill to main; return its row (None when main has it already) and the commit."""
    with target.store.lock():
        before = target.store.head()
        commit = _copy(volumes, wanted, MAIN, carried)
        if commit.oid == before or commit.committer == LOCAL_FILES.name:
            return None, commit.oid
        proposal_id = make_ulid(wanted.at)
        event = structs.replace(wanted, kind=Kind.PROMOTED, branch="", commit=commit.oid)
        return record_of(proposal_id, ProposalLog(target).append(proposal_id, [event])), commit.oid


def promote_by_review(
    volumes: VolumeManager, wanted: Event, target: GitVolume, carried: Carried
) -> tuple[ProposalRecord | None, str]:
    """Put a skill on a branch of its own, and open a proposal, or renew the one that is open.

    Returns:
        The row, and the commit of the branch; None and the commit of main when main has it already.
    """
    with target.store.lock(), _draft(target, wanted.branch) as draft:
        commit = _copy(volumes, wanted, draft, carried)
        fresh = branches.read(target.store, draft)
        if not fresh.changes:
            return None, fresh.main
        known = ProposalLog(target).on(wanted.branch)
        if known is not None and known.state == "open" and _is_same(target, known, fresh.digest, wanted.reason):
            return known, known.head
        move_branch(volumes, target.ref, wanted.branch, commit.oid)
        row = note_branch(target, structs.replace(wanted, head=commit.oid, digest=fresh.digest))
        return row, commit.oid


def _is_same(target: GitVolume, known: ProposalRecord, digest: str, reason: str) -> bool:
    """Tell whether the branch holds exactly this already."""
    return (known.digest, known.reason) == (digest, reason) and target.store.head(known.branch) == known.head


@contextlib.contextmanager
def _draft(target: GitVolume, branch: str) -> Iterator[str]:
    """Lend a branch to write on, at main: the proposal's own moves at once, when all is written."""
    name = branch + _DRAFT
    if target.store.head(name):
        target.store.delete_branch(name)
    target.store.create_branch(name)
    try:
        yield name
    finally:
        target.store.delete_branch(name)


def _copy(volumes: VolumeManager, wanted: Event, branch: str, carried: Carried) -> Commit:
    source, target = VolumeRef.parse(wanted.source), VolumeRef.parse(wanted.target)
    return volumes.promote_skill(
        wanted.skill_id,
        source,
        target,
        author_of(wanted.author),
        wanted.reason,
        branch=branch,
        content=carried.content.decode(),
        at=carried.head,
    )


def note_branch(target: GitVolume, wanted: Event) -> ProposalRecord:
    """Note that a branch was written: it is a proposal from now on, or renews the one that is open.

    Args:
        target: the volume; opened for writing.
        wanted: an `opened` event; `head` and `digest` are read from the branch when they are empty.
    """
    with target.store.lock():
        log, known = ProposalLog(target), ProposalLog(target).on(wanted.branch)
        if not wanted.head:
            found = branches.read(target.store, wanted.branch)
            wanted = structs.replace(wanted, head=found.head.oid, digest=found.digest)
        if known is None or known.state != "open":
            proposal_id = make_ulid(wanted.at)
            return record_of(proposal_id, log.append(proposal_id, [wanted], branch=wanted.branch))
        if (known.head, known.reason) == (wanted.head, wanted.reason):
            return known
        renewed = Event(
            kind=Kind.RENEWED,
            at=wanted.at,
            by=wanted.by,
            reason=wanted.reason,
            head=wanted.head,
            digest=wanted.digest,
        )
        return record_of(known.proposal_id, log.append(known.proposal_id, [renewed]))


def notice_branch(target: GitVolume, branch: str, *, pushed: bool = False) -> ProposalRecord | None:
    """Bring a branch and its events together, whoever wrote it and whatever was cut short.

    Args:
        target: the volume; opened for writing.
        branch: the branch.
        pushed: it was just pushed, so it is no leftover of a proposal that was decided.

    Returns:
        The proposal; None for a branch that is none.
    """
    parts = branch.removeprefix(PREFIX).split("/")
    if not branch.startswith(PREFIX) or len(parts) != 2 or "." in parts[1]:  # noqa: PLR2004 - user and skill
        return None
    known = ProposalLog(target).on(branch)
    if known is not None and known.state == "open" and not _moved(target, known):
        return known
    with target.store.lock():
        head, known = target.store.head(branch), ProposalLog(target).on(branch)
        if known is not None and known.head == head and not (pushed and known.state != "open"):
            return land(target, known)
        if head is None or _contained(target, head):  # nothing of its own yet
            return known
        commit = target.store.log(limit=1, branch=head)[0]
        # What a person pushes says nothing about where it comes from, whatever its subject looks like.
        ours = not pushed and commit.committer == PLATFORM.name
        said = _SUBJECT.match(commit.subject) if ours else None
        wanted = Event(
            kind=Kind.OPENED,
            at=now_ms(),
            by=parts[0],
            target=str(target.ref),
            source=said.group(1) if said else f"user:{parts[0]}",
            skill_id=parts[1],
            branch=branch,
            author=parts[0],
            reason=one_line(said.group(2) if said else commit.subject)[:REASON_LENGTH],
        )
        return note_branch(target, wanted)


def _moved(target: GitVolume, known: ProposalRecord) -> bool:
    """Tell whether something about an open proposal's branch has to be noted."""
    head = target.store.head(known.branch)
    return head is not None and (head != known.head or _contained(target, head))


def _contained(target: GitVolume, head: str) -> bool:
    """Tell whether main has a commit."""
    main = target.store.head()
    return main is not None and target.store.merge_base(main, head) == head


def land(target: GitVolume, known: ProposalRecord) -> ProposalRecord:
    """Note that a proposal was merged, when main has its branch: by somebody with git, or before a kill."""
    with target.store.lock():
        log, head = ProposalLog(target), target.store.head(known.branch)
        known = log.record(known.proposal_id) or known
        if known.state != "open" or head != known.head or not _contained(target, head):
            return known
        commit = merged_as(target, head)
        by = commit.trailers.get("Merged-By", "") if commit.trailers.get("Proposal") == known.proposal_id else ""
        approved = commit.trailers.get("Approved-By", "").split() if by else []
        event = Event(
            kind=Kind.MERGED,
            at=now_ms(),
            by=by or GIT,
            head=head,
            digest=known.digest,
            commit=commit.oid,
            approved_by=tuple(approved),
        )
        events = log.append(known.proposal_id, [event])
        close_branch(target, known.branch)
        return record_of(known.proposal_id, events)


def merged_as(target: GitVolume, head: str) -> Commit:
    """Return the commit that brought a branch to main."""
    commits = target.get_git_log(FAR)
    return next((one for one in commits if head in one.parents[1:]), target.store.log(limit=1, branch=head)[0])


def tidy(target: GitVolume) -> None:
    """Remove branches that a kill left after their proposal was decided."""
    for branch, head in target.branches().items():
        with target.store.lock():
            known = ProposalLog(target).on(branch) if branch.startswith(PREFIX) else None
            if known is not None and known.state != "open" and known.head == head:
                close_branch(target, branch)


def notice_all(target: GitVolume) -> list[ProposalRecord]:
    """Bring all branches of a volume and their events together."""
    names = [name for name in target.branches() if name.startswith(PREFIX)]
    return [row for name in names if (row := notice_branch(target, name)) is not None]


def one_line(text: str) -> str:
    """Return a text as one line without control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def close_branch(target: GitVolume, branch: str) -> None:
    """Remove the branch of a proposal that is decided."""
    if branch and target.store.head(branch):
        with contextlib.suppress(Conflict):
            target.store.delete_branch(branch)
