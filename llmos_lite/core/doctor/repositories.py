"""One repository: locks and files left behind, refs, Git's index, and `git fsck`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmos_lite.core.doctor.finding import BACKUP, REPAIR, Finding
from llmos_lite.core.doctor.folder import OLD
from llmos_lite.core.wording import count_of
from llmos_lite.engines.git_fsck import fsck
from llmos_lite.engines.git_lock import RepositoryLock, abandoned, temporary_files
from llmos_lite.engines.git_mend import (
    broken_refs,
    head_problem,
    index_problem,
    last_good,
    rebuild_index,
    set_head,
    set_ref,
)
from llmos_lite.engines.git_scrub import PLAN
from llmos_lite.errors import LlmosError

_BRANCHES = "refs/heads/"


@dataclass(frozen=True, slots=True)
class RepositoryCheck:
    """Looks at one repository.

    Args:
        gitdir: its own folder.
        name: of it, as in `users/alice/.git`.
        repair: mend what can be mended; what is replaced is kept in `llmos-broken`.
    """

    gitdir: Path
    name: str
    repair: bool

    def examine(self) -> Iterator[Finding]:
        """Yield what is wrong, and at last what fsck says."""
        yield from self._locks()
        yield from self._temporary()
        yield from self._head()
        yield from self._refs()
        if self.name.endswith("/.git"):
            yield from self._index()
        if (self.gitdir / PLAN).exists():
            said = f"A scrub of {self.name} was cut short; the next use of the volume finishes it."
            yield Finding("scrub", "warning", said, "Start the server.")
        yield self._fsck()

    def _fsck(self) -> Finding:
        try:
            wrong = fsck(self.gitdir)
        except LlmosError as error:
            return Finding(f"git {self.name}", "warning", error.message, error.hint)
        return Finding(
            f"git {self.name}", "broken" if wrong else "ok", "; ".join(wrong) or "Sound.", BACKUP * bool(wrong)
        )

    def _locks(self) -> Iterator[Finding]:
        """Look for lock files that nobody holds any more: every later writer stops at them."""
        found = [path for path in self.gitdir.rglob("*.lock") if path.name != "llmos.lock" and not self._inner(path)]
        for path in found:
            what = f"{self.name}/{path.relative_to(self.gitdir).as_posix()}"
            if self.repair and self._remove(path):
                yield Finding("locks", "repaired", f"{what} was left behind by a process that died; it is gone.")
            else:
                hint = "Stop other git commands, then run `llmos doctor --repair`."
                yield Finding("locks", "warning", f"{what} stops writers.", hint)

    def _inner(self, path: Path) -> bool:
        return "objects" in path.relative_to(self.gitdir).parts

    def _remove(self, path: Path) -> bool:
        with RepositoryLock(self.gitdir):
            gone = abandoned(path)
            if gone:
                path.unlink(missing_ok=True)
            return gone or not path.exists()  # the one who takes the lock clears what its last holder left

    def _temporary(self) -> Iterator[Finding]:
        old = [path for path in temporary_files(self.gitdir) if time.time() - path.lstat().st_mtime > OLD]
        files = [path for path in old if path.is_file() and not path.is_symlink()]
        if not files:
            return
        if self.repair:
            with RepositoryLock(self.gitdir):
                for path in files:
                    path.unlink(missing_ok=True)
            yield Finding("left over", "repaired", f"{count_of(len(files), 'temporary file')} of {self.name} removed.")
        else:
            said = f"{count_of(len(files), 'temporary file')} of {self.name} left by a process that died."
            yield Finding("left over", "warning", said, REPAIR)

    def _head(self) -> Iterator[Finding]:
        problem = head_problem(self.gitdir)
        if not problem:
            return
        if not self.repair:
            yield Finding(f"refs {self.name}", "broken", f"{problem}.", REPAIR)
            return
        with RepositoryLock(self.gitdir):
            kept = set_head(self.gitdir)
        yield Finding(
            f"refs {self.name}", "repaired", f"{problem}; it is main again, and {self._named(kept)} keeps it."
        )

    def _refs(self) -> Iterator[Finding]:
        """Look for refs that lead nowhere. One that is not a branch is somebody's own, and is only told."""
        for ref, text in broken_refs(self.gitdir).items():
            said = f"{ref} leads to no commit: it says {text[:60]!r}"
            if not self.repair or not ref.startswith(_BRANCHES):
                yield Finding(
                    f"refs {self.name}", "broken", f"{said}.", REPAIR if ref.startswith(_BRANCHES) else BACKUP
                )
                continue
            with RepositoryLock(self.gitdir):
                good = last_good(self.gitdir, ref)
                kept = set_ref(self.gitdir, ref, good) if good else None
            if good and kept:
                told = (
                    f"{said}; it is at {good[:10]} again, where it was last; {self._named(kept)} keeps the old value."
                )
                yield Finding(f"refs {self.name}", "repaired", told)
            else:
                yield Finding(f"refs {self.name}", "broken", f"{said}, and no whole history of it is left.", BACKUP)

    def _index(self) -> Iterator[Finding]:
        problem = index_problem(self.gitdir)
        if not problem:
            return
        if not self.repair:
            yield Finding(f"index {self.name}", "warning", f"Git's index {problem}.", REPAIR)
            return
        with RepositoryLock(self.gitdir):
            kept = rebuild_index(self.gitdir)
        said = f"Git's index {problem}; it is as main says now, and {self._named(kept)} keeps the old one."
        yield Finding(f"index {self.name}", "repaired", said)

    def _named(self, path: Path) -> str:
        return f"{self.name}/{path.relative_to(self.gitdir).as_posix()}"
