"""Branches: a cheap read that is on the hot path, and a durable compare-and-swap.

Files: gitrepository-layout(5), git-pack-refs(1). A ref is written as stock git does it (`<ref>.lock`, then rename), so
both exclude each other; two fsyncs (the file, its folder).
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from llmos_lite.engines.durable import make_folder, sync_folder
from llmos_lite.engines.git_lock import abandoned
from llmos_lite.errors import Conflict, Invalid, Unavailable

OID = re.compile(r"[0-9a-f]{40}")
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
HEADS = "refs/heads/"
_RACY = 50_000_000
"""Nanoseconds: a file changed this recently may change again without a new time, so its content is not remembered."""

_LONGEST = 200
_PATIENCE = 2.0
"""Seconds to wait for stock git, which does not know our repository lock."""


def check_branch(name: str) -> str:
    """Return `name` when Git takes it as a branch.

    Raises:
        Invalid: `branch.invalid`.
    """
    parts = name.split("/")
    if (
        len(name) > _LONGEST
        or not _BRANCH.fullmatch(name)
        or ".." in name
        or any(part.endswith((".lock", ".")) for part in parts)
    ):
        raise Invalid("branch.invalid", f"{name[:80]!r} is not a branch name.", hint="As in main or pr/alice/my-skill.")
    return name


class _Lock(NamedTuple):
    path: Path
    handle: int


class Refs:
    """The branches of one repository.

    Args:
        gitdir: the repository's own folder.
        namespace: where they are; `refs/heads/` are those that stock git calls branches.
    """

    def __init__(self, gitdir: Path, namespace: str = HEADS) -> None:
        self._gitdir, self._namespace = gitdir, namespace
        self._heads = f"{gitdir}/{namespace}"
        self._seen: dict[str, tuple[tuple[int, int, int], str]] = {}
        self._packed: tuple[tuple[int, int, int], dict[str, str]] | None = None

    def read(self, name: str) -> str | None:
        """Return the commit that a branch names, or None: one `stat` when nothing moved.

        Raises:
            Unavailable: `volume.broken`, when the ref holds no commit id.
        """
        path = self._heads + name
        try:
            stat = os.stat(path)  # noqa: PTH116 - the hot path: a Path costs more than the call
        except (FileNotFoundError, NotADirectoryError):
            return self._read_packed(name)
        stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        seen = self._seen.get(name)
        if seen is not None and seen[0] == stamp:
            return seen[1]
        try:
            text = Path(path).read_text("ascii", "replace").strip()
        except FileNotFoundError:
            return self._read_packed(name)
        except IsADirectoryError:
            return None
        if not OID.fullmatch(text):
            raise broken(self._gitdir, f"the branch {name} holds no commit id")
        if time.time_ns() - stat.st_mtime_ns > _RACY:
            self._seen[name] = (stamp, text)
        return text

    def all(self) -> dict[str, str]:
        """Return every branch with its commit, in order of name."""
        names = set(self._packed_refs())
        for folder, _, files in os.walk(self._heads):
            base = os.path.relpath(folder, self._heads)
            names |= {name if base == "." else f"{base}/{name}" for name in files if not name.endswith(".lock")}
        found = {name: self.read(name) for name in sorted(names)}
        return {name: oid for name, oid in found.items() if oid is not None}

    def update(self, name: str, new: str, old: str | None) -> None:
        """Move a branch from `old` (None: it must not exist) to `new`, durably.

        Raises:
            Conflict: `volume.moved`, when it is not at `old` any more; `branch.conflict`, when a branch of that name
                cannot stand beside the others.
        """
        path = Path(self._heads + name)
        with self._locked(path) as lock:
            self._expect(name, old)
            os.write(lock.handle, new.encode() + b"\n")
            os.fsync(lock.handle)
            if path.is_dir():
                _remove_empty(path)
            lock.path.rename(path)
        sync_folder(path.parent)

    def delete(self, name: str, old: str) -> None:
        """Remove a branch that is at `old`.

        Raises:
            Conflict: `volume.moved`.
        """
        path = Path(self._heads + name)
        with self._locked(path):
            self._expect(name, old)
            self._drop_packed(name)
            path.unlink(missing_ok=True)
            self._seen.pop(name, None)
        if path.parent.exists():
            sync_folder(path.parent)

    def _expect(self, name: str, old: str | None) -> None:
        self._seen.pop(name, None)
        current = self.read(name)
        if current != old:
            raise Conflict(
                "volume.moved",
                f"The branch {name} has moved meanwhile.",
                hint="Read it again, then repeat the change.",
                branch=name,
                head=current,
            )

    @contextmanager
    def _locked(self, path: Path) -> Iterator[_Lock]:
        lock = path.with_name(path.name + ".lock")
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
                break
            except FileNotFoundError:
                make_folder(lock.parent)
            except FileExistsError:
                self._blocked(lock, deadline)
            except NotADirectoryError:
                raise _beside(path) from None
        try:
            yield _Lock(lock, handle)
        finally:
            with contextlib.suppress(FileNotFoundError):
                # After the rename, a lock of this name is somebody else's.
                if lock.stat().st_ino == os.fstat(handle).st_ino:
                    lock.unlink()
            os.close(handle)

    def _blocked(self, lock: Path, deadline: float) -> None:
        if not lock.parent.is_dir():
            raise _beside(lock)
        if abandoned(lock):
            lock.unlink(missing_ok=True)
        elif time.monotonic() > deadline:
            raise Unavailable("volume.busy", f"Another program holds {lock}.", hint="Try again when it is done.")
        else:
            time.sleep(0.005)

    def _read_packed(self, name: str) -> str | None:
        return self._packed_refs().get(name)

    def _packed_refs(self) -> dict[str, str]:
        path = f"{self._gitdir}/packed-refs"
        try:
            stat = os.stat(path)  # noqa: PTH116 - as in read
            stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if self._packed is None or self._packed[0] != stamp:
                self._packed = (stamp, _parse_packed(Path(path).read_text(), self._namespace))
        except FileNotFoundError:
            return {}
        return self._packed[1]

    def _drop_packed(self, name: str) -> None:
        if name not in self._packed_refs():
            return
        path = self._gitdir / "packed-refs"
        with self._locked(path) as lock:
            lines = path.read_text().splitlines(keepends=True)
            kept = [line for line in lines if not line.rstrip().endswith(f" {self._namespace}{name}")]
            with os.fdopen(lock.handle, "w", closefd=False) as file:
                file.writelines(kept)
            os.fsync(lock.handle)
            lock.path.rename(path)
        self._packed = None


def _parse_packed(text: str, prefix: str) -> dict[str, str]:
    lines = (line.split(" ", 1) for line in text.splitlines() if line and line[0] not in "#^")
    return {name.removeprefix(prefix): oid for oid, name in lines if name.startswith(prefix)}


def _remove_empty(folder: Path) -> None:
    """Remove a folder that deleted branches left, so that a branch may take its name."""
    for path, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            Path(path).rmdir()
    if folder.exists():
        raise _beside(folder)


def _beside(path: Path) -> Conflict:
    return Conflict("branch.conflict", f"A branch cannot be named {path.stem!r} beside those that exist.")


def broken(gitdir: Path, why: str) -> Unavailable:
    """Return the error of a repository that cannot be read; other volumes go on."""
    return Unavailable(
        "volume.broken",
        f"The repository {gitdir} is broken: {why}.",
        hint="Run `git fsck` in it, or restore it from a backup.",
    )
