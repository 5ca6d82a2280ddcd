"""Whether a data folder is well: a list of findings, each with what can be done, and some that mend themselves.

Everything here works on the files alone, so it can look at a folder whose server does not start, and, without
repairing, at one that is being served.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from llmos_lite.engines.folder import FORMAT
from llmos_lite.engines.git_fsck import fsck
from llmos_lite.engines.git_lock import RepositoryLock, abandoned
from llmos_lite.engines.sqlite_copy import check_database, is_sqlite
from llmos_lite.errors import LlmosError

State: TypeAlias = Literal["ok", "repaired", "warning", "broken"]

GIB = 1 << 30
OTHERS = 0o077
PUBLIC = frozenset({"allowed_signers", "git-config"})
"""Files at the top of the data folder that others may read."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what to do about it."""

    check: str
    state: State
    message: str
    hint: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return it for programs."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Doctor:
    """Looks at one data folder.

    Args:
        data: the folder.
        repair: mend what can be mended without losing anything; only when nobody else uses the folder.
    """

    data: Path
    repair: bool = False

    def examine(self) -> Iterator[Finding]:
        """Yield a finding for each thing that was looked at, the quick ones first."""
        yield self._format()
        yield self._disk()
        yield from self._permissions()
        yield from self._databases()
        for gitdir in self.repositories():
            yield from self._repository(gitdir)

    def repositories(self) -> list[Path]:
        """Return the Git folders of every volume."""
        volumes = self.data / "volumes"
        roots = [volumes / "system", *sorted(volumes.glob("teams/*")), *sorted(volumes.glob("users/*"))]
        return [path for root in roots for path in (root / ".git", root / "traces.git") if path.is_dir()]

    def _format(self) -> Finding:
        try:
            text = (self.data / "format").read_text(encoding="utf-8").strip()
        except OSError as error:
            return Finding(
                "format", "broken", f"The file format cannot be read ({error.strerror}).", "Is this a data folder?"
            )
        if text.isascii() and text.isdigit() and int(text) <= FORMAT:
            return Finding("format", "ok", f"Format {text}.")
        return Finding("format", "broken", f"Format {text[:40]!r} is not known here.", "Use a newer llmos-lite.")

    def _disk(self) -> Finding:
        usage = shutil.disk_usage(self.data)
        said = f"{usage.free / GIB:.1f} GiB are free."
        if not os.access(self.data, os.W_OK):
            return Finding("disk", "broken", "The data folder cannot be written.", "Make it writable for this user.")
        if usage.free < GIB // 10:
            return Finding("disk", "broken", said, "Free space; traces cannot be stored without it.")
        return Finding("disk", "warning" if usage.free < GIB else "ok", said)

    def _permissions(self) -> Iterator[Finding]:
        """Look at what others may read: nothing but the public keys."""
        open_ = [path for path in self._private() if path.lstat().st_mode & OTHERS]
        if not open_:
            yield Finding("permissions", "ok", "Nobody else can read the data folder.")
        for path in open_:
            name = path.relative_to(self.data).as_posix()
            if self.repair:
                path.chmod(stat.S_IMODE(path.stat().st_mode) & ~OTHERS)
                yield Finding("permissions", "repaired", f"Others could read {name}; now they cannot.")
            else:
                yield Finding("permissions", "warning", f"Others can read {name}.", "Run `llmos doctor --repair`.")

    def _private(self) -> Iterator[Path]:
        yield self.data
        for path in sorted(self.data.iterdir()):
            if path.name in PUBLIC or path.is_symlink():
                continue
            yield path
            if path.name in {"keys", "journal"}:
                yield from sorted(found for found in path.iterdir() if found.suffix != ".pub")

    def _databases(self) -> Iterator[Finding]:
        for path in sorted(self.data.iterdir()):
            if is_sqlite(path):
                wrong = check_database(path)
                hint = "Move it away and restore a backup; `llmos reindex` rebuilds all but accounts." if wrong else ""
                yield Finding(f"rows {path.name}", "broken" if wrong else "ok", "; ".join(wrong) or "Sound.", hint)

    def _repository(self, gitdir: Path) -> Iterator[Finding]:
        name = gitdir.relative_to(self.data / "volumes").as_posix()
        yield from self._locks(gitdir, name)
        try:
            wrong = fsck(gitdir)
        except LlmosError as error:
            yield Finding(f"git {name}", "warning", error.message, error.hint)
            return
        hint = "Restore it from a backup or a clone; nothing else is touched by it." if wrong else ""
        yield Finding(f"git {name}", "broken" if wrong else "ok", "; ".join(wrong) or "Sound.", hint)

    def _locks(self, gitdir: Path, name: str) -> Iterator[Finding]:
        """Look for lock files that nobody holds any more: every later writer stops at them."""
        found = [path for path in gitdir.rglob("*.lock") if path.name != "llmos.lock" and "objects" not in path.parts]
        for path in found:
            what = f"{name}/{path.relative_to(gitdir).as_posix()}"
            if self.repair:
                with RepositoryLock(gitdir):
                    gone = abandoned(path) or not path.exists()  # taking the lock clears it too
                    if gone:
                        path.unlink(missing_ok=True)
                if gone:
                    yield Finding("locks", "repaired", f"{what} was left behind by a process that died; it is gone.")
                    continue
            yield Finding(
                "locks",
                "warning",
                f"{what} stops writers.",
                "Stop other git commands, then run `llmos doctor --repair`.",
            )
