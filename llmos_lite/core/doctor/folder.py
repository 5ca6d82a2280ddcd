"""The data folder itself: its format, the disk, who may read it, links, keys, left-overs, databases."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmos_lite.core.doctor.finding import REPAIR, Finding
from llmos_lite.core.wording import count_of
from llmos_lite.engines.folder import FORMAT
from llmos_lite.engines.git_version import git_problem
from llmos_lite.engines.signing_keys import KeyFolder
from llmos_lite.engines.sqlite_copy import check_database, is_sqlite

GIB = 1 << 30
OTHERS = 0o077
OLD = 86_400.0
"""Seconds after which a temporary file is nobody's."""
ROWS_FILE = "llmos.db"
"""What holds the accounts; skills and traces are in Git."""
PUBLIC = frozenset({"allowed_signers", "git-config"})
"""Files at the top of the data folder that others may read."""
_OURS = (
    "volumes",
    "journal",
    "keys",
    "llmos.db",
    "admin.key",
    "format",
    "allowed_signers",
    "git-config",
    "erasures",
    "threads",
    "market",
)


@dataclass(frozen=True, slots=True)
class FolderCheck:
    """Looks at everything that is no repository.

    Args:
        data: the data folder.
        repair: mend what can be mended.
    """

    data: Path
    repair: bool

    def format(self) -> Iterator[Finding]:
        """Tell whether this program knows the folder's format."""
        try:
            text = (self.data / "format").read_text(encoding="utf-8", errors="replace").strip()
        except OSError as error:
            said = f"The file format cannot be read ({error.strerror})."
            yield Finding("format", "broken", said, "Is this a data folder?")
            return
        if text.isascii() and text.isdigit() and int(text) <= FORMAT:
            yield Finding("format", "ok", f"Format {text}.")
        else:
            yield Finding("format", "broken", f"Format {text[:40]!r} is not known here.", "Use a newer llmos-lite.")

    def disk(self) -> Iterator[Finding]:
        """Tell how much room there is."""
        usage = shutil.disk_usage(self.data)
        said = f"{usage.free / GIB:.1f} GiB are free."
        if not os.access(self.data, os.W_OK):
            yield Finding("disk", "broken", "The data folder cannot be written.", "Make it writable for this user.")
        elif usage.free < GIB // 10:
            yield Finding("disk", "broken", said, "Free space; traces cannot be stored without it.")
        else:
            yield Finding("disk", "warning" if usage.free < GIB else "ok", said)

    def git(self) -> Iterator[Finding]:
        """Tell whether stock git is there."""
        problem = git_problem()
        yield Finding(
            "git", "warning" if problem else "ok", problem or "Git is new enough.", "Install it." * bool(problem)
        )

    def permissions(self) -> Iterator[Finding]:
        """Look at what others may read: nothing but the public keys."""
        open_ = [path for path in self._private() if path.lstat().st_mode & OTHERS]
        if not open_:
            yield Finding("permissions", "ok", "Nobody else can read the data folder.")
        for path in open_:
            name = path.relative_to(self.data).as_posix()
            if self.repair:
                path.chmod(stat.S_IMODE(path.lstat().st_mode) & ~OTHERS)
                yield Finding("permissions", "repaired", f"Others could read {name}; now they cannot.")
            else:
                yield Finding("permissions", "warning", f"Others can read {name}.", REPAIR)

    def _private(self) -> Iterator[Path]:
        yield self.data
        for path in sorted(self.data.iterdir()):
            if path.name in PUBLIC or path.is_symlink():
                continue
            yield path
            if path.name in {"keys", "journal", "erasures", "threads"} and path.is_dir():
                inside = sorted(found for found in path.iterdir() if found.suffix not in {".pub", ".asc"})
                yield from (found for found in inside if not found.is_symlink())

    def links(self) -> Iterator[Finding]:
        """Look for links in the place of what is ours: they are not followed, and nothing behind them is mended."""
        volumes = self.data / "volumes"
        places = [self.data / name for name in _OURS]
        places += [*volumes.glob("*"), *volumes.glob("*/*"), *volumes.glob("*/.git"), *volumes.glob("*/*/.git")]
        places += [*volumes.glob("*/traces.git"), *volumes.glob("*/*/traces.git"), *(self.data / "keys").glob("*")]
        for path in sorted({path for path in places if path.is_symlink()}):
            name = path.relative_to(self.data).as_posix()
            said = f"{name} is a symbolic link to {os.readlink(path)}."  # noqa: PTH115 - as text
            yield Finding("links", "warning", said, "Mount or move the folder itself, unless you made the link.")

    def keys(self) -> Iterator[Finding]:
        """Tell whether commits can be signed, and an admin can get in."""
        held = KeyFolder(self.data / "keys").read()
        if held is None:
            said = "There is no signing key that the ledger names; the next start makes one."
            yield Finding("keys", "warning", said, "Restore the folder keys from a backup, if you have one.")
        else:
            earlier = count_of(len(held.keys) - 1, "earlier key is", "earlier keys are")
            yield Finding("keys", "ok", f"{held.keys[0].fingerprint} signs; {earlier} known.")
        if not (self.data / "admin.key").read_text(encoding="utf-8", errors="replace").strip():
            yield Finding("keys", "warning", "The admin key is empty.", "The next start makes one.")

    def leftovers(self) -> Iterator[Finding]:
        """Look for files that a process left which died in the middle."""
        found = [path for path in (self.data / "tmp").glob("*") if time.time() - path.lstat().st_mtime > OLD]
        for path in sorted(found):
            name = path.relative_to(self.data).as_posix()
            if self.repair:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
                yield Finding("left over", "repaired", f"{name} was of a process that died; it is gone.")
            else:
                yield Finding("left over", "warning", f"{name} is of a process that died.", REPAIR)
        for path in sorted((self.data / "erasures").glob("*.erasure")):
            said = f"The erasure {path.stem} is not finished; a server goes on with it at its start."
            yield Finding("erasures", "warning", said, "Start the server.")

    def databases(self) -> Iterator[Finding]:
        """Tell whether the files of the rows are there and whole."""
        if (self.data / "format").exists() and not (self.data / ROWS_FILE).exists():
            said = "It is missing, and with it every account, team, key, limit and the audit log."
            yield Finding(f"rows {ROWS_FILE}", "broken", said, "Restore a backup; a start makes an empty one.")
        for path in sorted(self.data.iterdir()):
            if is_sqlite(path):
                wrong = check_database(path)
                hint = "Move it away and restore a backup; `llmos reindex` rebuilds all but accounts." if wrong else ""
                yield Finding(f"rows {path.name}", "broken" if wrong else "ok", "; ".join(wrong) or "Sound.", hint)
