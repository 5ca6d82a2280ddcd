"""One push, from quarantine to the branch: what is asked for, whether it may be, and what became of it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.audit import Audit
from llmos_lite.core.audit.log import OK, REFUSED
from llmos_lite.core.git.checks import Problem, PushCheck, plain, told
from llmos_lite.core.git.repositories import Repository
from llmos_lite.core.proposals.branches import PREFIX
from llmos_lite.core.proposals.service import Proposals
from llmos_lite.core.skills.guard import refuses
from llmos_lite.core.skills.scan import Scanner
from llmos_lite.core.skills.signoffs import signed_off
from llmos_lite.engines.git import MAIN
from llmos_lite.engines.git_hooks import MOST_UPDATES, Arrival, Moved, Update
from llmos_lite.engines.git_incoming import Incoming, inside
from llmos_lite.engines.git_scrub import became
from llmos_lite.errors import Invalid, LlmosError
from llmos_lite.volumes.access import ID_LENGTH, PLATFORM, check_id
from llmos_lite.volumes.manager import VolumeManager
from llmos_lite.volumes.receiving import adopt_edits, move_branch, move_main
from llmos_lite.volumes.skill_paths import skill_of

log = logging.getLogger("llmos.git")

TO_MAIN = f"refs/heads/{MAIN}"
TO_REVIEW = f"refs/for/{MAIN}"

CHECKS = 2
"""Pushes that are looked through at once: each takes a thread that others need, too."""

_FETCH_FIRST = "main has moved meanwhile: git pull --rebase, then push again."


class Pushes:
    """Makes a `Push` for everybody who pushes.

    Args:
        volumes: where to.
        proposals: keeps those that wait for a review.
        scanners: look at every skill.
        audit: hears of every ref that moved, and of refused pushes; None for nobody.
    """

    def __init__(
        self,
        volumes: VolumeManager,
        proposals: Proposals,
        scanners: Mapping[str, Scanner],
        audit: Audit | None = None,
    ) -> None:
        self.volumes, self.proposals, self.scanners, self.audit = volumes, proposals, scanners, audit
        self.checking = asyncio.Semaphore(CHECKS)

    def by(self, actor: Actor, repository: Repository) -> Push:
        """Return the push that an actor is about to make."""
        return Push(actor, repository, self)


class Push:
    """Decides about one push; a `Receiver` of `engines.git_hooks`."""

    def __init__(self, actor: Actor, repository: Repository, pushes: Pushes) -> None:
        self._actor, self._repository, self._pushes = actor, repository, pushes
        self._volumes = pushes.volumes
        self._branch = ""
        self._warnings: list[Problem] = []

    async def check(self, arrival: Arrival) -> Sequence[str]:
        """Return why the push is refused, as lines for the person; nothing accepts it."""
        try:
            async with self._pushes.checking:
                problems = await asyncio.to_thread(self._check, arrival)
        except LlmosError as error:
            return [plain(text) for text in (error.message, error.hint) if text]
        except Exception:
            log.exception("a push to %s could not be checked", self._repository.ref)
            return ["The push could not be checked; the server's log says why."]
        if problems:
            await self._record(arrival.updates[0], REFUSED, "push.refused", problems[0].text)
        return told(problems)

    async def apply(self, arrival: Arrival) -> tuple[Sequence[Moved], Sequence[str]]:
        """Move the refs; return what became of each, and lines for the person."""
        moved, said = list[Moved](), [f"warning: {line}" for line in told(self._warnings)]
        for update in arrival.updates:
            try:
                one, line = await (self._propose(update) if update.ref == TO_REVIEW else self._move(update))
                await self._record(update, OK)
            except LlmosError as error:
                one, line = Moved(update.ref, plain(error.message)), error.hint
                await self._record(update, REFUSED, error.code)
            except Exception:
                log.exception("a push to %s could not be stored", self._repository.ref)
                one, line = Moved(update.ref, "the server's log says why"), ""
            moved.append(one)
            said += [plain(line)] if line else []
        return moved, said

    async def _record(self, update: Update, result: str, code: str = "", why: str = "") -> None:
        """Put a ref into the audit log; one that has moved has moved, whatever becomes of this."""
        if self._pushes.audit is None:
            return
        detail = {"ref": update.ref, "old": update.old, "new": update.new, "why": why}
        told = {name: text for name, text in detail.items() if text}
        try:
            await self._pushes.audit.record(
                self._actor, "git.push", str(self._repository.ref), result=result, code=code, detail=told
            )
        except LlmosError as error:
            log.error("a push to %s is not in the audit log: %s", self._repository.ref, error.message)  # noqa: TRY400

    # In quarantine

    def _check(self, arrival: Arrival) -> list[Problem]:
        problems = [problem for update in arrival.updates if (problem := self._asked(update))]
        if problems or len(arrival.updates) > MOST_UPDATES:
            return problems or [Problem("", f"One push may name {MOST_UPDATES} refs.")]
        with Incoming(self._repository.gitdir, inside(self._repository.gitdir, arrival.quarantine)) as incoming:
            return [
                problem for update in arrival.updates for problem in self._brought(incoming, update, arrival.options)
            ]

    def _asked(self, update: Update) -> Problem | None:
        """Tell whether what a push wants of a ref may be wanted at all."""
        ref = self._repository.ref
        if update.ref not in {TO_MAIN, TO_REVIEW}:
            how = f"git push origin HEAD:{TO_REVIEW}"
            return Problem(update.ref, f"only {MAIN} takes a push; propose what is on another branch with {how}")
        if not update.new:
            return Problem(update.ref, "cannot be deleted")
        if update.ref == TO_MAIN and not self._repository.writable:
            how = f"propose the change with git push origin HEAD:{TO_REVIEW}, or promote the skill with llmos promote"
            return Problem(update.ref, f"You may read {ref}, not push to its {MAIN}; {how}")
        return None

    def _brought(self, incoming: Incoming, update: Update, options: Mapping[str, str]) -> list[Problem]:
        if not incoming.is_commit(update.new):
            return [Problem(update.ref, "is no commit")]
        main = self._main(incoming, update)
        base = incoming.merge_base(main, update.new)
        if base is None:
            return [Problem(update.ref, f"shares no history with {MAIN}: clone first, then put your commits on top")]
        if update.ref == TO_MAIN and base != main:
            return [Problem(update.ref, _not_on_top(update, main))]
        if update.ref == TO_REVIEW:
            changed = incoming.changed(base, update.new)
            if not changed:
                return [Problem(update.ref, f"There is nothing to propose: {MAIN} has all of it.")]
            self._branch = f"{PREFIX}{self._actor.user_id}/{_topic(changed, options)}"
        check = PushCheck(
            incoming,
            self._pushes.scanners,
            may_set_policy=self._repository.writable,
            stands=self._stands if update.ref == TO_MAIN and refuses(self._repository.ref) else None,
            scrubbed=became(self._repository.gitdir),
        )
        problems = check.problems(base, update.new)
        self._warnings += check.warnings
        return problems

    def _stands(self, digest: str) -> bool:
        return signed_off(self._volumes.open(PLATFORM, self._repository.ref), digest) is not None

    def _main(self, incoming: Incoming, update: Update) -> str:
        """Return where `main` is, with what was edited by hand of the files that the push changes."""
        store = self._volumes.open(PLATFORM, self._repository.ref, write=True).store
        if update.ref == TO_MAIN:
            with suppress(Invalid):  # a path that is none; the check says so
                adopt_edits(store, incoming.changed(store.head() or "", update.new))
        return store.head() or ""

    # Afterwards

    async def _move(self, update: Update) -> tuple[Moved, str]:
        await asyncio.to_thread(move_main, self._volumes, self._repository.ref, update.new, update.old)
        log.info("%s pushed %s to %s", self._actor.user_id, update.new, self._repository.ref)
        return Moved(update.ref), ""

    async def _propose(self, update: Update) -> tuple[Moved, str]:
        ref = self._repository.ref
        old, forced = await asyncio.to_thread(move_branch, self._volumes, ref, self._branch, update.new)
        row = await self._pushes.proposals.pushed(ref, self._branch)
        log.info("%s proposed %s to %s", self._actor.user_id, update.new, ref)
        moved = Moved(update.ref, to=f"refs/heads/{self._branch}", old=old, new=update.new, forced=forced)
        return moved, f"Proposal {row.proposal_id} to {ref}: {row.reason}"


def _not_on_top(update: Update, main: str) -> str:
    if update.old and update.old != main:
        return _FETCH_FIRST
    return f"{MAIN} only goes forward, and this push would drop commits of it: git pull --rebase, then push again."


def _topic(changed: Sequence[str], options: Mapping[str, str]) -> str:
    """Return the last part of a proposal's branch: the same for a second push of the same skills, which renews it."""
    if "topic" in options:
        return check_id(options["topic"], "topic")
    names = sorted({skill_of(path) or path.partition("/")[0].partition(".")[0].lower() for path in changed})
    joined = "_".join(names)
    if len(joined) <= ID_LENGTH:
        return joined
    digest = hashlib.sha256(joined.encode()).hexdigest()[:8]
    return f"{names[0][: ID_LENGTH - 20]}_and_{len(names) - 1}_{digest}"
