"""One look at a remote of skills: what is ours and not theirs is pushed, what is theirs and not ours is pulled.

Nothing is ever forced. What cannot go forward on both sides becomes a proposal: the branch of theirs, to be merged here
by a person; then ours has all of theirs, and goes forward there. What is fetched stays in quarantine until it has
passed the checks of a push over HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from llmos_lite.core.git.checks import PushCheck, told
from llmos_lite.core.proposals.branches import PREFIX
from llmos_lite.core.skills.guard import refuses
from llmos_lite.core.skills.scan import Scanner
from llmos_lite.core.skills.signoffs import signed_off
from llmos_lite.engines.git_incoming import Incoming
from llmos_lite.engines.git_peer import Aside, Peer
from llmos_lite.engines.git_scrub import became
from llmos_lite.errors import Conflict
from llmos_lite.records.remotes import RemoteRecord
from llmos_lite.volumes.access import PLATFORM, VolumeKind, VolumeRef
from llmos_lite.volumes.manager import VolumeManager
from llmos_lite.volumes.receiving import adopt_edits, gitdir_of, move_branch, move_main

PROBLEM = 2000
"""Characters of a problem that are kept."""


class State(StrEnum):
    """How a remote stands."""

    NEW = "new"
    OK = "ok"
    PROPOSED = "proposed"
    """The remote is ahead, and that waits for a review here."""
    DIVERGED = "diverged"
    REFUSED = "refused"
    """One side does not take what the other has."""
    FAILED = "failed"
    """The remote could not be reached, or used."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a look.

    Args:
        state: how the remote stands now.
        problem: why it is not `ok`.
        head: our commit that was looked at.
        theirs: the commit there, afterwards.
        ahead: commits that we have and they have not.
        behind: the other way round.
        proposed: the commit that stands in a proposal.
        branch: the branch of a proposal that was made or renewed.
        pulled: whether `main` moved here.
    """

    state: State
    problem: str = ""
    head: str = ""
    theirs: str = ""
    ahead: int = 0
    behind: int = 0
    proposed: str = ""
    branch: str = ""
    pulled: bool = False


class Sync:
    """Looks at remotes of skills, from any thread.

    Args:
        volumes: whose remotes.
        scanners: look at every skill that comes.
        most: bytes that a fetch may bring.
    """

    def __init__(self, volumes: VolumeManager, scanners: Mapping[str, Scanner], most: int) -> None:
        self._volumes, self._scanners, self._most = volumes, scanners, most

    def run(self, row: RemoteRecord, peer: Peer) -> Outcome:
        """Look at one remote, and do what can be done.

        Raises:
            UpstreamFailed: it could not be reached, or sent something that is no Git.
            TooLarge: it has more than a push may bring.
            Conflict: `volume.moved`, when somebody was quicker here: look again.
        """
        return _Look(self, row, peer).run()


class _Look:
    """One look at one remote."""

    def __init__(self, sync: Sync, row: RemoteRecord, peer: Peer) -> None:
        self._row, self._peer, self._most, self._scanners = row, peer, sync._most, sync._scanners  # noqa: SLF001 - its own
        self._volumes, self._ref = sync._volumes, VolumeRef.parse(row.volume)  # noqa: SLF001 - as above
        self._gitdir = gitdir_of(self._volumes, self._ref)
        self._volume = self._volumes.open(PLATFORM, self._ref, write=True)
        self._ours = self._volume.store.head() or ""
        self._pushes, self._pulls = row.direction != "pull", row.direction != "push"

    def run(self) -> Outcome:
        theirs = self._peer.heads().get(self._row.branch, "")
        if theirs == self._ours:
            return Outcome(State.OK, head=self._ours, theirs=theirs)
        with Aside(self._gitdir, [self._ours]) as aside:
            if not theirs:
                return self._first(aside)
            with Incoming(self._gitdir, None) as known:
                behind = 0 if known.is_commit(theirs) and known.merge_base(self._ours, theirs) == theirs else 1
                ahead = 0 if behind else known.ahead_behind(self._ours, theirs)[0]
            if not behind:
                return self._forward(aside, theirs, ahead)
            return self._fetched(aside, self._peer.fetch(aside, self._row.branch, most=self._most))

    # Theirs is part of ours

    def _first(self, aside: Aside) -> Outcome:
        if not self._pushes:
            said = f"There is no branch {self._row.branch} there to pull from."
            return Outcome(State.REFUSED, said, head=self._ours)
        return self._push(aside, "", self._volume.store.count())

    def _forward(self, aside: Aside, theirs: str, ahead: int) -> Outcome:
        if not self._pushes:
            return Outcome(State.OK, head=self._ours, theirs=theirs, ahead=ahead)
        return self._push(aside, theirs, ahead)

    def _push(self, aside: Aside, theirs: str, ahead: int) -> Outcome:
        why = self._peer.push(aside, {self._row.branch: self._ours}).get(self._row.branch)
        if why is None:
            return Outcome(State.OK, head=self._ours, theirs=self._ours)
        said = f"The other side did not take {self._row.branch}: {why}"
        return Outcome(State.REFUSED, said, head=self._ours, theirs=theirs, ahead=ahead)

    # Theirs is not part of ours

    def _fetched(self, aside: Aside, theirs: str) -> Outcome:
        with Incoming(self._gitdir, aside.objects) as incoming:
            base = incoming.merge_base(self._ours, theirs)
            if base is None:
                said = "The two share no history. Start the remote empty, or from a clone of this volume."
                return Outcome(State.DIVERGED, said, head=self._ours, theirs=theirs)
            ahead, behind = incoming.ahead_behind(self._ours, theirs)
            seen = Outcome(State.DIVERGED, head=self._ours, theirs=theirs, ahead=ahead, behind=behind)
            changed = incoming.changed(base, theirs)
            problems = self._problems(incoming, base, theirs)
        if problems:
            said = "\n".join(["What is there may not come in:", *problems])[:PROBLEM]
            return _with(seen, State.REFUSED, said)
        if not ahead and self._pulls and (self._row.trust or not self._volume.review_required):
            return self._pull(aside, seen, changed)
        return self._propose(aside, seen, changed)

    def _problems(self, incoming: Incoming, base: str, theirs: str) -> list[str]:
        scrubbed = became(self._gitdir)
        stands = self._stands if refuses(self._ref) else None
        check = PushCheck(incoming, self._scanners, may_set_policy=self._row.trust, stands=stands, scrubbed=scrubbed)
        return told(check.problems(base, theirs))

    def _stands(self, digest: str) -> bool:
        return signed_off(self._volume, digest) is not None

    def _pull(self, aside: Aside, seen: Outcome, changed: list[str]) -> Outcome:
        """Move `main` forward; an edit by hand of the same files comes first, and then this is too late."""
        store = self._volume.store
        with store.lock():
            adopt_edits(store, changed)
            if store.head() != self._ours:
                raise Conflict("volume.moved", "main has moved meanwhile.")
            aside.accept()
        move_main(self._volumes, self._ref, seen.theirs, self._ours)
        return Outcome(State.OK, head=seen.theirs, theirs=seen.theirs, pulled=True)

    def _propose(self, aside: Aside, seen: Outcome, changed: list[str]) -> Outcome:
        branch = proposal_branch(self._row)
        state = State.DIVERGED if seen.ahead else State.PROPOSED
        count = f"{seen.behind} commit{'' if seen.behind == 1 else 's'} there"
        if not changed:
            return _with(seen, state, f"{count} are not here; they change no file. Bring them together by hand.")
        if seen.theirs == self._row.proposed and branch not in self._volume.branches():
            said = f"The proposal of {count} was closed. Change the remote by hand, or take it away."
            return _with(seen, state, said, proposed=seen.theirs)
        with self._volume.store.lock():
            aside.accept()
        move_branch(self._volumes, self._ref, branch, seen.theirs)
        how = f", and {seen.ahead} here are not there: nothing is forced" if seen.ahead else ""
        said = f"{count} are not here{how}. Merge the proposal of the branch {branch}."
        return _with(seen, state, said, proposed=seen.theirs, branch=branch)


def proposal_branch(row: RemoteRecord) -> str:
    """Return the branch on which what a remote has is proposed; a person's own remotes propose in their name."""
    ref = VolumeRef.parse(row.volume)
    if ref.kind is VolumeKind.USER:
        return f"{PREFIX}{ref.id}/remote-{row.name}"
    return f"{PREFIX}remote-{row.name}/main"


def _with(seen: Outcome, state: State, problem: str, *, proposed: str = "", branch: str = "") -> Outcome:
    return Outcome(
        state,
        problem,
        head=seen.head,
        theirs=seen.theirs,
        ahead=seen.ahead,
        behind=seen.behind,
        proposed=proposed,
        branch=branch,
    )
