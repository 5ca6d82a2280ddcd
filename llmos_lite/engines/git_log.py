"""A long history by stock git, which knows from the commit-graph what a commit cannot have changed.

libgit2 reads two trees for each commit, some 50 us, and the whole history before it orders one with merges. git asks a
Bloom filter, 1 us, but only when it is given one path: so each path is asked for by itself. What comes out is what
`Objects.walk` yields: `--full-history`, in date order.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from llmos_lite.errors import NotFound

_ENV = ("-c", "safe.directory=*", "-c", "core.commitGraph=true", "--literal-pathspecs")


class GitFailed(Exception):
    """There is no git here, or it does not know these commits; the text says which."""


class PathLog:
    """Commits that changed one of some paths, or all commits, newest first.

    Args:
        gitdir: the repository's own folder; its commit-graph has changed paths.
        start: the newest commit.
        paths: an entry each, the first being the one that most commits are about; none for all commits.
        keep: tells of a commit whether it is wanted; git also names merges that took a path over from one side.
    """

    def __init__(self, gitdir: Path, start: str, paths: Sequence[str], keep: Callable[[str], bool]) -> None:
        self._gitdir, self._start, self._paths, self._keep = gitdir, start, paths, keep

    def page(self, limit: int, before: str | None = None) -> list[str]:
        """Return the ids of at most `limit` commits, those after `before`.

        Raises:
            GitFailed: ask libgit2.
            NotFound: `commit.unknown`, when `before` is not among the commits.
        """
        size = limit
        while True:
            found, complete = self._newest(size)
            place = 0 if before is None else found.index(before) + 1 if before in found else None
            if place is not None and (complete or len(found) - place >= limit):
                return found[place : place + limit]
            if complete and before is not None:
                raise NotFound("commit.unknown", f"There is no commit {before[:40]!r} in this history.")
            size *= 8

    def _newest(self, size: int) -> tuple[list[str], bool]:
        """Return the newest commits, and whether those are all; `size` of the first path and what is among them."""
        found = self._rev_list(f"-n{size}", self._start, "--", *self._paths[:1])
        complete = len(found) < size
        bound = [] if complete else [f"^{found[-1]}"]
        more = {oid for path in self._paths[1:] for oid in self._rev_list(self._start, *bound, "--", path)} - set(found)
        if more:
            last = "" if complete else found[-1]
            found = self._in_order(more.union(found), last)
        return [oid for oid in found if self._keep(oid)], complete

    def _in_order(self, wanted: set[str], last: str) -> list[str]:
        """Put commits of several paths in the order of the history, up to `last`."""
        found: list[str] = []
        with self._asked(self._start) as lines:
            for line in lines:
                oid = line.strip()
                if oid in wanted:
                    found.append(oid)
                if oid == last or len(found) == len(wanted):
                    break
        return found

    def _rev_list(self, *words: str) -> list[str]:
        with self._asked(*words) as lines:
            return lines.read().split()

    @contextmanager
    def _asked(self, *words: str) -> Iterator[IO[str]]:
        command = ["git", *_ENV, "--git-dir", str(self._gitdir), "rev-list", "--full-history", "--date-order", *words]
        try:
            process = subprocess.Popen(  # noqa: S603 - ids and checked paths, behind `--`, no shell
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True
            )
        except FileNotFoundError as error:
            raise GitFailed("there is no git") from error
        ended = False
        with process:
            lines = process.stdout
            if lines is None:
                raise GitFailed("no pipe")
            try:
                yield lines
                ended = not lines.read(1)
            finally:
                process.kill()
        if ended and process.returncode > 0:
            raise GitFailed(f"git ended with {process.returncode}")
