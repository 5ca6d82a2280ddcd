"""Whether a volume is what llmos and its people wrote: every commit's signature, every ref, every object's name.

What llmos commits it signs. A commit that names llmos as its committer without a signature of its keys is forged; one
of a person, which came by a push, is counted and never an error.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from llmos_lite.core.accounts.permissions import Actor, Verb, permit
from llmos_lite.engines.git_audit import Missing, SignedCommit, all_refs, contains, history
from llmos_lite.engines.git_fsck import fsck
from llmos_lite.engines.git_refs import OID
from llmos_lite.engines.signing import Signer
from llmos_lite.engines.signing_keys import SOMETIME, Key
from llmos_lite.engines.volume_interface import LOCAL_FILES, MAIN, PLATFORM
from llmos_lite.errors import LlmosError, NotFound
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.manager import VolumeManager

MOST_PROBLEMS = 100
"""Problems of one repository that are told; the rest is counted."""
SLACK = 3600
"""Seconds that a commit of a retired key may be late: another process may have been about to sign."""
STEP = 200

_OURS = frozenset({PLATFORM.name, PLATFORM.email, LOCAL_FILES.name, LOCAL_FILES.email})
_REFS = ("refs/heads/", "refs/llmos/", "refs/notes/")
_OWN = "refs/llmos/"
"""Refs that llmos alone writes: what happened to proposals, the audit's checkpoints, what was shown to others."""
_HIDING = ("shallow", "info/grafts", "objects/info/alternates")
"""Files by which git sees another history than the one that is there; llmos makes none."""
Progress = Callable[[int, int], None]
"""Told the number of commits that were looked at, and 0."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong: a commit or a ref, what kind of wrong, and a sentence."""

    where: str
    code: str
    message: str


@dataclass(slots=True)
class Verified:
    """What was found in one repository of a volume.

    `platform` commits are signed by llmos, `persons` are other people's; `keys` counts commits by fingerprint, and
    `heads` are the refs as they were, for `since` of the next time. `strange` are refs that llmos did not make.
    """

    volume: str
    repository: str
    commits: int = 0
    platform: int = 0
    persons: int = 0
    keys: dict[str, int] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    more: int = 0

    @property
    def sound(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.problems

    def complain(self, where: str, code: str, message: str) -> None:
        """Note a problem."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(where, code, message))
        else:
            self.more += 1


def verify(
    gitdir: Path,
    signer: Signer,
    found: Verified,
    *,
    since: Collection[str] = (),
    people: bool = True,
    objects: bool = True,
    progress: Progress | None = None,
) -> Verified:
    """Look through one repository.

    Args:
        gitdir: its own folder.
        signer: knows the keys of the platform.
        found: where to note what is found.
        since: commits that were good before; what leads to them is passed over, and must still be there.
        people: whether people push to it.
        objects: whether to hash every object, as `git fsck` does.
        progress: told from time to time.
    """
    refs = all_refs(gitdir)
    found.heads = {name: oid for name, oid in refs.items() if OID.fullmatch(oid)}
    found.strange = [name for name in refs if not name.startswith(_REFS)]
    for name, text in refs.items():
        if not OID.fullmatch(text):
            found.complain(name, "ref.broken", f"It holds no commit id but {text[:80]!r}.")
    for name in _HIDING:
        if (gitdir / name).exists():
            found.complain(name, "hidden", "This file lets git see another history than the one that is there.")
    if people and f"refs/heads/{MAIN}" not in refs:
        found.complain(MAIN, "ref.missing", "There is no branch main.")
    _check_since(gitdir, found, since)
    for name, tip in found.heads.items():
        _walk(gitdir, signer, found, name, tip, since=since, people=people, progress=progress)
    if objects:
        for line in fsck(gitdir):
            found.complain("objects", "object", line)
    return found


def _check_since(gitdir: Path, found: Verified, since: Collection[str]) -> None:
    """A branch only goes forward, unless its history was rewritten by llmos itself; say when a commit is gone."""
    for oid in since:
        if not any(contains(gitdir, tip, oid) for tip in found.heads.values()):
            found.complain(oid, "rewound", "No branch leads to this commit any more: history was rewritten.")


def _walk(
    gitdir: Path,
    signer: Signer,
    found: Verified,
    name: str,
    tip: str,
    *,
    since: Collection[str],
    people: bool,
    progress: Progress | None,
) -> None:
    own = name.startswith(_OWN)
    people, done = people and not own, [oid for other, oid in found.heads.items() if other < name and not own]
    try:
        for commit in history(gitdir, [tip], [*since, *done]):
            found.commits += 1
            _judge(commit, signer, found, people=people)
            if progress is not None and found.commits % STEP == 0:
                progress(found.commits, 0)
    except Missing as error:
        found.complain(name, "missing", f"{str(error).capitalize()}.")


def _judge(commit: SignedCommit, signer: Signer, found: Verified, *, people: bool) -> None:
    checked = signer.check(commit.payload, commit.signature) if commit.signature else None
    claimed = bool({commit.committer, commit.email} & _OURS)
    if checked is not None and checked.key is not None:
        key = checked.key
        if not checked.holds:
            found.complain(commit.oid, "signature.bad", "It is not what was signed by llmos.")
        elif key.revoked and commit.time > key.revoked:
            found.complain(commit.oid, "signature.revoked", f"Its key was revoked at {_when(key.revoked)}.")
        elif key.until > SOMETIME and commit.time > key.until + SLACK:
            found.complain(commit.oid, "signature.retired", f"Its key was retired at {_when(key.until)}.")
        else:
            found.platform += 1
            found.keys[key.fingerprint] = found.keys.get(key.fingerprint, 0) + 1
    elif claimed or not people:
        how = "is signed by nobody" if checked is None else "is signed by a key that is none of llmos"
        found.complain(commit.oid, "forged", f"It says that {commit.committer!r} made it, and {how}.")
    else:
        found.persons += 1


def _when(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


class Integrity:
    """Verifies volumes, one at a time, for whoever decides over them; and changes the keys, for a system admin.

    Args:
        volumes: where they are.
    """

    def __init__(self, volumes: VolumeManager) -> None:
        self._volumes = volumes
        self._one = asyncio.Lock()
        self._changing = threading.Lock()

    async def verify(
        self,
        actor: Actor,
        ref: VolumeRef,
        *,
        since: Collection[str] = (),
        objects: bool = True,
        progress: Progress | None = None,
    ) -> list[Verified]:
        """Verify both repositories of a volume, as an admin of it.

        Args:
            actor: who asks.
            ref: the volume.
            since: commits up to which everything was verified before.
            objects: whether to hash every object.
            progress: told from time to time.

        Raises:
            NotFound: `volume.unknown`.
            Forbidden: `role.missing`.
        """
        permit(actor, Verb.ADMINISTER, ref)
        if not self._volumes.exists(ref):
            raise NotFound("volume.unknown", f"There is no volume {ref} that you may see.")
        async with self._one:
            return await asyncio.to_thread(self._verify, ref, since, objects=objects, progress=progress)

    def _verify(
        self, ref: VolumeRef, since: Collection[str], *, objects: bool, progress: Progress | None
    ) -> list[Verified]:
        folder, signer = self._volumes.folder(ref), self._volumes.signer
        done = []
        for name, gitdir in (("skills", folder / ".git"), ("traces", folder / "traces.git")):
            found = Verified(str(ref), name)
            known = [oid for oid in since if OID.fullmatch(oid) and _knows(gitdir, oid)]
            lost = [oid for oid in since if name == "skills" and not _known_anywhere(folder, oid)]
            try:
                verify(
                    gitdir,
                    signer,
                    found,
                    since=[*known, *lost],
                    people=name == "skills",
                    objects=objects,
                    progress=progress,
                )
            except LlmosError as error:
                found.complain(name, error.code, error.message)
            done.append(found)
        return done

    # Keys

    async def keys(self) -> list[Key]:
        """Return every key that ever signed, the current one first; they are public."""
        return list(await asyncio.to_thread(self._volumes.signer.known))

    async def rotate(self, actor: Actor) -> None:
        """Sign with a new key from now on, as a system admin.

        Raises:
            Forbidden: `role.missing`.
            StorageFailed: nothing changed.
        """
        permit(actor, Verb.OVERSEE)
        await asyncio.to_thread(self._rotate)

    async def revoke(self, actor: Actor, fingerprint: str, at: int | None = None) -> None:
        """Note that what a retired key signed after a time (seconds; None: now) counts as forged, as a system admin.

        Raises:
            Forbidden: `role.missing`.
            NotFound: `signing.unknown_key`.
            Conflict: `signing.current_key`.
        """
        permit(actor, Verb.OVERSEE)
        await asyncio.to_thread(self._revoke, fingerprint, at)

    def _rotate(self) -> None:
        with self._changing:
            self._volumes.signer.rotate(self._newest())
            self._volumes.publish_keys()

    def _revoke(self, fingerprint: str, at: int | None) -> None:
        with self._changing:
            self._volumes.signer.revoke(fingerprint, at)
            self._volumes.publish_keys()

    def _newest(self) -> int:
        """Return the time of the newest commit that any branch is at, in seconds, at most a day ahead of the clock."""
        newest = 0
        for ref in self._volumes.refs():
            folder = self._volumes.folder(ref)
            for gitdir in (folder / ".git", folder / "traces.git"):
                newest = max(newest, _newest(gitdir))
        return min(newest, int(time.time()) + 86_400)


def _newest(gitdir: Path) -> int:
    try:
        tips = [oid for name, oid in all_refs(gitdir).items() if name.startswith("refs/heads/")]
        return max((next(iter(history(gitdir, [tip]))).time for tip in tips), default=0)
    except (Missing, LlmosError, OSError):
        return 0


def _knows(gitdir: Path, oid: str) -> bool:
    try:
        return contains(gitdir, oid, oid)
    except Exception:  # noqa: BLE001 - what is no repository is told elsewhere
        return False


def _known_anywhere(folder: Path, oid: str) -> bool:
    return any(_knows(gitdir, oid) for gitdir in (folder / ".git", folder / "traces.git"))
