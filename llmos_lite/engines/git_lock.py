"""One writer for each repository, among all threads and processes; and what a killed writer leaves behind.

The lock is a `flock` on a file of ours: the system drops it when its holder dies. While held, the file names its
holder; whoever finds a name in a file that is free knows that the holder died, and clears the `*.lock` and temporary
files of Git, which otherwise block every later writer (56 of 500 kills left one).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from llmos_lite.errors import Unavailable, storage_error

_PATIENCE = 60.0
"""Seconds to wait for another writer. A commit takes milliseconds."""

_NOBODY = b" " * 28 + b"\n"
"""Stands in a lock that is free: as long as a name, so that the next one finds its place on a full disk, too."""

_LONGEST_UPKEEP = 3600.0
"""Seconds that upkeep may hold the lock; its temporary files are as young."""

_STALE = 600.0
"""Seconds after which a lock on a ref is nobody's; stock git holds one for milliseconds."""


class RepositoryLock:
    """A lock between threads and processes; the thread that holds it may take it again.

    Args:
        gitdir: the repository's own folder (`.git`, or the bare repository).
    """

    def __init__(self, gitdir: Path) -> None:
        self._gitdir = gitdir
        self._thread = threading.RLock()
        self._depth = 0
        self._file = -1

    def __enter__(self) -> Self:
        if not self._thread.acquire(timeout=_PATIENCE):
            raise self._busy()
        try:
            if self._depth == 0:
                self._take()
            self._depth += 1
        except BaseException:
            self._thread.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._depth -= 1
        try:
            if self._depth == 0:
                with contextlib.suppress(OSError):  # the next one looks for what the dead leave, and finds nothing
                    os.pwrite(self._file, _NOBODY, 0)
                fcntl.flock(self._file, fcntl.LOCK_UN)
        finally:
            self._thread.release()

    def shared(self) -> tuple[int, ...]:
        """Return the file for a child process to inherit: the lock is then held until both have ended."""
        return (self._file,) if self._depth else ()

    def close(self) -> None:
        """Give the file back to the system."""
        with self._thread:
            if self._file >= 0 and self._depth == 0:
                os.close(self._file)
                self._file = -1

    def _take(self) -> None:
        first = self._file < 0
        if first:
            try:
                self._file = os.open(self._gitdir / "llmos.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise storage_error(error, "lock the volume for writing") from error
        self._wait()
        try:
            died = os.pread(self._file, 64, 0).strip()
            if died:
                clear_stale(self._gitdir, since=_holder_time(died))
            if first:
                _clear_older(self._gitdir)
            os.pwrite(self._file, f"{os.getpid():>10} {time.time():017.6f}\n".encode(), 0)
        except BaseException as error:
            fcntl.flock(self._file, fcntl.LOCK_UN)
            if isinstance(error, OSError):
                raise storage_error(error, "lock the volume for writing") from error
            raise

    def _wait(self) -> None:
        deadline, pause = time.monotonic() + _PATIENCE, 0.0005
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise self._busy() from None
                time.sleep(pause)
                pause = min(pause * 1.5, 0.01)
            else:
                return

    def _busy(self) -> Unavailable:
        return Unavailable(
            "volume.busy", f"Another writer holds {self._gitdir} for {_PATIENCE:.0f} s.", hint="Try again."
        )


def _holder_time(text: bytes) -> float:
    try:
        return float(text.split()[1])
    except (IndexError, ValueError):
        return 0.0


def clear_stale(gitdir: Path, *, since: float) -> list[Path]:
    """Remove the lock and temporary files of a holder that died; the caller holds the repository lock.

    Args:
        gitdir: the repository's own folder.
        since: when that holder took the lock, in seconds since the epoch. What is older, or much younger, belongs to
            somebody else: a person's own git.

    Returns:
        What was removed.
    """
    removed = []
    locks, temporary = _locks(gitdir), temporary_files(gitdir)
    for path in locks | temporary:
        longest = _PATIENCE if path in locks else _LONGEST_UPKEEP
        # A file system keeps times in ticks of up to some 10 ms, so a file may look a little older than it is.
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            if since - 0.1 <= path.lstat().st_mtime <= since + longest:
                path.unlink()
                removed.append(path)
    return removed


def _clear_older(gitdir: Path) -> None:
    """Remove what a cut of power left behind: nothing says whose it was, but it is older than the machine's start."""
    started = _machine_start()
    for path in _locks(gitdir) | temporary_files(gitdir):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            if path.lstat().st_mtime < started:
                path.unlink()


def _machine_start() -> float:
    """Return when this machine started, in seconds since the epoch."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux's other clocks stand still in a sleep
    return time.time() - time.clock_gettime(clock)


def _locks(gitdir: Path) -> set[Path]:
    locks = {path for path in gitdir.glob("*.lock") if path.name != "llmos.lock"}
    refs = (Path(folder, name) for folder, _, names in os.walk(gitdir / "refs") for name in names)
    return locks | {path for path in refs if path.suffix == ".lock"}


def temporary_files(gitdir: Path) -> set[Path]:
    """Return what writers, upkeep and pushes leave when they are killed, or have open now."""
    patterns = ("pack/tmp_*", "pack/.tmp-*", "pack/*.lock", "??/tmp_*", "tmp_objdir-*", "info/tmp_*", "info/*.lock")
    graphs = ("info/commit-graphs/tmp_*", "info/commit-graphs/*.lock")
    found = {path for pattern in (*patterns, *graphs) for path in gitdir.glob(f"objects/{pattern}")}
    return found | set(gitdir.glob("llmos-tmp-*"))


def abandoned(lock: Path) -> bool:
    """Tell whether a lock on a ref is older than the machine's start, or than any writer takes."""
    try:
        age = time.time() - lock.stat().st_mtime
    except FileNotFoundError:
        return False
    return age > min(_STALE, time.monotonic())
